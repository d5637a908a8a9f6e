"""Label Studio: one JSON list of tasks, each with its `data` and `annotations`.

Drawn, later results over earlier ones: polygons, rectangles and ellipses (rotated too), brush masks. Reported as not
drawn: key points, lines, regions without a label, a region's second label. Corners are percentages of width and height.
Brush masks are run lengths of RGBA bytes in Label Studio's own packing; only alpha is used. If a task has several
annotations, the last one not cancelled is used.

Format: labelstud.io/guide/export and labelstud.io/guide/predictions. Shapes: H, W of an image's labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES
from pixelwise.datasets.formats.annotated_shapes import (
    AnnotatedImage,
    DrawnShape,
    MaskPatch,
    Place,
    Size,
    box_of,
    ellipse_of,
    picture_of,
    shape_named,
    turned_about,
)
from pixelwise.datasets.formats.annotation_files import (
    any_that,
    files_that,
    list_pictures,
    named_masks,
    picture_mask,
    picture_objects,
    read_json,
    read_or_none,
)
from pixelwise.datasets.formats.field_checks import number, rows_of, table_of, text_of
from pixelwise.datasets.formats.polygons import Polygon, outlines, polygon_of
from pixelwise.datasets.formats.run_lengths import brush_mask, brush_runs
from pixelwise.datasets.listing import Listing
from pixelwise.images.files import Refusal, shown
from pixelwise.records import ClassList, Labels

IMAGE_KEYS = ("image", "img", "photo", "ocr")
OF_THE_IMAGE = (  # results for the whole image or for other results: not shapes
    "choices", "datetime", "number", "pairwise", "ranker", "rating", "relation", "taxonomy", "text", "textarea",
)  # fmt: skip
SECOND_LABEL = "It has several labels, of which the first counts."
PERCENT: Size = (100, 100)
Row = dict[str, Any]


def _is_ours(text: str) -> bool:
    return text.lstrip().startswith("[") and ('"annotations"' in text or '"data"' in text)


def recognises(root: Path) -> bool:
    return any_that(root, (".json",), _is_ours, depth=2)


def list_pairs(root: Path) -> Listing:
    """Every annotated task whose image exists. A task's `data.split` is its split."""
    paths = files_that(root, (".json",), _is_ours, depth=2)
    listing = list_pictures("labelstudio", root, paths, read, "Label Studio's labels", uploaded=True)
    counts = [count for path in paths for count in (read_or_none(_counts, path) or [])]
    if several := sum(count > 1 for count in counts):
        listing.notes.append(f"{several:,} tasks have more than one annotation: the last of each counts.")
    if empty := counts.count(0):
        listing.notes.append(f"Left out: {empty:,} tasks that nobody has annotated.")
    return listing


def read(path: Path, *, predictions: bool = False) -> dict[Place, AnnotatedImage]:
    """The images of a file's annotated tasks, by task number. Raises Refusal.

    `predictions`: use the last prediction of a task without annotations.
    """
    pictures: dict[Place, AnnotatedImage] = {}
    for i, task in enumerate(_tasks(path)):
        with shape_named(f"task {i}"):
            name, split = _image(table_of(task, "task"))
            done = _annotations(task) or (rows_of(task.get("predictions") or [], "predictions") if predictions else [])
        if done:
            pictures[i] = picture_of(name, _figures(done[-1]), lambda: None, split)
    return pictures


mask_ids = partial(picture_mask, read)
object_ids = partial(picture_objects, read)
read_predicted = partial(read, predictions=True)


def _tasks(path: Path) -> list[Any]:
    tasks = read_json(path)
    if not isinstance(tasks, list):
        raise Refusal("annotations", "is not a list of tasks; expected Label Studio's JSON.", "Export it again.")
    return tasks


def _counts(path: Path) -> list[int]:
    """The number of annotations of each task. Raises Refusal."""
    return [len(_annotations(task)) for task in _tasks(path)]


def _image(task: Row) -> tuple[str, str]:
    """The name and split of the image. Raises Refusal."""
    data = table_of(task.get("data"), "data")
    values = [data[key] for key in IMAGE_KEYS if key in data]
    values += [value for value in data.values() if isinstance(value, str) and value.lower().endswith(IMAGE_SUFFIXES)]
    split = data.get("split")
    return text_of(next(iter(values), None), "image", "surrogateescape"), split if split in SPLITS else "all"


def _annotations(task: Row) -> list[Row]:
    """The valid annotations: made by a person and not cancelled. Raises Refusal."""
    rows = rows_of(task.get("annotations") or [], "annotations")
    return [row for row in rows if not row.get("was_cancelled")]


