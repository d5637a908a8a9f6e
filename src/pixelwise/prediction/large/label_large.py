"""Read, label and write a large image tile by tile; a killed run can resume.

Shapes: H, W the image's size; N its bands; P, Q the size of the overlay.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.metadata import Metadata
from pixelwise.errors import ImageError, OutputError
from pixelwise.heap import give_back
from pixelwise.images.declared_no_data import DeclaredNoData, declared_no_data, void_where
from pixelwise.images.false_colour import false_colour
from pixelwise.images.files import shown, utf8, write_whole, writing_whole
from pixelwise.images.no_data import without_data
from pixelwise.prediction.engines.engine import Engine
from pixelwise.prediction.large.blended_scores import BlendedScores
from pixelwise.prediction.large.label_store import LabelStore
from pixelwise.prediction.large.large_outputs import StoredLabels, write_tiff
from pixelwise.prediction.large.layers import PixelLayer, Values, layer_values, layers_for
from pixelwise.prediction.large.rows_of_image import ArrayImage, RowsOfImage
from pixelwise.prediction.large.tile_plan import Tiles, bytes_of_pixel, tiling_of
from pixelwise.prediction.large.tiles import Tiling, label_tiles, not_scored
from pixelwise.prediction.objects_once import ObjectsOnce
from pixelwise.prediction.outputs import LARGE_OUTPUTS
from pixelwise.prediction.overlay import encode_overlay, overlay
from pixelwise.prediction.probability_maps import PROBABILITY_FILES, ProbabilityOptions
from pixelwise.prediction.squares import SQUARE_PX
from pixelwise.records import VOID, Bands, Labels, OnProgress, Pixels, Raster, no_progress

Writers = Mapping[str, Callable[[StoredLabels], Iterable[bytes]]]

MAX_ROW_BYTES = 2 << 30  # for the pixels of two rows of tiles
MAX_PNG_SIDE_PX = 1_000_000  # libpng refuses more, and so do most readers


class LargeResults(NamedTuple):
    """What is written of an image that is labelled tile by tile."""

    # Path of the results, no file extension. `base`.overlay.png is an overlay of at most 2048 pixels a side;
    # `base`.json, written last, describes the run.
    base: Path
    files: Mapping[str, Path]  # key of LARGE_OUTPUTS or PROBABILITY_FILES → file; labels in a .tif become a TIFF
    name: str = ""  # the image's name in COCO and GeoJSON; "": the file's name
    probabilities: ProbabilityOptions = ProbabilityOptions()
    writers: Writers = MappingProxyType({})  # of files on a map, in place of LARGE_OUTPUTS
    objects: ObjectsOnce | None = None  # for outputs that need them


def label_large(
    engine: Engine,
    path: Path,
    image: RowsOfImage,
    results: LargeResults,
    tiles: Tiles,
    *,
    progress: OnProgress = no_progress,
) -> dict[str, Any]:
    """Label an image tile by tile and write the results. Resumes a stopped run. Closes the image.

    Args:
        path: the image file.
        progress: called with (tiles done, total tiles).

    Returns:
        The content of `base`.json.

    Raises:
        ImageError: part of the image cannot be decoded, two rows of tiles do not fit into memory, or it is too long
            for a PNG.
        UsageError: tiles that overlap by more than half.
        OutputError: a result cannot be written. Finished labels are kept, so that the run can resume.
        BundleError: the model cannot run.
    """
    began, size, base = time.perf_counter(), (image.height, image.width), results.base
    classes, digest = engine.bundle.metadata.classes, engine.bundle.digest
    with closing(image):
        wanted, borders = [*results.files, *needed_by(results.writers)], len(engine.bundle.metadata.separate)
        layers = layers_for(wanted, results.probabilities, classes.names, borders)
        plan, reason = plan_tiles(engine, path, image, tiles, layers)
        refuse_long_png(path, size, results.files)
        cut = {
            "tile": [plan.rows.tile_px, plan.columns.tile_px],
            "overlap": [plan.rows.overlap_px, plan.columns.overlap_px],
        }
        status = path.stat()
        about = {"file_bytes": status.st_size, "file_changed_ns": status.st_mtime_ns, "model": digest, "format": 3}
        with LabelStore(base, size, about | cut, layers) as store:
            resumed_at = store.rows_done
            if resumed_at < image.height:
                declared = None  # bands of other depths hold NaN, and arrays know it
                if engine.bundle.metadata.bands.dtype == "uint8" and not isinstance(image, ArrayImage):
                    declared = declared_no_data(path, engine.bundle.metadata.bands)
                with declared or nullcontext():
                    label_rows(engine, image, plan, store, progress, declared)
            name = results.name or path.name
            stored = StoredLabels(store, classes, name, image.place, image.resolution, image, path, results.objects)
            give_back()
            write_results(stored, results.files, results.writers)
            small, small_labels = store.preview()
            write_whole(with_ending(base, ".overlay.png"), encode_overlay(overlay(small, small_labels, classes)))
            counts = store.counts()
            labelled = max(int(counts.sum() - counts[VOID]), 1)
            facts = {
                "file": shown(path),
                "width": size[1],
                "height": size[0],
                "shares": {name: int(counts[i]) / labelled for i, name in enumerate(classes.names)},
                "void": int(counts[VOID]),
                "tiles": {**cut, "count": plan.count, "chosen": reason},
                "resumed_at_row": resumed_at,
                "seconds": round(time.perf_counter() - began, 3),
                "model": digest,
                "saved": {key: shown(result.name) for key, result in results.files.items()},
                "overlay_step": store.step,
            }
            write_whole(with_ending(base, ".json"), utf8(json.dumps(facts, ensure_ascii=False, indent=2) + "\n"))
            store.remove()
    return facts


def needed_by(writers: Writers) -> list[str]:
    """Polygons on a map have a mean confidence; those in pixels have none."""
    return ["confidence"] if "geojson" in writers else []


def with_ending(base: Path, suffix: str) -> Path:
    """The file NAME + suffix; unlike `with_suffix` it keeps other dots in the name."""
    return base.with_name(base.name + suffix)


def refuse_long_png(path: Path, size: tuple[int, int], results: Mapping[str, Path]) -> None:
    if max(size) > MAX_PNG_SIDE_PX and any(result.suffix == ".png" for result in results.values()):
        raise ImageError(
            f"{shown(path)}: {size[1]:,}×{size[0]:,} pixels; few programs read a PNG of more than {MAX_PNG_SIDE_PX:,} "
            "pixels a side. Save numpy, coco or geojson; or convert the image to TIFF, whose labels become a TIFF."
        )


def plan_tiles(
    engine: Engine, path: Path, image: RowsOfImage, tiles: Tiles, layers: Sequence[PixelLayer]
) -> tuple[Tiling, str]:
    """The tiles, and the reason for their size. Raises UsageError, ImageError."""
    metadata = engine.bundle.metadata
    plan, reason = tiling_of(metadata, (image.height, image.width), tiles)
    height, width = plan.rows.tile_px, plan.columns.tile_px
    row_bytes = 2 * height * image.width * bytes_of_pixel(metadata.bands)
    if layers:
        row_bytes += scores_bytes(metadata, plan)
    if row_bytes > MAX_ROW_BYTES:
        what = "and their scores take" if layers else "take"
        raise ImageError(
            f"{shown(path)}: two rows of tiles of {height}×{width} pixels (height × width) {what} {row_bytes:,} bytes "
            f"of memory in an image {image.width:,} pixels wide; the limit is {MAX_ROW_BYTES:,}. Choose smaller tiles "
            "with --tile HEIGHTxWIDTH."
        )
    return plan, reason


def scores_bytes(metadata: Metadata, plan: Tiling) -> int:
    """The memory of the scores that a row of squares needs."""
    tile = plan.rows.tile_px, plan.columns.tile_px
    height, width = tile if metadata.policy == "native" else metadata.size
    rows_of_tiles = SQUARE_PX // max(plan.rows.tile_px - plan.rows.overlap_px, 1) + 2
    one = len(metadata.classes) * (height // metadata.stride) * (width // metadata.stride) * 4
    return one * len(plan.columns.starts) * min(rows_of_tiles, len(plan.rows.starts))


def label_rows(
    engine: Engine,
    image: RowsOfImage,
    plan: Tiling,
    store: LabelStore,
    progress: OnProgress,
    declared: DeclaredNoData | None = None,
) -> None:
    """Label the rows that the store lacks. `declared`: where the image's file holds its no-data value."""
    metadata = engine.bundle.metadata
    sampled = Sampler(image, store.step, metadata.bands)
    classes, borders = len(metadata.classes), len(metadata.separate)
    blended = BlendedScores(plan, classes + borders)

    def values_of(rows: slice, columns: slice, labels_RQ: Labels) -> list[Values]:
        return layer_values(blended.scores(rows, columns), labels_RQ, store.layers, metadata.temperature, borders)

    for y, labels in label_tiles(
        plan,
        sampled.rows,
        engine.one_threaded().run_all,
        at_once=engine.threads,
        first_row=plan.row_for(store.rows_done),
        absent=image.absent,
        progress=progress,
        scored=blended.add if store.layers else not_scored,
    ):
        for rows, columns in image.absent_within(y, y + len(labels)):
            labels[rows, columns] = VOID
        sampled.void_without_data(y, labels)
        if declared is not None:
            labels[:] = void_where(labels, declared.window(y, 0, *labels.shape))
        known = max(store.rows_done + len(store.waiting) - y, 0)  # rows that a stopped run finished
        store.add(labels[known:], sampled.picture, values_of)
        sampled.forget(store.rows_done)
        blended.forget(store.rows_done)


