"""An archive is a results folder again, tells of itself, and shows when it was changed."""

import io
import json
import shutil
import subprocess
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pytest

from ntkrepro.errors import UserError
from ntkrepro.figures import gather
from ntkrepro.records import store
from ntkrepro.report import bundle, page

pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture
def results(smoke_records, tmp_path, monkeypatch):
    """Results that hold nothing but the runs of Figures 1 and S3."""
    monkeypatch.setattr(page, "NAMES", ["1", "3", "S3"])
    (tmp_path / "results/runs").mkdir(parents=True)
    for path in smoke_records("kernel_convergence"):
        shutil.copy(path, tmp_path / "results/runs")
    return ["scale=smoke", f"results={tmp_path / 'results'}"]


def unpacked(archive, to):
    with ZipFile(archive) as file:
        file.extractall(to)
    return to


def test_an_archive_is_a_results_folder_that_draws_the_same(results, tmp_path):
    to = bundle.bundle(results)
    assert to == tmp_path / "results/ntkrepro-smoke.zip"
    folder = unpacked(to, tmp_path / "there")
    words = ["scale=smoke", f"results={folder}"]
    checked = {}
    for name in ("S3", "1"):
        (own,), (there,) = (gather.gather([name], given) for given in (results, words))
        checked |= {claim.id: claim.verdict for claim in own.claims}
        assert own.about() == there.about()
        assert (folder / f"figures/smoke/fig{name}.pdf").stat().st_size > 1000
    claims = pd.read_csv(folder / "claims.csv").set_index("claim")
    assert dict(claims.verdict) == checked
    assert claims.index.is_unique  # S3 repeats 1
    assert "figure-S3" in (folder / "report/smoke/index.html").read_text()
    assert (folder / "requirements.lock").is_file()
    assert (folder / "configs/experiment/kernel_convergence.yaml").is_file()


def test_it_tells_of_every_file_and_when_one_was_changed(results, tmp_path):
    folder = unpacked(bundle.bundle(["1", *results, str(tmp_path / "own.zip")]), tmp_path / "there")
    graph = json.loads((folder / bundle.METADATA).read_text())["@graph"]
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    parts = {one["@id"] for one in graph if one["@type"] == "File"}
    assert parts == found - {bundle.METADATA, bundle.SUMS}
    root = next(one for one in graph if one["@id"] == "./")
    assert {part["@id"] for part in root["hasPart"]} == parts
    record = store.read(next(folder.glob("runs/*.parquet")))
    assert root["datePublished"] == record.provenance["started"][:10]
    assert not list(folder.glob("report"))  # one figure was asked for

    def checked():
        command = ["sha256sum", "--quiet", "-c", bundle.SUMS]
        return subprocess.run(command, cwd=folder, capture_output=True).returncode

    assert checked() == 0
    (folder / "claims.csv").write_text("claim,verdict\n")
    assert checked() == 1


def test_the_same_records_give_the_same_bytes(results):
    first, second = (Path(bundle.bundle(results)).read_bytes() for _ in range(2))
    assert first == second
    assert all(info.date_time[0] > 2000 for info in ZipFile(io.BytesIO(first)).infolist())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["3"], "no figure can be drawn yet; `ntkrepro figures 3 scale=smoke"),
        (["model.width=3"], "model.width=3: a report takes only"),
        (["a.zip", "b.zip"], "a.zip b.zip: is one file"),
        (["9"], "figure 9: no such figure"),
    ],
)
def test_what_cannot_be_archived_is_told(results, words, told):
    with pytest.raises(UserError, match=told):
        bundle.bundle([*words, *results])
