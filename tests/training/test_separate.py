"""`separate`: borders between touching objects, from instances to the maps of a prediction."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from several import train_in_float64

import pixelwise as pw
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.errors import StoppedError, UsageError
from pixelwise.model.build_network import build
from pixelwise.model.ensemble import Ensemble
from pixelwise.model.network import ModelConfig
from pixelwise.prediction.in_memory import labelled_in_tiles
from pixelwise.prediction.large.tiles import tiling
from pixelwise.training.augment import Crop, crop_numbers, rotated
from pixelwise.training.borders import GAP_WEIGHT, border_loss, gap_weights
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.cross_validation import cross_validate
from pixelwise.training.object_facts import object_facts
from pixelwise.training.object_gaps import BORDER_PX, GAP_PX, UNKNOWN, gaps_of, second_nearest
from pixelwise.training.recipe import Recipe
from pixelwise.training.separation import separable

RECIPE = Recipe(model="unet", size=(64, 64), epochs=2, batch=2, learning_rate=3e-3, separate=("nucleus",), turn=True,
                tilt=45.0, keep="last", small_epochs=0.0, policy="native")  # fmt: skip
SIZE = (64, 96)


@pytest.fixture(scope="module")
def touching(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of discs that touch, with their numbers."""
    root = tmp_path_factory.mktemp("touching")
    rng = np.random.default_rng(3)
    for split, count in (("train", 4), ("val", 2)):
        for folder in ("images", "masks", "instances"):
            (root / split / folder).mkdir(parents=True)
        for number in range(count):
            objects = np.zeros(SIZE, np.uint16)
            for pair, (x, y) in enumerate(((18, 18), (56, 20), (30, 46))):
                for side in (0, 1):
                    cv2.circle(objects, (x + 15 * side, y), 8, 2 * pair + side + 1, -1)
            image = np.where(objects > 0, 170, 60)[:, :, None] + rng.integers(-20, 20, (*SIZE, 3))
            for folder, pixels in (
                ("images", np.uint8(image)),
                ("masks", np.uint8(objects > 0)),
                ("instances", objects),
            ):
                Image.fromarray(pixels).save(root / split / folder / f"{split}{number}.png")
    return root


@pytest.fixture(scope="module")
def run(touching: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    pw.train(touching, out, RECIPE)
    return out


# ── truth ──


def test_a_border_is_what_sees_two_objects_within_two_pixels() -> None:
    objects = np.zeros((21, 31), np.uint16)
    objects[5:16, 3:15] = 7
    objects[5:16, 15:24] = 300  # touches it
    objects[5:16, 26:30] = 9  # behind a gap of two pixels
    row = second_nearest(objects)[10]
    assert row[:24].tolist() == [0] * 9 + [6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 5, 4, 3, 2 + 1][:15] or row[
        13:17
    ].tolist() == [2, 1, 1, 2]
    assert row[13:17].tolist() == [2, 1, 1, 2]
    assert row[23:28].tolist() == [3, 2, 2, 3, 4]
    assert (second_nearest(np.uint16(objects > 0)) == 0).all()  # one object sees no other


def test_numbers_beyond_16_bits_are_told_apart() -> None:
    objects = np.zeros((9, 12), np.uint32)
    objects[:, :6], objects[:, 6:] = 70_000, 70_000 + 65_536
    assert second_nearest(objects)[4].tolist() == [6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6]


def test_void_the_crops_edge_and_unnumbered_images_are_unknown() -> None:
    labels, objects = np.ones((20, 20), np.uint8), np.ones((20, 20), np.uint16)
    objects[:, 10:], labels[5, 5] = 2, 255
    (gaps,) = gaps_of(labels, objects, (1,))
    assert gaps[5, 5] == UNKNOWN
    assert (gaps[:BORDER_PX] == UNKNOWN).all()
    assert (gaps[:, -BORDER_PX:] == UNKNOWN).all()
    assert gaps[10, 9] == gaps[10, 10] == 1
    assert (gaps_of(labels, None, (1,)) == UNKNOWN).all()


def test_objects_of_other_classes_make_no_border() -> None:
    labels, objects = np.ones((20, 20), np.uint8), np.ones((20, 20), np.uint16)
    objects[:, 10:], labels[:, 10:] = 2, 2
    gaps = gaps_of(labels, objects, (1, 2))
    assert set(np.unique(gaps)) == {0, UNKNOWN}


def test_a_crop_of_numbers_is_that_of_the_mask() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(1, 60_000, (50, 60)).astype(np.uint16)
    crop = Crop(-5, 10, 40, 70, mirrored=True)
    found = crop_numbers(numbers, crop, (32, 48), 0)
    again = crop_numbers((numbers % 251).astype(np.uint8), crop, (32, 48), 0)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found % 251, again)
    np.testing.assert_array_equal(rotated(found, 30.0, (20, 20), 0) % 251, rotated(again, 30.0, (20, 20), 0))


