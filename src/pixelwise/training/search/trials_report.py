"""The table of a search's trials and what mattered, as CSV and as one HTML page that opens offline."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pixelwise.images.files import write_whole
from pixelwise.reports.charts import Line, bars, line_chart

ENOUGH = 30  # trials, below which shares of what mattered are no more than a hint
SCATTERED = 6  # parts of the recipe that get a chart of their own, those that mattered most


@dataclass(frozen=True)
class TrialRow:
    """One trial."""

    number: int  # its folder
    state: str  # done, stopped early, diverged or unfinished
    miou: float  # on the val split, of its best epoch so far; NaN without one
    epochs: int  # finished
    seconds: float
    params: dict[str, Any]  # what was searched → the trial's number

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def write_report(out: Path, rows: Sequence[TrialRow], importances: dict[str, float], names: Sequence[str]) -> None:
    """Write OUT/trials.csv and OUT/search.html."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["trial", "state", "val_miou", "epochs", "seconds", *names])
    for row in rows:
        miou = "" if math.isnan(row.miou) else f"{row.miou:.5f}"
        values = [f"{row.params[name]:.4g}" for name in names]
        table.writerow([f"{row.number:04d}", row.state, miou, row.epochs, f"{row.seconds:.1f}", *values])
    write_whole(out / "trials.csv", file.getvalue().encode())
    write_whole(out / "search.html", page_of(out, rows, importances, names).encode())


def page_of(out: Path, rows: Sequence[TrialRow], importances: dict[str, float], names: Sequence[str]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("pixelwise.training.search"), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    ranked = [*importances, *(name for name in names if name not in importances)]
    known = [row for row in rows if not math.isnan(row.miou)]
    return environment.get_template("search.html").render(
        out=out.resolve().name,
        rows=sorted(rows, key=lambda row: (math.isnan(row.miou), -row.miou)),
        names=ranked,
        known=known,
        importances=bars(
            "what mattered, by part of the recipe",
            [(name, share, f"{share:.0%}") for name, share in importances.items()],
            max(importances.values(), default=1.0),
        ),
        has_importances=bool(importances),
        few=len(rows) < ENOUGH,
        course=course(known),
        charts=[(name, scatter(known, name)) for name in ranked[:SCATTERED]] if known else [],
    )


def course(rows: Sequence[TrialRow]) -> str:
    """Every trial's mIoU in the order of the trials, and the best so far."""
    if not rows:
        return ""
    last = max(rows[-1].number, 1)
    best, so_far = -math.inf, []
    for row in rows:
        best = max(best, row.miou) if row.state == "done" else best
        so_far.append((row.number / last, best))
    top = max(row.miou for row in rows) or 1.0
    lines = [
        Line("best so far", [(x, y) for x, y in so_far if y > -math.inf]),
        *(Line("trial", [(row.number / last, row.miou)], "guess") for row in rows),
    ]
    return line_chart("mIoU of every trial and the best so far", "trial", "val mIoU", lines,
                      [(0.0, "0"), (1.0, str(last))], top)  # fmt: skip


def scatter(rows: Sequence[TrialRow], name: str) -> str:
    """mIoU over one part of the recipe, a dot a trial; finished trials solid, the others grey."""
    values = [float(row.params[name]) for row in rows]
    low, high = min(values), max(values)
    log = low > 0 and high / low > 8

    def place(value: float) -> float:
        if high == low:
            return 0.5
        return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)

    lines = [
        Line("trial", [(place(value), row.miou)], "a" if row.state == "done" else "guess")
        for row, value in zip(rows, values, strict=True)
    ]
    ends = [(0.0, f"{low:.2g}"), (1.0, f"{high:.2g}")] if high > low else [(0.5, f"{low:.2g}")]
    return line_chart(f"mIoU over {name}", name + (" (by factors)" if log else ""), "val mIoU", lines, ends,
                      max(row.miou for row in rows) or 1.0)  # fmt: skip
