"""The passes over an image's mirror images, written into an exported graph.

Tracing a network takes some ten seconds, so it is traced once: an operator `Mirrored` marks where the mean over the
mirror images is taken (model/mirrored.py), and here it becomes copies of the nodes before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from pixelwise.bundle.onnx_graph import Graph, attributes, nodes_between, parse
from pixelwise.model.mirrored import AXES, MARK

BEFORE_FIRST = np.iinfo(np.int64).min  # where a slice with step −1 ends


def write_mirror_images(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every `Mirrored(given, scores)` replaced by the mean of the scores of `given`'s mirror images.

    All passes use the same weights. A model without that operator comes back as it is.
    """
    domain, operator = MARK.split("::")
    graph = parse(model.SerializeToString())
    if not any(node.domain == domain for node in graph.nodes):
        return model
    written, nodes = graph.model, list[NodeProto]()
    for place, node in enumerate(graph.nodes):
        marked = node.domain == domain and node.op_type == operator
        nodes += passes(graph, node, f"pass {place}") if marked else [node]
    del written.graph.node[:]
    written.graph.node.extend(nodes)
    kept = [entry for entry in written.opset_import if entry.domain != domain]
    del written.opset_import[:]
    written.opset_import.extend(kept)
    return written


def passes(graph: Graph, mark: NodeProto, name: str) -> Iterator[NodeProto]:
    """The nodes of all passes but the first, and of the mean; adds the constants that they need to the graph.

    Args:
        mark: Mirrored(given, scores) with the number of variants.
        name: begins the names of what is added.
    """
    given, scores = mark.input
    axes_of = AXES[attributes(mark)["variants"]]
    path = depending(graph, given, scores)
    constants = graph.model.graph.initializer
    total = scores
    for number, axes in enumerate(axes_of[1:], 2):
        own = f"{name}.{number}"
        flipped = [np.full(len(axes), -1), np.full(len(axes), BEFORE_FIRST), np.array(axes), np.full(len(axes), -1)]
        corners = [f"{own}/{part}" for part in ("starts", "ends", "axes", "steps")]
        constants.extend(
            numpy_helper.from_array(values.astype(np.int64), corner)
            for values, corner in zip(flipped, corners, strict=True)
        )
        yield helper.make_node("Slice", [given, *corners], [f"{own}/{given}"], name=f"{own}/mirror")
        made = {given, *(output for node in path for output in node.output)}
        for node in path:
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{own}/{node.name}" if node.name else ""
            copy.input[:] = [f"{own}/{value}" if value in made else value for value in node.input]
            copy.output[:] = [f"{own}/{value}" if value else "" for value in node.output]
            yield copy
        yield helper.make_node("Slice", [f"{own}/{scores}", *corners], [f"{own}/back"], name=f"{own}/mirror back")
        yield helper.make_node("Add", [total, f"{own}/back"], [f"{own}/sum"], name=f"{own}/sum")
        total = f"{own}/sum"
    constants.append(numpy_helper.from_array(np.array(len(axes_of), np.float32), f"{name}/count"))
    yield helper.make_node("Div", [total, f"{name}/count"], list(mark.output), name=f"{name}/mean")


def depending(graph: Graph, given: str, scores: str) -> Sequence[NodeProto]:
    """The nodes between the two that see `given`'s values; sizes of the image, for one, are the same in all passes."""
    path, seen = list[NodeProto](), {given}
    for place in nodes_between(graph, [given], [scores]):
        node = graph.nodes[place]
        if seen.intersection(node.input):
            path.append(node)
            seen.update(node.output)
    return path
