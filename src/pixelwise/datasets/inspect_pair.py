"""Inspection of one pair of files, without any judgement.

Shapes: H, W of one image; T = 16, the side of its thumbnail; D = 64, that of its detail.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import cv2
import numpy as np

from pixelwise.datasets.formats.reader_errors import refusals
from pixelwise.datasets.inspect_bands import inspect_bands, inspect_streamed_bands, values_in
from pixelwise.datasets.masks.inspection import (
    KEPT_CODES,
    THUMBNAIL_PX,
    ImageInspection,
    MaskInspection,
    PairInspection,
    RejectedFile,
)
from pixelwise.datasets.masks.raw_mask import RawMask, raw_mask_of
from pixelwise.datasets.overlaps import recording_overlaps
from pixelwise.datasets.picture_hash import SAMPLED_PX, detail_of, difference_hash
from pixelwise.datasets.read_sample import image_bytes, stored_mask_ids
from pixelwise.datasets.streamed_pairs import (
    has_streamed_image,
    inspect_streamed_image,
    inspect_streamed_mask,
    is_streamed,
)
from pixelwise.images.decode import MaskIds, OpenedImage, open_image, opened_mask_ids, pixels_and_dropped, stored_depth
from pixelwise.images.files import Refusal, read_bytes
from pixelwise.images.image_files import count_ids, counted_ids
from pixelwise.records import RGB, Bands, Colour, Sample

LARGE_PIXELS = 8_000_000  # of an image or mask; decoding two of these at a time would fill the memory
LARGE = threading.Lock()
MANY_IDS = 64
FEW_IDS = 8


def inspect_pair(
    sample: Sample, bands: Bands = RGB, *, thoroughly: bool = False, sampled: bool = False
) -> PairInspection:
    """Read one pair: whole files, all pixels.

    Args:
        bands: those of the dataset.
        thoroughly: also what only `check` needs: the thumbnail, and the content
            of masks that hold no class ids.
        sampled: also what is too slow for every pair: connected components, flat pixels.
    """
    refused: list[RejectedFile] = []
    image = mask = None
    try:
        with refusals():
            if has_streamed_image(sample):
                with LARGE:
                    image = (
                        inspect_streamed_image(sample.image, thoroughly)
                        if bands == RGB
                        else inspect_streamed_bands(sample, bands, thoroughly)
                    )
            elif bands == RGB:
                image = inspect_image(image_bytes(sample), thoroughly)
            else:
                with alone(values_in(sample)):
                    image = inspect_bands(sample, bands, thoroughly)
    except Refusal as refusal:
        refused.append(RejectedFile(False, without_traceback(refusal)))
    if sample.mask is None:
        return PairInspection(sample, image, None, tuple(refused))
    mask, why = mask_or_refusal(sample, image.size if image else None, thoroughly, sampled)
    if why is not None:
        refused.append(RejectedFile(True, why))
    return PairInspection(sample, image, mask, tuple(refused))


def mask_or_refusal(
    sample: Sample, image_size: tuple[int, int] | None, thoroughly: bool, sampled: bool
) -> tuple[MaskInspection | None, Refusal | None]:
    """The content of one mask, or why it is not a plain file of ids; with `thoroughly` both, if it can be decoded."""
    try:
        with refusals():
            return inspect_mask(sample, image_size, thoroughly, sampled), None
    except Refusal as refusal:
        return (_look_raw(sample, refusal.kind) if thoroughly else None), without_traceback(refusal)


def without_traceback(refusal: Refusal) -> Refusal:
    """Drop the traceback, which keeps the file's pixels in memory."""
    refusal.__traceback__ = refusal.__cause__ = refusal.__context__ = None
    return refusal


def alone(pixels: int) -> AbstractContextManager[object]:
    """Lock to hold while decoding and inspecting a large image: one at a time across all threads."""
    return LARGE if pixels > LARGE_PIXELS else nullcontext()


def inspect_image(data: bytes, thoroughly: bool) -> ImageInspection:
    """Inspect an image file. Raises Refusal, see `images.read_image`."""
    opened = open_image(data)
    with alone(opened.image.width * opened.image.height):
        return inspect_opened_image(data, opened, thoroughly)


