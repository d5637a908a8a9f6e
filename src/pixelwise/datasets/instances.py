"""Which object a pixel belongs to, where a dataset says so: numbers beside its masks, or shapes drawn one by one.

    DATA/masks/a.png          class ids
    DATA/instances/a.png      object numbers, 0: none; PNG or TIFF of 8, 16 or 32 bits, or .npy
    DATA/instances/a/*.png    or one file an object

VOC's SegmentationObject/ is read in the same way. Without such a file, the numbers come from the mask itself: one for
each polygon or run length of an annotation file, each segment of a panoptic PNG, each layer of an object, or the
object numbers that some masks hold instead of class ids.

Shapes: H, W the image's size.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets import mask_layers
from pixelwise.datasets.formats import (
    cityscapes,
    coco,
    cvat,
    cvat_video,
    darwin,
    geojson,
    labelme,
    labelme_xml,
    labelstudio,
    run_length_csv,
    segments_ai,
    supervisely,
    via,
    yolo,
)
from pixelwise.datasets.formats.reader_errors import refusals
from pixelwise.datasets.masks.mask_encoding import CITYSCAPES_BASE
from pixelwise.datasets.masks.mask_part import from_entry
from pixelwise.datasets.masks.raw_mask import raw_mask_of
from pixelwise.datasets.read_sample import MaskReader, image_bytes, stored_mask_ids, upright_size
from pixelwise.errors import MaskError
from pixelwise.images.decode import MaskIds, mask_ids_of
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.objects.object_records import ObjectMap
from pixelwise.records import VOID, Labels, Sample

FOLDER = "instances"  # beside the masks' folder
VOC_FOLDERS = ("SegmentationClass", "SegmentationObject")  # VOC's masks, and the objects beside them
PLAIN_READERS = ("", "coded", "colours", "numpy")  # masks that are files of their own, as objects beside them are
SUFFIXES = (".png", ".tif", ".tiff", ".npy")
STRIP_PIXELS = 1 << 20  # numbered at a time
LEVELS = 4  # folders above a mask that are looked at: masks/patient/slide/a.png
OBJECT_READERS: dict[str, MaskReader] = {  # readers of drawn masks, one number a shape
    "cityscapes": cityscapes.object_ids,
    "coco": coco.object_ids,
    "coco-panoptic": coco.panoptic_objects,
    "cvat": cvat.object_ids,
    "cvat-video": cvat_video.object_ids,
    "darwin": darwin.object_ids,
    "geojson": geojson.object_ids,
    "labelme": labelme.object_ids,
    "labelme-xml": labelme_xml.object_ids,
    "labelstudio": labelstudio.object_ids,
    "layers": mask_layers.object_ids,
    "run-length-csv": run_length_csv.object_ids,
    "segments-ai": segments_ai.object_ids,
    "supervisely": supervisely.object_ids,
    "via": via.object_ids,
    "yolo": yolo.object_ids,
}


def instances_of(sample: Sample, image_size: tuple[int, int] | None = None) -> ObjectMap | None:
    """The objects of a labelled sample.

    Args:
        image_size: (H, W) of the upright image if the caller knows it; otherwise its header is read.

    Returns:
        uint32 [H, W], numbers from 1 without gaps, 0 where no object is known; None if the data has no instances.

    Raises:
        MaskError: they cannot be read, or are not of the image's size.
    """
    reader = find_instances(sample)
    if reader is None:
        return None
    try:
        with refusals():
            size = image_size or upright_size(image_bytes(sample))
            stored = reader(size)
    except Refusal as refusal:
        raise MaskError(f"{shown(source_of(sample))}: {refusal}") from refusal
    if stored.shape != size:
        raise MaskError(
            f"{shown(source_of(sample))}: its objects are {stored.shape[1]}×{stored.shape[0]} pixels, but the image is "
            f"{size[1]}×{size[0]}. Export them at the image's size."
        )
    return numbered(stored)


def has_instances(sample: Sample) -> bool:
    """Whether the data say which object a pixel of this sample belongs to. Decodes nothing."""
    return find_instances(sample) is not None


def source_of(sample: Sample) -> Path:
    """The file or folder that holds the objects of a sample, for messages and digests."""
    return object_file(sample) or sample.mask or sample.image


def class_objects(labels_HW: Labels, instances_HW: ObjectMap | None, class_id: int) -> ObjectMap:
    """The true objects of one class.

    Args:
        labels_HW: class ids of the mask.
        instances_HW: as from `instances_of`; None: none are known.

    Returns:
        uint32 [H, W]: a number for each object, which keeps that of its instance. Pixels of the class under no instance
        are connected components (8 neighbours), with further numbers.
    """
    own_HW = labels_HW == class_id
    if instances_HW is None:
        return components(own_HW)
    objects_HW = np.where(own_HW, instances_HW, 0).astype(np.uint32)
    unknown_HW = own_HW & (objects_HW == 0)
    if unknown_HW.any():
        more_HW = components(unknown_HW)
        objects_HW[unknown_HW] = more_HW[unknown_HW] + int(instances_HW.max(initial=0))
    return objects_HW


def components(own_HW: NDArray[np.bool_]) -> ObjectMap:
    """Connected components (8 neighbours), numbered from 1."""
    _, parts_HW = cv2.connectedComponents(own_HW.astype(np.uint8), connectivity=8)
    return np.asarray(parts_HW).astype(np.uint32)


# ── where they are ──


def find_instances(sample: Sample) -> Callable[[tuple[int, int]], MaskIds] | None:
    """What reads the object numbers of a sample at an image size (H, W); None if it has none."""
    if sample.mask is None:
        return None
    file = object_file(sample)
    if file is not None:
        return lambda size: numbers_in(file, size)
    return drawn_objects(sample)


def object_file(sample: Sample) -> Path | None:
    """The file or folder of objects in the folder beside the masks' own."""
    return next((path for path in places(sample) if path.is_file() or path.is_dir()), None)


