"""Export a trained network as a bundle, checked against the network on real images before writing.

Shapes: H, W an image's own size; N its bands; C classes; h, w the size of the scores.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_ir.passes.common import DeduplicateHashedInitializersPass
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pixelwise.bundle.bundle_file import Golden, golden_props, parse_bundle
from pixelwise.bundle.golden_image import shrink
from pixelwise.bundle.graph_template import filled_template
from pixelwise.bundle.label_graph import add_labels
from pixelwise.bundle.metadata import GROUPS, Metadata, Stage
from pixelwise.bundle.mirrored_graph import write_mirror_images
from pixelwise.bundle.onnx_session import open_session
from pixelwise.bundle.parity import Parity, check_parity
from pixelwise.images.files import write_whole
from pixelwise.model.encoders import ConvNorm
from pixelwise.model.network import Network
from pixelwise.model.preprocess import Preprocess, labels_from_scores
from pixelwise.records import Bands, Labels, Raster, Scores

OPSET = 20
SCORES_1 = "stage/scores"  # [1, classes, h, w]; the output "scores" is the same without the leading 1
BORDERS_1 = "stage/borders"  # likewise, of the borders between objects


class NetworkGraph(nn.Module):
    """The bundle's graph from image to scores: returns every named stage, [1, channels, h, w] each."""

    def __init__(self, network: Network, preprocess: Preprocess) -> None:
        super().__init__()
        self.network, self.preprocess = network, preprocess

    def forward(self, image_HWN: Tensor) -> tuple[Tensor, ...]:
        """The scores come first, then the borders' probabilities if there are any."""
        seen = self.preprocess(image_HWN[None])
        named = self.network.intermediates(seen)
        scores, borders = named.pop("scores"), self.network.borders
        if not borders:
            return scores, seen, *named.values()
        return scores[:, :-borders], scores[:, -borders:].sigmoid(), seen, *named.values()

    @torch.inference_mode()
    def answer(self, image_HWN: Raster) -> tuple[Labels, Scores]:
        """The labels and the scores [C, h, w] that a bundle of this graph should return."""
        height, width = image_HWN.shape[:2]
        scores_1Chw = self(torch.from_numpy(image_HWN))[0]
        return labels_from_scores(scores_1Chw, (height, width))[0].numpy(), scores_1Chw[0].numpy()


def stages_of(network: Network) -> tuple[Stage, ...]:
    """The named stages of a bundle of `network`, in running order."""
    side = 4 * network.stride_multiple  # a smaller input is too small for pooling layers
    with torch.inference_mode():
        names = list(network.intermediates(torch.zeros(1, len(network.mean), side, side)))
    convolutional, upsampling = GROUPS[1], GROUPS[2]
    stages = [Stage("input", GROUPS[0], "stage/input")]
    for name in names[:-1]:
        stages.append(Stage(name, upsampling if name.startswith("up") else convolutional, f"stage/{name}"))
    return (*stages, Stage("scores", GROUPS[3], "scores"))


def deployable(network: Network) -> Network:
    """A copy in evaluation mode with every normalisation folded into its convolution."""
    network = copy.deepcopy(network).eval()
    for part in network.modules():
        if isinstance(part, ConvNorm):
            part.fold()
        elif type(part) is nn.Sequential:  # a subclass may use its layers otherwise
            fold_pairs(part)
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network


def fold_pairs(layers: nn.Sequential) -> None:
    """Fold each normalisation that follows a convolution into it."""
    for place in range(len(layers) - 1):
        convolution, norm = layers[place], layers[place + 1]
        if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d:  # subclasses of other libraries do more
            layers[place] = fuse_conv_bn_eval(convolution, norm)
            layers[place + 1] = nn.Identity()


def export_bundle(
    network: Network, preprocess: Preprocess, metadata: Metadata, images: Sequence[Raster], path: Path
) -> Parity:
    """Write the bundle to `path`, atomically. Returns its agreement with torch.

    Args:
        network: trained.
        images: real images for the comparison, values as stored: uint8 or float32 as the metadata's bands say.

    Raises:
        BundleError: the graph disagrees with the trained network.
        OutputError: `path` cannot be written.
    """
    model, parity = export_graph(network, preprocess, metadata.stages, images)
    write_bundle(model, metadata, images[0], path)
    return parity


