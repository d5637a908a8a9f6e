"""Trainings on masks that are not plain files of ids: they start at once, and resume to the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.doctor.check import check
from pixelwise.errors import DatasetError, StoppedError, UsageError
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.images.image_files import write_png
from pixelwise.trace_events import Event
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.recipe import Recipe
from pixelwise.training.train import train

TINY = Recipe(model="unet", size=(32, 32), epochs=3, batch=4, learning_rate=3e-3)
HEIGHT, WIDTH, COUNT = 48, 64, 10


def vessels(i: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, (14 + 4 * i, 20), 9, 1, -1)
    mask[34:42, 6 : 30 + 3 * i] = 1
    return mask


def folder(root: Path, kind: str) -> Path:
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for i in range(COUNT):
        mask = vessels(i)
        noise = np.random.default_rng(i).integers(0, 90, (HEIGHT, WIDTH, 3), np.uint8)
        write_png(root / f"images/{i}.png", noise + (mask * np.uint8(120))[:, :, None])
        path = root / f"masks/{i}"
        if kind == "plain":
            Image.fromarray(mask * np.uint8(255)).save(path.with_suffix(".png"))
        elif kind == "messy":  # colours in JPEGs, and one mask at half its size
            colours = np.array([[0, 0, 0], [255, 0, 0]], np.uint8)[mask[::2, ::2] if i == 4 else mask]
            Image.fromarray(colours).save(path.with_suffix(".jpg"), quality=92)
        else:
            write_png(path.with_suffix(".png"), noise)
    return root


def test_colours_jpeg_and_sizes_train_in_place_and_resume_to_the_same_bytes(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", "messy")
    events: list[Event] = []
    train(data, tmp_path / "whole", TINY, tell=events.append)
    (told,) = [event for event in events if event["event"] == "data"]
    kinds = {problem["kind"] for problem in told["problems"]}
    assert {"jpeg-masks", "size-mismatch"} <= kinds
    assert {problem["severity"] for problem in told["problems"]} == {"warning"}
    assert [row["name"] for row in told["classes"]] == ["background", "foreground"]
    assert any("--class" in note for note in told["notes"])

    def stop(event: Event) -> None:
        if event["event"] == "epoch" and event["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(StoppedError):
        train(data, tmp_path / "stopped", TINY, tell=stop)
    train(data, tmp_path / "stopped", resume=True)
    (one, _), (other, _) = (load_checkpoint(checkpoints(tmp_path / name / "checkpoints")[-1]) for name in
                            ("whole", "stopped"))  # fmt: skip
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    report = evaluate(tmp_path / "whole", data, split="val")
    assert report.images > 0


@pytest.mark.usefixtures("no_bundles")
def test_the_folder_is_read_as_its_repaired_copy(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", "messy")
    assert check(data, fix=tmp_path / "copy").all_well
    recipe = replace(TINY, epochs=1, also_val=True, batch=COUNT)
    events: dict[str, list[Event]] = {"data": [], "copy": []}
    for name, told in events.items():
        train(tmp_path / name, tmp_path / f"{name}-run", recipe, tell=told.append)
    (one,), (other,) = ([e["pixels"] for e in told if e["event"] == "data"] for told in events.values())
    assert one == other


def test_what_was_said_of_values_stays_with_the_run(tmp_path: Path) -> None:
    data, run = folder(tmp_path / "data", "plain"), tmp_path / "run"
    train(data, run, TINY, classes={"vessel": 255})
    assert json.loads((run / "data.json").read_text())["values"] == {"classes": {"vessel": ["255"]}, "void": []}
    assert read_bundle(run / "model.onnx").metadata.classes.names == ("background", "vessel")
    assert evaluate(run, data, split="val").classes.names == ("background", "vessel")
    assert evaluate(run, data, split="val", classes={"vessel": 255}).classes.names == ("background", "vessel")
    with pytest.raises(UsageError, match="no mask holds 7"):
        evaluate(run, data, split="val", classes={"vessel": 7})
    train(data, run, resume=True)
    train(data, run, resume=True, classes={"vessel": 255})
    with pytest.raises(UsageError, match="was started with --class vessel=255"):
        train(data, run, resume=True, classes={"vein": 255})


def test_photographs_as_masks_stop_a_training_with_one_error(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", "photographs")
    with pytest.raises(DatasetError, match="photographs") as caught:
        train(data, tmp_path / "run", TINY)
    assert len(caught.value.problems) == 1
