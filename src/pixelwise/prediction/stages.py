"""One image through the four stages, one after the other, each run and timed separately.

The bundle's graph is cut between the stages. Each part runs on the output of the one before, and its time is the time
of that run. Together they compute exactly what the whole graph computes.

Shapes: H, W the image's size; N its bands; h, w the network's input size; C classes; hs, ws the size of the scores.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.onnx_graph import Graph, RunnableSession, Traceable, batched, extract, parse
from pixelwise.images.false_colour import false_colour
from pixelwise.model.label_strips import GRAPH_VALUES, highest, labels_of_scores
from pixelwise.prediction.flow_events import STAGES, coloured, flow_event
from pixelwise.records import RGB, Bands, Labels, Raster, Scores
from pixelwise.trace_events import Event

HOW_TIMED = "each stage runs and is timed separately, on its own part of the graph"
RUNS = 5  # of each stage, for the median of its times


@dataclass(frozen=True)
class StageOutputs:
    """The output of each stage for one image."""

    image: Raster  # [H, W, N]
    network_input: NDArray[np.float32]  # [N, h, w], normalised
    scores: Scores  # [C, hs, ws]
    labels: Labels  # [H, W]
    milliseconds: tuple[float, float, float, float]  # of each of STAGES


class Part:
    """A part of the graph, in its own session."""

    def __init__(self, model: Traceable, graph: Graph, starts: list[str], end: str) -> None:
        part, self.inputs = extract(graph, starts, [end])
        self.session: RunnableSession = model.open_session(part)
        self.end = end

    def run(self, values: dict[str, NDArray[Any]], runs: int) -> tuple[NDArray[Any], float]:
        """The output, and the median time of `runs` runs in ms. `values` may hold more than the inputs."""
        needed = {name: values[name] for name in self.inputs}
        times = []
        for _ in range(runs):
            began = time.perf_counter()
            (output,) = self.session.run([self.end], needed)
            times.append((time.perf_counter() - began) * 1e3)
        return output, float(np.median(times))


class Stages:
    """A model cut into preprocess, network, and pixel-wise classification."""

    def __init__(self, model: Traceable) -> None:
        """Raises BundleError if the graph lacks the tensors that the metadata names."""
        graph = parse(model.graph)
        self.model = model
        self.input = batched(graph, model.metadata.stages[0].tensor)
        self.scores = batched(graph, model.metadata.stages[-1].tensor)
        self.preprocess = Part(model, graph, [], self.input)
        self.network = Part(model, graph, [self.input], self.scores)
        self.classify = Part(model, graph, [self.input, self.scores], "labels")

    def run(self, image_HWN: Raster, decode_ms: float = 0.0, runs: int = 1) -> StageOutputs:
        """Run the stages one after the other.

        Args:
            image_HWN: as the bundle takes it.
            decode_ms: time that decoding the image took.
            runs: of each stage; the reported time is their median.
        """
        values: dict[str, NDArray[Any]] = {"image": image_HWN}
        values[self.input], preprocess_ms = self.preprocess.run(values, runs)
        values[self.scores], network_ms = self.network.run(values, runs)
        labels_HW, classify_ms = self.labels(image_HWN, values, runs)
        times = (decode_ms, preprocess_ms, network_ms, classify_ms)
        return StageOutputs(image_HWN, values[self.input][0], values[self.scores][0], labels_HW, times)

    def labels(self, image_HWN: Raster, values: dict[str, NDArray[Any]], runs: int) -> tuple[NDArray[Any], float]:
        """Labels from scores; for a large image in strips, with bit-identical results."""
        scores_Chw = values[self.scores][0]
        size = (image_HWN.shape[0], image_HWN.shape[1])
        if len(scores_Chw) * size[0] * size[1] <= GRAPH_VALUES:
            return self.classify.run(values, runs)
        began = time.perf_counter()
        labels_HW = labels_of_scores(scores_Chw, size)
        return labels_HW, (time.perf_counter() - began) * 1e3

    def events(self, passed: StageOutputs) -> list[Event]:
        """The four `flow` events."""
        return flow_events(passed, self.model)


def flow_events(passed: StageOutputs, model: Traceable) -> list[Event]:
    """One `flow` event per stage, from its output. See `flow_event` for the content of an event."""
    metadata, classes = model.metadata, model.classes
    _, h, w = passed.network_input.shape
    num_classes, hs, ws = passed.scores.shape
    height, width = passed.labels.shape
    unit_Nhw = denormalised(passed.network_input, metadata.mean, metadata.std)
    input_hwN = np.ascontiguousarray((unit_Nhw * 255).round().astype(np.uint8).transpose(1, 2, 0))
    labels_hw = labels_of_scores(passed.scores, (h, w))
    present = np.unique(passed.labels).size
    times = passed.milliseconds
    return [
        flow_event(STAGES[0], passed.image, times[0], picture=false_colour(passed.image, metadata.bands)),
        flow_event(
            STAGES[1],
            passed.network_input.transpose(1, 2, 0),
            times[1],
            picture=false_colour(input_hwN, scaled_bands(metadata.bands)),
            policy=metadata.policy,
            unit_range=[float(unit_Nhw.min()), float(unit_Nhw.max())],  # of values 0–1, before normalisation
            mean=list(metadata.mean),
            std=list(metadata.std),
        ),
        # Bilinear upsampling keeps the range of the scores, so the event of h × w × C scores needs no such array.
        flow_event(
            STAGES[2],
            passed.scores.transpose(1, 2, 0),
            times[2],
            picture=coloured(highest(passed.scores), classes),
            classes=num_classes,
        )
        | {"shape": [h, w, num_classes], "scores_shape": [hs, ws, num_classes]},
        flow_event(
            STAGES[3],
            passed.labels,
            times[3],
            picture=coloured(passed.labels, classes),
            classes=num_classes,
            classes_present=int(present),
            network_shape=[h, w],
            network_classes_present=int(np.unique(labels_hw).size),
            image_shape=[height, width],
        ),
    ]


def scaled_bands(bands: Bands) -> Bands:
    """The same bands with values of 0 to 255, as the network takes them."""
    if bands == RGB:
        return RGB
    return replace(bands, dtype="uint8", low=(0.0,) * len(bands), high=(255.0,) * len(bands))


def denormalised(
    input_Nhw: NDArray[np.float32], mean: tuple[float, ...], std: tuple[float, ...]
) -> NDArray[np.float32]:
    """Network input → 0–1. The inverse of Preprocess.normalise.

    Clipped to 0–1: for RGB this only removes rounding errors; other bands may reach a little beyond their range.
    """
    scale, shift = np.array(std, np.float32)[:, None, None], np.array(mean, np.float32)[:, None, None]
    return np.asarray(np.clip(input_Nhw * scale + shift, 0, 1), np.float32)
