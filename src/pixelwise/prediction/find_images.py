"""Files, folders and globs → images, and where the results of each go. No file is opened but headers of band files.

A folder is walked twice: once to count its images and to find names that would overwrite each other, and again while
they are labelled. So a million images take some megabytes here, not a gigabyte. Two images with one name, a.jpg and
a.png, keep their suffixes: a.jpg.png, a.png.png.
"""

from __future__ import annotations

import glob
import os
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES, NUMPY_SUFFIX, VOLUME_SUFFIXES, is_volume, stem_of
from pixelwise.errors import UsageError
from pixelwise.images.files import shown
from pixelwise.prediction.channel_groups import channels_of
from pixelwise.prediction.label_file import Job, paths_of
from pixelwise.prediction.masks_left_out import MasksLeftOut, masks_in_words
from pixelwise.prediction.volume_slices import volume_channels
from pixelwise.prediction.walk_folders import (
    FoundImage,
    Unlisted,
    found_at,
    ignored,
    images_of_folder,
    is_image_name,
    kind_of,
)
from pixelwise.records import RGB, Bands

LISTED = 5  # examples in a message
WILD = "*?["  # what makes a path a pattern

LISTED_SUFFIXES = 8
CLASH_REMEDY = (
    "Rename one of them, label them in separate calls with another --out, or name the folder above both: its "
    "sub-folders are kept in --out."
)

Clash = Callable[[Job, Path], None]  # called with an image that is not labelled, and the one it clashes with


class Survey(NamedTuple):
    """The result of the first walk."""

    total: int  # images, each counted once
    repeated: frozenset[int]  # hashes of sources found more than once
    crowded: frozenset[int] = frozenset()  # hashes of sources whose results keep the image's suffix
    clashing: Mapping[int, Path] = MappingProxyType({})  # hash of a source → another image with the same results
    passed_over: Mapping[str, int] = MappingProxyType({})  # other files, by suffix
    bands: Bands = RGB  # that the model takes
    masks: MasksLeftOut | None = None  # None: masks are labelled like images


def suffixes_for(bands: Bands) -> tuple[str, ...]:
    """The suffixes of files that are images to a model of these bands. A NumPy array has no colours."""
    return (*IMAGE_SUFFIXES, *VOLUME_SUFFIXES, *(() if bands == RGB else (NUMPY_SUFFIX,)))


def refuse_missing(images: Sequence[Path]) -> None:
    """Raise UsageError if nothing is named, or something that does not exist."""
    if not images:
        raise UsageError("no images were named. Name image files, or folders of them.")
    missing = [path for path in images if not path.exists() and not is_pattern(path)]
    if missing:
        raise UsageError(f"no such file or folder: {examples(missing)}. Check the path.")


def images_once(images: Sequence[Path], out: Path, bands: Bands = RGB, masks: MasksLeftOut | None = None) -> list[Path]:
    """Every image once, in a fixed order, whatever other images are called. Raises UsageError: there is none."""
    refuse_missing(images)
    passed_over: Counter[str] = Counter()
    found = {one.source: one.image for one in find(images, out, passed_over=passed_over, bands=bands, masks=masks)}
    if not found:
        raise UsageError(no_images(images, passed_over, suffixes_for(bands), masks))
    return list(found.values())


