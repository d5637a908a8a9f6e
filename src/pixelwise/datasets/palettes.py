"""Colour maps of published datasets, to name the colours found in masks.

Sources: the PASCAL VOC development kit's colour map (bits of the index spread over the channels); the Cityscapes
scripts' label table (Cordts et al., CVPR 2016); CamVid's eleven classes as drawn by SegNet's authors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pixelwise.records import Colour

VOID_NAMES = frozenset((
    "void", "unlabelled", "unlabeled", "ignore", "ignored", "__ignore__", "ignore_label", "unknown", "unannotated",
    "not_labelled", "not_labeled",
))  # fmt: skip
VOC_NAMES = [
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
]  # fmt: skip
CITYSCAPES = {
    "road": 0x804080,
    "sidewalk": 0xF423E8,
    "building": 0x464646,
    "wall": 0x66669C,
    "fence": 0xBE9999,
    "pole": 0x999999,
    "traffic light": 0xFAAA1E,
    "traffic sign": 0xDCDC00,
    "vegetation": 0x6B8E23,
    "terrain": 0x98FB98,
    "sky": 0x4682B4,
    "person": 0xDC143C,
    "rider": 0xFF0000,
    "car": 0x00008E,
    "truck": 0x000046,
    "bus": 0x003C64,
    "train": 0x005064,
    "motorcycle": 0x0000E6,
    "bicycle": 0x770B20,
    "void": 0x000000,
}
CAMVID = {
    "sky": 0x808080,
    "building": 0x800000,
    "pole": 0xC0C080,
    "road": 0x804080,
    "pavement": 0x3C28DE,
    "tree": 0x808000,
    "sign": 0xC08080,
    "fence": 0x404080,
    "car": 0x400080,
    "pedestrian": 0x404000,
    "bicyclist": 0x0080C0,
    "void": 0x000000,
}


def colour_number(colour: Sequence[int]) -> int:
    """(red, green, blue) as 0xRRGGBB."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def numbered_colour(number: int) -> Colour:
    """0xRRGGBB as (red, green, blue)."""
    return number >> 16, number >> 8 & 255, number & 255


def voc_colour(index: int) -> int:
    """The colour of a VOC index as 0xRRGGBB: bits 0, 3, 6 … of the index form red from the highest bit down, etc."""
    channels = [0, 0, 0]
    for shift in range(7, -1, -1):
        for channel in range(3):
            channels[channel] |= (index >> channel & 1) << shift
        index >>= 3
    return colour_number(channels)


PALETTES: dict[str, Mapping[str, int]] = {
    "CamVid": CAMVID,
    "Cityscapes": CITYSCAPES,
    "Pascal VOC": {**{name: voc_colour(i) for i, name in enumerate(VOC_NAMES)}, "void": 0xE0E0C0},
}


def names_of_colours(
    colours: Collection[int], tolerance: int, beside: tuple[str, Mapping[int, str]] = ("", {})
) -> tuple[str, dict[int, str]]:
    """The colour map that contains these colours, and the name of each, in the map's order.

    Args:
        beside: a table stored with the masks (`name_tables`); it is used if it has all colours. Black is void if the
            table lacks it.

    ("", {}) if no map has them all, or two maps do. Black and two colours are not enough evidence: three are needed.
    Many tools use VOC's colours for arbitrary classes, so they do not prove VOC's classes: they get
    numbers, not VOC's names. Nor do they prove CamVid's or Cityscapes', which share some of these colours.
    """
    table, known = beside
    named = {colour: next((known[k] for k in known if _distance(colour, k) <= tolerance), "") for colour in colours}
    if known and not named.get(0, "void"):
        named[0] = "void"
    if known and all(named.values()) and len(set(named.values())) == len(named):
        listed = list(known.values())
        return table, dict(sorted(named.items(), key=lambda item: listed.index(item[1]) if item[1] in listed else -1))
    matches = []
    for palette, entries in PALETTES.items():
        names = {}
        for colour in colours:
            near = [name for name, known in entries.items() if _distance(colour, known) <= tolerance]
            if near:
                names[colour] = near[0]
        others = [colour for colour in names if colour]
        generic = palette != "Pascal VOC" and all(_is_numbering(colour, tolerance) for colour in others)
        if len(names) == len(colours) == len(set(names.values())) and len(others) >= 3 and not generic:
            order = list(entries)
            matches.append((palette, dict(sorted(names.items(), key=lambda item: order.index(item[1])))))
    if len(matches) != 1:
        return "", {}
    palette, names = matches[0]
    if palette == "Pascal VOC":
        numbers = {name: f"class {i}" for i, name in enumerate(VOC_NAMES)} | {"void": "void"}
        return "Pascal VOC's colour map", {colour: numbers[name] for colour, name in names.items()}
    return palette, names


def _is_numbering(colour: int, tolerance: int) -> bool:
    """Whether the colour is one of the first twenty of VOC's map."""
    return any(_distance(colour, voc_colour(index)) <= min(tolerance, 4) for index in range(1, len(VOC_NAMES)))


def _distance(a: int, b: int) -> int:
    return max(abs((a >> shift & 255) - (b >> shift & 255)) for shift in (0, 8, 16))
