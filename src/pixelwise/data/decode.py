"""The bytes of an image or mask file → its pixels or its numbers, by documented rules. Refusals, not yet errors.

Shapes: H, W height and width in pixels, after the EXIF orientation was applied (it is applied here, once, to images and
masks alike, and nowhere else).

Read: JPEG (and the first picture of a multi-picture JPEG), PNG, WebP, BMP, TIFF, PPM; the first frame or page of an
image.
Masks may be GIF too, whose pixels are palette indices.
Recognised by content, not by suffix. Images become 8-bit RGB by these rules:

    8-bit RGB         as stored; colour profiles are not applied
    grey              the value in all three channels; 1-, 2- and 4-bit grey spread over 0–255
    16-bit            value / 257, rounded: the full range 0–65535 becomes 0–255, whatever part of it the image uses
    alpha             dropped, the stored colour kept, as Pillow's convert("RGB") and OpenCV do: a model fed by another
                      program sees the same pixels
    palette           each index's colour
    CMYK              Pillow's plain conversion, (1 − ink)·(1 − black)
    float, 32-bit     refused: their range is not known

Masks keep the stored number: a palette's index, never its colour.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.data.files import STREAMED, PngFacts, Refusal, check_jpeg, check_png, check_webp, image_format, truncated
from pixelwise.data.inflate import stored_pixels
from pixelwise.data.tiff_header import READ_BANDS, bands_of
from pixelwise.records import Colour, Pixels

MaskIds = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int32]  # [H, W]

MAX_PIXELS = 100_000_000  # an RGB image of 300 MB; more is refused before anything is decoded
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM")
ORIENTATION = 0x0112  # EXIF tag
# Chunks that change no pixel, so that OpenCV's and Pillow's decoders agree. tRNS, eXIf and APNG go to Pillow.
PLAIN_CHUNKS = frozenset((b"IHDR", b"IDAT", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"bKGD", b"iCCP"))
REDUCE = f"Cut it into tiles, or make it smaller. {STREAMED}"
SINGLE_CHANNEL = "Save masks as single-channel or palette PNG, with one class id a pixel."


class Opened(NamedTuple):
    """A file whose header was read and found acceptable; no pixel is decoded yet."""

    image: Image.Image
    format: str  # one of FORMATS
    png: PngFacts | None

    @property
    def turn(self) -> int:
        """The EXIF orientation, 1 to 8. A PNG without EXIF is not asked: Pillow would decode its pixels to tell."""
        return 1 if self.png and b"eXIf" not in self.png.chunks else stored_turn(self.image)


def open_image(data: bytes, *, mask: bool = False) -> Opened:
    """Read the header, check that the file is whole as far as its structure tells, and that its size is allowed.

    Args:
        mask: GIF is taken too.

    Raises:
        Refusal: see `read_image`.
    """
    format_name = "GIF" if mask and data.startswith(b"GIF8") else image_format(data)
    png = None
    if format_name == "PNG":
        png = check_png(data)
    elif format_name == "JPEG":
        check_jpeg(data)
    elif format_name == "WEBP":
        check_webp(data)
    try:
        image = Image.open(io.BytesIO(data), formats=(format_name,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refusal("too-large", f"over the limit of {MAX_PIXELS:,} pixels.", REDUCE) from error
    except Exception as error:  # Pillow raises many kinds on damaged headers
        bands, bits = (format_name == "TIFF" and bands_of(data)) or (1, 8)
        if bands not in READ_BANDS:
            what = f"holds {bands} bands of {bits} bits; expected 1 (grey), 3 (RGB) or 4 (RGB and alpha)."
            raise Refusal("bands", what, "Choose the bands that a person should see, and save them as RGB.") from error
        raise truncated(f"its {format_name} header cannot be read") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        what = f"{width}×{height} is {width * height:,} pixels; the limit is {MAX_PIXELS:,}."
        raise Refusal("too-large", what, REDUCE)
    if format_name == "TIFF":
        _check_tiff(image, len(data))
    return Opened(image, format_name, png)


def image_pixels(data: bytes) -> Pixels:
    """Decode an image to uint8 [H, W, 3] RGB, upright. Raises Refusal."""
    return opened_pixels(data, open_image(data))


def colour_codes(pixels_HW3: Pixels) -> NDArray[np.int32]:
    """Each pixel's colour as one number, 0xRRGGBB, [H, W]."""
    return np.asarray(pixels_HW3.astype(np.int32) @ np.array([65536, 256, 1], np.int32))


