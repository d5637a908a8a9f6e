"""A network is traced once for all its weights; one whose weights the exporter changes is traced each time."""

import inspect
import time
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from pixelwise.bundle import graph_template
from pixelwise.bundle.export import deployable
from pixelwise.bundle.graph_template import filled_template
from pixelwise.bundle.onnx_session import open_session
from pixelwise.model.network import Network

IMAGE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(7))


class Tracing:
    """Traces with torch.onnx, and counts how often."""

    def __init__(self, then: Callable[[onnx.ModelProto], None] = lambda model: None) -> None:
        """`then` changes what was traced."""
        self.times, self.then = 0, then

    def __call__(self, module: nn.Module, _: Sequence[str]) -> onnx.ModelProto:
        self.times += 1
        program = torch.onnx.export(module.eval(), (torch.zeros(1, 3, 8, 8),), dynamo=True, verbose=False)
        assert program is not None
        model = program.model_proto
        self.then(model)
        return model


@pytest.fixture(autouse=True)
def nothing_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by other tests of this session: shared_exports.py."""
    monkeypatch.setattr(graph_template, "_newest", {})
    monkeypatch.setattr(graph_template, "template_of", inspect.unwrap(graph_template.template_of))


def network(width: int = 4, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 2, 1)).eval()


def assert_answers(model: onnx.ModelProto, module: nn.Module) -> None:
    session = open_session(model.SerializeToString())
    (found,) = session.run(None, {session.get_inputs()[0].name: IMAGE.numpy()})
    np.testing.assert_allclose(found, module(IMAGE).detach(), rtol=1e-5, atol=1e-6)


def test_a_structure_is_traced_once_and_filled_with_each_network_s_weights() -> None:
    assert graph_template.seconds_to_trace() == 0
    began, trace, zero = time.perf_counter(), Tracing(), network(seed=2)
    for weight in zero.parameters():
        weight.data.zero_()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = torch.rand(4)
        torch.manual_seed(3)
        for module in (network(seed=0), network(seed=1).to(memory_format=torch.channels_last), zero):  # type: ignore[call-overload]
            assert_answers(filled_template(trace, module, []), module)
        assert torch.equal(torch.rand(4), expected)  # nobody else's random numbers were used
    assert trace.times == 1
    assert 0 < graph_template.seconds_to_trace() < time.perf_counter() - began


def test_other_structures_settings_constants_and_tensors_are_traced_anew() -> None:
    trace = Tracing()
    dilated = network()
    dilated[0].dilation, dilated[0].padding = (2, 2), (2, 2)  # type: ignore[index, union-attr, operator]
    scaled = network()
    scaled.register_buffer("constant", torch.tensor(2.0))
    other = network()
    other.register_buffer("constant", torch.tensor(3.0))
    for times, module in enumerate((network(), network(width=5), dilated, scaled, other), 1):
        assert_answers(filled_template(trace, module, []), module)
        assert trace.times == times
    filled_template(trace, other, ["stage/input"])
    assert trace.times == 6


def test_weights_that_an_exporter_may_fold_are_traced_as_they_are() -> None:
    trace = Tracing()
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()).eval()
    for times in (1, 2):
        assert_answers(filled_template(trace, module, []), module)
        assert trace.times == times


@pytest.mark.parametrize("kind", ["changed", "renamed"])
def test_a_graph_that_holds_a_weight_otherwise_is_no_template(kind: str) -> None:
    def then(model: onnx.ModelProto) -> None:
        """Halve the weights before the last layer and double its answer; or give a weight another name."""
        constants = {constant.name: constant for constant in model.graph.initializer}
        if kind == "renamed":
            constants["0.weight"].name = "w"
            model.graph.node[0].input[1] = "w"
            return
        for name, factor in (("0.weight", 0.5), ("0.bias", 0.5), ("2.weight", 2.0)):
            values = numpy_helper.to_array(constants[name]) * np.float32(factor)
            constants[name].CopyFrom(numpy_helper.from_array(values, name))

    trace = Tracing(then)
    for times, seed in ((2, 0), (3, 1)):  # once to see it, and then for each
        module = network(seed=seed)
        assert_answers(filled_template(trace, module, []), module)
        assert trace.times == times


class NormAndReLU(nn.BatchNorm2d):
    """As other libraries write it: a normalisation with more to it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


class Backwards(nn.Sequential):
    """Layers in another order than they are called in."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self[0](self[1](x))


def test_folding_normalisations_changes_no_answer() -> None:
    """In pairs of its own kind they are folded; what only resembles them is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        folded = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        more = nn.Sequential(nn.Conv2d(3, 3, 1), NormAndReLU(3))
        other = Backwards(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        for layers in (folded, more, other):
            for norm in filter(lambda part: isinstance(part, nn.BatchNorm2d), layers):
                for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                    assert isinstance(values, torch.Tensor)
                    values.data.uniform_(0.5, 2)
    network = Layered(folded, more, other).eval()
    found = deployable(network)
    torch.testing.assert_close(found(IMAGE), network(IMAGE), rtol=1e-5, atol=1e-5)
    left = [type(part) for part in found.modules() if isinstance(part, nn.BatchNorm2d)]
    assert left == [NormAndReLU, nn.BatchNorm2d]
    assert isinstance(folded[1], nn.BatchNorm2d)  # the network itself is as it was


class Layered(Network):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def intermediates(self, image_BNHW: torch.Tensor) -> dict[str, torch.Tensor]:
        for layers in self.layers:
            image_BNHW = layers(image_BNHW)
        return {"scores": image_BNHW}
