"""A pass over a split stops and goes on without a difference; the images behind a cell of the confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import THREE, picture
from pixelwise.datasets.class_values import Values
from pixelwise.errors import DataError
from pixelwise.evaluation.compare import PairedTally, compare, prepare_comparison
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.evaluation.evaluation_pass import Tally, prepare
from pixelwise.evaluation.image_views import ComparedImage, any_within
from pixelwise.evaluation.measure_image import measure
from pixelwise.evaluation.per_image import ImageRow, images_with, row_of, worst_first
from pixelwise.evaluation.tally_file import paired_bytes, paired_of, tally_bytes, tally_of
from pixelwise.images.image_files import write_png
from pixelwise.metrics.calibration import THRESHOLDS, above_thresholds, confidence_sums
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import VOID, Sample

IMAGES = 5


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def folder(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test split whose masks are what the model says, moved by some pixels, with some void."""
    root = tmp_path_factory.mktemp("data")
    for part in ("images", "masks"):
        (root / "test" / part).mkdir(parents=True)
    for i in range(IMAGES):
        image = picture(i, 48, 60)
        mask = np.roll(model.predict(image).labels, i, axis=1)
        mask[:4, :9] = VOID
        write_png(root / "test/images" / f"{i}.png", image)
        write_png(root / "test/masks" / f"{i}.png", mask)
    (root / "dataset.toml").write_text(
        "".join(f'[[classes]]\nid = {i}\nname = "{name}"\n' for i, name in enumerate(THREE.names))
    )
    return root


def timeless(report: dict[str, Any]) -> dict[str, Any]:
    return {**report, "milliseconds": 0.0}


@pytest.mark.parametrize("stopped_after", [0, 2, IMAGES])
def test_a_pass_that_was_stopped_and_saved_ends_with_the_same_report(
    model: Model, folder: Path, stopped_after: int
) -> None:
    first = prepare(model, folder, Values(), split="test")
    tally = Tally.zero(len(first.match.classes))
    counted = first.counted()
    for _ in range(stopped_after):
        tally.add(*next(counted))
    again = prepare(model, folder, Values(), split="test")
    samples = {sample.name: sample for sample in again.dataset.splits["test"]}
    restored = tally_of(tally_bytes(tally), samples)
    for one in again.counted({row.name for row in restored.rows}):
        restored.add(*one)
    whole = evaluate(model, folder, split="test")
    assert timeless(again.report(restored).to_json()) == timeless(whole.to_json())


def test_a_comparison_that_was_stopped_and_saved_ends_with_the_same_result(model: Model, folder: Path) -> None:
    work = prepare_comparison([model, model], folder, Values(), split="test")
    tally = PairedTally.empty()
    counted = work.counted()
    for _ in range(2):
        tally.add(*next(counted))
    restored = paired_of(paired_bytes(tally))
    for name, found in work.counted(set(restored.names)):
        restored.add(name, found)
    assert work.comparison(restored).to_json() == compare(model, model, folder, split="test").to_json()


def test_counts_of_other_images_or_damaged_ones_are_an_error_in_words(model: Model, folder: Path) -> None:
    tally = Tally.zero(3)
    tally.add(*next(prepare(model, folder, Values(), split="test").counted()))
    whole = tally_bytes(tally)
    with pytest.raises(DataError, match="Evaluate again"):
        tally_of(whole, {})
    with pytest.raises(DataError, match="Evaluate again"):
        tally_of(whole[:200], {})
    with pytest.raises(DataError, match="Evaluate again"):
        paired_of(b"")


def row(name: str, true: list[list[int]], predicted: list[list[int]]) -> ImageRow:
    true_HW, predicted_HW = np.array(true, np.uint8), np.array(predicted, np.uint8)
    sums, _ = measure(predicted_HW, true_HW, np.zeros((3, 2, 2), np.float32), 3)
    return row_of(Sample(name, Path(name), None), (2, 2), sums)


def test_the_images_with_most_pixels_of_a_cell_come_first() -> None:
    rows = [
        row("few", [[0, 0], [1, VOID]], [[0, 1], [1, 1]]),
        row("none", [[0, 0], [2, 2]], [[0, 0], [2, 2]]),
        row("most", [[0, 0], [0, 1]], [[1, 1], [2, 1]]),
    ]
    assert images_with(rows, 0, 1) == [(2, 2), (0, 1)]
    assert images_with(rows, 0, 2) == [(2, 1)]
    assert images_with(rows, 0, 0) == [(1, 2), (0, 1)]  # on the diagonal: what is right
    assert images_with(rows, 1, 0) == []
    assert worst_first(rows) == [2, 0, 1]


def test_an_image_without_labelled_pixels_is_not_the_worst() -> None:
    void = row("void", [[VOID, VOID], [VOID, VOID]], [[0, 0], [0, 0]])
    assert worst_first([void, row("one", [[0, 0], [0, 0]], [[0, 0], [0, 0]])]) == [1, 0]


def test_what_a_threshold_leaves_is_counted_from_the_confidences() -> None:
    confidence = np.array([0.2, 0.4, 0.6, 0.8, 0.995])
    right = np.array([False, False, True, True, True])
    shares = dict(zip(THRESHOLDS, above_thresholds(confidence_sums(confidence, right)).tolist(), strict=True))
    assert shares[0.0] == [1.0, pytest.approx(0.4), 0.0]
    assert shares[0.3] == [pytest.approx(0.8), pytest.approx(0.25), pytest.approx(0.5)]
    assert shares[0.5] == [pytest.approx(0.6), 0.0, 1.0]
    assert np.isnan(above_thresholds(np.zeros((3, 1500)))).all()


def test_a_view_marks_exactly_the_pixels_of_its_cell() -> None:
    true = np.zeros((40, 60), np.uint8)
    true[0, 0] = VOID
    predicted = true.copy()
    predicted[10, 20] = predicted[0, 0] = 1
    predicted[11, 21] = 2
    compared = ComparedImage(np.full((40, 60, 3), 90, np.uint8), true, predicted, THREE)
    assert np.argwhere(compared.marked("cell", (0, 1))).tolist() == [[10, 20]]
    assert np.argwhere(compared.marked("errors", (0, 0))).tolist() == [[10, 20], [11, 21]]
    view = compared.view("cell", 60, (0, 1))
    assert view.shape == (40, 60, 3)
    red = view[:, :, 0].astype(int) - view[:, :, 1] > 100
    assert np.argwhere(red).tolist() == [[10, 20]]


def test_a_single_marked_pixel_survives_shrinking() -> None:
    marked = np.zeros((300, 400), np.bool_)
    marked[151, 222] = True
    small = any_within(marked, (30, 40))
    assert np.argwhere(small).tolist() == [[15, 22]]
