"""The analysis behind the scores, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

from pixelwise.evaluation.object_analysis import ObjectScores, truth_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pixelwise.evaluation.analysis import Analysis

WORST_NAMED = 3  # images of each class whose objects are scored
WORTH_LISTING = 0.001  # minimum share of all errors for a kind to be listed


def percent(share: float) -> str:
    """A share as a percentage; "–" where undefined."""
    return "–" if isnan(share) else f"{share:.1%}"


def analysis_parts(analysis: Analysis) -> list[RenderableType]:
    """Tables and lines for rich to print. The baseline is the majority class everywhere."""
    from rich.text import Text

    wrong = 1 - analysis.baseline_accuracy
    parts: list[RenderableType] = [
        Text("Error breakdown, with the mIoU gain if a kind were fixed"), errors_table(analysis.errors()), Text(),
        Text("Boundaries, by distance in pixels (baseline in brackets)"), boundary_table(analysis), Text(),
        Text("True regions by size (side of a square of the same area)"), sizes_table(analysis.sizes()), Text(),
    ]  # fmt: skip
    if analysis.objects:
        parts += object_parts(analysis.objects, truth_of(analysis.rows))
    if sequences := analysis.by_sequence():
        parts += [Text("Sequences, by the start of the file names"), sequences_table(sequences), Text()]
    parts.append(Text(
        f"Expected calibration error {percent(analysis.calibration.error)} (baseline {percent(wrong)}). "
        f"Wrong: {percent(analysis.risk(0.5))} of the most confident half of the pixels, {percent(analysis.risk(1.0))} "
        f"of all (baseline {percent(wrong)} of both)."
    ))  # fmt: skip
    for kind, rows in analysis.chosen().items():
        named = ", ".join(
            f"{analysis.rows[i].name} ({percent(analysis.rows[i].miou)}, baseline "
            f"{percent(analysis.rows[i].baseline(analysis.majority)['baseline_miou'])})"
            for i in rows
        )
        if named:
            parts.append(Text(f"{kind.capitalize()} images by mIoU: {named}"))
    if analysis.suspects_in_all:
        name, suspect = analysis.suspects[0]
        parts.append(Text(
            f"{analysis.suspects_in_all} suspected label errors; the largest: {name} at {suspect.x},{suspect.y}, "
            f"mask {analysis.classes.names[suspect.true]}, model {analysis.classes.names[suspect.predicted]}. "
            "See them with --html."
        ))  # fmt: skip
    return parts


def table_of(*columns: str) -> Any:
    """An empty table. Print its title as text before it: rich wraps a table's own title at the table's width."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i and column else "left", overflow="fold")
    return table


def object_parts(objects: Sequence[ObjectScores], truth: str) -> list[RenderableType]:
    """The scores of objects: a row a class, then by IoU threshold and by size."""
    from rich.text import Text

    table = table_of("objects of", "F1", "95 %", "precision", "recall", "mAP", "95 %", "PQ", "AJI")
    numbers = table_of(
        "objects of", "true", "predicted", "count error", "split", "merged", "COCO AP", "F1, unseparated"
    )
    for found in objects:
        whole, counts = found.whole, found.counts
        ends = {name: "–".join(f"{end * 100:.1f}" for end in found.intervals[name]) for name in whole}
        table.add_row(
            found.name, percent(whole["f1"]), ends["f1"], percent(whole["precision"]), percent(whole["recall"]),
            percent(whole["mean_average_precision"]), ends["mean_average_precision"],
            percent(whole["panoptic_quality"]), percent(whole["aji"]),
        )  # fmt: skip
        numbers.add_row(
            found.name, f"{counts.true:,}", f"{counts.predicted:,}", f"{found.count_error:.1f}", f"{counts.split:,}",
            f"{counts.merged:,}", percent(found.coco["ap"]), percent(found.unseparated["f1"]),
        )  # fmt: skip
    parts: list[RenderableType] = [
        Text("Objects, at an IoU of 0.5; mAP: mean over 0.5–0.95"),
        table,
        Text(),
        numbers,
        Text(),
    ]
    for found in objects:
        over = table_of(f"{found.name}, IoU of", *(f"{row['iou']:g}" for row in found.by_threshold()))
        for title, name in (("F1", "f1"), ("average precision", "average_precision")):
            over.add_row(title, *(f"{row[name] * 100:.0f}" for row in found.by_threshold()))
        sizes = table_of(f"{found.name}, size", "true", "precision", "recall", "F1", "mAP")
        for row in found.by_size():
            if row["true"] or row["extra"]:
                shares = (row[name] for name in ("precision", "recall", "f1", "mean_average_precision"))
                sizes.add_row(row["size"], f"{row['true']:,}", *(percent(share) for share in shares))
        parts += [over, Text(), sizes, Text()]
    worst = [f"{row.name} ({percent(f1)})" for found in objects for row, f1 in found.worst(WORST_NAMED)]
    return [*parts, Text(truth), Text(f"Worst images by F1 of objects: {', '.join(worst) or 'none'}"), Text()]


def errors_table(errors: list[dict[str, Any]]) -> RenderableType:
    table = table_of("kind of error", "pixels", "share of errors", "mIoU gain, points")
    for row in errors:
        if row["share"] >= WORTH_LISTING:
            gain = f"{row['miou_gain'] * 100:+.1f}"
            table.add_row(row["name"], f"{row['pixels']:,}", percent(row["share"]), gain)
    return table  # type: ignore[no-any-return]


def boundary_table(analysis: Analysis) -> RenderableType:
    """Boundary scores and the trimap, one row per distance."""
    found = analysis.boundaries()
    iou, f = ({row["px"]: row for row in found[name]} for name in ("iou", "f"))
    trimap = {row["px"]: row for row in analysis.trimap()}
    table = table_of("within", "boundary IoU", "boundary F", "surface Dice", "accuracy")

    def with_baseline(row: dict[str, Any] | None, name: str, baseline: str) -> str:
        return f"{percent(row[name])} ({percent(row[baseline])})" if row else ""

    for px in sorted({*iou, *f}):
        near, edge, band = iou.get(px), f.get(px), trimap.get(px)
        table.add_row(
            f"{px} px",
            with_baseline(near, "mean", "baseline"),
            with_baseline(edge, "mean", "baseline"),
            with_baseline(edge, "surface_dice", "baseline_surface_dice"),
            with_baseline(band, "accuracy", "baseline_accuracy"),
        )
    return table  # type: ignore[no-any-return]


def sizes_table(sizes: list[dict[str, Any]]) -> RenderableType:
    table = table_of("size", "regions", "found", "baseline", "accuracy", "baseline")
    for row in sizes:
        if row["regions"]:
            shares = ("found", "baseline_found", "accuracy", "baseline_accuracy")
            table.add_row(row["size"], f"{row['regions']:,}", *(percent(row[share]) for share in shares))
    return table  # type: ignore[no-any-return]


def sequences_table(sequences: list[dict[str, Any]]) -> RenderableType:
    table = table_of("sequence", "images", "mIoU", "baseline", "accuracy", "baseline")
    for row in sequences:
        table.add_row(row["sequence"], str(row["images"]), percent(row["miou"]), percent(row["baseline_miou"]),
                      percent(row["accuracy"]), percent(row["baseline_accuracy"]))  # fmt: skip
    return table  # type: ignore[no-any-return]
