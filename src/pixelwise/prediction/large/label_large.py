"""One image too large to be labelled at once: read, labelled and written tile by tile, and resumed after a kill.

Shapes: H, W the image's own size.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelwise.errors import ImageError, OutputError
from pixelwise.images.dropped_content import DroppedContent
from pixelwise.images.files import shown, utf8, write_whole, writing_whole
from pixelwise.prediction.engines.engine import Engine
from pixelwise.prediction.large.label_store import LabelStore
from pixelwise.prediction.large.large_outputs import LARGE_OUTPUTS, Source, write_tiff
from pixelwise.prediction.large.tile_plan import Tiles, tiling_of
from pixelwise.prediction.large.tiles import Tiling, label_tiles
from pixelwise.prediction.overlay import encode_overlay, overlay
from pixelwise.records import VOID, Pixels

if TYPE_CHECKING:
    from pixelwise.images.tiff import TiffImage

MAX_ROW_BYTES = 2 << 30  # that the rows of pixels under two rows of tiles may take
MAX_PNG_SIDE_PX = 1_000_000  # libpng refuses more, and with it most readers


class ArrayImage:
    """An image that was decoded at once, with the same doors as a TiffImage."""

    def __init__(self, pixels_HW3: Pixels) -> None:
        self.pixels = pixels_HW3
        self.height, self.width = pixels_HW3.shape[:2]
        self.absent, self.place, self.resolution = None, {}, None  # type: ignore[var-annotated]
        self.dropped: tuple[DroppedContent, ...] = ()  # whoever decoded it knows

    def rows(self, first: int, stop: int) -> Pixels:
        return self.pixels[first:stop]

    def absent_within(self, _top: int, _bottom: int) -> list[tuple[slice, slice]]:
        return []

    def close(self) -> None:
        pass


def label_large(
    engine: Engine,
    path: Path,
    image: TiffImage | ArrayImage,
    base: Path,
    results: Mapping[str, Path],
    tiles: Tiles,
    *,
    name: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Label an image tile by tile and write it. Where a run of the same was stopped, it goes on. Closes the image.

    Args:
        path: of the image.
        base: of the results, without an ending: `base`.overlay.png shows the image, reduced to at most 2048 pixels a
            side, under its labels, and `base`.json, written last, says what was done.
        results: keys of LARGE_OUTPUTS → the files that they go to; labels that end in .tif become a TIFF.
        name: of the image, as COCO and GeoJSON say it. None: the file's.
        progress: called with (tiles done, tiles in all).

    Returns:
        What the JSON holds.

    Raises:
        ImageError: part of the image cannot be decoded, two rows of tiles do not fit into memory, or it is too long
            for a PNG.
        UsageError: tiles that overlap by more than a half.
        OutputError: a result cannot be written. What was labelled is kept, to go on from.
        BundleError: the model cannot be run.
    """
    began, classes = time.perf_counter(), engine.bundle.metadata.classes
    with closing(image):
        plan, why = plan_tiles(engine, path, image, tiles)
        size = image.height, image.width
        refuse_long_png(path, size, results)
        status = path.stat()
        cut = {
            "tile": [plan.rows.tile_px, plan.columns.tile_px],
            "overlap": [plan.rows.overlap_px, plan.columns.overlap_px],
        }
        about = {
            "file_bytes": status.st_size,
            "file_changed_ns": status.st_mtime_ns,
            "model": engine.bundle.digest,
            "format": 2,
            **cut,
        }
        with LabelStore(base, size, about) as store:
            resumed_at = store.rows_done
            if resumed_at < image.height:
                label_rows(engine, image, plan, store, progress)
            write_large_results(
                store, Source(store, classes, name or path.name, image.place, image.resolution), results
            )
            small, small_labels = store.preview()
            counts = store.counts()
            drawn = overlay(small, small_labels, classes)
            write_whole(ending(base, ".overlay.png"), encode_overlay(drawn))
            labelled = max(int(counts.sum() - counts[VOID]), 1)
            facts = {
                "file": shown(path),
                "width": size[1],
                "height": size[0],
                "shares": {
                    name: int(counts[i]) / labelled for i, name in enumerate(engine.bundle.metadata.classes.names)
                },
                "void": int(counts[VOID]),
                "tiles": {**cut, "count": plan.count, "chosen": why},
                "resumed_at_row": resumed_at,
                "seconds": round(time.perf_counter() - began, 3),
                "model": engine.bundle.digest,
                "saved": {key: shown(result.name) for key, result in results.items()},
                "overlay_step": store.step,
            }
            write_whole(ending(base, ".json"), utf8(json.dumps(facts, ensure_ascii=False, indent=2) + "\n"))
            store.let_go()
    return facts


