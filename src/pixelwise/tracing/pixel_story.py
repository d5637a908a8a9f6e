"""One pixel explained: its label, the model's confidence, its neighbourhood, the layers' responses. All is computed.

Shapes: H, W the image's own size; N its bands; C classes; hs, ws the size of the scores; c, h, w of a layer's output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import UsageError
from pixelwise.images.false_colour import false_colour
from pixelwise.records import RGB, VOID, Bands, Colour, Labels, Prediction, Raster, Scores, bilinear_lookup
from pixelwise.softmax import softmax

AROUND_PX = 4  # half the side of the square neighbourhood
NEAR_PX = 64  # how far away a boundary is searched
CANDIDATES = 256  # positions among which the least certain pixel is searched
LISTED = 16  # bands in words
SURE = (  # minimum probability → in words
    (0.95, "almost certain"),
    (0.8, "confident"),
    (0.6, "fairly confident"),
    (0.4, "uncertain"),
    (0.0, "almost guessing"),
)

NO_DATA = (
    "This pixel has no data in any band, so it has no label. The network was given the middle of each band's range."
)


@dataclass(frozen=True)
class LayerResponse:
    """The response of one layer at the pixel: its strongest channel there."""

    layer: str
    channel: int
    value: float
    times_usual: float  # |value| over the mean |value| of that channel in this image


@dataclass(frozen=True)
class PixelStory:
    """Why one pixel has its label."""

    x: int
    y: int
    chosen: str  # how this pixel was chosen, in words
    colour: Colour  # as it is shown
    values: Mapping[str, float]  # band → stored value, NaN where there is none; empty for RGB
    label: str
    probability: float  # of its label, 0–1
    runner_up: str | None  # the second most probable class; None where there is only one class
    margin: float  # probability of the label minus that of the runner-up
    confidence: str  # in words
    probabilities: Mapping[str, float]  # of all classes, in class order
    neighbourhood: Mapping[str, float]  # class → share of the neighbouring pixels, largest first
    boundary_px: float | None  # to the nearest pixel of another class; None: none within NEAR_PX
    answers: tuple[LayerResponse, ...]
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def tell_pixel(
    image_HWN: Raster,
    bands: Bands,
    prediction: Prediction,
    activations: Mapping[str, NDArray[np.float32]],
    pixel: tuple[int, int] | None = None,
) -> PixelStory:
    """Explain one pixel.

    Args:
        image_HWN: as the model takes it.
        bands: its bands.
        activations: layer → its output [c, h, w].
        pixel: (x, y) from the top left; None: where the model is least certain.

    Raises:
        UsageError: the pixel lies outside the image.
    """
    height, width = prediction.labels.shape
    if pixel is None:
        x, y = least_sure(prediction.scores, prediction.temperature, (height, width))
        chosen = "where the model is least certain"
    else:
        (x, y), chosen = pixel, "as requested"
        if not (0 <= x < width and 0 <= y < height):
            raise UsageError(
                f"pixel ({x}, {y}) is outside the image of {width}×{height} pixels; "
                f"expected x from 0 to {width - 1} and y from 0 to {height - 1}."
            )
    probabilities = prediction.probabilities(x, y)
    own = class_at(prediction, x, y)  # None: no data; told as the class that the network would have given it
    label = own or max(probabilities, key=probabilities.__getitem__)
    others = {name: p for name, p in probabilities.items() if name != label}
    runner_up = max(others, key=others.__getitem__) if others else None
    margin = probabilities[label] - (others[runner_up] if runner_up else 0.0)
    around = neighbourhood(prediction, x, y)
    boundary_px = distance_to_boundary(prediction.labels, x, y)
    confidence = in_words(probabilities[label])
    red, green, blue = (int(value) for value in false_colour(image_HWN[y : y + 1, x : x + 1], bands)[0, 0])
    values = dict(zip(bands.names, image_HWN[y, x].tolist(), strict=True)) if bands != RGB else {}
    return PixelStory(
        x=x,
        y=y,
        chosen=chosen,
        colour=(red, green, blue),
        values=values,
        label=label,
        probability=probabilities[label],
        runner_up=runner_up,
        margin=margin,
        confidence=confidence,
        probabilities=probabilities,
        neighbourhood=around,
        boundary_px=boundary_px,
        answers=strongest_answers(activations, (x + 0.5) / width, (y + 0.5) / height),
        sentences=(
            *([NO_DATA] if own is None else []),
            *sentences(label, probabilities, runner_up, confidence, around, boundary_px),
            *([values_in_words(values)] if values else []),
        ),
    )


def class_at(prediction: Prediction, x: int, y: int) -> str | None:
    """The name of a pixel's label; None where the image has no data, so that it is void."""
    label = int(prediction.labels[y, x])
    return None if label == VOID else prediction.classes.names[label]


