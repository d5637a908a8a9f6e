"""The verb `chips`: rasters and polygons in map coordinates → a native dataset.

    OUT/{train,val,test}/images/b003_NAME_r00512_c01024.tif     GeoTIFF with its CRS and transform
    OUT/{train,val,test}/masks/….png                            classes, as a palette PNG; void where nothing is known
    OUT/{train,val,test}/instances/….png                        number of each polygon, where those of a class touch
    OUT/dataset.toml                                            the classes; blocks of space are groups

Shapes: N chips, C classes, H, W of a chip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.dataset_toml import FILE_NAME, SPLITS, dataset_toml
from pixelwise.datasets.default_colours import default_colours
from pixelwise.datasets.new_folder import new_folder, require_new
from pixelwise.errors import DataError, ImageError, UsageError
from pixelwise.images.files import shown, write_whole
from pixelwise.images.image_files import encode_label_png, encode_png
from pixelwise.maps.chip_files import kept_bands, read_part, write_chip
from pixelwise.maps.chip_plan import LEFT_OUT, TEST, TRAIN, VAL, Window, split_by_blocks, windows_of
from pixelwise.maps.gdal_files import open_with_gdal
from pixelwise.maps.grid import Grid, grid_of
from pixelwise.maps.rasterize import burn
from pixelwise.maps.shapes_on_grid import ShapesOnGrid, overlaps_and_touches, to_grid, transformer, why_outside
from pixelwise.maps.vectors import VOID_CLASS, MapShapes, read_map_shapes
from pixelwise.records import VOID, ClassList, OnProgress, no_progress

BACKGROUND = "background"
SMALLEST_PX = 16
NO_POLYGON, NO_DATA, NO_LABEL = "no polygon", "no data", "only void"  # why a chip is skipped
REASONS = {
    NO_POLYGON: "with no polygon",
    NO_DATA: "without data",
    NO_LABEL: "in which every pixel is void",
}
GROUPS_RULE = 'groups = "b[0-9]+_"  # blocks of space, which no fold of a cross-validation divides\n\n'


@dataclass(frozen=True)
class ChipOptions:
    """How rasters are cut and polygons drawn."""

    size_px: int = 512  # most pixels a side
    val: float = 0.15  # share of the chips
    test: float = 0.15
    layer: str = ""  # of a GeoPackage; "": the one with polygons
    attribute: str = ""  # column of the class; "": found by its name
    one_class: str = ""  # the class of all polygons; "": from the column
    labels_crs: str = ""  # of the polygons; "": as their file states
    all_touched: bool = False  # pixels that a polygon meets; else those whose centre is inside
    area: Path | None = None  # polygons outside of which nothing is known
    outside_is_void: bool = False  # pixels in no polygon; else they are background


@dataclass(frozen=True)
class ChipsMade:
    """What was written."""

    out: Path
    classes: ClassList
    splits: dict[str, int]  # chips in each
    pixels: dict[str, int]  # of each class, and of void, in the chips that were written
    skipped: dict[str, int]  # reason → chips
    beside_another_split: int  # chips left out so that neighbours share a split
    notes: tuple[str, ...]


class Labelled(NamedTuple):
    """A raster with the polygons over it."""

    path: Path
    grid: Grid
    shapes: ShapesOnGrid
    area: ShapesOnGrid | None


class Chip(NamedTuple):
    """A chip that was written, and what decides on its split."""

    name: str
    box: tuple[float, float, float, float]  # in the CRS of the first raster
    pixels_C: NDArray[np.int64]  # the last: void


@dataclass
class Drawing:
    """What polygons become: the id of each class, and whether objects are numbered."""

    classes: ClassList
    ids_N: NDArray[np.int64]  # class id or VOID of each polygon
    numbered: bool  # polygons of one class touch: their numbers are kept
    taken: Counter[str] = field(default_factory=Counter)  # names of rasters


def cut_chips(
    rasters: Sequence[Path],
    labels: Path,
    out: Path,
    options: ChipOptions | None = None,
    progress: OnProgress = no_progress,
) -> ChipsMade:
    """Cut rasters and the polygons over them into a native dataset.

    Args:
        rasters: GeoTIFF, COG, JPEG 2000 or VRT.
        labels: GeoJSON, GeoPackage or Shapefile in any CRS.
        out: new folder.
        progress: called with (chips looked at, all).

    Raises:
        UsageError: impossible sizes or shares.
        DataError: no polygon lies on a raster; CRSs that do not fit; too few chips to divide.
        ImageError: a raster cannot be read or says not where it lies.
        OutputError: `out` exists or cannot be written.
        MissingExtraError: the extra `geo` is not installed.
    """
    options = options or ChipOptions()
    _refuse_options(options)
    require_new(out)
    shapes = read_map_shapes(labels, layer=options.layer, attribute=options.attribute, one_class=options.one_class)
    area = read_map_shapes(options.area, one_class="area") if options.area else None
    labelled = _labelled(rasters, shapes, area, options)
    drawing, notes = _drawing(shapes, labelled, options)
    windows = [list(windows_of(*one.grid.size, options.size_px)) for one in labelled]
    total, done = sum(map(len, windows)), 0
    skipped: Counter[str] = Counter()
    chips: list[Chip] = []
    with new_folder(out, None) as part:
        for kind in ("images", "masks", "instances"):
            (part / "all" / kind).mkdir(parents=True)
        for one, own in zip(labelled, windows, strict=True):
            drawing.taken[one.path.stem] += 1
            for made in _cut(one, own, part / "all", drawing, options, labelled[0].grid):
                if isinstance(made, Chip):
                    chips.append(made)
                else:
                    skipped[made] += 1
                done += 1
                progress(done, total)
        if not chips:
            raise DataError(f"{shown(labels)}: gives no chip: {_skipped_in_words(skipped)}. See --area and --outside.")
        splits, pixels, beside = _divide(part, chips, drawing, options)
        write_whole(part / FILE_NAME, (GROUPS_RULE + dataset_toml(drawing.classes)).encode())
    return ChipsMade(out, drawing.classes, splits, pixels, dict(skipped), beside, (*shapes.notes, *notes))


def _refuse_options(options: ChipOptions) -> None:
    if options.size_px < SMALLEST_PX:
        raise UsageError(f"--size {options.size_px}: expected at least {SMALLEST_PX} pixels.")
    if not (0 < options.val < 1 and 0 <= options.test < 1 and options.val + options.test < 1):
        raise UsageError(
            f"--val {options.val:g} --test {options.test:g}: expected shares between 0 and 1 that leave some for train."
        )


def _labelled(
    rasters: Sequence[Path], shapes: MapShapes, area: MapShapes | None, options: ChipOptions
) -> list[Labelled]:
    """Each raster with the polygons on it. Raises DataError, ImageError, UsageError."""
    if not rasters:
        raise UsageError("no raster was named. Name GeoTIFF, JPEG 2000 or VRT files.")
    found: list[Labelled] = []
    kinds: dict[tuple[Any, ...], Path] = {}
    for path in rasters:
        grid = grid_of(path)
        if grid is None:
            raise ImageError(
                f"{shown(path)}: does not say where it lies on the earth, as a GeoTIFF, COG, JPEG 2000 or VRT does. An "
                "image with labels in pixels needs no chips; a raster gets a place by gdal_edit, -a_srs and -a_ullr."
            )
        with open_with_gdal(path) as opened:
            bands = kept_bands(opened, path)
            kinds.setdefault((len(bands), opened.dtypes[0], opened.scales, opened.offsets), path)
        place = to_grid(shapes, grid, path, options.labels_crs)
        found.append(Labelled(path, grid, place, to_grid(area, grid, path) if area else None))
    if len(kinds) > 1:
        listed = "; ".join(
            f"{shown(path)}: {bands} bands of {dtype}, scale {scales[0]:g}, offset {offsets[0]:g}"
            for (bands, dtype, scales, offsets), path in kinds.items()
        )
        raise DataError(f"The rasters differ in bands, type or scale: {listed}. Convert them: gdal_translate -unscale")
    if not any(one.shapes.on_raster.any() for one in found):
        raise why_outside(shapes, found[0].grid, found[0].path, options.labels_crs)
    return found


def _drawing(shapes: MapShapes, labelled: Sequence[Labelled], options: ChipOptions) -> tuple[Drawing, tuple[str, ...]]:
    """The classes of the polygons, and what is to be reported of them."""
    notes = list(dict.fromkeys(note for one in labelled for note in one.shapes.notes))
    on_any = np.any([one.shapes.on_raster for one in labelled], axis=0)
    if outside := len(shapes) - int(np.count_nonzero(on_any)):
        notes.append(f"{outside:,} of {len(shapes):,} polygons lie outside the rasters: not drawn.")
    names = sorted(set(shapes.classes) - {VOID_CLASS, BACKGROUND}, key=_by_number)
    if BACKGROUND in shapes.classes or not options.outside_is_void:
        names.insert(0, BACKGROUND)
    if not names:
        raise DataError(f"{shown(shapes.path)}: every polygon is void. Choose the column of the classes: --attribute.")
    ids = {name: number for number, name in enumerate(names)} | {VOID_CLASS: VOID}
    ids_N = np.array([ids[name] for name in shapes.classes], np.int64)
    overlapping = touching = 0
    shared_px = 0.0
    for one in labelled:
        here = one.shapes.on_raster
        found = overlaps_and_touches(one.shapes.polygons[here], ids_N[here])
        overlapping, shared_px, touching = overlapping + found[0], shared_px + found[1], touching + found[2]
    if overlapping:
        notes.append(
            f"{overlapping:,} pairs of polygons of different classes overlap, on {shared_px:,.0f} pixels: there the "
            "later of the two in the file is the label."
        )
    if touching:
        notes.append(
            f"{touching:,} pairs of polygons of one class touch: instances/ keeps the number of each polygon, for "
            "`train --separate`."
        )
    classes = ClassList(tuple(names), default_colours(len(names)))
    return Drawing(classes, ids_N, touching > 0), tuple(notes)


def _by_number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() and len(name) < 10 else (1 << 40, name)


def _cut(
    one: Labelled, windows: Sequence[Window], folder: Path, drawing: Drawing, options: ChipOptions, first: Grid
) -> Iterator[Chip | str]:
    """Write the chips of a raster into a folder. Gives each, or why it is skipped."""
    import shapely

    tree = shapely.STRtree(one.shapes.polygons)
    change = transformer(one.grid.crs, first.crs) if one.grid.crs and first.crs and one.grid.crs != first.crs else None
    again = drawing.taken[one.path.stem]
    stem = one.path.stem if again == 1 else f"{one.path.stem}-{again}"
    with open_with_gdal(one.path) as opened:
        bands = kept_bands(opened, one.path)
        for window in windows:
            top, left, height, width = window
            here = np.sort(tree.query(shapely.box(left, top, left + width, top + height), predicate="intersects"))
            if not len(here) and one.area is None:
                yield NO_POLYGON
                continue
            pixels, missing_HW = read_part(opened, bands, window)
            if missing_HW.all():
                yield NO_DATA
                continue
            polygons, ids = one.shapes.polygons[here], drawing.ids_N[here]
            labels_HW = burn(
                polygons, ids, window, VOID if options.outside_is_void else 0, all_touched=options.all_touched
            ).astype(np.uint8)
            labels_HW[missing_HW] = VOID
            if one.area is not None:
                polygons_of_area = one.area.polygons
                inside = burn(polygons_of_area, np.ones(len(polygons_of_area), np.int64), window, 0)
                labels_HW[inside == 0] = VOID
            if (labels_HW == VOID).all():
                yield NO_LABEL
                continue
            name = f"{stem}_r{top:05}_c{left:05}"
            grid = one.grid.window(*window)
            write_chip(folder / "images" / f"{name}.tif", pixels, grid, opened, bands)
            write_whole(folder / "masks" / f"{name}.png", encode_label_png(labels_HW, drawing.classes))
            if drawing.numbered:
                objects = np.where(ids == VOID, 0, np.arange(1, len(here) + 1))
                numbers = burn(polygons, objects, window, 0, all_touched=options.all_touched)
                numbers[labels_HW == VOID] = 0
                write_whole(folder / "instances" / f"{name}.png", encode_png(numbers.astype(np.uint16)))
            counts = np.bincount(labels_HW.ravel(), minlength=VOID + 1)
            yield Chip(name, _box(grid, change), np.append(counts[: len(drawing.classes)], counts[VOID]))


def _box(grid: Grid, change: Any) -> tuple[float, float, float, float]:
    left, bottom, right, top = grid.bounds
    if change is None:
        return left, bottom, right, top
    x, y = change.transform([left, left, right, right], [bottom, top, bottom, top])
    return min(x), min(y), max(x), max(y)


def _divide(
    part: Path, chips: Sequence[Chip], drawing: Drawing, options: ChipOptions
) -> tuple[dict[str, int], dict[str, int], int]:
    """Move the chips to their splits: chips in each, pixels of each class, and chips beside another split."""
    boxes_N4 = np.array([chip.box for chip in chips])
    pixels_NC = np.array([chip.pixels_C for chip in chips])
    split = split_by_blocks(boxes_N4, pixels_NC[:, :-1], options.val, options.test)
    wanted = (TRAIN, VAL, TEST) if options.test else (TRAIN, VAL)
    if not all((split.of_N == one).any() for one in wanted):
        raise DataError(
            f"{len(chips)} chips of up to {options.size_px} pixels a side with labels are too few to divide, so that "
            "no neighbours lie in two splits. Cut smaller chips (--size), more rasters, or no test split (--test 0)."
        )
    counted = {SPLITS[one]: int(np.count_nonzero(split.of_N == one)) for one in wanted}
    for chip, of, block in zip(chips, split.of_N.tolist(), split.block_N.tolist(), strict=True):
        for kind, suffix in (("images", ".tif"), ("masks", ".png"), ("instances", ".png")):
            written = part / "all" / kind / (chip.name + suffix)
            if of == LEFT_OUT or not written.exists():
                written.unlink(missing_ok=True)
                continue
            target = part / SPLITS[of] / kind / f"b{block:03}_{written.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            written.replace(target)
    for kind in ("images", "masks", "instances"):
        (part / "all" / kind).rmdir()
    (part / "all").rmdir()
    pixels = pixels_NC[split.of_N != LEFT_OUT].sum(axis=0).tolist()
    of_class = dict(zip((*drawing.classes.names, VOID_CLASS), pixels, strict=True))
    return counted, of_class, int(np.count_nonzero(split.of_N == LEFT_OUT))


def _skipped_in_words(skipped: Counter[str]) -> str:
    return ", ".join(f"{number:,} {REASONS[reason]}" for reason, number in skipped.items())
