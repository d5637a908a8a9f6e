"""Clicks and an encoder's maps → the object that is meant: the network behind the click tool.

The encoder is the frozen one of the labelling assistant (`bundle/export_features.py`). This network joins its maps,
from coarse to fine, with the clicks, the region so far, and how much each place looks like the clicked ones: cosine
similarities of small embeddings, so that it compares materials rather than knows them. Built, trained and exported by
`benchmarks/train_click_decoder.py`; `labelling/click_network.py` runs the exported file.

Shapes: B images; K clicks; E an embedding's channels; C, h, w those of a map; places are row · width + column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE_PX = 256  # of the square picture that it looks at
CHANNELS = {16: 112, 8: 40, 4: 24, 2: 16}  # stride of a map → its channels
MOST_CLICKS = 24
INPUTS = (*(f"stride{stride}" for stride in CHANNELS), "image", "discs", "region", "clicks", "sides")
EMBEDDED = 24
WIDTHS = {16: 64, 8: 48, 4: 32, 2: 16}  # stride of a level → its channels
GUIDES = 3  # maps of positive clicks, negative clicks, the region so far
ALIKE = 4  # maps of similarity for each embedding: to positive and negative clicks, inside and outside of the region
ABSENT = 4.0  # taken from the similarity, at most 1, to clicks that are not there


class ClickTensors(NamedTuple):
    """Clicks, and the region that those before the last one gave."""

    discs: Tensor  # 1 around positive (first channel) and negative clicks: [B, 2, 256, 256]
    region: Tensor  # 1 inside: [B, 1, 256, 256]
    clicks: Tensor  # column and row of each: [B, K, 2]
    sides: Tensor  # 1 for those that are there, in the row of its kind, positive first: [B, 2, K]


class Block(nn.Module):
    """A residual block: a depthwise convolution, then two that mix the channels."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.widen, self.narrow = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.narrow(F.relu6(self.widen(self.norm(self.spread(x)))))
        return result


