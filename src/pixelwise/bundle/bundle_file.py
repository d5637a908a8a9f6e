"""Read and check a bundle: one plain `.onnx` file that any ONNX Runtime runs, described by its `metadata_props`.

input   image   uint8 [H, W, 3] RGB, any H and W; for other bands uint8 or float32 [H, W, bands], values as stored
output  labels  uint8 [H, W] class ids at the image's own size
output  scores  float32 [C, h, w] class scores at the network's own resolution
output  borders float32 [B, h, w] probabilities of borders between objects; only where classes are separated

The description is JSON in `metadata_props`, under keys that start with "pixelwise.". A bundle is data, never code: it
is checked here byte by byte before a runtime loads it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from pixelwise.bundle.golden_image import image_entries, image_of, png_of
from pixelwise.bundle.graph_cost import Plan
from pixelwise.bundle.metadata import (
    FORMAT,
    FORMAT_OF_BANDS,
    PREFIX,
    Metadata,
    MetadataError,
    decode,
    of_type,
    text,
    wrong,
)
from pixelwise.bundle.protobuf_reader import Message, read_model
from pixelwise.bundle.sized_tensors import OperatorError
from pixelwise.bundle.trust import check_model, check_sizes
from pixelwise.errors import BundleError, DataError
from pixelwise.images.image_files import decode_mask_ids, encode_png
from pixelwise.records import Bands, Labels, Raster

MAX_BYTES = 512 * 2**20
REMEDY = "Export it again with `pixelwise export`, or copy it again from where it came."


@dataclass(frozen=True)
class Golden:
    """An image and the network's labels for it at export."""

    image: Raster
    labels: Labels


@dataclass(frozen=True)
class BundleFile:
    """A bundle as read and checked, not yet running."""

    path: Path
    model: bytes
    metadata: Metadata
    golden: Golden
    digest: str  # SHA-256 of the graph, which identifies the network
    plan: Plan = field(repr=False, compare=False)  # the cost of running it

    def check_image(self, height: int, width: int) -> None:
        """Raise BundleError if an image of height × width costs more than any network needs."""
        try:
            self.plan.check(height, width, self.metadata.size)
        except OperatorError as error:
            raise BundleError(f"{self.path}: {error}.") from error


def golden_props(golden: Golden, bands: Bands, model: bytes) -> dict[str, str]:
    """The golden example and the digest of a serialised model's graph, as `metadata_props`."""
    _, graph = read_model(model)
    value = {
        "graph_sha256": hashlib.sha256(graph).hexdigest(),
        **image_entries(golden.image, bands),
        "labels_png": base64.b64encode(encode_png(golden.labels)).decode(),
    }
    return {PREFIX + "golden": json.dumps(value)}


def read_bundle(path: Path) -> BundleFile:
    """Read a bundle and check that it is complete, unaltered and valid. Does not run it.

    Raises:
        BundleError: no such file, not ONNX, not a Pixelwise bundle, too large, a graph that does not match its digest,
            invalid metadata, or a higher cost than any network needs.
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
    return parse_bundle(model, path)


def parse_bundle(data: bytes, path: Path) -> BundleFile:
    """Check the bytes of a bundle, as `read_bundle` does; `path` is used in messages."""
    try:
        model, graph = read_model(data)
    except ValueError as error:
        raise BundleError(
            f"{path}: not an ONNX file as a bundle is one: {error} ({len(data)} bytes). {REMEDY}"
        ) from error
    if "graph" not in model:
        raise BundleError(f"{path}: not an ONNX file: it holds no graph ({len(data)} bytes). {REMEDY}")
    props = props_of(model, path)
    try:
        metadata = Metadata.from_props(props)
        check_model(model, metadata.bands, len(metadata.separate))
        golden, digest = read_golden(props, graph, metadata, path)
        plan = Plan(model["graph"], [stage.tensor for stage in metadata.stages], metadata.bands)
        bundle = BundleFile(path, data, metadata, golden, digest, plan)
        check_sizes(plan, metadata, golden.image.shape[:2])
    except MetadataError as error:
        raise BundleError(f"{path}: its metadata is damaged: {error}. {REMEDY}") from error
    except OperatorError as error:
        raise BundleError(f"{path}: {error}. {REMEDY}") from error
    return bundle


def props_of(model: Message, path: Path) -> dict[str, str]:
    """The metadata of a model, after a check that it is a bundle of this format."""
    entries = [(entry.get("key", ""), entry.get("value", "")) for entry in model.get("metadata_props", ())]
    props = dict(entries)
    if len(props) != len(entries):
        raise BundleError(f"{path}: its metadata is damaged: a key is there twice. {REMEDY}")
    if PREFIX + "format" not in props:
        raise BundleError(
            f"{path}: an ONNX file, but not a Pixelwise bundle: its metadata has no {PREFIX}format. "
            "Make one with `pixelwise export RUN --out M.onnx`."
        )
    if props[PREFIX + "format"] not in (str(FORMAT), str(FORMAT_OF_BANDS)):
        raise BundleError(
            f"{path}: bundle format {ascii(props[PREFIX + 'format'][:20])[1:-1]}, but this Pixelwise reads formats "
            f"{FORMAT} and {FORMAT_OF_BANDS}. Update Pixelwise, or export the bundle again with this version."
        )
    return props


def read_golden(props: dict[str, str], graph: memoryview, metadata: Metadata, path: Path) -> tuple[Golden, str]:
    """The golden example, and the digest of the graph, after a check against the recorded one.

    Raises:
        BundleError: the graph was altered.
        MetadataError: an entry is invalid, or the golden image is too large or cannot be read.
    """
    stated = of_type(decode(props, "golden"), dict, "golden", "an object")
    recorded, digest = text(stated.get("graph_sha256"), "golden.graph_sha256"), hashlib.sha256(graph).hexdigest()
    if recorded != digest:
        raise BundleError(
            f"{path}: the network in it was altered or damaged: its SHA-256 is {digest[:12]}…, but "
            f"{ascii(recorded[:12])[1:-1]}… was recorded. {REMEDY}"
        )
    image = image_of(stated, metadata.bands)
    try:
        ids = decode_mask_ids(png_of(stated, "labels_png"), "golden labels")
    except DataError as error:
        raise MetadataError(str(error)) from error
    if image.shape[:2] != ids.shape:
        wrong("golden.labels_png", list(ids.shape), f"labels of the golden image's size, {list(image.shape[:2])}")
    if not 0 <= ids.min() <= ids.max() < len(metadata.classes):
        wrong("golden.labels_png", int(ids.max()), f"labels 0 … {len(metadata.classes) - 1}")
    return Golden(image, ids.astype("uint8")), digest
