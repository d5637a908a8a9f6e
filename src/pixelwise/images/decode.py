"""Decode the bytes of an image or mask file to pixels or mask values, by documented rules. Raises Refusal.

Shapes: H, W height and width in pixels after the EXIF orientation is applied (only here, once, to images and masks
alike).

Formats: JPEG (and the first picture of a multi-picture JPEG), PNG, WebP, BMP, TIFF, PPM, GIF, AVIF, JPEG 2000, TGA,
HEIC (extra `formats`); the first frame or page. Other content of a file is reported, see `dropped_content`.
The format follows from the content, not from the suffix. Images become 8-bit RGB by these rules:

    8-bit RGB         as stored; colour profiles are not applied
    grey              the value in all three channels; 1-, 2- and 4-bit grey spread over 0–255
    16-bit            value / 257, rounded: the full range 0–65535 becomes 0–255, regardless of the range in use
    PGM, PPM          value · 255 / the maximum value in the header, rounded
    alpha             dropped, the stored colour kept, as in Pillow's convert("RGB") and OpenCV: a model gets the
                      same pixels in other programs
    palette           each index's colour
    CMYK              Pillow's plain conversion, (1 − ink)·(1 − black)
    float, 32-bit     refused: their range is unknown

Masks keep the stored value: a palette index, never its colour.

Every decoder error becomes a Refusal here. Files that would stall a decoder are rejected before it runs: see
`decoder_limits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.images.decoder_limits import MAX_PIXELS
from pixelwise.images.dropped_content import (
    DroppedContent,
    bands_dropped,
    channel_dropped,
    depth_dropped,
    pages_dropped,
)
from pixelwise.images.files import PngFacts, Refusal, truncated
from pixelwise.images.image_header import FORMATS, OpenedImage, image_bits, open_image, refusing, stored_depth
from pixelwise.images.jpeg import jpeg_pixels
from pixelwise.images.orientation import oriented, stored_turn
from pixelwise.images.png_inflate import bounded_png, stored_pixels
from pixelwise.images.pnm import STRIP_ROWS, narrowed
from pixelwise.images.tiff_header import RARE, RARE_REMEDY, bands_of
from pixelwise.records import Colour, Pixels

# Names of other modules are re-exported for callers that decode.
__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "MaskIds",
    "OpenedImage",
    "colour_codes",
    "image_pixels",
    "load",
    "mask_ids_of",
    "mask_palette",
    "number_of_colours",
    "open_image",
    "opened_mask_ids",
    "opened_pixels",
    "oriented",
    "pixels_and_dropped",
    "refusing",
    "stored_depth",
    "stored_turn",
]

MaskIds = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int32]  # [H, W]

# Chunks that change no pixel, so that OpenCV's and Pillow's decoders agree. tRNS, eXIf and APNG go to Pillow.
PLAIN_CHUNKS = frozenset((b"IHDR", b"IDAT", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"bKGD", b"iCCP"))
SINGLE_CHANNEL = "Save masks as single-channel or palette PNG, with one class id a pixel."
LOSSY = {"JPEG": "JPEG", "WEBP": "lossy WebP", "AVIF": "AVIF", "HEIF": "HEIC", "JPEG2000": "lossy JPEG 2000"}


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
    """The number of distinct colours. Works in blocks of rows without sorting: a noise image has millions."""
    seen = np.zeros(1 << 24, np.bool_)
    for top in range(0, len(pixels_HW3), STRIP_ROWS):
        seen[colour_codes(pixels_HW3[top : top + STRIP_ROWS])] = True
    return int(np.count_nonzero(seen))


def opened_pixels(data: bytes, opened: OpenedImage) -> Pixels:
    """Like `image_pixels`, for an image whose header has been read."""
    return pixels_and_dropped(data, opened)[0]


def pixels_and_dropped(data: bytes, opened: OpenedImage) -> tuple[Pixels, tuple[DroppedContent, ...]]:
    """Like `image_pixels`; also returns the content of the file that is not in the pixels. Raises Refusal."""
    with refusing("its pixels cannot be decoded"):
        pixels, dropped = _decoded(data, opened)
        if not pixels.size:
            raise truncated("it holds no pixels")
    return pixels, (*dropped, *depth_dropped(image_bits(opened)), *frames_dropped(opened))


def frames_dropped(opened: OpenedImage) -> tuple[DroppedContent, ...]:
    """The unused frames, pictures or pages of a file."""
    frames = "frame" if opened.format in ("GIF", "WEBP", "AVIF") else "picture" if opened.format == "HEIF" else "page"
    return pages_dropped(opened.pages, frames)


def _decoded(data: bytes, opened: OpenedImage) -> tuple[Pixels, tuple[DroppedContent, ...]]:
    if opened.pnm is not None:
        header, samples = opened.pnm
        narrow = narrowed(samples, header.maxval)
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
    if opened.format == "JPEG2000" and image.mode == "I;16":  # white is 65535 at any depth
        return oriented(_three_channels(narrowed(np.asarray(image), 65535)), stored_turn(image)), ()
    signed = 2 in getattr(image, "tag_v2", {}).get(339, ())
    if image.mode in ("F", "I", "LAB") or image.mode.startswith("I;") or signed:
        kind = {"F": "floating-point", "LAB": "CIELAB"}.get(image.mode, "32-bit or signed")
        what = f"holds {kind} values; expected 8- or 16-bit grey or colour."
        raise Refusal("unread-kind", what, "Export it as 8- or 16-bit, scaled as it should be displayed.")
    orientation = stored_turn(image)
    dropped = _dropped_channels(image, opened)
    if image.mode in ("RGBa", "La"):  # premultiplied alpha has no direct way to RGB
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    return oriented(np.array(image.convert("RGB")), orientation), dropped


def _of_jpeg(data: bytes, opened: OpenedImage) -> tuple[Pixels, tuple[DroppedContent, ...]] | None:
    """The pixels of a JPEG, a quarter to a half faster than Pillow; None if Pillow must decode."""
    size = opened.image.height, opened.image.width
    if opened.image.mode == "CMYK":
        jpeg_pixels(data, size, "CMYK")  # only to detect damage: the colours are Pillow's
        return None
    found = jpeg_pixels(data, size)
    return (oriented(found[0], stored_turn(opened.image)), found[1]) if found is not None else None


def _of_png(opened: OpenedImage) -> tuple[Pixels, tuple[DroppedContent, ...]]:
    """Decode with OpenCV. It accepts truncated files without an error, so the chunks are checked before."""
    alpha = opened.png is not None and opened.png.colour == 6
    flags = cv2.IMREAD_UNCHANGED if alpha else cv2.IMREAD_COLOR_RGB
    bounded = bounded_png(opened.lean, opened.png) if opened.png else opened.lean
    found = cv2.imdecode(np.frombuffer(bounded, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if found is None or found.shape[:2] != opened.image.size[::-1]:
        # The checksums are valid, but the stream has too few pixels: Pillow would leave the rest black.
        raise truncated("its pixels cannot be decoded")
    if not alpha:
        return np.asarray(found, np.uint8), ()
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGRA2RGB), np.uint8), channel_dropped(cv2.extractChannel(found, 3))


def _of_16_bits(opened: OpenedImage) -> tuple[Pixels, tuple[DroppedContent, ...]]:
    bounded = bounded_png(opened.lean, opened.png) if opened.png else opened.lean
    wide = cv2.imdecode(np.frombuffer(bounded, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if wide is None or wide.dtype != np.uint16:
        raise truncated("its 16-bit pixels cannot be decoded")
    nth = 2 if opened.png and opened.png.colour == 4 else 4  # OpenCV returns grey and alpha as four channels
    dropped = channel_dropped(cv2.extractChannel(wide, 3), nth) if wide.ndim == 3 and wide.shape[2] == 4 else ()
    # With these flags OpenCV always rotates a TIFF upright, and never a PNG.
    orientation = stored_turn(opened.image) if opened.png else 1
    narrow = narrowed(wide if wide.ndim == 2 else wide[:, :, 2::-1], 65535)
    return oriented(_three_channels(narrow), orientation), dropped


def _three_channels(values: NDArray[np.uint8]) -> Pixels:
    """[H, W, 3] unchanged; [H, W] repeated in three channels."""
    return values if values.ndim == 3 else np.asarray(cv2.merge([values] * 3), np.uint8)


def _dropped_channels(image: Image.Image, opened: OpenedImage) -> tuple[DroppedContent, ...]:
    """The unused alpha or fourth band of an image that Pillow decoded."""
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
    """Decode a mask to its stored values [H, W]. Raises Refusal."""
    return opened_mask_ids(data, open_image(data))


def opened_mask_ids(data: bytes, opened: OpenedImage) -> MaskIds:
    """Like `mask_ids_of`, for a mask whose header has been read."""
    with refusing("its pixels cannot be decoded"):
        return _mask_ids(data, opened)


def _mask_ids(data: bytes, opened: OpenedImage) -> MaskIds:
    if opened.lossy:
        kind = LOSSY[opened.format]
        article = "an" if kind.startswith("A") else "a"
        what = f"is {article} {kind}; expected a lossless mask, because {kind} alters class ids along every edge."
        raise Refusal("jpeg-mask", what, f"Export it again from the source as PNG. {SINGLE_CHANNEL}")
    if opened.format in ("TIFF", "GIF") and opened.pages > 1:
        remedy = "Save each page as a file, images and masks under the same names (ImageJ: Save As, Image Sequence)."
        raise Refusal("many-pages", f"holds {opened.pages} pages; expected one.", remedy)
    if opened.format == "TIFF" and opened.image.mode == "L" and (bands := (bands_of(data) or (1, 8))[0]) > 1:
        raise Refusal("alpha-mask", f"holds {bands} bands; expected one channel of class ids.", SINGLE_CHANNEL)
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
    if tags.get(262) == 0 and ids.dtype == np.uint8:  # TIFF "white is zero": Pillow inverts the values
        ids = (2 ** min(depth, 8) - 1) - ids
    return oriented(ids, stored_turn(image))


def mask_palette(data: bytes) -> dict[int, Colour]:
    """Index → colour of a palette PNG; empty for a mask without palette. Decodes no pixels. Raises Refusal."""
    image = open_image(data).image
    values = image.getpalette("RGB") if image.mode == "P" else None
    return (
        {i: (v[0], v[1], v[2]) for i in range(len(values) // 3) if (v := values[3 * i : 3 * i + 3])} if values else {}
    )


def load(image: Image.Image) -> Image.Image:
    """Decode the pixels of a Pillow image. Raises Refusal if that fails."""
    packing = getattr(image, "tag_v2", {}).get(259)
    with refusing("its pixels cannot be decoded"):
        try:
            image.load()
        except OSError as error:
            if packing in RARE:  # libtiff may have been built without it
                what = f"its compression ({RARE[packing]}) cannot be decoded here."
                raise Refusal("unread-kind", what, RARE_REMEDY) from error
            raise
    return image


def _is_plain(png: PngFacts) -> bool:
    """True for 8-bit grey, RGB or RGBA without chunks that only one of the decoders applies."""
    return png.depth == 8 and png.colour in (0, 2, 6) and png.chunks <= PLAIN_CHUNKS


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
    raise Refusal("rgb-mask", what, f"Map each colour to a class id. {SINGLE_CHANNEL}")
