"""Tiling knows no model: everything here is shown with functions in a model's place.

Shapes: H, W the image's own size; T, U a tile's; C classes; h, w the size of a tile's scores.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.prediction.large.tiles import Run, Tiling, label_tiles, tiles_along, tiling
from pixelwise.records import Labels, Pixels, Scores

sides = st.integers(1, 90)


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int]:
    """An image's side, a tile's, and an overlap, in pixels."""
    tile = draw(st.integers(2, 60))
    return draw(sides), tile, draw(st.integers(0, tile // 2))


def network(scores_of: Any, classes: int = 3, stride: int = 2) -> Run:
    """A network whose scores at each of its places are `scores_of` the mean colour there."""

    def run(tile_TU3: Pixels) -> tuple[Labels, Scores]:
        height, width = tile_TU3.shape[:2]
        small = cv2.resize(tile_TU3, (-(-width // stride), -(-height // stride)), interpolation=cv2.INTER_AREA)
        scores = np.ascontiguousarray(scores_of(small.astype(np.float32)).transpose(2, 0, 1)[:classes])
        return enlarged(scores, height, width).argmax(axis=0).astype(np.uint8), scores

    return run


def enlarged(scores_Chw: Scores, height: int, width: int) -> Scores:
    """Bilinear, pixel centres at half-integers, edges clamped: written out, to check the look-up against."""
    _, h, w = scores_Chw.shape
    y = np.clip((np.arange(height) + 0.5) * h / height - 0.5, 0, h - 1)
    x = np.clip((np.arange(width) + 0.5) * w / width - 0.5, 0, w - 1)
    y0, x0 = y.astype(int), x.astype(int)
    fy, fx = (y - y0)[:, None], x - x0
    y1, x1 = np.minimum(y0 + 1, h - 1), np.minimum(x0 + 1, w - 1)
    left = scores_Chw[:, y0][:, :, x0] * (1 - fx) + scores_Chw[:, y0][:, :, x1] * fx
    right = scores_Chw[:, y1][:, :, x0] * (1 - fx) + scores_Chw[:, y1][:, :, x1] * fx
    return left * (1 - fy) + right * fy


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def stitched(plan: Tiling, image_HW3: Pixels, run: Run, **options: Any) -> Labels:
    """All rows that come, checked to come in order and without gaps."""
    rows: list[Labels] = []
    at = 0
    for y, labels in label_tiles(plan, lambda first, stop: image_HW3[first:stop], run, **options):
        assert y == at
        at += len(labels)
        rows.append(labels.copy())
    return np.concatenate(rows)


@settings(max_examples=50, deadline=None)
@given(axes())
def test_tiles_cover_an_axis_and_no_pixel_lies_in_two_seams(axis: tuple[int, int, int]) -> None:
    length, tile, overlap = axis
    parts = tiles_along(length, tile, overlap)
    assert parts.starts[0] == 0
    assert parts.starts[-1] + tile == length or len(parts.starts) == 1
    assert len(parts.seams) == len(parts.starts) - 1
    edges = [0, *(edge for seam in parts.seams for edge in seam), length]
    assert edges == sorted(edges)
    for number, (begin, end) in enumerate(parts.seams):
        assert parts.starts[number + 1] <= begin
        assert end <= parts.starts[number] + tile
        assert parts.starts[number] + tile - parts.starts[number + 1] >= overlap
    weight = parts.weights()
    assert ((weight >= 0) & (weight < 1)).all()


@pytest.mark.parametrize(("length", "tile", "overlap"), [(0, 8, 2), (9, 0, 0), (9, 8, 5), (9, 8, -1)])
def test_tiles_that_make_no_sense_are_refused(length: int, tile: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="px in tiles of"):
        tiles_along(length, tile, overlap)


@settings(max_examples=30, deadline=None)
@given(axes(), axes(), st.integers(0, 3))
def test_a_constant_network_stitches_to_a_constant_image(
    rows: tuple[int, int, int], columns: tuple[int, int, int], label: int
) -> None:
    size, tile, overlap = zip(rows, columns, strict=True)
    plan = tiling(size, tile, overlap)

    def run(tile_TU3: Pixels) -> tuple[Labels, Scores]:
        assert tile_TU3.shape == (*tile, 3)
        scores = np.zeros((4, 5, 7), np.float32)
        scores[label] = 1
        return np.full(tile, label, np.uint8), scores

    assert (stitched(plan, noise(*size), run) == label).all()
    assert stitched(plan, noise(*size), run).shape == size


@settings(max_examples=30, deadline=None)
@given(axes(), axes())
def test_a_network_that_looks_at_one_pixel_gives_the_untiled_labels(
    rows: tuple[int, int, int], columns: tuple[int, int, int]
) -> None:
    size, tile, overlap = zip(rows, columns, strict=True)
    image = noise(*size)
    run = network(lambda colours: colours, stride=1)
    assert (stitched(tiling(size, tile, overlap), image, run) == image.argmax(axis=2)).all()


def test_a_network_that_looks_around_gives_the_untiled_labels_where_its_view_is_not_cut() -> None:
    image = cv2.GaussianBlur(noise(150, 210), (0, 0), 3)
    reach = 10  # px; the filter below sees so far
    smooth = network(lambda colours: cv2.blur(colours, (2 * reach + 1,) * 2), stride=1)
    whole, _ = smooth(image)
    plan = tiling((150, 210), (64, 64), (24, 24))
    labels = stitched(plan, image, smooth)
    near_cut = np.zeros((150, 210), bool)  # where a tile that counts is cut off within the network's reach
    for axis, cuts in ((plan.rows, near_cut), (plan.columns, near_cut.T)):
        for number, (begin, end) in enumerate(axis.seams):
            cuts[begin : min(axis.starts[number + 1] + reach, end)] = True
            cuts[max(axis.starts[number] + 64 - reach, begin) : end] = True
    assert (labels == whole)[~near_cut].all()
    assert 0.05 < near_cut.mean() < 0.9  # it says something on both sides
    assert (labels == whole).mean() > 0.97  # and near the cuts, too, blending is close


@settings(max_examples=25, deadline=None)
@given(axes(), axes(), st.integers(1, 4), st.integers(0, 1000))
def test_labels_are_those_of_blended_full_resolution_scores(
    rows: tuple[int, int, int], columns: tuple[int, int, int], stride: int, seed: int
) -> None:
    """Looking disagreeing pixels up, against blending everything, for a network that answers each tile anew."""
    size, tile, overlap = zip(rows, columns, strict=True)
    plan = tiling(size, tile, overlap)
    answers: list[Scores] = []
    rng = np.random.default_rng(seed)

    def run(_tile: Pixels) -> tuple[Labels, Scores]:
        scores = rng.normal(size=(3, -(-tile[0] // stride), -(-tile[1] // stride))).astype(np.float32)
        answers.append(scores)
        return enlarged(scores, *tile).argmax(axis=0).astype(np.uint8), scores

    labels = stitched(plan, noise(*size), run)
    total = np.zeros((3, *size))
    weights = []
    for axis in (plan.rows, plan.columns):
        weight = axis.weights()
        first = np.searchsorted([end for _, end in axis.seams], np.arange(axis.length_px), side="right")
        own = np.zeros((len(axis.starts), axis.length_px))
        own[first, np.arange(axis.length_px)] = 1 - weight
        blended = np.flatnonzero(weight)
        own[first[blended] + 1, blended] = weight[blended]
        assert np.allclose(own.sum(axis=0), 1)
        weights.append(own)
    for number, scores in enumerate(answers):
        row, column = divmod(number, len(plan.columns.starts))
        y, x = plan.rows.starts[row], plan.columns.starts[column]
        height, width = min(tile[0], size[0] - y), min(tile[1], size[1] - x)
        share = weights[0][row, y : y + height, None] * weights[1][column, x : x + width]
        total[:, y : y + height, x : x + width] += share * enlarged(scores, *tile)[:, :height, :width]
    ordered = np.sort(total, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-4  # elsewhere rounding decides
    assert (labels == total.argmax(axis=0))[clear].all()


def test_going_on_from_any_row_of_tiles_gives_the_same_labels() -> None:
    image = noise(200, 130)
    plan = tiling((200, 130), (48, 40), (16, 12))
    run = network(lambda colours: cv2.blur(colours, (9, 9)), stride=2)
    whole = stitched(plan, image, run)
    for y in range(0, 200, 7):
        first = plan.row_for(y)
        parts = list(label_tiles(plan, lambda a, b: image[a:b], run, first_row=first))
        assert parts[0][0] <= y
        assert (np.concatenate([labels for _, labels in parts]) == whole[parts[0][0] :]).all()


@pytest.mark.parametrize("size", [(200, 130), (200, 30), (20, 30)])
@pytest.mark.parametrize("at_once", [2, 3, 7])
def test_several_tiles_at_once_give_the_same_labels_whichever_ends_first(size: tuple[int, int], at_once: int) -> None:
    image = noise(*size)
    plan = tiling(size, (48, 40), (16, 12))
    plain = network(lambda colours: cv2.blur(colours, (9, 9)), stride=2)
    running = threading.Semaphore(at_once)

    def run(tile_TU3: Pixels) -> tuple[Labels, Scores]:
        assert running.acquire(blocking=False)
        time.sleep(int(tile_TU3[0, 0, 0]) / 255 * 0.01)
        answer = plain(tile_TU3)
        running.release()
        return answer

    assert (stitched(plan, image, run, at_once=at_once) == stitched(plan, image, plain)).all()


def test_rows_are_read_once_and_memory_holds_few_of_them() -> None:
    asked: list[tuple[int, int]] = []

    def rows(first: int, stop: int) -> Pixels:
        asked.append((first, stop))
        return np.zeros((stop - first, 64, 3), np.uint8)

    plan = tiling((1000, 64), (50, 64), (10, 0))
    for _ in label_tiles(plan, rows, lambda tile: (np.zeros((50, 64), np.uint8), np.zeros((2, 25, 32), np.float32))):
        pass
    assert [stop for _, stop in asked[:-1]] == [first for first, _ in asked[1:]]
    assert (asked[0][0], asked[-1][1]) == (0, 1000)
    assert max(stop - first for first, stop in asked) <= 50


def test_what_reading_or_the_network_raises_comes_through() -> None:
    plan = tiling((100, 100), (32, 32), (8, 8))

    def broken(first: int, _stop: int) -> Pixels:
        if first:
            raise OSError("gone")
        return np.zeros((32, 100, 3), np.uint8)

    answer = np.zeros((32, 32), np.uint8), np.zeros((2, 4, 4), np.float32)
    with pytest.raises(OSError, match="gone"):
        list(label_tiles(plan, broken, lambda tile: answer))


def test_tiles_of_which_there_is_nothing_are_not_run() -> None:
    plan = tiling((64, 96), (32, 32), (8, 8))
    runs: list[int] = []

    def run(_tile: Pixels) -> tuple[Labels, Scores]:
        runs.append(1)
        return np.ones((32, 32), np.uint8), np.stack([np.zeros((8, 8)), np.ones((8, 8))]).astype(np.float32)

    labels = stitched(plan, noise(64, 96), run, absent=lambda top, bottom, left, right: right <= 64)
    assert (labels[:, 64:] == 1).all()
    assert (labels[:, :30] == 255).all()
    assert 0 < len(runs) < plan.count
