"""List a dataset's pairs: recognise the folder's layout, pair the files, divide the pairs into splits.

No file is decoded here. `Dataset.notes` holds the decisions, `Dataset.problems` the problems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pixelwise.datasets import found_folders, mask_layers
from pixelwise.datasets.class_names import undeclare_too_many
from pixelwise.datasets.dataset_bands import choose_bands
from pixelwise.datasets.dataset_toml import FILE_NAME, SPLITS, read_settings
from pixelwise.datasets.file_kinds import MASK_SUFFIXES
from pixelwise.datasets.formats import (
    ade20k,
    ade20k_full,
    band_folders,
    camvid,
    cityscapes,
    coco,
    cvat,
    cvat_video,
    darwin,
    geojson,
    image_folder,
    labelme,
    labelme_xml,
    labelstudio,
    matlab,
    native,
    nifti,
    parquet,
    plain_pairs,
    run_length_csv,
    segments_ai,
    superannotate,
    supervisely,
    via,
    voc,
    yolo,
)
from pixelwise.datasets.formats.reader_errors import problems_of, recognised
from pixelwise.datasets.listing import Listed, Listing
from pixelwise.datasets.name_tables import void_of_tables
from pixelwise.datasets.splits import divide
from pixelwise.datasets.unrecognised import diagnosis, why_unrecognised
from pixelwise.errors import DatasetError, UsageError
from pixelwise.images.files import real_path, shown
from pixelwise.records import ClassList, Dataset, Problem, Sample


class Layout(Protocol):
    """Interface of a layout's module. Layouts whose masks are not plain files have `mask_ids` too."""

    def recognises(self, root: Path, /) -> bool: ...
    def list_pairs(self, root: Path, /) -> Listing: ...


WRAPPINGS = 3  # levels of nested folders to search
LAYOUTS: dict[str, Layout] = {  # in the order in which they are tried
    "layers": mask_layers,
    "matlab": matlab,
    "native": native,
    "band-folders": band_folders,
    "camvid": camvid,
    "cityscapes": cityscapes,
    "voc": voc,
    "coco": coco,
    "yolo": yolo,
    "labelme": labelme,
    "geojson": geojson,
    "cvat-video": cvat_video,
    "cvat": cvat,
    "labelstudio": labelstudio,
    "via": via,
    "supervisely": supervisely,
    "superannotate": superannotate,
    "run-length-csv": run_length_csv,
    "labelme-xml": labelme_xml,
    "darwin": darwin,
    "segments-ai": segments_ai,
    "nifti": nifti,
    "parquet": parquet,
    "image-folder": image_folder,
    "ade20k": ade20k,
    "ade20k-full": ade20k_full,
    "pairs": plain_pairs,
    "folders": found_folders,
}
HALF = {"native": native.half, "pairs": plain_pairs.half}


def list_dataset(
    path: Path | str, *, seed: int = 0, val_share: float = 0.2, masks: str = "", bands: Sequence[str] = ()
) -> Listed:
    """The first half of `open_dataset`: everything but the classes. Same arguments and errors.

    Args:
        masks: part of the masks' folder or file names, if there are several candidates.
        bands: names, or numbers from 1, of the bands to use; (): as dataset.toml states, otherwise all.
    """
    root = Path(path)
    if not 0 < val_share < 1:
        raise UsageError(f"val_share is {val_share}; expected a share between 0 and 1, such as 0.2.")
    if not root.exists():
        raise UsageError(f"{shown(root)}: no such folder. Check the path of the dataset.")
    if not root.is_dir():
        raise UsageError(f"{shown(root)}: is a file; expected the folder of a dataset.")
    settings = read_settings(root)
    problems: list[Problem] = []
    root, layout = _recognised(root, problems)
    if masks:
        layout = "band-folders" if band_folders.recognises(root, masks) else "folders"
    if layout is None:
        raise DatasetError(why_unrecognised(root), problems)
    listing = Listing(root)
    with problems_of(listing, root, f"could not be listed as {layout}:"):
        listing = _chosen_pairs(layout, root, masks) if masks else LAYOUTS[layout].list_pairs(root)
    listing.problems += problems
    use_images_once(listing)
    report_links(listing)
    if settings.bands and layout != "nifti":
        message = f"the list `bands` is ignored: it selects channels of volumes, and the layout is {layout}."
        listing.warn("bands-ignored", listing.root / FILE_NAME, message, 'Write a table: [bands] use = ["nir", 3].')
    if root != Path(path):
        listing.notes.append(f"The data is in {shown(root.relative_to(path))}/.")
    if layout in HALF and not any(listing.splits.values()):
        listing.notes += [line.strip() for line in diagnosis(root)]
    undeclare_too_many(listing, settings)
    chosen = choose_bands(listing, settings, bands)
    if listing.declared is None and settings.classes is None and not listing.source:
        listing.void |= void_of_tables(listing.root)
    divide(listing, settings, seed, val_share)
    return Listed(layout, listing, settings, chosen)


