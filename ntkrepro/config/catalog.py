"""The experiments that there are; imports nothing slow."""

from pathlib import Path

from ntkrepro.errors import UserError

OWN: list[str] = []  # a folder of the user's own, beside configs_dir()
PACKAGE = "# @package _global_"


def configs_dir() -> Path:
    """The YAML folder: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def use(folder: str) -> None:
    """Add the experiments of FOLDER/experiment/NAME.yaml. Raises UserError."""
    found = sorted(Path(folder).glob("experiment/*.yaml"))
    if not found:
        raise UserError(f"--config-dir {folder}: no experiment/NAME.yaml in it")
    for path in found:
        if path.stem in experiments():
            raise UserError(f"{path}: there is an experiment {path.stem}; name it otherwise")
        if PACKAGE not in text_of(path):
            raise UserError(f"{path}: its first line must be `{PACKAGE}`")
    OWN[:] = [str(Path(folder).resolve())]


def folders() -> list[Path]:
    return [configs_dir(), *map(Path, OWN)]


def options() -> list[str]:
    """The words of a command line that sees the same experiments."""
    return ["--config-dir", *OWN] if OWN else []


def experiments() -> list[str]:
    """Their names, which are those of the YAML files."""
    return sorted(path.stem for folder in folders() for path in folder.glob("experiment/*.yaml"))


def listing() -> str:
    """What `ntkrepro list` prints of them: each with the first comment of its file."""
    lines = [f"  {name:20} {first_comment(experiment_file(name))}" for name in experiments()]
    return "\n".join(["experiments (ntkrepro run experiment=NAME):", *lines])


def experiment_file(name: str) -> Path:
    paths = [folder / "experiment" / f"{name}.yaml" for folder in folders()]
    return next((path for path in paths if path.is_file()), paths[0])


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"can't read {path}: {error}") from error


def first_comment(path: Path) -> str:
    """First comment line that isn't Hydra's package directive."""
    comments = (line[1:].strip() for line in text_of(path).splitlines() if line.startswith("#"))
    return next((line for line in comments if not line.startswith("@")), "")
