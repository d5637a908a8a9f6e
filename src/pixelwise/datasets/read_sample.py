"""Read a sample's image bytes and mask values from any kind of file.

Most samples are two files, read by `images`. If one file holds many images or masks, or vector annotations (polygons,
run lengths), `Sample.image_part` and `mask_part` select one: "coco:42", "parquet:17/image/bytes". The word before the
colon names the reader in the two tables below; the rest is specific to that reader. Parts are plain text, so a run can
store its samples and find them again.

Shapes: H, W height and width in pixels of the upright image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets import mask_layers
from pixelwise.datasets.formats import (
    ade20k_full,
    cityscapes,
    coco,
    cvat,
    cvat_video,
    darwin,
    declared_colours,
    geojson,
    labelme,
    labelme_xml,
    labelstudio,
    matlab,
    nifti,
    numpy_masks,
    parquet,
    run_length_csv,
    segments_ai,
    superannotate,
    supervisely,
    via,
    yolo,
)
from pixelwise.datasets.formats.reader_errors import refusals
from pixelwise.datasets.masks.mask_part import from_entry, labels_by
from pixelwise.datasets.masks.raw_mask import RawMask, raw_mask_of
from pixelwise.datasets.masks.relabel import fitted_to
from pixelwise.datasets.stacked_files import (
    STACK,
    absent_in_stack,
    names_and_sample,
    stacked,
    stacked_bytes,
    stacked_facts,
)
from pixelwise.datasets.streamed_pairs import (
    STRIP_PIXELS,
    file_digest,
    has_streamed_image,
    is_streamed,
    mask_window,
    streamed_labels,
)
from pixelwise.errors import DataError, ImageError, MaskError
from pixelwise.images.band_facts import BandFacts, band_facts
from pixelwise.images.banded_image import BandedImage, banded_image
from pixelwise.images.declared_no_data import absent_pixels, declared_no_data, void_where
from pixelwise.images.decode import MaskIds, mask_ids_of, open_image
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.images.image_files import decode_image, labels_from_ids
from pixelwise.images.read_as import chosen
from pixelwise.images.tiff_header import tiff_size
from pixelwise.images.tiff_windows import TiffWindows
from pixelwise.records import RGB, VOID, Bands, Labels, Pixels, Raster, Sample

ImageReader = Callable[[Path, str], bytes]
MaskReader = Callable[[Path, str, tuple[int, int]], MaskIds]  # the file, the part, the image's (H, W)

IMAGE_READERS: dict[str, ImageReader] = {
    "nifti": nifti.image_bytes,
    "parquet": parquet.image_bytes,
}
BAND_READERS: dict[str, Callable[[Path, str], BandedImage]] = {"nifti": nifti.bands, STACK: stacked}
# Where an image is not a number, of those whose pixels are made 8-bit and so cannot say it.
ABSENT_READERS: dict[str, Callable[[Path, str], NDArray[np.bool_] | None]] = {
    "nifti": nifti.without_numbers,
    STACK: absent_in_stack,
}
FACT_READERS: dict[str, Callable[[Path, str], BandFacts]] = {"nifti": nifti.facts, STACK: stacked_facts}
MASK_READERS: dict[str, MaskReader] = {
    "ade20k-full": ade20k_full.mask_ids,
    "cityscapes": cityscapes.mask_ids,
    "coco": coco.mask_ids,
    "coco-panoptic": coco.panoptic_ids,
    "colours": declared_colours.ids_of_colours,
    "cvat": cvat.mask_ids,
    "cvat-video": cvat_video.mask_ids,
    "darwin": darwin.mask_ids,
    "geojson": geojson.mask_ids,
    "labelme": labelme.mask_ids,
    "labelme-xml": labelme_xml.mask_ids,
    "labelstudio": labelstudio.mask_ids,
    "layers": mask_layers.mask_ids,
    "matlab": matlab.mask_ids,
    "nifti": nifti.mask_ids,
    "numpy": numpy_masks.mask_ids,
    "parquet": parquet.mask_ids,
    "run-length-csv": run_length_csv.mask_ids,
    "segments-ai": segments_ai.mask_ids,
    "superannotate": superannotate.mask_ids,
    "supervisely": supervisely.mask_ids,
    "via": via.mask_ids,
    "yolo": yolo.mask_ids,
}


def image_bytes(sample: Sample) -> bytes:
    """The bytes of a sample's image, in a format that `images` reads. Raises Refusal."""
    names, sample = names_and_sample(sample)
    if not sample.image_part:
        return read_bytes(sample.image)
    reader, _, entry = sample.image_part.partition(":")
    with refusals():
        if reader == STACK:
            return stacked_bytes(sample.image, entry, names)
        return IMAGE_READERS[reader](sample.image, entry)


