"""The site's table of contents; .ci/run builds it, with warnings as errors."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]


def leaves(entry):
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in leaves(part)]


def test_every_page_stands_in_it_once():
    pages = [f"docs/{path.name}" for path in ROOT.glob("docs/*.md")]
    others = ["README.md", "CONTRIBUTING.md", "results/claims.md"]
    assert sorted(leaves(PROJECT["nav"])) == sorted(pages + others)


def test_it_asks_no_other_site_for_fonts():
    assert PROJECT["theme"]["font"] is False
