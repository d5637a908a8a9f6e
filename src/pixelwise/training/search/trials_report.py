"""A search's trials and the importance of each parameter, as CSV and as one HTML file that works offline."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pixelwise.images.files import write_whole
from pixelwise.reports.charts import Line, bars, line_chart
from pixelwise.reports.html_page import number, render, write_page

ENOUGH = 30  # trials; with fewer, importances are a rough guide
SCATTERED = 6  # number of parameters with a chart, the most important ones


@dataclass(frozen=True)
class TrialRow:
    """One trial."""

    number: int  # its folder
    state: str  # done, stopped early, diverged or unfinished
    miou: float  # on the val split, at its best epoch so far; NaN without one
    epochs: int  # finished
    seconds: float
    params: dict[str, Any]  # searched field → its value in the trial

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
    write_page(page_of(out, rows, importances, names), out / "search.html")


def page_of(out: Path, rows: Sequence[TrialRow], importances: dict[str, float], names: Sequence[str]) -> str:
    """The page's HTML."""
    ranked = [*importances, *(name for name in names if name not in importances)]
    known = [row for row in rows if not math.isnan(row.miou)]
    top = max((row.miou for row in known), default=0.0) or 1.0
    shares = [(name, share, f"{share:.0%}") for name, share in importances.items()]
    return render(
        "search.html",
        out=out.resolve().name,
        rows=[
            (f"{row.number:04d}", [row.state, number(row.miou, ".4f"), row.epochs, f"{row.seconds:.0f}",
                                   *(f"{row.params[name]:.4g}" for name in ranked)])
            for row in sorted(rows, key=lambda row: (math.isnan(row.miou), -row.miou))
        ],
        names=ranked,
        importances=bars("Importance of each parameter", shares, max(importances.values())) if importances else None,
        few=len(rows) < ENOUGH,
        history=history(known, top) if known else None,
        charts=[(name, scatter(known, name, top)) for name in ranked[:SCATTERED]] if known else [],
    )  # fmt: skip


def history(rows: Sequence[TrialRow], top: float) -> Markup:
    """Chart of every trial's mIoU in order, and of the best finished trial so far."""
    last = max(rows[-1].number, 1)
    best, so_far = -math.inf, []
    for row in rows:
        best = max(best, row.miou) if row.state == "done" else best
        so_far.append((row.number / last, best))
    lines = [
        Line("best finished trial so far", [(x, y) for x, y in so_far if y > -math.inf]),
        Line("trial", [(row.number / last, row.miou) for row in rows], "guess", joined=False),
    ]
    ticks = [(0.0, "0"), (1.0, str(last))]
    return line_chart("mIoU of every trial and the best so far", "trial", "val mIoU", lines, ticks, top)


def scatter(rows: Sequence[TrialRow], name: str, top: float) -> Markup:
    """Chart of mIoU against one recipe parameter, one dot per trial."""
    values = [float(row.params[name]) for row in rows]
    low, high = min(values), max(values)
    log = low > 0 and high / low > 8

    def place(value: float) -> float:
        if high == low:
            return 0.5
        return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)

    points = [(place(value), row.miou, row.state == "done") for row, value in zip(rows, values, strict=True)]
    lines = [
        Line("finished trial", [(x, y) for x, y, done in points if done], joined=False),
        Line("unfinished trial", [(x, y) for x, y, done in points if not done], "guess", joined=False),
    ]
    ends = [(0.0, f"{low:.2g}"), (1.0, f"{high:.2g}")] if high > low else [(0.5, f"{low:.2g}")]
    return line_chart(f"mIoU against {name}", name + (" (log scale)" if log else ""), "val mIoU", lines, ends, top)
