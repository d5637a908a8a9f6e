"""int8: convolutions compute in integers, everything else in float, and the labels stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import picture
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.bundle.onnx_graph import batched, parse
from pixelwise.bundle.quantize import LEVELS, TensorRange, quantise, scale_and_zero
from pixelwise.prediction.load_model import Model, load
from pixelwise.tracing.network_layers import layers
from pixelwise.tracing.trace import trace

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def pair(fast_bundle: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    """The default network, untrained, in float32 and in int8."""
    from pixelwise.bundle.export import write_bundle

    bundle = read_bundle(fast_bundle[0])
    graph, stages = parse(bundle.model), bundle.metadata.stages
    images = [picture(seed, 90, 120) for seed in range(8)]
    ends = (batched(graph, stages[0].tensor), batched(graph, stages[-1].tensor))
    small = quantise(onnx.load_model_from_string(bundle.model), images, *ends)
    onnx.checker.check_model(small)
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    write_bundle(small, bundle.metadata, images[0], path)
    return load(fast_bundle[0], threads=1), load(path, threads=1)


def test_labels_stay_and_the_file_is_a_quarter(pair: tuple[Model, Model]) -> None:
    whole, small = pair
    for seed in (0, 20, 21):
        image = picture(seed, 75, 111)
        assert (whole.predict(image).labels == small.predict(image).labels).mean() > 0.9
    assert len(small.graph) < len(whole.graph) / 3


def test_convolutions_are_fused_into_integer_ones_and_resizes_are_not(
    pair: tuple[Model, Model], tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(pair[1].graph, options, providers=["CPUExecutionProvider"])
    ran = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    convolutions = sum(node.op_type == "Conv" for node in parse(pair[0].graph).nodes)
    assert ran.count("QLinearConv") == convolutions - 1
    assert ran.count("Conv") + ran.count("FusedConv") == 1  # the classifier
    # What skips a block is added to the block's result as integers.
    assert ran.count("QLinearAdd") >= 8
    before = parse(pair[1].graph)
    for node in before.nodes:
        if node.op_type == "Resize":
            assert before.model.graph is not None
            assert not node.input[0].endswith("/int8")


def test_a_trace_works_and_counts_the_same(pair: tuple[Model, Model]) -> None:
    whole, small = pair
    image = picture(1, 75, 111)
    (rows, _), (expected, _) = layers(small, image), layers(whole, image)
    for row, wanted in zip(rows, expected, strict=True):
        assert (row.name, row.shape, row.parameters) == (wanted.name, wanted.shape, wanted.parameters)
        assert row.multiply_adds == wanted.multiply_adds
        assert row.receptive == wanted.receptive
        assert row.strength == pytest.approx(wanted.strength, rel=0.2, abs=0.02)
    told = trace(small, image)
    assert (told.prediction.labels == small.predict(image).labels).mean() > 0.99


@settings(deadline=None)
@given(
    values=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50),
)
def test_ranges_hold_zero_exactly_and_waste_nothing(values: list[float]) -> None:
    seen = TensorRange()
    array = np.array(values, np.float32)
    seen.add(array, np.random.default_rng(0))
    scale, zero = scale_and_zero(seen)
    assert 0 <= zero <= LEVELS
    restored = (np.clip(np.round(array / scale) + zero, 0, LEVELS) - zero) * scale
    spread = max(float(array.max()), 0) - min(float(array.min()), 0)
    # No worse in all than the plain range from the lowest to the highest value, whose error is half a step a value.
    assert np.square(restored - array).sum() <= array.size * (spread / LEVELS) ** 2 + 1e-9
