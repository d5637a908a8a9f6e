"""The names and arrangement of a TIFF's bands, as OME, ImageJ, GDAL, tifffile and page tags state them.

Formats: docs.openmicroscopy.org/ome-model (OME-XML); gdal.org/drivers/raster/gtiff.html (tag 42112);
imagej.net's TiffDecoder (tags 270 and 50839); tifffile's "shape" in tag 270.
"""

from __future__ import annotations

import html
import json
import math
import re
from typing import Any, NamedTuple

from pixelwise.images.files import UNPRINTABLE

LONGEST_NAME = 80
MOST_TEXT = 1 << 24  # of a metadata tag: a longer one names no bands
GDAL_METADATA, GDAL_NO_DATA = 42112, 42113
ITEM = re.compile(r"<Item\s([^>]*)>([^<]*)</Item>")
ATTRIBUTE = re.compile(r"([\w:]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
PIXELS = re.compile(r"<(?:\w+:)?Pixels\s([^>]*)>")
CHANNEL = re.compile(r"<(?:\w+:)?Channel\s([^>]*?)/?>")
IMAGE_END = re.compile(r"</(?:\w+:)?Image>")
QPTIFF_NAME = re.compile(r"<PerkinElmer-QPI-ImageDescription>.*?<Name>([^<]{1,80})</Name>", re.DOTALL)


class Stack(NamedTuple):
    """How the pages of a file form one image: the numbers of those pages that are bands of it."""

    pages: tuple[int, ...]
    names: tuple[str, ...] = ()
    left_out: str = ""  # "5 slices", of which the first is used
    shape: tuple[int, ...] = ()  # of the whole array, where the pages are cut from it in another way


def clean(names: list[str]) -> tuple[str, ...]:
    """Names for all bands, each once and printable; empty if none of them has a name."""
    cleaned = [UNPRINTABLE.sub(" ", name).strip()[:LONGEST_NAME] for name in names]
    if not any(cleaned):
        return ()
    found: list[str] = []
    for number, name in enumerate(cleaned, start=1):
        name = name or f"band {number}"
        again = 1
        while (name if again == 1 else f"{name} ({again})") in found:
            again += 1
        found.append(name if again == 1 else f"{name} ({again})")
    return tuple(found)


def text_of(page: Any, code: int) -> str:
    """A text tag of a page; empty if it is missing, no text, or too long."""
    tag = page.tags.get(code)
    if tag is None or tag.count > MOST_TEXT:
        return ""
    value = tag.value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def gdal_names(page: Any, bands: int) -> tuple[str, ...]:
    """The descriptions of GDAL's bands."""
    names = [""] * bands
    for attributes, text in ITEM.findall(text_of(page, GDAL_METADATA)):
        found = attributes_of(attributes)
        sample = found.get("sample", "")
        if found.get("role") == "description" and sample.isdigit() and int(sample) < bands:
            names[int(sample)] = html.unescape(text)
    return clean(names)


def stack_of_ome(description: str, pages: int, samples: int) -> Stack | None:
    """The channels of the first image of an OME-TIFF, at its first slice and time; None if it is none."""
    if "<" not in description[:100] or "OME" not in description[:2000]:
        return None
    found = PIXELS.search(description)
    if found is None:
        return None
    attributes = attributes_of(found[1])
    try:
        size = {axis: int(attributes.get(f"Size{axis}", "1")) for axis in "CZT"}
    except ValueError:
        return None
    order = [axis for axis in attributes.get("DimensionOrder", "XYCZT")[2:] if axis in size]
    end = IMAGE_END.search(description, found.end())
    within = description[found.end() : end.start() if end else len(description)]
    channels = [attributes_of(one).get("Name", "") for one in CHANNEL.findall(within)]
    size["C"] = max(size["C"] // samples, 1)
    if sorted(order) != ["C", "T", "Z"] or min(size.values()) < 1 or math.prod(size.values()) > pages:
        return None
    step = math.prod(size[axis] for axis in order[: order.index("C")])
    names = channels if len(channels) == size["C"] * samples else []
    return Stack(tuple(c * step for c in range(size["C"])), clean(names), _others(size))


def stack_of_imagej(description: str, labels: list[str], pages: int, samples: int) -> Stack | None:
    """The channels of an ImageJ hyperstack at its first slice and frame; None if it is none."""
    if not description.startswith("ImageJ="):
        return None
    table = dict(line.partition("=")[::2] for line in description.splitlines())
    numbers = {key: int(table[key]) if table.get(key, "").isdigit() else 1 for key in ("channels", "slices", "frames")}
    if min(numbers.values()) < 1 or math.prod(numbers.values()) > pages or samples > 1:
        return None
    if math.prod(numbers.values()) == 1 and pages > 1:
        return None
    size = {"C": numbers["channels"], "Z": numbers["slices"], "T": numbers["frames"]}
    return Stack(tuple(range(size["C"])), clean(labels[: size["C"]]), _others(size))  # channels change fastest


def stack_of_tifffile(description: str, pages: int, samples: int, page_values: int) -> Stack | None:
    """The shape of the array that tifffile cut into pages; None if it states none, or the pages do not add up to it."""
    if not description.startswith('{"shape":'):
        return None
    try:
        shape = tuple(int(side) for side in json.loads(description[:MOST_TEXT])["shape"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if len(shape) < 2 or min(shape) < 1 or samples > 1 or math.prod(shape) != pages * page_values:
        return None
    return Stack(tuple(range(pages)), shape=shape)


def bands_axis(shape: tuple[int, ...]) -> int:
    """Which axis of an array of three holds the bands: the shorter of the first and the last; the last if equal."""
    return 0 if shape[0] < shape[2] else 2


def page_names(pages: list[Any]) -> tuple[str, ...]:
    """Names of one-band pages: their PageName, PerkinElmer's name, or a short description that differs between them."""
    names = [text_of(page, 285) for page in pages]
    if not any(names):
        described = [text_of(page, 270) for page in pages]
        found = [QPTIFF_NAME.search(text) for text in described]
        names = [html.unescape(one[1]) if one else "" for one in found]
        if not any(names) and len(set(described)) == len(pages):
            short = all(0 < len(text.strip()) <= LONGEST_NAME and "\n" not in text.strip() for text in described)
            names = described if short and not any(text.lstrip()[:1] in ("{", "<") for text in described) else names
    return clean(names)


def attributes_of(text: str) -> dict[str, str]:
    return {name: html.unescape(double or single) for name, double, single in ATTRIBUTE.findall(text)}


def _others(size: dict[str, int]) -> str:
    parts = [f"{size[axis]:,} {name}" for axis, name in (("Z", "slices"), ("T", "time points")) if size[axis] > 1]
    return " and ".join(parts)