def stored_mask_ids(sample: Sample, image_size: tuple[int, int] | None = None) -> MaskIds:
    """The values of a sample's mask [H, W], as stored in or drawn from its file.

    Args:
        image_size: (H, W) of the upright image if the caller knows it; otherwise its header is read.

    Raises:
        Refusal: as `images.read_mask_ids`, and any refusal of the part's reader.
    """
    if sample.mask is None:
        raise Refusal("mask-missing", "has no mask.", "Add one.")
    if not sample.mask_part:
        with refusals():
            return mask_ids_of(read_bytes(sample.mask))
    reader, _, entry = sample.mask_part.partition(":")
    if reader == "coded":
        return coded_ids(sample, entry, image_size)
    size = image_size or upright_size(image_bytes(sample))
    with refusals():
        return MASK_READERS[reader](sample.mask, entry, size)


def coded_ids(sample: Sample, entry: str, image_size: tuple[int, int] | None = None) -> MaskIds:
    """The class ids of a mask that is not plain ids: colours, JPEG, object numbers … Raises Refusal."""
    assert sample.mask is not None
    coded = from_entry(entry)
    if coded.inside:
        ids = stored_mask_ids(replace(sample, mask_part=coded.inside), image_size)
        raw = RawMask(ids.astype(np.int32), False, False, 8, 1)
    else:
        raw = raw_mask_of(read_bytes(sample.mask))
    return labels_by(raw, coded)[0]


def image_digest(sample: Sample) -> bytes:
    """SHA-256 of the bytes of a sample's image. Raises Refusal."""
    if has_streamed_image(sample):
        return file_digest(sample.image)
    return hashlib.sha256(image_bytes(sample)).digest()


def stored_digests(sample: Sample) -> list[bytes]:
    """SHA-256 of the image's and the mask's bytes; for a drawn mask, of its values. Raises ImageError, MaskError."""
    try:
        digests = [image_digest(sample)]
    except Refusal as refusal:
        raise ImageError(f"{shown(sample.image)}: {refusal}") from refusal
    try:
        if sample.mask is not None:
            if not sample.mask_part and is_streamed(sample.mask):
                digests.append(file_digest(sample.mask))
            else:
                data = stored_mask_ids(sample).tobytes() if sample.mask_part else read_bytes(sample.mask)
                digests.append(hashlib.sha256(data).digest())
    except Refusal as refusal:
        raise MaskError(f"{shown(sample.mask or sample.image)}: {refusal}") from refusal
    return digests


def upright_size(data: bytes) -> tuple[int, int]:
    """(H, W) of an image after its EXIF orientation, from its header. Raises Refusal."""
    try:
        opened = open_image(data)
    except Refusal:
        with refusals():
            try:
                facts = band_facts(data)
            except ImageError:
                facts = None
        if facts is None:
            raise
        return facts.height, facts.width
    width, height = opened.image.size
    return (width, height) if opened.turn >= 5 else (height, width)


