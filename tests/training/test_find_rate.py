"""The learning-rate finder: where the loss falls fastest, and a plot of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from pixelwise.scenes.render_scene import write_scenes
from pixelwise.training.find_learning_rate import HIGHEST, LOWEST, STEPS, draw, find_rate, suggest
from pixelwise.training.recipe import Recipe
from pixelwise.training.run_directory import choose_recipe


def test_the_suggestion_is_half_the_rate_at_which_the_loss_falls_fastest() -> None:
    rates = np.geomspace(1e-5, 1, 100)
    losses = 2 - 1.5 / (1 + np.exp(-4 * (np.log10(rates) + 3))) + 5 * np.clip(np.log10(rates) + 1.5, 0, None) ** 2
    assert suggest(rates.tolist(), losses.tolist()) == pytest.approx(5e-4, rel=0.15)


def test_rates_are_tried_plotted_and_nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.model.unet.WIDTH", 4)
    write_scenes(tmp_path / "scenes", {"train": 4, "val": 2}, height_px=32, width_px=48)
    recipe = Recipe(model="unet", size=(32, 32), batch=2, epochs=1)
    found = find_rate(tmp_path / "scenes", tmp_path / "run", recipe)
    assert 3 <= len(found.rates) <= STEPS
    assert found.rates[0] == pytest.approx(LOWEST)
    assert LOWEST / 2 <= found.suggestion <= HIGHEST
    assert found.own == recipe.learning_rate
    root = ET.parse(found.plot).getroot()
    points = next(part for part in root.iter() if part.get("class") == "line a").get("points", "").split()
    assert len(points) == len(found.rates)
    assert f"{found.suggestion:.1e}" in found.plot.read_text()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["learning_rate.svg", "lock"]
    assert choose_recipe(tmp_path / "run", None, {}, resume=False) is None  # the folder is free: to be planned


def test_the_plot_lies_within_its_frame() -> None:
    svg = ET.fromstring(draw([1e-5, 1e-3, 1e-1], [2.0, 1.0, 900.0], 5e-4))
    line = next(part for part in svg.iter() if part.get("class") == "line a")
    for point in line.get("points", "").split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= float(svg.get("width", 0))
        assert 0 <= y <= float(svg.get("height", 0))
