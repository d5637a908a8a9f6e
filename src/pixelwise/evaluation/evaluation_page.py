"""The report as one HTML page that needs no other file, no network and no script.

Shapes: C classes.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np
from markupsafe import Markup

from pixelwise.evaluation.analysis import COVERAGES, Analysis
from pixelwise.evaluation.evaluation_report import WHOLE, EvaluationReport
from pixelwise.evaluation.example_images import ModelOf, examples, suspect_crops
from pixelwise.evaluation.match_classes import Match
from pixelwise.evaluation.object_analysis import RULES, ObjectScores, truth_of
from pixelwise.evaluation.object_pictures import COLOURS, object_examples
from pixelwise.evaluation.per_image import ROW_TOLERANCE_PX, worst_first
from pixelwise.metrics.boundary import DISTANCES_PX
from pixelwise.metrics.confusion import ratio
from pixelwise.metrics.outlines import TOLERANCES_PX, boundary_f
from pixelwise.records import Dataset
from pixelwise.reports.charts import Line, bars, line_chart, reliability_chart
from pixelwise.reports.html_page import render

TOPS = (0.04, 0.08, 0.2, 0.4, 0.6, 0.8, 1.0)  # ends of an axis of which a quarter is a round number
CELLS = 24  # classes up to which the confusion matrix is shown whole
LISTED = 200  # images in the page's table; the CSV has them all


def page_of(report: EvaluationReport, model_of: ModelOf, dataset: Dataset, match: Match) -> str:
    """The whole page."""
    analysis = report.analysis
    return render(
        "evaluation.html",
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
        images=[analysis.rows[i] for i in worst_first(analysis.rows)[:LISTED]],
        examples=examples(analysis, model_of, dataset, match),
        suspects=suspect_crops(analysis, model_of, dataset, match),
        charts=charts(report, analysis),
        objects=[object_section(scored, model_of, dataset, match) for scored in analysis.objects],
        truth=truth_of(analysis.rows),
        object_rules=RULES,
        outline_colours=COLOURS,
    )


def object_section(scored: ObjectScores, model_of: ModelOf, dataset: Dataset, match: Match) -> dict[str, Any]:
    """The scores of a class's objects, their chart, and the worst images."""
    rows = scored.by_threshold()
    even = [i / (len(rows) - 1) for i in range(len(rows))]
    shown = {
        "F1": ("f1", "a"),
        "average precision": ("average_precision", "b"),
        "panoptic quality": ("panoptic_quality", "guess"),
    }
    chart = line_chart(
        f"Scores of the objects of {scored.name} by the IoU that a pair must reach", "IoU of a pair, at least", "score",
        [Line(title, [(x, row[name]) for x, row in zip(even, rows, strict=True)], style)
         for title, (name, style) in shown.items()],
        [(x, f"{row['iou']:g}") for x, row in zip(even, rows, strict=True)][::3],
    )  # fmt: skip
    return {
        "scores": scored,
        "chart": chart,
        "thresholds": rows,
        "sizes": [row for row in scored.by_size() if row["true"] or row["extra"]],
        "examples": object_examples(scored, model_of, dataset, match),
    }


def headline(report: EvaluationReport, analysis: Analysis) -> list[dict[str, Any]]:
    """The scores of the whole split, each with its interval and the baseline's."""
    rows = []
    for score, title in WHOLE.items():
        low, high = analysis.intervals[score]
        baseline = getattr(report.baseline[1], score)
        rows.append(
            {"title": title, "value": getattr(report.scores, score), "low": low, "high": high, "baseline": baseline}
        )
    return rows


