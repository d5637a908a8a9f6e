"""One image too large to be labelled at once: read, labelled and written tile by tile, and gone on with after a kill.

Needs the extra `tiff`. Shapes: H, W the image's own size.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.files import shown, write_whole
from pixelwise.data.tiff import TiffImage
from pixelwise.errors import ImageError
from pixelwise.prediction.cutting import OVERLAP_SHARE, Tiles, check_overlap, tile_size
from pixelwise.prediction.image import Model
from pixelwise.prediction.label_tiff import LabelTiff
from pixelwise.prediction.overlay import encode_overlay, overlay
from pixelwise.prediction.tiles import Tiling, label_tiles, tiling
from pixelwise.records import VOID, Pixels

MAX_ROW_BYTES = 2 << 30  # that the rows of pixels under two rows of tiles may take


class ArrayImage:
    """An image that was decoded at once, with the same doors as a TiffImage."""

    def __init__(self, pixels_HW3: Pixels) -> None:
        self.pixels = pixels_HW3
        self.height, self.width = pixels_HW3.shape[:2]
        self.absent, self.place, self.resolution = None, {}, None  # type: ignore[var-annotated]

    def rows(self, first: int, stop: int) -> Pixels:
        return self.pixels[first:stop]

    def absent_within(self, _top: int, _bottom: int) -> list[tuple[slice, slice]]:
        return []

    def close(self) -> None:
        pass


def label_large(
    model: Model,
    path: Path,
    image: TiffImage | ArrayImage,
    outputs: tuple[Path, Path, Path],
    tiles: Tiles,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Label an image tile by tile and write it. Where a run of the same was stopped, it goes on. Closes the image.

    Args:
        path: of the image.
        outputs: label TIFF; overlay PNG, reduced to at most 2048 pixels a side; JSON, written last.
        progress: called with (tiles done, tiles in all).

    Returns:
        What the JSON holds.

    Raises:
        ImageError: part of the image cannot be decoded, or two rows of tiles do not fit into memory.
        UsageError: tiles that overlap by more than a half.
        OutputError: a result cannot be written. What was labelled is kept, to go on from.
        BundleError: the model cannot be run.
    """
    began = time.perf_counter()
    with closing(image):
        plan, why = plan_tiles(model, path, image, tiles)
        size = image.height, image.width
        status = path.stat()
        cut = {
            "tile": [plan.rows.tile_px, plan.columns.tile_px],
            "overlap": [plan.rows.overlap_px, plan.columns.overlap_px],
        }
        about = {
            "file_bytes": status.st_size,
            "file_changed_ns": status.st_mtime_ns,
            "model": model.digest,
            "format": 1,
            **cut,
        }
        with LabelTiff(outputs[0], size, about) as result:
            resumed_at = result.rows_done
            if resumed_at < image.height:
                label_rows(model, image, plan, result, progress)
            result.finish(model.classes, image.place, image.resolution)
            small, small_labels = result.preview()
            counts = result.counts()
    drawn = overlay(small, small_labels, model.classes)
    write_whole(outputs[1], encode_overlay(drawn))
    labelled = max(int(counts.sum() - counts[VOID]), 1)
    facts = {
        "file": shown(path),
        "width": size[1],
        "height": size[0],
        "shares": {name: int(counts[i]) / labelled for i, name in enumerate(model.classes.names)},
        "void": int(counts[VOID]),
        "tiles": {**cut, "count": plan.count, "chosen": why},
        "resumed_at_row": resumed_at,
        "seconds": round(time.perf_counter() - began, 3),
        "model": model.digest,
        "labels": outputs[0].name,
        "overlay": outputs[1].name,
        "overlay_step": result.step,
    }
    write_whole(outputs[2], (json.dumps(facts, ensure_ascii=False, indent=2) + "\n").encode())
    return facts


def plan_tiles(model: Model, path: Path, image: TiffImage | ArrayImage, tiles: Tiles) -> tuple[Tiling, str]:
    """How the image is cut, and why so, in words. Raises UsageError, ImageError."""
    chosen, why = tile_size(model.metadata) if tiles.size is None else (tiles.size, "as asked")
    check_overlap(chosen, tiles.overlap_px)
    if tiles.overlap_px is None:
        overlap = chosen[0] // OVERLAP_SHARE, chosen[1] // OVERLAP_SHARE
    else:
        overlap = tiles.overlap_px, tiles.overlap_px
    if (row_bytes := 2 * chosen[0] * image.width * 3) > MAX_ROW_BYTES:
        raise ImageError(
            f"{shown(path)}: two rows of tiles of {chosen[0]}×{chosen[1]} pixels (height × width) take {row_bytes:,} "
            f"bytes of memory in an image {image.width:,} pixels wide; the limit is {MAX_ROW_BYTES:,}. "
            "Give lower ones with --tile HEIGHTxWIDTH."
        )
    return tiling((image.height, image.width), chosen, overlap), why


def label_rows(
    model: Model,
    image: TiffImage | ArrayImage,
    plan: Tiling,
    result: LabelTiff,
    progress: Callable[[int, int], None],
) -> None:
    """Label what is missing in the result."""
    sampled = Sampler(image, result.step)
    for y, labels in label_tiles(
        plan,
        sampled.rows,
        model.engine.one_threaded().run,
        at_once=model.engine.threads,
        first_row=plan.row_for(result.rows_done),
        absent=image.absent,
        progress=progress,
    ):
        for rows, columns in image.absent_within(y, y + len(labels)):
            labels[rows, columns] = VOID
        known = max(result.rows_done + len(result.waiting) - y, 0)  # rows that a stopped run had finished
        result.add(labels[known:], sampled.picture)
        sampled.forget(result.rows_done)


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
