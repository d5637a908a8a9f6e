"""The networks against independent ones, and what they promise about themselves."""

import pytest
import torch
from torch import nn

from pixelwise.errors import PixelwiseError, UsageError
from pixelwise.model import imagenet_weights
from pixelwise.model.build_network import build
from pixelwise.model.encoders import ENCODERS, ConvNorm, EfficientNetLite
from pixelwise.model.network import ModelConfig

oracle = pytest.importorskip("efficientnet_lite_pytorch", reason="the published EfficientNet-Lite is not installed")


@pytest.mark.parametrize("name", ["lite0", "lite1", "lite2"])
def test_the_encoder_computes_what_the_published_one_computes(name: str) -> None:
    ours = EfficientNetLite(ENCODERS[name])
    imagenet_weights.load_imagenet_weights(ours, name)
    published = oracle.EfficientNet.from_name(f"efficientnet-{name}", image_size=256)
    published.load_state_dict(torch.load(imagenet_weights.weights_file(name), map_location="cpu", weights_only=True))
    ours.eval(), published.eval()
    image = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        stage7 = ours(image)["stage7"]
        theirs = published.extract_features(image)
        head = torch.relu(published._bn1(published._conv_head(stage7))).clamp(max=6)
    torch.testing.assert_close(head, theirs, atol=1e-3, rtol=1e-3)


def test_weights_with_another_digest_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    file, _ = imagenet_weights.WEIGHT_FILES["lite0"]
    monkeypatch.setitem(imagenet_weights.WEIGHT_FILES, "lite0", (file, "0" * 64))
    with pytest.raises(PixelwiseError, match="Reinstall"):
        imagenet_weights.load_imagenet_weights(EfficientNetLite(ENCODERS["lite0"]), "lite0")


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_training_pads_as_evaluation_does(kernel: int, stride: int) -> None:
    layer = ConvNorm(4, 4, kernel, stride, groups=4)
    nn.init.normal_(layer.norm.running_mean)  # type: ignore[arg-type]
    x = torch.randn(2, 4, 16, 24)
    layer.train()
    layer.norm.eval()  # the same statistics in both modes
    trained = layer(x)
    layer.eval()
    torch.testing.assert_close(trained, layer(x))
    plain = nn.functional.relu6(layer.norm(layer.convolve(x, layer.conv.weight, None)))
    torch.testing.assert_close(plain, layer(x))
    layer.fold()
    torch.testing.assert_close(plain, layer(x))


@pytest.mark.parametrize(("name", "stride"), [("fast", 2), ("fast", 1), ("unet", 2)])
def test_scores_come_at_the_declared_stride_and_last(name: str, stride: int) -> None:
    network = build(ModelConfig(name, classes=5, pretrained=False, stride=stride)).eval()
    assert name != "fast" or network.stride == stride
    with torch.inference_mode():
        named = network.intermediates(torch.zeros(2, 3, 64, 96))  # type: ignore[operator]
    assert list(named)[-1] == "scores"
    assert named["scores"].shape == (2, 5, 64 // int(network.stride), 96 // int(network.stride))  # type: ignore[arg-type]


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="fast, unet"):
        build(ModelConfig("huge"))
    with pytest.raises(UsageError, match="lite0, lite1, lite2"):
        build(ModelConfig(encoder="b7"))
