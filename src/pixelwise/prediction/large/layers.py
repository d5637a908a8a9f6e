"""What is kept of a tiled image beside its labels: one value a pixel and layer, made of the scores.

Shapes: C classes; R rows and Q columns of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.prediction.confidence_maps import sixteen_bits
from pixelwise.prediction.outputs import NEEDS_BORDERS, NEEDS_CONFIDENCE, NEEDS_ENTROPY
from pixelwise.prediction.probability_maps import PROBABILITY_FILES, TYPES, ProbabilityOptions, stored_values
from pixelwise.records import VOID, Labels, Scores
from pixelwise.softmax import entropy, highest_probability, softmax

CONFIDENCE, ENTROPY = "confidence", "entropy"
BORDER = "border "  # and the number of the map

Values = NDArray[Any]  # [R, Q], of the layer's type
ValuesOf = Callable[[slice, slice, Labels], Sequence[Values]]  # rows, columns and their labels → one array a layer


class PixelLayer(NamedTuple):
    """One value a pixel."""

    name: str
    dtype: str  # little-endian, as NumPy names it
    class_id: int | None = None  # whose probability it is


def layers_for(
    outputs: Collection[str], options: ProbabilityOptions, classes: Sequence[str], borders: int = 0
) -> tuple[PixelLayer, ...]:
    """The layers that these outputs need.

    Args:
        options, classes: which probabilities, and the names of all of the model's classes.
        borders: the model's maps of borders between objects.
    """
    wanted = {CONFIDENCE: NEEDS_CONFIDENCE, ENTROPY: NEEDS_ENTROPY}
    layers = [PixelLayer(name, "<u2") for name, needed_by in wanted.items() if not needed_by.isdisjoint(outputs)]
    if not PROBABILITY_FILES.keys().isdisjoint(outputs):
        dtype = TYPES[options.dtype]
        layers += [PixelLayer(f"probability of {classes[number]}", dtype, number) for number in options.ids(classes)]
    if not NEEDS_BORDERS.isdisjoint(outputs):
        layers += [PixelLayer(f"{BORDER}{number}", "<u2") for number in range(borders)]
    return tuple(layers)


def layer_values(
    maps_MRQ: Scores, labels_RQ: Labels, layers: Sequence[PixelLayer], temperature: float, borders: int = 0
) -> list[Values]:
    """The values of every layer, [R, Q] each; without data where a label is void. Overwrites the scores.

    Args:
        maps_MRQ: the scores of the classes, then the probabilities of borders.
        borders: how many the latter are.
    """
    is_void_RQ = labels_RQ == VOID
    classes = len(maps_MRQ) - borders
    own = [layer for layer in layers if layer.name.startswith(BORDER)]
    of_scores = [layer for layer in layers if layer not in own]
    found = score_values(maps_MRQ[:classes], is_void_RQ, of_scores, temperature) if of_scores else []
    return found + [share_values(maps_MRQ[classes + number], is_void_RQ) for number in range(len(own))]


def score_values(
    scores_CRQ: Scores, is_void_RQ: NDArray[np.bool_], layers: Sequence[PixelLayer], temperature: float
) -> list[Values]:
    """The values of the layers made of the scores of classes."""
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
