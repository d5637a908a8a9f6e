"""Several networks as one: the mean of their probabilities.

Shapes: B batch, N bands, C classes, H and W the input's size, s the stride of the scores, K networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from pixelwise.model.network import Network

LARGEST = 1 - 1e-6
SMALLEST = 1e-30  # probability whose logarithm is still finite in float32


class Ensemble(Network):
    """K networks of one kind; the scores are the logarithm of their mean probability, whose softmax is that mean.

    The named stages are those of the first network, then its scores, and the mean probability of the others.
    """

    def __init__(self, members: Sequence[Network], temperatures: Sequence[float]) -> None:
        """`temperatures`: one per network, which calibrates its probabilities."""
        super().__init__()
        if len(members) != len(temperatures) or not members:
            raise ValueError(f"{len(members)} networks and {len(temperatures)} temperatures; expected one of each")
        first = members[0]
        self.members = nn.ModuleList(members)
        self.temperatures = tuple(temperatures)
        self.stride, self.stride_multiple = first.stride, first.stride_multiple
        self.mean, self.std, self.borders = first.mean, first.std, first.borders

    def intermediates(self, image_BNHW: Tensor) -> dict[str, Tensor]:
        named, *others = [member.intermediates(image_BNHW) for member in self.networks()]
        probabilities = [
            self.probabilities(stages["scores"], temperature)
            for stages, temperature in zip((named, *others), self.temperatures, strict=True)
        ]
        named["network1"] = named.pop("scores")
        mean_BChw = mean(probabilities)
        if others:
            named["others"] = mean(probabilities[1:])
        log_BChw = mean_BChw.clamp(min=SMALLEST).log()
        if self.borders:  # their mean probability as a logit
            mean_BSh = mean_BChw[:, -self.borders :].clamp(SMALLEST, LARGEST)
            log_BChw = torch.cat([log_BChw[:, : -self.borders], mean_BSh.logit()], dim=1)
        return {**named, "scores": log_BChw}

    def probabilities(self, scores_BChw: Tensor, temperature: float) -> Tensor:
        """Of the classes, calibrated; and of the borders after them."""
        classes = scores_BChw.shape[1] - self.borders
        of_classes = (scores_BChw[:, :classes] / temperature).softmax(dim=1)
        return torch.cat([of_classes, scores_BChw[:, classes:].sigmoid()], dim=1) if self.borders else of_classes

    def networks(self) -> Iterator[Network]:
        for member in self.members:
            assert isinstance(member, Network)
            yield member


def mean(tensors: Sequence[Tensor]) -> Tensor:
    """The mean of tensors of one shape, added one after the other."""
    return reduce(add, tensors) / len(tensors)
