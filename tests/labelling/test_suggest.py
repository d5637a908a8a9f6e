"""`suggest`: what is unsure, what is new, what a curve can say; tasks that come back as they went."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from conftest import THREE, blobs, picture
from pixelwise.datasets.formats.polygons import fill
from pixelwise.datasets.formats.run_lengths import brush_runs, run_lengths
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.doctor.check import check
from pixelwise.errors import DataError, OutputError, UsageError
from pixelwise.images.image_files import read_mask, read_mask_ids, write_png
from pixelwise.labelling.accept import accept
from pixelwise.labelling.learning_curve import fit_curve, read_curve, score_of_run
from pixelwise.labelling.novelty import choose, describer, distances_to, unit
from pixelwise.labelling.suggest import suggest
from pixelwise.labelling.uncertainty import unsure_regions
from pixelwise.prediction.large import tile_plan
from pixelwise.prediction.load_model import Model, load
from pixelwise.softmax import entropy, softmax


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight images; the last is the first again."""
    (tmp_path / "photos").mkdir()
    for i in range(8):
        write_png(tmp_path / "photos" / f"{i}.png", picture(i % 7, 40, 50))
    return tmp_path / "photos"


def test_entropy_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with scikit-learn")
    scores = np.random.default_rng(0).normal(0, 3, (5, 7, 9)).astype(np.float32)
    p = softmax(scores, 1.3)
    np.testing.assert_allclose(p.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(entropy(p), stats.entropy(p.astype(float), axis=0, base=5), rtol=1e-5)


def test_regions_lie_where_the_model_is_unsure() -> None:
    scores = np.zeros((3, 16, 24), np.float32)
    scores[0] = 12
    scores[0, 4:8, 6:12], scores[1, 4:8, 6:12], scores[2, 4:8, 6:12] = 5, 5.1, -9
    (region, *_) = unsure_regions(softmax(scores), 160, 240, THREE)
    assert (region.x, region.y, region.width, region.height) == (60, 40, 60, 40)
    assert set(region.between) == {"sky", "road"}
    assert region.weight > 0.9
    assert region.uncertainty == pytest.approx(entropy(softmax(scores))[4:8, 6:12].mean(), rel=1e-6)
    flat = unsure_regions(np.full((3, 8, 8), 1 / 3, np.float32), 80, 80, THREE)
    assert not flat


def test_the_choice_is_unsure_new_and_varied() -> None:
    described = np.stack([unit(np.array(v, float)) for v in ([1, 0, 0], [1, 0.01, 0], [0, 1, 0], [0, 0, 1])])
    unsure = np.array([0.9, 0.88, 0.5, 0.1])
    order = [i for i, _, _ in choose(unsure, described, np.zeros((0, 3)), 4)]
    assert order == [0, 2, 3, 1]  # the double of the first comes last, however unsure
    against = [i for i, _, _ in choose(unsure, described, described[2:3], 4)]
    assert against[-1] == 2
    np.testing.assert_allclose(distances_to(described, described[:1])[2], 2**0.5)


def test_a_large_image_is_described_tile_by_tile(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    describe = describer(model)
    image = picture(3, 160, 240)
    described, whole = describe(image)
    whole_scores = described.scores
    np.testing.assert_array_equal(whole_scores, model.predict(image).scores)
    np.testing.assert_array_equal(described.labels, model.predict(image).labels)
    monkeypatch.setattr(tile_plan, "WHOLE_PIXELS", dict.fromkeys(tile_plan.WHOLE_PIXELS, 10_000))
    again, tiled = describe(image)
    scores = again.scores
    np.testing.assert_allclose(scores, model.predict(image).scores, atol=1e-5)
    assert scores.shape != whole_scores.shape
    assert tiled.shape == whole.shape
    assert np.linalg.norm(tiled) == pytest.approx(1)
    assert tiled @ whole > 0.9  # alike: it is the same picture


def test_distances_are_scipys() -> None:
    distance = pytest.importorskip("scipy.spatial.distance", reason="scipy comes with scikit-learn")
    rng = np.random.default_rng(0)
    a, b = (np.stack([unit(row) for row in rng.normal(size=(n, 6))]) for n in (40, 600))
    np.testing.assert_allclose(distances_to(a, b), distance.cdist(a, b).min(axis=1), atol=1e-7)


@settings(deadline=None, max_examples=10)
@given(st.floats(0.05, 0.4), st.floats(0.2, 0.6), st.floats(0.2, 1.0), st.integers(0, 1000))
def test_a_forecast_holds_what_comes(floor: float, gap: float, rate: float, seed: int) -> None:
    """Scores without noise: the truth at twice the images lies in the range, or within a point of it."""

    def score(n: float) -> float:
        return 1 - floor - gap * (n / 50) ** -rate

    curve = fit_curve([(n, score(n)) for n in (50, 100, 200, 400)], seed=seed)
    found = curve.forecast(400)
    gain = score(800) - score(400)
    assert found.low - 0.01 <= gain <= found.high + 0.01
    assert 0 <= found.low <= found.gain <= found.high


def test_a_forecast_is_as_sure_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(60):
        floor, gap, rate = rng.uniform(0.05, 0.3), rng.uniform(0.1, 0.5), rng.uniform(0.2, 1.2)

        def score(n: float, floor: float = floor, gap: float = gap, rate: float = rate) -> float:
            return 1 - floor - gap * (n / 50) ** -rate

        measured = [(n, float(np.clip(score(n) + rng.normal(0, 0.008), 0, 1))) for n in (50, 100, 200, 400)]
        found = fit_curve(measured, seed=trial).forecast(400)
        inside += found.low <= score(800) - score(400) <= found.high
    assert inside >= 48  # of 60: 90 %, with room for chance


def test_more_scores_make_a_forecast_surer() -> None:
    def score(n: float) -> float:
        return 0.8 - 0.4 * (n / 50) ** -0.7

    few = fit_curve([(n, score(n)) for n in (50, 100, 200)]).forecast(400)
    many = fit_curve([(n, score(n)) for n in (25, 50, 100, 200) for _ in range(8)]).forecast(400)
    assert many.high - many.low < few.high - few.low


def test_curves_are_never_made_up(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 training sizes"):
        fit_curve([(100, 0.5), (200, 0.6), (200, 0.61)])
    with pytest.raises(UsageError, match="0–1"):
        fit_curve([(100, 50.0), (200, 60.0), (400, 61.0)])
    table = tmp_path / "curve.csv"
    table.write_text("images, miou\n100, 0.52\n200, 0.58\n400, 0.62\n")
    assert read_curve(table) == [(100, 0.52), (200, 0.58), (400, 0.62)]
    table.write_text("images,miou\n100,high\n")
    with pytest.raises(UsageError, match="line 2"):
        read_curve(table)
    with pytest.raises(UsageError, match="cannot be read"):
        read_curve(tmp_path / "none.csv")
    (tmp_path / "trace.jsonl").write_text(
        '{"event": "data", "pairs": {"train": 40, "val": 5}}\n{"event": "epoch", "miou": 0.3}\n'
        '{"event": "epoch", "miou": 0.5}\n{"event": "epoch", "miou": 0.4}\n{"event": "ep'
    )
    assert score_of_run(tmp_path) == (40, 0.5)
    with pytest.raises(UsageError, match="trace"):
        score_of_run(tmp_path / "nowhere")


def test_suggest_ranks_and_passes_over_doubles(model: Model, photos: Path) -> None:
    found = suggest(model, [photos], number=7)
    names = [suggestion.image.name for suggestion in found.chosen]
    assert len(names) == 7
    assert not {"0.png", "7.png"} <= set(names)
    worth = [suggestion.worth for suggestion in found.chosen]
    assert worth == sorted(worth, reverse=True)
    places = [(worth, image.image.name) for worth, image, _ in found.regions]
    assert places == sorted(places, key=lambda place: -place[0])
    assert len(places) == sum(len(suggestion.regions) for suggestion in found.chosen)
    assert all(worth == region.uncertainty * image.novelty for worth, image, region in found.regions)
    assert found.forecast is None
    json.dumps(found.to_json(), allow_nan=False)
    text = io.StringIO()
    Console(file=text, width=140).print(found.to_rich())
    assert "not known" in text.getvalue()


def test_what_is_labelled_is_not_suggested(model: Model, photos: Path, tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for i in range(3):
        write_png(tmp_path / "data" / "images" / f"{i}.png", picture(i, 40, 50))
        write_png(tmp_path / "data" / "masks" / f"{i}.png", blobs(i, 3, 40, 50))
    table = tmp_path / "curve.csv"
    table.write_text("images,miou\n100,0.52\n200,0.58\n400,0.62\n")
    found = suggest(model, [photos], number=8, labelled=tmp_path / "data", curve=table)
    assert found.labelled == 3
    last = [suggestion.image.name for suggestion in found.chosen[-4:]]
    assert {"0.png", "1.png", "2.png", "7.png"} == set(last)  # seen before, or the first again
    assert found.forecast is not None
    assert found.forecast.low <= found.forecast.gain <= found.forecast.high
    with pytest.raises(UsageError, match="labelled already"):
        suggest(model, [tmp_path / "data" / "images"], labelled=tmp_path / "data")


def test_bad_images_are_passed_over_and_named(model: Model, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    found = suggest(model, [photos], number=2)
    assert [path.name for path, _ in found.failed] == ["broken.png"]
    with pytest.raises(DataError, match=r"broken\.png"):
        suggest(model, [photos / "broken.png"])
    with pytest.raises(UsageError, match="no such file"):
        suggest(model, [tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="cvat, labelstudio"):
        suggest(model, [photos], tasks="paint")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(OutputError, match="new folder"):
        suggest(model, [photos], number=1, out=tmp_path / "full")


def drawn_by_cvat(element: ElementTree.Element, names: tuple[str, ...]) -> np.ndarray:
    """CVAT's masks of an image, drawn as its documentation says."""
    labels = np.full((int(element.get("height", "0")), int(element.get("width", "0"))), 255, np.uint8)
    for mask in element.iter("mask"):
        left, top, width, height = (int(mask.get(key, "0")) for key in ("left", "top", "width", "height"))
        flat, value, at = np.zeros(width * height, bool), False, 0
        for run in map(int, mask.get("rle", "").split(",")):
            flat[at : at + run] = value
            value, at = not value, at + run
        assert at == width * height
        labels[top : top + height, left : left + width][flat.reshape(height, width)] = names.index(
            mask.get("label", "")
        )
    return labels


def test_cvat_tasks_hold_the_models_masks(model: Model, photos: Path, tmp_path: Path) -> None:
    found = suggest(model, [photos], number=3, out=tmp_path / "out")
    images = {
        image.get("name"): image for image in ElementTree.parse(tmp_path / "out" / "annotations.xml").iter("image")
    }
    assert len(images) == 3
    for suggestion in found.chosen:
        labels = model.predict(suggestion.image).labels
        assert (drawn_by_cvat(images[suggestion.image.name], THREE.names) == labels).all()
        assert (tmp_path / "out" / "images" / suggestion.image.name).read_bytes() == suggestion.image.read_bytes()


def unpacked(packed: list[int]) -> np.ndarray:
    """Label Studio's own unpacking, bit by bit, as its converter does it."""
    bits, at = np.unpackbits(np.array(packed, np.uint8)), 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return int("".join(map(str, bits[at - count : at])), 2)

    number, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < number:
        repeated, length = read(1), read(sizes[read(2)]) + 1
        values += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    assert len(values) == number
    return np.array(values, np.uint8)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 30))
def test_brush_masks_come_back(seed: int, height: int, width: int) -> None:
    mask = blobs(seed, 2, height, width) == 1
    alpha = unpacked(brush_runs(mask)).reshape(height, width, 4)
    assert (alpha == np.where(mask, 255, 0)[..., None]).all()
    runs = run_lengths(mask.ravel())
    assert sum(runs) == mask.size
    assert (np.repeat(np.arange(len(runs)) % 2 == 1, runs) == mask.ravel()).all()


def test_long_runs_are_cut_and_label_studio_unpacks_them() -> None:
    mask = np.zeros((300, 400), bool)
    mask[250:, :] = True
    assert (unpacked(brush_runs(mask)).reshape(300, 400, 4)[..., 3] > 0).tolist() == mask.tolist()
    brush = pytest.importorskip("label_studio_converter.brush", reason="label-studio-converter is not installed")
    assert (brush.decode_rle(brush_runs(mask)).reshape(300, 400, 4)[..., 3] > 0).tolist() == mask.tolist()


def test_label_studio_tasks_hold_the_models_masks(model: Model, photos: Path, tmp_path: Path) -> None:
    found = suggest(model, [photos], number=2, out=tmp_path / "out", tasks="labelstudio")
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    for suggestion, task in zip(found.chosen, tasks, strict=True):
        labels = model.predict(suggestion.image).labels
        for result in task["predictions"][0]["result"]:
            own = unpacked(result["value"]["rle"]).reshape(*labels.shape, 4)[..., 3] > 0
            assert (own == (labels == THREE.names.index(result["value"]["brushlabels"][0]))).all()
    assert "BrushLabels" in (tmp_path / "out" / "label_config.xml").read_text()


@pytest.mark.parametrize("kind", ["cvat", "labelstudio"])
def test_tasks_come_back_as_they_went(model: Model, photos: Path, tmp_path: Path, kind: str) -> None:
    """What a tool exports after nothing was changed is a dataset with exactly the model's masks."""
    found = suggest(model, [photos], number=3, out=tmp_path / "out", tasks=kind)
    export = tmp_path / "out" / ("annotations.xml" if kind == "cvat" else "tasks.json")
    back = accept(tmp_path / "out", export, tmp_path / "data")
    assert [share for _, share in back.changed] == [0, 0, 0]
    assert not back.corrections
    dataset = open_dataset(tmp_path / "data")
    assert dataset.classes.names == THREE.names
    by_name = {suggestion.image.stem: suggestion.image for suggestion in found.chosen}
    samples = [sample for part in dataset.splits.values() for sample in part]
    assert len(samples) == 3
    for sample in samples:
        assert sample.mask is not None
        expected = model.predict(by_name[sample.mask.stem]).labels
        assert (read_mask(sample.mask, dataset.mask_ids, 3) == expected).all()


def test_what_a_person_changed_is_told(model: Model, photos: Path, tmp_path: Path) -> None:
    found = suggest(model, [photos / "0.png"], number=1, out=tmp_path / "out")
    labels = model.predict(found.chosen[0].image).labels
    export = tmp_path / "export.xml"
    text = (tmp_path / "out" / "annotations.xml").read_text()
    drawn = '<polygon label="car" points="0,0;50,0;50,10;0,10" z_order="1"/></image>'
    export.write_text(text.replace("</image>", drawn))
    back = accept(tmp_path / "out", export, tmp_path / "data")
    car = THREE.names.index("car")
    assert back.changed[0][1] == pytest.approx((labels[:10] != car).mean() * 10 / 40)
    assert {now for _, now, _ in back.corrections} == {"car"}
    assert sum(pixels for *_, pixels in back.corrections) == (labels[:10] != car).sum()
    assert "→ car" in str(back)
    seen = check(tmp_path / "data")
    assert seen.to_json()["corrected"]["masks"] == [{"mask": "masks/0.png", "changed": back.changed[0][1]}]
    assert any("→ car" in note for note in seen.notes)
    assert not any("Changed or missing" in note for note in seen.notes)
    write_png(tmp_path / "data/masks/0.png", np.zeros((40, 50), np.uint8))
    assert any(
        "Changed or missing since they were accepted: 1 masks" in note for note in check(tmp_path / "data").notes
    )
    (tmp_path / "data/corrections.jsonl").write_text('{"mask": 1}')
    assert any("corrections.jsonl: cannot be read" in note for note in check(tmp_path / "data").notes)


def test_pixels_under_no_shape_are_void_and_label_studio_polygons_are_drawn(
    model: Model, photos: Path, tmp_path: Path
) -> None:
    suggest(model, [photos / "0.png"], number=1, out=tmp_path / "out", tasks="labelstudio")
    value = {"points": [[0, 0], [100, 0], [100, 50], [0, 50]], "polygonlabels": ["road"]}
    result = {"original_width": 50, "original_height": 40, "type": "polygonlabels", "value": value}
    task = {"data": {"image": "/data/local-files/?d=images/0.png"}, "annotations": [{"result": [result]}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    accept(tmp_path / "out", tmp_path / "export.json", tmp_path / "data")
    mask = read_mask_ids(tmp_path / "data" / "masks" / "0.png")
    assert set(mask[:20].ravel()) == {THREE.names.index("road")}
    assert set(mask[21:].ravel()) == {255}


def cvat(shapes: str, name: str = "0.png") -> str:
    return f'<annotations><image name="{name}">{shapes}</image></annotations>'


TRIANGLE = 'points="0,0;5,0;5,5"/>'
SHORT_BRUSH = {"result": [{"value": {"rle": [0, 0], "brushlabels": ["car"]}}]}
BAD_EXPORTS = {
    "not xml": ("<annotations", "expected CVAT"),
    "other labels": (cvat('<polygon label="boat" ' + TRIANGLE), "boat"),
    "other images": (cvat('<polygon label="car" ' + TRIANGLE, "z.png"), r"z\.png"),
    "half a box": (cvat('<box label="car" xtl="0"/>'), r"box car\) has nothing as its ytl"),
    "a line": (
        cvat('<polyline label="car" points="0,0;1,1"/>'),
        "has a polyline of car on 0.png, which is not drawn. A line has no area",
    ),
    "two of one name": ("<annotations><image name='0.png'/><image name='a/0.png'/></annotations>", "has two images"),
    "no shape": (cvat(""), "has a shape"),
    "entities": ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "DOCTYPE"),
    "cut short": (cvat('<mask label="car" rle="3" left="0" top="0" width="9" height="9"/>'), "do not add up"),
    "cut json": ('[{"data": ', "expected CVAT"),
    "short brush": (json.dumps([{"data": {"image": "0.png"}, "annotations": [SHORT_BRUSH]}]), "cut short"),
}


CVAT_SHAPES = (
    '<polygon label="car" points="0,0;20,0;20,20;0,20" z_order="2"/>'
    '<box label="road" xtl="5.5" ytl="4" xbr="25" ybr="12" rotation="30" z_order="1"/>'
    '<ellipse label="sky" cx="30" cy="20" rx="12" ry="6" rotation="45"/>'
    '<mask label="car" rle="1, 3, 2, 3" left="40" top="30" width="3" height="3"/>'
    '<tag label="sunny"/>'
)


def labelstudio_shapes() -> list[dict[str, Any]]:
    corners = [[0, 0], [40, 0], [40, 50]]
    box = {"x": 30, "y": 10, "width": 30, "height": 20, "rotation": 30}
    round_ = {"x": 70, "y": 60, "radiusX": 20, "radiusY": 10, "rotation": 45}
    brush = np.zeros((40, 50), bool)
    brush[30:35, 3:9] = True
    values = [
        ("polygon", {"points": corners, "polygonlabels": ["car", "road"]}),
        ("rectangle", {**box, "rectanglelabels": ["road"]}),
        ("ellipse", {**round_, "ellipselabels": ["sky"]}),
        ("brush", {"format": "rle", "rle": brush_runs(brush), "brushlabels": ["car"]}),
        ("choices", {"choices": ["sunny"]}),
    ]
    return [{"type": kind if kind == "choices" else f"{kind}labels", "value": value} for kind, value in values]


@pytest.mark.parametrize("tool", ["cvat", "labelstudio"])
def test_accept_draws_every_shape_that_check_reads_to_the_same_pixel(
    model: Model, photos: Path, tmp_path: Path, tool: str
) -> None:
    suggest(model, [photos / "0.png"], number=1, out=tmp_path / "out", tasks=tool)
    if tool == "cvat":
        name, text = "annotations.xml", cvat(CVAT_SHAPES)
    else:
        task = {"data": {"image": "0.png"}, "annotations": [{"result": labelstudio_shapes()}]}
        name, text = "tasks.json", json.dumps([task])
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / name).write_text(text)
    accept(tmp_path / "out", tmp_path / "export" / name, tmp_path / "data")
    accepted = read_mask_ids(tmp_path / "data" / "masks" / "0.png")
    shutil.copy(photos / "0.png", tmp_path / "export")
    dataset = open_dataset(tmp_path / "export")
    sample = next(sample for part in dataset.splits.values() for sample in part)
    checked = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes))
    names = np.array([*THREE.names, "background"])
    assert set(names[np.minimum(accepted, 3)].ravel()) == {*THREE.names, "background"}
    assert (names[np.minimum(accepted, 3)] == np.array(dataset.classes.names)[checked]).all()


def inside_polygon(corners: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    mask = np.zeros(size, np.uint8)
    fill(mask, corners, 1)
    return mask > 0


def test_polygons_are_filled_by_their_pixels_centres() -> None:
    inside = inside_polygon(np.array([[0, 0], [4, 0], [4, 2.4], [0, 2.4]]), (6, 5))
    assert inside.sum() == 8
    assert inside[:2, :4].all()
    rng = np.random.default_rng(0)
    for _ in range(10):
        corners = rng.uniform(-3, 43, (7, 2)).astype(np.float32)
        expected = [
            [cv2.pointPolygonTest(corners, (x + 0.5, y + 0.5), False) > 0 for x in range(40)] for y in range(40)
        ]
        assert (inside_polygon(corners.astype(float), (40, 40)) == expected).all()


@pytest.mark.parametrize("case", BAD_EXPORTS)
def test_bad_exports_are_refused_with_words(model: Model, photos: Path, tmp_path: Path, case: str) -> None:
    suggest(model, [photos / "0.png"], number=1, out=tmp_path / "out")
    text, says = BAD_EXPORTS[case]
    (tmp_path / "export").write_text(text)
    with pytest.raises(DataError, match=says):
        accept(tmp_path / "out", tmp_path / "export", tmp_path / "data")
    with pytest.raises(UsageError, match="suggest"):
        accept(photos, tmp_path / "export", tmp_path / "data2")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "export", "photos"}  # nothing half made
