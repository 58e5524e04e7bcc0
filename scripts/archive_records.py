"""Put the small records behind the committed figures into results/runs.tar.xz.

    python scripts/archive_records.py [--below 14000]

Those of both scales' reports that have fewer bytes; the others are committed one by one. Prints
what git is then to forget and to keep.
"""

import argparse
from pathlib import Path

from ntkrepro.records import archive, store
from ntkrepro.report import page

FOLDER = Path("results/runs")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--below", type=int, default=14_000)
    below = parser.parse_args().below
    needed = [run.path for scale in ("laptop", "paper") for run in page.runs([f"scale={scale}"])]
    there = {path for path in needed if store.is_done(path)}
    small = sorted(path.name for path in there if path.stat().st_size < below)
    packed = archive.pack(FOLDER, small)
    print(f"{packed}: {len(small)} records, {packed.stat().st_size / 1e6:.1f} MB")
    large = sorted(path.name for path in there if path.name not in {*small})
    for name, of in (("small", small), ("large", large)):
        Path(f"{name}-records.txt").write_text("".join(f"{FOLDER / one}\n" for one in of))
    print("git rm -q --cached --pathspec-from-file=small-records.txt --ignore-unmatch")
    print("git add -f --pathspec-from-file=large-records.txt")


if __name__ == "__main__":
    main()
