"""The photos to label: a folder of images, or those of a dataset whose masks become first edits. No file is decoded.

A photo is known by the path below its folder, in any bytes; its id is made of them. `stem` is where its image and mask
go in the labelling folder, and stays, whatever photos come later.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from pixelwise.datasets.dataset_bands import choose_bands
from pixelwise.datasets.dataset_toml import DatasetSettings
from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES, NUMPY_SUFFIX
from pixelwise.datasets.list_dataset import layout_of
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.stacked_files import names_and_sample
from pixelwise.errors import DataError, UsageError
from pixelwise.images.band_facts import band_facts
from pixelwise.images.files import shown
from pixelwise.prediction.walk_folders import images_of_folder
from pixelwise.records import RGB, Bands, Dataset, Sample

NOT_IN_NAMES = re.compile(r'[\x00-\x1f\\/:*?"<>|]')
TOLD = 5  # names in a message


@dataclass(frozen=True)
class Photo:
    """One image to label."""

    id: str
    name: str  # path below the photos' folder, with suffix; bytes that are not UTF-8 as surrogates
    path: Path
    part: str = ""  # as `Sample.image_part`: of a file that holds many images
    stem: str = ""  # of images/STEM.ext and masks/STEM.png, with folders

    @property
    def sample(self) -> Sample:
        return Sample(self.name, self.path, None, image_part=self.part)

    def to_json(self) -> dict[str, str]:
        return {"id": self.id, "name": self.name, "part": self.part, "stem": self.stem}


@dataclass(frozen=True)
class FoundPhotos:
    """What is in a folder of photos."""

    photos: tuple[Photo, ...]
    bands: Bands = RGB  # of most of them
    dataset: Dataset | None = None  # where they are one's, with masks
    samples: Mapping[str, Sample] = field(default_factory=dict)  # id → its image and mask, where it has one
    notes: tuple[str, ...] = ()


def photo_id(name: str, part: str = "") -> str:
    """12 hex digits of SHA-256 of the name's bytes; and of the part, in a file of many images."""
    inside = names_and_sample(Sample(name, Path(), None, image_part=part))[1].image_part
    content = os.fsencode(name) + (b"\0" + inside.encode("utf-8", "surrogateescape") if inside else b"")
    return hashlib.sha256(content).hexdigest()[:12]


def find_photos(root: Path, out: Path, taken: Sequence[Photo] = ()) -> FoundPhotos:
    """The photos below a folder, in the order of their names.

    Args:
        out: the labelling folder, which holds none.
        taken: photos that have their stems already.

    Raises:
        UsageError: no such folder.
    """
    if not root.is_dir():
        raise UsageError(f"{shown(root)}: no such folder. Name the folder of photos, or of a dataset.")
    notes: list[str] = []
    dataset = dataset_in(root, notes)
    samples = [sample for part in dataset.splits.values() for sample in part] if dataset else []
    samples += _plain_samples(root, out, samples, notes)
    if dataset is None:
        bands, samples = _bands_of(root, samples, notes)
    else:
        bands = dataset.bands
    photos = [_photo(sample, root) for sample in samples]
    masked = {photo.id: sample for photo, sample in zip(photos, samples, strict=True) if sample.mask is not None}
    unique = {photo.id: photo for photo in photos}
    ordered = sorted(unique.values(), key=lambda photo: os.fsencode(photo.name))
    return FoundPhotos(tuple(with_stems(ordered, taken)), bands, dataset, masked, tuple(notes))


def dataset_in(root: Path, notes: list[str]) -> Dataset | None:
    """The dataset in a folder; None where there are no masks that can be read, which is noted if there seem to be."""
    if layout_of(root) is None:
        return None
    try:
        dataset = open_dataset(root)
    except DataError as error:
        notes.append(f"No masks are taken over: {str(error).splitlines()[0]} `pixelwise check` shows why.")
        return None
    if not any(sample.mask for part in dataset.splits.values() for sample in part):
        return None
    if any(problem.kind == "no-classes" for problem in dataset.problems):
        notes.append("No masks are taken over: no classes were found in them. `pixelwise check` shows why.")
        return None
    notes += map(without_options, dataset.notes)
    return dataset


def _plain_samples(root: Path, out: Path, known: Sequence[Sample], notes: list[str]) -> list[Sample]:
    """The images of a folder; of a dataset, those beside its images that have no mask."""
    folders = {sample.image.parent for sample in known}
    used = {path for sample in known for path in (sample.image, sample.mask) if path is not None}
    unlisted: list[str] = []
    found: list[Path] = []
    for suffixes in (IMAGE_SUFFIXES, (NUMPY_SUFFIX,)):  # arrays count only where there are no other images
        if not found:
            images = images_of_folder(root, root, out, lambda at, why: unlisted.append(f"{shown(at)} ({why})"),
                                      suffixes=suffixes)  # fmt: skip
            found = [one.image for one in images]
    if unlisted:
        notes.append(f"Folders that cannot be listed, so that their photos are missing: {', '.join(unlisted[:TOLD])}.")
    if known:
        found = [path for path in found if path.parent in folders and path not in used]
    return [Sample(str(path.relative_to(root)), path, None) for path in found]


