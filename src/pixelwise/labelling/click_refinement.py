"""Many clicks → one object, by what each pixel looks like: the assistant's classifier, fitted again at each click.

An object that two clicks have not given is seldom one region of the merge tree: a street is many, a tree's crown and
the shop behind it may be one. The clicks then count as small strokes on the object and beside it. Some pixels inside
and around the region so far count a little, too, so that what no click contradicts mostly stays as it is.

Shapes: H, W the image's size; h, w the size of the view, which may be smaller; P samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from pixelwise.labelling.click_points import Click
from pixelwise.labelling.patch import Mask, Window
from pixelwise.labelling.pixel_classifier import fit_classifier, targets_of
from pixelwise.labelling.pixel_features import FeatureGrid
from pixelwise.labelling.refine_edges import best_of
from pixelwise.labelling.stroke_samples import StrokeSamples, joined, moved, spread
from pixelwise.labelling.window_view import WindowView

DISC_PX = 3  # radius of the stroke that a click stands for
STEP_PX = 2  # between its samples
MOST_CLICKS = 24  # the last ones: earlier ones keep their pixels
CLICKED_PX = 2  # radius of what a click decides alone
AROUND = 0.5  # how far around the region it may grow: a share of its longer side, and
AROUND_PX = 20
WEAK = 80  # samples inside the region, and as many around it
WEAK_WEIGHT = 3.0  # of those of one side together, where a click weighs 1
OUTLINE_PX = 3  # no weak samples so near the outline
DOUBTED = 0.25  # of the root of the region's area: none so near a click that contradicts them
TARGET = 6.0  # as the assistant's sharpness


def refined_region(view: WindowView, clicks: Sequence[Click], before_HW: Mask) -> Mask:
    """The region after the last of the clicks, which says that the one before it is wrong: bool [H, W].

    Args:
        view: of all of the image.
        clicks: in order, at least one positive.
        before_HW: the region that all but the last of them gave.
    """
    size = view.guide.shape
    here = [Click(int(one.x * view.scale), int(one.y * view.scale), one.positive) for one in clicks]
    before_hw = with_clicks(resized(before_HW, size), here)
    found = Window.around(before_hw)
    if found is None:  # the only positive click's pixel was clicked away
        return with_clicks(before_HW, clicks, 0)
    area = whole_places(found.grown(int(max(found.w, found.h) * AROUND) + AROUND_PX).clipped(*size), view)
    samples = joined([click_samples(here, size), *weak_samples(here, before_hw, area)])
    features_PF = view.features.at(samples.ys, samples.xs)
    targets_PK = targets_of(samples.keys, (0, 1)) * TARGET
    fitted = fit_classifier(features_PF, moved(samples, area, 1), targets_PK, view.grid, max(size))
    scores_Khw = fitted.scores(part_of(view.grid, area))
    inside_hw = np.zeros(size, np.bool_)
    inside_hw[area.slices] = best_of(scores_Khw, np.ascontiguousarray(view.guide[area.slices])) == 1
    inside_HW = resized(connected(with_clicks(inside_hw, here), here), before_HW.shape)
    return with_clicks(inside_HW, clicks, 0)


def with_clicks(inside: Mask, clicks: Sequence[Click], radius: int = CLICKED_PX) -> Mask:
    """The region with each click on its side, and what lies nearest around it; of two that are near, the later counts
    there, but each has its own pixel."""
    drawn = inside.astype(np.uint8)
    for one in clicks:
        cv2.circle(drawn, (one.x, one.y), radius, int(one.positive), -1)
    for one in clicks:
        drawn[one.y, one.x] = one.positive
    return drawn > 0


def resized(inside: Mask, size: tuple[int, ...]) -> Mask:
    if inside.shape == size:
        return inside
    result = cv2.resize(inside.view(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(result > 0)


def whole_places(area: Window, view: WindowView) -> Window:
    """A window of the view, grown to whole places of its grid."""
    stride = view.grid.stride
    x, y = area.x // stride * stride, area.y // stride * stride
    right, below = (-(-end // stride) * stride for end in (area.x + area.w, area.y + area.h))
    return Window(x, y, right - x, below - y).clipped(*view.guide.shape)


def part_of(grid: FeatureGrid, area: Window) -> FeatureGrid:
    """The places of a window that begins at one."""
    x, y = area.x // grid.stride, area.y // grid.stride
    part = Window(x, y, -(-area.w // grid.stride), -(-area.h // grid.stride))
    return replace(grid, values_Fhw=grid.values_Fhw[:, *part.slices])


def click_samples(clicks: Sequence[Click], size: tuple[int, ...]) -> StrokeSamples:
    """Pixels around each click, as of a small stroke; of very many clicks, the last ones alone."""
    steps = np.arange(-DISC_PX, DISC_PX + 1, STEP_PX)
    ys, xs = (one.reshape(-1) for one in np.meshgrid(steps, steps, indexing="ij"))
    parts = []
    for click in clicks[-MOST_CLICKS:]:
        y, x = ys + click.y, xs + click.x
        inside = (y >= 0) & (x >= 0) & (y < size[0]) & (x < size[1])
        parts.append(spread(y[inside], x[inside], int(click.positive), len(ys)))
    return joined(parts)


def weak_samples(clicks: Sequence[Click], inside_hw: Mask, area: Window) -> list[StrokeSamples]:
    """Some pixels inside the region and some around it, in its window, none near a click that says otherwise."""
    own_hw = inside_hw[area.slices]
    far = DOUBTED * float(np.sqrt(np.count_nonzero(own_hw)))
    found = []
    for side, of_side_hw in ((1, own_hw), (0, ~own_hw)):
        depth_hw = cv2.distanceTransform(of_side_hw.view(np.uint8), cv2.DIST_L2, 5)
        deepest = float(depth_hw.max()) if of_side_hw.any() else 0.0
        ys, xs = np.nonzero(depth_hw > min(OUTLINE_PX, deepest / 3))
        ys, xs = ys + area.y, xs + area.x
        some = spread(ys, xs, side, WEAK)
        kept = np.ones(len(some), np.bool_)
        for click in clicks:
            if click.positive != bool(side):
                kept &= np.hypot(some.ys - click.y, some.xs - click.x) > far
        some = some.some(kept)
        found.append(replace(some, weights=np.full(len(some), WEAK_WEIGHT / WEAK, np.float32)))
    return found


def connected(inside_hw: Mask, clicks: Sequence[Click]) -> Mask:
    """The parts of the region that hold a positive click."""
    _, parts_hw = cv2.connectedComponents(inside_hw.view(np.uint8), connectivity=4)
    clicked = {int(parts_hw[one.y, one.x]) for one in clicks if one.positive} - {0}  # 0: a later click took it back
    return np.isin(parts_hw, list(clicked))
