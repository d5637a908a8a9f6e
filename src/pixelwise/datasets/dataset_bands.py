"""Which bands the images of a dataset have, and which of them are used: decided from the headers of all images.

8-bit grey and colour images are read as RGB. Any others are read in full depth with all bands; `--bands`, or
dataset.toml's `[bands]`, selects and orders them. A last channel of two or four that varies is a band; one that is
constant in every image looked at is alpha, and not used. Both are reported.

The bands are those of most images. Images that lack one of them, or hold values of another depth, are errors; if no
kind of image has a clear majority, the bands that all have are used.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from pixelwise.datasets.dataset_toml import FILE_NAME, DatasetSettings
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.read_ahead import in_threads
from pixelwise.datasets.read_sample import sample_bands, sample_facts
from pixelwise.datasets.stacked_files import names_and_sample, with_names
from pixelwise.errors import DataError, DatasetError, UsageError
from pixelwise.images.banded_image import numbered
from pixelwise.images.files import PNG_MAGIC, Refusal, read_head, shown
from pixelwise.records import RGB, Bands, Sample

LOOKED_AT = 16  # images to decode to see whether their last channel is constant
HEAD_BYTES = 26  # of a PNG: up to its depth and colour type
PLAIN_FORMATS = (b"\xff\xd8\xff", b"GIF8")  # JPEG; GIF
PNG_WITHOUT_ALPHA = (0, 2, 3)  # colour types: grey, colour, palette
CLEAR = 0.8  # of the images must be of one kind, so that the others are errors
GREY = ("band 1",)  # of an image of one band without a name
RANGES = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0), "int16": (-32768.0, 32767.0)}  # of others: 0 to 1


@dataclass(frozen=True)
class ImageBands:
    """What one image's header states about its bands."""

    sample: Sample
    names: tuple[str, ...]
    dtype: str
    pages: int = 1  # of a TIFF, where they are its bands

    @property
    def plain(self) -> bool:
        """8-bit grey or colour: read as RGB."""
        return self.dtype == "uint8" and self.names in (GREY, RGB.names)

    @property
    def may_have_alpha(self) -> bool:
        """Whether the last of two or four channels may be alpha."""
        number = len(self.names)
        return number in (2, 4) and self.dtype in ("uint8", "uint16") and self.names[-1] in ("alpha", f"band {number}")


def choose_bands(listing: Listing, settings: DatasetSettings, asked: Sequence[str]) -> Bands:
    """The bands of a listing's images, as they are read. Drops images with other bands; reports every decision.

    Args:
        asked: names, or numbers from 1, of the bands to use; (): those of dataset.toml, otherwise all.

    Raises:
        UsageError: `asked` names a band that the images do not have.
        DatasetError: dataset.toml does.
    """
    wanted = tuple(asked) or tuple(map(str, settings.used_bands))
    found = _headers(listing, quick=not wanted and not settings.band_names)
    if not found:
        return RGB
    found = _named(_first_pages(_alike_named(found, listing), listing), settings, listing)
    found = _deep_among_plain(found, listing)
    found, last, note = _alpha_or_band(found)
    names, dtype = _of_most(found, listing)
    if note and last in ("", *names):
        listing.notes.append(note)
    where = f"--bands {','.join(asked)}" if asked else f"{FILE_NAME}: [bands] use = {list(settings.used_bands)}"
    chosen = tuple(_number(band, names, where, given=bool(asked)) for band in wanted) or tuple(range(len(names)))
    picked = tuple(names[i] for i in chosen)
    if len(set(picked)) < len(picked):
        raise UsageError(f"{where}: names the same band twice; the bands are {_listed(names)}.")
    if dtype == "uint8" and picked in (GREY, RGB.names):
        return RGB
    low, high = RANGES.get(dtype, (0.0, 1.0))
    bands = Bands(picked, "uint8" if dtype == "uint8" else "float32", (low,) * len(picked), (high,) * len(picked))
    _note(listing, bands, names, dtype)
    return bands


