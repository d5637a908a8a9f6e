"""Images with one file a channel: which files belong to one image.

    images/a_0000.tif, a_0001.tif …        masks/a.png        nnU-Net's numbers, named by dataset.json
    images/a_red.tif, a_nir.tif            masks/a.png        names of bands at the end
    images/red/a.tif, images/nir/a.tif     masks/a.png        a folder a band
    images/a/red.tif, images/a/nir.tif     masks/a.png        a folder an image
    s1/red.tif, s1/nir.tif, s1/mask.png                       a folder an image

Files are grouped only if their names say which channel they hold, and most images have the same channels.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from types import MappingProxyType

from pixelwise.datasets.listing import Listing
from pixelwise.datasets.pairing import Files
from pixelwise.datasets.stacked_files import stack_part
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import Sample

MOST = 0.8  # of the image files must name a channel, and of the images have the same channels
COLOURS = "red|green|blue|nir|near[-_ ]?infrared|red[-_ ]?edge|swir|mir|tir|lwir|ir|thermal|pan|coastal|cirrus|uv"
STAINS = "dapi|hoechst|gfp|rfp|yfp|cfp|fitc|cy[357]|mcherry|tritc|phase|bf|brightfield|dic|fluo"
OTHERS = "rgb|depth|dem|dsm|dtm|height|slope|vv|vh|hh|hv|t1|t1c|t1w|t1gd|t1ce|t2|t2w|flair|adc|dwi|pd|ct|pet"
CHANNEL = re.compile(
    rf"\d{{4}}|b\d{{1,2}}a?|band[-_ ]?\d+|ch?(annel)?[-_ ]?\d+|(?:{COLOURS}|{STAINS}|{OTHERS})[-_ ]?\d*", re.IGNORECASE
)
ENDINGS = re.compile(r"^(.+)[-_. ]+([^-_. ]+)$"), re.compile(r"^(.+?)[-_. ]+([^-_. ]+[-_ ]\d+)$")  # a_nir, a_band_3
NUMBERS = re.compile(r"\d{4}")
COLOUR_ORDER = ("red", "green", "blue", "nir")


def grouped_channels(images: Files, masks: Files, listing: Listing) -> Files:
    """The image files by image instead of by channel, the first of each; unchanged without channels.

    The channels of each image go to the listing, for `with_channels`.

    Args:
        images, masks: files by path without suffix, below their folders.
    """
    if len(images) < 2 * MOST * len(masks) or not masks:
        return images
    alone = _alone_in_folder(masks)
    found: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for key, paths in images.items():
        place = _of_ending(key, masks) or _of_band_folder(key, masks) or _of_own_folder(key, masks)
        place = place or _beside_mask(key, alone)
        if place and len(paths) == 1:
            found[place[0]][place[1]] = paths[0]
    if sum(map(len, found.values())) < MOST * len(images):
        return images
    (channels, count), *_ = Counter(tuple(sorted(own)) for own in found.values()).most_common(1) or [((), 0)]
    if len(channels) < 2 or count < MOST * len(found):
        return images
    names = _json_names(listing.root) if all(map(NUMBERS.fullmatch, channels)) else {}
    rest = len(images) - sum(map(len, found.values()))
    return group_channels(found, channels, listing, names, f"; {rest:,} other files are not used" if rest else "")


def group_channels(
    found: Mapping[str, Mapping[str, Path]],
    channels: Sequence[str],
    listing: Listing,
    names: Mapping[str, str] = MappingProxyType({}),
    more: str = "",
) -> Files:
    """The first file of each image; those without all channels are errors. The channels go to the listing.

    Args:
        found: image → channel → file.
        names: of channels that are numbers.
        more: the end of the note.
    """
    grouped: dict[str, list[Path]] = {}
    for stem, own in found.items():
        ordered = sorted(own, key=_place)
        first = own[ordered[0]]
        if missing := sorted({*channels} - {*own}, key=_place):
            others = ", ".join(sorted(channels, key=_place))
            what = f"the image {shown(stem)} has no {', '.join(missing)}; the others have {others}."
            listing.error("bands-differ", first, what, "Add the file, or leave the image out (`train --skip-bad`).")
            continue
        grouped[stem] = [first]
        listing.channels[first] = [(names.get(channel, channel), own[channel]) for channel in ordered]
    listed = ", ".join(names.get(channel, channel) for channel in sorted(channels, key=_place))
    listing.notes.append(f"One file a channel: {listed}, for {len(grouped):,} images{more}.")
    return grouped


def _place(channel: str) -> tuple[int, list[tuple[str, int]]]:
    """Red, green, blue and near infrared first, then by name: b2 before b10."""
    name = channel.lower()
    parts = [(word, int(number or 0)) for word, number in re.findall(r"(\D*)(\d*)", name)]
    return (COLOUR_ORDER.index(name) if name in COLOUR_ORDER else len(COLOUR_ORDER), parts)


def with_channels(samples: Sequence[Sample], listing: Listing) -> list[Sample]:
    """The samples with all their channels, named without the first channel."""
    channels = listing.channels
    return [
        replace(sample, image_part=stack_part(channels[sample.image]), name=_name(channels[sample.image], listing))
        if sample.image in channels
        else sample
        for sample in samples
    ]


def _name(own: Sequence[tuple[str, Path]], listing: Listing) -> str:
    """What the paths of an image's channels share: "images/a" of "images/a_0000.tif" and "images/a_0001.tif"."""
    first, last = (PurePath(listing.where(path.with_suffix(""))) for _, path in (own[0], own[-1]))
    if first.name == last.name:  # images/red/a.tif
        return str(first.parent.parent / first.name)
    endings = [found for pattern in ENDINGS if (found := pattern.match(first.name)) and CHANNEL.fullmatch(found[2])]
    return str(first.parent / endings[0][1]) if endings else str(first.parent)


