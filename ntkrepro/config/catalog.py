"""The experiments that there are; imports nothing slow."""

from pathlib import Path


def configs_dir() -> Path:
    """The YAML folder: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def experiments() -> list[str]:
    """Their names, which are those of the YAML files."""
    return sorted(path.stem for path in configs_dir().glob("experiment/*.yaml"))


def listing() -> str:
    """What `ntkrepro list` prints of them: each with the first comment of its file."""
    lines = [f"  {name:20} {first_comment(experiment_file(name))}" for name in experiments()]
    return "\n".join(["experiments (ntkrepro run experiment=NAME):", *lines])


def experiment_file(name: str) -> Path:
    return configs_dir() / "experiment" / f"{name}.yaml"


def first_comment(path: Path) -> str:
    """First comment line that isn't Hydra's package directive."""
    comments = (line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#"))
    return next((line for line in comments if not line.startswith("@")), "")
