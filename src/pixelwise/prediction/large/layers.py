"""What is kept of a tiled image beside its labels: one value a pixel and layer, made of the scores.

Shapes: C classes; R rows and Q columns of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.prediction.confidence_maps import sixteen_bits
from pixelwise.prediction.outputs import NEEDS_CONFIDENCE, NEEDS_ENTROPY
from pixelwise.prediction.probability_maps import PROBABILITY_FILES, TYPES, ProbabilityOptions, stored_values
from pixelwise.records import VOID, Labels, Scores
from pixelwise.softmax import entropy, highest_probability, softmax

CONFIDENCE, ENTROPY = "confidence", "entropy"

Values = NDArray[Any]  # [R, Q], of the layer's type
ValuesOf = Callable[[slice, slice, Labels], Sequence[Values]]  # rows, columns and their labels → one array a layer


class PixelLayer(NamedTuple):
    """One value a pixel."""

    name: str
    dtype: str  # little-endian, as NumPy names it
    class_id: int | None = None  # whose probability it is


def layers_for(outputs: Collection[str], options: ProbabilityOptions, classes: Sequence[str]) -> tuple[PixelLayer, ...]:
    """The layers that these outputs need.

    Args:
        options, classes: which probabilities, and the names of all of the model's classes.
    """
    wanted = {CONFIDENCE: NEEDS_CONFIDENCE, ENTROPY: NEEDS_ENTROPY}
    layers = [PixelLayer(name, "<u2") for name, needed_by in wanted.items() if not needed_by.isdisjoint(outputs)]
    if not PROBABILITY_FILES.keys().isdisjoint(outputs):
        dtype = TYPES[options.dtype]
        layers += [PixelLayer(f"probability of {classes[number]}", dtype, number) for number in options.ids(classes)]
    return tuple(layers)


def layer_values(
    scores_CRQ: Scores, labels_RQ: Labels, layers: Sequence[PixelLayer], temperature: float
) -> list[Values]:
    """The values of every layer, [R, Q] each; without data where a label is void. Overwrites the scores."""
    is_void_RQ = labels_RQ == VOID
    names = [layer.name for layer in layers]
    if names == [CONFIDENCE]:
        return [share_values(highest_probability(scores_CRQ, temperature, overwrite=True), is_void_RQ)]
    probability_CRQ = softmax(scores_CRQ, temperature, overwrite=True)
    found: list[Values] = []
    if CONFIDENCE in names:
        found.append(share_values(probability_CRQ.max(axis=0), is_void_RQ))
    if ENTROPY in names:
        found.append(share_values(entropy(probability_CRQ), is_void_RQ))
    for layer in layers:
        if layer.class_id is not None:
            found.extend(stored_values(probability_CRQ[layer.class_id][None], is_void_RQ, layer.dtype))
    return found


def share_values(share_RQ: NDArray[np.float32], is_void_RQ: NDArray[np.bool_]) -> Values:
    """Shares 0–1 as 0–65535; 0 where a label is void."""
    values_RQ = sixteen_bits(share_RQ)
    values_RQ[is_void_RQ] = 0
    return values_RQ
