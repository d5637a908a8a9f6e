"""How one value of one layer is computed: its inputs, the model's weights, and the result.

Shapes: k the kernel's side; a tensor is [channels, h, w].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.onnx_graph import attributes
from pixelwise.tracing.activations import InspectedModel, Values, latest

# How a graph of several passes ends: a mean over mirror images, or the logarithm of a mean over networks.
COMBINED = {
    "Div": "the mean of the scores for the image and for its mirror images",
    "Mul": "the mean of the scores for the image and for its mirror images",
    "Log": "the logarithm of the networks' mean probability",
}
SHOWN = 16  # products listed, largest first; the rest is one sum


def explain(
    inspected: InspectedModel, values: Values, tensor: str, channel: int, y: int, x: int
) -> list[dict[str, Any]]:
    """The steps that compute the value at (channel, y, x), in order.

    Every step has `step`, `text` and `result`; a convolution also has its products. Steps go back as far as the values
    are known; the first one says where they come from.
    """
    result = float(values[tensor][channel, y, x])
    node = inspected.producer(tensor)
    kind = node.op_type if node is not None and tensor != inspected.first else ""
    if node is not None and kind == "Slice" and node.input[0] in values:  # without the maps of borders, which come last
        return explain(inspected, values, node.input[0], channel, y, x)
    if node is None or kind not in ("Conv", "Clip", "Relu", "Add", "DepthToSpace"):
        text = (
            "the normalised pixel itself"
            if tensor == inspected.first
            else COMBINED.get(kind, "read from the layer before")
        )
        return [{"step": "value", "text": text, "result": result}]
    if kind == "Conv":
        return [convolution(inspected, values, node, channel, y, x, result)]
    given = [name for name in node.input if name in values]
    if kind == "DepthToSpace":
        facts = attributes(node)
        block = int(facts["blocksize"])
        inner = y % block * block + x % block
        depth = values[tensor].shape[0]
        crd = facts.get("mode", b"DCR") == b"CRD"
        source = channel * block * block + inner if crd else inner * depth + channel
        steps = explain(inspected, values, given[0], source, y // block, x // block)
        corner = f"{('top', 'bottom')[min(y % block, 1)]} {('left', 'right')[min(x % block, 1)]}"
        text = f"channel {source} of the layer before has the {corner} of {block * block} neighbours"
        return [*steps, {"step": "place", "text": text, "result": result}]
    if kind == "Add":
        followed = latest(inspected.graph, given)
        terms = [float(at(values[name], channel, y, x)) for name in given]
        steps = explain(inspected, values, followed, channel, y, x)
        text = " + ".join(number(term) for term in terms)
        return [*steps, {"step": "add", "text": f"plus the value of the residual connection: {text}", "result": result}]
    before = float(values[given[0]][channel, y, x])
    steps = explain(inspected, values, given[0], channel, y, x)
    text = f"{number(before)} → {number(result)}: negative values become 0"
    if kind == "Clip":
        text += ", values above 6 become 6"
    return [*steps, {"step": "activation", "text": text, "result": result}]


def convolution(
    inspected: InspectedModel, values: Values, node: Any, channel: int, y: int, x: int, result: float
) -> dict[str, Any]:
    """bias + Σ input × weight, over the window of this value."""
    facts = attributes(node)
    weights_OIkk: NDArray[np.float32] = inspected.graph.weight(node.input[1])
    bias = float(inspected.graph.weight(node.input[2])[channel]) if len(node.input) > 2 else 0.0
    source = values[node.input[0]]
    kernel, stride, group = weights_OIkk.shape[-1], int(facts["strides"][0]), int(facts.get("group", 1))
    top, left = int(facts["pads"][0]), int(facts["pads"][1])
    per_group = weights_OIkk.shape[1]
    first = channel // (weights_OIkk.shape[0] // group) * per_group
    window_Ikk = np.zeros((per_group, kernel, kernel), np.float32)
    row0, column0 = y * stride - top, x * stride - left
    rows = slice(max(row0, 0), min(row0 + kernel, source.shape[1]))
    columns = slice(max(column0, 0), min(column0 + kernel, source.shape[2]))
    window_Ikk[:, rows.start - row0 : rows.stop - row0, columns.start - column0 : columns.stop - column0] = source[
        first : first + per_group, rows, columns
    ]
    products_Ikk = window_Ikk.astype(np.float64) * weights_OIkk[channel]
    order = np.argsort(-np.abs(products_Ikk).ravel())
    shown = [np.unravel_index(int(i), products_Ikk.shape) for i in order[:SHOWN]]
    rest = float(products_Ikk.sum() - sum(products_Ikk[place] for place in shown))
    return {
        "step": "convolution",
        "text": f"{kernel}×{kernel} convolution over {per_group} of {source.shape[0]} channels, step {stride}",
        "kernel": kernel,
        "stride": stride,
        "channels": per_group,
        "first_channel": first,
        "reads": inspected.name_of(node.input[0]),  # the layer that is read, where it has a name
        "products": [
            {
                "channel": first + int(c),
                "row": int(r),
                "column": int(k),
                "input": float(window_Ikk[c, r, k]),
                "weight": float(weights_OIkk[channel, c, r, k]),
                "product": float(products_Ikk[c, r, k]),
            }
            for c, r, k in shown
        ],
        "count": int(products_Ikk.size),
        "rest": rest,
        "bias": bias,
        "window": window_Ikk[:4].tolist() if kernel > 1 else None,
        "weights": weights_OIkk[channel, :4].tolist() if kernel > 1 else None,
        "corner": [row0, column0],
        "result": bias + float(products_Ikk.sum()),
        "computed": result,
    }


def at(values: NDArray[np.float32], channel: int, y: int, x: int) -> np.float32:
    """A value; tensors of one row or column are broadcast."""
    _, h, w = values.shape
    value: np.float32 = values[channel, min(y, h - 1), min(x, w - 1)]
    return value


def number(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