def _figures(annotation: Row) -> Iterator[DrawnShape]:
    """The shapes of an annotation. Raises Refusal."""
    for i, result in enumerate(rows_of(annotation.get("result") or [], "result")):
        if result.get("type") in OF_THE_IMAGE:
            continue
        with shape_named(f"result {i}"):
            kind, value = _kind(result), table_of(result.get("value"), "value")
            labels = [text_of(label, "label") for key, rows in value.items() if key.endswith("labels")
                      and isinstance(rows, list) for label in rows]  # fmt: skip
        if kind in OF_THE_IMAGE:
            continue
        with shape_named(f"result {i} ({shown(kind)} {shown(', '.join(labels))})"):
            figure = _figure(kind, result, value, labels)
        yield figure
        for label in labels[1:]:
            yield DrawnShape.not_drawn(label, kind, SECOND_LABEL)


def _figure(kind: str, result: Row, value: Row, labels: list[str]) -> DrawnShape:
    if kind not in ("polygon", "brush", "rectangle", "ellipse"):
        return DrawnShape.not_drawn(", ".join(labels) or "no label", kind)
    if not labels:
        return DrawnShape.not_drawn("no label", kind, "It has no label.")
    if result.get("image_rotation"):
        what = f"was drawn while the image was turned by {result['image_rotation']} degrees."
        raise Refusal("turned", what, "Turn the image itself, and draw on that.")
    if kind == "brush":
        return DrawnShape(labels[0], kind, patch=partial(_patch, value.get("rle")))
    outline = partial(_outline, kind, value)
    try:
        outline(PERCENT)
    except Refusal as refusal:
        if refusal.kind != "polygon-empty":
            raise
        return DrawnShape.not_drawn(labels[0], kind, f"It {refusal.what}")
    return DrawnShape(labels[0], kind, outline=outline)


def _kind(result: Row) -> str:
    """The kind of a result: "polygon", "brush", "rectangle", "ellipse", or another Label Studio type."""
    by_value = _kind_of(table_of(result.get("value"), "value"))
    return text_of(result.get("type") or by_value, "type").removesuffix("labels") or by_value


def _kind_of(value: Row) -> str:
    """The kind inferred from a result's fields: some versions export no type, or only "labels"."""
    if "rle" in value:
        return "brush"
    if "points" in value:
        return "polygon"
    if "radiusX" in value:
        return "ellipse"
    return "rectangle" if {"x", "y", "width", "height"} <= value.keys() else "keypoint" if "x" in value else "text"


def _patch(runs: Any, size: Size) -> MaskPatch:
    return MaskPatch(0, 0, brush_mask(runs, *size))


def _outline(kind: str, value: Row, size: Size) -> Polygon:
    """The outline in pixels of an image of (H, W). Raises Refusal."""
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
    return turned_about(box_of(x, y, x + w, y + h), (x, y), degrees)  # about its top left corner


def results_of(labels: Labels, classes: ClassList, *, brush: bool = False) -> list[Row]:
    """The results of a mask [H, W] as polygons; void as label "void", background not drawn.

    `brush`: one brush mask per class, background included, instead of polygons.
    """
    height, width = labels.shape
    shape = {"from_name": "label", "to_name": "image", "original_width": width, "original_height": height}
    results = []
    for label, _, own in named_masks(labels, classes.names, background=brush):
        if brush:
            value: Row = {"format": "rle", "rle": brush_runs(own), "brushlabels": [label]}
            results.append({"id": label, "type": "brushlabels", **shape, "image_rotation": 0, "value": value})
            continue
        for ring in outlines(own):
            value = {"points": (ring / [width, height] * 100).tolist(), "closed": True, "polygonlabels": [label]}
            results.append({"type": "polygonlabels", **shape, "value": value})
    return results


def prediction_of(name: str, labels: Labels, classes: ClassList, version: str) -> Row:
    """A task for the image at images/`name` with its mask [H, W] as the prediction of this model version."""
    results = results_of(labels, classes, brush=True)
    predictions = [{"model_version": version[:12], "result": results}]
    return {"data": {"image": f"/data/local-files/?d=images/{name}"}, "predictions": predictions}


def labelling_config(classes: ClassList) -> bytes:
    """The labelling interface of a project with these classes, for brushes."""
    labels = "".join(
        f'    <Label value={quoteattr(name)} background="#{r:02x}{g:02x}{b:02x}"/>\n'
        for name, (r, g, b) in zip(classes.names, classes.colours, strict=True)
    )
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="label" toName="image">\n{labels}  </BrushLabels>\n</View>\n'
    ).encode()
