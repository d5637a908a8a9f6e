"""Encoders of timm and networks of segmentation-models-pytorch, where they are installed (`make test-zoo`)."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from banded import FIVE, five_image, write_tiff
from pixelwise.errors import TrainingError, UsageError
from pixelwise.model.build_network import build, weights_licence
from pixelwise.model.network import ModelConfig
from pixelwise.model.zoo import ARCHITECTURES
from pixelwise.prediction.load_model import load
from pixelwise.scenes.render_scene import write_scenes
from pixelwise.tracing.trace import trace
from pixelwise.training import export_run
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.recipe import Recipe
from pixelwise.training.train import train

timm = pytest.importorskip("timm", reason="timm is not installed; make test-zoo installs it and runs these")
smp = pytest.importorskip("segmentation_models_pytorch", reason="not installed; see make test-zoo")

# One of each kind: plain strides, no stride 2, channels last, one stride throughout, a patch that does not divide 32.
ENCODERS = [
    "resnet18",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "vit_tiny_patch16_224",
    "vit_small_patch14_dinov2",
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, {"train": 4, "val": 2}, height_px=96, width_px=128)
    return folder


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_of_timm_keeps_the_contract(name: str) -> None:
    network = build(ModelConfig("fast", f"timm:{name}", 5, pretrained=False)).eval()
    published = timm.get_pretrained_cfg(name)
    assert (network.mean, network.std) == (published.mean, published.std)
    for height, width in ((64, 96), (128, 64)):
        with torch.inference_mode():
            named = network.intermediates(torch.randn(2, 3, height, width))
        assert list(named)[-1] == "scores"
        assert named["scores"].shape == (2, 5, height // network.stride, width // network.stride)
        assert all(
            tensor.ndim == 4 and height / tensor.shape[2] == width / tensor.shape[3] for tensor in named.values()
        )


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224"])
def test_frozen_stages_of_an_encoder_of_timm_are_those_of_the_trace(name: str) -> None:
    network = build(ModelConfig("fast", f"timm:{name}", 5, pretrained=False))
    for depth, parameter in network.encoder_parameters():
        parameter.requires_grad_(depth > 1)
    image = torch.randn(2, 3, 64, 64)
    named = network.intermediates(image)
    assert not named["stage1"].requires_grad
    assert named["stage2"].requires_grad


def test_what_takes_one_size_only_or_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="made for one size"):
        build(ModelConfig("fast", "timm:maxvit_tiny_rw_224", pretrained=False))
    with pytest.raises(UsageError, match=r"no model named 'resnet1'.*resnet1"):
        build(ModelConfig("fast", "timm:resnet1", pretrained=False))
    with pytest.raises(UsageError, match=r"smp:DPT.*Segformer"):
        build(ModelConfig("smp:DPT", "tu-vit_base_patch16_224", pretrained=False))
    with pytest.raises(UsageError, match="--encoder resnet34"):
        build(ModelConfig("smp:Unet", "lite0", pretrained=False))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_smp_network_keeps_the_contract_and_scores_as_smp_does(name: str) -> None:
    network = build(
        ModelConfig(f"smp:{name}", "mit_b0" if name == "Segformer" else "resnet18", 5, pretrained=False)
    ).eval()
    image = torch.randn(2, 3, 128, 160)
    with torch.inference_mode():
        named = network.intermediates(image)
        assert named["scores"].shape == (2, 5, 128 // network.stride, 160 // network.stride)
        assert len(named) > 4
        assert torch.equal(network.body(image), named["scores"])  # SMP's own forward pass


@pytest.mark.parametrize(
    ("model", "encoder", "says"),
    [("fast", "timm:resnet18", "timm's resnet18"), ("smp:Unet", "resnet18", "SMP's resnet18"),
     ("smp:Unet", "tu-resnet18", "SMP's tu-resnet18")],
)  # fmt: skip
def test_weights_that_cannot_be_downloaded_say_what_to_do(model: str, encoder: str, says: str, tmp_path: Path) -> None:
    program = (
        "from pixelwise.errors import TrainingError\n"
        "from pixelwise.model.build_network import build\n"
        "from pixelwise.model.network import ModelConfig\n"
        f"try:\n    build(ModelConfig({model!r}, {encoder!r}))\n"
        "except TrainingError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=280,
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert says in done.stdout, done.stderr
    assert "--set pretrained=false" in done.stdout
    assert "HF_HOME" in done.stdout


def test_the_licence_of_the_weights_is_what_timm_records() -> None:
    assert weights_licence(ModelConfig("fast", "timm:swin_tiny_patch4_window7_224")).endswith(", mit")
    assert "cc-by-nc" in weights_licence(ModelConfig("fast", "timm:hiera_tiny_224"))
    assert "apache-2.0" in weights_licence(ModelConfig("smp:Unet", "tu-resnet18"))
    assert "records no licence" in weights_licence(ModelConfig("smp:Unet", "resnet18"))
    assert weights_licence(ModelConfig("fast", "timm:resnet18", pretrained=False)) == "own"


@pytest.mark.parametrize("bands", [1, 5])
@pytest.mark.parametrize(
    ("model", "encoder"),
    [("fast", "timm:resnet18"), ("fast", "timm:convnext_atto"), ("fast", "timm:vit_tiny_patch16_224"),
     ("smp:Unet", "resnet18"), ("smp:DeepLabV3Plus", "tu-resnet18")],
)  # fmt: skip
def test_networks_take_any_number_of_bands(model: str, encoder: str, bands: int) -> None:
    names = tuple(f"band {number}" for number in range(1, bands + 1))
    network = build(ModelConfig(model, encoder, 5, pretrained=False, bands=names)).eval()
    assert len(network.mean) == len(network.std) == bands
    image = torch.randn(2, bands, 64, 96)
    with torch.inference_mode():
        scores = network.intermediates(image)["scores"]
        assert scores.shape == (2, 5, 64 // network.stride, 96 // network.stride)
        for band in range(bands):  # each has a say
            other = image.clone()
            other[:, band] += 1
            assert not torch.allclose(network.intermediates(other)["scores"], scores)
    assert {depth for depth, _ in network.encoder_parameters()} >= {1, 2}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("model", "encoder"), [("fast", "timm:resnet18"), ("smp:Unet", "resnet18")])
def test_a_run_on_five_bands_ends_with_a_bundle_of_them(model: str, encoder: str, tmp_path: Path) -> None:
    for split, seeds in (("train", range(4)), ("val", range(4, 6))):
        for folder in ("images", "masks"):
            (tmp_path / "data" / split / folder).mkdir(parents=True)
        for seed in seeds:
            image = five_image(seed, 96, 128)
            write_tiff(tmp_path / "data" / split / "images" / f"{seed}.tif", image)
            mask = (image[:, :, 3] > 0.4).astype(np.uint8)
            Image.fromarray(mask).save(tmp_path / "data" / split / "masks" / f"{seed}.png")
    recipe = Recipe(model=model, encoder=encoder, pretrained=False, size=(64, 64), epochs=1, batch=2)
    done = train(tmp_path / "data", tmp_path / "run", recipe)
    loaded = load(done.bundle)
    assert loaded.metadata.bands.names == FIVE.names
    assert loaded.predict(five_image(9, 80, 100)).labels.shape == (80, 100)


@pytest.mark.timeout(1200)  # exports of two large graphs each
@pytest.mark.parametrize(
    ("model", "encoder", "policy"),
    [
        ("fast", "timm:convnext_atto", "fit"),
        ("fast", "timm:vit_tiny_patch16_224", "stretch"),
        ("smp:Segformer", "mit_b0", "stretch"),
        ("smp:Unet", "tu-resnet18", "native"),
    ],
)
def test_a_run_traces_and_ends_with_a_bundle(
    model: str, encoder: str, policy: Any, scenes: Path, tmp_path: Path
) -> None:
    recipe = Recipe(model=model, encoder=encoder, policy=policy, pretrained=False, size=(64, 64), epochs=1, batch=2)
    done = train(scenes, tmp_path / "run", recipe)
    loaded = load(done.bundle)
    assert loaded.metadata.licence["weights"] == "own"
    image = next((scenes / "val" / "images").iterdir())
    assert loaded.predict(image).labels.shape == (96, 128)
    story = trace(loaded, image, pixel=(20, 30))
    names = [layer.name for layer in story.layers]
    assert names[0] == "input"
    assert "stage2" in names
    assert names[-1] == "scores"
    assert all(np.isfinite(layer.strength) for layer in story.layers)
    assert story.to_json()


@pytest.mark.parametrize(("model", "encoder"), [("fast", "timm:mobilenetv3_small_050"), ("smp:Segformer", "mit_b0")])
def test_a_run_resumes_to_the_same_bytes(
    model: str, encoder: str, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwise.training.train.rehearse_export", lambda network, preprocess: None)
    recipe = Recipe(model=model, encoder=encoder, pretrained=False, size=(64, 64), epochs=3, batch=2)

    def until(epoch: int) -> Any:
        def stop(event: dict[str, Any]) -> None:
            if event["event"] == "checkpoint" and event["epoch"] == epoch:
                raise KeyboardInterrupt

        return stop

    for name, resume, epoch in (("whole", False, 2), ("cut", False, 1), ("cut", True, 2)):
        with pytest.raises(KeyboardInterrupt):
            train(scenes, tmp_path / name, None if resume else recipe, resume=resume, tell=until(epoch))
    (expected, _), (resumed, _) = (
        load_checkpoint(checkpoints(tmp_path / name / "checkpoints")[-1]) for name in ("whole", "cut")
    )
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_what_cannot_be_exported_is_refused_before_training(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_arguments: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(export_run, "to_onnx", fails)
    recipe = Recipe(encoder="timm:resnet18", pretrained=False, size=(64, 64), epochs=1)
    with pytest.raises(TrainingError, match=r"cannot be exported: no such operator\. Nothing was trained"):
        train(scenes, tmp_path / "run", recipe)
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