def _headers(listing: Listing, *, quick: bool) -> list[ImageBands]:
    """The bands of all images whose header can be read; the others are reported when their pair is read.

    `quick`: of formats that hold nothing but 8-bit grey or colour, which of the two is not needed.
    """
    samples = [sample for part in listing.splits.values() for sample in part]
    found = in_threads(partial(_header, quick=quick), samples)
    return [one for one in found if one is not None]


def _header(sample: Sample, *, quick: bool) -> ImageBands | None:
    try:
        if quick and not sample.image_part and _is_plain_file(sample.image):
            return ImageBands(sample, RGB.names, "uint8")
        facts = sample_facts(sample)
    except (Refusal, DataError):
        return None
    names = names_and_sample(sample)[0] or facts.band_names
    pages = facts.pages if names == numbered(facts.pages) else 1
    return ImageBands(sample, names, facts.stored if facts.dtype != "uint8" else "uint8", pages)


def _is_plain_file(path: Path) -> bool:
    """Whether a file's first bytes show that it holds 8-bit grey or colour without alpha. Raises Refusal."""
    head = read_head(path, HEAD_BYTES)
    if head.startswith(PNG_MAGIC):
        return len(head) == HEAD_BYTES and head[24] <= 8 and head[25] in PNG_WITHOUT_ALPHA
    return head.startswith(PLAIN_FORMATS)


def _alike_named(found: Sequence[ImageBands], listing: Listing) -> list[ImageBands]:
    """Numbers instead of names, if the images have equally many bands under ever other names, such as dates."""
    kinds = Counter(one.names for one in found)
    counts = {len(names) for names in kinds}
    if len(kinds) < 2 or len(counts) > 1 or max(kinds.values()) >= CLEAR * len(found) or any(o.plain for o in found):
        return list(found)
    if any(set(names) & set(other) for names, other in pairwise(kinds)):  # the same bands in other orders, in part
        return list(found)
    names = numbered(counts.pop())
    examples = " and ".join(_listed(own) for own in list(kinds)[:2])
    listing.notes.append(f"The bands' names differ between the images ({examples}): they are numbered instead.")
    return _renamed(found, names, listing)


def _first_pages(found: Sequence[ImageBands], listing: Listing) -> list[ImageBands]:
    """Of TIFFs with various numbers of pages, or few among images without, only the first page is a band.

    Where nearly all have as many, those are the bands, and the others lack some.
    """
    paged = [one for one in found if one.pages > 1]
    plain = sum(one.plain for one in found)
    most = max(Counter(one.pages for one in paged).values(), default=0)
    if not paged or (most == len(paged) and plain < len(paged)) or most >= CLEAR * len(found):
        return list(found)
    numbers = sorted({one.pages for one in paged})
    if any(one.dtype != "uint8" for one in paged):  # of 8-bit images, those who read them report it
        what = (
            f"has {paged[0].pages} pages; {len(paged):,} images have {numbers[0]} to {numbers[-1]}. The first is used."
        )
        remedy = "If pages are bands, every image needs the same; if they are images, save each as a file."
        listing.warn("more-pages", paged[0].sample.image, what, remedy)
    return [replace(one, names=GREY, pages=1) if one.pages > 1 else one for one in found]


def _named(found: Sequence[ImageBands], settings: DatasetSettings, listing: Listing) -> list[ImageBands]:
    """The images with the band names of dataset.toml. Raises DatasetError: no image has as many bands."""
    names = settings.band_names
    if not names:
        return list(found)
    fitting = [one for one in found if len(one.names) == len(names)]
    if not fitting:
        (first, *_), path = found, listing.root / FILE_NAME
        raise DatasetError(
            f"{shown(path)}: [bands] names has {len(names)} names, but {listing.where(first.sample.image)} has "
            f"{_count(first.names)} ({', '.join(first.names)}). Name every band of the files, in their order."
        )
    return _renamed(found, names, listing)


def _renamed(found: Sequence[ImageBands], names: tuple[str, ...], listing: Listing) -> list[ImageBands]:
    """Give the images with as many bands these names, also in the listing."""
    renamed = {
        id(one.sample): with_names(one.sample, names)
        for one in found
        if one.names != names and len(one.names) == len(names)
    }
    for split, samples in listing.splits.items():
        listing.splits[split] = [renamed.get(id(sample), sample) for sample in samples]
    return [
        replace(one, sample=renamed.get(id(one.sample), one.sample), names=names)
        if len(one.names) == len(names)
        else one
        for one in found
    ]


