"""An archive for a reader who has nothing else: figures, their claims and their records, with the
configs, the versions and the checksums, described as an RO-Crate 1.1.

Unpacked it is a results folder: `ntkrepro figures results=FOLDER` draws from it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pandas as pd

from ntkrepro.config import catalog
from ntkrepro.config.compose import compose
from ntkrepro.errors import UserError
from ntkrepro.figures import gather, save
from ntkrepro.figures.gather import Gathered
from ntkrepro.files import atomic
from ntkrepro.records.store import Record
from ntkrepro.report import page

SPECIFICATION = "https://w3id.org/ro/crate/1.1"
LICENSE = "https://spdx.org/licenses/Apache-2.0"
METADATA, SUMS, README = "ro-crate-metadata.json", "manifest-sha256.txt", "README.md"
KINDS = {  # by the name's end: its media type
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "lock": "text/plain",
    "md": "text/markdown",
    "pdf": "application/pdf",
    "png": "image/png",
    "txt": "text/plain",
    "yaml": "application/yaml",
}


def bundle(words: Sequence[str]) -> Path:
    """Write the archive of these figures (none: all, and the report), and its path.

    Words as of `ntkrepro figures`; one that ends in .zip is where. Raises UserError for those, and
    where nothing can be drawn.
    """
    files = [word for word in words if word.endswith(".zip") and "=" not in word]
    names = [word for word in words if "=" not in word and word not in files]
    overrides = [word for word in words if "=" in word]
    if len(files) > 1:
        raise UserError(f"bundle {' '.join(files)}: is one file")
    contents: dict[str, bytes] = {}
    if names:
        gathered = gather.gather(names, overrides)
    else:
        report, own = page.written(overrides)
        contents[f"report/{own.scale}/index.html"], gathered = report.read_bytes(), own.gathered
    shown = [one for one in gathered if one.drawable]
    if not shown:
        command = " ".join(["ntkrepro", "figures", *words])
        raise UserError(f"bundle: no figure can be drawn yet; `{command}` says what is missing")
    pictures = {
        one.name: save.target(one.name, overrides if names else scaled(overrides)) for one in shown
    }
    where = compose(scaled(overrides)).experiment
    to = Path(*files) if files else Path(where.results) / f"ntkrepro-{where.scale.name}.zip"
    contents |= members(shown, pictures, Path(where.results))
    write(to, contents, records_of(shown))
    return to


def scaled(overrides: Sequence[str]) -> list[str]:
    """The words that say what the scale is, and where things are."""
    return [word for word in overrides if save.key(word) in ("scale", "results", "data.dir")]


def records_of(shown: Sequence[Gathered]) -> list[Record]:
    return list({id: record for one in shown for id, record in one.runs().items()}.values())


def members(
    shown: Sequence[Gathered], pictures: dict[str, Path], results: Path
) -> Iterator[tuple[str, bytes]]:
    """Names in the archive, and what they hold."""
    for record in records_of(shown):
        yield f"runs/{record.id}.parquet", (results / "runs" / f"{record.id}.parquet").read_bytes()
    for one in shown:
        to = pictures[one.name]
        save.picture(one, to)
        for file in save.files(one, to):
            yield f"figures/{one.scale}/{file.name}", file.read_bytes()
    yield "claims.csv", claims(shown).to_csv(index=False).encode()
    for folder in catalog.folders():
        for file in sorted(folder.rglob("*.yaml")):
            yield f"configs/{file.relative_to(folder)}", file.read_bytes()
    lock = catalog.configs_dir().parent / "requirements.lock"  # in a checkout
    if lock.is_file():
        yield lock.name, lock.read_bytes()
    yield "installed.txt", "".join(installed()).encode()


def installed() -> list[str]:
    """The packages of the Python that writes the archive; those of a record are in itself."""
    found = {(one.name.lower(), one.version) for one in distributions()}
    return [f"{name}=={number}\n" for name, number in sorted(found)]


def claims(shown: Sequence[Gathered]) -> pd.DataFrame:
    """A row a claim, those that two figures check once."""
    found = {claim: one for one in reversed(shown) for claim in one.claims}
    rows = [
        (one.name, c.id, c.word, c.value, *c.interval, c.threshold, c.statement, c.source)
        for one in shown
        for c in one.claims
        if found[c] is one
    ]
    names = ["figure", "claim", "verdict", "value", "low", "high", "holds_when"]
    return pd.DataFrame(rows, columns=[*names, "statement", "source"])


def write(to: Path, contents: dict[str, bytes], records: Sequence[Record]) -> None:
    """The zip. The same contents are the same bytes: its time is the last record's."""
    last = max(record.provenance["started"] for record in records)
    contents[README] = readme(len(records)).encode()
    described = metadata(contents, records, last)
    contents[METADATA] = f"{json.dumps(described, indent=1)}\n".encode()
    sums = (f"{sha256(data).hexdigest()}  {name}\n" for name, data in sorted(contents.items()))
    contents[SUMS] = "".join(sums).encode()
    when = tuple(map(int, re.findall(r"\d+", last)[:6]))
    with atomic(to) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, data in sorted(contents.items()):
            archive.writestr(ZipInfo(name, when), data, ZIP_DEFLATED)  # type: ignore[arg-type]


def readme(records: int) -> str:
    return f"""# Figures, claims and records of ntkrepro

Does this network train like its linearization? Written by ntkrepro {version("ntkrepro")}.

- `figures/`: pictures (PNG, PDF); `claims.csv`: what each claim measured, its 95 % interval and
  verdict; `report/`, where all figures are here: the same on one page.
- `runs/`: {records} records, Parquet files that pandas, polars or DuckDB read; config and
  provenance are JSON in their metadata.
- `configs/`: of the experiments; `requirements.lock`, `installed.txt`: versions.
- `{SUMS}`: `sha256sum -c {SUMS}` tells whether a file was changed.

This folder is a results folder of ntkrepro's: `ntkrepro figures results=FOLDER` (with the scale and
the figures' names) draws from it, and `ntkrepro verify results=FOLDER` computes records again.
"""


def metadata(contents: dict[str, bytes], records: Sequence[Record], last: str) -> dict[str, Any]:
    """RO-Crate's description of the archive."""
    files = [
        {
            "@id": name,
            "@type": "File",
            "contentSize": str(len(data)),
            "encodingFormat": KINDS[name.rpartition(".")[2]],
            "sha256": sha256(data).hexdigest(),
        }
        for name, data in sorted(contents.items())
    ]
    commits = sorted({record.provenance.get("commit") or "unknown" for record in records})
    software = {"@id": "#ntkrepro", "@type": "SoftwareApplication", "name": "ntkrepro"}
    about = {"@id": METADATA, "@type": "CreativeWork", "about": {"@id": "./"}}
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": "Figures, claims and records of ntkrepro",
        "description": f"{len(records)} training runs of networks beside their linearizations, and "
        "the figures and claims of Lee et al. 2019 (arXiv 1902.06720) that they decide.",
        "datePublished": last[:10],
        "license": {"@id": LICENSE},
        "hasPart": [{"@id": file["@id"]} for file in files],
        "mentions": {"@id": "#ntkrepro"},
    }
    return {
        "@context": f"{SPECIFICATION}/context",
        "@graph": [
            about | {"conformsTo": {"@id": SPECIFICATION}},
            root,
            software
            | {"version": version("ntkrepro"), "description": f"commits {' '.join(commits)}"},
            *files,
        ],
    }
