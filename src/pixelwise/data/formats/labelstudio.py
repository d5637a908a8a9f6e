"""Label Studio: one JSON list of tasks, each with its `data` and `annotations`; polygons and brush masks.

Format: labelstud.io/guide/export. Corners are percent of width and height. Brush masks are run lengths of RGBA bytes in
Label Studio's own packing (label_studio_converter's brush.py), of which alpha counts. Later results are drawn over
earlier ones; of several annotations of a task the last one that was not cancelled counts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.decode import MaskIds
from pixelwise.data.files import Refusal
from pixelwise.data.formats.drawing import (
    Drawn,
    ImageFiles,
    add_drawn,
    blank_mask,
    files_below,
    named_masks,
    peek,
    read_all,
    read_json,
)
from pixelwise.data.formats.polygons import fill, judge_polygons, outlines, polygon_of
from pixelwise.data.formats.run_lengths import brush_mask
from pixelwise.data.layouts import Listing
from pixelwise.data.settings import SPLITS

KINDS = {"polygonlabels": "polygonlabels", "brushlabels": "brushlabels", "rectanglelabels": "rectanglelabels"}


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
    drawn = []
    for path, tasks in read_all(task_files(root), _tasks, listing):
        for i, task in enumerate(tasks):
            data = task.get("data") or {}
            named = next((str(v) for k, v in data.items() if k in ("image", "img", "photo", "ocr")), "")
            image = files.find(named, uploaded=True) if named else None
            results = _results(task)
            if image is None:
                listing.error("image-missing", path, f"task {i} names {named!r}, which is not there.", "Add it.")
            elif results is not None:
                _judge(path, i, results, listing)
                split = str(data.get("split", "all"))
                names = frozenset(label for result in results for label in _labels(result))
                drawn.append(Drawn(path, image, split if split in SPLITS else "all", names, i))
    add_drawn("labelstudio", drawn, listing, "Label Studio's labels")
    return listing


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask of one task. `entry`: as `add_drawn` writes it."""
    place, ids = json.loads(entry)
    mask = blank_mask(*size, max(ids.values(), default=0))
    height, width = size
    for result in _results(_tasks(path)[place]) or []:
        value = result.get("value") or {}
        label = next(iter(_labels(result)), None)
        if label not in ids:
            continue
        try:
            if "points" in value:
                fill(mask, polygon_of(value["points"]) / 100 * [width, height], ids[label])
            elif "rle" in value:
                own = brush_mask(value["rle"], height, width)
                mask[own] = ids[label]
            elif {"x", "y", "width", "height"} <= value.keys():
                x, y, w, h = (float(value[key]) for key in ("x", "y", "width", "height"))
                box = polygon_of([x, y, x + w, y, x + w, y + h, x, y + h])
                fill(mask, box / 100 * [width, height], ids[label])
        except (Refusal, ValueError, TypeError):
            continue
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


def _tasks(path: Path) -> list[dict[str, Any]]:
    tasks = read_json(path)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise Refusal("annotations", "is no list of tasks; expected Label Studio's JSON.", "Export it again.")
    return tasks


def _results(task: dict[str, Any]) -> list[dict[str, Any]] | None:
    done = [a for a in task.get("annotations") or [] if isinstance(a, dict) and not a.get("was_cancelled")]
    return [r for r in done[-1].get("result") or [] if isinstance(r, dict)] if done else None


def _labels(result: dict[str, Any]) -> list[str]:
    value = result.get("value") or {}
    return [str(label) for kind in KINDS for label in value.get(kind) or []][:1]


def _judge(path: Path, place: int, results: list[dict[str, Any]], listing: Listing) -> None:
    polygons = [
        (f"task {place}, result {i}", (result.get("value") or {})["points"])
        for i, result in enumerate(results)
        if "points" in (result.get("value") or {})
    ]
    judge_polygons(
        polygons, (100, 100), lambda kind, where, what, remedy: listing.warn(kind, path, f"{where} {what}", remedy)
    )
