"""The bytes of an image or mask file → its pixels or its numbers, by documented rules. Refusals, not yet errors.

Shapes: H, W height and width in pixels, after the EXIF orientation was applied (it is applied here, once, to images and
masks alike, and nowhere else).

Read: JPEG (and the first picture of a multi-picture JPEG), PNG, WebP, BMP, TIFF, PPM, GIF, AVIF, JPEG 2000, TGA, HEIC
(extra `formats`); the first frame or page. What a file holds beyond that is told, see `dropped`.
Recognised by content, not by suffix. Images become 8-bit RGB by these rules:

    8-bit RGB         as stored; colour profiles are not applied
    grey              the value in all three channels; 1-, 2- and 4-bit grey spread over 0–255
    16-bit            value / 257, rounded: the full range 0–65535 becomes 0–255, whatever part of it the image uses
    PGM, PPM          value · 255 / the largest that the header states, rounded
    alpha             dropped, the stored colour kept, as Pillow's convert("RGB") and OpenCV do: a model fed by another
                      program sees the same pixels
    palette           each index's colour
    CMYK              Pillow's plain conversion, (1 − ink)·(1 − black)
    float, 32-bit     refused: their range is not known

Masks keep the stored number: a palette's index, never its colour.

Whatever a decoder raises becomes a Refusal here. What would keep one busy for ever is refused before: see `limits`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from pixelwise.data.dropped import Dropped, bands_dropped, channel_dropped, depth_dropped, pages_dropped
from pixelwise.data.files import SUFFIX_OF, UNPRINTABLE, PngFacts, Refusal, check_png, image_format, truncated
from pixelwise.data.inflate import bounded_png, stored_pixels
from pixelwise.data.jpeg import jpeg_pixels
from pixelwise.data.limits import (
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
from pixelwise.data.orientation import oriented, stored_turn
from pixelwise.data.pnm import PnmHeader, Samples, as_8_bit, pnm_header, pnm_samples
from pixelwise.data.quiet import quieten
from pixelwise.data.tiff_header import READ_BANDS, bands_of, check_tiff, pages_of, tiff_bytes
from pixelwise.records import Colour, Pixels

__all__ = ["MAX_PIXELS", "oriented", "stored_turn"]  # of other modules, which those who decode need beside this

MaskIds = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int32]  # [H, W]

FORMATS = tuple(name for name in SUFFIX_OF if name != "HEIF")  # that Pillow reads by itself
# Chunks that change no pixel, so that OpenCV's and Pillow's decoders agree. tRNS, eXIf and APNG go to Pillow.
PLAIN_CHUNKS = frozenset((b"IHDR", b"IDAT", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"bKGD", b"iCCP"))
HEAVY_CHUNKS = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))  # which may be bombs, and OpenCV warns of
SINGLE_CHANNEL = "Save masks as single-channel or palette PNG, with one class id a pixel."
UNSUPPORTED = re.compile(
    r"unsupported|not supported|unknown|not available|cannot handle|not implemented", re.IGNORECASE
)
STRIP_ROWS = 256  # that are narrowed at a time
LOSSY = {"JPEG": "JPEG", "WEBP": "lossy WebP", "AVIF": "AVIF", "HEIF": "HEIC", "JPEG2000": "lossy JPEG 2000"}

quieten()


class Opened(NamedTuple):
    """A file whose header was read and found acceptable; but for PPM no pixel is decoded yet."""

    image: Image.Image
    format: str  # as `files.image_format` names it
    png: PngFacts | None
    pnm: tuple[PnmHeader, Samples] | None = None  # of PPM: its numbers too
    pages: int = 1  # pictures in the file; over MOST_FRAMES they are not counted
    lossy: bool = False  # pixels are not as they were saved
    lean: bytes = b""  # the file without what could be a bomb and changes no pixel

    @property
    def turn(self) -> int:
        """The EXIF orientation, 1 to 8. A PNG without EXIF is not asked: Pillow would decode its pixels to tell."""
        return 1 if self.png and b"eXIf" not in self.png.chunks else stored_turn(self.image)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a Refusal. Decoders are not of one mind: OSError, SyntaxError, TypeError …"""
    try:
        yield
    except Refusal:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refusal("too-large", f"holds more than the {MAX_PIXELS:,} pixels that are the limit.", REDUCE) from error
    except MemoryError as error:
        raise Refusal("too-large", "needs more memory than there is.", REDUCE) from error
    except Exception as error:
        reason = UNPRINTABLE.sub("?", (str(error).splitlines() or [""])[0])[:200] or type(error).__name__
        if isinstance(error, NotImplementedError) or UNSUPPORTED.search(reason):
            raise Refusal("unread-kind", f"is of a kind that is not read: {reason}.", "Convert it to PNG.") from error
        raise truncated(f"{what} ({reason})") from error


