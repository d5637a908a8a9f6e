"""The verb `accept`: masks corrected in CVAT or Label Studio come back as a dataset, and what was changed is told.

Ids are given by the labels' names, in the order of the classes for which the tasks were written: a class that was not
drawn this time moves no other. Shapes are drawn by z_order, then as they stand, later ones over earlier ones; pixels
under no shape are void.

Shapes: H, W an image's own size.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.corrections import Corrected, digest_of, write_corrections
from pixelwise.data.files import shown, write_whole
from pixelwise.data.images import encode_label_png, read_image
from pixelwise.data.settings import FILE_NAME, read_settings
from pixelwise.errors import DataError, OutputError, UsageError
from pixelwise.evaluation.tasks import WORD_BITS
from pixelwise.records import VOID, ClassList, Labels

Shape = tuple[str, str, Any]  # kind ("mask", "polygon", "brush"), label, and what it is drawn from
Drawings = Mapping[str, list[Shape]]  # an image's name in images/ → its shapes, in the order in which they are drawn
TOP = 5  # of the commonest corrections


@dataclass(frozen=True)
class Accepted:
    """What came back."""

    out: Path
    changed: tuple[tuple[str, float], ...]  # each image and the share of its pixels that was corrected, the most first
    corrections: tuple[tuple[str, str, int], ...]  # what the model said, what a person says, pixels; the most first

    def to_json(self) -> dict[str, Any]:
        return {
            "out": shown(self.out),
            "images": [{"image": name, "changed": share} for name, share in self.changed],
            "corrections": [{"model": was, "person": now, "pixels": n} for was, now, n in self.corrections],
        }

    def __str__(self) -> str:
        share = float(np.mean([share for _, share in self.changed]))
        lines = [
            f"Masks in {shown(self.out)}: {len(self.changed)}; of their pixels {share:.1%} were changed by a person."
        ]
        lines += [f"  {was} → {now}: {pixels:,} pixels" for was, now, pixels in self.corrections[:TOP]]
        return "\n".join(lines)


def accept(tasks: Path | str, export: Path | str, out: Path | str) -> Accepted:
    """Take corrected masks back.

    Args:
        tasks: the folder that `suggest` wrote.
        export: what the tool exported: CVAT's annotations.xml ("CVAT for images 1.1"), or Label Studio's JSON.
        out: a new folder; gets images/, masks/, dataset.toml and corrections.jsonl, which `check` reads.

    Raises:
        UsageError: `tasks` is not such a folder, or there is no such file.
        DataError: the export is damaged, or has labels or images that the tasks do not have. All are named.
        OutputError: `out` is not empty or cannot be written.
    """
    tasks, export, out = Path(tasks), Path(export), Path(out)
    classes = read_settings(tasks).classes if (tasks / FILE_NAME).is_file() else None
    given = next((tasks / name for name in ("annotations.xml", "tasks.json") if (tasks / name).is_file()), None)
    if classes is None or given is None:
        raise UsageError(f"{shown(tasks)}: holds no tasks. Name the folder that `pixelwise suggest --out` wrote.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{shown(out)}: is there already. Name a new folder with --out.")
    before, after = read_drawings(given), read_drawings(export)
    refuse_strangers(export, after, before, classes)
    names = [name for name, shapes in after.items() if shapes]
    if not names:
        raise DataError(f"{shown(export)}: no image of the tasks has a shape. Export the annotations, then try again.")
    changed, corrections, rows = [], Counter[tuple[int, int]](), []
    said = dict(enumerate(classes.names)) | {VOID: "void"}
    for part in ("images", "masks"):
        (out / part).mkdir(parents=True, exist_ok=True)
    for name in names:
        path = tasks / "images" / name
        size = read_image(path).shape[:2]
        was_HW, now_HW = (drawn(part[name], (size[0], size[1]), classes, name) for part in (before, after))
        different = was_HW != now_HW
        own = Counter(zip(was_HW[different].tolist(), now_HW[different].tolist(), strict=True))
        corrections.update(own)
        changed.append((name, float(different.mean())))
        write_whole(out / "images" / name, path.read_bytes())
        mask, data = (Path("masks") / name).with_suffix(".png"), encode_label_png(now_HW, classes)
        write_whole(out / mask, data)
        listed = tuple((said[was], said[now], pixels) for (was, now), pixels in own.most_common())
        rows.append(Corrected(mask.as_posix(), digest_of(data), changed[-1][1], listed))
    write_corrections(out, rows)
    write_whole(out / FILE_NAME, (tasks / FILE_NAME).read_bytes())
    told = tuple((said[was], said[now], pixels) for (was, now), pixels in corrections.most_common())
    return Accepted(out, tuple(sorted(changed, key=lambda row: -row[1])), told)


def refuse_strangers(export: Path, after: Drawings, before: Drawings, classes: ClassList) -> None:
    """Raise DataError where an export is of other tasks, or has labels that are no classes."""
    images = sorted(set(after) - set(before))
    labels = sorted({label for shapes in after.values() for _, label, _ in shapes} - set(classes.names) - {"void"})
    if images or labels:
        said = [f"images that the tasks do not have: {', '.join(images[:TOP])}"] if images else []
        said += [f"labels that are no classes: {', '.join(labels[:TOP])}"] if labels else []
        raise DataError(
            f"{shown(export)}: {'; '.join(said)}. The classes are {', '.join(classes.names)}, and void. Export the "
            "right task, or correct the labels there."
        )


def read_drawings(path: Path) -> Drawings:
    """The shapes of every image in a file of CVAT or Label Studio.

    Raises:
        UsageError: no such file.
        DataError: neither of these, or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror}). Check the path.") from error
    try:
        return dict(from_labelstudio(data) if data.lstrip()[:1] == b"[" else from_cvat(data))
    except (ElementTree.ParseError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{shown(path)}: expected CVAT's XML (CVAT for images 1.1) or Label Studio's JSON of masks and polygons; "
            f"{error}. Export it again."
        ) from error


