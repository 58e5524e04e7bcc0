# Everything installs from requirements.lock into .venv; nothing below needs a network after that.
PYTHON ?= python3
PYTHON_VERSION ?= 3.12
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test quick lint types figures docs site bench watch wheels lock clean

demo: $(VENV)/installed  ## the default experiment and its figure, on embedded data
	$(BIN)/ntkrepro run
	$(BIN)/ntkrepro figures digits

test: $(VENV)/installed  ## every test, two files at a time; those on CIFAR-10, MNIST and Slurm skip where there is none
	$(BIN)/python -m pytest -n 2 --dist loadfile

quick: $(VENV)/installed  ## the tests that take less than a few seconds each
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

figures: $(VENV)/installed  ## run what is missing at laptop scale, draw it, report, print the claims
	-$(BIN)/ntkrepro reproduce

docs: $(VENV)/installed  ## what the README and docs/ take from records and configs
	$(BIN)/python scripts/write_docs.py

site: $(VENV)/installed  ## README, docs/ and the reports as pages in site/; a link to nowhere fails
	rm -rf build/site && mkdir -p build/site/results
	cp -r README.md CONTRIBUTING.md docs build/site
	cp -r results/claims.md results/figures results/report build/site/results
	$(BIN)/python -m zensical build --clean --strict

bench: $(VENV)/installed  ## speed against this machine's own matrix product, and the peer's; the plan against runs
	$(BIN)/python scripts/bench_step.py
	$(BIN)/python scripts/bench_ntk_cost.py
	$(BIN)/python scripts/check_plan.py
	$(BIN)/python scripts/bench_kernels.py
	$(BIN)/python scripts/bench_pack.py

watch: $(VENV)/installed  ## fails where a step or kernel takes 1.2 times what scripts/speeds.json has; on quiet cores
	$(BIN)/python scripts/bench_watch.py --kernels

wheels: $(VENV)/installed  ## accelerator/wheels: for a machine without a network that has a JAX (docs/accelerators.md)
	$(BIN)/python scripts/wheels.py $(PYTHON_VERSION) $(WITHOUT)

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

lock:  ## rewrite requirements.lock: every Python from 3.11 on, hashes, no index addresses
	$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --extra dev pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