def open_image(data: bytes) -> Opened:
    """Read the header, check that the file is whole as far as its structure tells, and that its size is allowed.

    Raises:
        Refusal: see `read_image`.
    """
    format_name = image_format(data)
    with refusing(f"its {format_name} header cannot be read"):
        return _opened(data, format_name)


def _opened(data: bytes, name: str) -> Opened:
    png = None
    pages, lossy, lean = 1, name in ("JPEG", "AVIF", "HEIF"), data
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
        lossy = check_jpeg2000(data)
    elif name == "PPM":
        header = pnm_header(data)
        refuse_large(header.width, header.height)
        samples = pnm_samples(data, header)
        return Opened(_pnm_image(samples, header), name, None, (header, samples))
    elif name == "TIFF":
        file = tiff_bytes(data)
        check_tiff(file)
        pages = pages_of(file)
    image = _pillow(data, lean, name, lean is not data and png is not None and b"eXIf" in png.chunks)
    refuse_large(*image.size)
    if name == "TIFF":
        _check_tiff(image, len(data))
    if name in ("AVIF", "HEIF"):
        pages = min(int(getattr(image, "n_frames", 1)), MOST_FRAMES + 1)
    return Opened(image, name, png, None, pages, lossy, lean)


def _pillow(data: bytes, lean: bytes, name: str, told_turn: bool) -> Image.Image:
    """The image by its header. `told_turn`: a text in it may say how it is turned. Raises as Pillow, and Refusal."""
    if name == "HEIF":
        _need_heif()
    if name == "AVIF" and not features.check("avif"):
        raise Refusal("unread-kind", "is an AVIF image; this Pillow cannot read it.", "pip install 'pillow>=11.3'")
    try:
        if told_turn and (turned := _turned_png(data)):
            return turned
        return Image.open(io.BytesIO(lean), formats=(name,))
    except UnidentifiedImageError as error:
        bands, bits = (name == "TIFF" and bands_of(data)) or (1, 8)
        if bands not in READ_BANDS:
            what = f"holds {bands} bands of {bits} bits; expected 1 (grey), 3 (RGB) or 4 (RGB and alpha)."
            raise Refusal("bands", what, "Choose the bands that a person should see, and save them as RGB.") from error
        raise truncated(f"its {name} header cannot be read") from error


def _turned_png(data: bytes) -> Image.Image | None:
    """A PNG with its texts, where these are no bomb."""
    try:
        return Image.open(io.BytesIO(data), formats=("PNG",))
    except Exception:  # Pillow refuses texts that are larger than its limit; the pixels may be sound
        return None


def _need_heif() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        what = "is a HEIC image; to read it, the extra `formats` is needed."
        raise Refusal("missing-extra", what, "pip install 'pixelwise[formats]', or convert it to PNG.") from error
    register_heif_opener()


def _pnm_image(samples: NDArray[Any], header: PnmHeader) -> Image.Image:
    """Its numbers as an image of Pillow's. Of 16-bit colours, which Pillow has not, the 8-bit ones."""
    if samples.ndim == 3 and samples.dtype != np.uint8:
        return Image.fromarray(_narrowed(samples, header.maxval))
    if header.kind in (1, 4):
        return Image.fromarray(samples.astype(bool))
    return Image.fromarray(np.ascontiguousarray(samples))


def image_pixels(data: bytes) -> Pixels:
    """Decode an image to uint8 [H, W, 3] RGB, upright. Raises Refusal."""
    return opened_pixels(data, open_image(data))


def colour_codes(pixels_HW3: Pixels) -> NDArray[np.int32]:
    """Each pixel's colour as one number, 0xRRGGBB, [H, W]."""
    codes_HW = pixels_HW3[:, :, 0].astype(np.int32)
    for channel in (1, 2):
        codes_HW <<= 8
        codes_HW |= pixels_HW3[:, :, channel]
    return np.asarray(codes_HW)


