"""Detect copies of one picture: re-encoded, resized, relit or slightly cropped; not merely similar.

Photos of one kind (retinas, cells, pages, aerial tiles) agree coarsely: frame, light, horizon. So coarse agreement only
proposes a pair. Detail decides: a small grey image minus its blurred version. The details of copies correlate, at the
best of a few scales and offsets, far more than is usual in the dataset.

Shapes: N images, M of them at a time, T × T × 3 thumbnails, D × D details.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.masks.inspection import DETAIL_PX, THUMBNAIL_PX, ImageInspection

NEAR_BITS = 12  # of 64: the hashes of a proposed pair differ in at most this many
ALIKE = 0.5  # or the correlation of their thumbnails, minus what all thumbnails share
SAME = 0.75  # correlation of details: 0.8 and more for copies, 0.6 and less for similar photos
BEYOND = 0.6  # share of the way from the usual agreement in the dataset to equality
USUAL_PAIRS = 60  # random pairs that estimate the usual agreement
FEW, ALMOST = 4, 0.95  # with fewer images, a copy must agree almost completely
SHARED_BY = 8  # minimum number of images for shared content
NOISE = 0.5  # levels of 255
SCALES_PX = (62, 60, 58)  # a crop of up to a tenth, anywhere
AT_ONCE = 256
MOST_PAIRS = 4000  # compared in detail, the likeliest first; about a millisecond each

Matrix = NDArray[np.float32]


def copies_across(looks: Sequence[ImageInspection], splits: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, of copies in two splits; the likeliest first."""
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
    """The usual agreement of two images of the dataset: similar photos share a rim, a grid, a frame."""
    picks = np.random.default_rng(0).integers(0, len(looks), (USUAL_PAIRS, 2))
    return median_agreement([(looks[i], looks[j]) for i, j in picks if i != j])


def median_agreement(pairs: Sequence[tuple[ImageInspection, ImageInspection]]) -> float:
    """The median agreement of the pairs; 0 for none."""
    return float(np.median([agreement(_detail(a), _detail(b), 1.0) for a, b in pairs] or [0.0]))


def agreement(first_DD: Matrix, second_DD: Matrix, enough: float = SAME) -> float:
    """The largest correlation, -1 to 1, of two details, whole or cropped; stops once it reaches `enough`."""
    best = _correlation(first_DD, second_DD)
    for whole, part in ((first_DD, second_DD), (second_DD, first_DD)):
        for side in SCALES_PX:
            if best >= enough:
                return best
            smaller = cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)
            best = max(best, float(cv2.matchTemplate(whole, smaller, cv2.TM_CCOEFF_NORMED).max()))
    return best if np.isfinite(best) else 0.0


def _proposed(looks: Sequence[ImageInspection], splits: Sequence[str]) -> list[tuple[float, int, int]]:
    """(similarity, i, j) of coarsely similar pairs in two splits, most similar first."""
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
    """Grey thumbnails [N, T·T] of mean 0 and length 1, minus what all of them share."""
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
    """The detail [D, D] of a small grey image: the image minus its blurred version, normalised by local contrast."""
    grey_DD = np.frombuffer(look.detail, np.uint8).reshape(DETAIL_PX, DETAIL_PX).astype(np.float32)
    fine_DD = grey_DD - cv2.GaussianBlur(grey_DD, (0, 0), 3)
    usual_DD = cv2.GaussianBlur(np.abs(fine_DD), (0, 0), 4)
    return np.asarray(fine_DD / (usual_DD + 0.25 * usual_DD.mean() + NOISE), np.float32)


def _correlation(first_DD: Matrix, second_DD: Matrix) -> float:
    return float(cv2.matchTemplate(first_DD, second_DD, cv2.TM_CCOEFF_NORMED)[0, 0])