def opened_pixels(data: bytes, opened: Opened) -> Pixels:
    """As `image_pixels`, of an image whose header was read already."""
    if _is_plain(opened):
        fast = stored_pixels(data, opened.png) if opened.png and opened.png.colour == 2 else None
        if fast is not None:
            return fast
        # A quarter to a third faster than Pillow and equal to it; the header was checked above, and a PNG's or
        # JPEG's completeness too, because OpenCV returns what it has of a truncated file without a word.
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        width, height = opened.image.size
        if bgr is not None and bgr.shape[:2] == (height, width):
            orientation = 1 if opened.png else stored_turn(opened.image)
            return oriented(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), orientation)
        if opened.png:  # its checksums hold, but the stream has too few pixels: Pillow would leave the rest black
            raise truncated("its pixels cannot be decoded")
    if stored_depth(opened) == 16:
        wide = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if wide is None or wide.dtype != np.uint16:
            raise truncated("its 16-bit pixels cannot be decoded")
        # OpenCV turns a TIFF upright whatever the flags say, and a PNG never with these.
        orientation = stored_turn(opened.image) if opened.png else 1
        return oriented(_rgb_of_16_bit(np.asarray(wide, np.uint16)), orientation)
    image = load(opened.image)
    if image.mode in ("F", "I", "LAB") or image.mode.startswith("I;"):
        kind = {"F": "floating-point", "LAB": "CIELAB"}.get(image.mode, "32-bit or signed")
        what = f"holds {kind} values; expected 8- or 16-bit grey or colour."
        raise Refusal("unread-kind", what, "Export it as 8- or 16-bit, scaled as a person should see it.")
    orientation = stored_turn(image)
    if image.mode == "RGBa":  # premultiplied alpha has no direct way to RGB
        image = image.convert("RGBA")
    return oriented(np.array(image.convert("RGB")), orientation)


def mask_ids_of(data: bytes) -> MaskIds:
    """Decode a mask to its stored numbers [H, W]. Raises Refusal."""
    return opened_mask_ids(data, open_image(data, mask=True))


def opened_mask_ids(data: bytes, opened: Opened) -> MaskIds:
    """As `mask_ids_of`, of a mask whose header was read already."""
    if is_lossy(data, opened):
        kind = "JPEG" if opened.format == "JPEG" else "lossy WebP"
        what = f"is a {kind}; expected a lossless mask, because {kind} alters class ids along every edge."
        raise Refusal("jpeg-mask", what, f"Export it again from the source as PNG. {SINGLE_CHANNEL}")
    if opened.format in ("TIFF", "GIF") and getattr(opened.image, "n_frames", 1) > 1:
        pages = getattr(opened.image, "n_frames", 1)
        raise Refusal("many-pages", f"holds {pages} pages; expected one.", SINGLE_CHANNEL)
    png = opened.png
    if png and png.depth == 8 and png.colour in (0, 3) and png.chunks <= PLAIN_CHUNKS | {b"PLTE", b"tRNS"}:
        fast = stored_pixels(data, png)
        if fast is not None:
            return fast
    image = load(opened.image)
    _refuse_colours(image)
    ids = np.array(image)
    if ids.dtype == np.bool_:
        ids = ids.astype(np.uint8)
    depth = stored_depth(opened)
    if image.mode == "L" and depth in (2, 4):
        ids = ids // (255 // (2**depth - 1))  # Pillow spreads these over 0–255
    if ids.dtype.itemsize == 2:
        ids = ids.astype(np.uint16)  # native byte order
    elif ids.dtype != np.uint8:
        ids = ids.astype(np.int32)
        if depth == 16 and ids.min() >= 0 and ids.max() < 2**16:
            ids = ids.astype(np.uint16)
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    if tags.get(262) == 0 and ids.dtype == np.uint8:  # TIFF "white is zero": Pillow has turned the values round
        ids = (2 ** min(depth, 8) - 1) - ids
    return oriented(ids, stored_turn(image))