def image_size_of(sample: Sample) -> tuple[int, int]:
    """(H, W) of the upright image, from its header. Raises ImageError."""
    try:
        if names_and_sample(sample)[1].image_part.partition(":")[0] in FACT_READERS:
            facts = sample_facts(sample)
            return facts.height, facts.width
        if has_streamed_image(sample) and (size := tiff_size(sample.image)) is not None:
            return size
        return upright_size(image_bytes(sample))
    except Refusal as refusal:
        raise ImageError(f"{shown(sample.image)}: {refusal}") from refusal


def stored_orientation(data: bytes) -> int:
    """The EXIF orientation of an image, 1 to 8; 1 for files that only `read_bands` reads: it turns them upright."""
    try:
        return open_image(data).turn
    except Refusal:
        return 1


def sample_bands(sample: Sample, data: bytes | None = None) -> BandedImage:
    """All bands of a sample's image, in full depth, with their names. `data`: its bytes, if read. Raises Refusal."""
    names, inner = names_and_sample(sample)
    reader, _, entry = inner.image_part.partition(":")
    if reader in BAND_READERS:
        with refusals():
            image = BAND_READERS[reader](inner.image, entry)
    else:
        image = banded_image(image_bytes(inner) if data is None else data)
    return replace(image, names=names) if len(names) == image.pixels.shape[2] else image


def sample_facts(sample: Sample) -> BandFacts:
    """The bands of a sample's image, from headers alone. Raises ImageError, Refusal."""
    _, inner = names_and_sample(sample)
    reader, _, entry = inner.image_part.partition(":")
    if not reader:
        return band_facts(inner.image)
    with refusals():
        if reader in FACT_READERS:
            return FACT_READERS[reader](inner.image, entry)
        return band_facts(image_bytes(inner), shown(inner.image))


@overload
def read_sample_image(sample: Sample) -> Pixels: ...
@overload
def read_sample_image(sample: Sample, bands: Bands) -> Raster: ...
def read_sample_image(sample: Sample, bands: Bands = RGB) -> Raster:
    """Read the image as a dataset with these bands takes it.

    Returns:
        RGB: uint8 [H, W, 3]. Other bands: uint8, or float32 with NaN where the file has no data, [H, W, bands].

    Raises:
        ImageError: see `images.read_image`; or the image has other bands.
    """
    try:
        if bands != RGB:
            return chosen(sample_bands(sample), bands, shown(sample.image))
        data = image_bytes(sample)
    except Refusal as refusal:
        raise ImageError(f"{shown(sample.image)}: {refusal}") from refusal
    return decode_image(data, shown(sample.image))


def indexed_image(sample: Sample, bands: Bands) -> Raster | TiffWindows:
    """As `read_sample_image`; of a TIFF too large to be decoded at once, what is indexed like it and reads windows.

    Raises:
        ImageError: as `read_sample_image`.
    """
    return TiffWindows(sample.image, bands) if has_streamed_image(sample) else read_sample_image(sample, bands)


def read_sample_mask(
    sample: Sample, mask_ids: Mapping[int, int], num_classes: int, image_size: tuple[int, int] | None = None
) -> Labels:
    """Read the mask as uint8 [H, W] class ids, VOID where unlabelled or where the image has no number. Arguments and
    errors as `images.read_mask`.

    `image_size`: (H, W) of the upright image. A mask of another size is fitted to it if there is only one way to do so:
    rotated by its image's EXIF orientation, or resized (nearest pixel) if it shows the same view.
    """
    try:
        labels = labels_from_ids(stored_mask_ids(sample, image_size), mask_ids, num_classes)
        labels = fitted_labels(sample, labels, image_size) if image_size else labels
    except Refusal as refusal:
        raise MaskError(f"{shown(sample.mask or sample.image)}: {refusal}") from refusal
    absent_HW = without_numbers(sample)
    if absent_HW is None or absent_HW.shape != labels.shape:
        return labels
    return np.where(absent_HW, np.uint8(VOID), labels)