def places(sample: Sample) -> Iterator[Path]:
    """Where a sample's objects would be: DATA/instances/ beside DATA/masks/, in the same sub-folders."""
    if sample.mask is None or sample.mask_part.partition(":")[0] not in PLAIN_READERS:
        return
    for folder in [parent for parent in sample.mask.parents if parent.name][:LEVELS]:
        beside = folder.with_name(VOC_FOLDERS[1] if folder.name == VOC_FOLDERS[0] else FOLDER)
        if beside == folder or not beside.is_dir():
            continue
        inner = beside / sample.mask.relative_to(folder).parent
        for stem in dict.fromkeys((sample.mask.stem, sample.image.stem)):
            yield from (inner / f"{stem}{suffix}" for suffix in SUFFIXES)
            yield inner / stem


def drawn_objects(sample: Sample) -> Callable[[tuple[int, int]], MaskIds] | None:
    """What reads the objects of a mask that is drawn one by one, or that holds object numbers instead of ids."""
    mask = sample.mask
    assert mask is not None
    reader, _, entry = sample.mask_part.partition(":")
    if reader == "coded":
        rule = from_entry(entry)
        inner = replace(sample, mask_part=rule.inside)
        if rule.objects not in ("instances", "class-instances"):
            return drawn_objects(inner) if rule.inside else None
        base = CITYSCAPES_BASE if rule.objects == "class-instances" else 1  # smaller numbers are of no object

        def from_codes(size: tuple[int, int]) -> MaskIds:
            codes = stored_mask_ids(inner, size) if rule.inside else raw_mask_of(read_bytes(mask)).codes
            return np.where(codes >= base, codes, 0).astype(np.int32)

        return from_codes
    if reader == "layers" and not mask_layers.has_objects(entry):
        return None
    read = OBJECT_READERS.get(reader)
    return None if read is None else lambda size: read(mask, entry, size)


# ── what they hold ──


def numbers_in(path: Path, size: tuple[int, int]) -> MaskIds:
    """The object numbers in a file, or in a folder of one file an object. Raises Refusal."""
    if path.is_file():
        voc = path.parent.name == VOC_FOLDERS[1]
        ids = whole_numbers(path)
        return np.where(ids == VOID, 0, ids).astype(np.int32) if voc else ids
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != ".")
    return mask_layers.object_ids(path / "one", json.dumps([[0, file.name] for file in files]), size)


def whole_numbers(path: Path) -> MaskIds:
    """The values of a file of whole numbers. Raises Refusal."""
    data = read_bytes(path)
    if path.suffix.lower() != ".npy":
        return mask_ids_of(data)
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        what = f"holds {array.dtype} {list(array.shape)}; expected whole numbers of two dimensions."
        raise Refusal("mask-shape", what, "Save the object numbers alone.")
    return np.asarray(array, np.int32)


def numbered(stored: MaskIds) -> ObjectMap:
    """The same objects with numbers from 1 without gaps; what is 0 or negative is none."""
    rows = max(STRIP_PIXELS // max(stored.shape[1], 1), 1)  # an index takes eight bytes a pixel
    strips = [slice(top, top + rows) for top in range(0, len(stored), rows)]
    values = np.unique(np.concatenate([np.empty(0, np.int64), *(np.unique(stored[strip]) for strip in strips)]))
    new = np.cumsum(values > 0, dtype=np.uint32) * (values > 0)
    found = np.empty(stored.shape, np.uint32)
    for strip in strips:
        found[strip] = new[np.searchsorted(values, stored[strip])]
    return found
