"""`evaluate`: the split, the classes, and the numbers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from conftest import THREE, picture
from pixelwise.errors import DataError, DatasetError, UsageError
from pixelwise.evaluation.analysis import Analysis
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.evaluation.evaluation_report import EvaluationReport
from pixelwise.evaluation.match_classes import match_classes
from pixelwise.evaluation.measure_image import measure
from pixelwise.evaluation.per_image import row_of
from pixelwise.images.image_files import write_png
from pixelwise.metrics.confusion import count_pairs
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import VOID, ClassList, Sample


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=2)


def write_split(root: Path, split: str, masks: list[np.ndarray]) -> None:
    for part in ("images", "masks"):
        (root / split / part).mkdir(parents=True)
    for i, mask in enumerate(masks):
        write_png(root / split / "images" / f"{i}.png", picture(i, *mask.shape))
        write_png(root / split / "masks" / f"{i}.png", mask)


def named(root: Path, names: tuple[str, ...]) -> Path:
    rows = "".join(f'[[classes]]\nid = {i}\nname = "{name}"\n' for i, name in enumerate(names))
    (root / "dataset.toml").write_text(rows)
    return root


@pytest.fixture
def own_labels(model: Model, tmp_path: Path) -> Path:
    """A test split whose masks are what the model says, with some void; images of two sizes. There is no train."""
    masks = [model.predict(picture(i, *size)).labels.copy() for i, size in enumerate([(40, 50), (33, 21), (40, 50)])]
    for mask in masks:
        mask[:5, :7] = VOID
    write_split(tmp_path / "data", "test", masks)
    return tmp_path / "data"


def test_a_model_agrees_with_itself(model: Model, own_labels: Path) -> None:
    events = []
    report = evaluate(model, named(own_labels, THREE.names), split="test", tell=events.append)
    assert report.accuracy == report.miou == 1.0
    assert report.images == 3
    assert report.scores.pixels == 40 * 50 * 2 + 33 * 21 - 3 * 35
    assert report.milliseconds > 0
    assert events[0]["event"] == "evaluation"
    assert events[0]["miou"] == 1.0


def test_the_matrix_is_the_sum_over_images(model: Model, own_labels: Path) -> None:
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 3, (20 + i, 30)).astype(np.uint8) for i in range(3)]
    write_split(own_labels, "val", masks)
    report = evaluate(model, named(own_labels, THREE.names), split="val")
    expected = sum(count_pairs(model.predict(picture(i, *m.shape)).labels, m, 3) for i, m in enumerate(masks))
    assert (report.matrix == expected).all()


def test_the_default_split_is_test_then_val(model: Model, own_labels: Path, tmp_path: Path) -> None:
    assert evaluate(model, named(own_labels, THREE.names)).split == "test"
    write_split(tmp_path / "other", "val", [np.eye(8, dtype=np.uint8)])
    assert evaluate(model, named(tmp_path / "other", THREE.names)).split == "val"
    with pytest.raises(UsageError, match="test"):
        evaluate(model, tmp_path / "other", split="test")


def test_classes_in_another_order_are_matched_by_name(model: Model, own_labels: Path) -> None:
    for path in (own_labels / "test" / "masks").iterdir():
        from pixelwise.images.image_files import read_mask_ids

        ids = read_mask_ids(path)
        write_png(path, np.where(ids == VOID, VOID, 2 - ids).astype(np.uint8))
    report = evaluate(model, named(own_labels, THREE.names[::-1]))
    assert report.miou == 1.0
    assert any("another order" in note for note in report.notes)


def test_unnamed_classes_are_taken_by_their_ids(model: Model, own_labels: Path) -> None:
    report = evaluate(model, own_labels)  # no dataset.toml: ids are found in the masks
    assert report.miou == 1.0
    assert report.classes.names == THREE.names
    assert any("no names" in note for note in report.notes)


def names(*listed: str) -> ClassList:
    return ClassList(listed, ((0, 0, 0),) * len(listed))


def test_other_classes_are_refused_with_both_lists() -> None:
    with pytest.raises(DataError, match="only the model has: car") as caught:
        match_classes(THREE, names("sky", "road", "tree"))
    assert "only the dataset has: tree" in str(caught.value)
    assert "sky, road, car" in str(caught.value)
    with pytest.raises(DataError):
        match_classes(THREE, names("class 1", "class 7"))
    with pytest.raises(DataError):  # two ids say nothing about three classes
        match_classes(THREE, names("background", "foreground"))


def test_unnamed_classes_match_by_id_else_by_position() -> None:
    assert match_classes(THREE, names("class 0", "class 2")).true[:2].tolist() == [0, 2]
    by_position = match_classes(THREE, names("class 1", "class 5", "class 9"))
    assert by_position.true[:3].tolist() == [0, 1, 2]
    assert "5 is road" in str(by_position.note)
    assert match_classes(names("cell", "rest"), names("background", "foreground")).note


def test_all_problems_are_listed_at_once(model: Model, own_labels: Path) -> None:
    named(own_labels, THREE.names)
    write_png(own_labels / "test" / "masks" / "0.png", np.zeros((3, 3), np.uint8))
    (own_labels / "test" / "images" / "1.png").write_bytes(b"")
    with pytest.raises(DatasetError) as caught:
        evaluate(model, own_labels)
    assert len(caught.value.problems) == 2
    assert evaluate(model, own_labels, skip_bad=True).images == 1


def test_report_says_what_a_guess_would_reach() -> None:
    pairs = [(0, 0)] * 60 + [(0, 1)] * 10 + [(1, 0)] * 5 + [(1, 1)] * 25
    true, predicted = np.array(pairs, np.uint8).T[:, None]
    sums, _ = measure(predicted, true, np.zeros((3, 1, 1), np.float32), 3)
    row = row_of(Sample("one", Path("one.png"), None), (1, 100), sums)
    analysis = Analysis(THREE, sums, (row,), (), 0)
    report = EvaluationReport("m.onnx", "0" * 64, "data", "test", analysis, 1.5, ("a note",))
    name, guess = report.baseline
    assert name == "sky"
    assert guess.accuracy == pytest.approx(0.7)
    assert guess.miou == pytest.approx(0.35)
    assert report.confusions()[0] == ("road", "sky", pytest.approx(5 / 30))
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert value["classes"]["car"]["iou"] is None
    text = io.StringIO()
    Console(file=text, width=100).print(report.to_rich())
    assert "mIoU" in text.getvalue()
    assert "left out of the means: car" in text.getvalue()
    assert "a note" in text.getvalue()