def label_strips(sample: Sample, mask_ids: Mapping[int, int], classes: int, size: tuple[int, int]) -> Iterator[Labels]:
    """The labels of a large pair in strips of rows. Raises MaskError; DataError: not of its image's size."""
    assert sample.mask is not None
    parts: Iterator[Labels]
    if sample.mask_part or not is_streamed(sample.mask):
        labels = read_sample_mask(sample, mask_ids, classes, size)
        rows = max(STRIP_PIXELS // labels.shape[1], 1)
        found, parts = labels.shape, (labels[top : top + rows] for top in range(0, len(labels), rows))
    else:
        found, parts = tiff_size(sample.mask) or (0, 0), streamed_labels(sample.mask, mask_ids, classes)
    if found != size:
        raise DataError(
            f"{sample.mask}: {found[0]}×{found[1]}, but its image is {size[0]}×{size[1]}. Export both at the same size."
        )
    try:
        yield from _void_strips(sample, parts)
    except Refusal as refusal:
        raise MaskError(f"{shown(sample.mask)}: {refusal}") from refusal


def _void_strips(sample: Sample, parts: Iterator[Labels]) -> Iterator[Labels]:
    """The strips, VOID where a large image declares that it holds no data. Raises Refusal."""
    declared = declared_no_data(sample.image) if has_streamed_image(sample) else None
    with declared or nullcontext():
        top = 0
        for labels in parts:
            height, width = labels.shape
            yield labels if declared is None else void_where(labels, declared.window(top, 0, height, width))
            top += height


def without_numbers(sample: Sample) -> NDArray[np.bool_] | None:
    """Where a sample's image [H, W] has no number in the file (NaN, infinite, the declared no-data value) but 8-bit
    pixels as it is read; None: nowhere, and of images too large to be decoded at once.

    Raises ImageError.
    """
    reader, _, entry = names_and_sample(sample)[1].image_part.partition(":")
    try:
        if not reader:
            return None if has_streamed_image(sample) else absent_pixels(sample.image)
        if reader not in ABSENT_READERS:
            return None
        with refusals():
            return ABSENT_READERS[reader](sample.image, entry)
    except Refusal as refusal:
        raise ImageError(f"{shown(sample.image)}: {refusal}") from refusal


def streamed_mask_window(
    sample: Sample,
    mask_ids: Mapping[int, int],
    num_classes: int,
    image_size: tuple[int, int],
    window: tuple[int, int, int, int],
) -> Labels:
    """`read_sample_mask`, for a window (top, left, height, width) of a mask that may be too large to be decoded at
    once."""
    top, left, height, width = window
    declared = declared_no_data(sample.image) if has_streamed_image(sample) else None
    try:
        if sample.mask is not None and not sample.mask_part and is_streamed(sample.mask):
            labels = labels_from_ids(mask_window(sample.mask, *window), mask_ids, num_classes)
        else:
            whole = read_sample_mask(sample, mask_ids, num_classes, image_size)
            labels = whole[top : top + height, left : left + width]
        with declared or nullcontext():
            return labels if declared is None else void_where(labels, declared.window(*window))
    except Refusal as refusal:
        raise MaskError(f"{shown(sample.mask or sample.image)}: {refusal}") from refusal


def fitted_labels(sample: Sample, labels: Labels, image_size: tuple[int, int]) -> Labels:
    """Labels at their image's size (H, W); unchanged if the user must decide. Raises Refusal."""
    if labels.shape == image_size:
        return labels
    assert sample.mask is not None
    part = sample.mask_part.startswith("coded:") and '"inside"' not in sample.mask_part
    turn = open_image(read_bytes(sample.mask)).turn if part or not sample.mask_part else 1
    fitted = fitted_to(labels, turn, image_size, stored_orientation(image_bytes(sample)), None, False)
    return labels if isinstance(fitted, str) else fitted[0]
