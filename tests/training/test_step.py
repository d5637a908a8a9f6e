"""The shortcuts of a step give what the long ways give."""

import pytest
import torch
from torch import nn

from pixelwise.model.preprocess import resize_scores
from pixelwise.training.step import LARGEST_NORM, limit_gradients, resize_every_other


@pytest.mark.parametrize("phase", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("places", [(16, 24), (32, 48), (8, 6)])
def test_every_other_resized_score_is_that_of_resizing_all(phase: tuple[int, int], places: tuple[int, int]) -> None:
    scores = torch.randn(2, 5, *places, generator=torch.Generator().manual_seed(0))
    whole = resize_scores(scores, (32, 48))[:, :, phase[0] :: 2, phase[1] :: 2]
    torch.testing.assert_close(resize_every_other(scores, (32, 48), phase), whole)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_gradients_are_limited_as_torch_limits_them(scale: float) -> None:
    networks = [nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    networks[0][1].requires_grad_(False)  # what does not learn has no gradient
    networks[1][1].requires_grad_(False)
    x = scale * torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    for network in networks:
        network(x).square().sum().backward()
    limit_gradients(networks[0], LARGEST_NORM)
    nn.utils.clip_grad_norm_(networks[1].parameters(), LARGEST_NORM)
    for ours, theirs in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
