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
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from conftest import picture
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.bundle.onnx_graph import batched, parse
from pixelwise.bundle.quantize import LEVELS, TensorRange, quantise, scale_and_zero, whole_weights
from pixelwise.prediction.built_in_models import BuiltIn, models
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


def in_16_bits(whole: NDArray[np.int8], inputs: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A convolution's sums at one place [O], as VPMADDUBSW makes them: pairs of products, cut off at 16 bits."""
    pairs = (whole.astype(np.int64) * inputs).reshape(len(whole), -1, 2).sum(2)
    return np.asarray(np.clip(pairs, -32768, 32767).sum(1))


@settings(deadline=None)
@given(weights=arrays(np.float32, (4, 8, 3, 3), elements=st.floats(-3, 3, width=32)), seed=st.integers(0, 99))
def test_processors_without_vnni_lose_nothing(weights: NDArray[np.float32], seed: int) -> None:
    whole, scales_O = whole_weights(weights)
    assert np.abs(whole * scales_O[:, None, None, None] - weights).max() <= 0.501 * scales_O.max()
    rng = np.random.default_rng(seed)
    for order in (whole, whole.transpose(0, 2, 3, 1)):  # as kernels lay them out
        row = order.reshape(4, -1)
        for inputs in (np.full(72, 255, np.uint8), np.uint8(255) * (row[0] > 0), rng.integers(0, 256, 72, np.uint8)):
            assert np.array_equal(in_16_bits(row, inputs), (row.astype(np.int64) * inputs).sum(1))


@pytest.mark.parametrize("model", [model for model in models() if model.name.endswith("int8")], ids=lambda m: m.name)
def test_what_is_shipped_computes_the_same_everywhere(model: BuiltIn) -> None:
    graph = onnx.load_model_from_string(read_bundle(model.path).model).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    packed = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    looked_at = 0
    for node in graph.node:
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        if node.op_type == "Conv" and node.input[1] in packed and groups == 1:
            whole = stored[packed[node.input[1]]]
            for order in (whole, whole.transpose(0, 2, 3, 1)):
                row = order.reshape(len(whole), -1).astype(int)
                for sign in (row, -row):
                    assert 255 * (np.maximum(sign, 0)[:, 1:] + np.maximum(sign, 0)[:, :-1]).max() <= 32767
            looked_at += 1
    assert looked_at > 40


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
