"""Cityscapes: leftImg8bit/{split}/{city}/…_leftImg8bit.png and gtFine/{split}/{city}/…_gtFine_labelIds.png.

Label ids map to the benchmark's 19 training classes; all others are void. If only …_polygons.json files exist, their
polygons are drawn in file order. Source: the Cityscapes scripts' label table (Cordts et al., CVPR 2016).
"""

from __future__ import annotations

from pathlib import Path

from pixelwise.datasets.dataset_toml import SPLITS
from pixelwise.datasets.formats.annotated_shapes import (
    AnnotatedImage,
    DrawnShape,
    Place,
    Size,
    mask_of,
    objects_of,
    shape_named,
)
from pixelwise.datasets.formats.annotation_files import SkippedShapes, pictures_of, read_json, report_shapes
from pixelwise.datasets.formats.field_checks import rows_of, size_of, table_of, text_of
from pixelwise.datasets.formats.image_lookup import files_below
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.listing import DeclaredClasses, Listing, sample_of
from pixelwise.datasets.palettes import CITYSCAPES, numbered_colour
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
UNLABELLED = "unlabelled"
IDS = {**LABEL_IDS, UNLABELLED: 0}
IMAGE_END = "_leftImg8bit.png"
MASK_ENDS = ("_labelIds.png", "_labelTrainIds.png", "_polygons.json")


def recognises(root: Path) -> bool:
    return bool(_part(root, "leftImg8bit") and any(_part(root, kind) for kind in ("gtFine", "gtCoarse")))


def _part(root: Path, name: str) -> Path | None:
    """root/name, or root/…/name inside its archive's folder: leftImg8bit_trainvaltest/leftImg8bit."""
    if (root / name).is_dir():
        return root / name
    return next((path for path in sorted(root.glob(f"{name}*/{name}")) if path.is_dir()), None)


def list_pairs(root: Path) -> Listing:
    """Every image of train, val and test with its finest mask; images without one are reported."""
    listing = Listing(root)
    images, fine, coarse = (_part(root, name) for name in ("leftImg8bit", "gtFine", "gtCoarse"))
    masks_below, kind = (fine, "gtFine") if fine else (coarse, "gtCoarse")
    if images is None or masks_below is None:
        return listing
    train_ids, undrawn = False, SkippedShapes(listing)
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
            with problems_of(listing, mask):
                report_shapes(mask, pictures_of(read, mask)[0], image, listing, undrawn)
            sample = Sample(sample.name, image, mask, mask_part="cityscapes:")
        listing.splits.setdefault(split, []).append(sample)
    undrawn.report()
    names = tuple(LABEL_IDS)
    ids = tuple(range(len(names))) if train_ids else tuple(LABEL_IDS.values())
    colours = tuple(numbered_colour(CITYSCAPES[name]) for name in names)
    void = {VOID} if train_ids else {VOID, *(i for i in range(34) if i not in ids)}
    listing.declared = DeclaredClasses(names, ids, colours, frozenset(void), "Cityscapes' 19 that are evaluated")
    return listing


def mask_ids(path: Path, entry: str, size: Size) -> MaskIds:
    """The mask that a …_polygons.json draws, as label ids; 0 ("unlabelled") where nothing is drawn. Raises Refusal."""
    del entry
    return mask_of(pictures_of(read, path)[0], IDS, size)


def object_ids(path: Path, entry: str, size: Size) -> MaskIds:
    """As `mask_ids`, with a number for each polygon."""
    del entry
    return objects_of(pictures_of(read, path)[0], size)


def read(path: Path) -> dict[Place, AnnotatedImage]:
    """The one image of a …_polygons.json, without deleted objects. Raises Refusal."""
    table = table_of(read_json(path), "content")
    figures = []
    for i, thing in enumerate(rows_of(table.get("objects"), "objects")):
        if not thing.get("deleted"):
            with shape_named(f"object {i}"):
                label = text_of(thing.get("label"), "label").removesuffix("group")
            figures.append(DrawnShape.polygon(label if label in IDS else UNLABELLED, label, [thing.get("polygon")]))
    return {0: AnnotatedImage(path.name, tuple(figures), size_of(table.get("imgHeight"), table.get("imgWidth")))}
