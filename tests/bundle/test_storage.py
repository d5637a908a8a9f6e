"""Weights stored small: the file shrinks, the network computes as before, and what costs too much is not written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import numpy_helper

from conftest import picture
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.bundle.onnx_graph import parse
from pixelwise.bundle.weight_storage import STORAGES, Storage, store_weights, to_int8
from pixelwise.prediction.load_model import load
from pixelwise.tracing.activations import InspectedModel
from pixelwise.tracing.network_layers import layers

torch = pytest.importorskip("torch")


def stored(bundle: Path, storage: Storage) -> onnx.ModelProto:
    return store_weights(onnx.load_model_from_string(read_bundle(bundle).model), storage)


@given(
    values=arrays.arrays(np.float32, (4, 3, 2, 2), elements=st.floats(-1e6, 1e6, width=32)),
    axis=st.sampled_from([0, 1, -1]),
)
def test_int8_is_off_by_half_a_step_at_most(values: Any, axis: int) -> None:
    whole, scales = to_int8(values, axis)
    assert np.all(np.abs(whole * scales.astype(np.float64) - values) <= 0.5001 * scales)
    assert whole.dtype == np.int8
    assert whole.min() >= -127


@pytest.mark.parametrize(("storage", "smaller", "agrees"), [("float16", 1.9, 0.999), ("int8", 3.5, 0.95)])
def test_the_file_shrinks_and_labels_stay(
    fast_bundle: tuple[Path, Any], storage: Storage, smaller: float, agrees: float
) -> None:
    full = load(fast_bundle[0], threads=1)
    small = stored(fast_bundle[0], storage).SerializeToString()
    weights = sum(c.ByteSize() for c in onnx.load_model_from_string(full.graph).graph.initializer)
    assert (len(full.graph) - len(small)) > weights * (1 - 1 / smaller)
    image = picture(3, 90, 120)
    (labels,) = full.open_session(small).run(["labels"], {"image": image})
    assert (labels == full.predict(image).labels).mean() >= agrees


def test_nothing_is_unpacked_while_it_runs(fast_bundle: tuple[Path, Any], tmp_path: Path) -> None:
    """ONNX Runtime works the unpacking out when it loads the file: the graph that it runs holds none of it."""
    counts = {}
    for storage in STORAGES:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(tmp_path / f"{storage}.onnx")
        model = stored(fast_bundle[0], storage).SerializeToString()
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(options.optimized_model_filepath).graph.node
        counts[storage] = sorted(node.op_type for node in nodes)
    assert counts["float16"] == counts["int8"] == counts["float32"]


def test_float32_is_left_as_it_is_and_nan_is_not_rounded(fast_bundle: tuple[Path, Any]) -> None:
    model = onnx.load_model_from_string(read_bundle(fast_bundle[0]).model)
    assert store_weights(model, "float32") == model
    name = next(n.input[1] for n in model.graph.node if n.op_type == "Conv")
    broken = numpy_helper.from_array(np.full((64, 8, 3, 3), np.nan, np.float32), name)
    huge = numpy_helper.from_array(np.full((64, 8, 3, 3), 1e6, np.float32), "huge")
    del model.graph.initializer[:]
    model.graph.initializer.extend([broken, huge])
    assert [c.name for c in store_weights(model, "float16").graph.initializer] == [name, "huge"]
    assert [c.name for c in store_weights(model, "int8").graph.initializer] == [name, "huge"]


def test_a_trace_counts_and_shows_stored_weights(fast_bundle: tuple[Path, Any], tmp_path: Path) -> None:
    from pixelwise.bundle.export import write_bundle

    full = load(fast_bundle[0], threads=1)
    write_bundle(stored(fast_bundle[0], "int8"), full.metadata, picture(0, 90, 120), tmp_path / "small.onnx")
    small = load(tmp_path / "small.onnx", threads=1)
    image = picture(1, 75, 111)
    (rows, _), (expected, _) = layers(small, image), layers(full, image)
    for row, wanted in zip(rows, expected, strict=True):
        assert (row.name, row.parameters, row.multiply_adds) == (wanted.name, wanted.parameters, wanted.multiply_adds)
        assert row.receptive == wanted.receptive
    graph, whole = parse(small.graph), parse(full.graph)
    for node in whole.nodes:
        if node.op_type == "Conv":
            weight = whole.weight(node.input[1])
            step = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
            assert np.all(np.abs(graph.weight(node.input[1]) - weight) <= 0.51 * step)
    with pytest.raises(KeyError):
        graph.weight("image")
    assert InspectedModel(small).skips.keys() == InspectedModel(full).skips.keys()
