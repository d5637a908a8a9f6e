"""Drawn pixels of earlier images and of other windows of this one, with their features, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pixelwise.labelling.patch import Keys, Mask, Window
from pixelwise.labelling.pixel_features import Values
from pixelwise.labelling.stroke_samples import StrokeSamples, joined

MOST_IMAGES = 40
RECENT_IMAGES = 10  # of which the newest are used
MOST_TAKEN = 200  # samples of earlier images that are used
EARLIER = 0.25  # the weight of a stroke in an earlier image


class StrokeMemory:
    """Samples and features of each image, the newest last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.kept: OrderedDict[str, tuple[StrokeSamples, Values]] = OrderedDict()

    def knows(self, keys: Sequence[int], image_id: str) -> bool:
        """Whether an image other than this one has strokes of any of these classes."""
        with self.lock:
            return any(
                np.isin(samples.keys, keys).any() for name, (samples, _) in self.kept.items() if name != image_id
            )

    def forget(self, image_id: str) -> None:
        with self.lock:
            self.kept.pop(image_id, None)

    def exchange(
        self, image_id: str, area: Window, own: StrokeSamples, inside: Mask, features_PF: Values, keys_HW: Keys
    ) -> tuple[list[StrokeSamples], list[Values]]:
        """Remember an image's samples; get those of its other windows and of earlier images.

        Args:
            own: the image's samples, of which `features_PF` are those `inside` the window `area`.
            keys_HW: its labels: what was drawn over or erased is forgotten.
        """
        here = own.some(inside)
        with self.lock:
            before = self.kept.pop(image_id, None)
            outside = None if before is None else still_there(*before, area, keys_HW)
            whole = (here, features_PF)
            if outside is not None and outside[1].shape[1] == features_PF.shape[1]:
                whole = joined([here, outside[0]]), np.concatenate([features_PF, outside[1]])
            else:
                outside = None
            earlier = self.earlier(features_PF.shape[1])
            if len(whole[0]):
                self.kept[image_id] = whole
            while len(self.kept) > MOST_IMAGES:
                self.kept.popitem(last=False)
        found = [one for one in (outside, *earlier) if one is not None]
        return [samples for samples, _ in found], [features for _, features in found]

    def earlier(self, features: int) -> list[tuple[StrokeSamples, Values]]:
        """Some samples of the newest images with as many features."""
        images = [one for one in list(self.kept.values())[-RECENT_IMAGES:] if one[1].shape[1] == features]
        found = []
        for samples, features_PF in images:
            every = max(-(-len(samples) * len(images) // MOST_TAKEN), 1)
            kept = np.arange(len(samples)) % every == 0
            part = samples.some(kept)
            weights = part.weights * np.float32(EARLIER * every)
            part = replace(part, weights=weights, elsewhere=np.ones(len(part), bool))
            found.append((part, features_PF[kept]))
        return found


def still_there(
    samples: StrokeSamples, features_PF: Values, area: Window, keys_HW: Keys
) -> tuple[StrokeSamples, Values] | None:
    """Samples outside a window that are labelled as they were; None if there are none."""
    outside = (samples.ys < area.y) | (samples.xs < area.x)
    outside |= (samples.ys >= area.y + area.h) | (samples.xs >= area.x + area.w)
    same = np.zeros(len(samples), bool)
    places = outside & (samples.ys < keys_HW.shape[0]) & (samples.xs < keys_HW.shape[1])
    same[places] = keys_HW[samples.ys[places], samples.xs[places]] == samples.keys[places]
    return (samples.some(same), features_PF[same]) if same.any() else None