def survey(
    images: Sequence[Path],
    out: Path,
    save: Sequence[str],
    bands: Bands = RGB,
    masks: MasksLeftOut | None = None,
) -> Survey:
    """Count the images and find names that clash.

    Args:
        bands: that the model takes.
        masks: leaves out the masks of datasets among the folders. None: masks are images, too.

    Raises:
        UsageError: nothing was named or found; no such file; results that would overwrite an image; every image shares
            its name with another. All problems are listed at once.
    """
    refuse_missing(images)
    at = Path(os.path.realpath(out))
    if same := [path for path in images if path.is_dir() and os.path.realpath(path) == str(at)]:
        raise UsageError(
            f"{shown(same[0])}: this folder contains the images and cannot be --out as well: the next run would take "
            f"the results for images. Choose another --out, such as {shown(same[0] / 'labelled')}."
        )
    passed_over: Counter[str] = Counter()
    crowded: frozenset[int] = frozenset()
    while True:
        # Hashes, not paths: eight bytes each. Where two are equal, the paths are compared.
        sources, results = array("q"), array("q")
        passed_over.clear()
        for found in find(images, out, passed_over=passed_over, bands=bands, masks=masks):
            sources.append(hash(found.source))
            results.extend(hash(str(path)) for path in paths_of(job_of(found, at, crowded), save))
        if not sources:
            raise UsageError(no_images(images, passed_over, suffixes_for(bands), masks))
        repeated = frozenset(more_than_once(sources))
        alike = more_than_once(results) | set(np.intersect1d(as_numbers(sources), as_numbers(results)).tolist())
        if not alike:
            return Survey(len(np.unique(as_numbers(sources))), repeated, crowded, {}, passed_over, bands, masks)
        clashes = clashes_of(find(images, out, bands=bands, masks=masks), at, save, repeated, crowded, alike)
        more = crowded | clashes.keys()
        if more == crowded:  # suffixes do not distinguish them
            total = len(np.unique(as_numbers(sources)))
            if len(clashes) == total:
                refuse_clashes(clashes)
            others = {key: other for key, (_, other) in clashes.items()}
            return Survey(total, repeated, crowded, others, passed_over, bands, masks)
        crowded = more


def no_images(
    images: Sequence[Path], passed_over: Mapping[str, int], suffixes: tuple[str, ...], masks: MasksLeftOut | None
) -> str:
    text = f"no images in {examples(images)}. Image files end in {', '.join(suffixes)}."
    text += f" There are {other_files(passed_over)}." if passed_over else ""
    return f"{text} {masks_in_words(masks.counts)}." if masks and masks.counts else text


def other_files(passed_over: Mapping[str, int]) -> str:
    """ "2 files of other kinds (.txt, .xyz)"."""
    kinds = sorted(passed_over, key=lambda kind: (-passed_over[kind], kind))
    listed = [f"{passed_over[kind]:,} {kind}" if len(kinds) > 1 and passed_over[kind] > 1 else kind for kind in kinds]
    more = " …" if len(listed) > LISTED_SUFFIXES else ""
    return f"{count(sum(passed_over.values()), 'file')} of other kinds ({', '.join(listed[:LISTED_SUFFIXES])}{more})"


def job_of(found: FoundImage, out: Path, crowded: frozenset[int]) -> Job:
    """Where an image's results go. `crowded`: from `survey`."""
    keeps = crowded and hash(found.source) in crowded
    ending = found.image.name[len(stem_of(found.image)) :] if keeps else ""
    return Job(found.image, out, found.name + ending, found.channels)


def jobs_of(images: Sequence[Path], out: Path, found: Survey, unlisted: Unlisted, clashes: Clash) -> Iterator[Job]:
    """Every image once, in a fixed order, except those that clash with another: `clashes` is called for these.

    Args:
        found: from `survey`.
    """
    for one in each_once(find(images, out, unlisted, bands=found.bands, masks=found.masks), found.repeated):
        job = job_of(one, out, found.crowded)
        other = found.clashing.get(hash(one.source)) if found.clashing else None
        if other is None:
            yield job
        else:
            clashes(job, other)


def find(
    images: Sequence[Path],
    out: Path,
    unlisted: Unlisted = ignored,
    passed_over: Counter[str] | None = None,
    bands: Bands = RGB,
    masks: MasksLeftOut | None = None,
) -> Iterator[FoundImage]:
    """All images, as often as they are named; one of several files, as often as it has files.

    Args:
        passed_over: counts other files by suffix.
    """
    for one in find_files(images, out, unlisted, passed_over, suffixes_for(bands), masks):
        yield with_channels(one, bands)


def with_channels(found: FoundImage, bands: Bands) -> FoundImage:
    """The image that a file holds one channel of; the file itself where it stands alone."""
    group = volume_channels(found.image, bands) if is_volume(found.image) else channels_of(found.image, bands)
    if group is None:
        return found
    stem, files = group
    root = found.image.parents[len(Path(found.name).parts) - 1]
    name = str(stem.relative_to(root)) if root in stem.parents else stem.name
    return FoundImage(
        files[0], name, os.path.realpath(files[0].parent) + os.sep + files[0].name, files if len(files) > 1 else ()
    )