def from_cvat(data: bytes) -> Iterator[tuple[str, list[Shape]]]:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:  # entities can be made to fill the memory; CVAT writes none
        raise ValueError("it declares XML entities, which are not read")
    for image in ElementTree.fromstring(data).iter("image"):
        shapes: list[Shape] = []
        for shape in sorted(image, key=lambda shape: int(shape.get("z_order") or 0)):
            label = shape.attrib["label"]
            if shape.tag == "mask":
                place = tuple(int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
                shapes.append(("mask", label, (place, [int(run) for run in shape.attrib["rle"].split(",")])))
            elif shape.tag == "polygon":
                corners = [[float(n) for n in pair.split(",")] for pair in shape.attrib["points"].split(";")]
                shapes.append(("polygon", label, corners))
            else:
                raise ValueError(f"{image.get('name')} has a {shape.tag}, where masks and polygons are read")
        yield Path(image.attrib["name"]).name, shapes


def from_labelstudio(data: bytes) -> Iterator[tuple[str, list[Shape]]]:
    for task in json.loads(data):
        done = [entry for entry in task.get("annotations") or [] if not entry.get("was_cancelled")]
        results = (done or task.get("predictions") or [{}])[-1].get("result", [])
        shapes: list[Shape] = []
        for result in results:
            value = result["value"]
            if "rle" in value:
                shapes.append(("brush", value["brushlabels"][0], value["rle"]))
            elif "points" in value:
                size = np.array([result["original_width"], result["original_height"]])
                corners = (np.array(value["points"], float) / 100 * size).tolist()
                shapes.append(("polygon", value["polygonlabels"][0], corners))
            else:
                raise ValueError(f"a {result.get('type')} stands where brushes and polygons are read")
        yield task["data"]["image"].replace("\\", "/").split("/")[-1].split("?d=")[-1], shapes


def drawn(shapes: list[Shape], size: tuple[int, int], classes: ClassList, name: str) -> Labels:
    """The mask [H, W] of an image of (H, W) pixels. Raises DataError where a shape does not fit."""
    labels_HW = np.full(size, VOID, np.uint8)
    for kind, label, what in shapes:
        value = classes.names.index(label) if label in classes.names else VOID
        if kind == "polygon":
            labels_HW[inside_polygon(np.array(what, float), size)] = value
        elif kind == "mask":
            (left, top, width, height), runs = what
            inside = min(left, top) >= 0 and left + width <= size[1] and top + height <= size[0]
            if not inside or min(runs) < 0 or sum(runs) != width * height:
                misfit(name, label)
            own = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
            labels_HW[top : top + height, left : left + width][own] = value
        else:
            labels_HW[brush_mask(what, size, name, label)] = value
    return labels_HW


def inside_polygon(corners_N2: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose centre lies inside, by the even-odd rule, [H, W]. Corners are (x, y) in pixels."""
    height, width = size
    toggles = np.zeros((height, width + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(corners_N2, np.roll(corners_N2, -1, axis=0), strict=True):
        first, last = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in sorted((y0, y1)))
        rows = np.arange(first, last)  # those whose centres the edge crosses
        if len(rows):
            x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            toggles[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] += 1
    return np.asarray(toggles.cumsum(axis=1)[:, :width] % 2 == 1)


def misfit(name: str, label: str) -> NoReturn:
    raise DataError(f"{name}: the mask of {label} does not fit the image, or is cut short. Export it again.")


def brush_mask(packed: list[int], size: tuple[int, int], name: str, label: str) -> NDArray[np.bool_]:
    """What tasks.brush_runs packed, or Label Studio did, [H, W]; alpha above 0 is the mask."""
    text = "".join(f"{byte:08b}" for byte in packed)
    at = 0

    def read(bits: int) -> int:
        nonlocal at
        if at + bits > len(text):
            misfit(name, label)
        at += bits
        return int(text[at - bits : at], 2)

    number, word = read(32), read(5) + 1
    if number != 4 * size[0] * size[1] or word != WORD_BITS:
        misfit(name, label)
    sizes = [read(4) + 1 for _ in range(4)]
    values = np.zeros(number, np.uint8)
    done = 0
    while done < number:
        repeated = read(1)
        length = read(sizes[read(2)]) + 1
        if done + length > number:
            misfit(name, label)
        values[done : done + length] = read(word) if repeated else [read(word) for _ in range(length)]
        done += length
    return np.asarray(values.reshape(*size, 4)[:, :, 3] > 0)
