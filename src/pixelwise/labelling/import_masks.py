"""Masks that exist already become edits: those of the photos' own dataset at first, others when a person asks.

Masks are matched to photos by file name, below their folders or alone where that is unique; sizes must agree. Only
labelled pixels are taken over. What is not matched is reported by name.

Shapes: H, W of a photo.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.dataset_toml import read_settings
from pixelwise.datasets.default_colours import default_colours
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import image_size_of, read_sample_mask
from pixelwise.errors import DataError, LabelLockedError, UsageError
from pixelwise.images.files import shown
from pixelwise.labelling.accept import drawn, read_export
from pixelwise.labelling.labelled_image import Edit
from pixelwise.labelling.labelling_folder import INSIDE
from pixelwise.labelling.patch import Patch
from pixelwise.labelling.photo_list import Photo
from pixelwise.labelling.workspace import Workspace
from pixelwise.prediction.walk_folders import images_below
from pixelwise.records import VOID, ClassList, Dataset, OnProgress, Sample, no_progress

EXPORTS = (".xml", ".json")  # of CVAT and Label Studio
FIRST = "first-import"  # the id of the edit that takes over a dataset's own mask
OTHER_SIZE = "its mask has another size: {}×{}, the photo has {}×{}"

ReadMask = Callable[[tuple[int, int]], NDArray[np.uint8]]  # the photo's (H, W) → ids of classes, VOID where unlabelled


@dataclass(frozen=True)
class Imported:
    """What was taken over."""

    images: int
    pixels: int
    skipped: tuple[str, ...]  # each with the reason
    new_classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MaskSource:
    """One mask to take over."""

    name: str  # of its image, with folders
    read: ReadMask


def import_first(workspace: Workspace, progress: OnProgress = no_progress) -> Imported:
    """Take over the masks of the dataset that the photos are, of each photo without a log. `progress`: (done, total).

    Raises:
        OutputError: an edit cannot be saved.
    """
    dataset, samples = workspace.found.dataset, workspace.found.samples
    if dataset is None or workspace.read_only:
        return Imported(0, 0, ())
    keys = keys_of(workspace, dataset.classes)
    waiting = [photo for photo in workspace.photos() if photo.id in samples and not workspace.has_log(photo.id)]
    pairs = ((photo, _source(samples[photo.id], dataset)) for photo in waiting)
    found = _import(workspace, pairs, keys, lambda: FIRST, lambda done: progress(done, len(waiting)))
    if found.skipped:
        workspace.notes.append(f"Masks that were not taken over: {'; '.join(found.skipped)}.")
    return found


def import_masks(workspace: Workspace, source: Path, progress: OnProgress = no_progress) -> Imported:
    """Take over masks from elsewhere: one edit for each photo, which can be undone.

    Args:
        source: the folder of a dataset that `check` reads; or an export of CVAT (annotations.xml) or Label Studio
            (JSON), or a folder with one.
        progress: called with (done, total).

    Raises:
        UsageError: no such folder or file, or no mask in it belongs to a photo; or there are too many classes.
        DataError: the masks cannot be read.
        OutputError: an edit cannot be saved.
    """
    workspace.require_folder()
    masks, classes = read_masks_of(source)
    matched, skipped = match(masks, workspace.photos())
    if not matched:
        example = f", such as {shown(masks[0].name)}" if masks else ""
        raise UsageError(
            f"{shown(source)}: none of its {len(masks):,} masks{example} has the name of a photo, such as "
            f"{shown(next((photo.name for photo in workspace.photos()), '(no photos yet)'))}. Name them alike."
        )
    before = {one.name for one in workspace.classes.classes}
    keys = keys_of(workspace, classes)
    found = _import(workspace, matched, keys, lambda: secrets.token_hex(8), lambda done: progress(done, len(matched)))
    new = tuple(one.name for one in workspace.classes.classes if one.name not in before)
    return replace(found, skipped=(*skipped, *found.skipped), new_classes=new)


def keys_of(workspace: Workspace, classes: ClassList) -> NDArray[np.uint8]:
    """uint8 [256]: id of a class → its key in the labelling folder, by name. Classes that are missing are added."""
    table = np.full(256, VOID, np.uint8)
    for i, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True)):
        known = {one.name: one.key for one in workspace.classes.classes}
        own = " ".join(name.split())
        free = colour not in {one.colour for one in workspace.classes.classes}
        table[i] = known[own] if own in known else workspace.add_class(name, colour if free else None)
    return table


def read_masks_of(source: Path) -> tuple[list[MaskSource], ClassList]:
    """The masks of a dataset or an export, and their classes. Raises UsageError, DataError."""
    if not source.exists():
        raise UsageError(f"{shown(source)}: no such folder or file. Check the path.")
    if source.is_file():
        return _of_export(source)
    exports = [path for path in sorted(source.iterdir()) if path.suffix.lower() in EXPORTS]
    if len(exports) == 1 and not has_images(source):  # `check` needs the images; here they are the photos
        return _of_export(exports[0])
    dataset = open_dataset(source)
    if any(problem.kind == "no-classes" for problem in dataset.problems):
        raise DataError(f"{shown(source)}: no classes were found in its masks. `pixelwise check` shows why.")
    samples = [sample for part in dataset.splits.values() for sample in part if sample.mask is not None]
    return [_source(sample, dataset) for sample in samples], dataset.classes


def has_images(folder: Path) -> bool:
    return next(images_below(folder, folder / INSIDE), None) is not None


def _source(sample: Sample, dataset: Dataset) -> MaskSource:
    image = sample.image
    name = image.relative_to(dataset.root).as_posix() if image.is_relative_to(dataset.root) else image.name
    if sample.image_part:  # of a file that holds many images
        name = sample.name

    def read(size: tuple[int, int]) -> NDArray[np.uint8]:
        _require_size(image_size_of(sample), size)  # shapes in shares of the size would fit any
        return read_sample_mask(sample, dataset.mask_ids, len(dataset.classes), size)

    return MaskSource(name, read)


def _of_export(path: Path) -> tuple[list[MaskSource], ClassList]:
    """The pictures of an export; its classes are those of dataset.toml beside it, and those that its shapes name."""
    pictures = read_export(path)
    beside = read_settings(path.parent).classes
    known = list(beside.names) if beside else []
    shapes = {shape.name for picture in pictures.values() for shape in picture.drawn} - {"void"}
    names = (*known, *sorted(shapes - set(known)))
    if not names:
        raise DataError(f"{shown(path)}: no image has a shape. Export the annotations, then try again.")
    spare = [
        colour for colour in default_colours(len(names) + len(known)) if not beside or colour not in beside.colours
    ]
    classes = ClassList(names, (*(beside.colours if beside else ()), *spare[: len(names) - len(known)]))

    def reader(name: str) -> ReadMask:
        return lambda size: drawn(pictures[name], size, classes, name)

    return [MaskSource(name, reader(name)) for name, picture in pictures.items() if picture.drawn], classes


def match(masks: Sequence[MaskSource], photos: Sequence[Photo]) -> tuple[list[tuple[Photo, MaskSource]], list[str]]:
    """Each mask with its photo, and the masks without one, with the reason."""
    by_path = _unique((_path_key(photo.name), photo) for photo in photos)
    by_path |= _unique((photo.stem.casefold(), photo) for photo in photos if photo.stem.casefold() not in by_path)
    by_name = _unique((PurePosixPath(_path_key(photo.name)).name, photo) for photo in photos)
    matched: dict[str, tuple[Photo, MaskSource]] = {}
    skipped = []
    for mask in masks:
        key = _path_key(mask.name)
        photo = by_path.get(key) or by_path.get(key.partition("/")[2]) or by_name.get(PurePosixPath(key).name)
        if photo is None:
            skipped.append(f"{shown(mask.name)}: no photo has this name, or several have")
        elif photo.id in matched:
            skipped.append(f"{shown(mask.name)}: another mask is for {shown(photo.name)} too")
        else:
            matched[photo.id] = (photo, mask)
    return list(matched.values()), skipped


def _path_key(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/")).with_suffix("")).casefold() if PurePosixPath(name).name else ""


def _unique(pairs: Iterable[tuple[str, Photo]]) -> dict[str, Photo]:
    """Those whose key no other photo has."""
    found: dict[str, Photo | None] = {}
    for key, photo in pairs:
        found[key] = None if key in found else photo
    return {key: photo for key, photo in found.items() if photo is not None}


def _import(
    workspace: Workspace,
    pairs: Iterable[tuple[Photo, MaskSource]],
    keys: NDArray[np.uint8],
    edit_id: Callable[[], str],
    progress: Callable[[int], None],
) -> Imported:
    images = pixels = 0
    skipped = []
    for done, (photo, source) in enumerate(pairs, start=1):
        try:
            image = workspace.opened(photo.id)
            ids_HW = source.read(image.size)
            _require_size(ids_HW.shape, image.size)
            mask_HW = keys[ids_HW]
            labelled = mask_HW != VOID
            before = image.version
            locked = image.apply(
                Edit(edit_id(), "import", VOID, Patch(0, 0, mask_HW, labelled), source="imported")
            ).locked
        except (DataError, LabelLockedError) as error:
            skipped.append(f"{shown(photo.name)}: {error}")
            continue
        finally:
            progress(done)
        if locked:
            skipped.append(f"{shown(photo.name)}: {locked:,} pixels of locked classes stay as they are")
        if image.version > before:
            images += 1
            pixels += int(np.count_nonzero(labelled)) - locked
    workspace.flush()
    return Imported(images, pixels, tuple(skipped))


def _require_size(found: tuple[int, ...], size: tuple[int, int]) -> None:
    """Raises DataError: a mask, or its image, of another size than the photo."""
    if found != size:
        raise DataError(OTHER_SIZE.format(found[1], found[0], size[1], size[0]))
