"""Outlier images: blank, of extreme size or another bit depth, with red and blue swapped, unlike all others.

Thresholds are deliberately loose: a false positive costs more than a miss.

Shapes: N images, R reference images, F features of a thumbnail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.masks.inspection import THUMBNAIL_PX
from pixelwise.doctor.leakage import InspectedImage
from pixelwise.records import RGB, Bands, Problem

BLANK = 0.75  # standard deviation of the pixels, in levels of 255
TINY_PX = 8  # per side: no shape can be seen
SMALL_PX = 32  # an encoder of stride 32 has one output position for such an image
AREA_TIMES = 25
LONG_TIMES = 5
DARK = 32  # of 255: a 16-bit image with all sampled pixels below it uses an eighth of its range
EXCHANGED = 0.8  # report an image if swapping red and blue reduces its distance to this share
ENOUGH = 12  # minimum number of images for statistics
REFERENCE = 512  # images that each one is compared with


def odd_images(seen: Sequence[InspectedImage], bands: Bands = RGB) -> list[Problem]:
    """All warnings of this module, by kind, in the order of the images. Those on depth and colours need RGB images."""
    of_colours = [*odd_depths(seen), *exchanged_channels(seen)] if bands == RGB else []
    return [*blank(seen), *extreme_sizes(seen), *of_colours, *strange(seen)]


def blank(seen: Sequence[InspectedImage]) -> list[Problem]:
    remedy = "Look at it; remove the pair if it is empty."
    return [
        Problem("warning", "blank-image", one.name, "all of its pixels have (nearly) one colour.", remedy)
        for one in seen
        if one.look.spread < BLANK
    ]


def extreme_sizes(seen: Sequence[InspectedImage]) -> list[Problem]:
    problems = []
    areas = [one.look.size[0] * one.look.size[1] for one in seen]
    usual_area = float(np.median(areas)) if areas else 0.0
    longness = [max(one.look.size) / min(one.look.size) for one in seen]
    usual_long = float(np.median(longness)) if areas else 1.0
    for one, area, long in zip(seen, areas, longness, strict=True):
        height, width = one.look.size
        if len(seen) >= 3 and (area > AREA_TIMES * usual_area or area * AREA_TIMES < usual_area):
            what = f"{width}×{height}: {area / usual_area:.3g} times the usual area."
        elif len(seen) >= 3 and long > LONG_TIMES * usual_long:
            what = f"{width}×{height}: {long:.0f} times as long as wide; usual here: {usual_long:.1f}."
        else:
            continue
        remedy = "Check that it belongs here; cut large ones into tiles."
        problems.append(Problem("warning", "extreme-size", one.name, what, remedy))
    tiny = [one for one in seen if min(one.look.size) < SMALL_PX]
    told = {problem.where for problem in problems}
    if tiny and len(tiny) < len(seen):
        for one in tiny:
            if one.name not in told:
                what = f"{one.look.size[1]}×{one.look.size[0]}: smaller than {SMALL_PX} pixels."
                problems.append(Problem("warning", "extreme-size", one.name, what, "Check that it belongs here."))
    return problems or _all_tiny(seen)


def _all_tiny(seen: Sequence[InspectedImage]) -> list[Problem]:
    """One warning if every image has too few pixels to show a shape."""
    if not seen or any(min(one.look.size) >= TINY_PX for one in seen):
        return []
    height, width = seen[0].look.size
    what = f"{width}×{height} pixels, and the other {len(seen) - 1:,} images are about as small: they show no shapes."
    remedy = "Check that these are whole images; to classify single pixels, a table and another method serve better."
    return [Problem("warning", "tiny-images", seen[0].name, what, remedy)]


def odd_depths(seen: Sequence[InspectedImage]) -> list[Problem]:
    """16-bit images that use too little of their range and become black, and mixed bit depths."""
    problems = []
    for one in seen:
        if one.look.bits == 16 and one.look.brightest < DARK:
            what = (
                f"16-bit, but its values stay below {(one.look.brightest + 1) * 257:,} of 65,535: scaled from the "
                "full 16-bit range it is nearly black."
            )
            remedy = "Scale it to the full range once, the same way for all images (12-bit cameras: × 16)."
            problems.append(Problem("warning", "dark-16-bit", one.name, what, remedy))
    depths = Counter(max(one.look.bits, 8) for one in seen)
    if len(depths) > 1:
        usual = depths.most_common(1)[0][0]
        for one in seen:
            if max(one.look.bits, 8) != usual:
                what = f"{one.look.bits}-bit, where {depths[usual]} of {len(seen)} images are {usual}-bit."
                remedy = "Export all images the same way: depth changes what grey values mean."
                problems.append(Problem("warning", "mixed-depth", one.name, what, remedy))
    return problems


def thumbnails_of(seen: Sequence[InspectedImage]) -> NDArray[np.float32]:
    """[N, T, T, 3], 0–255."""
    raw = np.frombuffer(b"".join(one.look.thumbnail for one in seen), np.uint8)
    return raw.reshape(len(seen), THUMBNAIL_PX, THUMBNAIL_PX, 3).astype(np.float32)


def exchanged_channels(seen: Sequence[InspectedImage]) -> list[Problem]:
    """Images whose colours match the others' only with red and blue swapped: RGB and BGR were confused.

    The measure: red minus blue of a thumbnail, projected onto the median over all images. If most images agree with
    that median, an image that opposes it is checked again: it is reported only if swapping red and blue moves it much
    closer to its nearest neighbours.
    """
    coloured = [one for one in seen if one.look.spread >= BLANK]
    if len(coloured) < ENOUGH:
        return []
    thumbnails_NTT3 = thumbnails_of(coloured)
    warmth_NF = (thumbnails_NTT3[..., 0] - thumbnails_NTT3[..., 2]).reshape(len(coloured), -1)
    usual_F = np.median(warmth_NF, axis=0)
    strength = float(usual_F @ usual_F)
    if strength / len(usual_F) < 6.0**2:  # the dataset is grey, or its colours have no common direction
        return []
    agreement_N = warmth_NF @ usual_F / strength
    suspects = np.flatnonzero(agreement_N < -0.3)
    if float((agreement_N > 0.3).mean()) < 0.7 or len(suspects) == 0:
        return []
    remedy = "Compare it with its source: was it saved from OpenCV's BGR? Exchange red and blue if so."
    what = "its colours fit the other images only with red and blue exchanged."
    return [
        Problem("warning", "channel-order", coloured[n].name, what, remedy)
        for n in suspects
        if _fits_exchanged(thumbnails_NTT3, int(n))
    ]


def _fits_exchanged(thumbnails_NTT3: NDArray[np.float32], n: int) -> bool:
    """Whether swapping red and blue moves image n much closer to the others."""
    compared = np.unique(np.linspace(0, len(thumbnails_NTT3) - 1, REFERENCE).astype(np.intp))
    others = thumbnails_NTT3[compared[compared != n]]
    own = np.sort(np.abs(others - thumbnails_NTT3[n]).mean(axis=(1, 2, 3)))[:3].mean()
    exchanged = np.sort(np.abs(others - thumbnails_NTT3[n][..., ::-1]).mean(axis=(1, 2, 3)))[:3].mean()
    return bool(exchanged < EXCHANGED * own)


def strange(seen: Sequence[InspectedImage]) -> list[Problem]:
    """Images far from all others: distance to the third nearest image, compared with its median over all images."""
    rich = [one for one in seen if one.look.spread >= BLANK]
    if len(rich) < 2 * ENOUGH:
        return []
    features_NF = thumbnails_of(rich)[:, ::2, ::2].reshape(len(rich), -1)
    chosen_R = np.linspace(0, len(rich) - 1, min(len(rich), REFERENCE)).astype(int)
    reference_RF = features_NF[chosen_R]
    squares_R = (reference_RF**2).sum(axis=1)
    third_N = np.empty(len(rich))
    for start in range(0, len(rich), 256):
        part = features_NF[start : start + 256]
        distance_MR = squares_R - 2 * part @ reference_RF.T + (part**2).sum(axis=1)[:, None]
        third_N[start : start + 256] = np.sqrt(np.maximum(np.partition(distance_MR, 3, axis=1)[:, 3], 0))
    middle = float(np.median(third_N))
    scatter = 1.4826 * float(np.median(np.abs(third_N - middle)))
    limit = max(middle + 12 * scatter, 1.5 * float(np.quantile(third_N, 0.98)) if len(rich) >= 100 else 0, 2.5 * middle)
    what = "looks like no other image here: {:.1f} times as far from its neighbours as usual."
    remedy = "Look at it; remove the pair if it does not belong here."
    return [
        Problem("warning", "strange-image", one.name, what.format(far / max(middle, 1e-6)), remedy)
        for one, far in zip(rich, third_N, strict=True)
        if far > limit
    ]