def _deep_among_plain(found: Sequence[ImageBands], listing: Listing) -> list[ImageBands]:
    """A few 16-bit images among more 8-bit ones are reduced to 8 bits; this is noted."""
    plain = sum(one.plain for one in found)
    deep = [one for one in found if one.dtype == "uint16" and len(one.names) in (1, 3)]
    if not deep or len(deep) >= plain:
        return list(found)
    listing.notes.append(
        f"{len(deep):,} of {len(found):,} images hold 16-bit values, such as {listing.where(deep[0].sample.image)}: "
        "they are reduced to 8 bits like the others, 0–65535 becoming 0–255."
    )
    reduced = {id(one) for one in deep}
    return [replace(one, names=RGB.names, dtype="uint8") if id(one) in reduced else one for one in found]


def _alpha_or_band(found: Sequence[ImageBands]) -> tuple[list[ImageBands], str, str]:
    """Drop a last channel that is constant in every image looked at: it is alpha.

    Returns the images, the name of the channel if it is kept, and a note.
    """
    unsure = [one for one in found if one.may_have_alpha]
    if not unsure:
        return list(found), "", ""
    count = min(len(unsure), LOOKED_AT)
    looked = [unsure[i * len(unsure) // count] for i in range(count)]
    ranges = [limits for limits in in_threads(_last_channel, [one.sample for one in looked]) if limits]
    varying = [limits for limits in ranges if limits[0] < limits[1]]
    number = {2: "second", 4: "fourth"}[len(unsure[0].names)]
    of = f"{len(unsure):,} images" if len(unsure) > 1 else "the image"
    if not ranges:
        return list(found), "", ""
    if varying:
        low, high = min(low for low, _ in varying), max(high for _, high in varying)
        rest = shlex.quote(",".join(unsure[0].names[:-1]))
        last = unsure[0].names[-1]
        what = f"The {number} channel of {of} varies ({low:g} to {high:g}): it is a band, {last!r}."
        return list(found), last, f"{what} To leave it out: --bands {rest}."
    value = f" ({ranges[0][0]:g})"
    without = {id(one) for one in unsure}
    kept = [replace(one, names=_without_last(one)) if id(one) in without else one for one in found]
    return kept, "", f"The {number} channel of {of} is constant{value}: it is alpha, and not used."


def _without_last(one: ImageBands) -> tuple[str, ...]:
    rest = one.names[:-1]
    return (RGB.names if len(rest) == 3 else GREY) if one.dtype == "uint8" else rest


def _last_channel(sample: Sample) -> tuple[float, float] | None:
    """The smallest and the largest value of an image's last channel; None if it cannot be read."""
    try:
        last_HW = sample_bands(sample).pixels[:, :, -1]
    except (Refusal, DataError):
        return None
    known = last_HW[np.isfinite(last_HW)]
    return (float(known.min()), float(known.max())) if known.size else None


def _of_most(found: Sequence[ImageBands], listing: Listing) -> tuple[tuple[str, ...], str]:
    """The band names and the depth of most images. The others leave the listing as errors, unless they fit.

    Grey and colour images of 8 bits are one kind.
    """
    plain = [one for one in found if one.plain]
    kinds = Counter(RGB.names if one.plain else one.names for one in found)
    names = max(kinds, key=lambda kind: (kinds[kind], -len(kind)))
    others = [one for one in found if not _has(one, names)]
    if len(others) > (1 - CLEAR) * len(found):
        common = tuple(name for name in names if all(name in other for other in kinds))
        names, others = (common, []) if common else (names, others)
    left = dict.fromkeys(name for kind in kinds for name in kind if name not in names)
    if left and not others:
        message = f"the images have different bands: {_kinds_in_words(kinds)}; {', '.join(names)} are used."
        remedy = f"Not used, as not all images have them: {', '.join(left)}. Add them, or leave out the images without."
        listing.warn("bands-differ", listing.root, message, remedy)
    _report(others, names, listing)
    kept = [one for one in found if _has(one, names)]
    if names == RGB.names and len(plain) == len(kept):
        return (GREY if all(one.names == GREY for one in kept) else names), "uint8"
    return names, _depth_of_most(kept, listing)


def _has(one: ImageBands, names: Sequence[str]) -> bool:
    return set(names) <= set(one.names) or (one.plain and tuple(names) == RGB.names)


def _report(others: Iterable[ImageBands], names: tuple[str, ...], listing: Listing) -> None:
    """Drop images with other bands from the listing, each as an error."""
    for one in others:
        message = (
            f"has {_count(one.names)} ({_listed(one.names)}); most images have {_count(names)} ({_listed(names)})."
        )
        remedy = (
            "Add or remove bands, or leave the image out (`train --skip-bad`); --bands selects bands that all have."
        )
        listing.error("bands-differ", one.sample.image, message, remedy)
    _drop(others, listing)


def _depth_of_most(kept: Sequence[ImageBands], listing: Listing) -> str:
    """The type of most images' values. 8-bit images among deeper ones are errors: their values mean something else."""
    by_type: defaultdict[str, list[ImageBands]] = defaultdict(list)
    for one in kept:
        by_type[one.dtype].append(one)
    most = max(by_type, key=lambda dtype: len(by_type[dtype]))
    others = [one for dtype, part in by_type.items() if dtype != most for one in part]
    if not others:
        return most
    strange = [one for one in others if "uint8" in (one.dtype, most)]
    rest = [one for one in others if one not in strange]
    for one in strange:
        message = f"holds {one.dtype} values; {len(by_type[most]):,} other images hold {most} values."
        remedy = f"Export it as {most} like the others, or leave it out (`train --skip-bad`): one scale has to fit all."
        listing.error("depth-differs", one.sample.image, message, remedy)
    _drop(strange, listing)
    if rest:
        types = Counter(one.dtype for one in rest)
        counted = ", ".join(f"{number:,} {dtype}" for dtype, number in types.items())
        message = f"holds {rest[0].dtype} values; most images hold {most} values (others: {counted})."
        listing.warn(
            "depth-differs", rest[0].sample.image, message, "Check that one scale fits all: values are compared."
        )
    return most


def _drop(images: Iterable[ImageBands], listing: Listing) -> None:
    gone = {id(one.sample) for one in images}
    for split, samples in listing.splits.items():
        listing.splits[split] = [sample for sample in samples if id(sample) not in gone]


def _number(band: str, names: Sequence[str], where: str, *, given: bool) -> int:
    """The position of a band by its name or its number from 1. Raises UsageError, DatasetError if not `given`."""
    lowered = [name.lower() for name in names]
    if band.lower() in lowered:
        return lowered.index(band.lower())
    if band.isdecimal() and 1 <= int(band) <= len(names):
        return int(band) - 1
    what = f"{where}: the images have no band {band!r}; they have {_count(names)}: {_listed(names)}"
    message = f"{what}. Name them, or number them from 1 to {len(names)}."
    raise UsageError(message) if given else DatasetError(message)


def _note(listing: Listing, bands: Bands, names: Sequence[str], dtype: str) -> None:
    """State how the images are read."""
    depth = {"uint8": "8-bit", "uint16": "16-bit", "int16": "signed 16-bit", "float32": "floating-point"}.get(
        dtype, dtype
    )
    used = "all are used" if bands.names == tuple(names) else f"used: {_listed(bands.names)}"
    if bands.names == tuple(names) and len(names) > 1:
        used += "; --bands picks and orders"
    listing.notes.append(
        f"Images have {_count(names)} of {depth} values ({_listed(names)}), read in full depth: {used}."
    )


def _kinds_in_words(kinds: Mapping[tuple[str, ...], int]) -> str:
    return "; ".join(f"{number:,} images have {_count(names)} ({_listed(names)})" for names, number in kinds.items())


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} bands" if len(names) > 1 else "1 band"


def _listed(names: Sequence[str]) -> str:
    """Band names for a message; "band 1 to band 12" if they are numbers."""
    numbered = [f"band {i}" for i in range(1, len(names) + 1)]
    return f"{names[0]} to {names[-1]}" if len(names) > 3 and list(names) == numbered else ", ".join(names)
