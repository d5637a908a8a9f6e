"""The verb `accept`: masks corrected in CVAT or Label Studio come back as a dataset, and what was changed is told.

Ids are given by the labels' names, in the order of the classes for which the tasks were written: a class that was not
drawn this time moves no other. Shapes are drawn by z_order, then as they stand, later ones over earlier ones; pixels
under no shape are void.

Shapes: H, W an image's own size.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.corrections import Corrected, digest_of, write_corrections
from pixelwise.datasets.dataset_toml import FILE_NAME, read_settings
from pixelwise.datasets.formats import cvat, labelstudio
from pixelwise.datasets.formats.annotation_files import shape_named
from pixelwise.datasets.formats.field_checks import table_of, text_of
from pixelwise.datasets.formats.image_lookup import spellings
from pixelwise.datasets.formats.reader_errors import refusals
from pixelwise.datasets.formats.xml_tree import parse_xml
from pixelwise.datasets.new_folder import new_folder, require_new
from pixelwise.errors import DataError, UsageError
from pixelwise.images.decode import MaskIds
from pixelwise.images.files import Refusal, read_bytes, shown, write_whole
from pixelwise.images.image_files import encode_label_png, read_image
from pixelwise.records import VOID, ClassList, Labels

Shape = tuple[str, str, Callable[[MaskIds, int], None]]  # what names it, its label, and what draws it
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
    require_new(out)
    before = read_drawings(given)
    after = read_drawings(export, before.keys())
    refuse_strangers(export, after, before, classes)
    names = [name for name, shapes in after.items() if shapes]
    if not names:
        raise DataError(f"{shown(export)}: no image of the tasks has a shape. Export the annotations, then try again.")
    with new_folder(out, tasks / "images") as part:
        return _written(tasks, out, part, {name: (before[name], after[name]) for name in names}, classes)


def _written(
    tasks: Path, out: Path, part: Path, shapes: Mapping[str, tuple[list[Shape], list[Shape]]], classes: ClassList
) -> Accepted:
    """Write images, masks and what was changed into `part`, which becomes `out`.

    Args:
        shapes: of each image, those of the tasks and those that came back.

    Raises:
        DataError: a shape does not fit its image, or an image cannot be read.
    """
    changed, corrections, rows = [], Counter[tuple[int, int]](), []
    said = dict(enumerate(classes.names)) | {VOID: "void"}
    for folder in ("images", "masks"):
        (part / folder).mkdir(parents=True)
    for name, (was, now) in shapes.items():
        path = tasks / "images" / name
        size = read_image(path).shape[:2]
        was_HW, now_HW = (drawn(own, (size[0], size[1]), classes, name) for own in (was, now))
        different = was_HW != now_HW
        own = Counter(zip(was_HW[different].tolist(), now_HW[different].tolist(), strict=True))
        corrections.update(own)
        changed.append((name, float(different.mean())))
        write_whole(part / "images" / name, read_bytes(path))
        mask, data = (Path("masks") / name).with_suffix(".png"), encode_label_png(now_HW, classes)
        write_whole(part / mask, data)
        listed = tuple((said[before], said[after], pixels) for (before, after), pixels in own.most_common())
        rows.append(Corrected(mask.as_posix(), digest_of(data), changed[-1][1], listed))
    write_corrections(part, rows)
    write_whole(part / FILE_NAME, (tasks / FILE_NAME).read_bytes())
    told = tuple((said[before], said[after], pixels) for (before, after), pixels in corrections.most_common())
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


def read_drawings(path: Path, known: Collection[str] = ()) -> Drawings:
    """The shapes of every image in a file of CVAT or Label Studio.

    Args:
        known: names of the tasks' images, one of which an image's name means once it is decoded.

    Raises:
        UsageError: no such file.
        DataError: neither of these, or damaged; two images of one name.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror}). Check the path.") from error
    found: dict[str, list[Shape]] = {}
    try:
        with refusals():
            for name, shapes in from_labelstudio(data) if data.lstrip()[:1] == b"[" else from_cvat(data):
                decoded = image_name(name, known)
                if decoded in found:
                    raise Refusal("annotations", f"has two images {shown(decoded)}.", "Leave one of them.")
                found[decoded] = shapes
    except Refusal as refusal:
        raise DataError(
            f"{shown(path)}: expected CVAT's XML (CVAT for images 1.1) or Label Studio's JSON; it {refusal}"
        ) from refusal
    return found


def image_name(name: str, known: Collection[str]) -> str:
    """The name in images/ of an image that an export names; the plain name where there is none such."""
    names = [path.name for path in spellings(name, uploaded=True)]
    return next((own for own in names if own in known), PurePosixPath(name.replace("\\", "/")).name)


def from_cvat(data: bytes) -> Iterator[tuple[str, list[Shape]]]:
    """(image, shapes) of every image. Raises Refusal."""
    for image in parse_xml(data).iter("image"):
        shapes: list[Shape] = []
        for shape in cvat.in_order(image):
            if shape.tag == cvat.OF_THE_IMAGE:
                continue
            if shape.tag not in cvat.DRAWN:
                expected = f"expected {', '.join(cvat.DRAWN)}"
                what = f"has a {shown(shape.tag)} on {shown(image.get('name', ''))}; {expected}."
                raise Refusal("annotations", what, "Draw it as a polygon or mask.")
            label = cvat.label_of(shape)
            shapes.append((shape.tag, label, partial(cvat.draw_shape, shape)))
        yield text_of(image.get("name"), "image's name", "surrogateescape"), shapes


def from_labelstudio(data: bytes) -> Iterator[tuple[str, list[Shape]]]:
    """(image, shapes) of every task; of one without annotations, its prediction's. Raises Refusal."""
    tasks = json.loads(data)
    for i, task in enumerate(tasks):
        results = labelstudio.results_of(table_of(task, "task"), or_predicted=True)
        shapes: list[Shape] = []
        for result, kind in labelstudio.shapes_of(results):
            labels = labelstudio.labels_of(result)
            if kind not in labelstudio.DRAWN or not labels:
                expected = f"expected {', '.join(labelstudio.DRAWN)} with a label"
                raise Refusal(
                    "annotations", f"has a {shown(kind)} in task {i}; {expected}.", "Draw it as one of these."
                )
            shapes.append((kind, labels[0], partial(labelstudio.draw_result, kind, result)))
        yield labelstudio.image_name_of(task)[0], shapes


def drawn(shapes: list[Shape], size: tuple[int, int], classes: ClassList, name: str) -> Labels:
    """The mask [H, W] of an image of (H, W) pixels. Raises DataError where a shape is damaged or does not fit."""
    labels_HW: NDArray[np.uint8] = np.full(size, VOID, np.uint8)
    for kind, label, draw in shapes:
        value = classes.names.index(label) if label in classes.names else VOID
        try:
            with shape_named(f"the {kind} of {shown(label)}", pass_over=False):
                draw(labels_HW, value)
        except Refusal as refusal:
            raise DataError(f"{shown(name)}: {refusal}") from refusal
    return labels_HW
