"""The verb `accept`: masks corrected in CVAT or Label Studio come back as a dataset, with a report of the changes.

The export is read as `check` reads it. Ids follow the classes for which the tasks were written, by name; pixels under
no shape are void.

Shapes: H, W an image's own size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pixelwise.datasets.corrections import Corrected, digest_of, write_corrections
from pixelwise.datasets.dataset_toml import FILE_NAME, read_settings
from pixelwise.datasets.formats import cvat, labelstudio
from pixelwise.datasets.formats.annotated_shapes import AnnotatedImage, draw_all
from pixelwise.datasets.formats.annotation_files import pictures_of
from pixelwise.datasets.formats.field_checks import same_size
from pixelwise.datasets.formats.image_lookup import spellings
from pixelwise.datasets.new_folder import new_folder, require_new
from pixelwise.errors import DataError, UsageError
from pixelwise.images.files import Refusal, read_bytes, shown, write_whole
from pixelwise.images.image_files import encode_label_png, read_image
from pixelwise.labelling.labelling_tasks import original_of
from pixelwise.records import VOID, ClassList, Labels

Pictures = Mapping[str, AnnotatedImage]  # by the image's name in images/
TOP = 5  # of the commonest corrections


@dataclass(frozen=True)
class Accepted:
    """The result of `accept`."""

    out: Path
    changed: tuple[tuple[str, float], ...]  # each image and the share of its pixels that was corrected, the most first
    corrections: tuple[tuple[str, str, int], ...]  # the model's class, the corrected class, pixels; the most first

    def to_json(self) -> dict[str, Any]:
        return {
            "out": shown(self.out),
            "images": [{"image": name, "changed": share} for name, share in self.changed],
            "corrections": [{"model": was, "person": now, "pixels": n} for was, now, n in self.corrections],
        }

    def __str__(self) -> str:
        share = float(np.mean([share for _, share in self.changed]))
        lines = [
            f"Masks in {shown(self.out)}: {len(self.changed)}; {share:.1%} of their pixels were changed by a person."
        ]
        lines += [f"  {was} → {now}: {pixels:,} pixels" for was, now, pixels in self.corrections[:TOP]]
        return "\n".join(lines)


def accept(tasks: Path | str, export: Path | str, out: Path | str) -> Accepted:
    """Import masks that were corrected in a labelling tool, as a dataset, and report what changed.

    Args:
        tasks: the folder that `suggest` wrote.
        export: the export of the labelling tool: "CVAT for images 1.1" (annotations.xml) or Label Studio JSON.
        out: new folder for the dataset: images/, masks/, dataset.toml, and corrections.jsonl, which `check` reads.

    Returns:
        Accepted: each image with the share of its pixels that was corrected (0–1), and the corrected classes.

    Raises:
        UsageError: `tasks` is not such a folder, or `export` does not exist.
        DataError: the export is damaged, or has labels or images that the tasks do not have; all are listed.
        OutputError: `out` is not empty or cannot be written.

    Example:
        >>> import pixelwise as pw
        >>> _ = pw.suggest("street", ["unlabelled"], number=1, out="to_label", tasks="cvat")
        >>> done = pw.accept("to_label", "to_label/annotations.xml", "more_data")  # here: nothing was corrected
        >>> [share for _, share in done.changed]
        [0.0]
    """
    tasks, export, out = Path(tasks), Path(export), Path(out)
    classes = read_settings(tasks).classes if (tasks / FILE_NAME).is_file() else None
    given = next((tasks / name for name in ("annotations.xml", "tasks.json") if (tasks / name).is_file()), None)
    if classes is None or given is None:
        raise UsageError(f"{shown(tasks)}: holds no tasks. Name the folder that `pixelwise suggest --out` wrote.")
    require_new(out)
    before = read_export(given)
    after = read_export(export, before.keys())
    require_same_tasks(export, after, before, classes)
    names = [name for name, picture in after.items() if picture.drawn]
    if not names:
        raise DataError(f"{shown(export)}: no image of the tasks has a shape. Export the annotations, then try again.")
    with new_folder(out, tasks / "images") as part:
        return _written(tasks, out, part, {name: (before[name], after[name]) for name in names}, classes)


def _written(
    tasks: Path,
    out: Path,
    part: Path,
    both: Mapping[str, tuple[AnnotatedImage, AnnotatedImage]],
    classes: ClassList,
) -> Accepted:
    """Write images, masks and the corrections into `part`, which becomes `out`.

    Args:
        both: of each image, the picture of the tasks and the one that came back.

    Raises:
        DataError: a shape does not fit its image, or an image cannot be read.
    """
    changed, corrections, rows = [], Counter[tuple[int, int]](), []
    said = dict(enumerate(classes.names)) | {VOID: "void"}
    for folder in ("images", "masks"):
        (part / folder).mkdir(parents=True)
    for name, (was, now) in both.items():
        path = tasks / "images" / name
        size = read_image(path).shape[:2]
        was_HW, now_HW = (drawn(own, (size[0], size[1]), classes, name) for own in (was, now))
        different = was_HW != now_HW
        own = Counter(zip(was_HW[different].tolist(), now_HW[different].tolist(), strict=True))
        corrections.update(own)
        changed.append((name, float(different.mean())))
        original = original_of(tasks, name)
        write_whole((part / "images" / name).with_suffix(original.suffix), read_bytes(original))
        mask, data = (Path("masks") / name).with_suffix(".png"), encode_label_png(now_HW, classes)
        write_whole(part / mask, data)
        listed = tuple((said[before], said[after], pixels) for (before, after), pixels in own.most_common())
        rows.append(Corrected(mask.as_posix(), digest_of(data), changed[-1][1], listed))
    write_corrections(part, rows)
    write_whole(part / FILE_NAME, (tasks / FILE_NAME).read_bytes())
    told = tuple((said[before], said[after], pixels) for (before, after), pixels in corrections.most_common())
    return Accepted(out, tuple(sorted(changed, key=lambda row: -row[1])), told)


def require_same_tasks(export: Path, after: Pictures, before: Pictures, classes: ClassList) -> None:
    """Raise DataError where an export is of other tasks, or has labels that are not classes."""
    images = sorted(set(after) - set(before))
    labels = sorted({shape.name for picture in after.values() for shape in picture.drawn} - {*classes.names, "void"})
    if images or labels:
        found = [f"images that the tasks do not have: {', '.join(images[:TOP])}"] if images else []
        found += [f"labels that are not classes: {', '.join(labels[:TOP])}"] if labels else []
        raise DataError(
            f"{shown(export)}: has {'; '.join(found)}. The classes are {', '.join(classes.names)}, and void. Export "
            "the right task, or correct the labels there."
        )


def read_export(path: Path, known: Collection[str] = ()) -> Pictures:
    """The pictures of a file of CVAT or Label Studio, by their images' names in images/.

    Args:
        known: names of the tasks' images, to which the names in the file are matched.

    Raises:
        UsageError: no such file.
        DataError: neither format, or damaged; two images of one name; a shape that cannot be drawn.
    """
    found: dict[str, AnnotatedImage] = {}
    try:
        with path.open("rb") as file:
            read = labelstudio.read_predicted if file.read(64).lstrip()[:1] == b"[" else cvat.read
        for picture in pictures_of(read, path).values():
            name = image_name(picture.image, known)
            if name in found:
                raise Refusal("annotations", f"has two images {shown(name)}.", "Leave one of them.")
            require_drawable(picture, name)
            found[name] = picture
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror}). Check the path.") from error
    except Refusal as refusal:
        raise DataError(
            f"{shown(path)}: expected CVAT's XML (CVAT for images 1.1) or Label Studio's JSON; it {refusal}"
        ) from refusal
    return found


def require_drawable(picture: AnnotatedImage, name: str) -> None:
    """Raise Refusal where a shape of a picture cannot be drawn: a correction must not be lost."""
    if picture.damaged:
        what = f"is damaged: {shown(name)}: {picture.damaged.what}"
        raise Refusal(picture.damaged.kind, what, picture.damaged.remedy)
    for shape in picture.shapes:
        if shape.undrawn and shape.undrawn != labelstudio.SECOND_LABEL:
            what = f"has a {shown(shape.kind)} of {shown(shape.name)} on {shown(name)}, which is not drawn."
            raise Refusal("not-drawn", f"{what} {shape.undrawn}", "Draw it as a polygon or mask.")


def image_name(name: str, known: Collection[str]) -> str:
    """The name in images/ of an image that an export names; its plain name where the tasks do not have it."""
    names = [path.name for path in spellings(name, uploaded=True)]
    return next((own for own in names if own in known), PurePosixPath(name.replace("\\", "/")).name)


def drawn(picture: AnnotatedImage, size: tuple[int, int], classes: ClassList, name: str) -> Labels:
    """The mask [H, W] of an image of (H, W) pixels. Raises DataError: a shape is damaged or does not fit."""
    labels_HW = np.full(size, VOID, np.uint8)
    ids = {name: i for i, name in enumerate(classes.names)}
    try:
        same_size(picture.size, size)
        draw_all(labels_HW, picture, {"void": VOID, **ids})
    except Refusal as refusal:
        raise DataError(f"{shown(name)}: {refusal}") from refusal
    return labels_HW
