"""A model that averages mirror images gives a mirrored image the mirrored labels."""

from pathlib import Path

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.model.build_network import build
from pixelwise.model.mirrored import Mirrored
from pixelwise.model.network import ModelConfig
from pixelwise.scenes.render_scene import render_scene, write_scenes


@pytest.mark.parametrize(("variants", "axes"), [(2, [(3,)]), (4, [(3,), (2,), (2, 3)])])
def test_its_scores_are_the_mean_over_mirror_images(variants: int, axes: list[tuple[int, ...]]) -> None:
    torch.manual_seed(0)
    network = build(ModelConfig("fast", classes=3, pretrained=False, stride=1)).eval()
    image = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        parts = [network(image)] + [network(image.flip(axis)).flip(axis) for axis in axes]
        named = Mirrored(network, variants).eval().intermediates(image)
    torch.testing.assert_close(named["scores"], torch.stack(parts).mean(0))
    assert list(named) == list(network.intermediates(image))


def test_a_trained_bundle_averages_them_and_records_its_own_scores(tmp_path: Path) -> None:
    write_scenes(tmp_path / "data", {"train": 2, "val": 2}, height_px=64, width_px=96)
    recipe = pw.Recipe(model="unet", pretrained=False, size=(64, 96), batch=2, epochs=1, mirrors=2)
    done = pw.train(tmp_path / "data", tmp_path / "run", recipe)
    model = pw.load(done.bundle)
    image, _ = render_scene(5, 1, 64, 96)
    scores = model.predict(image).scores
    mirrored = model.predict(np.ascontiguousarray(image[:, ::-1])).scores
    np.testing.assert_allclose(mirrored[:, :, ::-1], scores, atol=1e-3)
    report = pw.evaluate(model, tmp_path / "data", split="val")
    assert abs(report.scores.miou - model.metadata.provenance["metrics"]["miou"]) < 1e-5
    assert pw.trace(model, image).layers[-1].name == "scores"
