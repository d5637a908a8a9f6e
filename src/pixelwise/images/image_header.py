"""Read a file's header: format, size and number of pages. Reject files that cannot or must not be decoded.

Every decoder error becomes a Refusal. Files that would stall a decoder are rejected before it runs: see
`decoder_limits`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from pixelwise.images.decoder_limits import (
    MAX_PIXELS,
    MOST_FRAMES,
    REDUCE,
    check_bmp,
    check_jpeg,
    check_jpeg2000,
    check_webp,
    first_of_gif,
    lean_jpeg,
    lean_png,
    refuse_large,
)
from pixelwise.images.decoder_reasons import because, unread_kind
from pixelwise.images.files import SUFFIX_OF, PngFacts, Refusal, check_png, image_format, truncated
from pixelwise.images.orientation import stored_turn
from pixelwise.images.pnm import PnmHeader, Samples, narrowed, pnm_header, pnm_samples
from pixelwise.images.quiet_decoders import quieten
from pixelwise.images.tiff_header import check_tiff, pages_of, refuse_unread_tiff, tiff_bytes

FORMATS = tuple(name for name in SUFFIX_OF if name != "HEIF")  # that Pillow reads by itself
HEAVY_CHUNKS = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))  # possible decompression bombs; OpenCV warns about them

quieten()


class OpenedImage(NamedTuple):
    """A file whose header is read and accepted. Pixels are decoded already only for PPM."""

    image: Image.Image
    format: str  # as `files.image_format` returns it
    png: PngFacts | None
    pnm: tuple[PnmHeader, Samples] | None = None  # PPM only: header and values
    pages: int = 1  # pictures in the file; over MOST_FRAMES they are not counted
    lossy: bool = False  # lossy compression changed the pixels
    lean: bytes = b""  # the file without possible bombs that affect no pixel
    bits: int = 8  # per sample, for formats whose decoder always returns 8 bits

    @property
    def turn(self) -> int:
        """The EXIF orientation, 1 to 8. Skips a PNG without EXIF, because Pillow would decode its pixels."""
        return 1 if self.png and b"eXIf" not in self.png.chunks else stored_turn(self.image)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn every decoder error into a Refusal, in words: OSError, SyntaxError, TypeError and others occur."""
    try:
        yield
    except Refusal:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refusal("too-large", f"holds more pixels than the limit of {MAX_PIXELS:,}.", REDUCE) from error
    except MemoryError as error:
        raise Refusal("too-large", "needs more memory than is available.", REDUCE) from error
    except Exception as error:
        kind = unread_kind(error)
        if kind is not None:
            said = f"is of a kind that is not read ({kind})" if kind else "is of a kind that is not read"
            raise Refusal("unread-kind", f"{said}.", "Convert it to PNG.") from error
        raise truncated(because(what, error)) from error


def open_image(data: bytes) -> OpenedImage:
    """Read the header; check that the file's structure is complete and its size within the limits.

    Raises:
        Refusal: see `read_image`.
    """
    format_name = image_format(data)
    with refusing(f"its {format_name} header cannot be read"):
        return _opened(data, format_name)


def _opened(data: bytes, name: str) -> OpenedImage:
    png = None
    pages, bits, lossy, lean = 1, 8, name in ("JPEG", "AVIF", "HEIF"), data
    if name == "PNG":
        png = check_png(data)
        refuse_large(png.width, png.height)
        lean = lean_png(data) if png.chunks & HEAVY_CHUNKS or b"eXIf" in png.chunks else data
    elif name == "JPEG":
        check_jpeg(data)
        lean = lean_jpeg(data)
    elif name == "WEBP":
        pages, lossy = check_webp(data), b"VP8 " in data[12:4096]
    elif name == "GIF":
        lean, pages = first_of_gif(data)
    elif name == "BMP":
        check_bmp(data)
    elif name == "JPEG2000":
        lossy, bits = check_jpeg2000(data)
    elif name == "PPM":
        header = pnm_header(data)
        refuse_large(header.width, header.height)
        samples = pnm_samples(data, header)
        return OpenedImage(_pnm_image(samples, header), name, None, (header, samples))
    elif name == "TIFF":
        file = tiff_bytes(data)
        check_tiff(file)
        pages = pages_of(file)
    image = _pillow(data, lean, name, lean is not data and png is not None and b"eXIf" in png.chunks)
    refuse_large(*image.size)
    if name == "TIFF":
        _check_tiff(image, len(data))
    if name in ("AVIF", "HEIF"):
        pages, bits = min(int(getattr(image, "n_frames", 1)), MOST_FRAMES + 1), _heif_bits(data)
    return OpenedImage(image, name, png, None, pages, lossy, lean, bits)