class WholePicture(nn.Module):
    """Adds to every place what the whole picture is like."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.mix(F.relu(x.mean((2, 3), keepdim=True)))
        return result


def level(taken: int, width: int, blocks: int, kernel: int, *, context: bool = False) -> nn.Sequential:
    """The work at one stride."""
    parts: list[nn.Module] = [nn.Conv2d(taken, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    for _ in range(blocks):
        parts.append(Block(width, kernel))
        if context:
            parts.append(WholePicture(width))
    return nn.Sequential(*parts)


class ClickDecoder(nn.Module):
    """The network; 126,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.ModuleDict({str(stride): nn.BatchNorm2d(channels) for stride, channels in CHANNELS.items()})
        self.coarse = nn.Conv2d(CHANNELS[16] + CHANNELS[8], EMBEDDED, 1)  # embedding at stride 8
        self.fine = nn.Conv2d(CHANNELS[4] + CHANNELS[2] + 3, EMBEDDED, 1)  # embedding at stride 4
        both = GUIDES + 2 * ALIKE
        self.level16 = level(CHANNELS[16] + both, WIDTHS[16], 3, 5, context=True)
        self.level8 = level(WIDTHS[16] + CHANNELS[8] + both, WIDTHS[8], 2, 5, context=True)
        self.level4 = level(WIDTHS[8] + CHANNELS[4] + both, WIDTHS[4], 2, 3)
        self.level2 = level(WIDTHS[4] + CHANNELS[2] + 3 + GUIDES + ALIKE, WIDTHS[2], 1, 3)
        self.logits = nn.Conv2d(WIDTHS[2], 1, 3, padding=1)

    def forward(self, maps: Sequence[Tensor], colours: Tensor, given: ClickTensors) -> Tensor:
        """Whether each place at stride 2 belongs to the object: logits [B, 1, 128, 128].

        Args:
            maps: the encoder's, the coarsest first: [B, C, h, w].
            colours: [B, 3, 256, 256], 0–1.
            given: the clicks, and the region so far.
        """
        discs, region, clicks, sides = given
        x16, x8, x4, x2 = (
            self.norm[str(stride)](one) for stride, one in zip(CHANNELS, maps, strict=True)
        )  # normalised by what they are in training
        colours = F.avg_pool2d(colours, 2) * 2 - 1
        shown = {2: F.max_pool2d(discs, 2)}
        for stride in (4, 8, 16):
            shown[stride] = F.max_pool2d(shown[stride // 2], 2)
        guides = {stride: torch.cat([one, F.avg_pool2d(region, stride)], 1) for stride, one in shown.items()}
        coarse = self.coarse(torch.cat([doubled(x16), x8], 1))
        fine = self.fine(torch.cat([x4, F.avg_pool2d(x2, 2), F.avg_pool2d(colours, 2)], 1))
        coarse8, fine4 = (
            alike(one, places(clicks, stride), sides, guides[stride][:, 2:]) for one, stride in ((coarse, 8), (fine, 4))
        )
        fine8 = F.avg_pool2d(fine4, 2)
        x = self.level16(torch.cat([x16, guides[16], F.avg_pool2d(coarse8, 2), F.avg_pool2d(fine8, 2)], 1))
        x = self.level8(torch.cat([doubled(x), x8, guides[8], coarse8, fine8], 1))
        x = self.level4(torch.cat([doubled(x), x4, guides[4], doubled(coarse8), fine4], 1))
        x = self.level2(torch.cat([doubled(x), x2, colours, guides[2], doubled(fine4)], 1))
        result: Tensor = self.logits(x)
        return result


def doubled(x: Tensor) -> Tensor:
    """At half the stride, bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def places(clicks: Tensor, stride: int) -> Tensor:
    """The places of clicks on a map: [B, K]."""
    side = SIDE_PX // stride
    at = (clicks / stride).long().clamp(0, side - 1)
    return at[:, :, 1] * side + at[:, :, 0]


def alike(embedding: Tensor, at: Tensor, sides: Tensor, region: Tensor) -> Tensor:
    """Cosine similarity of each place to the most similar positive click, the most similar negative click, the mean
    inside the region and the mean outside: [B, 4, h, w]. −1 where there is no such click.

    Args:
        embedding: [B, E, h, w].
        at: places of the clicks, [B, K].
        sides: as in `ClickTensors`.
        region: the part of each place inside the region so far, [B, 1, h, w].
    """
    batch, channels, height, width = embedding.shape
    all_BEP = F.normalize(embedding, dim=1).flatten(2)
    clicked_BEK = torch.gather(all_BEP, 2, at[:, None].expand(batch, channels, at.shape[1]))
    to_clicks_BKP = torch.bmm(clicked_BEK.transpose(1, 2), all_BEP)
    parts = [(to_clicks_BKP + (sides[:, side, :, None] - 1) * ABSENT).amax(1).clamp(-1) for side in (0, 1)]
    inside_B1P = region.flatten(2)
    for share_B1P in (inside_B1P, 1 - inside_B1P):
        mean_BE = F.normalize((all_BEP * share_B1P).sum(2), dim=1)
        parts.append(torch.bmm(mean_BE[:, None], all_BEP)[:, 0])
    return torch.stack(parts, 1).reshape(batch, len(parts), height, width)


class ClickGraph(nn.Module):
    """The network as it is exported: one picture, and INPUTS as `labelling/click_network.py` has them."""

    def __init__(self, decoder: ClickDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits [256, 256], from maps float32 [h, w, C], image uint8 [256, 256, 3], discs uint8 [2, 256, 256], region
        uint8 [256, 256], clicks float32 [K, 2] and sides float32 [2, K]."""
        *maps, image, discs, region, clicks, sides = inputs
        colours = image.permute(2, 0, 1)[None].float() / 255
        given = ClickTensors(discs[None].float(), region[None, None].float(), clicks[None], sides[None])
        return doubled(self.decoder([one.permute(2, 0, 1)[None] for one in maps], colours, given))[0, 0]
