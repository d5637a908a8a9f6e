"""Smaller storage of large weights: float16, or int8 with one scale per channel. The network still computes in float32.

Each such weight is stored as NAME/stored and unpacked into NAME by a Cast, and for int8 a Mul by its scales. Both have
constant inputs, so every runtime computes them once, when it loads the file: inference is as fast as before. (ONNX
Runtime would keep a DequantizeLinear for its integer kernels and run it every time.)
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Storage = Literal["float32", "float16", "int8"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
LARGE = 1024  # values; smaller tensors stay float32: together they are a few kilobytes
CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}  # operator → the weight's axis of output channels
STORED, SCALES = "/stored", "/scales"


def store_weights(model: onnx.ModelProto, storage: Storage) -> onnx.ModelProto:
    """A copy of a float32 model whose large weights are stored as `storage`, if possible, otherwise as float32.

    int8 is symmetric, scaled to the largest value of each channel: an error of at most 0.4 % of that value.
    """
    small = onnx.ModelProto()
    small.CopyFrom(model)
    if storage == "float32":
        return small
    graph, users = small.graph, weight_users(small)
    kept, unpacking = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        axis = users.get(tensor.name)
        if values.dtype != np.float32 or values.size < LARGE or not np.isfinite(values).all():
            kept.append(tensor)
        elif storage == "int8" and axis is not None:
            whole, scales = to_int8(values, axis)
            name = tensor.name
            kept += [numpy_helper.from_array(whole, name + STORED), numpy_helper.from_array(scales, name + SCALES)]
            unpacking.append(helper.make_node("Cast", [name + STORED], [name + "/whole"], to=TensorProto.FLOAT))
            unpacking.append(helper.make_node("Mul", [name + "/whole", name + SCALES], [name]))
        elif np.abs(values).max() <= np.finfo(np.float16).max:
            kept.append(numpy_helper.from_array(values.astype(np.float16), tensor.name + STORED))
            unpacking.append(helper.make_node("Cast", [tensor.name + STORED], [tensor.name], to=TensorProto.FLOAT))
        else:
            kept.append(tensor)
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend([*unpacking, *nodes])
    return small


def weight_users(model: onnx.ModelProto) -> dict[str, int]:
    """Weight → its axis of output channels, for weights whose users agree on one."""
    axes: dict[str, set[int | None]] = {}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            axes.setdefault(name, set()).add(CHANNEL_AXIS.get(node.op_type) if place == 1 else None)
    return {name: axis for name, found in axes.items() if len(found) == 1 and (axis := found.pop()) is not None}


def to_int8(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Values → (int8 −127 … 127, scales that broadcast against it), one scale per index along `axis`."""
    others: Any = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
    largest = np.abs(values).max(axis=others, keepdims=True)
    scales = np.where(largest > 1e-30, largest / 127, 1).astype(np.float32)  # smaller scales would be subnormal
    return np.clip(np.round(values / scales), -127, 127).astype(np.int8), scales
