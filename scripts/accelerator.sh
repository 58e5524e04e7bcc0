#!/bin/bash
# The paper's own sizes in ten minutes of one accelerator (docs/accelerators.md), without a network:
#   scripts/accelerator.sh [SECONDS=600] [paper|smoke]
# Installs accelerator/wheels beside this machine's own JAX, once, and runs `ntkrepro check`, then the rows below in the
# order of what they decide. Each is a process of its own that is cut at its share of the time; its records, and an
# archive of all, are in accelerator/out (or $OUT) as it ends. Data are read from accelerator/data. `smoke` rehearses.
set -u
cd "$(dirname "$0")/.." || exit 2
limit=${1:-600} scale=${2:-paper} out=${OUT:-$PWD/accelerator/out}
first=300 seven="data.train=${TRAIN:-50000} data.test=64 log.train=64 log.points=24" # few looks, of 64 examples
cnn="model.width=512 model.depth=1,2,4" wrn="model.width=256 model.depth=1"
[ "$scale" = smoke ] && first=20 seven="" cnn="model.width=8 model.depth=1" wrn="model.width=4 model.depth=1"

site=$PWD/accelerator/site
[ "$site" -nt accelerator/wheels ] || {
  rm -rf "$site" "$site.new"
  python3 -m pip install -q --no-index --no-deps --no-compile --target "$site.new" accelerator/wheels/*.whl || exit 2
  mv "$site.new" "$site"
}
export PYTHONPATH=$PWD:$site PYTHONUNBUFFERED=1
export TFDS_DATA_DIR=$PWD/accelerator/data XDG_CACHE_HOME=$PWD/accelerator/cache
mkdir -p "$out" "$XDG_CACHE_HOME" && touch "$out/began"

row() { # NAME SHARE WORDS...: `ntkrepro WORDS`, cut at SHARE percent of the time, or where all of it is up
  local name=$1 most=$((limit * $2 / 100)) left=$((limit - SECONDS)) began=$SECONDS code
  shift 2
  most=$((most < left ? most : left))
  [ $most -lt 5 ] && { echo "$name: no time left"; return; }
  echo "== $name: ntkrepro $*" >"$out/row.txt"
  timeout -k 30 "$most" python3 -m ntkrepro "$@" >>"$out/row.txt" 2>&1
  code=$?
  cat "$out/row.txt" >>"$out/log.txt"
  echo "$name: exit code $code after $((SECONDS - began)) of $most s"
  grep -E '^(error|stopped)' "$out/row.txt"
  speeds
  [ -d "$out/results/runs" ] && tar -C "$out/results" -czf "$out/records.tgz" runs
}

speeds() { # of the records since the last look; the last one's steps a second are in $rate
  local line
  while read -r line; do
    echo "  $line"
    rate=${line##* }
  done < <(python3 - "$out" <<'PYTHON'
import sys
from pathlib import Path
from ntkrepro.records import store

out = Path(sys.argv[1])
looked = (out / "began").stat().st_mtime_ns
for path in sorted(out.glob("results/runs/*.parquet"), key=lambda path: path.stat().st_mtime_ns):
    record = store.read(path)
    if path.stat().st_mtime_ns > looked and record:
        config, seconds = record.config, record.provenance["seconds"]["training"]
        steps = config["optimizer"]["steps"] * config["samples"]
        print(f"{path.stem} {config['name']}: {steps} steps in {seconds} s, a second: {steps / seconds:.4g}")
PYTHON
  )
  touch "$out/began"
}

run() { # NAME SHARE EXPERIMENT WORDS...
  row "$1" "$2" run -m "experiment=$3" "scale=$scale" "${@:4}" "results=$out/results"
}

rate=1
row check 25 check
cat "$out/row.txt"
# shellcheck disable=SC2086  # words
{
  run "Figure 7, dip and rebound" 20 wrn_cifar seed=0 optimizer.steps=$first $seven
  steps=$(awk "BEGIN { print int($limit * 0.25 * 0.8 * $rate) }")
  run "Figure 7, as far as it goes" 25 wrn_cifar seed=0 optimizer.steps=$steps $seven
  run "Figure 5, literally" 30 cnn_cifar seed=0 optimizer.solver=steps linearized.space=both
  run "Figure 4, literally" 15 fc_cifar seed=0 optimizer.solver=steps
  run "Figure 3" 30 ensemble optimizer.train=all
  run "Figure 8c, the widest" 15 rmse_cnn seed=0 $cnn
  run "Figure 8d, the widest" 15 rmse_wrn seed=0 $wrn
}
echo "records: $out/records.tgz; what was printed: $out/log.txt"
