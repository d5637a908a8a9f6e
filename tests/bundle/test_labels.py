"""Labels that skip what need not be computed are those of resizing every score and taking the highest."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pixelwise.bundle.graph_cost import LABELS_DIGESTS, labels_digest
from pixelwise.bundle.label_graph import add_labels
from pixelwise.bundle.protobuf_reader import read_model
from pixelwise.model import label_strips
from pixelwise.model.label_strips import labels_of_scores

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def session() -> Any:
    graph = helper.make_graph(
        [],
        "labels",
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, ["H", "W", 3]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, "C", "h", "w"]),
        ],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, ["H", "W"])],
    )
    add_labels(graph, "image", "scores", "labels")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


sides = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(
    low=st.tuples(sides, sides), full=st.tuples(sides, sides), classes=st.integers(1, 5), seed=st.integers(0, 9999),
    smooth=st.booleans(), whole=st.booleans(),
)  # fmt: skip
@example(low=(1, 1), full=(40, 40), classes=1, seed=0, smooth=False, whole=True)
@example(low=(40, 40), full=(1, 1), classes=5, seed=0, smooth=False, whole=False)
def test_labels_are_those_of_all_scores_resized(
    session: Any,
    low: tuple[int, int],
    full: tuple[int, int],
    classes: int,
    seed: int,
    smooth: bool,
    whole: bool,
) -> None:
    scores_Chw = np.random.default_rng(seed).normal(size=(classes, *low)).astype(np.float32)
    if smooth:
        scores_Chw = np.stack([cv2.GaussianBlur(plane, (0, 0), 4) for plane in scores_Chw]) * 20
    if whole:
        scores_Chw = scores_Chw.round()  # many ties
    image = np.zeros((*full, 3), np.uint8)
    (labels,) = session.run(["labels"], {"image": image, "scores": scores_Chw[None]})
    assert (labels_of_scores(scores_Chw, full) == labels).all()  # in strips, outside the graph: to the bit
    resized = torch.nn.functional.interpolate(torch.from_numpy(scores_Chw[None]), full, mode="bilinear")[0].numpy()
    assert labels.shape == full
    assert labels.dtype == np.uint8
    chosen = np.take_along_axis(resized, labels[None].astype(np.intp), axis=0)[0]
    assert np.all(resized.max(axis=0) - chosen <= 1e-5)  # the highest, but for what rounding decides
    level = np.ones(full, bool) if classes == 1 else np.ptp(resized, axis=0) == 0
    if whole and not smooth:
        assert np.all(labels[level] == 0)  # where all are equal, the lowest id


def test_scores_that_agree_everywhere_and_nowhere(session: Any) -> None:
    """No pixel left to interpolate, and all of them."""
    image = np.zeros((33, 47, 3), np.uint8)
    same = np.zeros((1, 3, 8, 8), np.float32)
    same[:, 2] = 1
    (labels,) = session.run(["labels"], {"image": image, "scores": same})
    assert (labels == 2).all()
    board = np.indices((8, 8)).sum(axis=0) % 2
    checked = np.stack([board, 1 - board]).astype(np.float32)[None]
    (labels,) = session.run(["labels"], {"image": image, "scores": checked})
    resized = torch.nn.functional.interpolate(torch.from_numpy(checked), (33, 47), mode="bilinear")[0].numpy()
    clear = np.abs(resized[0] - resized[1]) > 1e-5
    assert np.array_equal(labels[clear], resized.argmax(axis=0)[clear])


@pytest.mark.parametrize(("low", "full"), [((30, 41), (700, 900)), ((90, 70), (180, 140)), ((3, 2), (1, 900))])
def test_labels_in_several_strips_and_chunks_are_the_graphs(
    session: Any, monkeypatch: pytest.MonkeyPatch, low: tuple[int, int], full: tuple[int, int]
) -> None:
    monkeypatch.setattr(label_strips, "CHUNK_PIXELS", 1000)
    monkeypatch.setattr(label_strips, "STRIP_PIXELS", 300)
    for scores_Chw in (
        np.random.default_rng(4).normal(size=(3, *low)).astype(np.float32).round(1),
        np.full((3, *low), 0.25, np.float32),
    ):
        image = np.zeros((*full, 3), np.uint8)
        (labels,) = session.run(["labels"], {"image": image, "scores": scores_Chw[None]})
        assert (labels_of_scores(scores_Chw, full) == labels).all()


def test_bundles_with_this_part_are_accepted() -> None:
    """How many pixels it interpolates depends on the image, so it is known by its digest."""
    graph = onnx.GraphProto()
    add_labels(graph, "image", "stage/scores", "labels")
    message, _ = read_model(helper.make_model(graph).SerializeToString())
    assert labels_digest(message["graph"]) in LABELS_DIGESTS, "add the new digest; the old ones stay, for older bundles"
