"""Which images to label next, by `suggest`'s rule: uncertain ones, unlike labelled ones and each other.

Shapes: N images; F features.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

import numpy as np

from pixelwise.labelling.novelty import choose, distances_to
from pixelwise.labelling.stored_proposals import PhotoFacts

CHOSEN = 200  # in order, each unlike those before; the others follow by uncertainty and novelty
MANY, KEPT_S = 500, 5.0  # a ranking of so many images is not computed again for every request


class ImageWorth:
    """How much a label of each image would bring. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.facts: dict[str, PhotoFacts] = {}
        self.disagreement: dict[str, float] = {}  # share of a person's pixels where the model differs
        self.ranked: dict[str, float] = {}
        self.ranked_for: tuple[int, frozenset[str]] | None = None
        self.ranked_at = 0.0
        self.changes = 0

    def clear(self) -> None:
        """Forget everything, for another model."""
        with self.lock:
            self.facts.clear()
            self.disagreement.clear()
            self.ranked_for = None
            self.changes += 1

    def add(self, image_id: str, facts: PhotoFacts) -> None:
        with self.lock:
            self.facts[image_id] = facts
            self.changes += 1

    def of(self, labelled: Collection[str]) -> dict[str, float]:
        """Uncertainty × novelty of each image that is known and not `labelled`."""
        wanted = frozenset(labelled)
        with self.lock:
            state = self.changes, wanted
            is_new = len(self.facts) > MANY and time.monotonic() - self.ranked_at < KEPT_S
            if self.ranked_for == state or (is_new and self.ranked_for is not None and self.ranked_for[1] == wanted):
                return self.ranked
            facts = dict(self.facts)
        ranked = worth_of(facts, wanted)
        with self.lock:
            self.ranked, self.ranked_for, self.ranked_at = ranked, state, time.monotonic()
        return ranked


def worth_of(facts: dict[str, PhotoFacts], labelled: Collection[str]) -> dict[str, float]:
    """Uncertainty × novelty of each image that is not labelled; images with other features than most are left out."""
    sizes = [len(one.description_F) for one in facts.values()]
    size = max(set(sizes), key=sizes.count) if sizes else 0
    alike = {name: one for name, one in facts.items() if len(one.description_F) == size}
    names = [name for name in alike if name not in labelled]
    if not names:
        return {}
    described_NF = np.stack([alike[name].description_F for name in names])
    labelled_LF = np.array([alike[name].description_F for name in alike if name in labelled]).reshape(-1, size)
    uncertainty_N = np.array([alike[name].uncertainty for name in names])
    chosen = choose(uncertainty_N, described_NF, labelled_LF, CHOSEN)
    worth = {names[index]: value for index, _, value in chosen}
    rest = [i for i, name in enumerate(names) if name not in worth]
    if rest:
        known_LF = np.concatenate([labelled_LF, described_NF[[index for index, _, _ in chosen]]])
        novelty = distances_to(described_NF[rest], known_LF)
        last = min(worth.values())
        worth |= {names[i]: min(float(uncertainty_N[i] * far), last) for i, far in zip(rest, novelty, strict=True)}
    return worth
