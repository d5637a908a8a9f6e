"""What is known of the zoo without its packages: names, refusals, which parameter belongs to which stage."""

import subprocess
import sys

import pytest
import torch

from pixelwise.errors import MissingExtraError, UsageError
from pixelwise.model.build_network import build
from pixelwise.model.network import ModelConfig
from pixelwise.model.zoo import by_depth
from pixelwise.training.recipe import Recipe


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("timm", "segmentation_models_pytorch"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pixelwise\[zoo\]"):
        build(ModelConfig("fast", "timm:resnet18", pretrained=False))
    with pytest.raises(MissingExtraError, match=r"pixelwise\[zoo\]"):
        build(ModelConfig("smp:Unet", "resnet18", pretrained=False))


def test_names_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UsageError, match="goes with model 'fast'"):
        build(ModelConfig("unet", "timm:resnet18"))
    with pytest.raises(UsageError, match="--encoder tu-resnet18"):
        build(ModelConfig("smp:Unet", "timm:resnet18"))
    with pytest.raises(UsageError, match="timm:NAME"):
        Recipe(encoder="resnet18")
    assert Recipe.from_toml(Recipe(model="smp:Unet", encoder="resnet18").to_toml()).encoder == "resnet18"


def test_depth_is_the_first_feature_that_needs_a_parameter() -> None:
    layers = torch.nn.Sequential(*(torch.nn.Conv2d(3, 3, 1) for _ in range(3)))
    layers[0].requires_grad_(False)

    def features(image: torch.Tensor) -> list[torch.Tensor]:
        first = layers[0](image)
        return [first, layers[1](first)]

    depths = {id(parameter): depth for depth, parameter in by_depth(layers, features)}
    assert [depths[id(p)] for p in layers.parameters()] == [1, 1, 2, 2, 2, 2]  # the unused ones count as the deepest
    assert [p.requires_grad for p in layers.parameters()] == [False, False, True, True, True, True]


def test_a_training_imports_no_extra_that_it_does_not_use() -> None:
    program = (
        "import sys, pixelwise.training.train\n"
        "heavy = {'timm', 'torchvision', 'segmentation_models_pytorch', 'optuna', 'mlflow', 'tensorboard'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
