"""Clicks to an object: the click tool against OpenCV's grabCut driven by the same clicks, and against polygons.

    python benchmarks/labelling_clicks.py DATA [--objects 25] [--sets nuclei,camvid,wbc,facade]

DATA holds `nuclei/val`, `camvid/val`, `own/wbc` and `own/facade`, as published. Objects are nuclei, cells, and
connected regions of at least 400 pixels of one class; some of each set are drawn by chance, at most two of an image.

The annotator is simulated as usual for interactive segmentation: the first click is in the middle of the object, each
next one in the middle of the largest error, positive where the object is missed. A click's middle is where the distance
to the outline is largest. Clicks are counted until the IoU with the object reaches 0.85; 20 at most. A polygon takes a
click for each vertex of the outline, simplified to 1 pixel (`cv2.approxPolyDP`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from pixelwise.images.image_files import read_image
from pixelwise.labelling.click_object import ObjectClicks
from pixelwise.labelling.click_points import Click
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.labelling.patch import Window
from pixelwise.labelling.window_view import WindowView, view_of
from pixelwise.records import RGB, Pixels

ENOUGH, MOST_CLICKS = 0.85, 20
SMALLEST = {"nuclei": 60, "camvid": 400, "wbc": 400, "facade": 400}  # pixels
GRAB_PX, GRAB_ROUNDS = 4, 5  # radius of a click's disc, rounds of grabCut after each click

Inside = NDArray[np.bool_]
Tool = Callable[[list[Click]], Inside]


@dataclass(frozen=True)
class Target:
    """An object that the annotator has in mind."""

    image: Path
    inside_HW: Inside


def images_of(data: Path, name: str, part: str = "val") -> list[tuple[Path, Path]]:
    """Images and masks of a set; of those without parts, every second image is for development ("train")."""
    pairs = {
        "nuclei": (data / "nuclei" / part / "images", data / "nuclei" / part / "instances", "*.png"),
        "camvid": (data / "camvid" / part, data / "camvid" / f"{part}annot", "*.png"),
        "wbc": (data / "own/wbc/Dataset 1", data / "own/wbc/Dataset 1", "*.bmp"),
        "facade": (data / "own/facade/images", data / "own/facade/labels", "*.*"),
    }
    images, masks, pattern = pairs[name]
    found = sorted(images.glob(pattern))
    if name in ("wbc", "facade"):
        found = found[part == "train" :: 2]
    return [(image, masks / f"{image.stem}.png") for image in found]


def regions(mask: NDArray[np.generic], name: str) -> Iterator[Inside]:
    if name == "wbc":
        mask = np.minimum(mask, 1)  # nucleus and cytoplasm are one cell
    if mask.ndim == 3:  # a colour a class; black is unlabelled
        wide = mask.astype(np.uint32)
        mask = wide[:, :, 0] + (wide[:, :, 1] << 8) + (wide[:, :, 2] << 16)
    void = 11 if name == "camvid" else 0
    for value in np.unique(mask):
        if value != void:
            own = mask == value
            if name == "nuclei":
                yield own
                continue
            count, names = cv2.connectedComponents(own.view(np.uint8), connectivity=4)
            for one in range(1, count):
                yield names == one


def targets(data: Path, name: str, number: int, part: str = "val", seed: int = 0) -> Iterator[Target]:
    """Objects drawn by chance, at most two of an image."""
    random = np.random.default_rng(seed)
    pairs = images_of(data, name, part)
    left = number
    for place in random.permutation(len(pairs)):
        image, path = pairs[place]
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert mask is not None, path
        found = [one for one in regions(mask, name) if np.count_nonzero(one) >= SMALLEST[name]]
        for one in random.permutation(len(found))[: min(2, left)]:
            left -= 1
            yield Target(image, found[one])
        if not left:
            return


def next_click(found_HW: Inside, target_HW: Inside) -> Click:
    """In the middle of the largest error."""
    best = (-1.0, 0, 0, False)
    for positive, wrong in ((True, target_HW & ~found_HW), (False, found_HW & ~target_HW)):
        padded = cv2.copyMakeBorder(wrong.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        _, names, facts, _ = cv2.connectedComponentsWithStats(padded, connectivity=4)
        if len(facts) < 2:
            continue
        one = 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())
        depth = cv2.distanceTransform((names == one).view(np.uint8), cv2.DIST_L2, 5)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        area = float(facts[one, cv2.CC_STAT_AREA])
        if area > best[0]:
            best = (area, int(x) - 1, int(y) - 1, positive)
    return Click(*best[1:])


def iou(a: Inside, b: Inside) -> float:
    return float(np.count_nonzero(a & b) / max(np.count_nonzero(a | b), 1))


def clicks_to(target_HW: Inside, tool: Tool) -> tuple[list[float], list[float]]:
    """The IoU after each click, and the seconds that each took."""
    clicks: list[Click] = []
    scores, seconds = [], []
    found_HW = np.zeros_like(target_HW)
    for _ in range(MOST_CLICKS):
        clicks.append(next_click(found_HW, target_HW))
        began = time.perf_counter()
        found_HW = tool(clicks)
        seconds.append(time.perf_counter() - began)
        scores.append(iou(found_HW, target_HW))
        if scores[-1] >= ENOUGH:
            break
    return scores, seconds


def counted(scores: list[float]) -> int:
    return len(scores) if scores[-1] >= ENOUGH else MOST_CLICKS


def grab_cut(image: Pixels) -> Tool:
    """Plain grabCut: clicks are small discs of certain pixels, all others are probably background at first."""
    mask = np.full(image.shape[:2], cv2.GC_PR_BGD, np.uint8)

    def tool(clicks: list[Click]) -> Inside:
        for click in clicks:
            cv2.circle(mask, (click.x, click.y), GRAB_PX, cv2.GC_FGD if click.positive else cv2.GC_BGD, -1)
        if (mask % 2 == 0).any() and (mask % 2 == 1).any():
            cv2.grabCut(image, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), GRAB_ROUNDS, cv2.GC_INIT_WITH_MASK)
        return mask % 2 == 1

    return tool


def pixelwise_clicks(image: Pixels, view: WindowView) -> Tool:
    objects = ObjectClicks(image, view)

    def tool(clicks: list[Click]) -> Inside:
        region = objects.click(clicks)
        found = np.zeros(image.shape[:2], np.bool_)
        found[region.window.slices] = region.mask_hw
        return found

    return tool


def vertices(inside: Inside) -> int:
    outlines, _ = cv2.findContours(inside.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return sum(len(cv2.approxPolyDP(one, 1, closed=True)) for one in outlines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--objects", type=int, default=25, help="of each set")
    parser.add_argument("--sets", default=",".join(SMALLEST))
    parser.add_argument("--part", default="val", help="train: other objects, for development")
    chosen = parser.parse_args()
    session = FeatureSession()
    table = Table("set", "objects", "clicks", "grabCut", "polygon", "÷ grabCut", "÷ polygon", "after 1 click",
                  "not in 20", "ms a click", title=f"clicks to IoU {ENOUGH}: median (mean)")  # fmt: skip
    everything = []
    for name in chosen.sets.split(","):
        rows = []
        for target in targets(chosen.data, name, chosen.objects, chosen.part):
            image = read_image(target.image)
            view = view_of(image, RGB, Window.whole(*image.shape[:2]), session, None)
            ours, seconds = clicks_to(target.inside_HW, pixelwise_clicks(image, view))
            theirs, _ = clicks_to(target.inside_HW, grab_cut(image))
            rows.append((counted(ours), counted(theirs), vertices(target.inside_HW), ours[0],
                         float(ours[-1] < ENOUGH), float(np.median(seconds)) * 1000))  # fmt: skip
        everything += rows
        table.add_row(name, *columns(rows))
    table.add_row("all", *columns(everything))
    Console(width=130).print(table)


def columns(rows: list[tuple[float, ...]]) -> list[str]:
    values = np.array(rows)
    ours, theirs, polygon, first, _, ms = np.median(values, axis=0)
    clicks = [
        f"{middle:g} ({mean:.1f})" for middle, mean in zip((ours, theirs, polygon), values.mean(axis=0), strict=False)
    ]
    return [f"{len(rows)}", *clicks, f"{ours / theirs:.2f}", f"{ours / polygon:.2f}", f"IoU {first:.2f}",
            f"{values[:, 4].mean():.0%}", f"{ms:.0f}"]  # fmt: skip


if __name__ == "__main__":
    main()
