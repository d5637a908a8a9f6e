"""Image in, labels out: sizes, colours, and each step with its inverse."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.model.preprocess import Preprocess, exposure_of, labels_from_scores, network_size, resize_image

SIDES = st.integers(1, 5000)


@given(height=SIDES, width=SIDES)
def test_stretch_is_always_the_size_asked_for(height: int, width: int) -> None:
    assert network_size(height, width, (256, 320), "stretch") == (256, 320)


@given(height=SIDES, width=SIDES)
def test_fit_fits_and_keeps_the_shape_within_half_a_multiple(height: int, width: int) -> None:
    h, w = network_size(height, width, (256, 320), "fit")
    assert h % 32 == w % 32 == 0
    assert 32 <= h <= 256
    assert 32 <= w <= 320
    scale = min(256 / height, 320 / width)
    assert abs(h - max(height * scale, 16)) <= 16.0001
    assert abs(w - max(width * scale, 16)) <= 16.0001


@given(height=SIDES, width=SIDES)
def test_native_is_the_image_within_half_a_multiple(height: int, width: int) -> None:
    h, w = network_size(height, width, (256, 256), "native")
    assert h % 32 == w % 32 == 0
    assert abs(h - max(height, 16)) <= 16
    assert abs(w - max(width, 16)) <= 16


@pytest.mark.parametrize("policy", ["stretch", "fit", "native"])
def test_pure_red_reaches_the_network_as_red(policy: str) -> None:
    red = torch.zeros(1, 50, 70, 3, dtype=torch.uint8)
    red[..., 0] = 255
    tensor = Preprocess((64, 64), policy, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))(red)  # type: ignore[arg-type]
    assert tensor[:, 0].unique().tolist() == [1.0]
    assert tensor[:, 1:].unique().tolist() == [-1.0]


def even_exposure(image_B3hw: torch.Tensor) -> torch.Tensor:
    gain_B111, offset_B111 = exposure_of(image_B3hw)
    return (image_B3hw * gain_B111 + offset_B111).clamp(0, 255)


@pytest.mark.parametrize("mean", [(0.5, 0.5, 0.5), (0.48, 0.45, 0.4)])
@pytest.mark.parametrize("even", [True, False])
def test_what_the_network_gets_is_each_step_done_one_after_the_other(mean: tuple[float, ...], even: bool) -> None:
    std = tuple(value / 2 for value in mean)
    image = torch.randint(0, 256, (2, 3, 20, 30), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    image[1] //= 3
    steps = even_exposure(image.float()) if even else image.float()
    steps = (steps / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    assert torch.allclose(Preprocess((32, 32), "stretch", mean, std, even).normalise(image), steps, atol=2e-5)


def test_dusk_and_noon_of_one_view_reach_the_network_alike() -> None:
    noon = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(1)) * 150 + 50
    dusk = noon * 0.5 + 5
    assert (even_exposure(noon) - even_exposure(dusk)).abs().max() < 1e-3
    both = even_exposure(torch.cat([noon, dusk]))
    assert torch.equal(both[:1], even_exposure(noon))  # an image's neighbours in a batch do not matter
    assert torch.equal(both[1:], even_exposure(dusk))


def test_even_exposure_keeps_a_blank_image_finite_and_grey() -> None:
    for level in (0, 128, 255):
        assert even_exposure(torch.full((1, 3, 8, 8), float(level))).unique().tolist() == [112.0]


def test_even_exposure_keeps_hues_apart() -> None:
    colours = torch.tensor([[255.0, 0, 0], [0, 255, 0], [0, 0, 255]]).T.reshape(1, 3, 1, 3)
    assert even_exposure(colours).argmax(1).flatten().tolist() == [0, 1, 2]


def test_shrinking_averages_rather_than_skips() -> None:
    fine = np.zeros((256, 256, 3), np.uint8)
    fine[:, ::2] = 255  # stripes that vanish or swallow everything when pixels are skipped
    small = resize_image(torch.from_numpy(fine)[None], (64, 64))
    inner = small[..., 1:-1]  # the first and last column see one stripe more of one kind
    assert 120 <= inner.min() <= inner.max() <= 135
    theirs = cv2.resize(fine, (64, 64), interpolation=cv2.INTER_AREA)
    assert abs(float(small.mean()) - float(theirs.mean())) < 1


@settings(deadline=None, max_examples=30)
@given(h=st.integers(1, 9), w=st.integers(1, 9), factor=st.integers(1, 5), seed=st.integers(0, 99))
def test_labels_come_back_from_their_own_scores(h: int, w: int, factor: int, seed: int) -> None:
    labels = torch.randint(0, 4, (1, h, w), generator=torch.Generator().manual_seed(seed))
    scores = torch.nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    assert torch.equal(labels_from_scores(scores, (h, w)), labels.to(torch.uint8))
    large = labels_from_scores(scores, (h * factor, w * factor))
    middle = factor // 2
    if factor % 2:  # the middle of a block lies exactly on its score
        assert torch.equal(large[:, middle::factor, middle::factor], labels.to(torch.uint8))


def test_ties_go_to_the_lower_id() -> None:
    assert labels_from_scores(torch.zeros(1, 5, 4, 4), (8, 8)).unique().tolist() == [0]


@pytest.mark.parametrize("level", [0.0, 255.0])
def test_white_and_black_areas_say_nothing_of_an_images_light(level: float) -> None:
    whole = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(1)) * 90 + 60
    missed = whole.clone()
    missed[:, :, :, 40:] = level
    seen, expected = exposure_of(missed), exposure_of(whole[:, :, :, :40])
    assert torch.allclose(torch.cat(seen), torch.cat(expected), rtol=1e-3)
    red = whole.clone()
    red[:, 0, :, 40:] = 255  # saturated in one band only
    assert not torch.allclose(exposure_of(red)[1], expected[1], atol=1)