def least_sure(scores_Chw: Scores, temperature: float, size: tuple[int, int]) -> tuple[int, int]:
    """The pixel (x, y) of an image of `size` where the two most probable classes are closest."""
    if len(scores_Chw) == 1:
        return size[1] // 2, size[0] // 2
    probabilities_Chw = softmax(scores_Chw, temperature)
    top2 = np.partition(probabilities_Chw, -2, axis=0)[-2:]
    margin_hw = top2[1] - top2[0]
    h, w = margin_hw.shape
    height, width = size
    # Scores lie between pixels, where the margin differs: the best positions are checked again pixel by pixel.
    candidates = set()
    for place in np.argsort(margin_hw, axis=None, kind="stable")[:CANDIDATES]:
        row, column = divmod(int(place), w)
        candidates.add((int((column + 0.5) / w * width), int((row + 0.5) / h * height)))

    def margin(pixel: tuple[int, int]) -> float:
        scores_C = bilinear_lookup(scores_Chw, (pixel[0] + 0.5) / width, (pixel[1] + 0.5) / height)
        ordered = np.sort(softmax(scores_C, temperature))
        return float(ordered[-1] - ordered[-2])

    return min(sorted(candidates), key=margin)


def neighbourhood(prediction: Prediction, x: int, y: int) -> dict[str, float]:
    """Class → its share of the pixels around (x, y), without the pixel itself; largest first."""
    labels_HW, names = prediction.labels, prediction.classes.names
    square = labels_HW[max(y - AROUND_PX, 0) : y + AROUND_PX + 1, max(x - AROUND_PX, 0) : x + AROUND_PX + 1]
    counts = np.bincount(square.ravel(), minlength=256)
    counts[labels_HW[y, x]] -= 1
    others = max(square.size - 1, 1)
    counts = counts[: len(names)]
    return {names[i]: float(counts[i]) / others for i in np.argsort(-counts, kind="stable") if counts[i]}


def distance_to_boundary(labels_HW: Labels, x: int, y: int) -> float | None:
    """Distance in pixels from (x, y) to the nearest pixel of another class; None where none is within NEAR_PX."""
    top, left = max(y - NEAR_PX, 0), max(x - NEAR_PX, 0)
    part = labels_HW[top : y + NEAR_PX + 1, left : x + NEAR_PX + 1]
    rows, columns = np.nonzero(part != labels_HW[y, x])
    if not len(rows):
        return None
    nearest = float(np.sqrt(((rows + top - y) ** 2 + (columns + left - x) ** 2).min()))
    return nearest if nearest <= NEAR_PX else None


def strongest_answers(activations: Mapping[str, NDArray[np.float32]], u: float, v: float) -> tuple[LayerResponse, ...]:
    """The strongest channel of every layer at the relative position (u, v), compared with that channel's mean."""
    answers = []
    for name, tensor in activations.items():
        _, h, w = tensor.shape
        here = tensor[:, min(int(v * h), h - 1), min(int(u * w), w - 1)]
        channel = int(np.abs(here).argmax())
        usual = float(np.abs(tensor[channel]).mean())
        value = float(here[channel])
        answers.append(LayerResponse(name, channel, value, abs(value) / usual if usual else 0.0))
    return tuple(answers)


def values_in_words(values: Mapping[str, float]) -> str:
    """ "Its values: nir 0.42, red 0.1, swir no data"."""
    listed = [f"{band} {f'{value:.6g}' if np.isfinite(value) else 'no data'}" for band, value in values.items()]
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return f"Its values: {', '.join(listed[:LISTED])}{more}."


def in_words(probability: float) -> str:
    return next(words for least, words in SURE if probability >= least)


def sentences(
    label: str,
    probabilities: Mapping[str, float],
    runner_up: str | None,
    confidence: str,
    around: Mapping[str, float],
    boundary_px: float | None,
) -> tuple[str, ...]:
    """The numbers in words."""
    lines = [f"The model is {confidence}: {label} with {probabilities[label]:.1%}."]
    if runner_up and probabilities[runner_up] >= 0.01:
        lines.append(f"The runner-up is {runner_up} with {probabilities[runner_up]:.1%}.")
    elif runner_up:
        lines.append("Every other class is below 1 %.")
    same = around.get(label, 0.0)
    if same >= 0.999:
        lines.append(f"All neighbouring pixels are also {label}.")
    elif around:
        other = next((name for name in around if name != label), None)
        agree = f"{same:.0%} of the neighbouring pixels are also {label}"
        lines.append(f"{agree}; {around[other]:.0%} are {other}." if other else f"{agree}.")
    if boundary_px is None:
        lines.append(f"There is no class boundary within {NEAR_PX} px.")
    elif boundary_px <= 2:
        lines.append("The pixel is on a class boundary, where labels are most often wrong.")
    else:
        lines.append(f"The nearest class boundary is {boundary_px:.0f} px away.")
    return tuple(lines)
