"""Whether two images are copies of one picture: saved again, resized, relit, or slightly cropped; not merely similar.

Photos of one kind (retinas, cells, pages, aerial tiles) agree in everything coarse: frame, light, horizon. So coarse
agreement only proposes a pair. What decides is detail: what remains of a small grey image when its blurred self is
taken away, correlated at the best of a few scales and places, and well beyond what is usual in the dataset.

Shapes: N images, M of them at a time, T × T × 3 thumbnails, D × D details.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.masks.inspection import DETAIL_PX, THUMBNAIL_PX, ImageInspection

NEAR_BITS = 12  # of 64, by which the hashes of a pair that is proposed may differ
ALIKE = 0.5  # or correlation of their thumbnails, without what all thumbnails share
SAME = 0.75  # correlation of details: of copies 0.8 and more, of strangers of one kind 0.6 and less
BEYOND = 0.6  # of the way from what two images of the dataset usually agree by to being equal
USUAL_PAIRS = 60  # that are drawn to know what is usual
FEW, ALMOST = 4, 0.95  # images, below which nothing is usual and only what agrees almost wholly is a copy
SHARED_BY = 8  # images at least, before anything counts as shared by all
NOISE = 0.5  # levels of 255
SCALES_PX = (62, 60, 58)  # a crop of up to a tenth, anywhere
AT_ONCE = 256
MOST_PAIRS = 4000  # whose details are compared: about a millisecond each; the likeliest first

Matrix = NDArray[np.float32]


def copies_across(looks: Sequence[ImageInspection], splits: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs (i, j) of one picture in two splits, i before j; the likeliest first."""
    proposed = _proposed(looks, splits)
    if not proposed:
        return
    details_NDD = {i: _detail(looks[i]) for i in {k for _, *pair in proposed for k in pair}}
    usual = usual_agreement(looks)
    same = max(SAME, usual + BEYOND * (1 - usual)) if len(looks) >= FEW else ALMOST
    for _, i, j in proposed:
        if agreement(details_NDD[i], details_NDD[j], same) >= same:
            yield i, j


def usual_agreement(looks: Sequence[ImageInspection]) -> float:
    """By how much two images of the dataset agree usually: photos of one kind share a rim, a grid, a frame."""
    picks = np.random.default_rng(0).integers(0, len(looks), (USUAL_PAIRS, 2))
    return median_agreement([(looks[i], looks[j]) for i, j in picks if i != j])


def median_agreement(pairs: Sequence[tuple[ImageInspection, ImageInspection]]) -> float:
    """The median agreement of some pairs; 0 for none."""
    return float(np.median([agreement(_detail(a), _detail(b), 1.0) for a, b in pairs] or [0.0]))


def agreement(first_DD: Matrix, second_DD: Matrix, enough: float = SAME) -> float:
    """The largest correlation, -1 to 1, of one detail with the other, whole or as a part; or one that is enough."""
    best = _correlation(first_DD, second_DD)
    for whole, part in ((first_DD, second_DD), (second_DD, first_DD)):
        for side in SCALES_PX:
            if best >= enough:
                return best
            smaller = cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)
            best = max(best, float(cv2.matchTemplate(whole, smaller, cv2.TM_CCOEFF_NORMED).max()))
    return best if np.isfinite(best) else 0.0


def _proposed(looks: Sequence[ImageInspection], splits: Sequence[str]) -> list[tuple[float, int, int]]:
    """(how alike, i, j) of pairs in two splits that are coarsely alike, the most alike first."""
    hashes_N = np.array([look.hash for look in looks], np.uint64)
    splits_N = np.array(splits)
    small_NF = _small(looks)
    found: list[tuple[float, int, int]] = []
    for start in range(0, len(looks), AT_ONCE):
        stop = start + AT_ONCE
        bits_MN = np.bitwise_count(hashes_N[start:stop, None] ^ hashes_N[None])
        alike_MN = small_NF[start:stop] @ small_NF.T
        likely_MN = np.maximum(alike_MN, 1 - bits_MN / 64)
        near_MN = (bits_MN <= NEAR_BITS) | (alike_MN >= ALIKE)
        near = np.argwhere(near_MN & (splits_N[start:stop, None] != splits_N[None]))
        found += [(float(likely_MN[i, j]), start + int(i), int(j)) for i, j in near if start + i < j]
        found = sorted(found, key=lambda pair: (-pair[0], pair[1:]))[:MOST_PAIRS]
    return found


def _small(looks: Sequence[ImageInspection]) -> Matrix:
    """Grey thumbnails [N, T·T] of mean 0 and length 1, without what all of them share."""
    raw = np.frombuffer(b"".join(look.thumbnail for look in looks), np.uint8)
    grey_NF = raw.reshape(len(looks), THUMBNAIL_PX * THUMBNAIL_PX, 3).mean(axis=2, dtype=np.float32)
    grey_NF = _standard(grey_NF)
    if len(looks) >= SHARED_BY:
        grey_NF = _standard(grey_NF - grey_NF.mean(axis=0))
    return grey_NF


def _standard(rows_NF: Matrix) -> Matrix:
    centred_NF = rows_NF - rows_NF.mean(axis=1, keepdims=True)
    return np.asarray(centred_NF / np.maximum(np.linalg.norm(centred_NF, axis=1, keepdims=True), 1e-6), np.float32)


def _detail(look: ImageInspection) -> Matrix:
    """What a small grey image has beyond its blurred self, [D, D], over how much of that there is nearby."""
    grey_DD = np.frombuffer(look.detail, np.uint8).reshape(DETAIL_PX, DETAIL_PX).astype(np.float32)
    fine_DD = grey_DD - cv2.GaussianBlur(grey_DD, (0, 0), 3)
    usual_DD = cv2.GaussianBlur(np.abs(fine_DD), (0, 0), 4)
    return np.asarray(fine_DD / (usual_DD + 0.25 * usual_DD.mean() + NOISE), np.float32)


def _correlation(first_DD: Matrix, second_DD: Matrix) -> float:
    return float(cv2.matchTemplate(first_DD, second_DD, cv2.TM_CCOEFF_NORMED)[0, 0])
