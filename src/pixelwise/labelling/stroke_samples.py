"""Some pixels of every stroke: a broad stroke counts as much as a thin one.

Shapes: H, W height and width; P samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.labelling.patch import Keys, Mask, Window

MOST_SAMPLES = 400  # of an image
FROM_STROKE = 24  # at most
CELLS = 8  # a stroke that crosses more than one of CELLS by CELLS parts of the image counts once in each


@dataclass(frozen=True)
class StrokeSamples:
    """Drawn pixels."""

    ys: NDArray[np.intp]  # [P]
    xs: NDArray[np.intp]
    keys: Keys  # [P] their classes
    weights: NDArray[np.float32]  # [P]; those of one stroke sum to 1
    elsewhere: Mask  # [P] in another image, so that the place tells nothing

    def __len__(self) -> int:
        return len(self.keys)

    def some(self, kept: Mask) -> StrokeSamples:
        """Those that are true in [P]."""
        return StrokeSamples(self.ys[kept], self.xs[kept], self.keys[kept], self.weights[kept], self.elsewhere[kept])


def sample_strokes(keys_HW: Keys, drawn_HW: Mask, most: int = MOST_SAMPLES) -> StrokeSamples:
    """At most `most` pixels of the strokes, spread over all of them, the same for the same strokes."""
    cell = max(-(-max(keys_HW.shape) // CELLS), 1)
    strokes: list[tuple[NDArray[np.intp], NDArray[np.intp], int]] = []
    for key in np.unique(keys_HW[drawn_HW]):
        of_class_HW = (keys_HW == key) & drawn_HW
        around = Window.around(of_class_HW)  # in a large image, far fewer pixels than all
        assert around is not None  # the key is of a drawn pixel
        _, parts_hw = cv2.connectedComponents(of_class_HW[around.slices].astype(np.uint8), connectivity=8)
        ys, xs = np.nonzero(parts_hw)
        number = parts_hw[ys, xs].astype(np.int64)
        ys, xs = ys + around.y, xs + around.x
        part = (number * CELLS + ys // cell) * CELLS + xs // cell
        order = np.argsort(part, kind="stable")
        ends = np.flatnonzero(np.diff(part[order])) + 1
        strokes += [(ys[places], xs[places], int(key)) for places in np.split(order, ends)]
    if len(strokes) > most:  # some of each class: every n-th, in the order of their keys
        strokes = [strokes[place] for place in np.linspace(0, len(strokes) - 1, most).astype(int)]
    from_each = max(min(most // max(len(strokes), 1), FROM_STROKE), 1)
    found = [one for ys, xs, key in strokes for one in [spread(ys, xs, key, from_each)]]
    return joined(found)


def spread(ys: NDArray[np.intp], xs: NDArray[np.intp], key: int, number: int) -> StrokeSamples:
    """`number` of a stroke's pixels at random, the same each time."""
    if len(ys) > number:
        chosen = np.random.default_rng(len(ys)).permutation(len(ys))[:number]
        ys, xs = ys[chosen], xs[chosen]
    count = len(ys)
    weights = np.full(count, 1 / max(count, 1), np.float32)
    return StrokeSamples(ys, xs, np.full(count, key, np.uint8), weights, np.zeros(count, bool))


def joined(parts: Sequence[StrokeSamples]) -> StrokeSamples:
    none = np.empty(0, np.intp)
    parts = [spread(none, none, 0, 1), *parts]
    return StrokeSamples(
        np.concatenate([one.ys for one in parts]),
        np.concatenate([one.xs for one in parts]),
        np.concatenate([one.keys for one in parts]),
        np.concatenate([one.weights for one in parts]),
        np.concatenate([one.elsewhere for one in parts]),
    )


def moved(samples: StrokeSamples, area: Window, scale: float) -> StrokeSamples:
    """With their places counted from the corner of a window, at a scale."""
    ys, xs = (
        np.floor((one - start) * scale).astype(np.intp) for one, start in ((samples.ys, area.y), (samples.xs, area.x))
    )
    return replace(samples, ys=ys, xs=xs)
