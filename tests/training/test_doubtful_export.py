"""A training ends with a bundle: with a warning where it is in doubt, and another try where it could not be written."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from pixelwise.bundle import parity
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.errors import BundleError
from pixelwise.prediction.load_model import load
from pixelwise.scenes.render_scene import write_scenes
from pixelwise.trace_events import read_events
from pixelwise.training.recipe import Recipe
from pixelwise.training.train import train


def test_a_bundle_in_doubt_is_written_and_one_that_failed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    write_scenes(data, {"train": 4, "val": 2, "test": 2}, height_px=64, width_px=80)
    recipe = Recipe(model="unet", size=(64, 64), epochs=1, batch=4)
    with monkeypatch.context() as patched:
        patched.setattr(parity, "HOPELESS", -1.0)
        with pytest.raises(BundleError, match=r"checkpoints.*train --resume"):
            train(data, run, recipe)
    assert not (run / "model.onnx").exists()
    monkeypatch.setattr(parity, "TOLERATED", -1.0)
    trained = train(data, run, resume=True)
    assert load(trained.bundle).classes
    warnings = [event["message"] for event in read_events(run / "trace.jsonl") if event["event"] == "warning"]
    assert any("evaluate it before you rely on it" in message for message in warnings)
    assert set(read_bundle(trained.bundle).metadata.provenance["parity"]) == {"differ", "differ_clearly", "pixels"}
