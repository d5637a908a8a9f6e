#!/usr/bin/env bash
# What a GPU does with Pixelwise, in about ten minutes: tests, speed, a default training, the long one of `street`.
#
#     CAMVID=camvid.zip OUT=folder bash benchmarks/gpu_kit.sh [tests] [speed] [default] [street]     (default: all)
#
# CAMVID is the file that benchmarks/pack.py makes. Installs nothing: needs python3 (or PYTHON=…) with torch 2.9 or
# newer for CUDA, and what `pip install pixelwise[train]` brings. STREET_BUDGET (default 6m) is the long training's time.
# OUT gets table.txt, logs, and of each training its trace, best weights and bundle, none over 16 MiB.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${CAMVID:?the file that benchmarks/pack.py makes}" "${OUT:?a folder for the results}"
PYTHON=${PYTHON:-python3}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$OUT"
exec > >(tee -a "$OUT/table.txt") 2>&1
CORES=$(nproc)
WORKERS=$((CORES > 2 ? CORES - 2 : 0))

say() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

data() { [ -d "$WORK/camvid" ] || "$PYTHON" -m zipfile -e "$CAMVID" "$WORK/camvid"; }

keep() { # run name: what of a run fits into 16 MiB a file
    for file in trace.jsonl model.onnx checkpoints/best.safetensors; do
        if [ -f "$1/$file" ] && [ "$(stat -c %s "$1/$file")" -le $((16 << 20)) ]; then
            cp "$1/$file" "$OUT/$2-$(basename "$file")"
        fi
    done
}

scores() { # run: the scores of its trace, and those of its bundle on the processor and, where there is one, with CUDA
    "$PYTHON" - "$1" "$WORK/camvid" <<'PY'
import sys
from pathlib import Path

import pixelwise as pw
from pixelwise.prediction.engines.onnx_runtime import has_cuda
from pixelwise.trace_events import read_events

run, data = Path(sys.argv[1]), Path(sys.argv[2])
epochs = [event for event in read_events(run / "trace.jsonl") if event["event"] == "epoch"]
best = [event for event in epochs if event["best"]][-1]
pace = sorted(event["images_per_second"] for event in epochs)[len(epochs) // 2]
print(f"epochs {len(epochs)}, {pace:,.0f} images/s (median epoch, loading included)")
print(f"on the GPU while training:  accuracy {best['accuracy']:.4f}, mIoU {best['miou']:.4f}, epoch {best['epoch']}")
for engine in ("onnxruntime", "cuda") if has_cuda() else ("onnxruntime",):
    report = pw.evaluate(pw.load(run / "model.onnx", engine=engine), data, split="val").to_json()
    print(f"its bundle, {engine + ':':15} accuracy {report['accuracy']:.4f}, mIoU {report['miou']:.4f}; "
          f"{100 * (report['miou'] - best['miou']):+.2f} points (must be within 0.5)")
if not has_cuda():
    print("ONNX Runtime here has no CUDA: parity with it was not looked at")
PY
}

tests() {
    say "tests that need a GPU"
    "$PYTHON" -m pytest -q -p no:cacheprovider tests/training/test_cuda.py
}

speed() {
    say "training steps; the goal is 1,500 images/s at 480×360 in bf16 on an H100"
    "$PYTHON" benchmarks/gpu_speed.py
}

default() {
    say "the default recipe: 20 epochs at 256×256 (on a processor: accuracy 0.934, mIoU 0.687)"
    data
    printf 'workers = %s\n' "$WORKERS" > "$WORK/default.toml"
    "$PYTHON" -m pixelwise train "$WORK/camvid" --out "$WORK/default" --recipe "$WORK/default.toml" --device cuda
    scores "$WORK/default"
    keep "$WORK/default" default
}

street() {
    say "street's long recipe, in ${STREET_BUDGET:-6m}"
    data
    "$PYTHON" -m pixelwise train "$WORK/camvid" --out "$WORK/street" --recipe recipes/street.toml \
        --budget "${STREET_BUDGET:-6m}" --workers "$WORKERS" --device cuda
    scores "$WORK/street"
    keep "$WORK/street" street
}

for part in "${@:-tests speed default street}"; do
    for one in $part; do
        case $one in
            tests | speed | default | street) "$one" ;;
            *) echo "$one: expected tests, speed, default or street" && exit 2 ;;
        esac
    done
done
say "done; files in $OUT"
