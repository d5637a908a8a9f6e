"""The report: what one pass counts, the page, the CSV, and real street scenes."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from conftest import THREE, blobs, picture
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.evaluation.evaluate import EvaluationReport, evaluate
from pixelwise.evaluation.measure_image import Sums, measure
from pixelwise.evaluation.per_image import plain, sequence_of, to_csv
from pixelwise.images.image_files import read_mask, write_png
from pixelwise.metrics.confusion import count_pairs
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import VOID

CAMVID = Path(__file__).parents[2].parent / "shared" / "data" / "camvid"


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Path:
    """Twelve images of two films; the masks are the model's labels with blobs of other classes."""
    root = tmp_path_factory.mktemp("films")
    for part in ("images", "masks"):
        (root / "val" / part).mkdir(parents=True)
    for i in range(12):
        image = picture(i, 70 + i, 90)
        labels = model.predict(image).labels
        mask = np.where(blobs(i, 4, *labels.shape) == 0, blobs(i + 50, 3, *labels.shape), labels).astype(np.uint8)
        mask[:4, :9] = VOID
        name = f"{'east' if i % 2 else 'west'}_{i:04d}.png"
        write_png(root / "val" / "images" / name, image)
        write_png(root / "val" / "masks" / name, mask)
    (root / "dataset.toml").write_text(
        "".join(f'[[classes]]\nid = {i}\nname = "{n}"\n' for i, n in enumerate(THREE.names))
    )
    return root


