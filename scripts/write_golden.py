"""tests/golden_ids.json: the run_id of every point of every experiment at every scale.

A record is found by its id, so whatever moves in the code, these must not. Run it only where a
config is meant to change:  python scripts/write_golden.py
"""

import json
from pathlib import Path

from ntkrepro.config.catalog import experiments
from ntkrepro.config.compose import expand
from ntkrepro.config.schema import Scale

GOLDEN = Path(__file__).parents[1] / "tests" / "golden_ids.json"


def ids() -> dict[str, dict[str, list[str]]]:
    """experiment -> scale -> ids in the sweep's order."""
    return {
        name: {
            scale.name: [run.id for run in expand([f"experiment={name}", f"scale={scale.name}"])]
            for scale in Scale
        }
        for name in experiments()
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(ids(), indent=1) + "\n")
    print(GOLDEN)
