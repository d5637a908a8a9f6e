"""train --folds: each image scored out of fold, resumed to the same bytes, one bundle that averages the networks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faulty import Launcher
from onnxruntime import InferenceSession

import pixelwise as pw
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.datasets.read_sample import read_sample_image
from pixelwise.errors import DatasetError, UsageError
from pixelwise.model.build_network import build
from pixelwise.model.ensemble import Ensemble
from pixelwise.model.network import ModelConfig
from pixelwise.softmax import softmax
from pixelwise.trace_events import Event
from pixelwise.tracing.activations import InspectedModel
from pixelwise.tracing.arithmetic import explain
from pixelwise.training.cross_validation import CrossValidation, cross_validate
from pixelwise.training.ensemble_bundle import require_bundle_size
from pixelwise.training.fold_time import FoldBudget, FoldProgress
from pixelwise.training.recipe import Recipe
from pixelwise.training.time_budget import TooShortError

TINY = Recipe(model="unet", size=(32, 64), epochs=1, batch=2, learning_rate=3e-3)


@pytest.fixture(scope="module")
def done(tiny_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CrossValidation, list[Event], list[str]]:
    """Two folds of ten scenes, the trace events, and what the progress said."""
    events: list[Event] = []
    steps: list[str] = []
    found = cross_validate(
        tiny_scenes, tmp_path_factory.mktemp("folds") / "run", TINY, folds=2, tell=events.append,
        progress=lambda what, done, total: steps.append(what),
    )  # fmt: skip
    return found, events, steps


Done = tuple[CrossValidation, list[Event], list[str]]


def record_of(run: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((run / "folds.json").read_text(encoding="utf-8"))
    return value


def test_each_image_is_scored_by_the_fold_that_held_it_out(done: Done, tiny_scenes: Path) -> None:
    found, _, _ = done
    record = record_of(found.run)
    dataset = pw.open_dataset(tiny_scenes)
    everything = {sample.name: sample for split in ("train", "val") for sample in dataset.splits[split]}
    assert sorted(name for part in record["held_out"] for name in part) == sorted(everything)
    assert [len(part) for part in record["held_out"]] == [5, 5]
    assert found.report.split == "out of fold"
    assert {row.name for row in found.report.analysis.rows} == set(everything)
    matrix = np.zeros_like(found.report.matrix)
    for number, part in enumerate(record["held_out"], start=1):
        data = json.loads((found.run / f"fold-{number}" / "data.json").read_text(encoding="utf-8"))
        assert [row[0] for row in data["splits"]["val"]] == part
        assert not {row[0] for row in data["splits"]["train"]} & set(part)
        own = replace(dataset, splits={"val": tuple(everything[name] for name in part)})
        report = pw.evaluate(found.run / f"fold-{number}", own, split="val")
        assert report.miou == pytest.approx(record["done"][number - 1]["miou"])
        matrix += report.matrix
    assert (found.report.matrix == matrix).all()
    low, high = found.report.analysis.intervals["miou"]
    assert low <= found.report.miou <= high


def test_the_bundle_averages_the_probabilities_of_its_networks(done: Done, tiny_scenes: Path) -> None:
    found, _, _ = done
    bundle = read_bundle(found.bundle)
    assert bundle.metadata.temperature == 1.0
    image = read_sample_image(pw.open_dataset(tiny_scenes).splits["train"][0])
    members = []
    for number in (1, 2):
        prediction = pw.load(found.run / f"fold-{number}").predict(image)
        members.append(softmax(prediction.scores.astype(np.float64), prediction.temperature))
    session = InferenceSession(bundle.model, providers=["CPUExecutionProvider"])
    labels, scores = session.run(["labels", "scores"], {"image": image})
    mean = sum(members) / 2
    np.testing.assert_allclose(softmax(scores.astype(np.float64)), mean, atol=1e-5)
    np.testing.assert_allclose(np.exp(scores), mean, atol=1e-5)
    assert labels.shape == image.shape[:2]


def test_a_skip_switched_off_is_off_in_every_network(done: Done, tiny_scenes: Path) -> None:
    found, _, _ = done
    image = read_sample_image(pw.open_dataset(tiny_scenes).splits["train"][0])
    models = [InspectedModel(pw.load(found.run / name)) for name in (".", "fold-1", "fold-2")]
    assert list(models[0].skips) == list(models[1].skips)
    assert len(models[0].skips) == 4
    whole, *members = (model.without_skips(image, model.skips)[1] for model in models)
    temperatures = [model.model.metadata.temperature for model in models[1:]]
    mean = sum(softmax(scores, t) for scores, t in zip(members, temperatures, strict=True)) / 2
    np.testing.assert_allclose(np.exp(whole), mean, atol=1e-5)


def test_a_score_is_explained_as_the_mean_of_the_networks(done: Done, tiny_scenes: Path) -> None:
    inspected = InspectedModel(pw.load(done[0].run))
    image = read_sample_image(pw.open_dataset(tiny_scenes).splits["train"][0])
    (step,) = explain(inspected, inspected.run(image), inspected.last, 0, 1, 1)
    assert step["text"] == "the logarithm of the networks' mean probability"


def test_the_bundle_names_its_scores_and_its_cost(done: Done) -> None:
    found, _, _ = done
    provenance = read_bundle(found.bundle).metadata.provenance
    assert provenance["metrics"]["split"] == "out of fold"
    assert provenance["metrics"]["images"] == 10
    assert provenance["metrics"]["miou"] == pytest.approx(found.report.miou)
    assert provenance["ensemble"]["networks"] == 2
    assert "no score of its own" in provenance["ensemble"]["scores"]
    assert "2 times as long" in provenance["ensemble"]["time"]
    assert provenance["recipe"]["keep"] == "last"
    written = record_of(found.run)
    assert written["out_of_fold"]["miou"] == pytest.approx(found.report.miou)
    suspects = {"image", "x", "y", "width", "height", "pixels", "mask_says", "model_says", "confidence"}
    assert all(set(row) == suspects for row in written["out_of_fold"]["suspects"])
    page = (found.run / "out-of-fold.html").read_text(encoding="utf-8")
    assert "Cross-validation of its train and val splits together" in page
    assert "has no score of its own" in page
    assert len((found.run / "out-of-fold.csv").read_text(encoding="utf-8").splitlines()) == 11


def test_the_verbs_take_the_run(done: Done, tiny_scenes: Path) -> None:
    found, _, _ = done
    report = pw.evaluate(found.run, tiny_scenes, split="val")
    assert report.images == 2
    traced = pw.trace(pw.load(found.run), next(tiny_scenes.glob("val/images/*")))
    names = [layer.name for layer in traced.layers]
    assert names[-3:] == ["network1", "others", "scores"]
    with pytest.raises(UsageError, match=r"fold-1"):
        pw.export(found.run)


def test_progress_names_fold_epoch_and_time_left(done: Done) -> None:
    _, events, steps = done
    assert "fold 1 of 2, epoch 1 of 1" in steps
    assert any(step.startswith("fold 2 of 2, epoch 1 of 1, ") and step.endswith(" left") for step in steps)
    assert steps[-1] == "scoring out of fold"
    assert [event["fold"] for event in events if event["event"] == "fold"] == [1, 2]
    assert {event["fold"] for event in events if event["event"] == "epoch"} == {1, 2}


@pytest.mark.slow
def test_killed_in_the_second_fold_it_resumes_to_the_same_bytes(
    launcher: Launcher, tiny_scenes: Path, tmp_path: Path
) -> None:
    recipe, run, whole = tmp_path / "wanted.toml", tmp_path / "run", tmp_path / "whole"
    recipe.write_text(TINY.to_toml(), encoding="utf-8")
    command = ("train", tiny_scenes, "--recipe", recipe, "--folds", 2, "--out")
    code, printed, _ = launcher.run(*command, whole, out=whole)
    assert code == 0, printed
    code, printed, _ = launcher.run(*command, run, out=run, fault={"step": 5, "then": "SIGKILL"}, save_every_s=0)
    assert code == -9, printed
    assert record_of(run)["done"][0]["run"] == "fold-1"
    assert list((run / "fold-2" / "checkpoints").glob("step-*")), "killed within the second fold"
    code, printed, _ = launcher.run("train", tiny_scenes, "--out", run, "--resume", out=run)
    assert code == 0, printed
    for name in ("model.onnx", "fold-1/model.onnx", "fold-2/model.onnx", "out-of-fold.csv", "recipe.toml", "data.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    code, printed, _ = launcher.run(*command, run, out=run)
    assert code != 0
    assert "already holds a cross-validation" in printed


def test_resumed_with_something_else_is_an_error(done: Done, tiny_scenes: Path) -> None:
    run = done[0].run
    for message, options in {
        "was started with --folds 2": {"folds": 3},
        "no --budget": {"budget_s": 60.0},
        "different: batch": {"settings": {"batch": 4}},
        "was started with no --start-from": {"start_from": run / "fold-1"},
    }.items():
        with pytest.raises(UsageError, match=message):
            cross_validate(tiny_scenes, run, **{"folds": 2, "resume": True, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (replace(TINY, also_val=True), "also_val"),
        (replace(TINY, patience=2), "target_miou and patience"),
        (replace(TINY, target_miou=0.5), "target_miou and patience"),
    ],
)
def test_what_would_use_the_held_out_images_is_refused(
    tiny_scenes: Path, tmp_path: Path, recipe: Recipe, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        cross_validate(tiny_scenes, tmp_path / "run", recipe, folds=2)


def test_more_folds_than_images_and_a_folder_in_use_are_refused(done: Done, tiny_scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="11 folds, but only 10 labelled images"):
        cross_validate(tiny_scenes, tmp_path / "run", TINY, folds=11)
    with pytest.raises(UsageError, match="already holds a training"):
        cross_validate(tiny_scenes, done[0].run / "fold-1", TINY, folds=2)
    with pytest.raises(UsageError, match="holds no cross-validation"):
        cross_validate(tiny_scenes, tmp_path / "empty", TINY, folds=2, resume=True)


def test_broken_pairs_are_skipped_and_the_others_scored_once(tiny_scenes: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):  # without splits of its own
        shutil.copytree(tiny_scenes / "train" / kind, tmp_path / "data" / kind)
    broken = sorted((tmp_path / "data" / "images").iterdir())[3]
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(DatasetError, match=broken.name):
        cross_validate(tmp_path / "data", tmp_path / "run", TINY, folds=2)
    found = cross_validate(tmp_path / "data", tmp_path / "run", TINY, folds=2, skip_bad=True)
    assert sorted(fold["held_out"] for fold in found.folds) == [3, 4]
    names = [row.name for row in found.report.analysis.rows]
    assert len(set(names)) == len(names) == 7
    assert not [name for name in names if broken.stem in name]


def test_options_that_do_not_go_with_folds(launcher: Launcher, tiny_scenes: Path, tmp_path: Path) -> None:
    for options, message in {
        ("--folds", 2, "--find-lr"): "--find-lr and --folds exclude each other",
        ("--folds", 2, "--search", 3): "--folds and --search exclude each other",
        ("--folds", 2, "--patience", 3): "target_miou and patience do not go with --folds",
        ("--folds", 2, "--resume"): "holds no cross-validation to resume",
    }.items():
        code, printed, _ = launcher.run("train", tiny_scenes, "--out", tmp_path / "run", *options, out=tmp_path)
        assert code != 0
        assert message in " ".join(printed.split()), printed


def test_several_processes_are_refused(tiny_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="torchrun started 2"):
        cross_validate(tiny_scenes, tmp_path / "run", TINY, folds=2)


def test_networks_too_large_for_a_bundle_are_refused() -> None:
    require_bundle_size(TINY, 9, 5)
    with pytest.raises(UsageError, match=r"1000 networks of \d+ MB do not fit into one bundle.*at most --folds \d+"):
        require_bundle_size(TINY, 9, 1000)


def test_a_budget_is_divided_with_time_for_the_last_steps() -> None:
    budget = FoldBudget(1000.0, 4)
    assert budget.share_s(1, 0.0) == pytest.approx(225)  # a tenth is kept until it is measured
    budget.measured(image_s=0.5, images=100, export_s=10)  # (0.5 · 120 + 4 · 10) · 1.25
    assert budget.last_s == pytest.approx(125)
    assert budget.share_s(2, 275.0) == pytest.approx(200)
    assert budget.share_s(4, 900.0) == 0.0
    assert FoldBudget(None, 4).share_s(1, 0.0) is None
    slow = FoldBudget(1000.0, 4)
    slow.measured(image_s=50, images=100, export_s=10)
    assert slow.last_s == pytest.approx(250), "the folds keep three quarters"


def test_a_budget_that_ends_early_loses_no_fold(tiny_scenes: Path, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if event["event"] == "fold":
            raise KeyboardInterrupt

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        cross_validate(tiny_scenes, run, TINY, folds=2, tell=stop)
    (run / "folds.json").write_text(json.dumps({**record_of(run), "budget_s": 1.0}), encoding="utf-8")
    events: list[Event] = []
    found = cross_validate(tiny_scenes, run, folds=2, resume=True, tell=events.append)
    assert any("leaves too little time for fold 2" in str(event.get("message")) for event in events)
    assert [fold["epochs"] for fold in found.folds] == [1, 1]
    with pytest.raises(TooShortError, match="divided among 2 folds"):
        cross_validate(tiny_scenes, tmp_path / "other", TINY, folds=2, budget_s=1.0)


def test_the_time_left_counts_the_folds_to_come() -> None:
    shown: list[str] = []
    progress = FoldProgress(2, 3, 10, 100.0, lambda event: None, lambda what, done, total: shown.append(what))
    progress.progress("epoch 1", 0, 5)
    progress.tell({"event": "epoch", "epoch": 1, "seconds": 60.0})
    progress.progress("epoch 2", 0, 5)
    assert shown == ["fold 2 of 3, epoch 1 of 10, 3 min left", "fold 2 of 3, epoch 2 of 10, 11 min left"]


def test_an_ensemble_of_one_has_the_labels_of_its_network() -> None:
    torch.manual_seed(0)
    network = build(ModelConfig("unet", classes=3, pretrained=False)).eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        scores = network(image)
        same = Ensemble([network], [2.0])(image)
    torch.testing.assert_close(same.softmax(1), (scores / 2).softmax(1))
    with pytest.raises(ValueError, match="1 networks and 2 temperatures"):
        Ensemble([network], [1.0, 1.0])
