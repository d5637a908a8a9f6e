"""Write the graph of pixel features that the labelling assistant runs: an ImageNet encoder cut off at stride 16.

    python -m pixelwise.bundle.export_features [--out FILE]

The shipped file, `built_in/features/lite0.onnx`, is the output of this command. One input, `image`, uint8 [H, W, 3]
RGB with sides that are multiples of 16; one output for each stride, `stride2` … `stride16`, float32 [H/s, W/s, C].
Normalisation is inside; weights are stored as float16.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from pixelwise.bundle.onnx_session import open_session
from pixelwise.bundle.weight_storage import store_weights
from pixelwise.errors import BundleError
from pixelwise.images.files import write_whole
from pixelwise.model.encoders import ENCODERS, FEATURE_STAGES, ConvNorm, EfficientNetLite
from pixelwise.model.imagenet_weights import MEAN, STD, load_imagenet_weights

STRIDES = (2, 4, 8, 16)
OPSET = 20
BUILT_IN = Path(__file__).parents[1] / "built_in" / "features" / "lite0.onnx"
CLOSE = 0.02  # of a map's standard deviation: what float16 weights may change


class FeatureGraph(nn.Module):
    """Image → the encoder's maps at STRIDES, channels last."""

    def __init__(self, encoder: EfficientNetLite) -> None:
        super().__init__()
        self.stem, self.stages = encoder.stem, encoder.stages[: int(FEATURE_STAGES[STRIDES[-1]][-1])]

    def forward(self, image_HW3: Tensor) -> tuple[Tensor, ...]:
        x = self.stem((image_HW3.permute(2, 0, 1)[None].float() / 255 - MEAN) / STD)
        outputs = {}
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            outputs[f"stage{number}"] = x[0].permute(1, 2, 0)
        return tuple(outputs[FEATURE_STAGES[stride]] for stride in STRIDES)


def feature_graph(encoder: str = "lite0") -> FeatureGraph:
    """The graph with ImageNet weights, normalisation folded into the convolutions."""
    network = EfficientNetLite(ENCODERS[encoder])
    load_imagenet_weights(network, encoder)
    network.eval()
    for part in network.modules():
        if isinstance(part, ConvNorm):
            part.fold()
    return FeatureGraph(network).eval()


def to_onnx(graph: FeatureGraph) -> onnx.ModelProto:
    height, width = (16 * torch.export.Dim(name, min=1, max=1 << 12) for name in ("h", "w"))
    program = torch.onnx.export(
        graph,
        (torch.randint(0, 256, (96, 160, 3), dtype=torch.uint8),),
        dynamo=True,
        input_names=["image"],
        output_names=[f"stride{stride}" for stride in STRIDES],
        dynamic_shapes={"image_HW3": {0: height, 1: width}},
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]  # source locations: paths of this machine
        node.doc_string = ""
    return store_weights(model, "float16")


def check(model: bytes, graph: FeatureGraph) -> None:
    """Raise BundleError if ONNX Runtime computes other maps than torch, on an image of another size."""
    image_HW3 = np.random.default_rng(0).integers(0, 256, (64, 112, 3), np.uint8)
    session = open_session(model)
    with torch.inference_mode():
        expected = graph(torch.from_numpy(image_HW3))
    for stride, ours, theirs in zip(STRIDES, session.run(None, {"image": image_HW3}), expected, strict=True):
        off = float(np.abs(ours - theirs.numpy()).mean() / theirs.numpy().std())
        if off > CLOSE:
            raise BundleError(
                f"the features at stride {stride} are off by {off:.3f} of their deviation; at most {CLOSE}."
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=BUILT_IN)
    arguments = parser.parse_args()
    graph = feature_graph()
    model = to_onnx(graph).SerializeToString()
    check(model, graph)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out, model)


if __name__ == "__main__":
    main()
