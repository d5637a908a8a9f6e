"""Cityscapes: leftImg8bit/{split}/{city}/…_leftImg8bit.png beside gtFine/{split}/{city}/…_gtFine_labelIds.png.

Label ids are read as the 19 classes that the benchmark trains; all others are void. Where only …_polygons.json are
there, they are drawn, in their order. Source: the Cityscapes scripts' label table (Cordts et al., CVPR 2016).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.formats.annotation_files import blank_mask, files_below, read_json, shape_named
from pixelwise.datasets.formats.field_checks import rows_of, same_size, shown_value, size_of, table_of, text_of
from pixelwise.datasets.formats.polygons import fill, judge_polygons, polygon_of
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.layouts import DeclaredClasses, Listing, sample_of
from pixelwise.datasets.palettes import CITYSCAPES
from pixelwise.images.decode import MaskIds
from pixelwise.records import VOID, Sample

LABEL_IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
IMAGE_END = "_leftImg8bit.png"
MASK_ENDS = ("_labelIds.png", "_labelTrainIds.png", "_polygons.json")


def is_cityscapes(root: Path) -> bool:
    return bool(_part(root, "leftImg8bit") and any(_part(root, kind) for kind in ("gtFine", "gtCoarse")))


def _part(root: Path, name: str) -> Path | None:
    """root/name, or root/…/name in the folder of the archive that it came in: leftImg8bit_trainvaltest/leftImg8bit."""
    if (root / name).is_dir():
        return root / name
    return next((path for path in sorted(root.glob(f"{name}*/{name}")) if path.is_dir()), None)


def list_cityscapes(root: Path) -> Listing:
    """Every image of train, val and test with its finest mask; images without one are told."""
    listing = Listing(root)
    images, fine, coarse = (_part(root, name) for name in ("leftImg8bit", "gtFine", "gtCoarse"))
    masks_below, kind = (fine, "gtFine") if fine else (coarse, "gtCoarse")
    if images is None or masks_below is None:
        return listing
    train_ids = False
    for image in files_below(images, (IMAGE_END.lower(),)):
        below = image.relative_to(images)
        split = below.parts[0]
        stem = image.name.removesuffix(IMAGE_END)
        folder = masks_below / below.parent
        masks = [folder / f"{stem}_{kind}{end}" for end in MASK_ENDS]
        mask = next((path for path in masks if path.is_file()), None)
        if split not in SPLITS:
            continue
        if mask is None:
            listing.error(
                "mask-missing", image, f"has no mask in {listing.where(folder)}/.", "Add it, or drop the image."
            )
            continue
        train_ids |= mask.name.endswith("TrainIds.png")
        sample = sample_of(image, mask, listing)
        if mask.suffix == ".json":
            _judge(mask, listing)
            sample = Sample(sample.name, image, mask, mask_part="cityscapes:")
        listing.splits.setdefault(split, []).append(sample)
    names = tuple(LABEL_IDS)
    ids = tuple(range(len(names))) if train_ids else tuple(LABEL_IDS.values())
    colours = tuple((code >> 16, code >> 8 & 255, code & 255) for code in (CITYSCAPES[name] for name in names))
    void = {VOID} if train_ids else {VOID, *(i for i in range(34) if i not in ids)}
    listing.declared = DeclaredClasses(names, ids, colours, frozenset(void), "Cityscapes' 19 that are evaluated")
    return listing


def drawn_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """The mask that a …_polygons.json draws, as label ids; 0, "unlabelled", where nothing is drawn. Raises Refusal."""
    del entry
    table, things = _objects(path)
    same_size(size_of(table.get("imgHeight"), table.get("imgWidth")), size)
    mask = blank_mask(*size, 255)
    for i, thing in enumerate(things):
        with shape_named(f"object {i}"):
            label = text_of(thing.get("label"), "label").removesuffix("group")
            fill(mask, polygon_of(thing.get("polygon")), LABEL_IDS.get(label, 0))
    return mask


def _judge(path: Path, listing: Listing) -> None:
    """Warn of polygons that cannot be drawn as they are meant."""
    with problems_of(listing, path):
        table, things = _objects(path)
        size = size_of(table.get("imgHeight"), table.get("imgWidth"))
        named = ((f"object {i} ({shown_value(thing.get('label'))})", thing) for i, thing in enumerate(things))
        judge_polygons(
            [(where, thing.get("polygon")) for where, thing in named],
            size,
            lambda kind, where, what, remedy: listing.warn(kind, path, f"{where} {what}", remedy),
        )


def _objects(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A file's table, and its objects but those that were deleted. Raises Refusal."""
    table = table_of(read_json(path), "content")
    return table, [thing for thing in rows_of(table.get("objects"), "objects") if not thing.get("deleted")]