def write_results(source: StoredLabels, results: Mapping[str, Path], writers: Writers) -> None:
    """Write every result, each whole or not at all. Raises OutputError."""
    for key, result in results.items():
        try:
            result.parent.mkdir(parents=True, exist_ok=True)
            with writing_whole(result) as file:
                if key in writers:
                    file.writelines(writers[key](source))
                elif key in PROBABILITY_FILES:
                    PROBABILITY_FILES[key](source.probability_maps(), file)
                elif key == "labels" and result.suffix == ".tif":
                    write_tiff(source, file)
                else:
                    file.writelines(LARGE_OUTPUTS[key](source))
        except OSError as error:
            raise source.store.unwritable(error) from error
        except OutputError as error:
            raise OutputError(f"{error} {source.store.kept()}") from error.__cause__
        give_back()  # what one output needed must not add to the peak of the next


class Sampler:
    """Reads rows; keeps every `step`-th pixel for the overlay, and which pixels have no data."""

    def __init__(self, image: RowsOfImage, step: int, bands: Bands) -> None:
        self.image, self.step, self.bands = image, step, bands
        self.picture: dict[int, Pixels] = {}
        self.missing: dict[int, NDArray[np.uint8]] = {}  # rows with pixels without data, one bit per pixel
        self.lock = threading.Lock()  # rows are read in another thread

    def rows(self, first: int, stop: int) -> Raster:
        pixels_HWN = self.image.rows(first, stop)
        missing_HW = without_data(pixels_HWN)
        with self.lock:
            for y in range(-(-first // self.step) * self.step, stop, self.step):
                self.picture[y] = false_colour(pixels_HWN[y - first : y - first + 1, :: self.step], self.bands)[
                    0
                ].copy()
            if missing_HW is not None:
                self.missing |= {first + int(y): np.packbits(missing_HW[y]) for y in np.flatnonzero(missing_HW.any(1))}
        return pixels_HWN

    def void_without_data(self, top: int, labels_HW: Labels) -> None:
        """Make finished labels void where the image has no data."""
        with self.lock:
            missing = {y: self.missing.pop(y) for y in range(top, top + len(labels_HW)) if y in self.missing}
        for y, bits in missing.items():
            labels_HW[y - top][np.unpackbits(bits, count=labels_HW.shape[1]).view(np.bool_)] = VOID

    def forget(self, before: int) -> None:
        with self.lock:
            for y in [y for y in self.picture if y < before]:
                del self.picture[y]
