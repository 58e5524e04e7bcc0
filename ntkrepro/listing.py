"""What `ntkrepro list` prints; imports nothing slow."""

from collections.abc import Mapping
from pathlib import Path


def listing(figures: Mapping[str, object]) -> str:
    lines = ["experiments (ntkrepro run experiment=NAME):"]
    for path in sorted(configs_dir().glob("experiment/*.yaml")):
        lines.append(f"  {path.stem:20} {first_comment(path)}")
    return "\n".join([*lines, f"figures (ntkrepro figures NAME): {' '.join(figures)}"])


def configs_dir() -> Path:
    """The YAML folder: inside an installed package, or at the top of a checkout."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "configs"


def first_comment(path: Path) -> str:
    """First comment line that isn't Hydra's package directive."""
    comments = (line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#"))
    return next((line for line in comments if not line.startswith("@")), "")
