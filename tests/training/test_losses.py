"""Void counts nowhere, and the numbers are the textbook's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pixelwise.records import VOID
from pixelwise.training.losses import class_weights, dice, overlap_sums, segmentation_loss

CLASSES = 4


def random_case(seed: int, void_share: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, CLASSES, 9, 7, generator=generator)
    labels = torch.randint(0, CLASSES, (2, 9, 7), generator=generator)
    labels[torch.rand(2, 9, 7, generator=generator) < void_share] = VOID
    return scores, labels


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), void_share=st.sampled_from([0.1, 0.5, 0.95, 1.0]), shift=st.floats(-50, 50))
def test_what_the_network_says_on_void_changes_no_loss(seed: int, void_share: float, shift: float) -> None:
    scores, labels = random_case(seed, void_share)
    other = scores.clone()
    void = (labels == VOID)[:, None].expand_as(scores)
    other[void] = other[void].flip(0) * 3 + shift
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    before, after = (segmentation_loss(s, labels, weights, 0.5) for s in (scores, other))
    assert torch.isfinite(before)
    assert torch.equal(before, after)


def test_void_pixels_receive_no_gradient() -> None:
    scores, labels = random_case(0, 0.4)
    scores.requires_grad_(True)
    segmentation_loss(scores, labels, torch.ones(CLASSES), 0.5).backward()
    assert scores.grad is not None
    gradient = scores.grad.abs().sum(1)
    assert (gradient[labels == VOID] == 0).all()
    assert (gradient[labels != VOID] > 0).all()


def test_all_void_is_finite_and_teaches_nothing() -> None:
    scores = torch.randn(1, CLASSES, 4, 4, requires_grad=True)
    loss = segmentation_loss(scores, torch.full((1, 4, 4), VOID), torch.ones(CLASSES), 0.5)
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert (scores.grad == 0).all()


def test_cross_entropy_is_torchs_weighted_mean() -> None:
    scores, labels = random_case(1, 0.3)
    weights = torch.tensor([0.2, 1.0, 3.0, 0.7])
    ours = segmentation_loss(scores, labels, weights, 0.0)
    torch.testing.assert_close(ours, F.cross_entropy(scores, labels, weights, ignore_index=VOID))


def test_dice_is_the_formula_written_out() -> None:
    scores, labels = random_case(2, 0.3)
    labels[labels == 3] = VOID  # a class that does not occur counts nowhere
    probability = scores.softmax(1)
    terms = []
    for k in range(3):
        known = labels != VOID
        p, t = probability[:, k][known], (labels[known] == k).float()
        terms.append(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    torch.testing.assert_close(dice(overlap_sums(scores.log_softmax(1), labels)), torch.stack(terms).mean())


def test_class_weights_follow_the_share_and_average_one_over_pixels() -> None:
    pixels = torch.tensor([800, 150, 50, 0])
    assert class_weights(pixels, 0.0)[:3].tolist() == pytest.approx([1, 1, 1])
    weights = class_weights(pixels, 0.5)
    assert weights[0] < weights[1] < weights[2]
    assert weights[3] == 0
    assert float((weights * pixels / 1000).sum()) == pytest.approx(1)
    assert class_weights(torch.tensor([10**9, 1]), 1.0).max() <= 10
    assert torch.isfinite(class_weights(torch.zeros(3, dtype=torch.long), 0.5)).all()
