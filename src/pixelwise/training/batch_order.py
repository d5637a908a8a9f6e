"""Which samples make up which batch of a training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FILLING = 1 << 32  # added to the pass of samples that fill the last batch up: no other has such a number


class CropKey(NamedTuple):
    """Which crop of which sample."""

    epoch: int  # decides its size
    sample: int  # its place in the split
    passes: int  # over all samples before this one: each has its own crops


class Order:
    """Which samples make up which batch: a shuffle that depends only on (seed, pass). Every batch is full.

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

    def __iter__(self) -> Iterator[list[CropKey]]:
        samples, passes = self.stream() if self.steps else self.one_pass()
        for start in range(self.start * self.batch, len(samples), self.batch):
            own = slice(start + self.part, start + self.batch, self.parts)
            yield [
                CropKey(self.epoch, int(sample), int(number))
                for sample, number in zip(samples[own], passes[own], strict=True)
            ]

    def shuffle(self, number: int) -> NDArray[np.int64]:
        return np.random.Generator(np.random.PCG64([self.seed, number])).permutation(self.samples)

    def one_pass(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every sample once, and some again to fill the last batch; and the pass that each belongs to."""
        places = np.arange(len(self) * self.batch)
        return self.shuffle(self.epoch)[places % self.samples], self.epoch + places // self.samples * FILLING

    def stream(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The samples of this epoch, a section of consecutive shuffles; and the pass that each belongs to."""
        first, count = self.before * self.batch, self.steps * self.batch
        places = np.arange(first, first + count)
        shuffles = range(first // self.samples, (first + count - 1) // self.samples + 1)
        samples = np.concatenate([self.shuffle(number) for number in shuffles])
        skipped = first - shuffles.start * self.samples
        return samples[skipped : skipped + count], places // self.samples
