"""The report as one HTML page that needs no other file, no network and no script.

Shapes: C classes.
"""

from __future__ import annotations

from math import isnan
from pathlib import PurePath
from typing import Any

import numpy as np

from pixelwise.evaluation.analysis import COVERAGES, Analysis
from pixelwise.evaluation.evaluation_report import WHOLE, EvaluationReport
from pixelwise.evaluation.example_images import examples, suspect_crops
from pixelwise.evaluation.match_classes import Match
from pixelwise.evaluation.per_image import ROW_TOLERANCE_PX
from pixelwise.metrics.boundary import DISTANCES_PX
from pixelwise.metrics.confusion import ratio
from pixelwise.metrics.outlines import TOLERANCES_PX, boundary_f
from pixelwise.prediction.load_model import Model
from pixelwise.records import Dataset
from pixelwise.reports.charts import Line, bars, line_chart, reliability_chart

TOPS = (0.04, 0.08, 0.2, 0.4, 0.6, 0.8, 1.0)  # ends of an axis of which a quarter is a round number
CELLS = 24  # classes up to which the confusion matrix is shown whole
LISTED = 200  # images in the page's table; the CSV has them all


def page_of(report: EvaluationReport, model: Model, dataset: Dataset, match: Match) -> str:
    """The whole page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    analysis = report.analysis
    if analysis is None:
        raise ValueError("the report has no analysis; only those of `evaluate` become pages")
    environment = Environment(
        loader=PackageLoader("pixelwise.evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "points": points, "count": lambda number: f"{number:,}"}
    return environment.get_template("report.html").render(
        report=report,
        model_name=PurePath(report.model).name,
        analysis=analysis,
        rules=analysis.to_json()["rules"],
        headline=headline(report, analysis),
        classes=class_rows(report, analysis),
        boundary=analysis.boundaries(),
        trimap=analysis.trimap(),
        errors=analysis.errors(),
        sizes=analysis.sizes(),
        sequences=analysis.by_sequence(),
        coverage=[(at, analysis.risk(at)) for at in COVERAGES],
        confusion=confusion_rows(report) if len(report.classes) <= CELLS else None,
        confusions=report.confusions(),
        images=sorted(analysis.rows, key=lambda row: (row.miou != row.miou, row.miou))[:LISTED],
        examples=examples(analysis, model, dataset, match),
        suspects=suspect_crops(analysis, model, dataset, match),
        charts=charts(report, analysis),
    )


def percent(value: float | None) -> str:
    return "–" if value is None or isnan(value) else f"{value:.1%}"


def points(value: float) -> str:
    """A difference of shares, in percentage points."""
    return "–" if isnan(value) else f"{value * 100:+.1f}"


def headline(report: EvaluationReport, analysis: Analysis) -> list[dict[str, Any]]:
    """The scores of the whole split, each with its interval and the baseline's."""
    name, guess = report.baseline
    return [
        {"title": title, "value": getattr(report.scores, score), "low": float(analysis.intervals[score][0]),
         "high": float(analysis.intervals[score][1]), "baseline": getattr(guess, score), "guess": name}
        for score, title in WHOLE.items()
    ]  # fmt: skip


def class_rows(report: EvaluationReport, analysis: Analysis) -> list[dict[str, Any]]:
    found, guess = report.scores, report.baseline[1]
    true_C = report.matrix.sum(axis=1)
    at = TOLERANCES_PX.index(ROW_TOLERANCE_PX)
    boundary_f_C, guess_f_C = analysis.boundary_f_TC[at], boundary_f(analysis.guess_edges)[at]
    rows = []
    for i, name in enumerate(report.classes.names):
        red, green, blue = report.classes.colours[i]
        rows.append({
            "name": name, "colour": f"rgb({red},{green},{blue})", "iou": float(found.iou_C[i]),
            **{f"{score}_{end}": float(analysis.intervals[score][at_end, i])
               for score in ("iou", "dice", "precision", "recall") for at_end, end in enumerate(("low", "high"))},
            "dice": float(found.dice_C[i]), "precision": float(found.precision_C[i]),
            "recall": float(found.recall_C[i]), "boundary_f": float(boundary_f_C[i]),
            "guess": {"iou": float(guess.iou_C[i]), "dice": float(guess.dice_C[i]),
                      "precision": float(guess.precision_C[i]), "recall": float(guess.recall_C[i]),
                      "boundary_f": float(guess_f_C[i])},
            "share": float(true_C[i] / max(true_C.sum(), 1)),
        })  # fmt: skip
    return rows


def confusion_rows(report: EvaluationReport) -> list[list[float]]:
    """Of each true class, the share that was taken for each class; NaN where it does not occur."""
    true_C = report.matrix.sum(axis=1, keepdims=True).astype(float)
    shares: list[list[float]] = ratio(
        report.matrix.astype(float), np.broadcast_to(true_C, report.matrix.shape)
    ).tolist()
    return shares


def charts(report: EvaluationReport, analysis: Analysis) -> dict[str, str]:
    """Every chart of the page, as SVG."""
    trimap = analysis.trimap()
    steps = [(i / (len(trimap) - 1), f"{row['px']} px" if row["px"] else "all") for i, row in enumerate(trimap)]
    errors = analysis.errors()
    calibration = analysis.calibration
    step = max(len(calibration.risk) // 200, 1)
    risk = list(zip(calibration.coverage[::step].tolist(), calibration.risk[::step].tolist(), strict=True))
    guess = 1 - report.baseline[1].accuracy
    worst = max([value for _, value in risk] + [guess, 0.01])
    highest = next((top for top in TOPS if top >= worst), 1.0)
    boundary = analysis.boundaries()
    even = [i / (len(DISTANCES_PX) - 1) for i in range(len(DISTANCES_PX))]
    return {
        "trimap": line_chart(
            "Accuracy of the pixels within each distance of a true boundary", "within this distance of a boundary",
            "score",
            [Line("model", [(x, row["accuracy"]) for (x, _), row in zip(steps, trimap, strict=True)]),
             Line("mean IoU", [(x, row["miou"]) for (x, _), row in zip(steps, trimap, strict=True)], "b"),
             Line("baseline", [(x, row["baseline_accuracy"]) for (x, _), row in zip(steps, trimap, strict=True)],
                  "guess")],  # its mean IoU, which lies at the bottom, stands in the table
            steps,
        ),
        "boundary": line_chart(
            "Boundary IoU by width of the band", "distance in pixels", "score",
            [Line("boundary IoU", [(x, row["mean"]) for x, row in zip(even, boundary["iou"], strict=True)]),
             Line("baseline", [(x, row["baseline"]) for x, row in zip(even, boundary["iou"], strict=True)], "guess")],
            [(x, str(px)) for x, px in zip(even, DISTANCES_PX, strict=True)],
        ),
        "reliability": reliability_chart(
            "Reliability diagram: accuracy of pixels by the confidence of the model", calibration.bins.tolist()
        ),
        "risk": line_chart(
            "Risk against coverage: the share of wrong pixels among the surest", "share of pixels kept, surest first",
            "share wrong", [Line("model", risk), Line("baseline", [(0, guess), (1, guess)], "guess")],
            [(tick, f"{tick:.0%}") for tick in (0, 0.25, 0.5, 0.75, 1)], top=highest,
        ),
        "errors": bars(
            "What mending each kind of error would add to mean IoU",
            [(row["name"], row["miou_gain"], f"{row['miou_gain'] * 100:+.1f} points") for row in errors],
            max([row["miou_gain"] for row in errors] + [1e-9]),
        ),
    }  # fmt: skip
