"""A folder on disk → Dataset: its layout recognised, its pairs listed, its classes known or found, its splits fixed.

Images are not opened here. Masks are, only where the classes must be found from them. What had to be decided is said in
`Dataset.notes`; what is wrong is collected in `Dataset.problems`, for the doctor to show with everything else.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath

from pixelwise.data.decode import mask_ids_of, mask_palette
from pixelwise.data.files import Refusal, read_bytes, shown
from pixelwise.data.formats.ade20k import is_ade20k, list_ade20k
from pixelwise.data.formats.ade20k_full import is_ade20k_full, list_ade20k_full
from pixelwise.data.formats.cityscapes import is_cityscapes, list_cityscapes
from pixelwise.data.formats.coco import is_coco, list_coco
from pixelwise.data.formats.cvat import is_cvat, list_cvat
from pixelwise.data.formats.geojson import is_geojson, list_geojson
from pixelwise.data.formats.image_folder import is_image_folder, list_image_folder
from pixelwise.data.formats.labelme import is_labelme, list_labelme
from pixelwise.data.formats.labelstudio import is_labelstudio, list_labelstudio
from pixelwise.data.formats.nifti import is_nifti, list_nifti
from pixelwise.data.formats.parquet import is_parquet, list_parquet
from pixelwise.data.formats.voc import is_voc, list_voc
from pixelwise.data.formats.yolo import is_yolo, list_yolo
from pixelwise.data.found_folders import is_found, list_found
from pixelwise.data.images import count_ids
from pixelwise.data.layers import is_layers, list_layers
from pixelwise.data.layouts import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    Declared,
    Listing,
    folders_in,
    is_camvid,
    is_half_native,
    is_half_pairs,
    is_native,
    is_pairs,
    list_camvid,
    list_native,
    list_pairs,
)
from pixelwise.data.settings import FILE_NAME, SPLITS, Settings, filled_colours, read_settings
from pixelwise.data.sources import stored_mask_ids
from pixelwise.data.unread import what_is_there
from pixelwise.errors import DatasetError, UsageError
from pixelwise.records import MAX_CLASSES, VOID, ClassList, Colour, Dataset, Sample

__all__ = ["CAMVID", "DISCOVERY_CAP", "open_dataset"]

DISCOVERY_CAP = 2000  # masks that are opened to find the classes: about 1 s of them; spread evenly over the dataset
CAMVID = ClassList(  # SegNet's names and order; CamVid's hues where they allow it, moved apart for every kind of eye
    ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    (
        (160, 168, 251),
        (144, 12, 16),
        (156, 236, 116),
        (124, 44, 152),
        (20, 32, 207),
        (84, 156, 54),
        (203, 114, 132),
        (231, 201, 205),
        (104, 0, 84),
        (255, 24, 32),
        (12, 108, 236),
    ),
)
CAMVID_VOID = 11
WRAPPINGS = 3  # folders in folders that are looked into
CAMVID_DECLARED = Declared(
    CAMVID.names,
    tuple(range(len(CAMVID))),
    CAMVID.colours,
    frozenset({CAMVID_VOID}),
    "CamVid's eleven, as SegNet publishes them",
)
LAYOUTS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], Listing]]] = {
    "layers": (is_layers, list_layers),
    "native": (is_native, list_native),
    "camvid": (is_camvid, list_camvid),
    "cityscapes": (is_cityscapes, list_cityscapes),
    "voc": (is_voc, list_voc),
    "coco": (is_coco, list_coco),
    "yolo": (is_yolo, list_yolo),
    "labelme": (is_labelme, list_labelme),
    "geojson": (is_geojson, list_geojson),
    "cvat": (is_cvat, list_cvat),
    "labelstudio": (is_labelstudio, list_labelstudio),
    "nifti": (is_nifti, list_nifti),
    "parquet": (is_parquet, list_parquet),
    "image-folder": (is_image_folder, list_image_folder),
    "ade20k": (is_ade20k, list_ade20k),
    "ade20k-full": (is_ade20k_full, list_ade20k_full),
    "pairs": (is_pairs, list_pairs),
    "folders": (is_found, list_found),
}  # in the order in which they are tried
HALF = {"native": is_half_native, "pairs": is_half_pairs}
EXPECTED = (
    "expected one of:\n"
    "  DATA/{train,val,test}/{images,masks}/\n"
    "  DATA/{images,masks}/\n"
    "  CamVid as SegNet publishes it: DATA/train/, trainannot/, val/, valannot/, test/, testannot/"
)


def open_dataset(path: Path | str, *, seed: int = 0, val_share: float = 0.2) -> Dataset:
    """Recognise a folder of images and masks.

    Splits are those of the folder. Where there are none (`images/` + `masks/`), dataset.toml's `[splits]` name them,
    and otherwise each pair falls into "train" or "val" by a hash of the seed and its own name: the same on every
    machine, whatever the order, and a pair stays where it is when others are added. Where a folder has a "train" split
    but no "val", val is taken from train in the same way.

    Classes are dataset.toml's, CamVid's for its layout, or the ids found in the masks.

    Args:
        path: the dataset's root.
        seed: of the split.
        val_share: share of the pairs that go to val where the split is made here, 0–1, exclusive.

    Raises:
        UsageError: no such folder, or a share outside 0–1.
        DatasetError: no layout recognised, dataset.toml is wrong, or the masks hold more ids than there can be
            classes. Where no classes can be found at all, `problems` says so ("no-classes") and a stand-in is returned.
    """
    listed = list_dataset(path, seed=seed, val_share=val_share)
    if listed.listing.declared is None and listed.settings.classes is None:
        classes, mask_ids = _discover(listed.listing, void_ids(listed))
    else:
        classes, mask_ids = known_classes(listed)
    return dataset_of(listed, classes, mask_ids)


@dataclass(frozen=True)
class Listed:
    """A recognised folder: its files are paired and divided into splits, its classes not yet known."""

    layout: str
    listing: Listing
    settings: Settings


def list_dataset(path: Path | str, *, seed: int = 0, val_share: float = 0.2, masks: str = "") -> Listed:
    """The first half of `open_dataset`: everything but the classes. Arguments and errors as there.

    `masks`: part of the names of the folders or files that are the masks, where several could be.
    """
    root = Path(path)
    if not 0 < val_share < 1:
        raise UsageError(f"val_share is {val_share}; expected a share between 0 and 1, such as 0.2.")
    if not root.exists():
        raise UsageError(f"{shown(root)}: no such folder. Check the path of the dataset.")
    if not root.is_dir():
        raise UsageError(f"{shown(root)}: is a file; expected the folder of a dataset.")
    settings = read_settings(root)
    layout = layout_of(root)
    if layout in (None, "folders") and not (root / FILE_NAME).exists():
        root, layout = _unwrapped(root, layout)
    if masks:
        layout = "folders"
    if layout is None:
        raise DatasetError(_unrecognised(root))
    listing = list_found(root, masks) if masks else LAYOUTS[layout][1](root)
    if root != Path(path):
        listing.notes.append(f"The data lie in {shown(root.relative_to(path))}/.")
    if listing.declared and settings.classes is None and len(listing.declared.names) > MAX_CLASSES:
        _leave_undeclared(listing, listing.declared)
    if layout == "camvid":
        listing.declared = CAMVID_DECLARED
    if "all" in listing.splits:
        _divide(listing, settings, seed, val_share)
    else:
        if settings.splits:
            message = "[splits] is ignored, because the folders name the splits."
            listing.warn("splits-ignored", root / FILE_NAME, message, "Remove it.")
        if "train" in listing.splits and "val" not in listing.splits:
            train, val = hashed_split(listing.splits["train"], seed, val_share)
            listing.splits |= {"train": train, "val": val}
            listing.notes.append(f"No val split: {len(val)} of train's pairs are held out as val (seed {seed}).")
    return Listed(layout, listing, settings)


def _unwrapped(root: Path, layout: str | None) -> tuple[Path, str | None]:
    """The folder inside a folder that holds nothing else, as archives are unpacked, where its layout is known."""
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


def _leave_undeclared(listing: Listing, declared: Declared) -> None:
    """More classes than there can be (LVIS names 1,203): those that occur are the classes."""
    listing.names = dict(zip(declared.ids, declared.names, strict=True))
    listing.void, listing.source, listing.declared = declared.void, declared.source, None


def void_ids(listed: Listed) -> frozenset[int]:
    """Ids that mean unlabelled where classes are found: 255 by convention, unless the format says what its ids are."""
    listing, void = listed.listing, listed.settings.void
    return listing.void | (void - {VOID}) if listing.source else void


def layout_of(root: Path) -> str | None:
    """The first layout that recognises a folder, else one of which half is there; None where none does."""
    whole = (name for name, (recognises, _) in LAYOUTS.items() if recognises(root))
    return next(whole, None) or next((name for name, recognises in HALF.items() if recognises(root)), None)


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
    )


def hashed_split(samples: Sequence[Sample], seed: int, val_share: float) -> tuple[list[Sample], list[Sample]]:
    """Divide samples into train and val by a hash of seed and name. Both are non-empty for two samples or more."""
    alike = Counter(_own_name(sample) for sample in samples)
    places = {
        sample.name: _place(_own_name(sample) if alike[_own_name(sample)] == 1 else sample.name, seed)
        for sample in samples
    }
    val_names = {name for name, place in places.items() if place < val_share}
    if len(samples) >= 2 and not val_names:
        val_names = {min(places, key=places.__getitem__)}
    elif len(samples) >= 2 and len(val_names) == len(samples):
        val_names.discard(max(places, key=places.__getitem__))
    train = [sample for sample in samples if sample.name not in val_names]
    return train, [sample for sample in samples if sample.name in val_names]


def _own_name(sample: Sample) -> str:
    """A sample's name without its folder and suffix."""
    return PurePath(sample.name).name if sample.image_part else sample.image.stem


