"""A bundle as QGIS's plugin Deepness runs models: one tile in, the probabilities of the classes out.

    input    float32 [1, bands, T, T], 8-bit values divided by 255, as the plugin prepares them
    output   float32 [1, C, T, T], probabilities 0–1

The bundle's own preparation stays in the graph (resizing, exposure, mean and standard deviation), so the plugin's
standardisation does nothing. The plugin's threshold is 0: each pixel has the most probable class, as in Pixelwise.

Keys: the plugin's documentation, "Adding metadata to ONNX model"; `tile_size` is the key that its code reads where the
documentation says `tiles_size`, so both are written.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.bundle.bundle_file import BundleFile
from pixelwise.bundle.metadata import Metadata
from pixelwise.bundle.onnx_graph import batched, nodes_between, parse
from pixelwise.errors import UsageError
from pixelwise.images.files import shown, write_whole

OVERLAP_PERCENT = 15  # whole numbers only; Pixelwise's own tiles overlap by an eighth
TILE_STEP_PX = 32
PREFIX = "deepness/"
CENTIMETRES = 100.0


def write_deepness(bundle: BundleFile, tile: tuple[int, int], out: Path, pixel_m: float | None = None) -> None:
    """Write a bundle as a model for Deepness.

    Args:
        tile: height and width of the tiles that suit the model; the plugin's are square, of the same area.
        pixel_m: side of the training images' pixels in metres, at which the plugin then reads maps; None: not known.

    Raises:
        UsageError: it takes other than 8-bit images, which the plugin cannot give it.
        OutputError: `out` cannot be written.
    """
    metadata = bundle.metadata
    if metadata.bands.dtype != "uint8":
        raise UsageError(
            f"{shown(bundle.path)}: takes {len(metadata.bands)} bands of {metadata.bands.dtype}, but Deepness reads "
            "8-bit images only. Label such images with `pixelwise predict`, whose results QGIS opens."
        )
    side = tile_side(tile)
    model = deepness_graph(bundle.model, metadata, side)
    import onnx

    onnx.helper.set_model_props(model, deepness_metadata(metadata, side, pixel_m))
    write_whole(out, model.SerializeToString())


def tile_side(tile: tuple[int, int]) -> int:
    """The side of a square tile of about the area of a tile (height, width)."""
    return max(round(math.sqrt(tile[0] * tile[1]) / TILE_STEP_PX), 1) * TILE_STEP_PX


def deepness_graph(bundle: bytes, metadata: Metadata, side: int) -> Any:
    """The bundle's network between the plugin's input and output, with fixed sizes, as the plugin requires."""
    from onnx import TensorProto, helper, numpy_helper

    graph = parse(bundle)
    scores = batched(graph, "scores")
    nodes = [graph.nodes[place] for place in nodes_between(graph, ["image"], [scores])]
    used = {name for node in nodes for name in node.input}
    bands, classes = len(metadata.bands), len(metadata.classes)
    constants = {
        "full": np.float32(255),
        "temperature": np.float32(metadata.temperature),
        "first axis": np.array([0], np.int64),
        "size": np.array([1, classes, side, side], np.int64),
    }
    values = [numpy_helper.from_array(np.asarray(value), PREFIX + name) for name, value in constants.items()]

    def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return helper.make_node(operator, inputs, [output], name=f"{PREFIX}{operator}/{output}", **attributes)

    before = [
        node("Mul", ["input", PREFIX + "full"], PREFIX + "levels"),
        node("Round", [PREFIX + "levels"], PREFIX + "rounded"),
        node("Clip", [PREFIX + "rounded", "", PREFIX + "full"], PREFIX + "clipped"),
        node("Cast", [PREFIX + "clipped"], PREFIX + "uint8", to=TensorProto.UINT8),
        node("Squeeze", [PREFIX + "uint8", PREFIX + "first axis"], PREFIX + "planes"),
        node("Transpose", [PREFIX + "planes"], "image", perm=[1, 2, 0]),
    ]
    behind = [
        node("Resize", [scores, "", "", PREFIX + "size"], PREFIX + "resized", mode="linear",
             coordinate_transformation_mode="half_pixel"),
        node("Div", [PREFIX + "resized", PREFIX + "temperature"], PREFIX + "tempered"),
        node("Softmax", [PREFIX + "tempered"], "output", axis=1),
    ]  # fmt: skip
    floats = TensorProto.FLOAT
    made = helper.make_graph(
        [*before, *nodes, *behind],
        "pixelwise",
        [helper.make_tensor_value_info("input", floats, [1, bands, side, side])],
        [helper.make_tensor_value_info("output", floats, [1, classes, side, side])],
        [*(constant for name, constant in graph.constants.items() if name in used), *values],
    )
    model = helper.make_model(made, opset_imports=graph.model.opset_import, ir_version=graph.model.ir_version)
    model.producer_name, model.producer_version = graph.model.producer_name, graph.model.producer_version
    return model


def deepness_metadata(metadata: Metadata, side: int, pixel_m: float | None) -> dict[str, str]:
    """The documented keys of a segmentation model, as JSON."""
    bands = len(metadata.bands)
    values: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": dict(enumerate(metadata.classes.names)),
        "tile_size": side,
        "tiles_size": side,
        "tiles_overlap": OVERLAP_PERCENT,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
        "standardization_mean": [0.0] * bands,
        "standardization_std": [1.0] * bands,
    }
    if pixel_m is not None:
        values["resolution"] = round(pixel_m * CENTIMETRES, 6)
    return {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}