def write_large_results(store: LabelStore, source: Source, results: Mapping[str, Path]) -> None:
    """Write each result, whole or not at all, from the stored labels.

    Raises:
        OutputError: one cannot be written; the labels are kept.
    """
    for key, result in results.items():
        write = write_tiff if result.suffix == ".tif" else LARGE_OUTPUTS[key]
        try:
            result.parent.mkdir(parents=True, exist_ok=True)
            with writing_whole(result) as file:
                write(source, file)
        except OSError as error:
            raise store.unwritable(error) from error
        except OutputError as error:
            raise OutputError(f"{error} {store.kept()}") from error.__cause__


def ending(base: Path, suffix: str) -> Path:
    """The file NAME + suffix; unlike `with_suffix` it keeps other dots in the name."""
    return base.with_name(base.name + suffix)


def refuse_long_png(path: Path, size: tuple[int, int], results: Mapping[str, Path]) -> None:
    if max(size) > MAX_PNG_SIDE_PX and any(result.suffix == ".png" for result in results.values()):
        raise ImageError(
            f"{shown(path)}: {size[1]:,}×{size[0]:,} pixels; few programs read a PNG with over {MAX_PNG_SIDE_PX:,} "
            "a side. Save numpy, coco or geojson; or save the image as TIFF, whose labels become a TIFF."
        )


def plan_tiles(engine: Engine, path: Path, image: TiffImage | ArrayImage, tiles: Tiles) -> tuple[Tiling, str]:
    """How the image is cut, and why so, in words. Raises UsageError, ImageError."""
    plan, why = tiling_of(engine.bundle.metadata, (image.height, image.width), tiles)
    chosen = plan.rows.tile_px, plan.columns.tile_px
    if (row_bytes := 2 * chosen[0] * image.width * 3) > MAX_ROW_BYTES:
        raise ImageError(
            f"{shown(path)}: two rows of tiles of {chosen[0]}×{chosen[1]} pixels (height × width) take {row_bytes:,} "
            f"bytes of memory in an image {image.width:,} pixels wide; the limit is {MAX_ROW_BYTES:,}. "
            "Give lower ones with --tile HEIGHTxWIDTH."
        )
    return plan, why


def label_rows(
    engine: Engine,
    image: TiffImage | ArrayImage,
    plan: Tiling,
    store: LabelStore,
    progress: Callable[[int, int], None],
) -> None:
    """Label what is missing in the store."""
    sampled = Sampler(image, store.step)
    for y, labels in label_tiles(
        plan,
        sampled.rows,
        engine.one_threaded().run,
        at_once=engine.threads,
        first_row=plan.row_for(store.rows_done),
        absent=image.absent,
        progress=progress,
    ):
        for rows, columns in image.absent_within(y, y + len(labels)):
            labels[rows, columns] = VOID
        known = max(store.rows_done + len(store.waiting) - y, 0)  # rows that a stopped run had finished
        store.add(labels[known:], sampled.picture)
        sampled.forget(store.rows_done)


class Sampler:
    """Reads rows, and remembers every n-th pixel of them for the overlay."""

    def __init__(self, image: TiffImage | ArrayImage, step: int) -> None:
        self.image, self.step = image, step
        self.picture: dict[int, Pixels] = {}
        self.lock = threading.Lock()  # rows are read in a thread of their own

    def rows(self, first: int, stop: int) -> Pixels:
        pixels_HW3 = self.image.rows(first, stop)
        with self.lock:
            for y in range(-(-first // self.step) * self.step, stop, self.step):
                self.picture[y] = np.ascontiguousarray(pixels_HW3[y - first, :: self.step])
        return pixels_HW3

    def forget(self, before: int) -> None:
        with self.lock:
            for y in [y for y in self.picture if y < before]:
                del self.picture[y]
