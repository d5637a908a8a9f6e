"""The built-in models against what they must reach: accuracy, mean IoU, calibration error, size.

    python benchmarks/built_in.py [--camvid FOLDER] [--nuclei FOLDER]

ECE is the expected calibration error, "nucleus" the IoU of that class, "val, card" the mIoU in the card. Scores are
those of `pixelwise evaluate`, at each image's own size: on test where that split is there, otherwise on val, from which
`street` has learnt; its card tells what it reached there before that.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

import pixelwise as pw
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.prediction.built_in_models import built_in

DATA = Path(__file__).parents[2] / "shared/data"
MUST = {
    "street": "accuracy ≥ 0.93, mIoU ≥ 0.72, calibration error ≤ 0.03, two files ≤ 8 MB",
    "street-int8": "as street",
    "nuclei": "IoU of nucleus ≥ 0.80, ≤ 4 MB",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--camvid", type=Path, default=DATA / "camvid")
    parser.add_argument("--nuclei", type=Path, default=DATA / "nuclei")
    chosen = parser.parse_args()
    console = Console(highlight=False)
    table = Table("model", "split", "accuracy", "mIoU", "nucleus", "ECE", "MB", "val, card")
    for name, must in MUST.items():
        data = chosen.nuclei if name == "nuclei" else chosen.camvid
        if not data.is_dir():
            sys.exit(f"{data}: no such folder; name it with --{'nuclei' if name == 'nuclei' else 'camvid'}.")
        split = "test" if open_dataset(data).splits.get("test") else "val"
        model, report = built_in(name), pw.evaluate(name, data, split=split).to_json()
        nucleus = f"{report['classes']['nucleus']['iou']:.3f}" if name == "nuclei" else "–"
        figures = (f"{report['accuracy']:.3f}", f"{report['miou']:.3f}", nucleus, f"{report['calibration']['ece']:.3f}")
        card = model.metadata.provenance["metrics"]["miou"]
        table.add_row(name, split, *figures, f"{model.path.stat().st_size / 1e6:.1f}", f"{card:.3f}")
        console.print(f"{name} must on test: {must}")
    console.print(table)


if __name__ == "__main__":
    main()
