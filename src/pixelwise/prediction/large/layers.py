"""What is kept of a tiled image beside its labels: one value a pixel and layer, made of the scores.

Shapes: C classes; R rows and Q columns of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from pixelwise.prediction.confidence_maps import sixteen_bits
from pixelwise.prediction.outputs import NEEDS_CONFIDENCE, NEEDS_ENTROPY
from pixelwise.records import VOID, Labels, Scores
from pixelwise.softmax import entropy, highest_probability, softmax

CONFIDENCE, ENTROPY = "confidence", "entropy"

Values = NDArray[Any]  # [R, Q], of the layer's type
ValuesOf = Callable[[slice, slice, Labels], Sequence[Values]]  # rows, columns and their labels → one array a layer


class Layer(NamedTuple):
    """One value a pixel."""

    name: str
    dtype: str  # little-endian, as NumPy names it


def layers_for(outputs: Collection[str]) -> tuple[Layer, ...]:
    """The layers that these outputs need."""
    wanted = {CONFIDENCE: NEEDS_CONFIDENCE, ENTROPY: NEEDS_ENTROPY}
    return tuple(Layer(name, "<u2") for name, needed_by in wanted.items() if not needed_by.isdisjoint(outputs))


def layer_values(scores_CRQ: Scores, labels_RQ: Labels, layers: Sequence[Layer], temperature: float) -> list[Values]:
    """The values of every layer, [R, Q] each; 0 where a label is void. Overwrites the scores."""
    names = [layer.name for layer in layers]
    if names == [CONFIDENCE]:
        found = {CONFIDENCE: sixteen_bits(highest_probability(scores_CRQ, temperature, overwrite=True))}
    else:
        probability_CRQ = softmax(scores_CRQ, temperature, overwrite=True)
        found = {CONFIDENCE: sixteen_bits(probability_CRQ.max(axis=0)), ENTROPY: sixteen_bits(entropy(probability_CRQ))}
    is_void_RQ = labels_RQ == VOID
    for values_RQ in found.values():
        values_RQ[is_void_RQ] = 0
    return [found[name] for name in names]