def _pillow(data: bytes, lean: bytes, name: str, told_turn: bool) -> Image.Image:
    """Open the image lazily. `told_turn`: a text chunk may hold its orientation. Raises Pillow's errors and Refusal."""
    if name == "HEIF":
        _need_heif()
    if name == "AVIF" and not features.check("avif"):
        raise Refusal("unread-kind", "is an AVIF image; this Pillow cannot read it.", "pip install 'pillow>=11.3'")
    try:
        if told_turn and (turned := _turned_png(data)):
            return turned
        return Image.open(io.BytesIO(lean), formats=(name,))
    except UnidentifiedImageError as error:
        if name == "TIFF":
            refuse_unread_tiff(tiff_bytes(data))
        raise truncated(f"its {name} header cannot be read") from error


def _turned_png(data: bytes) -> Image.Image | None:
    """The PNG with its text chunks, unless they are a decompression bomb."""
    try:
        return Image.open(io.BytesIO(data), formats=("PNG",))
    except Exception:  # Pillow refuses texts above its limit; the pixels may be intact
        return None


def _need_heif() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        what = "is a HEIC image; reading it needs the extra `formats`."
        raise Refusal("missing-extra", what, "pip install 'pixelwise[formats]', or convert it to PNG.") from error
    register_heif_opener()


def _pnm_image(samples: NDArray[Any], header: PnmHeader) -> Image.Image:
    """The values as a Pillow image. 16-bit RGB, which Pillow lacks, becomes 8-bit."""
    if samples.ndim == 3 and samples.dtype != np.uint8:
        return Image.fromarray(narrowed(samples, header.maxval))
    if header.kind in (1, 4):
        return Image.fromarray(samples.astype(bool))
    return Image.fromarray(np.ascontiguousarray(samples))


def stored_depth(opened: OpenedImage) -> int:
    """Bits per sample, as stored."""
    if opened.png is not None:
        return opened.png.depth
    if opened.pnm is not None:
        return 16 if opened.pnm[0].maxval > 255 else 8
    tags = getattr(opened.image, "tag_v2", None)
    if tags is None:
        return 8
    bits = tags.get(258, (1,))
    formats = tags.get(339, (1,))
    # Only unsigned samples of one size count as 16-bit; signed ones have no documented scale.
    return int(bits[0]) if set(formats) == {1} and len(set(bits)) == 1 else 8


def image_bits(opened: OpenedImage) -> int:
    """Like `stored_depth`, but correct also for formats whose decoder always returns 8 bits."""
    return max(opened.bits, stored_depth(opened))


def _heif_bits(data: bytes) -> int:
    """Bits per sample of an AVIF or HEIC. "pixi": version and flags, number of channels, bits of each."""
    at = data.find(b"pixi", 0, 1 << 16)
    return data[at + 9] if 0 < at < len(data) - 9 and data[at + 9] in (8, 10, 12, 16) else 8


def _check_tiff(image: Image.Image, size: int) -> None:
    """Raise Refusal if the pixel data of a TIFF lies outside the file."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    for offsets, lengths in ((273, 279), (324, 325)):  # strips; tiles
        for offset, length in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False):
            if offset + length > size:
                raise truncated(f"its pixels reach to byte {offset + length}, the file has {size}")