def inspect_opened_image(data: bytes, opened: OpenedImage, thoroughly: bool) -> ImageInspection:
    """As `inspect_image`, for an image whose header is already read."""
    pixels_HW3, dropped = pixels_and_dropped(data, opened)
    size = (pixels_HW3.shape[0], pixels_HW3.shape[1])
    fingerprint = (len(data), zlib.crc32(data))
    if not thoroughly:
        return ImageInspection(size, 8, opened.turn, fingerprint, 0, b"", 0.0, 255, dropped)
    step_y, step_x = (max(side // SAMPLED_PX, 1) for side in size)
    sampled_hw3 = np.ascontiguousarray(pixels_HW3[::step_y, ::step_x])
    thumbnail_TT3 = cv2.resize(sampled_hw3, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    _, deviations = cv2.meanStdDev(sampled_hw3)
    return ImageInspection(
        size,
        stored_depth(opened),
        opened.turn,
        fingerprint,
        difference_hash(sampled_hw3),
        thumbnail_TT3.tobytes(),
        float(np.sqrt((deviations**2).mean())),
        int(sampled_hw3.max()),
        dropped,
        detail_of(pixels_HW3),
    )


def inspect_mask(sample: Sample, image_size: tuple[int, int] | None, thoroughly: bool, sampled: bool) -> MaskInspection:
    """Inspect a sample's mask. Raises Refusal, see `images.read_mask_ids`."""
    assert sample.mask is not None
    if sample.mask_part:
        with recording_overlaps() as overlaps:
            ids = stored_mask_ids(sample, image_size)
        counts = count_ids(ids)
        return MaskInspection(_size(ids), False, "ids", 8, 1, counts, len(counts), overlaps=overlaps)
    if is_streamed(sample.mask):
        with LARGE:
            return inspect_streamed_mask(sample.mask)
    data = read_bytes(sample.mask)
    opened = open_image(data)
    with alone(opened.image.width * opened.image.height):
        return inspect_mask_ids(data, opened, thoroughly, sampled)


def inspect_mask_ids(data: bytes, opened: OpenedImage, thoroughly: bool, sampled: bool) -> MaskInspection:
    """As `inspect_mask`, for a file whose header is already read."""
    ids = opened_mask_ids(data, opened)
    values, numbers = counted_ids(ids)
    distinct = len(values)
    if distinct > KEPT_CODES:
        commonest = np.argsort(-numbers, kind="stable")[:KEPT_CODES]
        values, numbers = values[commonest], numbers[commonest]
    counts = dict(zip(values.tolist(), numbers.tolist(), strict=True))
    if not thoroughly:
        return MaskInspection(_size(ids), False, "ids", 8 * ids.dtype.itemsize, 1, counts, distinct)
    parts = count_parts(ids, list(counts)[:MANY_IDS]) if sampled and distinct > FEW_IDS else {}
    turn, bits = opened.turn, 8 * ids.dtype.itemsize
    flat = between = None
    spread = max(counts) > distinct + 1 and distinct > 2  # not 0, 1, 2 …: some values may be blends
    if (sampled and spread) or MANY_IDS < distinct <= KEPT_CODES:
        histogram = RawMask(ids.astype(np.int32), False, False, bits, turn).histogram(KEPT_CODES)
        flat, between = histogram.flat, histogram.between
    return MaskInspection(
        _size(ids), False, "ids", bits, turn, counts, distinct, flat, between or {}, parts, _palette(opened)
    )


def count_parts(ids: MaskIds, wanted: Sequence[int]) -> dict[int, int]:
    """Connected components (4-neighbours) of each wanted id."""
    return {i: cv2.connectedComponents((ids == i).astype(np.uint8), connectivity=4)[0] - 1 for i in wanted}


def _look_raw(sample: Sample, storage: str) -> MaskInspection | None:
    """Inspect a mask that holds no class ids; None if it cannot be decoded, which is already reported."""
    assert sample.mask is not None
    if sample.mask_part:
        return None
    try:
        data = read_bytes(sample.mask)
        size = open_image(data).image.size
        with alone(size[0] * size[1]):
            return _look_at_raw(raw_mask_of(data), storage)
    except Refusal:
        return None


def _look_at_raw(raw: RawMask, storage: str) -> MaskInspection:
    seen = raw.histogram(KEPT_CODES)
    return MaskInspection(
        raw.size,
        raw.coloured,
        storage,
        raw.bits,
        raw.turn,
        seen.pixels,
        seen.distinct,
        seen.flat,
        seen.between,
        stored_colour=raw.stored_colour,
    )


def _palette(opened: OpenedImage) -> dict[int, Colour]:
    image = opened.image
    values = image.getpalette("RGB") if image.mode == "P" else None
    if not values:
        return {}
    return {i: (values[3 * i], values[3 * i + 1], values[3 * i + 2]) for i in range(len(values) // 3)}


def _size(ids: MaskIds) -> tuple[int, int]:
    return ids.shape[0], ids.shape[1]