def number_of_colours(pixels_HW3: Pixels) -> int:
    """How many different colours there are. Some rows at a time, and no sorting: an image of noise has millions."""
    seen = np.zeros(1 << 24, np.bool_)
    for top in range(0, len(pixels_HW3), STRIP_ROWS):
        seen[colour_codes(pixels_HW3[top : top + STRIP_ROWS])] = True
    return int(np.count_nonzero(seen))


def opened_pixels(data: bytes, opened: Opened) -> Pixels:
    """As `image_pixels`, of an image whose header was read already."""
    return pixels_and_dropped(data, opened)[0]


def pixels_and_dropped(data: bytes, opened: Opened) -> tuple[Pixels, tuple[Dropped, ...]]:
    """As `image_pixels`, and what of the file is not in the pixels. Raises Refusal."""
    with refusing("its pixels cannot be decoded"):
        pixels, dropped = _decoded(data, opened)
        if not pixels.size:
            raise truncated("it holds no pixels")
    frames = "frame" if opened.format in ("GIF", "WEBP", "AVIF") else "picture" if opened.format == "HEIF" else "page"
    return pixels, (*dropped, *depth_dropped(image_bits(data, opened)), *pages_dropped(opened.pages, frames))


def _decoded(data: bytes, opened: Opened) -> tuple[Pixels, tuple[Dropped, ...]]:
    if opened.pnm is not None:
        header, samples = opened.pnm
        narrow = _narrowed(samples, header.maxval)
        return _three_channels(narrow), ()
    if opened.format == "JPEG" and opened.image.mode in ("L", "RGB", "CMYK"):
        found = _of_jpeg(data, opened)
        if found is not None:
            return found
    if opened.png and _is_plain(opened.png):
        fast = stored_pixels(data, opened.png) if opened.png.colour in (0, 2) else None
        return (_three_channels(fast), ()) if fast is not None else _of_png(opened)
    if stored_depth(opened) == 16:
        return _of_16_bits(opened)
    image = load(opened.image)
    if image.mode in ("F", "I", "LAB") or image.mode.startswith("I;"):
        kind = {"F": "floating-point", "LAB": "CIELAB"}.get(image.mode, "32-bit or signed")
        what = f"holds {kind} values; expected 8- or 16-bit grey or colour."
        raise Refusal("unread-kind", what, "Export it as 8- or 16-bit, scaled as a person should see it.")
    orientation = stored_turn(image)
    dropped = _dropped_channels(image, opened)
    if image.mode in ("RGBa", "La"):  # premultiplied alpha has no direct way to RGB
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    return oriented(np.array(image.convert("RGB")), orientation), dropped


def _of_jpeg(data: bytes, opened: Opened) -> tuple[Pixels, tuple[Dropped, ...]] | None:
    """A quarter to a half faster than Pillow and equal to it; None where Pillow is to try."""
    size = opened.image.height, opened.image.width
    if opened.image.mode == "CMYK":
        jpeg_pixels(data, size, "CMYK")  # only for what it says of damage: colours are Pillow's
        return None
    found = jpeg_pixels(data, size)
    return (oriented(found[0], stored_turn(opened.image)), found[1]) if found is not None else None


def _of_png(opened: Opened) -> tuple[Pixels, tuple[Dropped, ...]]:
    """By OpenCV, which returns what it has of a truncated file without a word: its chunks were checked before."""
    alpha = opened.png is not None and opened.png.colour == 6
    flags = cv2.IMREAD_UNCHANGED if alpha else cv2.IMREAD_COLOR_RGB
    bounded = bounded_png(opened.lean, opened.png) if opened.png else opened.lean
    found = cv2.imdecode(np.frombuffer(bounded, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if found is None or found.shape[:2] != opened.image.size[::-1]:
        # Its checksums hold, but the stream has too few pixels: Pillow would leave the rest black.
        raise truncated("its pixels cannot be decoded")
    if not alpha:
        return np.asarray(found, np.uint8), ()
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGRA2RGB), np.uint8), channel_dropped(cv2.extractChannel(found, 3))