def find_files(
    images: Sequence[Path],
    out: Path,
    unlisted: Unlisted,
    passed_over: Counter[str] | None,
    suffixes: tuple[str, ...],
    masks: MasksLeftOut | None = None,
) -> Iterator[FoundImage]:
    """All image files, as often as they are named."""
    for path in images:
        if path.is_dir():
            yield from images_of_folder(path, path, out, unlisted, passed_over, suffixes, masks)
        elif path.exists() or not is_pattern(path):  # one that vanished since is reported when it is read
            yield found_at(path, path.parent)
        else:
            root = fixed_part(path)
            results = results_below(root, out)
            for match in sorted(glob.iglob(str(path), recursive=True)):  # noqa: PTH207 – Path.glob finds hidden files
                place = Path(match)
                if results and Path(os.path.realpath(place)).is_relative_to(results):
                    continue
                if place.is_dir():
                    if "**" not in path.parts:  # ** lists their content itself
                        yield from images_of_folder(place, root, out, unlisted, passed_over, suffixes, masks)
                elif is_image_name(place.name, suffixes):
                    yield found_at(place, root)
                elif passed_over is not None:
                    passed_over[kind_of(place.name)] += 1


def is_pattern(path: Path) -> bool:
    return any(letter in str(path) for letter in WILD)


def fixed_part(pattern: Path) -> Path:
    """The folders before the first one that is a pattern: "photos/*/a*.jpg" → "photos"."""
    fixed = []
    for part in pattern.parts[:-1]:
        if is_pattern(Path(part)):
            break
        fixed.append(part)
    return Path(*fixed)


def results_below(root: Path, out: Path) -> str | None:
    """The folder of earlier results if a pattern could match files in it, else None."""
    results = os.path.realpath(out)
    return results if Path(os.path.realpath(root)) in Path(results).parents else None


def each_once(found: Iterator[FoundImage], repeated: frozenset[int]) -> Iterator[FoundImage]:
    """Drop repeats; only sources known to be repeated are remembered."""
    seen: set[str] = set()
    for one in found:
        if hash(one.source) in repeated:
            if one.source in seen:
                continue
            seen.add(one.source)
        yield one


def as_numbers(hashes: array[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.frombuffer(hashes, np.int64)


def more_than_once(hashes: array[int]) -> set[int]:
    values, counts = np.unique(as_numbers(hashes), return_counts=True)
    return set(values[counts > 1].tolist())


def clashes_of(
    every: Iterator[FoundImage],
    at: Path,
    save: Sequence[str],
    repeated: frozenset[int],
    crowded: frozenset[int],
    alike: set[int],
) -> dict[int, tuple[Path, Path]]:
    """Images that would write the same file: hash of the source → the image, and another one.

    Raises:
        UsageError: a result would overwrite an image.
    """
    writers: defaultdict[str, list[FoundImage]] = defaultdict(list)
    sources: dict[str, Path] = {}
    for found in each_once(every, repeated):
        if hash(found.source) in alike:
            sources[found.source] = found.image
        for path in paths_of(job_of(found, at, crowded), save):
            if hash(str(path)) in alike:
                writers[str(path)].append(found)
    overwritten = [image for path, image in sources.items() if path in writers]
    if overwritten:
        raise UsageError(
            f"the results would overwrite {count(len(overwritten), 'image')}: {examples(overwritten)}. "
            "Choose another folder for --out."
        )
    groups = [group for group in writers.values() if len(group) > 1]
    return {
        hash(one.source): (one.image, next(other.image for other in group if other.source != one.source))
        for group in groups
        for one in group
    }


def refuse_clashes(clashes: Mapping[int, tuple[Path, Path]]) -> None:
    """Raise UsageError: no image can be labelled."""
    pairs = "; ".join(f"{shown(one)} and {shown(other)}" for one, other in list(clashes.values())[:LISTED])
    raise UsageError(f"images with the same name would overwrite each other's results: {pairs}. {CLASH_REMEDY}")


def examples(paths: Sequence[Path]) -> str:
    listed = ", ".join(shown(path) for path in paths[:LISTED])
    return f"{listed} and {len(paths) - LISTED} more" if len(paths) > LISTED else listed


def count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"
