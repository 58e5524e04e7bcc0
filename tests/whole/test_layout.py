"""The house, read from the source: who may import what, and how large its rooms are."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
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
FLOORS = [  # from the bottom: what is on one imports from those below it alone
    {"errors", "signals", "progress", "compilation"},
    {"files"},
    {"config"},
    {"data", "networks"},
    {"theory"},
    {"records", "training"},
    {"claims", "programs"},
    {"figures", "sweep"},
    {"report", "plan"},
    {"cli", "api"},  # of a terminal, of Python: both call those below
    {"__main__"},
]
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
NO_JAX = ("config", "records", "claims", "figures", "report")
NO_JAX_EITHER = ["ntkrepro.sweep.status", "ntkrepro.sweep.locks"]
AT_ONCE = ["ntkrepro.cli", "ntkrepro.figures.catalog", "ntkrepro.config.catalog"]
DATA = {"ntkrepro.data.tfds"}  # reads $TFDS_DATA_DIR, which the README documents


def room(name: str) -> str:
    """The folder or file of the top level that a module belongs to; '' for the package itself."""
    return [*name.split("."), ""][1]


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


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    return (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef))


def test_every_room_has_its_floor():
    assert {room(name) for name in FILES} - {""} == set(FLOOR)


@pytest.mark.parametrize("name", sorted(set(FILES) - {"ntkrepro"}))
def test_imports_point_down(name):
    """Within a room as they like, but in no circle."""
    own = room(name)
    others = {room(other) for other in imported(name, late=True) if other in FILES} - {own}
    assert {other for other in others if FLOOR[other] >= FLOOR[own]} == set()


def test_no_room_imports_itself_in_a_circle():
    TopologicalSorter({name: imported(name, late=False) for name in FILES}).prepare()


def test_at_most_ten_floors():
    """The longest way down from the command, a step a room; __main__ is the command itself."""
    below = {own: set() for own in FLOOR}
    for name in set(FILES) - {"ntkrepro"}:
        below[room(name)] |= {room(n) for n in imported(name, late=True) if n in FILES}
    height = {}
    for own in sorted(FLOOR, key=FLOOR.__getitem__):
        height[own] = 1 + max((height[other] for other in below[own] - {own}), default=0)
    assert height["cli"] <= 10


def test_at_most_twelve_folders_and_seven_files():
    """Beside __init__.py and __main__.py, which Python asks for."""
    top = [path for path in ROOT.iterdir() if not path.name.startswith("__")]
    assert len([path for path in top if path.is_dir() and path.name != "configs"]) <= 12
    assert len([path for path in top if path.suffix == ".py"]) <= 7


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_function_is_longer_than_fifty_lines(name):
    long = [f.name for f in functions(FILES[name]) if f.end_lineno - f.lineno >= 50]
    assert long == []


def test_flax_is_imported_in_networks_only():
    assert {room(name) for name in importers("flax")} == {"networks"}


@pytest.mark.parametrize("library", ["hydra", "omegaconf"])
def test_hydra_is_imported_in_cli_compose_and_words_only(library):
    known = {"ntkrepro.cli", "ntkrepro.config.compose", "ntkrepro.config.words"}
    assert importers(library) <= known


def test_theory_imports_no_config():
    named = {name for name in FILES if room(name) == "theory"}
    assert {n for name in named for n in imported(name, late=True) if room(n) == "config"} == set()


@pytest.mark.parametrize(
    "name", [*NO_JAX_EITHER, *(name for name in sorted(FILES) if room(name) in NO_JAX)]
)
def test_no_jax_behind(name):
    assert not closure(name, late=True) & {"jax", "flax", "optax"}


@pytest.mark.parametrize("name", AT_ONCE)
def test_what_answers_at_once_imports_nothing_slow(name):
    slow = {"jax", "hydra", "omegaconf", "matplotlib", "numpy", "pandas", "rich", "argparse"}
    assert not closure(name, late=False) & slow


@pytest.mark.parametrize("name", sorted(set(FILES) - {"ntkrepro.cli"} - DATA))
def test_nobody_below_the_command_reads_its_words_or_the_environment(name):
    tree = ast.parse(FILES[name].read_text())
    read = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not read & {"sys.argv", "os.environ", "os.getenv"}


def test_only_the_public_side_of_jax_is_used():
    assert [name for name, path in FILES.items() if "jax._src" in path.read_text()] == []