def export_graph(
    network: Network, preprocess: Preprocess, stages: Sequence[Stage], images: Sequence[Raster]
) -> tuple[onnx.ModelProto, Parity]:
    """A trained network as a float32 graph, and its agreement with torch.

    The first half of `export_bundle`, with the same errors.
    """
    graph = NetworkGraph(deployable(network), preprocess).eval()
    model = to_onnx(graph, [stage.tensor for stage in stages if stage.tensor != "scores"])
    return model, check_parity(model.SerializeToString(), graph.answer, images)


def write_bundle(model: onnx.ModelProto, metadata: Metadata, image_HWN: Raster, path: Path) -> None:
    """Write a graph as a bundle, atomically. A small copy of `image_HWN` becomes the golden image.

    Raises:
        BundleError: it uses operators that bundles do not allow, or costs more than any network needs.
        OutputError: `path` cannot be written.
    """
    golden_image = shrink(image_HWN)
    session = open_session(model.SerializeToString())
    (golden_labels,) = session.run(["labels"], {"image": golden_image})
    written = finish(model, metadata, Golden(golden_image, golden_labels))
    parse_bundle(written, path)  # never write a file that cannot be read back
    write_whole(path, written)


def to_onnx(graph: NetworkGraph, tensors: Sequence[str]) -> onnx.ModelProto:
    """Export with dynamic height and width. The named stages are inner tensors of the graph, not outputs."""
    return filled_template(traced, graph, tensors)


def traced(graph: nn.Module, tensors: Sequence[str]) -> onnx.ModelProto:
    """What `to_onnx` returns, traced by torch.onnx."""
    assert isinstance(graph, NetworkGraph)
    height, width = torch.export.Dim("H", min=1, max=1 << 16), torch.export.Dim("W", min=1, max=1 << 16)
    example = example_of(graph.preprocess.bands)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # its warning about torchvision is irrelevant
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (FutureWarning, DeprecationWarning))
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            input_names=["image"],
            output_names=[SCORES_1, *([BORDERS_1] if graph.network.borders else []), *tensors],
            dynamic_shapes={"image_HWN": {0: height, 1: width}},
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    DeduplicateHashedInitializersPass()(program.model)  # several passes of one network share its weights
    model = write_mirror_images(program.model_proto)
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    add_outputs(model.graph, classes, graph.network.borders)
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]  # source locations: paths of this machine
        node.doc_string = ""
    return model


def example_of(bands: Bands) -> Tensor:
    """An image of noise: uint8, or float32 across each band's range."""
    shape, random = (360, 480, len(bands)), torch.Generator().manual_seed(0)
    if bands.dtype == "uint8":
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    low, high = torch.tensor(bands.low), torch.tensor(bands.high)
    return low + torch.rand(shape, generator=random) * (high - low)


def add_outputs(graph: onnx.GraphProto, classes: int, borders: int = 0) -> None:
    """Make `labels`, `scores` and, if there are any, `borders` the outputs of a graph that computes the scores of a
    batch of one."""
    add_labels(graph, "image", SCORES_1, "labels")
    graph.initializer.append(numpy_helper.from_array(np.array([0]), "first axis"))
    graph.node.append(helper.make_node("Squeeze", [SCORES_1, "first axis"], ["scores"], name="scores"))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("labels", TensorProto.UINT8, ["H", "W"]))
    graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, [classes, "h", "w"]))
    if borders:
        graph.node.append(helper.make_node("Squeeze", [BORDERS_1, "first axis"], ["borders"], name="borders"))
        graph.output.append(helper.make_tensor_value_info("borders", TensorProto.FLOAT, [borders, "h", "w"]))


def finish(model: onnx.ModelProto, metadata: Metadata, golden: Golden) -> bytes:
    """Add the metadata and the digest of the graph; returns the file's bytes."""
    model.producer_name, model.producer_version = "pixelwise", str(metadata.provenance.get("pixelwise", ""))
    onnx.helper.set_model_props(
        model, {**metadata.to_props(), **golden_props(golden, metadata.bands, model.SerializeToString())}
    )
    serialised: bytes = model.SerializeToString()
    return serialised