def _place(name: str, seed: int) -> float:
    """A number from 0 to 1 that depends on the seed and a name alone."""
    digest = hashlib.sha256(f"{seed}:".encode() + os.fsencode(name)).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _divide(listing: Listing, settings: Settings, seed: int, val_share: float) -> None:
    """Divide the pairs of images/ + masks/ by dataset.toml, else by hash."""
    samples = listing.splits.pop("all")
    wanted = {_stem(name): split for split, names in settings.splits.items() for name in names}
    folder = listing.root / "images"
    keys = {
        sample.name: _stem(
            shown(sample.image.relative_to(folder if sample.image.is_relative_to(folder) else listing.root))
        )
        for sample in samples
    }
    for name in sorted(set(wanted) - set(keys.values())):
        message = f"[splits] {wanted[name]} names {name!r}, but there is no such pair."
        listing.error("split-name", listing.root / FILE_NAME, message, "Correct the name, or remove it.")
    chosen: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    rest: list[Sample] = []
    for sample in samples:
        split = wanted.get(keys[sample.name])
        (chosen[split] if split else rest).append(sample)
    if "val" in settings.splits:
        chosen["train"] += rest
        how = f"by {FILE_NAME}; pairs that it does not name are in train"
    else:
        train, val = hashed_split(rest, seed, val_share)
        chosen["train"] += train
        chosen["val"] += val
        how = f"by a hash of each name (seed {seed}, val share {val_share:g})"
        if settings.splits:
            how = f"by {FILE_NAME}, and the rest {how}"
    order = {sample.name: i for i, sample in enumerate(samples)}
    for split in SPLITS:
        if chosen[split] or split != "test":
            listing.splits[split] = sorted(chosen[split], key=lambda sample: order[sample.name])
    counts = ", ".join(f"{len(part)} {split}" for split, part in listing.splits.items())
    listing.notes.append(f"Split into {counts} {how}.")


