"""Hostile bundles: a small one that is right, and the ways in which one can be wrong, each made from it by hand.

Nothing here is imported from `pixelwise.bundle`: what is written must not depend on what is read.

Shapes: H, W the image's own size; C classes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper
from PIL import Image

Change = Callable[[ModelProto], None]
Props = dict[str, str]

GOLDEN = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def png(pixels: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def metadata() -> dict[str, Any]:
    """What a bundle says about itself, but for the golden example."""
    return {
        "format": 1,
        "classes": [{"name": "dark", "colour": [0, 0, 9]}, {"name": "bright", "colour": [250, 250, 1]}],
        "void": 255,
        "preprocess": {
            "size": [64, 64], "policy": "native", "stride": 1, "mean": [0, 0, 0], "std": [1.0, 1, 1],
            "even_exposure": False,
        },
        "temperature": 1.5,
        "stages": [
            {"name": "input", "group": "input", "tensor": "stage/input"},
            {"name": "stem", "group": "convolutional", "tensor": "stage/stem"},
            {"name": "scores", "group": "pixel-wise classification", "tensor": "scores"},
        ],
        "provenance": {"metrics": {"split": "val", "images": 3, "accuracy": 0.9, "miou": None, "classes": {}}},
        "licence": {"data": "CC0", "weights": "none"},
    }  # fmt: skip


def small_model() -> ModelProto:
    """Dark or bright: a convolution over the colours, its scores, and the higher of the two."""
    weights = np.array([[-1, -1, -1], [1, 1, 1]], np.float32).reshape(2, 3, 1, 1)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["chw"], perm=[2, 0, 1]),
        helper.make_node("Unsqueeze", ["chw", "zero"], ["unscaled"]),
        helper.make_node("Mul", ["unscaled", "scale"], ["stage/input"]),
        helper.make_node("Conv", ["stage/input", "weights", "bias"], ["stage/stem"], kernel_shape=[1, 1]),
        helper.make_node("Identity", ["stage/stem"], ["stage/scores"]),
        helper.make_node("Squeeze", ["stage/scores", "zero"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["ids"], axis=0, keepdims=0),
        helper.make_node("Cast", ["ids"], ["labels"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["H", "W", 3])],
        [
            helper.make_tensor_value_info("labels", TensorProto.UINT8, ["H", "W"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [2, "h", "w"]),
        ],
        [
            numpy_helper.from_array(np.array([0]), "zero"),
            numpy_helper.from_array(np.float32(1 / 255).reshape(1), "scale"),
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([1.5, -1.5], np.float32), "bias"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def labels_of(image: Any) -> Any:
    """The labels that the small model gives."""
    return (image.astype(np.float32).sum(2) / 255 > 1.5).astype(np.uint8)


# ── protobuf, written by hand ──


def varint(value: int, padded: int = 0) -> bytes:
    """A whole number; `padded`: in so many bytes more than it needs."""
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        if value:
            out.append(byte | 0x80)
        else:
            break
    if padded:
        return bytes([*out, byte | 0x80, *[0x80] * (padded - 1), 0])
    return bytes([*out, byte])


def field(number: int, content: bytes | int, padded: int = 0, wire: int | None = None) -> bytes:
    if isinstance(content, int):
        return varint(number << 3 | (wire or 0), padded) + varint(content)
    return varint(number << 3 | (2 if wire is None else wire), padded) + varint(len(content)) + content


def entries(graph: bytes, props: Props | None = None) -> bytes:
    """The metadata of a file with this graph, as fields of a model."""
    values = {f"pixelwise.{key}": json.dumps(value) for key, value in metadata().items()}
    golden = {
        "graph_sha256": hashlib.sha256(graph).hexdigest(),
        "image_png": png(GOLDEN),
        "labels_png": png(labels_of(GOLDEN)),
    }
    values["pixelwise.golden"] = json.dumps(golden)
    values.update(props or {})
    return b"".join(
        field(14, field(1, key.encode()) + field(2, value.encode("utf-8", "surrogatepass")))
        for key, value in values.items()
    )


def rest_of(model: ModelProto) -> bytes:
    """A model without its graph."""
    other = ModelProto()
    other.CopyFrom(model)
    other.ClearField("graph")
    return other.SerializeToString()


def bundle(change: Change = lambda model: None, props: Props | None = None) -> bytes:
    model = small_model()
    change(model)
    graph = model.graph.SerializeToString()
    return rest_of(model) + field(7, graph) + entries(graph, props)


def with_graph(graph: bytes, tag: bytes = b"\x3a", extra: bytes = b"") -> bytes:
    return rest_of(small_model()) + tag + varint(len(graph)) + graph + extra + entries(graph)


# ── the ways to be wrong: each gives (what it is, the file's bytes) ──


def wire(rng: Random) -> Iterator[tuple[str, bytes]]:
    """Bytes that two readers of protobuf may read in two ways."""
    model = small_model()
    graph, rest = model.graph.SerializeToString(), rest_of(model)
    external = field(13, field(1, b"location") + field(2, b"weights.bin"))
    outside = field(1, 3) + field(2, 1) + field(8, b"weights2") + external + field(14, 1)
    second = GraphProto(output=[helper.make_tensor_value_info("stage/input", 1, None)]).SerializeToString()
    for padded in sorted(rng.sample(range(1, 9), 3)):
        yield (
            f"external data under a tag with {padded} bytes more",
            with_graph(
                graph
                + field(5, field(1, 3) + field(2, 1) + field(8, b"more") + varint(13 << 3 | 2, padded) + external[1:])
            ),
        )
        yield (
            f"a second graph under a tag with {padded} bytes more",
            with_graph(graph, extra=varint(7 << 3 | 2, padded) + varint(len(second)) + second),
        )
        yield f"the graph itself under a tag with {padded} bytes more", with_graph(graph, varint(7 << 3 | 2, padded))
    for high in (1 << 32, 1 << 35, 1 << 61):
        tag = varint(high | 7 << 3 | 2)
        yield f"a tag of {high} and more", with_graph(graph, extra=tag + varint(len(second)) + second)
    yield "a length in more bytes than it needs", with_graph(graph + b"\x12" + varint(1, 2) + b"g")
    yield "external data", with_graph(graph + field(5, outside))
    yield "a sparse tensor", with_graph(graph + field(15, field(1, outside)))
    yield "two graphs", with_graph(graph, extra=field(7, second))
    yield "a function", with_graph(graph, extra=field(25, field(1, b"Conv")))
    yield "training information", with_graph(graph, extra=field(20, field(1, second)))
    yield "a group", with_graph(graph, extra=varint(99 << 3 | 3) + varint(99 << 3 | 4))
    yield "a group in the graph", with_graph(graph + varint(5 << 3 | 3) + varint(5 << 3 | 4))
    yield "field 0", with_graph(graph, extra=field(0, b""))
    for number in (rng.randrange(27, 2000), 536_870_911):
        yield f"field {number}", with_graph(graph, extra=field(number, b"x"))
        yield f"field {number} of the graph", with_graph(graph + field(number, 1))
    for number, content in ((1, 9), (2, b"producer"), (8, field(2, 19))):
        yield f"field {number} of the model twice", rest + field(number, content) * 2 + field(7, graph) + entries(graph)
    conv = next(node for node in model.graph.node if node.op_type == "Conv").SerializeToString()
    for what, more in (("operator", field(4, b"Relu")), ("domain", field(7, b"") * 2), ("attribute", b"")):
        node = conv + (more or field(5, helper.make_attribute("group", 0).SerializeToString()) * 2)
        yield f"a node's {what} twice", with_graph(graph + field(1, node.replace(b"stage/stem", b"stage/twin")))
    tensor = model.graph.initializer[2].SerializeToString()
    for what, more in (
        ("type", field(2, 7)),
        ("values", field(9, bytes(24))),
        ("place", field(14, 1)),
        ("name", field(8, b"bias")),
    ):
        yield f"a constant's {what} twice", with_graph(graph + field(5, tensor.replace(b"weights", b"weightz") + more))
    yield (
        "a key of the metadata twice",
        with_graph(graph, extra=field(14, field(1, b"pixelwise.void") + field(2, b"1"))),
    )
    yield "a text where a number is", with_graph(graph, extra=varint(1 << 3 | 2) + varint(1) + b"\x09")
    yield "a text that is not UTF-8", with_graph(graph, extra=field(6, b"\xff\xfe"))
    yield "a name with a NUL", bundle(lambda model: renamed(model, "stage/stem", "stage\0stem"))
    whole = bundle()
    for at in (1, len(whole) // 3, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(4))):
        yield f"cut after {at} bytes", whole[:at]
    yield "many empty nodes", with_graph(graph + b"\x0a\x00" * 400_000)
    yield "many empty dimensions", with_graph(graph + field(5, b"\x08\x01" * 600_000))
    yield "nested for ever", with_graph(nested(graph))


def nested(graph: bytes) -> bytes:
    inner = graph
    for _ in range(60):
        branch = field(1, b"then_branch") + field(20, int(AttributeProto.GRAPH)) + field(6, inner)
        inner = field(1, field(4, b"If") + field(5, branch))
    return inner


def renamed(model: ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


def stated(_rng: Random) -> Iterator[tuple[str, bytes]]:
    """Metadata of other types and ranges."""
    base = metadata()

    def with_entry(name: str, value: Any) -> bytes:
        written = value if isinstance(value, str) else json.dumps(value)
        return bundle(props={f"pixelwise.{name}": written})

    def changed(path: str, value: Any) -> bytes:
        """One value of an entry, named by its place, is another; `...` takes it out."""
        name, *inner = path.split(".")
        entry = json.loads(json.dumps(base[name]))
        holder = entry
        for key in inner[:-1]:
            holder = holder[int(key) if isinstance(holder, list) else key]
        last: Any = int(inner[-1]) if isinstance(holder, list) else inner[-1]
        if value is ...:
            del holder[last]
        else:
            holder[last] = value
        return with_entry(name, entry)

    for path, values in {
        "classes.0.colour": ([999, -5, 10**30], [1.5, 0, 0], [0, 0], "red", None, [True, 0, 0], ["1", 0, 0], ...),
        "classes.0.name": ("\ud800", "", " ", None, 7, ["a"], "bright", "x" * 70_000, ...),
        "classes.1": (None, [], "bright"),
        "preprocess.size": ([0, 64], [-1, 64], [64], [64.5, 64], ["64", 64], [10**9, 10**9], None, [True, 1], ...),
        "preprocess.policy": ("shrink", None, ["native"], ...),
        "preprocess.stride": (0, -8, 1.5, "8", None, 10**9, True, ...),
        "preprocess.mean": ([0, 0], [0, 0, "x"], [0, 0, 1e308], None, {}, ...),
        "preprocess.std": ([0, 1, 1], [-1, 1, 1], [1, 1], ...),
        "preprocess.even_exposure": (1, "no", None),
        "stages.0": (None, {"name": "input"}),
        "stages.0.tensor": ("nowhere", "image", "zero", 5, ...),
        "stages.1.group": ("input", "magic", None),
        "stages.1.tensor": ("ids", "labels", "weights", "stage/input", "float"),
        "stages.2.tensor": ("stage/stem",),
        "stages.2": (...,),
        "provenance.metrics": ([], "good", {"accuracy": "high"}, {"classes": []}, {"classes": {"dark": None}},
                               {"classes": {"dark": {"iou": "x"}}}, {"miou": 7}, {"images": "many"}, {"split": 5}),
        "provenance.data": (5, []),
        "licence.data": (5, None, []),
    }.items():  # fmt: skip
        for value in values:
            if path == "provenance.data":
                yield f"provenance.data = {value!r}", with_entry("provenance", {"data": value})
                continue
            yield f"{path} = {'missing' if value is ... else repr(value)[:60]}", changed(path, value)
    deep = "[" * 100_000 + "]" * 100_000
    for name, text in {
        "temperature": ("0", "-1", "1e400", "NaN", "-Infinity", '"1"', "null", "[]", "1e-300", "true", "", "1 1"),
        "classes": ("[]", "{}", "null", deep, "[" + ",".join(['{"name": "a", "colour": [0, 0, 0]}'] * 300) + "]"),
        "stages": ("[]", "{}", "[1, 2]", '"x"', "null"),
        "void": ("0", "true", "null", '"255"', "255.5"),
        "format": ("2", "1.0", "true", " 1", '"1"', "\x1b[31m"),
        "preprocess": ("null", "[]", "5", deep),
        "provenance": ("null", "[]", '{"a": 1e400}', '{"a": Infinity}', '{"a": "\\ud800"}', '{"a": 1, "a": 2}', deep,
                       '{"a": ' + "9" * 5000 + "}", '{"a": ' + "9" * 100 + "}", "{" + '"' + "x" * 5_000_000 + '": 1}'),
        "licence": ("null", "[]", '{"\\udfff": "x"}'),
        "golden": ("null", "{}", '{"graph_sha256": 5}', '{"graph_sha256": "\\ud800"}', "[]", deep),
    }.items():  # fmt: skip
        for one in text:
            yield f"{name} = {one[:40]!r}", with_entry(name, one)
    yield from golden_examples()


def golden_examples() -> Iterator[tuple[str, bytes]]:
    graph = small_model().graph.SerializeToString()
    right = {
        "graph_sha256": hashlib.sha256(graph).hexdigest(),
        "image_png": png(GOLDEN),
        "labels_png": png(labels_of(GOLDEN)),
    }
    huge = bytearray(base64.b64decode(png(np.zeros((1, 1, 3), np.uint8))))
    huge[16:24] = (100_000).to_bytes(4, "big") * 2
    for what, other in {
        "is not base64": {"image_png": "!!"},
        "is no PNG": {"image_png": base64.b64encode(b"GIF89a" * 20).decode()},
        "is a number": {"image_png": 5},
        "is missing": {"image_png": None},
        "declares 100,000 × 100,000": {"image_png": base64.b64encode(bytes(huge)).decode()},
        "is 1 × 2000": {"image_png": png(np.zeros((1, 2000, 3), np.uint8))},
        "is larger than its labels": {"image_png": png(np.zeros((30, 40, 3), np.uint8))},
        "has other labels": {"labels_png": png(1 - labels_of(GOLDEN))},
        "has labels of no class": {"labels_png": png(labels_of(GOLDEN) + 1)},
        "has labels of 16 bits": {"labels_png": png(labels_of(GOLDEN).astype(np.uint16) + 256)},
        "has labels in colour": {"labels_png": png(GOLDEN)},
    }.items():
        yield f"the golden image {what}", bundle(props={"pixelwise.golden": json.dumps({**right, **other})})


def before_labels(*nodes: NodeProto, constants: dict[str, Any] | None = None) -> bytes:
    """Put operators in front of the scores; the last of them puts out "more", which is added to the scores."""

    def change(model: ModelProto) -> None:
        old = list(model.graph.node)
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()
        )
        last = [
            helper.make_node("ReduceMax", ["more"], ["most"], keepdims=0),
            helper.make_node("Mul", ["most", "nothing"], ["none"]),
            helper.make_node("Add", ["stage/stem", "none"], ["stage/scores"]),
        ]
        model.graph.initializer.append(numpy_helper.from_array(np.float32(0), "nothing"))
        del model.graph.node[:]
        model.graph.node.extend([*old[:5], *nodes, *last, *old[6:]])

    return bundle(change)


def bombs(rng: Random) -> Iterator[tuple[str, bytes]]:
    """Operators that take memory or time without bound, or that a runtime does not survive."""

    node = helper.make_node
    big = rng.choice((1 << 31, 7 * 2**28, 1 << 40, 2**62))
    yield (
        "a loop of 2^62",
        before_labels(
            node("Loop", ["trips", "yes", "stage/stem"], ["more"], body=loop_body()),
            constants={"trips": np.int64(2**62), "yes": np.bool_(True)},
        ),
    )
    branches = {"then_branch": constant_branch(), "else_branch": constant_branch()}
    yield "an If", before_labels(node("If", ["yes"], ["more"], **branches), constants={"yes": np.bool_(True)})
    yield "random numbers", before_labels(node("RandomNormal", [], ["more"], shape=[1 << 20, 1 << 12]))
    yield f"{big} zeros", before_labels(node("ConstantOfShape", ["n"], ["more"]), constants={"n": np.array([big])})
    yield (
        "zeros of many dimensions",
        before_labels(node("ConstantOfShape", ["n"], ["more"]), constants={"n": np.full(40, 2, np.int64)}),
    )
    yield (
        "an expanded constant",
        before_labels(node("Expand", ["nothing", "n"], ["more"]), constants={"n": np.array([1 << 16, 1 << 15])}),
    )
    yield (
        "tiles",
        before_labels(node("Tile", ["stage/stem", "n"], ["more"]), constants={"n": np.array([1, 1, 4000, 4000])}),
    )
    yield (
        "a range",
        before_labels(
            node("Range", ["nothing", "end", "one"], ["more"]), constants={"end": np.float32(3e9), "one": np.float32(1)}
        ),
    )
    yield (
        "a scale of 10,000",
        before_labels(
            node("Resize", ["stage/stem", "", "by"], ["more"]), constants={"by": np.array([1, 1, 1e4, 1e4], np.float32)}
        ),
    )
    for scale in (np.nan, np.inf, -1.0, 0.0):
        yield (
            f"a scale of {scale}",
            before_labels(
                node("Resize", ["stage/stem", "", "by"], ["more"]),
                constants={"by": np.array([1, 1, scale, 1], np.float32)},
            ),
        )
    yield (
        "a size of 100,000",
        before_labels(
            node("Resize", ["stage/stem", "", "", "to"], ["more"]), constants={"to": np.array([1, 2, 100_000, 100_000])}
        ),
    )
    yield (
        "padding",
        before_labels(
            node("Pad", ["stage/stem", "by"], ["more"]),
            constants={"by": np.array([0, 0, 1 << 16, 0, 0, 0, 0, 1 << 16])},
        ),
    )
    yield (
        "a convolution with padding",
        before_labels(
            node("Conv", ["stage/stem", "kernel"], ["more"], pads=[60_000] * 4),
            constants={"kernel": np.ones((2, 2, 1, 1), np.float32)},
        ),
    )
    yield (
        "a convolution with dilation",
        before_labels(
            node("Conv", ["stage/stem", "kernel"], ["more"], dilations=[1 << 16, 1 << 16], pads=[1 << 17] * 4),
            constants={"kernel": np.ones((2, 2, 3, 3), np.float32)},
        ),
    )
    yield (
        "a transposed convolution",
        before_labels(
            node("ConvTranspose", ["stage/stem", "kernel"], ["more"], strides=[4096, 4096]),
            constants={"kernel": np.ones((2, 2, 1, 1), np.float32)},
        ),
    )
    yield (
        "a pool with padding",
        before_labels(node("MaxPool", ["stage/stem"], ["more"], kernel_shape=[1, 1], pads=[1 << 16] * 4)),
    )
    for name, values in (("strides", [0, 0]), ("strides", [-1, 1]), ("dilations", [0, 1]), ("pads", [-9, -9, -9, -9])):
        yield (
            f"a convolution with {name} {values}",
            before_labels(
                node("Conv", ["stage/stem", "kernel"], ["more"], **{name: values}),
                constants={"kernel": np.ones((2, 2, 1, 1), np.float32)},
            ),
        )
    for group in (0, -1, 3):
        yield (
            f"a convolution in {group} groups",
            before_labels(
                node("Conv", ["stage/stem", "kernel"], ["more"], group=group),
                constants={"kernel": np.ones((2, 2, 1, 1), np.float32)},
            ),
        )
    yield "a product of large matrices", before_labels(
        node("Expand", ["nothing", "n"], ["left"]), node("MatMul", ["left", "left"], ["more"]),
        constants={"n": np.array([9000, 9000])},
    )  # fmt: skip
    yield "all pixels with all pixels", before_labels(
        node("Reshape", ["stage/stem", "column"], ["left"]), node("Reshape", ["stage/stem", "row"], ["right"]),
        node("Mul", ["left", "right"], ["more"]), constants={"column": np.array([-1, 1]), "row": np.array([1, -1])},
    )  # fmt: skip
    yield "an outer product", before_labels(
        node("Reshape", ["stage/stem", "row"], ["v"]), node("Einsum", ["v", "v", "v"], ["more"], equation="a,b,c->abc"),
        constants={"row": np.array([-1])},
    )  # fmt: skip
    yield "a table read at a billion places", before_labels(
        node("ConstantOfShape", ["n"], ["at"], value=helper.make_tensor("value", TensorProto.INT64, [1], [0])),
        node("Gather", ["weights", "at"], ["more"]), constants={"n": np.array([10**9])},
    )  # fmt: skip
    yield "a thousand copies", before_labels(node("Concat", ["stage/stem"] * 1000, ["c"], axis=1),
                                             node("Concat", ["c"] * 1000, ["more"], axis=1))  # fmt: skip
    doubling = [node("Concat", [f"x{i}" if i else "stage/stem"] * 2, [f"x{i + 1}"], axis=1) for i in range(36)]
    yield "36 doublings", before_labels(*doubling, node("Identity", ["x36"], ["more"]))
    enlarging = [node("Resize", [f"x{i}" if i else "stage/stem", "", "by"], [f"x{i + 1}"]) for i in range(12)]
    yield (
        "12 enlargements",
        before_labels(
            *enlarging, node("Identity", ["x12"], ["more"]), constants={"by": np.array([1, 1, 3, 3], np.float32)}
        ),
    )
    yield "a size made of the pixels", before_labels(
        node("ReduceSum", ["float"], ["sum"], keepdims=0), node("Cast", ["sum"], ["whole"], to=TensorProto.INT64),
        node("Unsqueeze", ["whole", "zero"], ["n"]), node("ConstantOfShape", ["n"], ["more"]),
    )  # fmt: skip
    yield (
        "places of pixels",
        before_labels(node("NonZero", ["float"], ["at"]), node("Cast", ["at"], ["more"], to=TensorProto.FLOAT)),
    )
    yield "large for wide images alone", before_labels(
        node("Shape", ["image"], ["shape"]), node("ReduceMax", ["shape"], ["side"], keepdims=1),
        node("Greater", ["side", "limit"], ["wide"]), node("Cast", ["wide"], ["times"], to=TensorProto.INT64),
        node("Mul", ["times", "many"], ["n"]), node("Add", ["n", "one"], ["n1"]),
        node("ConstantOfShape", ["n1"], ["more"]),
        constants={"limit": np.array([100]), "many": np.array([1 << 33]), "one": np.array([1])},
    )  # fmt: skip
    for op in ("Div", "Mod"):
        yield f"{op} of whole numbers by the pixels", before_labels(
            node("Cast", ["image"], ["whole"], to=TensorProto.INT32), node(op, ["number", "whole"], ["divided"]),
            node("Cast", ["divided"], ["more"], to=TensorProto.FLOAT), constants={"number": np.int32(7)},
        )  # fmt: skip
        yield f"{op} of whole numbers by a zero", before_labels(
            node("Cast", ["image"], ["whole"], to=TensorProto.INT32), node(op, ["whole", "number"], ["divided"]),
            node("Cast", ["divided"], ["more"], to=TensorProto.FLOAT), constants={"number": np.int32(0)},
        )  # fmt: skip
    yield "a blocksize of 0", before_labels(node("DepthToSpace", ["stage/stem"], ["more"], blocksize=0))
    yield "a blocksize of 2^62", before_labels(node("SpaceToDepth", ["stage/stem"], ["more"], blocksize=2**62))
    yield (
        "the highest of more than there are",
        before_labels(node("TopK", ["stage/stem", "n"], ["more", "at"]), constants={"n": np.array([1 << 40])}),
    )
    yield "an operator of another domain", before_labels(node("Gelu", ["stage/stem"], ["more"], domain="com.microsoft"))
    yield "an operator that nobody knows", before_labels(node("Explode", ["stage/stem"], ["more"]))
    yield "an attribute of another type", before_labels(node("Softmax", ["stage/stem"], ["more"], axis=b"1"))
    yield "an axis that is not there", before_labels(node("Concat", ["stage/stem"] * 2, ["more"], axis=9))
    yield (
        "a place that is not there",
        before_labels(node("Gather", ["stage/stem", "at"], ["more"], axis=1), constants={"at": np.array([10**12])}),
    )
    yield (
        "a shape of another size",
        before_labels(node("Reshape", ["stage/stem", "n"], ["more"]), constants={"n": np.array([7, 2**40, 3])}),
    )
    yield (
        "a cut with step 0",
        before_labels(
            node("Slice", ["stage/stem", "zero", "n", "zero", "zero"], ["more"]), constants={"n": np.array([5])}
        ),
    )
    chain = [node("Exp", [f"x{i}" if i else "stage/stem"], [f"x{i + 1}"]) for i in range(21_000)]
    yield "21,000 operators", before_labels(*chain, node("Identity", ["x21000"], ["more"]))


def loop_body() -> GraphProto:
    value = helper.make_tensor_value_info
    return helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Add", ["v", "v"], ["v2"])],
        "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("v", TensorProto.FLOAT, None)],
        [value("c2", TensorProto.BOOL, []), value("v2", TensorProto.FLOAT, None)],
    )


def constant_branch() -> GraphProto:
    tensor = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0])
    return helper.make_graph(
        [helper.make_node("Constant", [], ["branch"], value=tensor)],
        "branch",
        [],
        [helper.make_tensor_value_info("branch", TensorProto.FLOAT, [1])],
    )


NAMES = ("stage/stem", "stage/input", "float", "image", "weights", "bias", "zero", "a", "b", "c", "d", "whole", "")
ATTRIBUTES: dict[str, tuple[Any, ...]] = {
    "axis": (0, 1, -1, 3, 9, -9, 2**62, 1.5), "axes": ([0], [1, 2], [9], [-2, 1]), "keepdims": (0, 1, -1),
    "kernel_shape": ([1, 1], [3, 3], [0, 1], [2**31, 1], [1]), "strides": ([1, 1], [0, 1], [2, 2], [2**31, 1]),
    "pads": ([0] * 4, [1] * 4, [-1] * 4, [2**31] * 4, [1]), "dilations": ([1, 1], [0, 0], [2**31, 2]),
    "group": (0, 1, 2, -1, 2**31), "perm": ([0, 1], [3, 2, 1, 0], [0, 0], [-1, 0]), "blocksize": (0, 1, 2, -2, 2**31),
    "mode": (b"linear", b"nearest", b"cubic", b"reflect", b"wrap", b"DCR", b"CRD", b"x"),
    "to": (1, 2, 7, 9, 10, 8, 0, 99),
    "alpha": (0.5, float("nan"), float("inf")), "epsilon": (0.0, -1.0), "num_outputs": (0, 1, 2, 2**31), "k": (0, 1),
    "equation": (b"ab,bc->ac", b"a->a", b"...", b"ii->i", b"abcd->dcba"), "start": (0, -9, 9), "end": (0, 2, 99),
    "ceil_mode": (0, 1), "auto_pad": (b"SAME_UPPER", b"VALID", b"NOTSET", b"x"), "fmod": (0, 1), "largest": (0, 1),
    "count_include_pad": (0, 1), "storage_order": (0, 1), "reduction": (b"add", b"max", b"x"),
    "batch_dims": (0, 1, -1, 9),
    "coordinate_transformation_mode": (b"half_pixel", b"align_corners", b"tf_crop_and_resize", b"x"),
    "antialias": (0, 1), "exclude_outside": (0, 1), "transA": (0, 1), "transB": (0, 1),
    "output_padding": ([0, 0], [9, 9]),
    "size": (1, 3, -1, 2**31), "allowzero": (0, 1), "exclusive": (0, 1), "reverse": (0, 1), "num_groups": (0, 1, 2, 3),
}  # fmt: skip
VALUES = (
    np.array([0]), np.array([1, 2]), np.array([-1]), np.array([1, 3, 24, 32]), np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    np.array([2**31]), np.array([2**62, -1]), np.array([], np.int64), np.float32(0), np.array([1, 1, 2, 2], np.float32),
    np.ones((2, 2, 1, 1), np.float32), np.ones((2, 1, 3, 3), np.float32), np.array([5, 7], np.int32), np.bool_(True),
    np.array([[0, 1], [1, 0]]), np.array([0.5, np.nan], np.float32), np.uint8(3), np.int64(2),
    np.zeros((0, 3), np.float32),
)  # fmt: skip


def odd_operator(operators: list[str], rng: Random) -> bytes:
    """One to three operators with inputs and attributes that were drawn, between the network and its scores."""
    nodes = [helper.make_node("Cast", ["image"], ["whole"], to=TensorProto.INT32)]
    made: list[str] = []
    for number in range(rng.choice((1, 1, 2, 3))):
        schema = defs.get_schema(rng.choice(operators), 20)
        low, high = schema.min_input, min(schema.max_input, 5)
        inputs = [rng.choice((*NAMES, *made)) for _ in range(rng.randint(low, high) if high >= low else low)]
        if inputs and rng.random() < 0.8:
            inputs[0] = rng.choice(("stage/stem", "float", *made))
        known = [name for name in sorted(ATTRIBUTES) if name in schema.attributes]
        attributes = {name: rng.choice(ATTRIBUTES[name]) for name in known if rng.random() < 0.4}
        outputs = [f"made {number}", *([f"also {number}"] if schema.max_output > 1 and rng.random() < 0.5 else [])]
        nodes.append(helper.make_node(schema.name, inputs, outputs, **attributes))
        made += outputs[:1]
    last = helper.make_node("Cast", [made[-1]], ["more"], to=TensorProto.FLOAT)
    return before_labels(*nodes, last, constants={name: rng.choice(VALUES) for name in "abcd"})


def answers(rng: Random) -> Iterator[tuple[str, bytes]]:
    """Labels and scores that are not what a bundle gives: always, or only for images unlike the golden one."""

    def instead(first: int, *nodes: NodeProto, constants: dict[str, Any] | None = None, kind: int = 0) -> bytes:
        """The operators from number `first` on are others."""

        def change(model: ModelProto) -> None:
            del model.graph.node[first:]
            model.graph.node.extend(nodes)
            model.graph.initializer.extend(
                numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()
            )
            if kind:
                model.graph.output[0].type.tensor_type.elem_type = kind

        return bundle(change)

    node = helper.make_node
    to_labels = node("Cast", ["other"], ["labels"], to=TensorProto.UINT8)
    yield (
        "labels of one size",
        instead(7, node("Identity", ["eight"], ["labels"]), constants={"eight": np.zeros((8, 8), np.uint8)}),
    )
    yield (
        "labels of the golden image",
        instead(7, node("Identity", ["gold"], ["labels"]), constants={"gold": labels_of(GOLDEN)}),
    )
    yield "labels turned", instead(8, node("Transpose", ["ids"], ["other"], perm=[1, 0]), to_labels)
    yield "labels of int64", instead(8, node("Identity", ["ids"], ["labels"]))
    yield "labels declared int64", instead(8, node("Identity", ["ids"], ["labels"]), kind=TensorProto.INT64)
    yield "labels with one dimension more", instead(8, node("Unsqueeze", ["ids", "zero"], ["other"]), to_labels)
    yield "labels of half the size", instead(
        8, node("Slice", ["ids", "zero", "end", "zero", "step"], ["other"]), to_labels,
        constants={"end": np.array([10**6]), "step": np.array([2])},
    )  # fmt: skip
    for number in (2, rng.randrange(3, 254), 254):
        yield (
            f"the label {number}",
            instead(8, node("Add", ["ids", "number"], ["other"]), to_labels, constants={"number": np.int64(number)}),
        )
        yield f"the label {number} where all is white", instead(
            8, node("ReduceMin", ["float"], ["darkest"], keepdims=0),
            node("Equal", ["darkest", "white"], ["is white"]), node("Where", ["is white", "number", "zero"], ["more"]),
            node("Add", ["ids", "more"], ["other"]), to_labels,
            constants={"number": np.int64(number), "white": np.float32(255)},
        )  # fmt: skip
    for what, value in (("not a number", np.nan), ("infinite", np.inf)):
        yield f"scores that are {what}", instead(
            5, node("Mul", ["stage/stem", "odd"], ["stage/scores"]), *small_model().graph.node[6:],
            constants={"odd": np.float32(value)},
        )  # fmt: skip
        yield f"scores that are {what} where all is white", instead(
            5, node("ReduceMin", ["float"], ["darkest"], keepdims=0), node("Equal", ["darkest", "white"], ["is white"]),
            node("Where", ["is white", "odd", "even"], ["factor"]),
            node("Mul", ["stage/stem", "factor"], ["stage/scores"]),
            *small_model().graph.node[6:],
            constants={"odd": np.float32(value), "even": np.float32(1), "white": np.float32(255)},
        )  # fmt: skip
    yield (
        "scores of three classes",
        instead(
            5, node("Concat", ["stage/stem", "stage/stem"], ["stage/scores"], axis=1), *small_model().graph.node[6:]
        ),
    )
    yield "scores with one dimension more", instead(
        5, node("Identity", ["stage/stem"], ["stage/scores"]), node("Identity", ["stage/scores"], ["scores"]),
        node("ArgMax", ["scores"], ["at"], axis=1, keepdims=0), node("Squeeze", ["at", "zero"], ["ids"]),
        node("Cast", ["ids"], ["labels"], to=TensorProto.UINT8),
    )  # fmt: skip
    yield "scores without a pixel", instead(
        6, node("Squeeze", ["stage/scores", "zero"], ["all"]),
        node("ArgMax", ["all"], ["ids"], axis=0, keepdims=0), node("Cast", ["ids"], ["labels"], to=TensorProto.UINT8),
        node("Slice", ["all", "zero", "zero", "end"], ["scores"]), constants={"end": np.array([1])},
    )  # fmt: skip
    yield "no scores", instead(7, node("Identity", ["ids2"], ["labels"]))
    yield "no operators", instead(0)
    yield (
        "a tensor made twice",
        instead(8, node("Cast", ["ids"], ["labels"], to=2), node("Cast", ["ids"], ["labels"], to=2)),
    )
    yield "a constant that is too short", bundle(lambda model: setattr(model.graph.initializer[2], "raw_data", b"12"))
    yield "a constant of no type", bundle(lambda model: setattr(model.graph.initializer[2], "data_type", 55))
    yield "a constant of strings", bundle(lambda model: setattr(model.graph.initializer[2], "data_type", 8))
    yield "a constant with a negative side", bundle(lambda model: model.graph.initializer[2].dims.__setitem__(0, -2))
    yield "a constant with a long side", bundle(lambda model: model.graph.initializer[2].dims.__setitem__(0, 2**62))
    yield "one more input", bundle(lambda model: model.graph.input.append(helper.make_tensor_value_info("x", 1, [1])))
    yield (
        "one more output",
        bundle(lambda model: model.graph.output.append(helper.make_tensor_value_info("ids", 7, None))),
    )
    yield (
        "an image of three rows",
        bundle(lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 3)),
    )
    yield "opset 11", bundle(lambda model: setattr(model.opset_import[0], "version", 11))
    yield "opset 2^62", bundle(lambda model: setattr(model.opset_import[0], "version", 2**62))
    yield "IR version 99", bundle(lambda model: setattr(model, "ir_version", 99))


def all_hostile(seed: int) -> list[tuple[str, bytes]]:
    rng = Random(seed)
    return [(f"{kind.__name__}: {what}", data) for kind in (wire, stated, bombs, answers) for what, data in kind(rng)]
