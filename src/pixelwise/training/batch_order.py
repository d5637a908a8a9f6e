"""Which samples make up which batch of a training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class Order:
    """Which samples make up which batch: a shuffle that depends only on (seed, epoch). Every batch is full.

    The last batch of an epoch is filled up from its start, because batch normalisation needs more than one image.
    With `steps`, an epoch has that many batches, whatever the number of samples: it continues the shuffle where the
    previous epoch ended, `before` steps after the training's first.

    With several processes, each gets its part of every batch: `part` counts from 0 to `parts` − 1.
    """

    def __init__(self, samples: int, batch: int, seed: int, steps: int = 0, part: int = 0, parts: int = 1) -> None:
        self.samples, self.batch, self.seed, self.steps = samples, batch, seed, steps
        self.part, self.parts = part, parts
        self.epoch, self.before = 0, 0
        self.start = 0  # first batch to yield: those before it were used before the training was interrupted

    def __len__(self) -> int:
        return self.steps or max(-(-self.samples // self.batch), 1)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        needed = self.stream() if self.steps else np.resize(self.shuffle(self.epoch), len(self) * self.batch)
        for start in range(self.start * self.batch, len(needed), self.batch):
            yield [(self.epoch, int(index)) for index in needed[start : start + self.batch][self.part :: self.parts]]

    def shuffle(self, number: int) -> NDArray[np.int64]:
        return np.random.Generator(np.random.PCG64([self.seed, number])).permutation(self.samples)

    def stream(self) -> NDArray[np.int64]:
        """The samples of this epoch: a section of consecutive shuffles."""
        first, count = self.before * self.batch, self.steps * self.batch
        passes = range(first // self.samples, (first + count - 1) // self.samples + 1)
        shuffles = np.concatenate([self.shuffle(number) for number in passes])
        skipped = first - passes.start * self.samples
        return shuffles[skipped : skipped + count]