def _chosen_pairs(layout: str, root: Path, masks: str) -> Listing:
    """The pairs with the masks of `--masks`."""
    if layout == "band-folders":
        return band_folders.list_pairs(root, masks)
    return found_folders.list_pairs(root, masks)


def pairs_below(root: Path) -> list[Sample]:
    """The images and masks of a folder as `list_dataset` pairs them, in no split; [] if no layout is recognised."""
    root, layout = _recognised(root, [])
    if layout is None:
        return []
    listing = Listing(root)
    with problems_of(listing, root):
        listing = LAYOUTS[layout].list_pairs(root)
    return [sample for samples in listing.splits.values() for sample in samples]


def _recognised(root: Path, problems: list[Problem]) -> tuple[Path, str | None]:
    """The folder of the data and its layout."""
    layout = layout_of(root, problems)
    return (
        _unwrapped(root, layout) if layout in (None, "folders") and not (root / FILE_NAME).exists() else (root, layout)
    )


def _unwrapped(root: Path, layout: str | None) -> tuple[Path, str | None]:
    """The only folder inside a folder (as after unpacking an archive), if its layout is recognised."""
    inner = root
    for _ in range(WRAPPINGS):
        inside = [path for path in inner.iterdir() if path.name[0] not in "._"]
        folders = [path for path in inside if path.is_dir() and not path.is_symlink()]
        data = (*MASK_SUFFIXES, ".json", ".xml", ".csv", ".jsonl", ".parquet", ".geojson")
        if len(folders) != 1 or any(path.suffix.lower() in data for path in inside):
            break
        inner = folders[0]
        found = layout_of(inner)
        if found not in (None, "folders"):
            return inner, found
    return root, layout


def layout_of(root: Path, problems: list[Problem] | None = None) -> str | None:
    """The first layout that recognises a folder, else an incomplete one; None if there is none.

    `problems`: receives errors during recognition.
    """
    told = [] if problems is None else problems
    whole = (name for name, own in LAYOUTS.items() if recognised(own.recognises, root, name, told))
    return next(whole, None) or next((name for name, recognises in HALF.items() if recognises(root)), None)


def report_links(listing: Listing) -> None:
    """Warn about links to files outside the folder: they are read, but a copy of the folder would lack them."""
    root = real_path(listing.root)
    files = {
        path for part in listing.splits.values() for sample in part for path in (sample.image, sample.mask) if path
    }
    outside = [path for path in sorted(files) if path.is_symlink() and not real_path(path).is_relative_to(root)]
    if outside:
        what = f"{len(outside):,} files are links to files outside the folder, such as this one. They are read."
        remedy = "Copy the files here if the folder will be moved or shared."
        listing.warn("linked-outside", outside[0], what, remedy)


def use_images_once(listing: Listing) -> None:
    """Keep the first annotation of each image and report any others.

    One of two annotations of an image may belong to another image.
    """
    first: dict[tuple[Path, str], Sample] = {}
    twice: dict[tuple[str, ...], list[Sample]] = {}  # by annotation files: two files may annotate all images
    for split, samples in listing.splits.items():
        kept = []
        for sample in samples:
            other = first.setdefault((sample.image, sample.image_part), sample)
            if other is sample:
                kept.append(sample)
                continue
            files = dict.fromkeys(listing.where(path) for path in (other.mask, sample.mask) if path)
            twice.setdefault(tuple(files), []).append(sample)
        listing.splits[split] = kept
    for names, repeated in twice.items():
        more = f", as {len(repeated) - 1:,} more images are" if len(repeated) > 1 else ""
        what = f"has several annotations ({', '.join(names)}){more}; the first is used."
        remedy = "Keep one of them; if one is for another image, correct its name or add that image."
        listing.error("image-twice", repeated[0].image, what, remedy)


def dataset_of(listed: Listed, classes: ClassList, mask_ids: Mapping[int, int]) -> Dataset:
    """The dataset, once its classes are known."""
    listing = listed.listing
    return Dataset(
        root=listing.root,
        layout=listed.layout,
        classes=classes,
        splits={split: tuple(listing.splits[split]) for split in SPLITS if split in listing.splits},
        mask_ids=mask_ids,
        notes=tuple(listing.notes),
        problems=tuple(listing.problems),
        bands=listed.bands,
    )