@pytest.fixture(scope="module")
def report(model: Model, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[EvaluationReport, str, str]:
    out = tmp_path_factory.mktemp("out")
    found = evaluate(model, data, html=out / "report.html", csv=out / "images.csv")
    return found, (out / "report.html").read_text("utf-8"), (out / "images.csv").read_text("utf-8")


def test_the_parts_add_up(report: tuple[EvaluationReport, str, str]) -> None:
    found, _, _ = report
    analysis = found.analysis
    wrong = int(found.matrix.sum() - np.diag(found.matrix).sum())
    assert sum(row["pixels"] for row in analysis.errors()) == wrong
    assert (analysis.sums.matrix == found.matrix).all()
    assert sum(row["pixels"] for row in analysis.sizes()) == found.scores.pixels
    assert analysis.trimap()[-1]["miou"] == pytest.approx(found.miou)
    for name in ("miou", "accuracy", "class_accuracy", "weighted_iou", "mean_dice"):
        low, high = analysis.intervals[name]
        assert low <= getattr(found.scores, name) <= high, name
    assert [row["sequence"] for row in analysis.by_sequence()] == ["east", "west"]
    assert sum(row["images"] for row in analysis.by_sequence()) == 12
    assert {kind: len(rows) for kind, rows in analysis.chosen().items()} == {"worst": 3, "typical": 3, "best": 3}


def test_the_baseline_stands_beside_every_score(report: tuple[EvaluationReport, str, str], data: Path) -> None:
    """Of each image and class it is what measuring the majority class everywhere says."""
    from dataclasses import replace

    from pixelwise.evaluation.per_image import row_of
    from pixelwise.metrics.boundary import boundary_iou
    from pixelwise.metrics.outlines import boundary_f

    found, _, text = report
    analysis = found.analysis
    opened, common = open_dataset(data), analysis.majority
    total = Sums.zero(len(opened.classes))
    for line, row in zip(csv.DictReader(io.StringIO(text)), analysis.rows, strict=True):
        assert row.sample.mask is not None
        true = read_mask(row.sample.mask, opened.mask_ids, 3)
        sums, _ = measure(np.full_like(true, common), true, np.zeros((3, 2, 2), np.float32), 3)
        total.add(sums)
        said = row_of(row.sample, true.shape, sums)
        for name, value in (("accuracy", said.accuracy), ("miou", said.miou), ("boundary_f_3px", said.boundary_f)):
            assert float(line[f"baseline_{name}"]) == pytest.approx(value, abs=1e-6), (row.name, name)
    whole = replace(analysis, sums=total).boundaries()
    for kind, shown in (("iou", boundary_iou(total.bands)), ("f", boundary_f(total.edges))):
        for told, expected, values_C in zip(analysis.boundaries()[kind], whole[kind], shown, strict=True):
            assert told["baseline"] == pytest.approx(expected["mean"])
            np.testing.assert_allclose(list(told["baseline_classes"].values()), values_C)


def test_json_holds_everything_and_no_nan(report: tuple[EvaluationReport, str, str]) -> None:
    value = json.loads(json.dumps(report[0].to_json(), allow_nan=False))
    for part in ("intervals", "boundary", "trimap", "calibration", "errors", "sizes", "sequences", "suspects", "rules"):
        assert part in value, part
    assert len(value["calibration"]["bins"]) == 15


def test_the_csv_has_a_line_an_image(report: tuple[EvaluationReport, str, str]) -> None:
    found, _, text = report
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 12
    assert sum(int(row["labelled_px"]) for row in rows) == found.scores.pixels
    accuracy = sum(float(row["accuracy"]) * int(row["labelled_px"]) for row in rows) / found.scores.pixels
    assert accuracy == pytest.approx(found.accuracy, abs=1e-5)


class Outline(HTMLParser):
    """What a page refers to, and what lacks words for those who do not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.wordless: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.open.append(tag) if tag not in (
            "meta",
            "link",
            "img",
            "line",
            "rect",
            "circle",
            "polyline",
            "br",
        ) else None
        self.ids |= {str(given["id"])} if "id" in given else set()
        for name in ("src", "href"):
            link = given.get(name)
            if link and link.startswith("#"):
                self.links.add(link[1:])
            elif link and not link.startswith("data:"):
                self.outside.append(link)
        if tag == "img" and not given.get("alt"):
            self.wordless.append(tag)
        if tag == "svg" and not given.get("aria-label") and given.get("aria-hidden") != "true":
            self.wordless.append(tag)
        if tag == "th" and not given.get("scope"):
            self.wordless.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_the_page_needs_nothing_else_and_says_everything_in_words(report: tuple[EvaluationReport, str, str]) -> None:
    page = report[1]
    outline = Outline()
    outline.feed(page)
    assert not outline.outside
    assert not outline.wordless
    assert outline.links <= outline.ids
    assert "<script" not in page
    assert "://" not in re.sub(r"data:[^\"]*", "", page)
    assert "prefers-color-scheme: dark" in page
    assert page.count("<img") == 9 * 4 + 3 * min(report[0].analysis.suspects_in_all, 6)
    assert not outline.open, "a tag is left open"


def test_names_cannot_break_the_page(model: Model, tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / "val" / part).mkdir(parents=True)
    name = "<script>alert(1)<img src=x>.png".replace("/", "")
    write_png(tmp_path / "val" / "images" / name, picture(0, 40, 50))
    write_png(tmp_path / "val" / "masks" / name, blobs(0, 3, 40, 50))
    evaluate(model, tmp_path, html=tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_counting_images_apart_or_together_is_the_same() -> None:
    total = Sums.zero(4)
    for i in range(3):
        predicted, true = blobs(i, 4, 40, 50), blobs(i + 9, 4, 40, 50)
        scores = np.random.default_rng(i).normal(size=(4, 10, 12)).astype(np.float32)
        sums, _ = measure(predicted, true, scores, 4, turn=i)
        assert (sums.matrix == count_pairs(predicted, true, 4)).all()
        total.add(sums)
    assert total.matrix.sum() == 3 * 40 * 50
    with pytest.raises(ValueError, match="must agree"):
        measure(predicted, true[:3], scores, 4)
    with pytest.raises(ValueError, match="outside the 3 classes"):
        measure(predicted, true, scores, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (3, 3)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    predicted, true = blobs(0, 3, *size), blobs(1, 3, *size)
    sums, _ = measure(predicted, true, np.zeros((3, 2, 2), np.float32), 3, turn=7)
    assert sums.matrix.sum() == size[0] * size[1]
    empty, _ = measure(predicted, np.full(size, VOID, np.uint8), np.zeros((3, 2, 2), np.float32), 3)
    assert empty.matrix.sum() == 0


def test_two_hundred_classes() -> None:
    predicted, true = blobs(0, 200, 60, 60), blobs(1, 200, 60, 60)
    sums, _ = measure(predicted, true, np.zeros((200, 4, 4), np.float32), 200)
    assert (sums.matrix == count_pairs(predicted, true, 200)).all()


def test_sequences_are_read_from_names() -> None:
    assert sequence_of("val/0016E5_07959") == "0016E5"
    assert sequence_of("Seq05VD_f00120") == "Seq05VD"
    assert sequence_of("aachen/aachen-12") == "aachen"
    assert sequence_of("photo") == "photo"
    assert plain("=1+1") == "'=1+1"
    assert to_csv([], THREE).startswith(b"image,")


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not at ../shared/data/camvid")
def test_street_scenes_against_scikit_learn() -> None:
    """A prediction made of real masks, moved a little: every pixel score is scikit-learn's."""
    metrics = pytest.importorskip("sklearn.metrics")
    dataset = open_dataset(CAMVID)
    total, all_p, all_t = Sums.zero(11), [], []
    for turn, sample in enumerate(dataset.splits["val"][:4]):
        assert sample.mask is not None
        true = read_mask(sample.mask, dataset.mask_ids, 11)
        predicted = np.roll(true, (3, 5), axis=(0, 1))
        predicted[predicted == VOID] = 0
        total.add(measure(predicted, true, np.zeros((11, 8, 8), np.float32), 11, turn=turn)[0])
        all_p.append(predicted[true != VOID])
        all_t.append(true[true != VOID])
    p, t = np.concatenate(all_p), np.concatenate(all_t)
    assert (total.matrix == metrics.confusion_matrix(t, p, labels=range(11))).all()