def class_rows(report: EvaluationReport, analysis: Analysis) -> list[dict[str, Any]]:
    """The scores of each class, with their intervals and the baseline's."""
    found, guess = report.scores, report.baseline[1]
    true_C = report.matrix.sum(axis=1)
    at = TOLERANCES_PX.index(ROW_TOLERANCE_PX)
    boundary_f_C, guess_f_C = analysis.boundary_f_TC[at], boundary_f(analysis.baseline_edges)[at]
    rows = []
    for i, name in enumerate(report.classes.names):
        row: dict[str, Any] = {
            "name": name, "colour": report.classes.colours[i], "boundary_f": boundary_f_C[i],
            "share": true_C[i] / max(true_C.sum(), 1), "guess": {"boundary_f": guess_f_C[i]},
        }  # fmt: skip
        for score in ("iou", "dice", "precision", "recall"):
            row[score] = getattr(found, f"{score}_C")[i]
            row[f"{score}_low"], row[f"{score}_high"] = analysis.intervals[score][:, i]
            row["guess"][score] = getattr(guess, f"{score}_C")[i]
        rows.append(row)
    return rows


def confusion_rows(report: EvaluationReport) -> list[list[float]]:
    """Of each true class, the share predicted as each class; NaN where the class does not occur."""
    true_C = report.matrix.sum(axis=1, keepdims=True).astype(float)
    shares: list[list[float]] = ratio(
        report.matrix.astype(float), np.broadcast_to(true_C, report.matrix.shape)
    ).tolist()
    return shares


def charts(report: EvaluationReport, analysis: Analysis) -> dict[str, Markup]:
    """Every chart of the page, as SVG."""
    trimap = analysis.trimap()
    steps = [(i / (len(trimap) - 1), f"{row['px']} px" if row["px"] else "all") for i, row in enumerate(trimap)]
    errors = analysis.errors()
    calibration = analysis.calibration
    step = max(len(calibration.risk) // 200, 1)
    risk = list(zip(calibration.coverage[::step].tolist(), calibration.risk[::step].tolist(), strict=True))
    guess, baseline = 1 - report.baseline[1].accuracy, f"baseline: {report.baseline[0]}"
    worst = max([value for _, value in risk] + [guess, 0.01])
    highest = next((top for top in TOPS if top >= worst), 1.0)
    boundary = analysis.boundaries()
    even = [i / (len(DISTANCES_PX) - 1) for i in range(len(DISTANCES_PX))]
    return {
        "trimap": line_chart(
            "Accuracy of the pixels within each distance of a true boundary", "within this distance of a boundary",
            "score",
            [Line("pixel accuracy", [(x, row["accuracy"]) for (x, _), row in zip(steps, trimap, strict=True)]),
             Line("mean IoU", [(x, row["miou"]) for (x, _), row in zip(steps, trimap, strict=True)], "b"),
             Line(f"{baseline}, accuracy",
                  [(x, row["baseline_accuracy"]) for (x, _), row in zip(steps, trimap, strict=True)], "guess")],
            steps,
        ),
        "boundary": line_chart(
            "Boundary IoU by width of the band", "distance in pixels", "score",
            [Line("model", [(x, row["mean"]) for x, row in zip(even, boundary["iou"], strict=True)]),
             Line(baseline, [(x, row["baseline"]) for x, row in zip(even, boundary["iou"], strict=True)], "guess")],
            [(x, str(px)) for x, px in zip(even, DISTANCES_PX, strict=True)],
        ),
        "reliability": reliability_chart(
            "Reliability diagram: accuracy of pixels by the confidence of the model", calibration.bins.tolist()
        ),
        "risk": line_chart(
            "Risk against coverage: the share of wrong pixels among the most confident",
            "share of pixels kept, most confident first", "share wrong",
            [Line("model", risk), Line(baseline, [(0, guess), (1, guess)], "guess")],
            [(tick, f"{tick:.0%}") for tick in (0, 0.25, 0.5, 0.75, 1)], top=highest,
        ),
        "errors": bars(
            "mIoU gain if each kind of error were fixed",
            [(row["name"], row["miou_gain"], f"{row['miou_gain'] * 100:+.1f} points") for row in errors],
            max([row["miou_gain"] for row in errors] + [1e-9]),
        ),
    }  # fmt: skip
