"""The page of a user's own runs."""

import re
import shutil
from zipfile import ZipFile

import pytest

from ntkrepro import cli
from ntkrepro.config.compose import expand
from ntkrepro.errors import UserError
from ntkrepro.records import store
from ntkrepro.report import bundle, own
from tests.figures.test_grid import made
from tests.report.test_page import Parsed

pytestmark = pytest.mark.usefixtures("few_resamples")


def page(folder):
    (path,) = (folder / "report").glob("custom*/index.html")
    return Parsed(path.read_text())


def test_claims_of_one_run_are_followed_or_not(digits, tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    shutil.copy(digits, tmp_path / "runs")
    assert cli.answer(["report", "custom", "scale=smoke", f"results={tmp_path}"]) == 0
    said, shown = capsys.readouterr().out, page(tmp_path)
    text = shown.text["figure"]
    found = re.findall(r"^  (4b|4c accuracy|4c loss|4d): ([^;]+);", said, re.M)
    assert [name for name, _ in found] == ["4b", "4c accuracy", "4c loss", "4d"]
    assert {verdict for _, verdict in found} <= {"follows", "doesn't follow", "inconclusive"}
    for name, verdict in found:
        assert f" {name} {verdict} " in text
    width = store.read(digits).config["model"]["width"]
    assert f" model.width 512 {width} " in text
    assert " model.b_var " not in text  # as it is by default
    (written,) = tmp_path.glob("report/custom/index.html")
    assert 'src="data:image/png;base64,iVBOR' in written.read_text()
    assert f"ntkrepro report custom scale=smoke results={tmp_path}" in shown.text[""]


def test_of_a_grid_the_gap_closes_or_not(tmp_path, capsys):
    words = [f"results={tmp_path}", "model.width=8,32,128", "seed=0,1"]
    with pytest.raises(UserError, match=r"missing 6 of 6 runs of digits: ntkrepro run -m "):
        own.report(["custom"], words)
    for run in expand(["experiment=digits", *words]):
        store.write(run, made(run.experiment), {"lr": 0.5, "started": "2026-11-29T00:00:00"})
    own.report(["custom"], words)
    assert "\n  width: closes; -1.5" in capsys.readouterr().out
    text = page(tmp_path).text["figure"]
    assert "Of 1 claim on wide networks: closes 1." in text
    assert " width closes The wider the network" in text
    claims, rows = (
        bundled("custom", words, tmp_path),
        bundled("grid", [*words, "x=width"], tmp_path),
    )
    assert "\ncustom,width,closes,-1.5" in claims["claims.csv"]
    (name,) = (name for name in rows if name.startswith("figures/") and name.endswith(".csv"))
    assert rows[name].startswith("run,model.width,seed,")


def bundled(figure, words, folder):
    """The texts in an archive."""
    with ZipFile(bundle.bundle([figure, *words, f"{folder}/own.zip"])) as archive:
        names = [name for name in archive.namelist() if name.endswith(".csv")]
        return {name: archive.read(name).decode() for name in names}


def test_other_figures_are_the_papers():
    for names in (["4"], ["custom", "grid"]):
        with pytest.raises(UserError, match=rf"^report {' '.join(names)}: must be custom or grid"):
            own.report(names, [])
