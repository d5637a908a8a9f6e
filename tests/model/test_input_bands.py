"""Networks for any bands: filters made for three colours, and ranges other than those of training."""

import pytest
import torch

from pixelwise.model.build_network import build
from pixelwise.model.input_bands import filters_for
from pixelwise.model.network import ModelConfig, Network
from pixelwise.model.preprocess import Preprocess
from pixelwise.model.rescaled import Rescaled
from pixelwise.records import Bands


def test_a_network_of_other_ranges_gets_the_input_that_it_was_trained_on() -> None:
    own = Bands(("a", "b"), "float32", (10.0, -1.0), (250.0, 3.0))
    given = Bands(("a", "b"), "float32", (0.0, 0.0), (300.0, 2.0))
    torch.manual_seed(0)
    network = build(ModelConfig("unet", classes=3, bands=own.names)).eval()
    stored = torch.rand(1, 64, 64, 2) * torch.tensor([300.0, 2.0])

    def scores(network: Network, bands: Bands) -> torch.Tensor:
        preprocess = Preprocess((64, 64), "stretch", network.mean, network.std, bands=bands)
        with torch.inference_mode():
            return network(preprocess(stored))  # type: ignore[no-any-return]

    expected = scores(network, own)
    assert torch.allclose(scores(Rescaled(network, own, given), given), expected, atol=1e-3)
    assert not torch.allclose(scores(network, given), expected, atol=1e-2)


@pytest.mark.parametrize("bands", [("red", "green", "blue"), ("b1", "b2", "b3", "b4", "b5"), ("grey",)])
def test_a_grey_image_is_the_same_to_inflated_filters(bands: tuple[str, ...]) -> None:
    filters = torch.rand(8, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    grey = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(2))
    expected = torch.nn.functional.conv2d(grey.expand(1, 3, 9, 9), filters)
    inflated = filters_for(filters, bands)
    assert torch.allclose(torch.nn.functional.conv2d(grey.expand(1, len(bands), 9, 9), inflated), expected, atol=1e-4)


def test_bands_called_as_colours_take_their_filters() -> None:
    filters = torch.rand(8, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    inflated = filters_for(filters, ("Blue", "nir", "Red"))
    assert torch.equal(inflated[:, 0], filters[:, 2])
    assert torch.equal(inflated[:, 2], filters[:, 0])
    assert torch.allclose(inflated[:, 1], filters.mean(1))
    assert filters_for(filters, ("red", "green", "blue")) is filters