def _of_ending(key: str, masks: Files) -> tuple[str, str] | None:
    """(mask's key, channel) of an image's key such as "a_nir"."""
    for pattern in ENDINGS:
        found = pattern.match(PurePath(key).name)
        if found and CHANNEL.fullmatch(found[2]):
            stem = str(PurePath(key).with_name(found[1]))
            if stem in masks:
                return stem, found[2]
    return None


def _of_band_folder(key: str, masks: Files) -> tuple[str, str] | None:
    """(mask's key, channel) of an image's key such as "nir/a"."""
    path = PurePath(key)
    if not CHANNEL.fullmatch(path.parent.name):
        return None
    stem = str(path.parent.parent / path.name)
    return (stem, path.parent.name) if stem in masks else None


def _of_own_folder(key: str, masks: Files) -> tuple[str, str] | None:
    """(mask's key, channel) of an image's key such as "a/nir"."""
    path = PurePath(key)
    return (str(path.parent), path.name) if str(path.parent) in masks and CHANNEL.fullmatch(path.name) else None


def _alone_in_folder(masks: Files) -> dict[PurePath, str]:
    """Mask keys by folder, of folders with one mask: s1/mask."""
    by_folder: defaultdict[PurePath, list[str]] = defaultdict(list)
    for key in masks:
        by_folder[PurePath(key).parent].append(key)
    return {folder: keys[0] for folder, keys in by_folder.items() if len(keys) == 1}


def _beside_mask(key: str, alone: Mapping[PurePath, str]) -> tuple[str, str] | None:
    """(mask's key, channel) of an image's key such as "s1/nir"."""
    path = PurePath(key)
    return (alone[path.parent], path.name) if path.parent in alone and CHANNEL.fullmatch(path.name) else None


def _json_names(root: Path) -> dict[str, str]:
    """nnU-Net's channel names by number: {"0000": "T1w"}; {} if dataset.json names none."""
    try:
        table = json.loads(read_bytes(root / "dataset.json"))
        names = table.get("channel_names") or table.get("modality") or {}
        return {f"{int(number):04}": str(name) for number, name in names.items()}
    except (Refusal, AttributeError, TypeError, ValueError, RecursionError):
        return {}