def _stem(name: str) -> str:
    path = PurePath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name


def known_classes(listed: Listed) -> tuple[ClassList, dict[int, int]]:
    """The classes that dataset.toml or the format declares, and id in mask files → class id or VOID."""
    settings, declared = listed.settings, listed.listing.declared
    if settings.classes is not None:
        if declared is not None and declared.by_name:
            return settings.classes, _met_by_name(settings.classes, settings.mask_ids, declared)
        return settings.classes, dict(settings.mask_ids)
    assert declared is not None
    listed.listing.notes.append(f"Classes: {declared.source}; name others in {FILE_NAME}.")
    void = {**dict.fromkeys(declared.void, VOID), **dict.fromkeys(settings.void - {VOID}, VOID)}
    ids = {mask_id: i for i, mask_id in enumerate(declared.ids)}
    return ClassList(declared.names, filled_colours(declared.colours)), {**ids, **void}


def _met_by_name(classes: ClassList, mask_ids: Mapping[int, int], declared: Declared) -> dict[int, int]:
    """Ids that a format made from names → dataset.toml's class of the same name, whatever id it has there.

    So ids stay right when a label is drawn for the first time. A class under another name than the format's is met by
    its id. What is not drawn is void, unless it is a class.
    """
    own = dict(zip(declared.names, declared.ids, strict=True))
    named = {own[name]: i for i, name in enumerate(classes.names) if name in own}
    void = dict.fromkeys(declared.void, VOID)
    told = {k: i for k, i in mask_ids.items() if i == VOID or classes.names[i] not in own}
    return {0: VOID, **told, **void, **named}


