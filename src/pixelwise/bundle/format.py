"""What is inside a bundle: one plain `.onnx` file that any ONNX Runtime runs, with its story in `metadata_props`.

input   image   uint8 [H, W, 3] RGB, any H and W
output  labels  uint8 [H, W] class ids at the image's own size
output  scores  float32 [C, h, w] class scores at the network's own resolution

Everything a bundle says about itself stands in `metadata_props` under keys that start with "pixelwise.", as JSON.
A bundle is data, never code: it is looked at here byte by byte before any runtime is given it, without the onnx
package, whose import alone takes longer than labelling an image.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.images import decode_image, decode_mask_ids, encode_png
from pixelwise.errors import BundleError, DataError
from pixelwise.records import VOID, ClassList, Labels, Pixels

FORMAT = 1
PREFIX = "pixelwise."
MAX_BYTES = 512 * 2**20
MAX_GOLDEN_PX = 1024  # a side of the golden image, which every loading labels
REMEDY = "Export it again with `pixelwise export`, or copy it again from where it came."


@dataclass(frozen=True)
class Stage:
    """One named tensor inside the graph that a trace can show."""

    name: str  # "stem", "stage1", "context", "up16" …
    group: str  # "input", "convolutional", "upsampling" or "pixel-wise classification"
    tensor: str  # its name in the graph; float [1, channels, h, w], or [channels, h, w]


GROUPS = ("input", "convolutional", "upsampling", "pixel-wise classification")


@dataclass(frozen=True)
class Golden:
    """An image and the labels that the network gave it when the bundle was written."""

    image: Pixels
    labels: Labels


@dataclass(frozen=True)
class Metadata:
    """What a bundle says about itself."""

    classes: ClassList
    size: tuple[int, int]  # height, width at which the network sees an image under `policy`
    policy: str  # stretch, fit or native
    stride: int  # of the scores, relative to the network's input
    mean: tuple[float, ...]  # of RGB on 0–1, subtracted in the graph
    std: tuple[float, ...]  # of RGB on 0–1, divided by in the graph
    temperature: float  # scores are divided by it before a softmax
    stages: tuple[Stage, ...]
    even_exposure: bool = False  # each image's brightness and contrast are evened out in the graph
    provenance: dict[str, Any] = field(default_factory=dict)  # recipe, data, metrics with their split, versions
    licence: dict[str, str] = field(default_factory=dict)  # of the data and of the weights

    def to_props(self) -> dict[str, str]:
        """As `metadata_props`, without the golden digest, which only the finished graph can give."""
        values = {
            "format": FORMAT,
            "classes": self.classes.to_json(),
            "void": VOID,
            "preprocess": {
                "size": list(self.size),
                "policy": self.policy,
                "stride": self.stride,
                "mean": list(self.mean),
                "std": list(self.std),
                "even_exposure": self.even_exposure,
            },
            "temperature": self.temperature,
            "stages": [vars(stage) for stage in self.stages],
            "provenance": self.provenance,
            "licence": self.licence,
        }
        return {PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}

    @classmethod
    def from_props(cls, props: dict[str, str]) -> Metadata:
        values = {key.removeprefix(PREFIX): json.loads(text) for key, text in props.items() if key.startswith(PREFIX)}
        seen = values["preprocess"]
        return cls(
            classes=ClassList.from_json(values["classes"]),
            size=(int(seen["size"][0]), int(seen["size"][1])),
            policy=str(seen["policy"]),
            stride=int(seen["stride"]),
            mean=tuple(float(v) for v in seen["mean"]),
            std=tuple(float(v) for v in seen["std"]),
            temperature=float(values["temperature"]),
            even_exposure=bool(seen.get("even_exposure", False)),
            stages=tuple(Stage(str(s["name"]), str(s["group"]), str(s["tensor"])) for s in values["stages"]),
            provenance=dict(values["provenance"]),
            licence=dict(values["licence"]),
        )


@dataclass(frozen=True)
class BundleFile:
    """A bundle as read and checked, not yet running."""

    path: Path
    model: bytes
    metadata: Metadata
    golden: Golden
    digest: str  # SHA-256 of the graph, which names the network


def golden_props(golden: Golden, graph: bytes) -> dict[str, str]:
    """The golden example and the graph's digest, as `metadata_props`."""
    value = {
        "graph_sha256": hashlib.sha256(graph).hexdigest(),
        "image_png": base64.b64encode(encode_png(golden.image)).decode(),
        "labels_png": base64.b64encode(encode_png(golden.labels)).decode(),
    }
    return {PREFIX + "golden": json.dumps(value)}


