"""Clicks → one object: each click adds or removes the region around it that is most likely meant.

The candidates of a click are the regions of a merge tree that hold its superpixel, in windows of several sizes, without
those that earlier clicks of the other kind exclude. The result's outline is moved to the image's edges by a graph cut
in a narrow band. What is not right after one click is seldom one region of the tree: from the second click on, a small
network that compares places with those clicked decides (`click_network.py`).

Shapes: H, W the image's size; h, w that of a part; N bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pixelwise.labelling.click_candidates import measure, scores
from pixelwise.labelling.click_network import object_at
from pixelwise.labelling.click_points import Click, check_clicks
from pixelwise.labelling.click_scene import ClickScene, ClickScenes
from pixelwise.labelling.patch import Mask, Region, Window
from pixelwise.labelling.stretched_bands import three_channels
from pixelwise.labelling.window_view import WindowView
from pixelwise.records import Raster

SMALLEST_PX = 12  # of a candidate, in the scene's picture
GROWTH = 1.03  # a candidate that grows less than this to the next one is skipped
TREE_CLICKS = 1  # that the tree answers
CLICKED_PX = 1  # radius of what a click decides alone
DEEPEST_PX = 30  # objects thicker than that have fine enough outlines already


@dataclass(frozen=True)
class Candidate:
    """A region that a click may mean."""

    scene: ClickScene
    inside_P: Mask
    measures: list[float]


def click_object(image_HWN: Raster, points: Sequence[tuple[int, int, bool]], view: WindowView | None = None) -> Region:
    """The object that clicks mean, in an image or in a part of one.

    Args:
        image_HWN: uint8, uint16 or float32 [H, W, N].
        points: column, row, and whether the pixel belongs to the object; at least one does.
        view: of the same pixels. None: colours and edges alone decide, which is less certain.

    Raises:
        UsageError: no positive point, or a point outside the image.
    """
    return ObjectClicks(image_HWN, view).click(points)


class ObjectClicks:
    """Clicks on one image: what was computed for its parts is kept for the next click."""

    def __init__(self, image_HWN: Raster, view: WindowView | None = None) -> None:
        """See `click_object`."""
        self.view = view
        self.scenes = ClickScenes(image_HWN, None if view is None else view.encoder)
        self.regions: dict[tuple[Click, ...], Mask] = {}

    def click(self, points: Sequence[tuple[int, int, bool]]) -> Region:
        """As `click_object`."""
        image_HWN = self.scenes.image_HWN
        clicks = check_clicks(points, Window.whole(*image_HWN.shape[:2]))
        clicks.sort(key=lambda one: not one.positive) if not clicks[0].positive else None
        inside_HW = self.region(tuple(clicks))
        if not self.refines(clicks):
            inside_HW = snapped(image_HWN, inside_HW, clicks)
        found = Window.around(inside_HW)
        assert found is not None  # the last positive click's own pixel at least
        return Region(found.x, found.y, inside_HW[found.slices].copy())

    def region(self, clicks: tuple[Click, ...]) -> Mask:
        """After these clicks, before snapping: bool [H, W]. What the clicks without the last one gave is kept."""
        known = max((len(one) for one in self.regions if one == clicks[: len(one)]), default=0)
        before = after = self.regions.get(clicks[:known], np.zeros(self.scenes.image_HWN.shape[:2], np.bool_))
        for place in range(known, len(clicks)):
            before, after = after, self.changed(after, clicks[: place + 1])
        if known < len(clicks):
            self.regions = {clicks[:-1]: before, clicks: after}
        return after

    def changed(self, before: Mask, clicks: tuple[Click, ...]) -> Mask:
        """What the last of the clicks makes of the region before it."""
        if self.view is not None and self.refines(clicks):
            return compared(self.view, clicks, before)
        *earlier, click = clicks
        found = candidates(self.scenes.at(click), click, earlier, before)
        after = before.copy()
        if found:
            best = found[int(scores([one.measures for one in found]).argmax())]
            part = after[best.scene.window.slices]
            part[best.scene.full_size(best.inside_P)] = click.positive
        for one in clicks:
            after[one.y, one.x] = one.positive
        return after

    def refines(self, clicks: Sequence[Click]) -> bool:
        """Whether the network decides what the last click changes, not the tree."""
        return self.view is not None and len(clicks) > TREE_CLICKS


def compared(view: WindowView, clicks: Sequence[Click], before_HW: Mask) -> Mask:
    """The region that the network gives: each click on its side, and only parts that hold a positive one."""
    here = [Click(int(one.x * view.scale), int(one.y * view.scale), one.positive) for one in clicks]
    size = view.guide.shape
    found_hw = with_clicks(object_at(view.shown, here, resized(before_HW, size), view.session), here, CLICKED_PX)
    return with_clicks(resized(connected(found_hw, here), before_HW.shape), clicks, 0)


def with_clicks(inside: Mask, clicks: Sequence[Click], radius: int) -> Mask:
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


def connected(inside_hw: Mask, clicks: Sequence[Click]) -> Mask:
    """The parts of the region that hold a positive click."""
    _, parts_hw = cv2.connectedComponents(inside_hw.view(np.uint8), connectivity=4)
    clicked = {int(parts_hw[one.y, one.x]) for one in clicks if one.positive} - {0}  # 0: a later click took it back
    return np.isin(parts_hw, list(clicked))


def candidates(
    scenes: Sequence[ClickScene], click: Click, earlier: Sequence[Click], before_HW: Mask
) -> list[Candidate]:
    """The regions around a click that it may add or remove."""
    found = []
    for scene in scenes:
        undecided = scene.share(before_HW) < 0.5
        if not click.positive:
            undecided = ~undecided
        opposite = {scene.piece(one) for one in earlier if scene.holds(one) and one.positive != click.positive}
        own, place = scene.piece(click), scene.place(click)
        if own in opposite:
            continue
        undecided[own] = True
        path = scene.tree.above(own)
        last = 0.0
        for node, parent in zip(path, [*path[1:], path[-1]], strict=True):
            inside = scene.tree.holds(node)
            if any(inside[one] for one in opposite):
                break
            inside &= undecided
            area = float(scene.pieces.areas_P[inside].sum())
            if area < SMALLEST_PX or area < last * GROWTH:
                continue
            last = area
            heights = float(scene.tree.heights_T[node]), float(scene.tree.heights_T[parent])
            found.append(Candidate(scene, inside, measure(scene, inside, place, heights)))
    return found


def snapped(image_HWN: Raster, inside_HW: Mask, clicks: Sequence[Click]) -> Mask:
    """Move the outline to edges of the image nearby, if the clicks stay on their sides of it."""
    found = Window.around(inside_HW)
    if found is None:
        return inside_HW
    own = inside_HW[found.grown(1).clipped(*inside_HW.shape).slices]
    depth = cv2.distanceTransform(
        cv2.copyMakeBorder(own.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 5
    )
    deepest = float(depth.max())
    if not 1.5 <= deepest <= DEEPEST_PX:
        return inside_HW
    area = found.grown(int(deepest) + 6).clipped(*inside_HW.shape)
    own = inside_HW[area.slices]
    inner = cv2.distanceTransform(
        cv2.copyMakeBorder(own.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 5
    )[1:-1, 1:-1]
    outer = cv2.distanceTransform((~own).view(np.uint8), cv2.DIST_L2, 5)
    sides = np.where(own, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    sides[inner > 0.5 * deepest] = cv2.GC_FGD
    sides[outer > max(0.35 * deepest, 3)] = cv2.GC_BGD
    for one in clicks:
        if area.x <= one.x < area.x + area.w and area.y <= one.y < area.y + area.h:
            sides[one.y - area.y, one.x - area.x] = cv2.GC_FGD if one.positive else cv2.GC_BGD
    if not (np.isin(sides, (cv2.GC_FGD, cv2.GC_PR_FGD)).any() and (sides % 2 == 0).any()):
        return inside_HW
    cv2.setRNGSeed(0)  # grabCut's clusters start at random: the same clicks give the same region
    picture = three_channels(image_HWN[area.slices])
    cv2.grabCut(picture, sides, None, np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    result = inside_HW.copy()
    result[area.slices] = sides % 2 == 1
    return result
