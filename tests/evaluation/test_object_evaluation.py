"""Objects in an evaluation: their truth, the tables, the page with its outlines, the CSV, and the comparison."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import THREE, picture
from pixelwise.bundle.metadata import Metadata
from pixelwise.datasets.class_values import Values
from pixelwise.datasets.instances import components
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.errors import DataError, UsageError
from pixelwise.evaluation.compare import compare
from pixelwise.evaluation.evaluate import EvaluationReport, evaluate
from pixelwise.evaluation.evaluation_pass import Tally, prepare
from pixelwise.evaluation.match_classes import match_classes
from pixelwise.evaluation.measure_objects import ObjectPlan, plan_objects, predicted_objects
from pixelwise.evaluation.object_pictures import COLOURS, colours_of_predicted, colours_of_true, outlined
from pixelwise.evaluation.tally_file import tally_bytes, tally_of
from pixelwise.images.image_files import write_png
from pixelwise.metrics.object_matching import MatchedObjects, match_objects
from pixelwise.metrics.object_scores import ObjectCounts, headline, object_counts
from pixelwise.objects.separate import find_objects, separation_for
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import VOID, Prediction

SIZES = [(60, 80), (44, 50), (64, 64)]


pytest.importorskip("skimage", reason="pip install 'pixelwise[objects]'")


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Path:
    """Masks as the model labels, but for a band of void; the left and right halves are other objects."""
    root = tmp_path_factory.mktemp("objects")
    for part in ("images", "masks", "instances"):
        (root / "val" / part).mkdir(parents=True)
    for i, size in enumerate(SIZES):
        image = picture(i, *size)
        mask = model.predict(image).labels.copy()
        halves = components(mask == 1) + 1000 * (np.arange(size[1]) >= size[1] // 2)[None, :]
        mask[:6] = VOID
        write_png(root / "val" / "images" / f"{i}.png", image)
        write_png(root / "val" / "masks" / f"{i}.png", mask)
        assert cv2.imwrite(str(root / "val" / "instances" / f"{i}.png"), np.where(mask == 1, halves, 0).astype("u2"))
    rows = [f'[[classes]]\nid = {i}\nname = "{name}"\n' for i, name in enumerate(THREE.names)]
    (root / "dataset.toml").write_text("".join(rows))
    return root


@pytest.fixture(scope="module")
def report(model: Model, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[EvaluationReport, Path]:
    out = tmp_path_factory.mktemp("out")
    name = THREE.names[1]
    return evaluate(model, data, objects=[name], html=out / "report.html", csv=out / "images.csv"), out


def expected(model: Model, data: Path) -> list[ObjectCounts]:
    found = []
    for i, size in enumerate(SIZES):
        labels = model.predict(picture(i, *size)).labels
        objects = find_objects(labels, {1: separation_for(None)}).objects_HW
        true = cv2.imread(str(data / "val" / "instances" / f"{i}.png"), cv2.IMREAD_UNCHANGED)
        void = np.zeros(size, np.bool_)
        void[:6] = True
        found.append(object_counts(match_objects(objects, true, void)))
    return found


def test_the_scores_are_those_of_the_matched_objects(
    report: tuple[EvaluationReport, Path], model: Model, data: Path
) -> None:
    each = expected(model, data)
    total = sum(each, ObjectCounts.zero())
    (found,) = report[0].analysis.objects
    assert (found.counts.true, found.counts.predicted) == (total.true, total.predicted)
    assert min(total.true, total.split, total.merged) > 0
    assert found.whole == pytest.approx({name: float(value) for name, value in headline(total.vector()).items()})
    assert found.over_images["aji"] == pytest.approx(np.mean([one.shared_px / one.joint_px for one in each]))
    assert found.how.startswith("typical sizes of objects are unknown")
    assert found.unseparated["f1"] != found.whole["f1"]
    for name, (low, high) in found.intervals.items():
        assert low <= found.whole[name] <= high, name
    assert sum(row["true"] for row in found.by_size()) == total.true
    assert found.count_error == pytest.approx(np.mean([one.count_error for one in each]))
    f1 = [one for _, one in found.worst(3)]
    assert f1 == sorted(f1)


def test_json_csv_and_tables_hold_the_objects(report: tuple[EvaluationReport, Path]) -> None:
    found, out = report
    name = THREE.names[1]
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))["objects"]
    assert value["truth"] == "True objects are those that the data name."
    assert value["classes"][name]["f1"] == found.analysis.objects[0].whole["f1"]
    assert [row["iou"] for row in value["classes"][name]["thresholds"]][::9] == [0.5, 0.95]
    rows = list(csv.DictReader((out / "images.csv").open(encoding="utf-8")))
    assert sum(int(row[f"true_objects {name}"]) for row in rows) == found.analysis.objects[0].counts.true
    from rich.console import Console

    console = Console(width=140, record=True)
    console.print(found.to_rich())
    text = console.export_text()
    assert f"{name}, IoU of" in text
    assert "Worst images by F1 of objects: val/images/" in text


def test_the_page_draws_the_worst_images(report: tuple[EvaluationReport, Path]) -> None:
    page = (report[1] / "report.html").read_text("utf-8")
    assert '<h2 id="objects">' in page
    assert page.count("Outlines of the predicted objects") == 3
    assert "Scores of the objects of" in page
    for name in COLOURS:
        assert f"></span>{name}" in page


def test_a_learned_border_separates() -> None:
    labels = np.zeros((8, 12), np.uint8)
    labels[2:6, 1:11] = 1
    borders = np.zeros((1, 8, 12), np.float32)
    borders[:, :, 5:7] = 0.9
    given = Prediction(labels, np.zeros((3, 8, 12), np.float32), THREE, borders=borders, separated=(1,))
    plan = ObjectPlan({"one": 1}, {"one": 1}, {"one": separation_for(None, has_border=True)}, {})
    assert predicted_objects(plan, "one", given).max() == 2
    assert predicted_objects(plan, "one", replace(given, borders=borders * 0)).max() == 1


def test_classes_that_the_model_separates_are_scored_unasked(model: Model, data: Path) -> None:
    dataset = open_dataset(data)
    match, samples = match_classes(model.classes, dataset.classes), dataset.splits["val"]
    assert plan_objects(model, match, samples) is None

    class Separating(Model):
        @property
        def metadata(self) -> Metadata:
            return replace(super().metadata, separate=(THREE.names[2],))

    separates = Separating(model.engine)
    plan = plan_objects(separates, match, samples)
    assert plan is not None
    assert (list(plan.ids), plan.separations[THREE.names[2]].method) == ([THREE.names[2]], "border")
    assert plan_objects(separates, match, [replace(one, mask=None) for one in samples]) is None


def test_an_evaluation_without_objects_does_not_speak_of_them(model: Model, data: Path, tmp_path: Path) -> None:
    found = evaluate(model, data, html=tmp_path / "report.html")
    assert "objects" not in found.to_json()
    assert 'id="objects"' not in (tmp_path / "report.html").read_text("utf-8")


def test_a_class_that_is_not_there_is_named(model: Model, data: Path) -> None:
    with pytest.raises(UsageError, match="'cells' is not a class of the dataset; its classes: "):
        evaluate(model, data, objects=["cells"])


def test_without_instances_true_objects_are_connected_pixels(model: Model, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("instances"))
    found = evaluate(model, tmp_path / "data", objects=[THREE.names[1]])
    assert "connected pixels" in found.to_json()["objects"]["truth"]
    masks = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (data / "val" / "masks").iterdir()]
    assert found.analysis.objects[0].counts.true == sum(int(components(mask == 1).max()) for mask in masks)


def test_two_models_are_compared_by_their_objects(model: Model, data: Path) -> None:
    found = compare(model, model, data, objects=[THREE.names[1]])
    rows = {row.name: row for row in found.by_region}
    own = evaluate(model, data, objects=[THREE.names[1]]).analysis.objects[0].whole
    f1 = rows[f"objects of {THREE.names[1]}: F1"]
    assert (f1.a, f1.b, f1.difference) == pytest.approx((own["f1"], own["f1"], 0))
    assert rows[f"objects of {THREE.names[1]}: mAP"].a == pytest.approx(own["mean_average_precision"])


def test_outlines_say_what_became_of_an_object() -> None:
    true, predicted = np.zeros((40, 90), np.uint32), np.zeros((40, 90), np.uint32)
    true[2:12, 2:12] = predicted[2:12, 3:12] = 4  # matched
    true[20:30, 2:12] = 5  # missed
    predicted[20:30, 70:80] = 6  # extra
    true[2:12, 20:40] = 7
    predicted[2:12, 20:30], predicted[2:12, 31:40] = 8, 9  # split
    true[20:30, 20:30], true[20:30, 30:40] = 10, 11
    predicted[20:30, 20:40] = 12  # merged
    found = match_objects(predicted, true)

    def kinds(colours: np.ndarray) -> list[str]:
        return [next(name for name, colour in COLOURS.items() if tuple(row) == colour) for row in colours.tolist()]

    assert kinds(colours_of_true(found)) == ["matched", "missed", "split", "merged", "merged"]
    assert kinds(colours_of_predicted(found)) == ["matched", "extra", "split", "split", "merged"]
    drawn = outlined(np.zeros((40, 90, 3), np.uint8), true, found.true_number_T, colours_of_true(found))
    assert drawn.shape == (320, 720, 3)
    assert drawn[16, 40].tolist() == list(COLOURS["matched"])
    assert drawn[60, 60].tolist() == [0, 0, 0]
    assert not drawn[18 * 8].any()


def test_a_pass_that_was_interrupted_goes_on_to_the_same_report(model: Model, data: Path) -> None:
    name = THREE.names[1]
    work = prepare(model, data, Values(), objects=[name])
    samples = {one.name: one for one in work.dataset.splits[work.split]}
    whole = Tally.zero(len(work.match.classes))
    for one in work.counted():
        whole.add(*one)
    begun = Tally.zero(len(work.match.classes))
    begun.add(*next(iter(work.counted())))
    again = tally_of(tally_bytes(begun), samples, work.plan)
    for one in work.counted({row.name for row in again.rows}):
        again.add(*one)
    expected, found = (work.report(tally).to_json() for tally in (whole, again))
    assert found["objects"] == expected["objects"]
    first, other = whole.rows[0].objects, tally_of(tally_bytes(whole), samples, work.plan).rows[0].objects
    assert first is not None
    assert other is not None
    for field in fields(MatchedObjects):
        assert np.array_equal(getattr(first.matched[name], field.name), getattr(other.matched[name], field.name))
    assert work.plan is not None
    with pytest.raises(DataError, match="objects of"):
        tally_of(tally_bytes(whole), samples, replace(work.plan, ids={"other": 0}))
    with pytest.raises(DataError):
        tally_of(tally_bytes(whole), samples)
