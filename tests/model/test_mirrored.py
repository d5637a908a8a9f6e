"""A model that averages mirror images gives a mirrored image the mirrored labels."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import pixelwise as pw
from conftest import make_bundle, picture
from pixelwise.bundle.export import write_bundle
from pixelwise.bundle.onnx_graph import batched, parse
from pixelwise.bundle.quantize import quantise
from pixelwise.model.build_network import build
from pixelwise.model.mirrored import Mirrored
from pixelwise.model.network import ModelConfig
from pixelwise.scenes.render_scene import render_scene, write_scenes
from pixelwise.tracing.network_layers import layers


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


@pytest.mark.long
@pytest.mark.parametrize("variants", [2, 4])
def test_a_bundle_holds_its_weights_once_and_its_receptive_field_is_known(tmp_path: Path, variants: int) -> None:
    image = picture(0, 90, 120)
    once, several = (pw.load(mirrored_bundle(tmp_path / f"{count}.onnx", count)) for count in (1, variants))
    assert len(several.graph) < 1.02 * len(once.graph)
    alone, mean = (layers(model, image)[0] for model in (once, several))
    assert sum(layer.parameters for layer in mean) == sum(layer.parameters for layer in alone)
    field, widened = alone[-1].receptive, mean[-1].receptive
    assert widened.known
    assert field.width_px <= widened.width_px <= field.width_px + 64  # odd padding lies on the other side

    stages, graph = several.metadata.stages, parse(several.graph)
    ends = (batched(graph, stages[0].tensor), batched(graph, stages[-1].tensor))
    small = quantise(onnx.load_model_from_string(several.graph), [image], *ends)
    onnx.checker.check_model(small, full_check=True)
    assert len(small.SerializeToString()) < len(several.graph) / 3
    write_bundle(small, several.metadata, image, tmp_path / "int8.onnx")
    labels = pw.load(tmp_path / "int8.onnx").predict(image).labels
    assert (labels == several.predict(image).labels).mean() > 0.8


def mirrored_bundle(path: Path, variants: int) -> Path:
    """A bundle of the default network, untrained, that averages so many mirror images."""
    make_bundle(path, "fast", around=lambda network: Mirrored(network, variants) if variants > 1 else network)
    return path


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
