"""Label Studio: one JSON list of tasks, each with its `data` and `annotations`.

Drawn: polygons, rectangles and ellipses (turned too), brush masks. Named as not drawn: key points, lines, regions
without a label, a region's second label. Corners are percent of width and height. Brush masks are run lengths of RGBA
bytes in Label Studio's own packing (label_studio_converter's brush.py), of which alpha counts. Later results are drawn
over earlier ones; of several annotations of a task the last one that was not cancelled counts.

Format: labelstud.io/guide/export.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.formats.annotation_files import (
    Drawn,
    ImageFiles,
    SkippedShapes,
    add_drawn,
    blank_mask,
    files_below,
    named_masks,
    peek,
    read_all,
    read_json,
    shape_named,
)
from pixelwise.datasets.formats.field_checks import number, rows_of, table_of, text_of
from pixelwise.datasets.formats.polygons import Polygon, fill, judge_polygons, outlines, polygon_of
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.formats.run_lengths import brush_mask
from pixelwise.datasets.formats.shape_outlines import box_of, ellipse_of, turned
from pixelwise.datasets.layouts import IMAGE_SUFFIXES, Listing
from pixelwise.images.decode import MaskIds
from pixelwise.images.files import Refusal, shown

DRAWN = ("polygon", "brush", "rectangle", "ellipse")
IMAGE_KEYS = ("image", "img", "photo", "ocr")
OF_THE_IMAGE = (  # results about the whole image, or about other results: no shapes
    "choices",
    "datetime",
    "number",
    "pairwise",
    "ranker",
    "rating",
    "relation",
    "taxonomy",
    "textarea",
)
Row = dict[str, Any]


def task_files(root: Path) -> list[Path]:
    return [
        path
        for path in files_below(root, (".json",), depth=2)
        if peek(path).lstrip().startswith("[") and ('"annotations"' in peek(path) or '"data"' in peek(path))
    ]


def is_labelstudio(root: Path) -> bool:
    return bool(task_files(root))


def list_labelstudio(root: Path) -> Listing:
    """Every annotated task whose image is there. A task's `data.split` is its split."""
    listing, files = Listing(root), ImageFiles(root)
    undrawn, drawn = SkippedShapes(listing), list[Drawn]()
    several = empty = 0
    for path, tasks in read_all(task_files(root), _tasks, listing):
        for i, task in enumerate(tasks):
            with problems_of(listing, path, f"task {i}:"):
                named, split = image_name_of(table_of(task, "task"))
                image = files.find(named, [split], uploaded=True)
                done = _annotations(task)
                several, empty = several + (len(done) > 1), empty + (not done)
                if image is None:
                    listing.error("image-missing", path, f"task {i} {files.missing(named)}", "Add it.")
                elif done:
                    names = _judge(path, i, results_of(task), listing, undrawn)
                    drawn.append(Drawn(path, image, split or "all", names, i))
    undrawn.report()
    if several:
        listing.notes.append(f"{several:,} tasks have more than one annotation: the last of each counts.")
    if empty:
        listing.notes.append(f"Left out: {empty:,} tasks that nobody has annotated.")
    add_drawn("labelstudio", drawn, listing, "Label Studio's labels")
    return listing


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask of one task. `entry`: as `add_drawn` writes it. Raises Refusal: a damaged result."""
    place, ids = json.loads(entry)
    mask = blank_mask(*size, max(ids.values(), default=0))
    tasks = _tasks(path)
    if place >= len(tasks):
        raise Refusal("annotations", f"has no task {place} any more.", "Run the check again.")
    for i, result in enumerate(results_of(table_of(tasks[place], "task"))):
        kind, labels = _kind(result), labels_of(result)
        if labels and kind in DRAWN:
            with shape_named(f"task {place}, result {i} ({kind} {shown(labels[0])})"):
                draw_result(kind, result, mask, ids[labels[0]])
    return mask


def task_of(name: str, split: str, labels: NDArray[np.uint8], names: tuple[str, ...]) -> dict[str, Any]:
    """One annotated task of a mask [H, W]; void as label "void", background not drawn."""
    height, width = labels.shape
    shape = {"type": "polygonlabels", "from_name": "label", "to_name": "image"}
    results = []
    for label, _, own in named_masks(labels, names):
        for polygon in outlines(own):
            points = (polygon / [width, height] * 100).tolist()
            value = {"points": points, "closed": True, "polygonlabels": [label]}
            results.append({**shape, "original_width": width, "original_height": height, "value": value})
    return {"data": {"image": name, "split": split}, "annotations": [{"result": results}]}


def _tasks(path: Path) -> list[Any]:
    tasks = read_json(path)
    if not isinstance(tasks, list):
        raise Refusal("annotations", "is no list of tasks; expected Label Studio's JSON.", "Export it again.")
    return tasks


def image_name_of(task: Row) -> tuple[str, str]:
    """The image's name, and the split or "". Raises Refusal."""
    data = table_of(task.get("data"), "data")
    values = [data[key] for key in IMAGE_KEYS if key in data]
    values += [value for value in data.values() if isinstance(value, str) and value.lower().endswith(IMAGE_SUFFIXES)]
    split = data.get("split")
    return text_of(next(iter(values), None), "image", "surrogateescape"), split if split in SPLITS else ""


