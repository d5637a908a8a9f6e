"""A mark in an exported graph becomes the mean over mirror images of what comes before it."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pixelwise.bundle.mirrored_graph import write_mirror_images
from pixelwise.bundle.onnx_session import open_session
from pixelwise.model.mirrored import AXES, MARK

DOMAIN, OPERATOR = MARK.split("::")
SHAPE = [1, 2, "h", "w"]


def marked_graph(variants: tuple[int, ...]) -> onnx.ModelProto:
    """image → ×2 → for each of `variants` a convolution of its own, marked → their sum."""
    rng = np.random.default_rng(0)
    constants, nodes = (
        [numpy_helper.from_array(np.array(2, np.float32), "two")],
        [
            helper.make_node("Mul", ["image", "two"], ["seen"]),
            helper.make_node("Shape", ["image"], ["size"]),  # is the same in all passes
        ],
    )
    for number, variant in enumerate(variants):
        weights = rng.normal(size=(2, 2, 3, 3)).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"weights {number}"))
        nodes += [
            helper.make_node("Conv", ["seen", f"weights {number}"], [f"sums {number}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"sums {number}"], [f"flat {number}"]),
            helper.make_node("Reshape", [f"flat {number}", "size"], [f"scores {number}"]),
            helper.make_node(OPERATOR, ["seen", f"scores {number}"], [f"mean {number}"], domain=DOMAIN,
                             variants=variant),
        ]  # fmt: skip
    nodes.append(helper.make_node("Sum", [f"mean {number}" for number in range(len(variants))], ["answer"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("image", "answer")]
    graph = helper.make_graph(nodes, "marked", ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def run(model: onnx.ModelProto, image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(open_session(model.SerializeToString()).run(["answer"], {"image": image})[0])


@pytest.mark.parametrize("variants", [(2,), (4,), (4, 2, 2)])
def test_the_answer_is_the_sum_of_the_means_over_mirror_images(variants: tuple[int, ...]) -> None:
    model = write_mirror_images(marked_graph(variants))
    onnx.checker.check_model(model, full_check=True)
    assert [entry.domain for entry in model.opset_import] == [""]
    image = np.random.default_rng(1).normal(size=(1, 2, 7, 12)).astype(np.float32)
    expected = np.zeros_like(image)
    for number, variant in enumerate(variants):
        plain = marked_graph(variants)
        for node in plain.graph.node:  # one network without its mirror images
            if node.domain == DOMAIN:
                node.CopyFrom(helper.make_node("Identity", [node.input[1]], list(node.output)))
        plain.graph.node[-1].input[:] = [f"mean {number}"]
        expected += np.mean([np.flip(run(plain, np.flip(image, axes).copy()), axes) for axes in AXES[variant]], axis=0)
    np.testing.assert_allclose(run(model, image), expected, rtol=1e-5, atol=1e-5)
    assert sum(node.op_type == "Conv" for node in model.graph.node) == sum(variants)
    assert sum(node.op_type == "Shape" for node in model.graph.node) == 1
    assert len(model.graph.initializer) < len(plain.graph.initializer) + 5 * sum(variants)  # weights are shared


def test_a_graph_without_marks_stays_as_it_is() -> None:
    model = marked_graph(())
    assert write_mirror_images(model) is model