def mask_palette(data: bytes) -> dict[int, Colour]:
    """The colours of a palette PNG's indices; empty for a mask without palette. Decodes no pixel. Raises Refusal."""
    image = open_image(data, mask=True).image
    values = image.getpalette("RGB") if image.mode == "P" else None
    return (
        {i: (v[0], v[1], v[2]) for i in range(len(values) // 3) if (v := values[3 * i : 3 * i + 3])} if values else {}
    )


def oriented(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a stored [H, W] or [H, W, 3] array upright by its EXIF orientation, 1 to 8. Contiguous."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def load(image: Image.Image) -> Image.Image:
    """Decode a Pillow image's pixels. Raises Refusal where that fails."""
    try:
        image.load()
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # OSError, SyntaxError, ValueError, struct.error …: Pillow's decoders are not of one mind
        raise truncated(f"its pixels cannot be decoded ({error})") from error
    return image


def is_lossy(data: bytes, opened: Opened) -> bool:
    """Whether the file's format alters pixels: JPEG, and WebP with a VP8 stream."""
    return opened.format == "JPEG" or (opened.format == "WEBP" and b"VP8 " in data[12:4096])


def _is_plain(opened: Opened) -> bool:
    """8 bits a channel, grey or RGB or RGBA, nothing that one decoder heeds and the other does not."""
    if opened.png is not None:
        return opened.png.depth == 8 and opened.png.colour in (0, 2, 6) and opened.png.chunks <= PLAIN_CHUNKS
    return opened.image.format == "JPEG" and opened.image.mode in ("L", "RGB")


def stored_depth(opened: Opened) -> int:
    """Bits per sample, as stored."""
    if opened.png is not None:
        return opened.png.depth
    tags = getattr(opened.image, "tag_v2", None)
    if tags is None:
        return 8
    bits = tags.get(258, (1,))
    formats = tags.get(339, (1,))
    # Only unsigned samples of one size count as 16-bit; signed ones have no documented scale.
    return int(bits[0]) if set(formats) == {1} and len(set(bits)) == 1 else 8


def stored_turn(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF: viewers show the image as stored, and so do we
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _rgb_of_16_bit(wide: NDArray[np.uint16]) -> Pixels:
    """uint16 [H, W] or [H, W, 3 or 4] in OpenCV's channel order → uint8 [H, W, 3] RGB."""
    narrow = ((wide.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if narrow.ndim == 2:
        return np.repeat(narrow[:, :, None], 3, axis=2)
    return narrow[:, :, 2::-1]


def _check_tiff(image: Image.Image, size: int) -> None:
    """Raise Refusal when the pixel data that a TIFF points to lies outside the file."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    for offsets, lengths in ((273, 279), (324, 325)):  # strips; tiles
        for offset, length in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False):
            if offset + length > size:
                raise truncated(f"its pixels reach to byte {offset + length}, the file has {size}")


def _refuse_colours(image: Image.Image) -> None:
    if image.mode in ("1", "L", "P", "I") or image.mode.startswith("I;16"):
        return
    if image.mode == "F":
        raise Refusal("float-mask", "holds floating-point values; expected whole class ids.", SINGLE_CHANNEL)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        what = f"has an alpha channel ({image.mode}); expected one channel of class ids."
        raise Refusal("alpha-mask", what, f"Remove the alpha channel. {SINGLE_CHANNEL}")
    if image.mode != "RGB":
        raise Refusal("colour-mask", f"is a {image.mode} image; expected one channel of class ids.", SINGLE_CHANNEL)
    rgb = np.asarray(image)
    if (rgb[:, :, 0] == rgb[:, :, 1]).all() and (rgb[:, :, 1] == rgb[:, :, 2]).all():
        what = "is an RGB image whose three channels are equal; expected one channel of class ids."
        raise Refusal("rgb-mask", what, "Keep one of its channels: save it as single-channel (grey) PNG.")
    colours = len(np.unique(colour_codes(rgb)))
    what = f"is an RGB image of {colours:,} colours; expected one channel of class ids."
    raise Refusal("rgb-mask", what, f"Give each colour its class id. {SINGLE_CHANNEL}")