def _of_16_bits(opened: Opened) -> tuple[Pixels, tuple[Dropped, ...]]:
    bounded = bounded_png(opened.lean, opened.png) if opened.png else opened.lean
    wide = cv2.imdecode(np.frombuffer(bounded, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if wide is None or wide.dtype != np.uint16:
        raise truncated("its 16-bit pixels cannot be decoded")
    dropped = channel_dropped(cv2.extractChannel(wide, 3)) if wide.ndim == 3 and wide.shape[2] == 4 else ()
    # OpenCV turns a TIFF upright whatever the flags say, and a PNG never with these.
    orientation = stored_turn(opened.image) if opened.png else 1
    narrow = _narrowed(wide if wide.ndim == 2 else wide[:, :, 2::-1], 65535)
    return oriented(_three_channels(narrow), orientation), dropped


def _three_channels(values: NDArray[np.uint8]) -> Pixels:
    """[H, W, 3] as it is; [H, W] in all three channels."""
    return values if values.ndim == 3 else np.asarray(cv2.merge([values] * 3), np.uint8)


def _narrowed(wide: NDArray[Any], maxval: int) -> NDArray[np.uint8]:
    """Values of 0–maxval → uint8 0–255 of the same shape, some rows at a time: no copy of all is made on the way."""
    if maxval == 255:
        return np.asarray(wide, np.uint8)
    narrow = np.empty(wide.shape, np.uint8)
    for top in range(0, len(wide), STRIP_ROWS):
        narrow[top : top + STRIP_ROWS] = as_8_bit(wide[top : top + STRIP_ROWS], maxval)
    return narrow


def _dropped_channels(image: Image.Image, opened: Opened) -> tuple[Dropped, ...]:
    """Alpha, or a fourth band, of an image that Pillow decoded."""
    bands = len(image.getbands())
    total = (bands_of(opened.lean) or (bands, 8))[0] if opened.format == "TIFF" else bands
    if image.mode in ("LA", "La", "PA"):
        return channel_dropped(np.asarray(image.getchannel(1)), 2)
    if image.mode in ("RGBA", "RGBa", "RGBX"):
        return (*channel_dropped(np.asarray(image.getchannel(3))), *bands_dropped(5, total))
    if "transparency" in image.info:
        return channel_dropped(np.asarray(image.convert("RGBA").getchannel(3)))
    return bands_dropped(bands + 1, total) if total > bands and image.mode in ("L", "RGB") else ()


def mask_ids_of(data: bytes) -> MaskIds:
    """Decode a mask to its stored numbers [H, W]. Raises Refusal."""
    return opened_mask_ids(data, open_image(data))


def opened_mask_ids(data: bytes, opened: Opened) -> MaskIds:
    """As `mask_ids_of`, of a mask whose header was read already."""
    with refusing("its pixels cannot be decoded"):
        return _mask_ids(data, opened)


def _mask_ids(data: bytes, opened: Opened) -> MaskIds:
    if opened.lossy:
        kind = LOSSY[opened.format]
        article = "an" if kind.startswith("A") else "a"
        what = f"is {article} {kind}; expected a lossless mask, because {kind} alters class ids along every edge."
        raise Refusal("jpeg-mask", what, f"Export it again from the source as PNG. {SINGLE_CHANNEL}")
    if opened.format in ("TIFF", "GIF") and opened.pages > 1:
        raise Refusal("many-pages", f"holds {opened.pages} pages; expected one.", SINGLE_CHANNEL)
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
    image = open_image(data).image
    values = image.getpalette("RGB") if image.mode == "P" else None
    return (
        {i: (v[0], v[1], v[2]) for i in range(len(values) // 3) if (v := values[3 * i : 3 * i + 3])} if values else {}
    )


def load(image: Image.Image) -> Image.Image:
    """Decode a Pillow image's pixels. Raises Refusal where that fails."""
    with refusing("its pixels cannot be decoded"):
        image.load()
    return image


def _is_plain(png: PngFacts) -> bool:
    """8 bits a channel, grey or RGB or RGBA, nothing that one decoder heeds and the other does not."""
    return png.depth == 8 and png.colour in (0, 2, 6) and png.chunks <= PLAIN_CHUNKS


def stored_depth(opened: Opened) -> int:
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


def image_bits(data: bytes, opened: Opened) -> int:
    """As `stored_depth`, of kinds too whose decoder gives 8 bits of what may be more."""
    if opened.format in ("AVIF", "HEIF"):  # "pixi": version and flags, number of channels, bits of each
        at = data.find(b"pixi", 0, 1 << 16)
        return data[at + 9] if 0 < at < len(data) - 9 and data[at + 9] in (8, 10, 12, 16) else 8
    if opened.format == "JPEG2000":
        return 16 if opened.image.mode.startswith("I;16") else 8
    return stored_depth(opened)


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
    colours = number_of_colours(rgb)
    what = f"is an RGB image of {colours:,} colours; expected one channel of class ids."
    raise Refusal("rgb-mask", what, f"Give each colour its class id. {SINGLE_CHANNEL}")
