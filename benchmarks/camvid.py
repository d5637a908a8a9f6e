"""CamVid at 256×256, 20 epochs, seed 0: accuracy, mIoU, time and memory, beside the textbook's table.

    python benchmarks/camvid.py [DATA] [--epochs 20] [--seed 0] [--out DIR] [--set NAME=VALUE …]

Trains as `pixelwise train` does, in a process of its own so that its peak memory is its own, then measures the bundle
with ONNX Runtime as `pixelwise evaluate` does: on val, and on test where that split is there.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import pixelwise as pw

# "Why segmentation labels every pixel": (loss, accuracy) after these epochs.
TEXTBOOK = {1: (1.2, 0.45), 5: (0.8, 0.65), 10: (0.5, 0.80), 15: (0.35, 0.88), 20: (0.30, 0.90)}
MUST = {"accuracy": 0.925, "mIoU": 0.66, "minutes": 8.0, "peak GB": 3.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared/data/camvid")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    chosen = parser.parse_args()
    if not chosen.data.is_dir():
        sys.exit(f"{chosen.data}: no such folder; name the folder with CamVid in SegNet's layout.")
    out = chosen.out or Path(tempfile.mkdtemp(prefix="pixelwise-camvid-")) / "run"
    console = Console(highlight=False)

    began = time.perf_counter()
    settings = [option for setting in chosen.set for option in ("--set", setting)]
    subprocess.run(
        [sys.executable, "-m", "pixelwise", "train", chosen.data, "--out", out, "--epochs", str(chosen.epochs),
         "--seed", str(chosen.seed), "--json", out.with_suffix(".json"), *settings],
        check=True,
    )  # fmt: skip
    minutes = (time.perf_counter() - began) / 60
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    epochs = json.loads(out.with_suffix(".json").read_text())["epochs"]

    table = Table(
        "epoch", "textbook loss", "val loss", "textbook accuracy", "val accuracy", title="Against the textbook"
    )
    for number, (loss, accuracy) in TEXTBOOK.items():
        if number <= len(epochs):
            ours = epochs[number - 1]
            table.add_row(
                str(number), f"{loss:.2f}", f"{ours['val_loss']:.3f}", f"{accuracy:.2f}", f"{ours['accuracy']:.3f}"
            )
    console.print(table)

    reports = {"val": pw.evaluate(out, chosen.data, split="val")}
    if (chosen.data / "test").is_dir():
        reports["test"] = pw.evaluate(out, chosen.data, split="test")
    for split, report in reports.items():
        console.print(f"{split}: {out / 'model.onnx'}")
        console.print(report.to_rich())
    figures = Table("figure", "must", "measured", title=f"CamVid → val, {chosen.epochs} epochs, seed {chosen.seed}")
    figures.add_row("pixel accuracy", f"≥ {MUST['accuracy']}", f"{reports['val'].accuracy:.4f}")
    figures.add_row("mIoU", f"≥ {MUST['mIoU']}", f"{reports['val'].miou:.4f}")
    figures.add_row("training, evaluation and export", f"≤ {MUST['minutes']:.0f} min", f"{minutes:.2f} min")
    figures.add_row("peak memory", f"≤ {MUST['peak GB']:.0f} GB", f"{peak_gb:.2f} GB")
    console.print(figures)


if __name__ == "__main__":
    main()
