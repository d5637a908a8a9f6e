"""The bands of images that are not read as RGB: their values, bands that tell nothing, and bands that tell too much.

A band that alone predicts the masks is often made from them, or a map made by others from later knowledge: a model
trained on it fails where it is missing. Two signs are reported: a threshold, or a set of values, of one band that
reproduces a class almost exactly; and a band that looks like a map (few values, in flat areas) of which one value, or
all above one, are almost only one class.

Shapes: B bands; P sampled pixels of all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.masks.inspection import BandValues
from pixelwise.datasets.read_ahead import in_threads
from pixelwise.datasets.read_sample import indexed_image, read_sample_mask
from pixelwise.doctor.validate_pair import PairFacts, where
from pixelwise.errors import DataError
from pixelwise.records import RGB, VOID, Dataset, Problem, Sample

SAMPLED_IMAGES, SAMPLED_PIXELS = 32, 4096  # looked at for percentiles and leaks: images, pixels of each
LEAK_IOU, LEAK_AUC = 0.95, 0.99
FEW_VALUES = 128  # a map has at most this many different values in the sampled pixels
FLAT = 0.8  # of a map's horizontal neighbours are equal
PURE, COVERED = 0.95, 0.2  # of the pixels of a map's value are of one class; of the class's pixels have that value
NEARLY = 0.8
ENOUGH_PX = 50  # sampled pixels of a class


@dataclass(frozen=True)
class BandRow:
    """The values of one band over all images, in units of the files."""

    name: str
    low: float  # NaN if the band holds no value
    percentiles: tuple[float, float, float]  # 1st, 50th and 99th, of sampled pixels
    high: float
    missing: float  # share of pixels without data, 0–1
    flat: float  # share of horizontal neighbours with equal values, 0–1

    def to_json(self) -> dict[str, Any]:
        names = ("p1", "median", "p99")
        return {
            "name": self.name, "low": self.low, **dict(zip(names, self.percentiles, strict=True)), "high": self.high,
            "missing": self.missing, "flat": self.flat,
        }  # fmt: skip


@dataclass(frozen=True)
class PixelSample:
    """Pixels of several images with their classes."""

    values_PB: NDArray[np.float32]
    labels_P: NDArray[np.uint8]


def examine_bands(dataset: Dataset, pairs: Sequence[PairFacts]) -> tuple[tuple[BandRow, ...], list[Problem]]:
    """The values of every band, and warnings about them; nothing for RGB images. Unreadable pairs are skipped."""
    looked = [(pair, pair.bands) for pair in pairs if pair.bands is not None]
    if dataset.bands == RGB or not looked:
        return (), []
    sampled = _sampled(dataset, [pair.sample for pair, _ in looked if pair.pixels is not None])
    rows = tuple(_row(i, name, [values for _, values in looked], sampled) for i, name in enumerate(dataset.bands.names))
    problems = [problem for row in rows for problem in _dead(row, len(looked), dataset)]
    told = {problem.where for problem in problems}
    problems += [
        problem for i, row in enumerate(rows) if row.name not in told for problem in _gaps(i, row, looked, dataset)
    ]
    if len(rows) > 1:
        problems += _leaks([row for row in rows if row.name not in told], sampled, dataset)
    return rows, problems


def _sampled(dataset: Dataset, samples: Sequence[Sample]) -> PixelSample:
    """Pixels on a grid of images spread over the dataset."""
    count = min(len(samples), SAMPLED_IMAGES)
    chosen = [samples[i * len(samples) // count] for i in range(count)]
    parts = [part for part in in_threads(lambda sample: _grid(dataset, sample), chosen) if part]
    if not parts:
        return PixelSample(np.empty((0, len(dataset.bands)), np.float32), np.empty(0, np.uint8))
    return PixelSample(np.concatenate([values for values, _ in parts]), np.concatenate([labels for _, labels in parts]))


def _grid(dataset: Dataset, sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.uint8]] | None:
    try:
        image_HWB = indexed_image(sample, dataset.bands)
        size = (image_HWB.shape[0], image_HWB.shape[1])
        mask_HW = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes), size)
    except DataError:
        return None
    if mask_HW.shape != size:
        return None
    step = max(round((size[0] * size[1] / SAMPLED_PIXELS) ** 0.5), 1)
    start = step // 2
    values = image_HWB[start::step, start::step].astype(np.float32)
    return values.reshape(-1, values.shape[2]), mask_HW[start::step, start::step].reshape(-1)


def _row(band: int, name: str, looked: Sequence[BandValues], sampled: PixelSample) -> BandRow:
    known_P = sampled.values_PB[:, band]
    known_P = known_P[np.isfinite(known_P)]
    low, median, high = np.percentile(known_P, [1, 50, 99]).tolist() if known_P.size else [np.nan] * 3
    lows, highs = ([one[band] for one in ends] for ends in ([v.low for v in looked], [v.high for v in looked]))
    return BandRow(
        name,
        min((value for value in lows if not np.isnan(value)), default=np.nan),
        (low, median, high),
        max((value for value in highs if not np.isnan(value)), default=np.nan),
        float(np.mean([values.missing[band] for values in looked])),
        float(np.mean([values.flat[band] for values in looked])),
    )


def _dead(row: BandRow, images: int, dataset: Dataset) -> list[Problem]:
    """A band that is the same in every pixel of all images, or holds no data."""
    remedy = f"Leave it out: --bands {_without(dataset, [row.name])}."
    if np.isnan(row.low):
        what = f"holds no data in any of the {images:,} images: it tells a model nothing."
        return [Problem("warning", "band-empty", row.name, what, remedy)]
    if row.low == row.high:
        what = f"is {row.low:g} in every pixel of the {images:,} images: it tells a model nothing."
        return [Problem("warning", "band-constant", row.name, what, remedy)]
    return []


def _gaps(band: int, row: BandRow, looked: Sequence[tuple[PairFacts, BandValues]], dataset: Dataset) -> list[Problem]:
    """A band that holds no data in some images."""
    empty = [pair for pair, values in looked if values.missing[band] == 1]
    if not empty:
        return []
    what = (
        f"holds no data in {len(empty):,} of {len(looked):,} images, such as {where(dataset, empty[0].sample.image)}."
    )
    remedy = (
        f"Add the band there, leave the images out, or leave the band out: --bands {_without(dataset, [row.name])}."
    )
    return [Problem("warning", "band-gaps", row.name, what, remedy)]


def _leaks(rows: Sequence[BandRow], sampled: PixelSample, dataset: Dataset) -> list[Problem]:
    """Bands that alone predict a class, each with the numbers."""
    names = dataset.bands.names
    found: list[tuple[str, str, str]] = []
    for row in rows:
        values_P = sampled.values_PB[:, names.index(row.name)]
        used_P = np.isfinite(values_P) & (sampled.labels_P != VOID)
        what = _leak(values_P[used_P], sampled.labels_P[used_P], row, dataset.classes.names)
        if what:
            found.append((row.name, *what))
    if not found or len(found) == len(names):
        return []
    remedy = (
        "If it was made from the masks, or by others from what is unknown where the model will be used, leave it out: "
        f"--bands {_without(dataset, [name for name, _, _ in found])}."
    )
    return [Problem("warning", kind, name, message, remedy) for name, kind, message in found]


def _leak(
    values_P: NDArray[np.float32], labels_P: NDArray[np.uint8], row: BandRow, classes: Sequence[str]
) -> tuple[str, str] | None:
    """The kind of warning and its message; None if the band tells no class by itself."""
    counts = np.bincount(labels_P, minlength=len(classes))
    rarer = [i for i, count in enumerate(counts) if ENOUGH_PX <= count <= len(labels_P) / 2]
    if not rarer or len(values_P) < 2 * ENOUGH_PX:
        return None
    order_P = np.argsort(values_P, kind="stable")
    distinct, starts = np.unique(values_P[order_P], return_index=True)
    number_V = np.diff([*starts, len(values_P)])
    for label in rarer:
        hits_V = np.add.reduceat((labels_P[order_P] == label).astype(np.int64), starts)
        auc, iou, how = _best(distinct, number_V, hits_V)
        if iou >= LEAK_IOU or auc >= LEAK_AUC:
            what = f"alone predicts {classes[label]!r}: IoU {iou:.3f} with {how}; AUC {auc:.3f}."
            return "band-leaks", what
        if len(distinct) <= FEW_VALUES and row.flat >= FLAT:
            told = _pure(distinct, number_V, hits_V)
            if told:
                what = (
                    f"looks like a map, not a measurement: {len(distinct)} values, and {row.flat:.0%} of neighbouring "
                    f"pixels are equal. Where it is {told[0]}, {told[1]:.1%} of the pixels are {classes[label]!r}; "
                    f"these are {told[2]:.0%} of that class."
                )
                return "band-is-a-map", what
    return None


def _best(
    distinct: NDArray[np.float32], number_V: NDArray[np.int64], hits_V: NDArray[np.int64]
) -> tuple[float, float, str]:
    """AUC of a band for a class, and the best IoU: of a threshold, or for few values of a set of them.

    The AUC is that of the better direction; ties count half.
    """
    total, all_hits = int(number_V.sum()), int(hits_V.sum())
    below_V = np.cumsum(number_V - hits_V) - (number_V - hits_V)
    auc = float((hits_V * (below_V + (number_V - hits_V) / 2)).sum() / (all_hits * (total - all_hits)))
    tp_up, n_up = np.cumsum(hits_V[::-1])[::-1], np.cumsum(number_V[::-1])[::-1]
    tp_down, n_down = np.cumsum(hits_V), np.cumsum(number_V)
    up, down = tp_up / (n_up + all_hits - tp_up), tp_down / (n_down + all_hits - tp_down)
    iou, how = max((float(up.max()), f"values from {distinct[up.argmax()]:g}"),
                   (float(down.max()), f"values up to {distinct[down.argmax()]:g}"))  # fmt: skip
    if len(distinct) <= FEW_VALUES:
        order_V = np.argsort(-hits_V / number_V, kind="stable")
        tp, n = np.cumsum(hits_V[order_V]), np.cumsum(number_V[order_V])
        chosen = tp / (n + all_hits - tp)
        if float(chosen.max()) > iou:
            values = sorted(distinct[order_V[: int(chosen.argmax()) + 1]].tolist())
            listed = ", ".join(f"{value:g}" for value in values[:6]) + (" …" if len(values) > 6 else "")
            iou, how = float(chosen.max()), f"the values {listed}"
    return max(auc, 1 - auc), iou, how


def _pure(
    distinct: NDArray[np.float32], number_V: NDArray[np.int64], hits_V: NDArray[np.int64]
) -> tuple[str, float, float] | None:
    """Values of a map that are almost only one class, in words; its share of their pixels, and theirs of its pixels."""
    all_hits = hits_V.sum()
    candidates = [
        (str(f"{value:g}"), hits, number) for value, hits, number in zip(distinct, hits_V, number_V, strict=True)
    ]
    tp_up, n_up = np.cumsum(hits_V[::-1])[::-1], np.cumsum(number_V[::-1])[::-1]
    candidates += [(f"{value:g} or more", hits, n) for value, hits, n in zip(distinct, tp_up, n_up, strict=True)]
    pure = [
        (words, hits / number, hits / all_hits)
        for words, hits, number in candidates
        if hits >= PURE * number and hits >= COVERED * all_hits
    ]
    most = max((one[2] for one in pure), default=0.0)
    return next((one for one in pure if one[2] >= NEARLY * most), None)  # single values come first


def _without(dataset: Dataset, names: Sequence[str]) -> str:
    """The value of --bands that leaves these bands out: numbers where the bands are named by numbers."""
    kept = [
        name.removeprefix("band ") if name.startswith("band ") else name
        for name in dataset.bands.names
        if name not in names
    ]
    listed = ",".join(kept)
    return f"'{listed}'" if " " in listed else listed