# ── loss ──


def test_the_loss_is_least_at_the_truth_and_narrow_gaps_weigh_most() -> None:
    gaps = torch.tensor([[[[0, 6, 2, 1], [UNKNOWN, 0, 3, 2]]]])
    truth = (gaps > 0) & (gaps <= BORDER_PX)
    right, wrong = (border_loss(12.0 * (2 * each.float() - 1), gaps, 0.5) for each in (truth, ~truth))
    assert right < 0.05 < 5 < wrong
    weights = gap_weights(gaps)[0]
    assert weights[0, 3] == 1 + GAP_WEIGHT
    assert weights[0, 0] == weights[1, 0] == 1
    assert weights[0, 3] > weights[0, 2] > weights[1, 2] > weights[0, 1] > 1
    ignored = torch.zeros(1, 1, 2, 4, requires_grad=True)
    border_loss(ignored, gaps, 0.5).backward()
    assert ignored.grad is not None
    assert ignored.grad[0, 0, 1, 0] == 0
    assert float(border_loss(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), UNKNOWN), 0.5)) == 0
    assert GAP_PX == 6  # as far as the weights of the test go


# ── recipe and data ──


def test_a_recipe_without_it_is_written_as_ever() -> None:
    assert "separate" not in Recipe().to_toml()
    assert Recipe.from_toml(RECIPE.to_toml()) == RECIPE
    assert Recipe().with_values({"separate": "nucleus"}).separate == ("nucleus",)


