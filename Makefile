# Everything installs from requirements.lock into .venv; no target needs a network beyond that.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK_TOOL := $(BIN)/python -m uv

.PHONY: install demo test quick lint types figures lock clean

install: $(VENV)/installed

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

lock:  ## rewrite requirements.lock: versions and hashes for every Python from 3.11 on, no index addresses
	$(BIN)/python -m pip install --quiet uv
	$(LOCK_TOOL) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --extra dev pyproject.toml --output-file requirements.lock