def _annotations(task: Row) -> list[Row]:
    """Those that count: made by a person, and not cancelled. Raises Refusal."""
    rows = rows_of(task.get("annotations") or [], "annotations")
    return [row for row in rows if not row.get("was_cancelled")]


def results_of(task: Row, or_predicted: bool = False) -> list[Row]:
    """The results of the annotation that counts. Raises Refusal.

    `or_predicted`: without one, those of the last prediction.
    """
    done = _annotations(task)
    if not done and or_predicted:
        done = rows_of(task.get("predictions") or [], "predictions")
    return rows_of(done[-1].get("result") or [], "result") if done else []


def _value(result: Row) -> Row:
    return table_of(result.get("value"), "value")


def _kind(result: Row) -> str:
    """What a result is: "polygon", "brush", "rectangle", "ellipse", or another of Label Studio's words."""
    kind = text_of(result.get("type") or _kind_of(_value(result)), "type")
    return kind.removesuffix("labels") or _kind_of(_value(result))


def _kind_of(value: Row) -> str:
    """The same from what is there: exports of some versions have no type, or only that it has labels."""
    if "rle" in value:
        return "brush"
    if "points" in value:
        return "polygon"
    if "radiusX" in value:
        return "ellipse"
    return "rectangle" if {"x", "y", "width", "height"} <= value.keys() else "keypoint" if "x" in value else "text"


def labels_of(result: Row) -> list[str]:
    """A result's labels, whatever the list is called: "polygonlabels", "labels"."""
    lists = [rows for key, rows in _value(result).items() if key.endswith("labels")]
    return [text_of(label, "label") for rows in lists if isinstance(rows, list) for label in rows]


def draw_result(kind: str, result: Row, mask: MaskIds, value: int) -> None:
    if result.get("image_rotation"):
        what = f"was drawn while the image was turned by {result['image_rotation']} degrees."
        raise Refusal("turned", what, "Turn the image itself, and draw on that.")
    if kind == "brush":
        mask[brush_mask(_value(result).get("rle"), *mask.shape)] = value
    else:
        fill(mask, _outline(kind, _value(result), mask.shape), value)


def _outline(kind: str, value: Row, size: tuple[int, ...]) -> Polygon:
    """In pixels of an image of (H, W). Raises Refusal."""
    height, width = size
    if kind == "polygon":
        return polygon_of(value.get("points")) / 100 * [width, height]
    x, y, degrees = (number(value.get(key, 0), key) for key in ("x", "y", "rotation"))
    x, y = x / 100 * width, y / 100 * height
    if kind == "ellipse":
        radii = (number(value.get(key), key) / 100 for key in ("radiusX", "radiusY"))
        radius_x, radius_y = (radius * side for radius, side in zip(radii, (width, height), strict=True))
        return ellipse_of(x, y, radius_x, radius_y, degrees)
    w, h = number(value.get("width"), "width") / 100 * width, number(value.get("height"), "height") / 100 * height
    return turned(box_of(x, y, x + w, y + h), (x, y), degrees)  # about its top left corner


def _judge(path: Path, place: int, results: list[Row], listing: Listing, undrawn: SkippedShapes) -> frozenset[str]:
    """The labels of what is drawn; what is not drawn, or not as it is meant, is told. Raises Refusal."""
    names = set()
    places = {id(result): i for i, result in enumerate(results)}
    for result, kind in shapes_of(results):
        i = places[id(result)]
        where, labels = f"task {place}, result {i}", labels_of(result)
        if kind not in DRAWN:
            undrawn.add(path, kind, ", ".join(labels) or "no label", where)
        elif not labels:
            undrawn.add(path, kind, "no label", where, "It has no label.")
        else:
            names.add(labels[0])
            for label in labels[1:]:
                undrawn.add(path, kind, label, where, "It has several labels, of which the first counts.")
            if kind == "brush":
                continue
            own = _value(result)
            numbers: Any = own.get("points") if kind == "polygon" else _outline(kind, own, (100, 100))
            judge_polygons(
                [(where, numbers)],
                (100, 100),
                lambda kind, where, what, remedy: listing.warn(kind, path, f"{where} {what}", remedy),
            )
    return frozenset(names)


def shapes_of(results: list[Row]) -> Iterator[tuple[Row, str]]:
    """(result, kind) of every result that is a shape. Raises Refusal."""
    for result in results:
        if result.get("type") in OF_THE_IMAGE:
            continue
        kind = _kind(result)
        if kind not in OF_THE_IMAGE and kind != "text":
            yield result, kind
