"""Which mutants of the claims survive the claims' own tests: exit 1 below 85 % killed.

    python -m pip install "mutmut>=3.4,<4"        # not in requirements.lock
    python scripts/mutants.py [COUNT] [SEED]      # 400 of about 4,000, drawn by lot; seconds each

The mutants are mutmut's own, and so is which tests run which function. Each is tested in a fork of
this process, in which JAX has started no thread: mutmut forks after its tests have run, and a child
waits for ever for threads that it doesn't have.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCORE = 0.85
ROOT = Path(__file__).parents[1]
WHAT, TESTS = "ntkrepro/claims", "tests/claims"
SETTINGS = f"""
[tool.mutmut]
source_paths = ["{WHAT}"]
pytest_add_cli_args_test_selection = ["{TESTS}"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
also_copy = ["configs", "tests", "docs", "ntkrepro", "scripts", "README.md"]
"""
KILLED = {1, 4}  # exit codes of pytest: a test failed; the tests can't even be collected
NONE = "no test runs it"


def main(count: int = 400, seed: int = 0) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mutants = generated(Path(folder) / "tree")
        os.chdir(mutants)
        warm(mutants)
        names = [k for f in sorted(Path(WHAT).glob("*.meta")) for k in of(f)["exit_code_by_key"]]
        chosen = random.Random(seed).sample(names, min(count, len(names)))
        stats = of(Path("mutmut-stats.json"))
        ends = {name: end(name, stats) for name in chosen}
    alive = {name: how for name, how in ends.items() if how not in KILLED}
    for name, how in sorted(alive.items()):
        print(f"{name}: {how if how in (NONE, 'stuck') else 'survived'}")
    score = 1 - len(alive) / len(ends)
    print(f"{len(ends) - len(alive)} of {len(ends)} mutants killed, {score:.1%}, of {len(names)}")
    sys.exit(score < SCORE)


def of(path: Path) -> dict:
    return json.loads(path.read_text())


def generated(tree: Path) -> Path:
    """The folder of a copy of the project in which mutmut has made its mutants."""
    ignored = shutil.ignore_patterns("results", ".git", ".venv", "mutants", "__pycache__")
    shutil.copytree(ROOT, tree, ignore=ignored)
    with (tree / "pyproject.toml").open("a") as file:
        file.write(SETTINGS)
    # a name that no mutant has: it stops before it tests any
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", "none-of-them"]
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    if "nothing matches" not in done.stdout + done.stderr:
        sys.exit(f"mutmut failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return tree / "mutants"


def warm(mutants: Path) -> None:
    """Import here what every child needs, but start no thread of JAX's."""
    sys.path.insert(0, str(mutants))
    os.environ |= {"JAX_PLATFORMS": "cpu", "MUTANT_UNDER_TEST": "none", "OMP_NUM_THREADS": "1"}
    import importlib
    import pkgutil

    import pytest  # noqa: F401

    import ntkrepro

    for module in pkgutil.walk_packages(ntkrepro.__path__, "ntkrepro."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def end(name: str, stats: dict) -> int | str:
    """The exit code of the tests of a mutant's function, the quickest first."""
    seconds = stats["duration_by_test"]
    tests = stats["tests_by_mangled_function_name"].get(name.split("__mutmut_")[0], [])
    if not tests:
        return NONE
    pid = os.fork()
    if not pid:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        os.environ["MUTANT_UNDER_TEST"] = name
        import pytest

        tests = sorted(tests, key=lambda test: seconds.get(test, 0))
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])))
    until = time.monotonic() + 20 + 15 * sum(seconds.get(test, 0) for test in tests)
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "stuck"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
