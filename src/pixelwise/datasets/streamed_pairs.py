"""Images and masks in TIFFs of more pixels than are decoded at once: inspected, hashed and read in strips.

Images are read by the rules of `images.tiff`; masks hold whole class ids in one band.

Shapes: H, W an image's size; R rows of a strip; T, D as in `masks.inspection`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pixelwise.datasets.masks.inspection import THUMBNAIL_PX, ImageInspection, MaskInspection
from pixelwise.datasets.picture_hash import SAMPLED_PX, detail_of, difference_hash
from pixelwise.errors import ImageError
from pixelwise.images.decode import MAX_PIXELS, MaskIds
from pixelwise.images.files import AGAIN, Refusal
from pixelwise.images.image_files import count_ids, labels_from_ids
from pixelwise.images.tiff_header import tiff_size
from pixelwise.records import Labels, Sample

if TYPE_CHECKING:
    from pixelwise.images.tiff import TiffImage

STRIP_PIXELS = 1 << 24  # at most in a strip, unless one row of tiles holds more
READ_BYTES = 1 << 24
SINGLE_BAND = "Save masks as TIFF with one band of whole class ids of 8 or 16 bits."


def is_streamed(path: Path) -> bool:
    """Whether this is a TIFF of more pixels than are decoded at once."""
    size = tiff_size(path)
    return size is not None and size[0] * size[1] > MAX_PIXELS


def has_streamed_image(sample: Sample) -> bool:
    return not sample.image_part and is_streamed(sample.image)


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file of any size. Raises Refusal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise Refusal("unreadable", f"cannot be read ({error.strerror}).", AGAIN) from error


def opened(path: Path) -> TiffImage:
    """Open a TIFF. Raises Refusal."""
    from pixelwise.images.tiff import TiffImage  # which loads tifffile

    with unwrapped():
        return TiffImage(path)


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the Refusal in place of the ImageError that names the file as well."""
    try:
        yield
    except ImageError as error:
        if isinstance(error.__cause__, Refusal):
            raise error.__cause__ from error
        raise


def strips(tiff: TiffImage) -> Iterator[range]:
    """The rows of a TIFF in groups of whole rows of its tiles or strips."""
    at_once = tiff.tile[0] * max(STRIP_PIXELS // (tiff.tile[0] * tiff.width), 1)
    if tiff.tile[0] >= tiff.height:  # one uncompressed strip
        at_once = max(STRIP_PIXELS // tiff.width, 1)
    return (range(top, min(top + at_once, tiff.height)) for top in range(0, tiff.height, at_once))


def inspect_streamed_image(path: Path, thoroughly: bool) -> ImageInspection:
    """Inspect an image. Every tile is decoded once. Raises Refusal."""
    with opened(path) as tiff, unwrapped():
        size = tiff.height, tiff.width
        step_y, step_x = (max(side // (16 * SAMPLED_PX), 1) for side in size)
        sampled = [
            tiff.rows(rows.start, rows.stop)[-rows.start % step_y :: step_y, ::step_x].copy() for rows in strips(tiff)
        ]
        checksum = fingerprint_of(path)
        if not thoroughly:
            return ImageInspection(size, 8, 1, checksum, 0, b"", 0.0, 255, tiff.dropped)
        finer_hw3 = np.concatenate(sampled)
        few_hw3 = np.ascontiguousarray(finer_hw3[::16, ::16])
        thumbnail_TT3 = cv2.resize(few_hw3, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
        _, deviations = cv2.meanStdDev(few_hw3)
        return ImageInspection(
            size, int(tiff.page.bitspersample), 1, checksum, difference_hash(few_hw3), thumbnail_TT3.tobytes(),
            float(np.sqrt((deviations**2).mean())), int(few_hw3.max()), tiff.dropped, detail_of(finer_hw3),
        )  # fmt: skip


def fingerprint_of(path: Path) -> tuple[int, int]:
    """Bytes and CRC-32 of a file."""
    size = checksum = 0
    with path.open("rb") as file:
        while part := file.read(READ_BYTES):
            size, checksum = size + len(part), zlib.crc32(part, checksum)
    return size, checksum


def inspect_streamed_mask(path: Path) -> MaskInspection:
    """Inspect a mask. Raises Refusal."""
    with opened(path) as tiff:
        refuse_other_masks(tiff)
        counts: dict[int, int] = {}
        for rows in strips(tiff):
            for code, pixels in count_ids(mask_rows(tiff, rows)).items():
                counts[code] = counts.get(code, 0) + pixels
        size = tiff.height, tiff.width
        return MaskInspection(size, False, "ids", int(tiff.page.bitspersample), 1, counts, len(counts))


def streamed_labels(path: Path, mask_ids: Mapping[int, int], num_classes: int) -> Iterator[Labels]:
    """The class ids of a mask in strips, uint8 [R, W]. Arguments as `images.read_mask`. Raises Refusal."""
    with opened(path) as tiff:
        refuse_other_masks(tiff)
        for rows in strips(tiff):
            yield labels_from_ids(mask_rows(tiff, rows), mask_ids, num_classes)


def mask_window(path: Path, top: int, left: int, height: int, width: int) -> MaskIds:
    """The values of a mask in a window. Raises Refusal."""
    with opened(path) as tiff:
        refuse_other_masks(tiff)
        return mask_rows(tiff, range(top, top + height), left, width)


def mask_rows(tiff: TiffImage, rows: range, left: int = 0, width: int = 0) -> MaskIds:
    """Stored values [R, W] of some rows. `width`: 0 for all columns."""
    stored = tiff.tiles.window(rows.start, left, len(rows), width or tiff.width)[:, :, 0]
    if stored.dtype == np.uint16:
        return stored
    ids = np.ascontiguousarray(stored, np.uint8)
    bits = int(tiff.page.bitspersample)
    return (2**bits - 1) - ids if tiff.page.photometric == 0 else ids


def refuse_other_masks(tiff: TiffImage) -> None:
    """Raise Refusal for a file that holds no single band of ids."""
    if tiff.pages > 1:
        raise Refusal("many-pages", f"holds {tiff.pages} pages; expected one.", "Save each page as a file.")
    if tiff.bands != 1:
        raise Refusal("rgb-mask", f"holds {tiff.bands} bands; expected one of class ids.", SINGLE_BAND)
    if tiff.page.compression in (7, 50001):
        raise Refusal("jpeg-mask", "is compressed with loss, which alters class ids along every edge.", SINGLE_BAND)
