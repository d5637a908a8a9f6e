"""The plan: rules over fingerprints, and fingerprints of drawn data whose properties are known."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pixelwise.errors import DatasetError, UsageError
from pixelwise.prediction.load_model import load
from pixelwise.records import VOID, Labels
from pixelwise.scenes.render_scene import write_scenes
from pixelwise.trace_events import Event
from pixelwise.training.export_run import load_best_epoch, validation_of
from pixelwise.training.fingerprint import BandRange, ClassFacts, Fingerprint, width_and_regions
from pixelwise.training.plan import plan, plan_from
from pixelwise.training.recipe import Recipe
from pixelwise.training.train import train

VESSELS = Fingerprint(
    train=16, val=4, groups=16, size=(584, 565), smallest=(584, 565), largest=(584, 565),
    bands=tuple(BandRange(name, 0, 255, 100, 40) for name in ("red", "green", "blue")), dtype="uint8", missing=0.0,
    grey=False,
    classes=(ClassFacts("background", 0.91, 1.0, 87.0, 26), ClassFacts("vessel", 0.09, 1.0, 5.4, 3)),
    pixel_size=None, pixel_unit="", pixel_sizes=1.0,
    labelled=1.0, upright=0.0, exposure=0.05, reversed=0.0, colour=0.3, one_hue=0.99, measured=16, cores=2,
    memory_gb=16.0,
)  # fmt: skip


def changed(**values: object) -> Fingerprint:
    return dataclasses.replace(VESSELS, **values)  # type: ignore[arg-type]


def wide(px: float) -> tuple[ClassFacts, ...]:
    return (ClassFacts("ground", 0.6, 1.0, 10 * px, 1), ClassFacts("thing", 0.4, 1.0, px, 2))


def test_thin_structures_get_crops_at_full_resolution_and_scores_at_every_pixel() -> None:
    recipe = plan_from(VESSELS).recipe
    assert (recipe.policy, recipe.stride, recipe.small_epochs) == ("native", 1, 0.0)
    assert recipe.size[0] == recipe.size[1] <= 384
    assert recipe.turn


def test_a_training_of_few_steps_is_scored_at_every_other_pixel() -> None:
    assert plan_from(VESSELS, {"epochs": 3}).recipe.stride == 2
    assert plan_from(VESSELS, {"epochs": 100}).recipe.stride == 1
    assert plan_from(VESSELS, {"epochs": 3, "stride": 1}).recipe.stride == 1


def test_scenes_whose_classes_are_wide_are_seen_whole() -> None:
    scenes = changed(size=(1080, 1920), classes=wide(60.0), upright=0.8)
    recipe = plan_from(scenes).recipe
    assert (recipe.policy, recipe.stride, recipe.turn) == ("fit", 2, False)
    assert abs(recipe.size[1] / recipe.size[0] - 1920 / 1080) < 0.25


def test_the_resolution_never_falls_below_what_the_thinnest_class_needs() -> None:
    poles = changed(size=(1080, 1920), classes=wide(4.0), upright=0.8)
    assert plan_from(poles).recipe.policy == "native"


def test_large_photos_are_trained_on_in_crops_at_the_scale_that_the_thinnest_class_allows() -> None:
    for width, crop in ((15.0, 256), (40.0, 384)):
        photos = changed(size=(3000, 4000), classes=wide(width))  # no up and down: not seen whole
        recipe = plan_from(photos).recipe
        assert (recipe.policy, recipe.crop) == ("fit", (crop, crop))
        assert abs(max(recipe.size) / 4000 - 1 / 2) < 0.01
        assert (recipe.turn, recipe.rare_share, recipe.small_epochs) == (True, 0.0, 0.0)
    huge = changed(size=(6000, 8000), classes=wide(30.0))
    assert plan_from(huge).recipe.size == (1984, 1984), "at a quarter"
    for too_thin in (changed(size=(3000, 4000), classes=wide(8.0)), changed(size=(6000, 8000), classes=wide(15.0))):
        assert (plan_from(too_thin).recipe.policy, plan_from(too_thin).recipe.crop) == ("native", (0, 0))
    assert plan_from(photos, {"size": (512, 512)}).recipe.crop == (0, 0), "a size that is set is what is trained on"


def test_small_images_are_enlarged() -> None:
    recipe = plan_from(changed(size=(120, 120), classes=wide(15.0))).recipe
    assert (recipe.policy, recipe.size) == ("fit", (256, 256))


def test_rare_classes_get_their_own_crops_and_no_weights() -> None:
    cracks = changed(classes=(ClassFacts("road", 0.996, 1.0, 900.0, 1), ClassFacts("crack", 0.004, 1.0, 8.0, 9)))
    recipe = plan_from(cracks).recipe
    assert recipe.rare_share == 0.5
    assert recipe.class_power == 0
    assert plan_from(changed(classes=wide(8.0))).recipe.rare_share == 0.0


def test_sparse_labels_count_every_pixel() -> None:
    assert plan_from(changed(labelled=0.02)).recipe.all_pixels
    assert not plan_from(VESSELS).recipe.all_pixels


def test_contrast_of_both_signs_is_learned_by_inverting() -> None:
    assert plan_from(changed(reversed=0.2)).recipe.invert > 0
    assert plan_from(changed(reversed=0.2, upright=0.8)).recipe.invert == 0, "street scenes are not inverted"


def test_pixels_of_different_sizes_are_reported() -> None:
    different = changed(pixel_size=(5e-7, 5e-7), pixel_unit="m", pixel_sizes=4.0)
    assert any("4.0 times as large" in warning for warning in plan_from(different).warnings)
    assert not plan_from(changed(pixel_size=(5e-7, 5e-7), pixel_unit="m", pixel_sizes=1.1)).warnings


def test_few_images_still_get_enough_steps() -> None:
    recipe = plan_from(changed(train=1, val=1)).recipe
    assert sum(steps * epochs for _, epochs, steps in recipe.segments) >= 1000
    assert any("1 training image" in warning for warning in plan_from(changed(train=1, val=1)).warnings)


def test_exposure_of_measurements_is_not_normalised() -> None:
    assert plan_from(VESSELS).recipe.even_exposure
    assert not plan_from(changed(dtype="float32")).recipe.even_exposure


def test_few_validation_images_choose_no_epoch() -> None:
    assert plan_from(changed(val=3)).recipe.keep == "last"
    assert plan_from(changed(val=10)).recipe.keep == "best"
    for judging in ({"patience": 3}, {"target_miou": 0.9}, {"also_val": True}, {"keep": "best"}):
        assert plan_from(changed(val=3), judging).recipe.keep == "best"


def test_validation_does_not_cost_more_than_training() -> None:
    few_steps = plan_from(changed(val=400, size=(3000, 3000), largest=(3000, 3000))).recipe
    assert few_steps.epochs < plan_from(VESSELS).recipe.epochs


def test_what_is_set_stays_and_is_reported_as_set() -> None:
    found = plan_from(VESSELS, {"size": (64, 96), "batch": 2, "epochs": 3})
    assert (found.recipe.size, found.recipe.batch, found.recipe.epochs) == ((64, 96), 2, 3)
    assert found.recipe.policy == "stretch", "a size alone resizes every image to it, as it always did"
    reasons = {choice.name: choice.reason for choice in found.choices}
    assert reasons["batch size"] == "set by you: batch"
    with pytest.raises(UsageError, match="'colour' is not a field"):
        plan_from(VESSELS, {"colour": 1})


def test_a_plan_that_cannot_fit_says_what_would() -> None:
    small = plan_from(changed(memory_gb=1.0)).recipe
    assert small.batch * small.size[0] * small.size[1] < 4 * 256 * 256
    for fixed in ({"size": (1024, 1024), "batch": 8}, {"size": (2048, 2048), "batch": 2}):
        with pytest.raises(UsageError, match=r"needs about .* GB \(.* crops of .*--batch \d+ .*fits") as refused:
            plan_from(changed(memory_gb=2.0), fixed)
        options = re.search(r"--batch (\d+)(?: --size (\d+)x(\d+))?", str(refused.value))
        assert options is not None
        size = (int(options[2]), int(options[3])) if options[2] else fixed["size"]
        plan_from(changed(memory_gb=2.0), {"size": size, "batch": int(options[1])})
    with pytest.raises(UsageError, match="Free memory"):
        plan_from(changed(memory_gb=0.001))


def test_what_is_set_may_take_more_memory_than_is_planned_by_itself() -> None:
    set_here = {"size": (1024, 1024), "batch": 8}
    assert plan_from(changed(memory_gb=128.0), set_here).recipe.batch == 8


def test_a_class_thinner_than_a_pixel_is_named() -> None:
    hairs = changed(size=(4000, 4000), classes=wide(0.5), upright=0.8)
    assert any("thing is 0." in warning or "thing is" in warning for warning in plan_from(hairs).warnings)
    assert not plan_from(VESSELS).warnings


@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(st.integers(2, 20_000), st.integers(2, 20_000)),
    width=st.floats(0.3, 5000),
    share=st.floats(1e-6, 0.5),
    upright=st.floats(0, 1),
    labelled=st.floats(0.0001, 1),
    pairs=st.tuples(st.integers(1, 100_000), st.integers(1, 20_000)),
)
def test_any_data_get_a_valid_recipe_with_a_reason_for_each_choice(
    size: tuple[int, int], width: float, share: float, upright: float, labelled: float, pairs: tuple[int, int]
) -> None:
    classes = (ClassFacts("a", 1 - share, 1.0, 4 * width, 1.0), ClassFacts("b", share, 0.5, width, 3.0))
    found = changed(
        size=size, smallest=size, largest=size, classes=classes, upright=upright, labelled=labelled,
        train=pairs[0], val=pairs[1],
    )  # fmt: skip
    made = plan_from(found)
    assert Recipe.from_toml(made.recipe.to_toml()) == made.recipe, "the recipe alone repeats the run"
    assert all(choice.reason and choice.value and "\n" not in choice.reason for choice in made.choices)
    if made.recipe.policy != "native" and width >= 6 and max(size) > 200:
        scale = min(made.recipe.size[0] / size[0], made.recipe.size[1] / size[1])
        assert scale * width > 4, "the thinnest class stays visible"


# ── fingerprints of drawn data ──


def write_pairs(folder: Path, pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> Path:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number, (image, mask) in enumerate(pairs):
        Image.fromarray(image).save(folder / "images" / f"{number:02}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02}.png")
    return folder


@pytest.mark.parametrize("width_px", [3, 7, 15])
def test_the_width_of_strips_is_measured(tmp_path: Path, width_px: int) -> None:
    pairs = []
    for number in range(4):
        mask = np.zeros((160, 200), np.uint8)
        for row in range(2):
            cv2.line(mask, (0, 30 + 70 * row + 5 * number), (199, 50 + 70 * row), 1, width_px)
        image = np.repeat(mask[:, :, None] * 100 + 50, 3, axis=2).astype(np.uint8)
        pairs.append((image, mask))
    found = plan(write_pairs(tmp_path, pairs)).fingerprint
    thin = found.thinnest
    assert thin is not None
    assert abs(thin.width_px - width_px) <= 0.35 * width_px + 1
    assert found.grey
    assert found.reversed == 0


def test_scenes_are_upright_and_cells_are_not(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", {"train": 6, "val": 2}, height_px=96, width_px=128)
    assert plan(tmp_path / "scenes").fingerprint.upright > 0.3
    generator = np.random.default_rng(0)
    cells = []
    for number in range(8):
        mask = np.zeros((96, 96), np.uint8)
        for _ in range(6):
            cv2.circle(mask, tuple(int(v) for v in generator.integers(0, 96, 2)), 9, 1, -1)
        dark = number % 2 == 0
        grey = np.where(mask == 1, 200 if dark else 60, 30 if dark else 220).astype(np.uint8)
        cells.append((np.repeat(grey[:, :, None], 3, axis=2), mask))
    found = plan(write_pairs(tmp_path / "cells", cells)).fingerprint
    assert found.upright < 0.1
    assert found.reversed > 0.2


def test_broken_pairs_are_left_out_of_the_measures_and_none_at_all_is_an_error(tmp_path: Path) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 1
    image = np.repeat(mask[:, :, None] * 200, 3, axis=2).astype(np.uint8)
    data = write_pairs(tmp_path, [(image, mask)] * 5)
    whole = plan(data).fingerprint.measured
    broken = data / "images" / "00.png"
    broken.write_bytes(broken.read_bytes()[:60])
    assert plan(data).fingerprint.measured in (whole, whole - 1)
    for path in (data / "images").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DatasetError, match="pixelwise check"):
        plan(data)


def test_a_plan_is_the_same_twice(tmp_path: Path) -> None:
    write_scenes(tmp_path, {"train": 5, "val": 2}, height_px=64, width_px=96)
    first, second = plan(tmp_path), plan(tmp_path)
    assert first.recipe == second.recipe
    same = {name: value for name, value in first.fingerprint.to_json().items() if name != "memory_gb"}
    assert json.dumps(same) == json.dumps(
        {name: value for name, value in second.fingerprint.to_json().items() if name != "memory_gb"}
    )


def test_measuring_never_changes_the_data(tmp_path: Path) -> None:
    write_scenes(tmp_path, {"train": 3, "val": 1}, height_px=64, width_px=96)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    plan(tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_training_plans_says_why_and_its_recipe_repeats_the_run(tmp_path: Path) -> None:
    write_scenes(tmp_path / "data", {"train": 3, "val": 1}, height_px=64, width_px=96)
    settings = {"model": "unet", "pretrained": False, "size": (32, 64), "epochs": 1, "batch": 2}
    events: list[Event] = []
    first = train(tmp_path / "data", tmp_path / "first", settings=settings, tell=events.append)
    (told,) = [event for event in events if event["event"] == "recipe"]
    assert {"name": "batch size", "value": "batch 2", "reason": "set by you: batch"} in told["choices"]
    written = json.loads((tmp_path / "first" / "fingerprint.json").read_text(encoding="utf-8"))
    assert written["choices"] == told["choices"]
    assert written["fingerprint"]["train"] == 3
    recipe = Recipe.from_file(tmp_path / "first" / "recipe.toml")
    assert (recipe.size, recipe.policy, recipe.batch) == ((32, 64), "stretch", 2)
    again = train(tmp_path / "data", tmp_path / "again", recipe)
    assert load(again.bundle).digest == load(first.bundle).digest


def test_crops_of_resized_images_and_few_validation_images_are_in_the_recipe(tmp_path: Path) -> None:
    write_scenes(tmp_path / "data", {"train": 3, "val": 5}, height_px=64, width_px=96)
    recipe = Recipe(model="unet", size=(64, 96), crop=(32, 32), small_epochs=0.0, epochs=1, batch=2,
                    turn=True, val_images=2)  # fmt: skip
    trained = train(tmp_path / "data", tmp_path / "run", recipe)
    assert Recipe.from_file(tmp_path / "run" / "recipe.toml") == recipe
    metadata = load(trained.bundle).metadata
    assert metadata.size == (64, 96)
    assert metadata.provenance["metrics"]["images"] == 2
    best = load_best_epoch(tmp_path / "run")
    again = validation_of(best.data, recipe, best.preprocess, best.classes)
    assert len(again.pairs) == 2, "a later export is measured on the same"


@pytest.mark.usefixtures("no_bundles")
def test_a_plan_is_made_around_the_network_of_other_weights(tmp_path: Path) -> None:
    write_scenes(tmp_path / "data", {"train": 3, "val": 1}, height_px=64, width_px=96)
    quick = {"size": (32, 64), "epochs": 1, "batch": 2}
    train(tmp_path / "data", tmp_path / "first", settings={"model": "unet", "pretrained": False, **quick})
    train(tmp_path / "data", tmp_path / "next", settings=quick, start_from=tmp_path / "first")
    assert Recipe.from_file(tmp_path / "next" / "recipe.toml").model == "unet"


def test_planning_loads_neither_torch_nor_exporters() -> None:
    """They take as long to load as hundreds of images to measure."""
    code = "import sys, pixelwise.training.plan; print([n for n in ('torch', 'onnx', 'onnx_ir') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_labels_that_leave_the_edges_out_do_not_make_classes_thin() -> None:
    """As a person labels who accepts what is sure: two of three pixels, none near an edge, in pieces."""
    mask = np.repeat(np.arange(6, dtype=np.uint8), 40)[None].repeat(240, axis=0)
    assert width_of(mask) == pytest.approx(40, abs=2)
    assert 30 < width_of(partly(mask)) < 50  # the pieces are 32 by 18
    few = mask.copy()
    few[::40] = VOID
    assert width_of(few) < 40  # nearly all is labelled: what is not is no class of the list, and an edge


def width_of(mask: Labels) -> float:
    (total, pixels), _ = width_and_regions(mask, 2)
    return total / pixels


def partly(mask: Labels) -> Labels:
    found = mask.copy()
    for edge in range(40, 240, 40):
        found[:, edge - 4 : edge + 4] = VOID
    found[::20] = found[1::20] = VOID
    return found
