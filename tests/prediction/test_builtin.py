"""The models that come with Pixelwise: there right after installation, small, with honest cards."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.errors import UsageError
from pixelwise.prediction.built_in_models import FOLDER, built_in
from pixelwise.prediction.load_model import find_bundle
from pixelwise.scenes.render_scene import render_scene

CAMVID = Path(__file__).parents[3] / "shared/data/camvid"
NUCLEI = Path(__file__).parents[3] / "shared/data/nuclei"
MOST_BYTES = {"street": 8_000_000, "nuclei": 4_000_000}  # a bundle and its int8 form together


@pytest.mark.parametrize("name", ["street", "street-int8", "nuclei"])
def test_a_built_in_model_labels_an_image_by_its_name(name: str) -> None:
    image = render_scene(3, 0, 90, 120)[0]
    prediction = pw.load(name).predict(image)
    assert prediction.labels.shape == (90, 120)
    assert prediction.labels.max() < len(prediction.classes)


@pytest.mark.parametrize(("name", "most"), MOST_BYTES.items())
def test_a_built_in_model_is_small_enough_to_ship(name: str, most: int) -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob(f"{name}*.onnx")) <= most


@pytest.mark.parametrize("name", MOST_BYTES)
def test_a_card_says_what_its_bundle_says(name: str) -> None:
    model = built_in(name)
    metrics = model.metadata.provenance["metrics"]
    card = model.card
    for score in ("miou", "accuracy"):
        assert f"{metrics[score]:.3f}" in card
    for class_name, scores in metrics["classes"].items():
        assert re.search(rf"\| {class_name} \| {scores['iou']:.3f} \|", card), class_name
    assert model.metadata.licence["data"] in card


def test_no_such_model_says_which_there_are() -> None:
    with pytest.raises(UsageError, match="nuclei, street, street-int8"):
        built_in("streets")
    with pytest.raises(UsageError, match="street"):
        pw.load("streets")


def test_a_file_of_the_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("street").write_bytes(b"not a bundle")
    with pytest.raises(pw.PixelwiseError, match="not"):
        pw.load("street")


def test_a_folder_of_the_name_that_is_no_run_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nuclei").mkdir()  # of results, say
    assert find_bundle("nuclei") == FOLDER / "nuclei.onnx"
    with pytest.raises(UsageError, match="not a run directory"):
        find_bundle(tmp_path / "nuclei")
    (tmp_path / "nuclei" / "recipe.toml").write_text("")
    with pytest.raises(UsageError, match=r"no model\.onnx yet"):
        find_bundle("nuclei")


@pytest.mark.skipif(not CAMVID.is_dir(), reason="real CamVid is not at ../shared/data/camvid beside the repository")
def test_street_still_does_on_real_photos_what_its_card_says() -> None:
    """The card tells the scores from before it learnt from these photos too, so now it must do better."""
    report = pw.evaluate("street", CAMVID, split="val")
    recorded = built_in("street").metadata.provenance["metrics"]
    assert recorded["split"] == "val (before learning from it)"
    assert recorded["miou"] + 0.03 < report.to_json()["miou"] < recorded["miou"] + 0.12


@pytest.mark.skipif(not NUCLEI.is_dir(), reason="the nuclei are not at ../shared/data/nuclei beside the repository")
def test_nuclei_still_does_on_real_cells_what_its_card_says() -> None:
    report = pw.evaluate("nuclei", NUCLEI, split="val")
    recorded = built_in("nuclei").metadata.provenance["metrics"]
    assert report.to_json()["miou"] == pytest.approx(recorded["miou"], abs=0.02)


def test_models_is_a_list_for_people_and_machines() -> None:
    from typer.testing import CliRunner

    from pixelwise.cli import app

    listed = CliRunner().invoke(app, ["models", "--json", "-"])
    assert listed.exit_code == 0
    names = [entry["name"] for entry in json.loads(listed.stdout)]
    assert names == [model.name for model in pw.models()] == sorted(names)
    shown = CliRunner().invoke(app, ["models", "street"])
    assert shown.exit_code == 0
    assert "CamVid" in shown.stdout
    assert np.all([name in CliRunner().invoke(app, ["models"]).stdout for name in ("street", "nuclei")])