def found_one(path: Path, root: Path, taken: Sequence[Photo]) -> Photo:
    """One more photo of a folder."""
    photo = _photo(Sample(path.stem, path, None), root)
    return with_stems([photo], taken)[0]


def bands_of_photos(root: Path, photos: Sequence[Photo], notes: list[str]) -> Bands:
    """The bands of most photos. What differs is noted, once."""
    own: list[str] = []
    bands, _ = _bands_of(root, [photo.sample for photo in photos], own)
    notes += [note for note in own if note not in notes]
    return bands


def _bands_of(root: Path, samples: list[Sample], notes: list[str]) -> tuple[Bands, list[Sample]]:
    """The bands of most images, and the samples with the bands' names. What differs is noted."""
    listing = Listing(root, splits={"all": list(samples)})
    bands = choose_bands(listing, DatasetSettings(), ())
    notes += map(without_options, listing.notes)
    notes += [f"{problem.where}: {problem.message}" for problem in listing.problems[:TOLD]]
    if len(listing.problems) > TOLD:
        notes.append(f"{len(listing.problems) - TOLD:,} more photos have other bands than most.")
    notes += _several_pages(samples) if bands == RGB else []
    named = {(one.image, names_and_sample(one)[1].image_part): one for one in listing.splits["all"]}
    return bands, [named.get((sample.image, sample.image_part), sample) for sample in samples]


def without_options(note: str) -> str:
    """A note without what it says of options of the command line: the page has none."""
    parts = re.split(r"(?<=[.;]) ", note)
    kept = " ".join(part for part in parts if "--" not in part)
    return kept.rstrip(";") + "." if kept.endswith(";") else kept


def _several_pages(samples: Sequence[Sample]) -> list[str]:
    """A note on images of several pages, of which only the first is labelled."""
    found = []
    for sample in samples:
        if not sample.image_part and sample.image.suffix.lower() in (".tif", ".tiff"):
            with suppress(DataError):  # an image that cannot be read is shown as one
                pages = band_facts(sample.image).pages
                found += [f"{shown(sample.name)} ({pages} pages)"] if pages > 1 else []
    if not found:
        return []
    what = f"{len(found):,} photos have several pages, such as {found[0]}: the first is labelled."
    return [f"{what} Save the others as files of their own to label them too."]


def _photo(sample: Sample, root: Path) -> Photo:
    inside = names_and_sample(sample)[1].image_part
    if sample.image.is_relative_to(root):
        name = sample.image.relative_to(root).as_posix()
    else:
        name = PurePosixPath(sample.name).with_suffix(sample.image.suffix).as_posix().lstrip("/")
    of_many = inside and not inside.startswith("stack:")
    return Photo(photo_id(name, sample.image_part), name, sample.image, sample.image_part,
                 sample.name if of_many else "")  # fmt: skip


def with_stems(photos: Sequence[Photo], taken: Sequence[Photo] = ()) -> list[Photo]:
    """The photos with places in the labelling folder: each its own, also where upper and lower case are the same."""
    known = {photo.id: photo.stem for photo in taken}
    used = {stem.casefold() for stem in known.values()}
    shared = _shared_folder([photo.name for photo in photos])
    done = []
    for photo in photos:
        stem = known.get(photo.id) or _free(_plain_stem(photo, shared), PurePath(photo.name).suffix, used)
        used.add(stem.casefold())
        done.append(replace(photo, stem=stem))
    return done


def _free(stem: str, suffix: str, used: set[str]) -> str:
    """The stem, or one like it that is not used: of a.jpg and a.png, the second is a-png."""
    options = [stem, f"{stem}-{suffix[1:].lower()}"]
    number = 2
    while options[0].casefold() in used:
        options.pop(0)
        if not options:
            options.append(f"{stem}-{number}")
            number += 1
    return options[0]


def _plain_stem(photo: Photo, shared: PurePosixPath) -> str:
    """A path below images/: no part is hidden or holds letters that some systems forbid."""
    path = PurePosixPath(photo.name)
    if path.is_relative_to(shared):
        path = path.relative_to(shared)
    parts = [*path.parent.parts, PurePosixPath(photo.stem).name if photo.stem else path.stem]
    return "/".join("_" + part[1:] if part[0] == "." else part for part in (NOT_IN_NAMES.sub("_", p) for p in parts))


def _shared_folder(names: Iterable[str]) -> PurePosixPath:
    """The folder that all names are in: images/ of a dataset is not repeated in the labelling folder's own."""
    folders = [PurePosixPath(name).parent.parts for name in names]
    if not folders:
        return PurePosixPath()
    least, most = min(folders), max(folders)
    same = next((i for i, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(len(least), len(most)))
    return PurePosixPath(*least[:same])


def photos_from_json(rows: Sequence[Mapping[str, Any]], root: Path) -> list[Photo]:
    """Raises KeyError, TypeError: not rows of `Photo.to_json`."""
    return [
        Photo(str(row["id"]), str(row["name"]), root / str(row["name"]), str(row["part"]), str(row["stem"]))
        for row in rows
    ]
