"""Images of five bands, suggested and accepted: the labelling tool gets pictures, the dataset the images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from banded import FIVE, five_image, write_tiff
from pixelwise.errors import DataError
from pixelwise.images.false_colour import false_colour
from pixelwise.images.image_files import read_image
from pixelwise.labelling.accept import accept
from pixelwise.labelling.suggest import suggest
from pixelwise.prediction.load_model import Model


@pytest.mark.parametrize("kind", ["cvat", "labelstudio"])
def test_tasks_show_three_bands_and_give_the_images_back(five_model: Model, tmp_path: Path, kind: str) -> None:
    folder, tasks, out = tmp_path / "scenes", tmp_path / "tasks", tmp_path / "more"
    folder.mkdir()
    image = five_image(1, 40, 60)
    write_tiff(folder / "scene.1.tif", image)
    np.save(folder / "b.npy", five_image(2, 40, 60))
    (folder / "photo.png").write_bytes(b"")
    found = suggest(five_model, [folder], number=5, out=tasks, tasks=kind)
    assert {suggestion.image.name for suggestion in found.chosen} == {"scene.1.tif", "b.npy"}
    assert [path.name for path, _ in found.failed] == ["photo.png"]
    assert np.array_equal(read_image(tasks / "images/scene.1.png"), false_colour(image, FIVE))
    assert (tasks / "values/scene.1.tif").read_bytes() == (folder / "scene.1.tif").read_bytes()

    done = accept(tasks, tasks / ("annotations.xml" if kind == "cvat" else "tasks.json"), out)
    assert [share for _, share in done.changed] == [0.0, 0.0]
    assert {path.name for path in (out / "images").iterdir()} == {"scene.1.tif", "b.npy"}
    assert {path.name for path in (out / "masks").iterdir()} == {"scene.1.png", "b.png"}
    assert (out / "images/scene.1.tif").read_bytes() == (folder / "scene.1.tif").read_bytes()
    assert json.loads((out / "corrections.jsonl").read_text().splitlines()[0])


def test_images_of_other_bands_are_named(five_model: Model, tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", five_image(1, 40, 60)[:, :, :3].copy(), ("a", "b", "c"))
    with pytest.raises(DataError, match=r"3 bands \(a, b, c\).*5 bands \(blue, green, red, nir, swir\)"):
        suggest(five_model, [tmp_path], number=1)