def test_a_class_that_there_is_not_and_data_without_instances_are_refused(touching: Path, tmp_path: Path) -> None:
    named = open_dataset(touching, classes={"ground": "0", "cell": "1"})
    with pytest.raises(UsageError, match="--separate nucleus: no such class; the classes are: ground, cell"):
        separable(named, ["nucleus"])
    for folder in ("images", "masks"):
        (tmp_path / "train" / folder).mkdir(parents=True)
        for path in (touching / "train" / folder).iterdir():
            (tmp_path / "train" / folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(
        UsageError, match=r"do not tell objects apart that touch. Expected object numbers in instances/"
    ):
        separable(open_dataset(tmp_path), ["nucleus"])


def test_the_plan_suggests_it_where_objects_touch_and_scores_every_pixel_with_it(touching: Path) -> None:
    without, with_it = pw.plan(touching), pw.plan(touching, {"separate": ["nucleus"]})
    assert without.recipe.separate == ()
    (choice,) = (one for one in without.choices if one.name == "touching objects")
    assert choice.reason == "100% of foreground touch another; --separate foreground learns where one ends"
    assert with_it.recipe.separate == ("nucleus",)
    assert with_it.recipe.stride == 1


def test_the_objects_of_the_masks_are_measured(touching: Path) -> None:
    (facts,) = object_facts(open_dataset(touching)).values()
    assert facts.touching == 1
    assert facts.size.number == 4 * 6
    assert 170 < facts.size.area_px < 210  # discs of radius 8
    assert facts.size.roundness > 0.85


# ── the bundle and its predictions ──


def test_a_bundle_gives_borders_beside_what_it_gives_anyway(run: Path, touching: Path) -> None:
    metadata = read_bundle(run / "model.onnx").metadata
    assert metadata.separate == ("nucleus",)
    assert metadata.classes.names == ("background", "nucleus")
    assert metadata.objects["nucleus"].number == 24
    model = pw.load(run)
    found = model.predict(touching / "val/images/val0.png")
    assert found.borders is not None
    assert found.scores.shape == (2, 64, 96)
    assert found.borders.shape == (1, 64, 96)
    assert 0 <= found.borders.min() < found.borders.max() <= 1
    assert found.separated == (1,)
    np.testing.assert_array_equal(found.labels, found.scores.argmax(axis=0))
    assert set(found.shares) == {"background", "nucleus"}


def test_tiles_give_the_borders_of_the_whole(run: Path, touching: Path) -> None:
    engine = pw.load(run).engine
    image = np.tile(np.asarray(Image.open(touching / "val/images/val0.png")), (3, 3, 1))
    plan = replace(tiling(image.shape[:2], (128, 128), (32, 32)), classes=2)
    labels, maps = labelled_in_tiles(plan, engine.run_all, image)
    assert maps.shape == (3, *image.shape[:2])
    assert labels.max() == 1  # a border's map is no class
    assert 0 <= maps[2].min() < maps[2].max() <= 1


def test_test_time_augmentation_averages_borders(run: Path, touching: Path) -> None:
    model, image = pw.load(run), touching / "val/images/val0.png"
    plain, averaged = model.predict(image).borders, model.predict(image, tta="flip").borders
    assert plain is not None
    assert averaged is not None
    mirrored = model.predict(np.ascontiguousarray(np.asarray(Image.open(image))[:, ::-1])).borders
    assert mirrored is not None
    np.testing.assert_allclose(averaged, (plain + mirrored[:, :, ::-1]) / 2, atol=1e-5)


def test_smaller_weights_and_int8_keep_the_borders(run: Path, touching: Path, tmp_path: Path) -> None:
    image = touching / "val/images/val0.png"
    plain = pw.load(run).predict(image).borders
    assert plain is not None
    for options in ({"weights": "float16"}, {"int8": True, "max_drop": 100.0}):
        small = pw.load(pw.export(run, tmp_path / "small.onnx", **options)).predict(image).borders
        assert small is not None
        assert np.abs(small - plain).mean() < 0.05


def test_an_ensemble_has_the_mean_of_its_borders() -> None:
    torch.manual_seed(0)
    members = [build(ModelConfig("unet", classes=2, pretrained=False, borders=1)).eval() for _ in range(2)]
    image = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        scores = [member(image) for member in members]
        found = Ensemble(members, [1.0, 2.0])(image)
    torch.testing.assert_close(found[:, 2:].sigmoid(), (scores[0][:, 2:].sigmoid() + scores[1][:, 2:].sigmoid()) / 2)
    classes = (scores[0][:, :2].softmax(1) + (scores[1][:, :2] / 2).softmax(1)) / 2
    torch.testing.assert_close(found[:, :2].softmax(1), classes)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_folds_give_the_mean_of_their_borders(touching: Path, tmp_path: Path) -> None:
    done = cross_validate(touching, tmp_path / "folds", replace(RECIPE, epochs=1), folds=2)
    whole = pw.load(done.bundle)
    assert whole.metadata.separate == ("nucleus",)
    assert whole.metadata.objects["nucleus"].number > 0
    image = touching / "val/images/val0.png"
    members = [pw.load(done.run / f"fold-{number}").predict(image).borders for number in (1, 2)]
    found = whole.predict(image).borders
    assert found is not None
    np.testing.assert_allclose(found, np.mean(members, axis=0), atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_processes_learn_the_borders_that_one_learns(touching: Path, tmp_path: Path) -> None:
    (recipe := tmp_path / "recipe.toml").write_text(RECIPE.to_toml())
    script = str(Path(__file__).with_name("several.py"))
    train_in_float64(touching, tmp_path / "one", recipe)
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*two, script, str(touching), str(tmp_path / "two"), str(recipe)], check=True, timeout=1500)
    one, several = (load_checkpoint(checkpoints(tmp_path / name / "checkpoints")[-1])[0] for name in ("one", "two"))
    assert one.keys() == several.keys()
    for name, expected in one.items():
        assert torch.allclose(several[name].double(), expected.double(), rtol=1e-6, atol=1e-9), name


def test_a_resumed_training_ends_with_the_same_bytes(run: Path, touching: Path, tmp_path: Path) -> None:
    def stop_after_one(event: dict[str, object]) -> None:
        if event["event"] == "checkpoint":
            raise StoppedError(signal.SIGTERM, at_once=True)

    with pytest.raises(StoppedError):
        pw.train(touching, tmp_path / "again", RECIPE, tell=stop_after_one)
    pw.train(touching, tmp_path / "again", resume=True)
    ends = [load_checkpoint(checkpoints(each / "checkpoints")[-1])[0] for each in (run, tmp_path / "again")]
    assert ends[0].keys() == ends[1].keys()
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name
    assert (run / "model.onnx").read_bytes() == (tmp_path / "again/model.onnx").read_bytes()


def test_changed_instances_are_changed_data(run: Path) -> None:
    data = json.loads((run / "data.json").read_text())
    assert data["objects"]["nucleus"]["number"] == 24
    assert "The foreground is named nucleus" in " ".join(data["notes"])
