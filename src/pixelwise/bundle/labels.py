"""Scores at the network's resolution → labels at the image's own, without scores at the image's own ever being made.

A pixel's scores are a mixture of those of the four places around it. Where one class is the highest at all four, it is
the highest of every mixture of them, so nothing need be computed: on photos that is nine pixels in ten. Only the others
are interpolated. The labels are those of resizing all scores and taking the highest, ties to the lower id included.

Shapes: C classes; h, w the size of the scores, H, W that of the image; K pixels that are interpolated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from pixelwise.records import VOID

PREFIX = "labels/"


class Builder:
    """Collects nodes and constants; a call adds a node and returns the name of what it computes."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{PREFIX}{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), f"{PREFIX}constant_{len(self.constants)}"))
        return self.constants[-1].name


def add_labels(graph: onnx.GraphProto, image: str, scores_1Chw: str, labels: str) -> None:
    """Add the operators that compute `labels` uint8 [H, W] for `image` [H, W, 3]; `scores_1Chw` are float."""
    add = Builder()
    zero, column = add.constant(np.float32(0)), add.constant([-1, 1])
    h, y0, y1, part_y = neighbours(add, add("Shape", image, start=0, end=1), add("Shape", scores_1Chw, start=2, end=3))
    w, x0, x1, part_x = neighbours(add, add("Shape", image, start=1, end=2), add("Shape", scores_1Chw, start=3, end=4))

    # The class that is highest at (y, x), (y+1, x), (y, x+1) and (y+1, x+1), or VOID where there is more than one.
    low = add("Cast", add("ArgMax", scores_1Chw, axis=1, keepdims=1), to=TensorProto.FLOAT)
    window: dict[str, Any] = {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}  # beyond the edge nothing is added
    spread = add("Add", add("MaxPool", low, **window), add("MaxPool", add("Neg", low), **window))
    agreed = add("Where", add("Equal", spread, zero), low, add.constant(np.float32(VOID)))
    agreed_hw = add("Reshape", add("Cast", agreed, to=TensorProto.UINT8), add("Concat", h, w, axis=0))

    # Every pixel takes what its four places agree on. Whole rows are copied, then whole columns, as rows: far faster
    # than pixel by pixel.
    agreed_wH = add("Transpose", add("Gather", agreed_hw, y0, axis=0), perm=[1, 0])
    labels_HW = add("Transpose", add("Gather", agreed_wH, x0, axis=0), perm=[1, 0])

    # The others: where they are, their four neighbours' scores, and the mixture.
    at_2K = add("NonZero", add("Equal", labels_HW, add.constant(np.uint8(VOID))))
    y_K, x_K = (add("Gather", at_2K, add.constant(axis), axis=0) for axis in (0, 1))
    classes = add("Shape", scores_1Chw, start=1, end=2)
    table_hwC = add("Transpose", scores_1Chw, perm=[0, 2, 3, 1])
    table_PC = add("Reshape", table_hwC, add("Concat", add.constant([-1]), classes, axis=0))
    rows_K = [add("Mul", add("Gather", y, y_K), w) for y in (y0, y1)]
    columns_K = [add("Gather", x, x_K) for x in (x0, x1)]
    part_x_K1 = add("Reshape", add("Gather", part_x, x_K), column)
    part_y_K1 = add("Reshape", add("Gather", part_y, y_K), column)

    def mixed(first: str, second: str, part: str) -> str:
        return add("Add", first, add("Mul", add("Sub", second, first), part))

    corners_KC = [[add("Gather", table_PC, add("Add", row, x), axis=0) for x in columns_K] for row in rows_K]
    above, below = (mixed(left, right, part_x_K1) for left, right in corners_KC)
    best_K = add("ArgMax", mixed(above, below, part_y_K1), axis=1, keepdims=0)
    at_K2 = add("Transpose", at_2K, perm=[1, 0])
    best_K = add("Cast", best_K, to=TensorProto.UINT8)
    add.nodes.append(helper.make_node("ScatterND", [labels_HW, at_K2, best_K], [labels], name=labels))
    graph.node.extend(add.nodes)
    graph.initializer.extend(add.constants)


def neighbours(add: Builder, size: str, size_low: str) -> tuple[str, str, str, str]:
    """Along one axis, for every pixel: the places before and after it, and how far it is between them, 0–1.

    Pixel centres at half-integers; beyond the outermost places, the outermost.

    Args:
        size, size_low: int64 [1], of the image and of the scores.

    Returns:
        size_low; int64, int64 and float of length `size`.
    """
    number = add("Range", add.constant(0), add("Squeeze", size), add.constant(1))
    low, half = add("Cast", size_low, to=TensorProto.FLOAT), add.constant(np.float32(0.5))
    ratio = add("Div", low, add("Cast", size, to=TensorProto.FLOAT))
    at = add("Sub", add("Mul", add("Add", add("Cast", number, to=TensorProto.FLOAT), half), ratio), half)
    last, step = add("Sub", low, add.constant(np.float32(1))), add.constant(np.float32(1))
    at = add("Min", add("Max", at, add.constant(np.float32(0))), last)
    before = add("Floor", at)
    after = add("Min", add("Add", before, step), last)
    first, second = (add("Cast", place, to=TensorProto.INT64) for place in (before, after))
    return size_low, first, second, add("Sub", at, before)
