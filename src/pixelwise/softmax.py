"""Class scores → probabilities: the one softmax, with the temperature that calibrates it, and what follows from it.

Results have the precision of their input.

Shapes: C classes, always the first axis; … any further axes.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", bound=np.floating[Any])


def softmax(scores: NDArray[Real], temperature: float = 1.0, *, overwrite: bool = False) -> NDArray[Real]:
    """The probability of every class, [C, …].

    Args:
        scores: [C, …].
        temperature: divides the scores first; a model's own makes its probabilities calibrated.
        overwrite: compute in the memory of `scores`.
    """
    exp = exponentials(scores, temperature, overwrite)
    exp /= exp.sum(axis=0)
    return exp


def highest_probability(scores: NDArray[Real], temperature: float = 1.0, *, overwrite: bool = False) -> NDArray[Real]:
    """The probability of the most probable class, […]: the maximum of `softmax`, without dividing every class."""
    return np.asarray(1 / exponentials(scores, temperature, overwrite).sum(axis=0), scores.dtype)


def log_softmax(scores: NDArray[Real], temperature: float = 1.0) -> NDArray[Real]:
    """The logarithm of `softmax`, finite where a probability rounds to 0."""
    below = below_highest(scores, temperature)
    below -= np.log(np.exp(below).sum(axis=0))
    return below


def entropy(probabilities: NDArray[Real]) -> NDArray[Real]:
    """Uncertainty at each place, […]: 0 where one class is certain, 1 where all are equally likely."""
    if len(probabilities) == 1:
        return np.zeros_like(probabilities[0])
    logarithm = np.log(np.maximum(probabilities, np.finfo(probabilities.dtype).tiny))  # 0 · log 0 = 0
    nats = -(probabilities * logarithm).sum(axis=0)
    return np.asarray(nats / np.log(len(probabilities)), probabilities.dtype)


def exponentials(scores: NDArray[Real], temperature: float, overwrite: bool) -> NDArray[Real]:
    """Numbers [C, …] in proportion to the probabilities; 1 for the most probable class, so that none overflows."""
    below = below_highest(scores, temperature, overwrite)
    np.exp(below, out=below)
    return below


def below_highest(scores: NDArray[Real], temperature: float, overwrite: bool = False) -> NDArray[Real]:
    """Scores less the highest at each place, divided by the temperature, [C, …]."""
    below = scores if overwrite else scores.copy()
    below -= scores.max(axis=0)
    below /= scores.dtype.type(temperature)
    return below
