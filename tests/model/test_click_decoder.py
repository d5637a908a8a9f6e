"""The network behind the click tool, before it is exported."""

from __future__ import annotations

import numpy as np
import torch

from pixelwise.bundle.onnx_session import open_session
from pixelwise.labelling import click_network
from pixelwise.model.click_decoder import CHANNELS, INPUTS, MOST_CLICKS, SIDE_PX, ClickDecoder, alike, places


def test_similarities_are_cosines_to_the_clicked_places() -> None:
    random = np.random.default_rng(0)
    embedding = random.normal(size=(1, 5, 32, 32)).astype(np.float32)
    clicks = torch.tensor([[[8.0, 16.0], [255.0, 0.0], [40.0, 80.0], [0.0, 0.0]]])
    sides = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 0, 0]]])  # two positive ones; the others are not there
    region = torch.zeros(1, 1, 32, 32)
    region[..., 3:9, 4:11] = 1
    found = alike(torch.from_numpy(embedding), places(clicks, 8), sides, region)[0].numpy()
    unit = embedding[0] / np.linalg.norm(embedding[0], axis=0)
    clicked = np.maximum(*(np.einsum("e,ehw->hw", unit[:, y, x], unit) for x, y in ((1, 2), (31, 0))))
    np.testing.assert_allclose(found[0], clicked, atol=1e-5)
    np.testing.assert_array_equal(found[1], -1)  # no negative click
    for place, inside in ((2, region[0, 0].numpy() > 0), (3, region[0, 0].numpy() == 0)):
        mean = unit[:, inside].sum(axis=1)
        np.testing.assert_allclose(found[place], np.einsum("e,ehw->hw", mean / np.linalg.norm(mean), unit), atol=1e-5)


def test_the_shipped_network_takes_what_the_graph_takes() -> None:
    given = {one.name: one.shape for one in open_session(click_network.BUILT_IN.read_bytes(), 1).get_inputs()}
    assert tuple(given) == INPUTS
    for stride, channels in CHANNELS.items():
        assert given[f"stride{stride}"] == [SIDE_PX // stride, SIDE_PX // stride, channels]
    assert (click_network.SIDE_PX, click_network.MOST_CLICKS) == (SIDE_PX, MOST_CLICKS)
    weights = sum(part.numel() for part in ClickDecoder().parameters())
    assert 2 * weights < click_network.BUILT_IN.stat().st_size < 3 * weights  # two bytes each, and the graph
