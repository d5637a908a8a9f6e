"""An image of any size in memory → its labels and scores, in bounded memory.

The network labels up to `tile_plan.WHOLE_PIXELS` at once. A larger image is cut into tiles as a file of that size is,
with the same labels, and the tiles' scores are assembled into one map.

Shapes: H, W the image's size; N bands; C classes; h, w the size of the scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.metadata import Metadata
from pixelwise.heap import LARGE_PIXELS, give_back
from pixelwise.prediction.engines.engine import Engine
from pixelwise.prediction.large.tile_plan import Tiles, is_cut, tiling_of
from pixelwise.prediction.large.tiles import Run, TileAxis, Tiling, label_tiles, neighbours_in
from pixelwise.records import Labels, Prediction, Raster, Scores

MOSAIC_VALUES = 1 << 24  # scores of an assembled map: 64 MB


def run_bounded(engine: Engine, image_HWN: Raster, run: Run | None = None) -> tuple[Labels, Scores]:
    """As `run_bounded_all`, without the maps of borders. `run`: runs the network, and gives none."""
    labels_HW, scores_Mhw = run_bounded_all(engine, image_HWN, run)
    return labels_HW, scores_Mhw[: len(engine.bundle.metadata.classes)]


def run_bounded_all(engine: Engine, image_HWN: Raster, run: Run | None = None) -> tuple[Labels, Scores]:
    """Label one image of any size.

    Args:
        image_HWN: as the bundle takes it, contiguous.
        run: runs the network on the image or, one after the other, on its tiles; None: the engine does.

    Returns:
        labels uint8 [H, W] and scores float32 [C, h, w], followed by the probabilities of borders where the bundle
        separates objects: the network's, or those of the tiles, assembled to at most MOSAIC_VALUES.

    Raises:
        BundleError: the network cannot be run on it.
    """
    size = image_HWN.shape[0], image_HWN.shape[1]
    metadata = engine.bundle.metadata
    if not is_cut(size, metadata.policy, metadata.bands):
        result = (run or engine.run_all)(image_HWN)
    else:
        plan, _ = tiling_of(metadata, size, Tiles())
        at_once = 1 if run else engine.threads
        result = labelled_in_tiles(plan, run or engine.one_threaded().run_all, image_HWN, at_once=at_once)
    if size[0] * size[1] > LARGE_PIXELS:
        give_back()
    return result


def labelled_in_tiles(plan: Tiling, run: Run, image_HWN: Raster, *, at_once: int = 1) -> tuple[Labels, Scores]:
    """Labels [H, W] of an image in memory, and the assembled scores. `run`, `at_once`: as in `label_tiles`."""
    labels_HW = np.empty(image_HWN.shape[:2], np.uint8)
    mosaic = Mosaic(plan.rows, plan.columns)
    for y, labels in label_tiles(
        plan, lambda first, stop: image_HWN[first:stop], run, at_once=at_once, scored=mosaic.add
    ):
        labels_HW[y : y + len(labels)] = labels
    assert mosaic.scores is not None
    return labels_HW, mosaic.scores


def prediction_of(
    metadata: Metadata, labels_HW: Labels, maps_Mhw: Scores, temperature: float | None = None
) -> Prediction:
    """A prediction of labels and the maps of `run_bounded_all`. `temperature`: None: the bundle's."""
    classes = metadata.classes
    borders = maps_Mhw[len(classes) :] if metadata.separate else None
    return Prediction(
        labels_HW,
        maps_Mhw[: len(classes)],
        classes,
        metadata.temperature if temperature is None else temperature,
        borders,
        tuple(map(classes.names.index, metadata.separate)),
    )


class Mosaic:
    """Scores of an image, assembled from its tiles."""

    def __init__(self, rows: TileAxis, columns: TileAxis) -> None:
        self.rows, self.columns = rows, columns
        self.scores: Scores | None = None

    def add(self, row: int, column: int, scores_Chw: Scores) -> None:
        """Copy the scores of tile (row, column), up to the middle of the seams around it."""
        if self.scores is None:
            self.scores = self.blank(scores_Chw)
        _, height, width = self.scores.shape
        into_y, upper, lower, down = places(self.rows, row, height, scores_Chw.shape[1])
        into_x, left, right, across = places(self.columns, column, width, scores_Chw.shape[2])
        part_Cyw = scores_Chw[:, upper] + (scores_Chw[:, lower] - scores_Chw[:, upper]) * down[:, None]
        first_Cyx = part_Cyw[:, :, left]
        self.scores[:, into_y, into_x] = first_Cyx + (part_Cyw[:, :, right] - first_Cyx) * across

    def blank(self, scores_Chw: Scores) -> Scores:
        """An empty map at the resolution of the tiles' scores, or a lower one if that is too large."""
        classes, h, w = scores_Chw.shape
        height = self.rows.length_px * h / self.rows.tile_px
        width = self.columns.length_px * w / self.columns.tile_px
        finer = min((MOSAIC_VALUES / (classes * height * width)) ** 0.5, 1)
        return np.zeros((classes, max(int(height * finer), 1), max(int(width * finer), 1)), np.float32)


def places(
    axis: TileAxis, tile: int, total: int, length: int
) -> tuple[slice, NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Along one axis: which of `total` positions of the map show a tile, between which two of the tile's `length`
    positions each lies, and how far from the first to the second."""
    middles = [0, *((begin + end) / 2 for begin, end in axis.seams), axis.length_px]
    centres = (np.arange(total) + 0.5) * axis.length_px / total
    first, stop = np.searchsorted(centres, middles[tile : tile + 2])
    before, behind, share = neighbours_in(axis.tile_px, length)
    pixels = (centres[first:stop] - axis.starts[tile]).astype(np.intp)
    return slice(int(first), int(stop)), before[pixels], behind[pixels], share[pixels]
