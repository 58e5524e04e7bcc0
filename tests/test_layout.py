"""Who may import what, read from the source."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ntkrepro

ROOT = Path(ntkrepro.__file__).parent
FILES = {
    ".".join(("ntkrepro", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in ROOT.rglob("*.py")
}
NO_JAX = ["ntkrepro.claims", "ntkrepro.records", "ntkrepro.listing", "ntkrepro.summary"]
NO_JAX += ["ntkrepro.report", "ntkrepro.choices"]
NO_JAX += [name for name in FILES if name.startswith("ntkrepro.figures")]


def statements(node: ast.AST, late: bool) -> Iterator[ast.stmt]:
    """Import statements; with `late`, those inside functions too. Never those for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        elif late or not isinstance(child, ast.FunctionDef):
            yield from statements(child, late)


def imported(name: str, late: bool) -> set[str]:
    """Full names of the modules that a module imports, and of their packages."""
    names = set()
    for statement in statements(ast.parse(FILES[name].read_text()), late):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        else:
            assert not statement.level, f"{name} imports relatively"
            whole = {f"{statement.module}.{alias.name}" for alias in statement.names}
            names |= {module if module in FILES else statement.module for module in whole}
    parents = {".".join(n.split(".")[:i]) for n in names for i in range(1, n.count(".") + 1)}
    return (names | parents) - {name, "ntkrepro"}


def closure(name: str, late: bool) -> set[str]:
    """What importing a module imports, through all modules of this package."""
    seen, todo = set(), {name}
    while todo:
        new = imported(todo.pop(), late) - seen
        seen |= new
        todo |= new & set(FILES)
    return seen


def importers(library: str) -> set[str]:
    return {name for name in FILES if library in imported(name, late=True)}


def test_flax_is_imported_where_networks_are_made_only():
    assert importers("flax") == {"ntkrepro.layers", "ntkrepro.models"}


@pytest.mark.parametrize("library", ["hydra", "omegaconf"])
def test_hydra_is_imported_in_cli_and_config_only(library):
    assert importers(library) == {"ntkrepro.cli", "ntkrepro.config"}


@pytest.mark.parametrize("name", sorted(NO_JAX))
def test_no_jax_behind(name):
    assert not closure(name, late=True) & {"jax", "flax", "optax", "ntkrepro.experiment"}


@pytest.mark.parametrize("name", ["ntkrepro.cli", "ntkrepro.figures", "ntkrepro.listing"])
def test_what_answers_at_once_imports_nothing_slow(name):
    slow = {"jax", "hydra", "omegaconf", "matplotlib", "numpy", "pandas", "rich"}
    assert not closure(name, late=False) & slow


def test_imports_point_one_way():
    try:
        TopologicalSorter({name: imported(name, late=False) for name in FILES}).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_only_the_public_side_of_jax_is_used():
    assert [name for name, path in FILES.items() if "jax._src" in path.read_text()] == []
