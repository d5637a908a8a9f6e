"""The shortcuts of a step give what the long ways give."""

import pytest
import torch
from torch import nn

from pixelwise.model.preprocess import resize_scores
from pixelwise.records import RGB
from pixelwise.training import step as module
from pixelwise.training.recipe import Recipe
from pixelwise.training.step import CLEAR_EVERY, LARGEST_NORM, clear_vanished, limit_gradients, resize_every_other
from pixelwise.training.training_state import start


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


def test_means_of_gradients_of_silent_weights_never_become_subnormal() -> None:
    weight = nn.Parameter(torch.ones(1000))
    optimizer = torch.optim.AdamW([weight], lr=1e-3)
    loud = torch.randn(500, generator=torch.Generator().manual_seed(0))
    smallest = torch.finfo(torch.float32).tiny
    for step in range(20 * CLEAR_EVERY):
        silent = loud if step == 0 else torch.zeros(500)
        weight.grad = torch.cat([loud, silent])
        optimizer.step()
        if (step + 1) % CLEAR_EVERY == 0:
            clear_vanished(optimizer)
        mean = optimizer.state[weight]["exp_avg"]
        assert not ((mean != 0) & (mean.abs() < smallest)).any()
    torch.testing.assert_close(mean[:500], loud, rtol=1e-4, atol=1e-6)
    assert (mean[500:] == 0).all()


def test_every_hundredth_step_clears_them(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(model="unet", size=(32, 32))
    training = start(recipe, 2)
    lesson = module.step_setup(training, [1, 1], RGB)
    images, labels = torch.zeros(2, 32, 32, 3, dtype=torch.uint8), torch.zeros(2, 32, 32, dtype=torch.int64)
    cleared: list[int] = []
    monkeypatch.setattr(module, "clear_vanished", lambda _optimizer: cleared.append(training.step))
    training.step = CLEAR_EVERY - 2
    for _ in range(4):
        module.learn(training, lesson, images, labels, 1e-3)
    assert cleared == [CLEAR_EVERY]


def test_one_labelled_pixel_is_learned_from_in_every_step_where_labels_are_sparse() -> None:
    def losses(all_pixels: bool) -> list[float]:
        training = start(Recipe(model="unet", size=(32, 32), all_pixels=all_pixels, dice=0.0), 2)
        lesson = module.step_setup(training, [1, 1], RGB)
        images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        labels = torch.full((2, 32, 32), 255, dtype=torch.int64)
        labels[:, 5, 7] = 1
        found = []
        for _ in range(4):
            before = training.so_far.loss_sum
            module.learn(training, lesson, images, labels, 1e-3)
            found.append(training.so_far.loss_sum - before)
        return found

    assert all(loss > 0 for loss in losses(all_pixels=True))
    assert sum(loss > 0 for loss in losses(all_pixels=False)) == 1, "a quarter of the pixels a step, in turn"


def test_the_loss_of_all_pixels_is_that_of_the_scores_at_full_size() -> None:
    recipe = Recipe(model="unet", size=(32, 32), all_pixels=True, dice=0.0, class_power=0.0)
    training = start(recipe, 2)
    lesson = module.step_setup(training, [1, 1], RGB)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 2, (2, 32, 32), generator=generator)
    training.network.train()
    scores = training.network(lesson.preprocess.normalise(images.permute(0, 3, 1, 2)))
    expected = float(nn.functional.cross_entropy(scores, labels).detach())
    module.learn(training, lesson, images, labels, 0.0)
    assert abs(training.so_far.loss_sum - expected) < 1e-4
