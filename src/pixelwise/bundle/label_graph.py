"""Scores at the network's resolution → labels at the image's own, without computing full-resolution scores.

A pixel's scores are interpolated from the four positions around it. A class that is highest at all four is highest
after interpolation, so nothing needs to be computed: on photos, for nine pixels in ten. Only the other pixels are
interpolated. The labels equal those of resizing all scores and taking the argmax; ties go to the lower id.

Shapes: C classes; h, w the size of the scores, H, W that of the image. A place is a position of the scores; a gap is
the interval between two neighbouring places on one axis; a field is the rectangle of a row gap and a column gap. K
fields are interpolated, each with at most P rows and Q columns of pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from pixelwise.records import VOID

PREFIX = "labels/"


class Builder:
    """Collects nodes and constants; a call adds a node and returns the name of its output."""

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
    """Add the operators that compute `labels` uint8 [H, W] for `image` [H, W, N]; `scores_1Chw` are float."""
    add = Builder()
    one, next_axis, flat = add.constant(1), add.constant([1]), add.constant([-1])
    height, width = add("Shape", image, start=0, end=1), add("Shape", image, start=1, end=2)
    h, w = add("Shape", scores_1Chw, start=2, end=3), add("Shape", scores_1Chw, start=3, end=4)
    classes = add("Shape", scores_1Chw, start=1, end=2)
    gaps_y, gaps_x = add("Add", h, one), add("Add", w, one)
    gap_y, part_y = gaps(add, height, h)
    gap_x, part_x = gaps(add, width, w)
    first_y, last_y, pixels_y = pixels_in(add, gap_y, height, gaps_y)
    first_x, last_x, pixels_x = pixels_in(add, gap_x, width, gaps_x)

    # The class that is highest at all four corners of a field, or VOID if the corners differ.
    by_place = add("Transpose", scores_1Chw, perm=[0, 2, 3, 1])
    low = add("Cast", add("ArgMax", by_place, axis=3, keepdims=0), to=TensorProto.FLOAT)
    low = add("Unsqueeze", low, add.constant([0]))
    window: dict[str, Any] = {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}  # padding never wins
    highest, lowest = add("MaxPool", low, **window), add("Neg", add("MaxPool", add("Neg", low), **window))
    agreed = add("Where", add("Equal", highest, lowest), highest, add.constant(np.float32(VOID)))
    agreed_hw = add("Reshape", add("Cast", agreed, to=TensorProto.UINT8), add("Concat", gaps_y, gaps_x, axis=0))

    # Every pixel takes the common class of its field's corners. Copying whole rows, then whole columns as rows, is far
    # faster than copying pixels.
    agreed_Hw = add("Gather", agreed_hw, gap_y, axis=0)
    settled_WH = add("Gather", add("Transpose", agreed_Hw, perm=[1, 0]), gap_x, axis=0)
    settled = add("Reshape", add("Transpose", settled_WH, perm=[1, 0]), flat)

    # The other pixels: fields without a common class that contain pixels.
    pixels_hw = add("Mul", add("Unsqueeze", pixels_y, next_axis), pixels_x)
    is_open_hw = add(
        "And", add("Equal", agreed_hw, add.constant(np.uint8(VOID))), add("Greater", pixels_hw, add.constant(0))
    )
    row_K, column_K = (add("Gather", add("NonZero", is_open_hw), add.constant(axis), axis=0) for axis in (0, 1))
    y_PK = pixels_of(add, row_K, first_y, last_y, pixels_y)
    x_QK = pixels_of(add, column_K, first_x, last_x, pixels_x)

    # Interpolate vertically at both sides of each field, then horizontally: per class, all fields at once, side by
    # side.
    part_y_PK, part_x_QK = add("Gather", part_y, y_PK, axis=0), add("Gather", part_x, x_QK, axis=0)
    table_NC = add("Reshape", by_place, add("Concat", flat, classes, axis=0))
    above_K, below_K = (add("Mul", place, w) for place in ends(add, row_K, h))

    def mixed(before: str, behind: str, part: str) -> str:
        return add("Add", before, add("Mul", add("Sub", behind, before), part))

    def scores_at(place_K: str) -> str:  # gathers whole rows, then transposes
        return add("Unsqueeze", add("Transpose", add("Gather", table_NC, place_K, axis=0), perm=[1, 0]), next_axis)

    def side(place_K: str) -> str:
        above_C1K, below_C1K = (scores_at(add("Add", row, place_K)) for row in (above_K, below_K))
        return mixed(above_C1K, below_C1K, part_y_PK)

    left_C1PK, right_C1PK = (add("Unsqueeze", side(place_K), next_axis) for place_K in ends(add, column_K, w))
    scores_CQPK = mixed(left_C1PK, right_C1PK, add("Unsqueeze", part_x_QK, next_axis))
    best = add("Cast", add("ArgMax", scores_CQPK, axis=0, keepdims=0), to=TensorProto.UINT8)
    at_QPK = add("Add", add("Mul", y_PK, width), add("Unsqueeze", x_QK, next_axis))
    filled = add("ScatterElements", settled, add("Reshape", at_QPK, flat), add("Reshape", best, flat), axis=0)
    add.nodes.append(helper.make_node("Reshape", [filled, add("Concat", height, width, axis=0)], [labels], name=labels))
    graph.node.extend(add.nodes)
    graph.initializer.extend(add.constants)


def gaps(add: Builder, size: str, places: str) -> tuple[str, str]:
    """Along one axis, for every pixel: its gap, and its relative position in it, 0–1.

    Gap 0 lies before the first place, gap 1 between the first and the second, and so on. Pixel centres are at
    half-integers.

    Args:
        size, places: int64 [1], of the image and of the scores.

    Returns:
        int64 and float of length `size`.
    """
    number = add("Range", add.constant(0), add("Squeeze", size), add.constant(1))
    half, step = add.constant(np.float32(0.5)), add.constant(np.float32(1))
    ratio = add("Div", add("Cast", places, to=TensorProto.FLOAT), add("Cast", size, to=TensorProto.FLOAT))
    at = add("Sub", add("Mul", add("Add", add("Cast", number, to=TensorProto.FLOAT), half), ratio), half)
    before = add("Floor", at)
    return add("Cast", add("Add", before, step), to=TensorProto.INT64), add("Sub", at, before)


def ends(add: Builder, gap: str, places: str) -> tuple[str, str]:
    """The places before and after a gap; beyond the outermost places, the outermost."""
    one, zero = add.constant(1), add.constant(0)
    return add("Max", add("Sub", gap, one), zero), add("Min", gap, add("Sub", places, one))


def pixels_in(add: Builder, gap: str, size: str, number_of_gaps: str) -> tuple[str, str, str]:
    """The pixels of one axis in each gap: the first, the last, and the number, int64 each.

    Args:
        gap: the gap of each pixel, ascending.
        size, number_of_gaps: int64 [1].
    """
    number = add("Range", add.constant(0), add("Squeeze", size), add.constant(1))
    none = add("ConstantOfShape", number_of_gaps, value=helper.make_tensor("value", TensorProto.INT64, [1], [-1]))
    last = add("ScatterElements", none, gap, number, axis=0, reduction="max")
    first = add("ScatterElements", add("Mul", none, add("Neg", size)), gap, number, axis=0, reduction="min")
    pixels = add("Max", add("Add", add("Sub", last, first), add.constant(1)), add.constant(0))
    return first, last, pixels


def pixels_of(add: Builder, gap_K: str, first: str, last: str, pixels: str) -> str:
    """The pixels in K gaps of one axis: int64 [P, K]. If a gap has fewer than P, its last pixel is repeated."""
    flat = add.constant([-1])
    offset_P = add("Range", add.constant(0), add("ReduceMax", pixels, keepdims=0), add.constant(1))
    start_K, end_K = add("Gather", first, gap_K), add("Gather", last, gap_K)
    return add("Min", add("Add", add("Unsqueeze", offset_P, flat), start_K), end_K)