def read_bundle(path: Path) -> BundleFile:
    """Read a bundle and check that it is whole and unaltered. It is not run here.

    Raises:
        BundleError: no such file, not ONNX, not one of ours, too large, or its graph is not what its digest says.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise BundleError(f"{path}: not a file; expected a bundle, such as RUN/model.onnx.")
        if size > MAX_BYTES:
            raise BundleError(f"{path}: {size / 2**20:.0f} MB; a bundle has at most {MAX_BYTES // 2**20} MB.")
        model = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}.") from error
    graph, props = split_model(model, path)
    if PREFIX + "format" not in props:
        raise BundleError(
            f"{path}: an ONNX file, but not a Pixelwise bundle: its metadata has no {PREFIX}format. "
            "Make one with `pixelwise export RUN --out M.onnx`."
        )
    if props[PREFIX + "format"] != str(FORMAT):
        raise BundleError(
            f"{path}: bundle format {props[PREFIX + 'format'][:20]}, but this Pixelwise reads format {FORMAT}. "
            "Update Pixelwise, or export the bundle again with this version."
        )
    try:
        metadata = Metadata.from_props(props)
        golden = json.loads(props[PREFIX + "golden"])
        digest = hashlib.sha256(graph).hexdigest()
        if golden["graph_sha256"] != digest:
            raise BundleError(
                f"{path}: the network in it was altered or damaged: its SHA-256 is {digest[:12]}…, but "
                f"{str(golden['graph_sha256'])[:12]}… was recorded. {REMEDY}"
            )
        example = Golden(
            decode_image(base64.b64decode(golden["image_png"]), "golden image"),
            decode_mask_ids(base64.b64decode(golden["labels_png"]), "golden labels").astype("uint8"),
        )
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, DataError) as error:
        raise BundleError(f"{path}: its metadata is damaged ({type(error).__name__}: {error}). {REMEDY}") from error
    if max(example.image.shape[:2]) > MAX_GOLDEN_PX:
        height, width = example.image.shape[:2]
        raise BundleError(f"{path}: its golden image is {height}×{width}; at most {MAX_GOLDEN_PX} a side. {REMEDY}")
    return BundleFile(path, model, metadata, example, digest)


def split_model(model: bytes, path: Path) -> tuple[bytes, dict[str, str]]:
    """The graph's bytes and the metadata of a serialised ONNX ModelProto.

    Fields of ModelProto (onnx.proto): 7 graph, 14 metadata_props, each of whose entries has 1 key and 2 value.
    """
    graphs, props = [], {}
    try:
        for number, value in protobuf_fields(model):
            if number == 7 and isinstance(value, memoryview):
                graphs.append(bytes(value))
            elif number == 14 and isinstance(value, memoryview):
                entry = {n: bytes(v).decode() for n, v in protobuf_fields(value) if isinstance(v, memoryview)}
                props[entry.get(1, "")] = entry.get(2, "")
    except (IndexError, ValueError) as error:
        raise BundleError(f"{path}: not a whole ONNX file ({len(model)} bytes). {REMEDY}") from error
    if not graphs:
        raise BundleError(f"{path}: not an ONNX file: it holds no graph ({len(model)} bytes). {REMEDY}")
    if len(graphs) > 1:  # a runtime would merge them, and the recorded digest covers one
        raise BundleError(f"{path}: holds {len(graphs)} graphs; a bundle holds one. {REMEDY}")
    return graphs[0], props


def protobuf_fields(data: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of one protobuf message: (field number, whole number or bytes).

    Raises:
        ValueError, IndexError: not a whole message.
    """
    view, at = memoryview(data), 0

    def varint() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = view[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("a number that does not end")

    while at < len(view):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        length = {1: 8, 5: 4}.get(kind, -1)
        if kind == 2:
            length = varint()
        if length < 0 or at + length > len(view):
            raise ValueError("a field that reaches past the end")
        yield key >> 3, view[at : at + length]
        at += length
