"""Image and mask stay together, nothing is invented, everything can be repeated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelwise.records import VOID, Sample
from pixelwise.training.augment import Crop, crop_mask, generator, relight, rotated
from pixelwise.training.batch_order import Order
from pixelwise.training.loader import Augmentation, CropDataset, Pairs, augment
from pixelwise.training.loop import rare_classes
from pixelwise.training.stain import invert, restain, tint

PLAIN = Augmentation(size=(96, 128), policy="stretch", zoom=(0.6, 2.0), flip=True, light=0.0, seed=3)


def crosses() -> tuple[np.ndarray, np.ndarray]:
    """A white cross on black, off the middle so that no mirroring hides; the mask is 1 on it."""
    mask = np.zeros((120, 160), np.uint8)
    mask[40:52, 20:110] = 1
    mask[10:100, 50:62] = 1
    return np.repeat(mask[..., None] * 255, 3, axis=2).astype(np.uint8), mask


@settings(deadline=None, max_examples=60)
@given(index=st.integers(0, 10_000), policy=st.sampled_from(["stretch", "fit", "native"]), turn=st.booleans())
def test_a_drawn_cross_lands_on_itself(index: int, policy: str, turn: bool) -> None:
    image, mask = crosses()
    size = (96, 96) if turn else (96, 128)
    how = Augmentation(size, policy, (0.6, 2.0), True, 0.0, 3, turn=turn)  # type: ignore[arg-type]
    seen, labels = augment(image, mask, how, epoch=0, index=index)
    inside = labels != VOID
    # A pixel of the picture is white exactly where its label is 1. On the edge antialiasing mixes the two, so an
    # edge may be off by less than a pixel: whatever is surely white must be 1 or touch a 1, and the reverse.
    white = (seen[..., 0] > 250) & inside
    black = (seen[..., 0] < 5) & inside
    assert not (white & (labels == 0)).any()
    assert not (black & (labels == 1)).any()


@settings(deadline=None, max_examples=40)
@given(index=st.integers(0, 10_000), ids=st.sets(st.integers(0, 20), min_size=1, max_size=5))
def test_labels_are_those_of_the_mask_or_void(index: int, ids: set[int]) -> None:
    rng = np.random.default_rng(index)
    mask = rng.choice(sorted(ids), (60, 50)).astype(np.uint8)
    image = rng.integers(0, 256, (60, 50, 3), dtype=np.uint8)
    _, labels = augment(image, mask, PLAIN, epoch=1, index=index)
    assert set(np.unique(labels)) <= ids | {VOID}
    assert labels.shape == (96, 128)
    assert labels.dtype == np.uint8


def test_of_several_crops_the_one_with_the_most_of_the_rare_class_is_used() -> None:
    image, mask = crosses()

    def seen_of_1(crops: int, rare: tuple[int, ...], epochs: range = range(40)) -> float:
        how = replace(PLAIN, zoom=(1.5, 3.0), crops=crops, rare=rare)
        return float(np.mean([(augment(image, mask, how, epoch, 0)[1] == 1).mean() for epoch in epochs]))

    assert seen_of_1(crops=3, rare=(1,)) > 1.3 * seen_of_1(crops=1, rare=(1,))
    assert seen_of_1(crops=3, rare=()) == seen_of_1(crops=3, rare=(7,))  # nothing to choose by: the first one


def test_rare_is_what_has_less_than_its_share() -> None:
    assert rare_classes([70, 20, 10, 0]) == (1, 2)  # and what never occurs cannot be looked for
    assert rare_classes([5, 5]) == ()
    assert rare_classes([0, 0]) == ()
    assert rare_classes([70, 20, 10, 0], all_of_them=True) == (0, 1, 2)


def test_padding_is_void_never_class_0() -> None:
    mask = np.zeros((40, 40), np.uint8)
    labels = crop_mask(mask, Crop(top=-10, left=-20, height=60, width=80, mirrored=False), (60, 80))
    assert (labels[:10] == VOID).all()
    assert (labels[:, :20] == VOID).all()
    assert (labels[10:50, 20:60] == 0).all()


def test_the_same_seed_epoch_and_sample_give_the_same_view() -> None:
    image, mask = crosses()
    how = Augmentation((64, 64), "stretch", (0.6, 2.0), True, 1.0, 5)
    again = [augment(image, mask, how, epoch=2, index=7) for _ in range(2)]
    assert np.array_equal(again[0][0], again[1][0])
    assert np.array_equal(again[0][1], again[1][1])
    other = augment(image, mask, how, epoch=3, index=7)
    assert not np.array_equal(again[0][0], other[0])


def test_turned_crops_lie_every_way() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32] = 255  # up is white
    mask = image[..., 0] // 255
    seen = set()
    for index in range(40):
        how = Augmentation((64, 64), "stretch", (1.0, 1.0), False, 0.0, 0, turn=True)
        labels = augment(image, mask, how, 0, index)[1]
        edges = (labels[8], labels[:, 8], labels[-9], labels[:, -9])
        seen.add(int(np.argmax([(edge == 1).mean() for edge in edges])))  # which of them is white
    assert len(seen) == 4


def test_a_whole_view_is_the_image_itself() -> None:
    image, mask = crosses()
    how = Augmentation((120, 160), "stretch", (1.0, 1.0), False, 0.0, 0)
    for index in range(5):
        seen, labels = augment(image, mask, how, 0, index)
        inside = labels != VOID  # the bend of up to 10 % may show a margin
        assert inside.mean() > 0.8
        assert abs(int(seen[inside].mean()) - int(image.mean())) < 12


def test_relighting_keeps_shape_and_type_and_zero_strength_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    assert relight(generator(0, 0, 0), image, 0.0) is image
    for index in range(20):
        lit = relight(generator(0, 0, index), image, 1.0)
        assert lit.shape == image.shape
        assert lit.dtype == np.uint8


def test_red_stays_redder_than_blue_in_any_light() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 220
    for index in range(50):
        lit = relight(generator(1, 0, index), red, 1.0).astype(int)
        assert lit[..., 0].mean() >= lit[..., 2].mean()


@pytest.mark.parametrize(("samples", "batch"), [(10, 4), (3, 8), (8, 8), (1, 2)])
def test_an_epoch_shows_every_sample_and_only_full_batches(samples: int, batch: int) -> None:
    order = Order(samples, batch, seed=1)
    keys = list(order)
    assert len(keys) == len(order)
    assert all(len(one) == batch for one in keys)
    assert {key.sample for one in keys for key in one} == set(range(samples))
    order.epoch = 1
    assert {key.epoch for one in order for key in one} == {1}
    if samples > 3:
        assert list(order) != keys


def test_an_epoch_never_shows_a_crop_twice_where_it_shows_an_image_twice(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "image.png")
    Image.fromarray(noise[:, :, 0] // 128).save(tmp_path / "mask.png")
    pairs = Pairs([Sample("one", tmp_path / "image.png", tmp_path / "mask.png")], {}, 2, 1)
    crops = CropDataset(pairs, replace(PLAIN, policy="native", zoom=(1.0, 1.0), size=(32, 32)))
    for order, count in ((Order(1, 2, seed=0, steps=6), 12), (Order(1, 4, seed=0), 4)):  # the second fills a batch up
        shown = [crops[key][0].numpy().tobytes() for keys in order for key in keys]
        assert len(set(shown)) == len(shown) == count


def test_pure_red_reaches_the_network_as_red_in_training() -> None:
    from pixelwise.model.preprocess import Preprocess

    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 0] = 255
    how = Augmentation((32, 32), "stretch", (1.0, 1.5), True, 0.0, 0)
    seen, labels = augment(image, np.zeros((40, 60), np.uint8), how, 0, 0)
    preprocess = Preprocess((32, 32), "stretch", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    tensor = preprocess.normalise(torch.from_numpy(seen)[None].permute(0, 3, 1, 2))[0]
    inside = torch.from_numpy(labels != VOID)
    assert tensor[0][inside].unique().tolist() == [2.0]
    assert tensor[2][inside].unique().tolist() == [-2.0]


def test_crops_centred_on_a_rare_class_contain_it() -> None:
    mask = np.zeros((300, 400), np.uint8)
    mask[280:283, 390:393] = 1
    places = [np.argwhere(mask == 1).astype(np.int32)]
    how = Augmentation((64, 64), "native", (1.0, 1.0), True, 0.0, 0, rare=(1,), rare_share=1.0)
    image = np.zeros((300, 400, 3), np.uint8)
    for index in range(20):
        _, labels = augment(image, mask, how, 0, index, places)
        assert (labels == 1).any()
        assert (labels != 255).all(), "it stays inside the image"
    few = sum((augment(image, mask, how, 0, index)[1] == 1).any() for index in range(20))
    assert few < 5, "by chance such a crop is rare"


def test_a_crop_of_a_resized_image_has_its_scale() -> None:
    mask = np.tile((np.arange(400) // 8 % 2).astype(np.uint8), (300, 1))  # stripes, 8 px wide
    image = np.repeat(mask[..., None] * 255, 3, axis=2)
    how = replace(PLAIN, size=(64, 64), whole=(224, 224), policy="fit", zoom=(1.0, 1.0))
    for index in range(8):
        pixels, labels = augment(image, mask, how, 0, index)
        changes = int((np.diff(labels[32].astype(int)) != 0).sum())
        assert 64 / 4.5 / 1.15 - 1 <= changes <= 64 / 4.5 * 1.15 + 1, "half as wide, as in the whole image"
        assert ((pixels[:, :, 0] > 127) == labels).mean() > 0.9


def test_other_stains_keep_grey_and_inverting_twice_keeps_the_image() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(60, 190, (20, 20, 3)).astype(np.uint8)
    grey = np.repeat(image[:, :, :1], 3, axis=2)
    changed = [(restain(np.random.default_rng(seed), image, 0.5) != image).any() for seed in range(40)]
    assert 10 < sum(changed) < 30, "half of them"
    assert (restain(np.random.default_rng(1), image, 0.0) == image).all()
    turned = restain(np.random.default_rng(2), grey, 1.0).astype(int)
    assert np.corrcoef(turned.mean(axis=2).ravel(), grey.mean(axis=2).ravel())[0, 1] > 0.999
    once = invert(np.random.default_rng(0), image, 1.0)
    assert (invert(np.random.default_rng(0), once, 1.0) == image).all()
    assert np.corrcoef(once.mean(axis=2).ravel(), image.mean(axis=2).ravel())[0, 1] < -0.7
    assert (invert(np.random.default_rng(0), image, 0.0) == image).all()


def test_other_colours_keep_what_is_brighter() -> None:
    grey = np.repeat(np.arange(0, 250, 10, dtype=np.uint8)[:, None, None], 3, axis=2)
    changed = [tint(np.random.default_rng(seed), grey, 1.0) for seed in range(60)]
    for image in changed:
        assert (np.diff(image.astype(int), axis=0) >= 0).all(), "no channel swaps dark and bright"
        assert (image[-1].astype(int) - image[0] > 40).all()
    coloured = sum((image.std(axis=2) > 3).any() for image in changed)
    assert 30 < coloured < 58, "most get colours, the others become grey"
    assert (tint(np.random.default_rng(0), grey, 0.0) == grey).all()
    halves = sum((tint(np.random.default_rng(seed), grey, 0.5) != grey).any() for seed in range(40))
    assert 5 < halves < 30


def test_tilted_crops_keep_image_and_labels_aligned_and_stay_full() -> None:
    rows, columns = np.mgrid[:200, :300]
    mask = (((columns // 20) + (rows // 20)) % 2).astype(np.uint8)
    image = np.repeat((mask * 200)[:, :, None], 3, axis=2).astype(np.uint8)
    how = Augmentation((64, 96), "native", (1.0, 1.0), True, 0.0, 0, tilt=45.0)
    wrong = known = 0
    angles = set()
    for index in range(40):
        seen, labels = augment(image, mask, how, 0, index)
        assert seen.shape == (64, 96, 3)
        inside = labels != 255
        wrong += int(((seen[:, :, 0] > 100) != (labels == 1))[inside].sum())
        known += int(inside.sum())
        edges = np.abs(np.diff(labels.astype(int), axis=1)).sum(axis=0) > 0
        angles.add(int(edges.sum()))
    assert wrong < 0.03 * known, "only at the edges, where the image is interpolated"
    assert len(angles) > 5, "they are rotated by different angles"


def test_seven_bands_and_labels_are_rotated_alike() -> None:
    image = np.arange(40 * 50 * 7, dtype=np.float32).reshape(40, 50, 7)
    turned = rotated(image, 30.0, (20, 20), 127)
    assert turned.shape == (20, 20, 7)
    assert turned.dtype == np.float32
    np.testing.assert_allclose(np.diff(turned, axis=2), 1.0, atol=1e-2)
