"""The layers' numbers against torch, which computes them another way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conftest import picture
from pixelwise.bundle.onnx_graph import parse
from pixelwise.prediction.load_model import load
from pixelwise.tracing.network_layers import Layer, layers
from pixelwise.tracing.receptive_field import ReceptiveField, receptive_fields

torch = pytest.importorskip("torch")
SIZE = (64, 96)


@pytest.fixture(scope="module")
def traced(fast_bundle: tuple[Path, Any]) -> tuple[dict[str, Layer], dict[str, Any], Any]:
    path, network = fast_bundle
    rows, activations = layers(load(path, threads=2), picture(1, 75, 111))
    return {row.name: row for row in rows}, activations, network


def test_parameters_are_those_of_the_network(traced: tuple[dict[str, Layer], Any, Any]) -> None:
    rows, _, network = traced
    convolutions = [part for part in network.modules() if isinstance(part, torch.nn.Conv2d)]
    expected = sum(p.numel() for part in convolutions for p in part.parameters())  # normalisation is folded into them
    assert sum(row.parameters for row in rows.values()) == expected
    assert rows["scores"].parameters == sum(p.numel() for p in network.classifier.parameters())
    assert rows["input"].parameters == 0


def test_multiply_adds_are_half_of_torchs_flops(traced: tuple[dict[str, Layer], Any, Any]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    rows, _, network = traced
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, 3, *SIZE))
    assert 2 * sum(row.multiply_adds for row in rows.values()) == counter.get_total_flops()


def test_activations_are_those_of_the_network(traced: tuple[dict[str, Layer], Any, Any]) -> None:
    rows, activations, network = traced
    with torch.inference_mode():
        expected = network.intermediates(torch.from_numpy(activations["input"][None]))
    for name, tensor in expected.items():
        assert rows[name].shape == tuple(tensor.shape[1:])
        assert rows[name].strength == pytest.approx(float(tensor.abs().mean()), rel=1e-3, abs=1e-6)
        assert rows[name].active == pytest.approx(float((tensor.abs() > 1e-6).float().mean()), abs=1e-3)


def test_groups_are_in_order(traced: tuple[dict[str, Layer], Any, Any]) -> None:
    groups = list(dict.fromkeys(row.group for row in traced[0].values()))
    assert groups == ["input", "convolutional", "upsampling", "pixel-wise classification"]


def gradient_field(network: Any, stage: str, width: int) -> int:
    """How many input columns the middle of a stage's output depends on, by its gradient."""
    image = torch.rand(1, 3, 64, width, dtype=torch.float64, requires_grad=True)
    output = network.intermediates(image)[stage]
    row, column = output.shape[2] // 2, output.shape[3] // 2
    widths = []
    for shift in range(4 if stage.startswith("up") else 1):  # the phases of upsampling differ
        (gradient,) = torch.autograd.grad(output[0, :, row, column + shift].sum(), image, retain_graph=True)
        columns = torch.nonzero(gradient.abs().sum((0, 1, 2)))
        widths.append(int(columns.max() - columns.min()) + 1)
    return max(widths)


def all_positive(network: Any) -> Any:
    """Weights with which every gradient is positive and no activation is cut off, so that none hides a dependence."""
    for name, parameter in network.named_parameters():
        with torch.no_grad():
            parameter.fill_(1e-3 if name.endswith("bias") else 0.9 / parameter[0].numel())
    return network.double().eval()


@pytest.mark.parametrize("stage", ["stem", "stage1", "stage2", "stage3"])
def test_receptive_field_of_the_encoder_is_what_gradients_reach(
    stage: str, traced: tuple[dict[str, Layer], Any, Any]
) -> None:
    import copy

    rows, _, network = traced
    field = rows[stage].receptive
    assert field.height_px == field.width_px == gradient_field(all_positive(copy.deepcopy(network)), stage, 192)
    assert not field.whole_image


def test_pooling_over_the_whole_image_is_said(traced: tuple[dict[str, Layer], Any, Any]) -> None:
    rows = traced[0]
    whole = [row.name for row in rows.values() if row.receptive_in_words == "whole image"]
    assert whole == list(rows)[list(rows).index("context") :]
    assert all(row.receptive.known for row in rows.values())


def test_receptive_field_of_a_unet_is_what_gradients_reach(tiny_bundle: Path) -> None:
    """Max pooling, bilinear upsampling with its phases, and concatenation."""
    from pixelwise.model.build_network import build
    from pixelwise.model.network import ModelConfig

    rows, _ = layers(load(tiny_bundle, threads=2), picture(1, 64, 96))
    network: Any = build(ModelConfig(name="unet", classes=3, pretrained=False))
    network = all_positive(network)
    average = torch.nn.functional.avg_pool2d  # a maximum's gradient reaches one of its pixels, a mean's all
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "max_pool2d", average)
        for row in rows:
            if row.name in ("down4", "up1"):
                assert row.receptive.width_px == gradient_field(network, row.name, 304), row.name


def test_unknown_operators_are_not_guessed() -> None:
    from onnx import TensorProto, helper

    def field_through(*nodes: Any) -> ReceptiveField:
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 32, 32])
        graph = helper.make_graph(
            list(nodes), "g", [value], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        )
        model = helper.make_model(graph).SerializeToString()
        return receptive_fields(parse(model), "x", ["y"], {"x": [1, 1, 32, 32], "w": [1, 1, 4, 4]})["y"]

    assert not field_through(helper.make_node("SpaceToDepth", ["x"], ["y"], blocksize=2)).known
    assert field_through(helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2)) == ReceptiveField(1, 1, False)
    pooled = field_through(helper.make_node("GlobalAveragePool", ["x"], ["y"]))
    assert pooled == ReceptiveField(None, None, True)
    dilated = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], dilations=[2, 4])
    assert field_through(dilated) == ReceptiveField(5, 9, False)
    # Transposed, kernel 4, stride 2: every output place depends on two input places.
    up = helper.make_node("ConvTranspose", ["x", "w"], ["y"], kernel_shape=[4, 4], strides=[2, 2], pads=[1, 1, 1, 1])
    assert field_through(up) == ReceptiveField(2, 2, False)