def _discover(listing: Listing, void: frozenset[int]) -> tuple[ClassList, dict[int, int]]:
    """Find the classes in the masks: every id that occurs and is not void."""
    masks = [sample for samples in listing.splits.values() for sample in samples if sample.mask]
    count = min(len(masks), DISCOVERY_CAP)
    opened = [masks[i * len(masks) // count] for i in range(count)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(_mask_facts, opened))
    pixels: Counter[int] = Counter()
    palette: Mapping[int, Colour] = {}
    for counts, colours_by_id in results:
        pixels.update(counts)
        palette = palette or colours_by_id
    ids = sorted(set(pixels) - void)
    if not ids:
        return _no_classes(listing, bool(opened), bool(pixels))
    if len(ids) > MAX_CLASSES:
        message = f"{len(ids):,} different ids, {ids[0]} to {ids[-1]}; the limit is {MAX_CLASSES} classes."
        remedy = f"If they number objects, write class ids instead; or declare the classes in {FILE_NAME}."
        if listing.source:
            message = f"{len(ids):,} classes occur ({listing.source}); the limit is {MAX_CLASSES}."
            remedy = "`pixelwise check DATA --fix OUT --commonest 150` writes a copy with the 150 commonest."
        listing.error("too-many-ids", listing.root / "masks", message, remedy)
        raise DatasetError(f"{shown(listing.root)}: no classes can be told from the masks.", listing.problems)
    if ids == [0] and pixels[VOID] and not listing.source:
        message = "all masks hold 0 and 255 only: 255 could be a class or void, which is not guessed."
        remedy = (
            f'Write {FILE_NAME} with [[classes]] name = "background", id = 0 and [[classes]] name = "foreground", '
            "id = 255; or, if 255 means unlabelled, with the one class that 0 is."
        )
        listing.error("binary-0-255", listing.root / "masks", message, remedy)
    names = names_of_ids(listing, ids)
    colours = [palette.get(i) for i in ids]
    if len(set(colours)) < len(ids) or _too_alike(colours):
        colours = [None] * len(ids)
    seen = f"all {len(masks)} masks" if len(opened) == len(masks) else f"{len(opened):,} of {len(masks):,} masks"
    gap = "" if ids == list(range(len(ids))) else " The ids have gaps and are numbered anew inside the program."
    listing.notes.append(
        f"Classes: {', '.join(names[:12])}{' …' if len(names) > 12 else ''}, found in {seen}.{gap} "
        f"Name them in {FILE_NAME}."
    )
    classes = ClassList(names, filled_colours(colours))
    return classes, {**dict.fromkeys(void, VOID), **{mask_id: i for i, mask_id in enumerate(ids)}}


def names_of_ids(listing: Listing, ids: Sequence[int]) -> tuple[str, ...]:
    """The names of ids that were found: the format's, else by their numbers; 0 beside one other is background."""
    if ids in ([0, 1], [0, VOID], [0, 65535]) and not listing.source:
        return "background", "foreground"
    return tuple(listing.names.get(i, f"class {i}") for i in ids)


def _mask_facts(sample: Sample) -> tuple[dict[int, int], dict[int, Colour]]:
    """Pixels by id, and the palette's colours by id; nothing of a mask that the doctor will refuse."""
    try:
        if sample.mask_part or sample.mask is None:
            return count_ids(stored_mask_ids(sample)), {}
        data = read_bytes(sample.mask)
        return count_ids(mask_ids_of(data)), mask_palette(data)
    except Refusal:
        return {}, {}


def _too_alike(colours: Sequence[Colour | None]) -> bool:
    """True for a palette that nobody can tell apart, such as the grey ramp (0, 0, 0), (1, 1, 1), …"""
    given = [colour for colour in colours if colour]
    return any(max(abs(a - b) for a, b in zip(x, y, strict=True)) < 8 for i, x in enumerate(given) for y in given[:i])


def _no_classes(listing: Listing, any_mask: bool, any_id: bool) -> tuple[ClassList, dict[int, int]]:
    """A stand-in with an error, so that the doctor can go on and list what else is wrong."""
    message = "no classes can be found: no mask could be read."
    remedy = f"Mend the masks, or declare the classes in {FILE_NAME}."
    if any_id:
        message = "no classes can be found: every pixel of every mask is void (255)."
        remedy = f"Label some pixels; or, if 255 is a class, declare it in {FILE_NAME}: [[classes]] with id = 255."
    elif not any_mask:
        message = "no classes can be found: there is no pair of image and mask."
        remedy = "Add images and masks."
    listing.error("no-classes", listing.root, message, remedy)
    return ClassList(("unknown",), filled_colours([None])), {0: 0, VOID: VOID}


def _unrecognised(root: Path) -> str:
    found = list(folders_in(root))
    what = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "") if found else "nothing"
    there = "".join(f"\n{sentence}" for sentence in what_is_there(root))
    head = f"{shown(root)}: not recognised as a dataset; {EXPECTED}\nfound: {what}."
    return head + (there or " Arrange the files in one of these.")
