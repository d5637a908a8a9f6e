"""Where each class lies in each image: a small uniform sample of its pixels, to centre training crops on rare classes.

Collected while the pixels of each class are counted, strip by strip, so that a mask of any size is never needed whole.

Shapes: H, W a mask's size; R rows of a strip; N positions; M pairs of an image and a class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.records import VOID, Labels

MOST = 256  # positions for each class in an image
MOST_IN_ALL = 1 << 22  # of a dataset: 32 MB
CLASSES_AN_IMAGE = 16  # assumed when MOST_IN_ALL is divided among images
COUNTED = 999_999_999  # the most that numpy's hypergeometric distribution takes
PROBES = 1 << 16  # random pixels looked up in each strip: they find the frequent classes
NONE: NDArray[np.int32] = np.empty((0, 2), np.int32)


def most_positions(images: int, classes: int) -> int:
    """How many positions to keep for each class in an image."""
    return min(max(MOST_IN_ALL // (max(images, 1) * min(classes, CLASSES_AN_IMAGE)), 4), MOST)


class PositionSampler:
    """A uniform sample without replacement of each class's pixels in one mask, given in strips of rows."""

    def __init__(self, most: int, rng: np.random.Generator) -> None:
        self.most, self.rng = most, rng
        self.seen: dict[int, int] = {}  # pixels of each class so far
        self.found: dict[int, NDArray[np.int32]] = {}  # int32 [n ≤ most, 2], row and column

    def add(self, top: int, strip_RW: Labels, counts: NDArray[np.int64]) -> None:
        """Take part of a mask into account.

        Args:
            top: its first row in the mask.
            counts: int64 [256], its pixels of each value.
        """
        flat = strip_RW.ravel()
        at_random = self.rng.integers(0, flat.size, PROBES) if flat.size > 4 * PROBES else None
        probed = flat[at_random] if at_random is not None else None
        for value in np.flatnonzero(counts[:VOID]):
            class_id, pixels = int(value), int(counts[value])
            wanted = min(self.most, pixels)
            places = None
            if at_random is not None and probed is not None and pixels > 4 * flat.size * wanted // PROBES:
                places = np.unique(at_random[probed == class_id][: 2 * wanted])  # faster than finding every pixel
            if places is None or len(places) < wanted:
                places = np.flatnonzero(flat == class_id)
            chosen = places[self.rng.choice(len(places), wanted, replace=False, shuffle=False)]
            rows, columns = np.divmod(chosen, strip_RW.shape[1])
            self.merge(class_id, pixels, np.stack([rows + top, columns], axis=1).astype(np.int32))

    def merge(self, class_id: int, pixels: int, new_N2: NDArray[np.int32]) -> None:
        """Merge a sample of `pixels` further pixels into that of the pixels before them, so that all are as likely."""
        before = self.seen.get(class_id, 0)
        self.seen[class_id] = before + pixels
        if not before:
            self.found[class_id] = new_N2
            return
        old_N2 = self.found[class_id]
        total = min(self.most, before + pixels)
        from_new = int(self.rng.hypergeometric(min(pixels, COUNTED), min(before, COUNTED), total))
        kept = [
            part[self.rng.choice(len(part), number, replace=False, shuffle=False)]
            for part, number in ((old_N2, total - from_new), (new_N2, from_new))
        ]
        self.found[class_id] = np.concatenate(kept)


@dataclass
class ClassPositions:
    """The sampled positions of every class in every image of a training."""

    found: dict[tuple[int, int], NDArray[np.int32]] = field(default_factory=dict)  # (image, class) → int32 [n, 2]

    def of(self, image: int, class_id: int) -> NDArray[np.int32]:
        """Row and column of some pixels of a class in an image, in its own pixels: int32 [n ≤ MOST, 2]."""
        return self.found.get((image, class_id), NONE)

    def keep(self, image: int, sampler: PositionSampler) -> None:
        """Store the sample of one image."""
        for class_id, places_N2 in sampler.found.items():
            self.found[image, class_id] = places_N2

    def shared(self, from_first: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> ClassPositions:
        """The positions that the first of several processes has.

        Args:
            from_first: broadcasts the first process's tensors.
        """
        keys_M3 = np.array([(*key, len(places)) for key, places in self.found.items()], np.int64).reshape(-1, 3)
        places_N2 = np.concatenate([NONE, *self.found.values()])
        told = from_first({"keys": torch.from_numpy(keys_M3), "places": torch.from_numpy(places_N2)})
        ends = np.cumsum(told["keys"][:, 2].numpy())
        parts = np.split(told["places"].numpy(), ends[:-1]) if len(ends) else []
        keys = ((int(image), int(class_id)) for image, class_id, _ in told["keys"].tolist())
        return ClassPositions(dict(zip(keys, parts, strict=True)))
