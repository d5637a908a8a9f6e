"""Every form in which labels are saved is read back, pixel for pixel; and maps are those of the full scores."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conftest import THREE, blobs, picture
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.doctor.findings import find_problems
from pixelwise.errors import OutputError, UsageError
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.images.image_files import read_image, write_png
from pixelwise.prediction.confidence_maps import probability_strips
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.outputs import OUTPUTS, chosen
from pixelwise.prediction.predict import predict
from pixelwise.records import ClassList, Prediction

MASKS = ("labels", "index", "numpy")
DRAWN = ("coco", "labelme", "geojson")


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "images"
    for i, name in enumerate(("a", "b", "day 2/c", "d.0001")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(folder / f"{name}.png", picture(i, 33 + i, 47))
    return folder


@pytest.mark.parametrize("form", [*MASKS, *DRAWN])
def test_results_beside_their_images_are_a_dataset(model: Model, images: Path, form: str) -> None:
    data = images.parent
    out = data / "masks" if form in MASKS else data / "predicted"
    predict(model, [images], out, save=[form, "overlay"] if form in DRAWN else [form])
    shutil.copy(out / "dataset.toml", data / "dataset.toml")
    dataset = open_dataset(data)
    assert dataset.problems == ()
    samples = [sample for split in dataset.splits.values() for sample in split]
    assert len(samples) == 4
    for sample in samples:
        truth = model.predict(sample.image).labels
        names = [THREE.names[i] for i in np.unique(truth)]
        read = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes))
        assert {dataset.classes.names[i] for i in np.unique(read)} == set(names)
        assert all(((read == dataset.classes.names.index(n)) == (truth == THREE.names.index(n))).all() for n in names)
    assert evaluate(model, data, split="train").accuracy == 1
    assert [str(p) for p in find_problems(dataset).problems if p.severity == "error"] == []


@pytest.mark.parametrize("form", MASKS)
def test_masks_are_read_without_their_names(model: Model, images: Path, form: str) -> None:
    predict(model, [images], images.parent / "masks", save=[form])
    assert evaluate(model, images.parent, split="train").accuracy == 1


def test_coco_is_one_file_that_others_read(model: Model, images: Path, tmp_path: Path) -> None:
    coder = pytest.importorskip("pycocotools.coco")
    (images / "bad.png").write_bytes(b"no image")
    predict(model, [images], tmp_path / "out", save=["coco"])
    read = coder.COCO(str(tmp_path / "out" / "predictions.coco.json"))
    assert sorted(row["file_name"] for row in read.imgs.values()) == ["a.png", "b.png", "d.0001.png", "day 2/c.png"]
    assert [row["name"] for row in read.cats.values()] == list(THREE.names)
    for number, row in read.imgs.items():
        labels = np.zeros((row["height"], row["width"]), int)
        for annotation in read.imgToAnns[number]:
            labels += read.annToMask(annotation) * annotation["category_id"]
        assert (labels - 1 == model.predict(images / row["file_name"]).labels).all()
    assert len(set(read.anns)) == sum(map(len, read.imgToAnns.values()))


def test_a_damaged_piece_of_the_coco_file_is_named(model: Model, images: Path, tmp_path: Path) -> None:
    predict(model, [images], tmp_path / "out", save=["coco"])
    piece = tmp_path / "out" / OUTPUTS["coco"].folder / "b.jsonl"
    piece.write_bytes(piece.read_bytes()[:-20])
    before = (tmp_path / "out" / "predictions.coco.json").read_bytes()
    with pytest.raises(OutputError, match=r"b\.jsonl: cannot be read \("):
        predict(model, [images], tmp_path / "out", save=["coco"])
    assert (tmp_path / "out" / "predictions.coco.json").read_bytes() == before
    piece.unlink()
    assert predict(model, [images], tmp_path / "out", save=["coco"]).done == 1
    assert (tmp_path / "out" / "predictions.coco.json").stat().st_size == len(before)


def test_geojson_is_as_the_standard_says(model: Model, images: Path, tmp_path: Path) -> None:
    predict(model, [images / "a.png"], tmp_path / "out", save=["geojson"])
    table = json.loads((tmp_path / "out" / "a.geojson").read_text())
    assert table["type"] == "FeatureCollection"
    area: dict[str, float] = {}
    for feature in table["features"]:
        assert feature["geometry"]["type"] == "Polygon"
        for i, ring in enumerate(feature["geometry"]["coordinates"]):
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
            x, y = np.array(ring, float).T
            inside = abs(float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())) / 2
            name = feature["properties"]["classification"]["name"]
            area[name] = area.get(name, 0) + (inside if i == 0 else -inside)
    labels = model.predict(images / "a.png").labels
    assert area == {THREE.names[i]: float((labels == i).sum()) for i in np.unique(labels)}


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    low=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    classes=st.integers(1, 12),
    temperature=st.floats(0.3, 3),
    seed=st.integers(0, 1000),
)
def test_strips_and_look_ups_are_the_full_scores(
    size: tuple[int, int], low: tuple[int, int], classes: int, temperature: float, seed: int
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 4, (classes, *low)).astype(np.float32)
    full = torch.nn.functional.interpolate(torch.from_numpy(scores[None]).double(), size, mode="bilinear")[0]
    expected = (full / temperature).softmax(0).numpy()
    strips = list(probability_strips(scores, size, temperature))
    np.testing.assert_allclose(np.concatenate([part for _, part in strips], axis=1), expected, atol=1e-5)
    names = ClassList(tuple(f"class {i}" for i in range(classes)), ((0, 0, 0),) * classes)
    prediction = Prediction(np.zeros(size, np.uint8), scores, names, temperature)
    for _ in range(5):
        y, x = int(rng.integers(size[0])), int(rng.integers(size[1]))
        np.testing.assert_allclose(list(prediction.probabilities(x, y).values()), expected[:, y, x], atol=1e-5)


def test_large_images_come_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.prediction.confidence_maps.STRIP_VALUES", 5000)
    scores = np.random.default_rng(0).normal(0, 2, (4, 9, 11)).astype(np.float32)
    strips = list(probability_strips(scores, (301, 97)))
    assert len(strips) > 20
    assert max(part.size for _, part in strips) <= 5000
    assert sum(part.shape[1] for _, part in strips) == 301


def test_maps_are_of_16_bits(model: Model, images: Path, tmp_path: Path) -> None:
    predict(model, [images / "b.png"], tmp_path / "out", save=["confidence", "entropy"])
    prediction = model.predict(images / "b.png")
    maps = {}
    for name in ("confidence", "entropy"):
        with Image.open(tmp_path / "out" / f"b.{name}.png") as file:
            assert file.mode.startswith("I;16")
            maps[name] = np.asarray(file, np.float64) / 65535
    for x, y in ((0, 0), (20, 10), (46, 33)):
        p = np.array(list(prediction.probabilities(x, y).values()))
        assert maps["confidence"][y, x] == pytest.approx(p.max(), abs=2e-5)
        assert maps["entropy"][y, x] == pytest.approx(-(p * np.log(p)).sum() / np.log(3), abs=2e-5)
    assert not (tmp_path / "out" / "b.png").exists()


def test_forms_are_named_and_clash_where_they_would_be_one_file() -> None:
    assert chosen(["overlay", " labels", "overlay"]) == ("labels", "overlay")
    assert chosen(OUTPUTS.keys() - {"index"}) == tuple(name for name in OUTPUTS if name != "index")
    for names, said in (
        (["labels", "gif"], "'gif' is not an output; known: labels"),
        ([""], "no output was named"),
        (["index", "labels"], "Save one of them"),
    ):
        with pytest.raises(UsageError, match=said):
            chosen(names)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((33, 47), np.float32), "holds float32"),
        (np.zeros((33, 47, 3), np.uint8), r"holds uint8 \[33, 47, 3\]"),
        (np.full((33, 47), -1), "from -1 to -1"),
        (np.zeros((33, 47), object), "holds object"),
        (np.zeros((30, 31), np.uint8), "(31×30|30×31)"),
    ],
)
def test_numpy_masks_that_are_none(images: Path, array: Any, said: str) -> None:
    shutil.rmtree(images / "day 2")
    (images.parent / "masks").mkdir()
    for name in ("a", "b", "d.0001"):
        mask = blobs(0, 3, *read_image(images / f"{name}.png").shape[:2]) if name != "a" else array
        np.save(images.parent / "masks" / f"{name}.npy", mask, allow_pickle=True)
    dataset = open_dataset(images.parent)
    problems = [str(problem) for problem in find_problems(dataset).problems if "a.npy" in str(problem)]
    assert len(problems) == 1
    assert re.search(said, problems[0])
