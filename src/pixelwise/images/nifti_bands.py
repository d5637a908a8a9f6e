"""NIfTI files of one slice: [x, y], [x, y, 1] or [x, y, 1, channels]; the channels are the bands. Compressed or not.

Volumes of several slices are data sets, which are read slice by slice. Needs nibabel (extra `formats`).
Format: the NIfTI-1 and NIfTI-2 standards, nifti.nimh.nih.gov.
"""

from __future__ import annotations

import math
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import MissingExtraError
from pixelwise.images.decoder_reasons import DAMAGED_STREAM
from pixelwise.images.files import Refusal, truncated
from pixelwise.images.image_header import refusing
from pixelwise.images.numpy_bands import values_in_words

GZIP_MAGIC, GZIP = b"\x1f\x8b", 31
HEAD_BYTES = 544  # magic number, header and four further bytes; NIfTI-1's header is shorter
MOST_OFFSET = 1 << 24  # of the values: header extensions are kilobytes
VOLUME = "Put volumes into imagesTr/ and their labels into labelsTr/ to train; `pixelwise predict` labels volumes."


class NiftiHeader(NamedTuple):
    """The header of a file of one slice."""

    kind: Any  # nibabel's class of images
    shape_HWB: tuple[int, int, int]
    dtype: np.dtype[Any]  # as stored; structured: red, green and blue
    offset: int  # of the values in the unpacked file
    scaled: bool  # the values are slope · stored + intercept

    @property
    def names(self) -> tuple[str, ...]:
        return ("red", "green", "blue") if self.dtype.names else ()


def is_nifti(data: bytes) -> bool:
    """Whether a file that begins like this is NIfTI."""
    head = unpacked(data, HEAD_BYTES)
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def nifti_header(data: bytes) -> NiftiHeader:
    """Read the header. Raises Refusal: damaged, several slices, values that are no numbers; or nibabel is missing."""
    try:
        import nibabel
    except ImportError as error:
        missing = MissingExtraError("nibabel, which reads it,", "formats")
        raise Refusal("missing-extra", "is a NIfTI image;", str(missing)) from error
    head = unpacked(data, HEAD_BYTES)
    kind: Any = nibabel.Nifti2Image if head[4:8] in (b"n+2\0", b"ni2\0") else nibabel.Nifti1Image
    with refusing("its NIfTI header cannot be read"):
        header: Any = kind.header_class(head[: kind.header_class.sizeof_hdr], check=False)
        shape, dtype = tuple(int(side) for side in header.get_data_shape()), header.get_data_dtype()
        offset = int(header.get_data_offset())
        scaled = header.get_slope_inter() not in ((None, None), (1.0, 0.0))
    if not 0 <= offset <= MOST_OFFSET:
        raise truncated(f"its values begin at byte {offset}")
    if len(shape) < 2 or min(shape) < 1 or (dtype.kind not in "iuf" and not dtype.names):
        raise Refusal("unread-kind", _no_slice(shape, dtype), VOLUME)
    if len(shape) > 2 and shape[2] > 1:
        raise Refusal("unread-kind", f"is a volume of {shape[2]:,} slices; expected one slice.", VOLUME)
    bands = math.prod(shape[3:]) * (len(dtype.names[:3]) if dtype.names else 1)
    return NiftiHeader(kind, (shape[1], shape[0], bands), dtype, offset, scaled)


def _no_slice(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """What a file that is no slice holds instead."""
    if len(shape) < 2 or min(shape) < 1:
        return (
            f"states a size of {' × '.join(map(str, shape)) or 'nothing'}; expected a slice of at least 1 × 1 pixels."
        )
    return f"holds {values_in_words(dtype)}; expected a slice of whole or floating-point numbers."


def nifti_values(data: bytes, found: NiftiHeader) -> NDArray[Any]:
    """The values [H, W, bands]; y runs along the rows. Raises Refusal: damaged."""
    height, width, bands = found.shape_HWB
    count = height * width * (1 if found.dtype.names else bands)
    whole = unpacked(data, found.offset + count * found.dtype.itemsize)
    with refusing("its NIfTI values cannot be read"):
        proxy = found.kind.from_bytes(whole).dataobj
        stored = np.asanyarray(proxy) if found.scaled else proxy.get_unscaled()
    if stored.size != count:
        raise truncated(f"it holds {stored.size:,} of its {count:,} values")
    values = stored.reshape(width, height, -1, order="A").transpose(1, 0, 2)
    if found.dtype.names:
        values = np.concatenate([values[name] for name in found.dtype.names[:3]], axis=2)
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))


def unpacked(data: bytes, size: int) -> bytes:
    """The first bytes, decompressed. Raises Refusal: damaged."""
    if not data.startswith(GZIP_MAGIC):
        return data[:size]
    try:
        return zlib.decompressobj(GZIP).decompress(data, size)  # a bomb stops here
    except zlib.error as error:
        raise truncated(f"it cannot be decompressed ({DAMAGED_STREAM})") from error
