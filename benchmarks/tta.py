"""What test-time augmentation brings and costs: mIoU and time of a model on a split, with different views.

python benchmarks/tta.py RUN ../shared/data/camvid [--split val] [--views flip flip,1.5]
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

import pixelwise as pw

VIEWS = ("", "flip", "1.25", "flip,0.75", "flip,1.25", "flip,1.5", "flip,1.25,1.5", "flip,2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--split", default="val")
    parser.add_argument("--views", nargs="*", default=VIEWS)
    chosen = parser.parse_args()
    model, data = pw.load(chosen.model), pw.open_dataset(chosen.data)
    table = Table("--tta", "mIoU", "calibration error", "milliseconds an image", title=f"{chosen.data}, {chosen.split}")
    for views in chosen.views:
        report = pw.evaluate(model, data, split=chosen.split, tta=views)
        error = report.analysis.calibration.error
        table.add_row(views or "none", f"{report.miou:.2%}", f"{error:.2%}", f"{report.milliseconds:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
