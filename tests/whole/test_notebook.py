"""The notebook of docs/ runs, and prints what it shows."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.whole.test_docs import alike

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
PLAIN = "text/plain"


def printed(cell):
    """Text and tables; of what is only drawn, that it is."""
    outputs = [o for o in cell.get("outputs", []) if o.output_type != "display_data"]
    return [o["text"] if "text" in o else o["data"][PLAIN] for o in outputs]


@pytest.mark.slow
def test_every_cell_runs_and_prints_what_it_shows(tmp_path):
    shown = nbformat.read(NOTEBOOK, as_version=4)
    ran = nbformat.from_dict(shown)
    NotebookClient(ran, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert not list(tmp_path.iterdir())
    for before, after in zip(shown.cells, ran.cells, strict=True):
        texts = printed(before), printed(after)
        assert len(texts[0]) == len(texts[1])
        assert all(map(alike, *texts)), texts
    pictures = [
        o for cell in ran.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})
    ]
    assert len(pictures) == 1
