"""A network that also looks at the mirror image, and averages: more accurate, at twice or four times the cost.

Shapes: B batch, C classes, H and W the input's size, s the stride of the scores.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.model.network import Network

# number of variants → which axes each is mirrored along: 3 left to right, 2 top to bottom
AXES = {2: ((), (3,)), 4: ((), (3,), (2,), (2, 3))}
MARK = "pixelwise::Mirrored"  # stands for the other passes while a graph is exported


class Mirrored(Network):
    """The mean scores of an image and its mirror images. The named stages before the scores are those of the image."""

    def __init__(self, network: Network, variants: int) -> None:
        """`variants`: 2 (the image, and mirrored left to right) or 4 (and top to bottom)."""
        super().__init__()
        self.network, self.axes = network, AXES[variants]
        self.stride, self.stride_multiple = network.stride, network.stride_multiple
        self.mean, self.std, self.borders = network.mean, network.std, network.borders

    def intermediates(self, image_BNHW: Tensor) -> dict[str, Tensor]:
        named = self.network.intermediates(image_BNHW)
        sum_BChw = named["scores"]
        if torch.onnx.is_in_onnx_export():  # bundle/mirrored_graph.py writes the others: tracing them takes long
            mean_BChw = torch.onnx.ops.symbolic(
                MARK,
                (image_BNHW, sum_BChw),
                {"variants": len(self.axes)},
                dtype=sum_BChw.dtype,
                shape=sum_BChw.shape,
                version=1,
            )
            return {**named, "scores": mean_BChw}
        for axes in self.axes[1:]:
            sum_BChw = sum_BChw + self.network(image_BNHW.flip(axes)).flip(axes)
        return {**named, "scores": sum_BChw / len(self.axes)}
