"""The verb check: messy masks are understood, damage is told, reports can be read by people and machines."""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

import planted
from pixelwise.datasets.masks.mask_encoding import number_kind
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.doctor.check import check
from pixelwise.doctor.check_page import page_of, write_check_page
from pixelwise.doctor.findings import find_problems
from pixelwise.doctor.fix import Decisions
from pixelwise.doctor.label_errors import find_suspects
from pixelwise.errors import DatasetError, OutputError, UsageError
from pixelwise.images.image_files import read_mask_ids, write_png
from pixelwise.records import ClassList

COLOURS = np.array([[10, 200, 190], [128, 64, 128], [0, 0, 142], [107, 142, 35], [220, 20, 60]], np.uint8)
SIZE = (160, 200)


def shapes(seed: int) -> NDArray[np.uint8]:
    """Large overlapping discs and boxes of classes 0 … 4."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(SIZE, np.uint8)
    for i in range(9):
        x, y, r = int(rng.integers(0, SIZE[1])), int(rng.integers(0, SIZE[0])), int(rng.integers(15, 45))
        if i % 2:
            cv2.circle(mask, (x, y), r, 1 + i % 4, -1)
        else:
            cv2.rectangle(mask, (x, y), (x + r, y + 2 * r), 1 + i % 4, -1)
    return mask


def messy(
    root: Path, paint: str, quality: int | None = None, scale: float = 1.0, colours: NDArray[np.uint8] = COLOURS
) -> list[NDArray[np.uint8]]:
    """16 pairs whose masks are painted as people paint them. Returns the true classes."""
    truths = []
    for i in range(16):
        truth = shapes(i)
        truths.append(truth)
        picture = colours[truth] if paint == "colours" else (truth * 60).astype(np.uint8)
        if scale != 1.0:
            size = round(SIZE[1] * scale), round(SIZE[0] * scale)
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        elif quality is None:
            picture = planted.smoothed(picture)
        for part in ("images", "masks"):
            (root / part).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 256, (*SIZE, 3), np.uint8)
        write_png(root / f"images/{i:02}.png", noise)
        if quality is None:
            Image.fromarray(picture).save(root / f"masks/{i:02}.png")
        else:
            Image.fromarray(picture).save(root / f"masks/{i:02}.jpg", quality=quality)
    return truths


@pytest.mark.parametrize("paint", ["colours", "grey"])
@pytest.mark.parametrize(
    ("quality", "scale", "kind"),
    [
        (None, 1.0, "blended-masks"),
        (None, 0.5, "size-mismatch"),
        (None, 1.6, "size-mismatch"),
        (95, 1.0, "jpeg-masks"),
        (75, 1.0, "jpeg-masks"),
    ],
)
def test_messy_masks_are_understood_and_mended(
    tmp_path: Path, paint: str, quality: int | None, scale: float, kind: str
) -> None:
    truths = messy(tmp_path / "data", paint, quality, scale)
    report = check(tmp_path / "data", fix=tmp_path / "out")
    assert kind in {problem.kind for problem in report.findings.problems}
    assert report.sound
    (coding,) = report.codings
    assert coding.book.coloured == (paint == "colours")
    assert len(coding.book.codes) == 5, coding.book.codes
    assert coding.book.unfit < 0.15
    mended = open_dataset(tmp_path / "out")
    assert find_problems(mended).errors == ()
    assert len(mended.classes) == 5
    samples = {sample.image.stem: sample for part in mended.splits.values() for sample in part}
    found = [read_sample_mask(samples[f"{i:02}"], mended.mask_ids, 5) for i in range(16)]
    confusion = np.zeros((5, 5), np.int64)
    for truth, labels in zip(truths, found, strict=True):
        np.add.at(confusion, (truth, labels), 1)
    assert sorted(confusion.argmax(axis=1).tolist()) == [0, 1, 2, 3, 4]
    assert confusion.max(axis=1).sum() / confusion.sum() > 0.97


def test_ids_in_a_jpeg_are_lost_and_said_to_be(tmp_path: Path) -> None:
    for i in range(6):
        for part in ("images", "masks"):
            (tmp_path / part).mkdir(exist_ok=True)
        write_png(tmp_path / f"images/{i}.png", np.random.default_rng(i).integers(0, 256, (*SIZE, 3), np.uint8))
        Image.fromarray(shapes(i)).save(tmp_path / f"masks/{i}.jpg", quality=90)
    assert "lost-masks" in {problem.kind for problem in check(tmp_path).findings.errors}
    with pytest.raises(DatasetError, match="lost"):
        check(tmp_path, fix=tmp_path.parent / "never")


@pytest.mark.parametrize(
    ("codes", "kind", "step", "void"),
    [
        ((0, 1, 2), "ids", 1, None),
        ((0, 1, 2, 255), "ids", 1, 255),
        ((0, 255), "binary", 1, None),
        ((0, 40, 80, 120), "steps", 40, None),
        ((0, 40, 80, 255), "steps", 40, 255),
        ((0, 127, 255), "steps", 127, None),
        ((0, 85, 170, 255), "steps", 85, None),
        ((1, 2, 3), "one-based", 1, None),
        ((0, 2, 3, 255), "gaps", 1, 255),
        ((7,), "one-value", 1, None),
    ],
)
def test_numbers_are_recognised(codes: tuple[int, ...], kind: str, step: int, void: int | None) -> None:
    assert number_kind(codes) == (kind, step, void)


def test_published_colour_maps_give_their_names(tmp_path: Path) -> None:
    colours = COLOURS.copy()
    colours[0] = 0
    messy(tmp_path, "colours", colours=colours)
    names = check(tmp_path).classes.names
    assert set(names) == {"road", "car", "vegetation", "person"}  # black is Cityscapes' void


# ── Bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return planted.sound(tmp_path / "data")


def test_masks_of_a_hundred_thousand_objects(sound: Path) -> None:
    for path, image in zip(planted.masks(sound)[:4], planted.images(sound)[:4], strict=True):
        Image.fromarray(np.arange(100_000, dtype=np.int32).reshape(250, 400)).save(path.with_suffix(".tif"))
        path.unlink()
        write_png(image, np.random.default_rng(1).integers(0, 256, (250, 400, 3), np.uint8))
    report = check(sound)
    assert {"unknown-codes"} == {problem.kind for problem in report.findings.errors}
    json.dumps(report.to_json())


def test_links_in_a_loop_are_not_followed(sound: Path) -> None:
    (sound / "train/masks/round").symlink_to(sound / "train/masks")
    (sound / "train/masks/self.png").symlink_to(sound / "train/masks/self.png")
    kinds = {problem.kind for problem in check(sound).findings.problems}
    assert {"linked-folder", "unreadable"} <= kinds


def test_names_that_are_no_utf8(sound: Path, tmp_path: Path) -> None:
    for part in ("images", "masks"):
        path = sorted((sound / "train" / part).iterdir())[0]
        path.rename(path.with_name(os.fsdecode(b"caf\xe9.png")))
    report = check(sound, fix=tmp_path / "out")
    assert report.sound
    json.dumps(report.to_json()).encode("utf-8")
    write_check_page(report, tmp_path / "page.html")
    Console(file=(tmp_path / "text").open("w", encoding="utf-8")).print(report)
    assert check(tmp_path / "out").sound


def test_a_mask_fifty_thousand_pixels_wide(sound: Path) -> None:
    Image.fromarray(np.zeros((40, 50_000), np.uint8)).save(planted.masks(sound)[0])
    report = check(sound)
    assert [problem.kind for problem in report.findings.errors] == ["size-mismatch"]
    assert "50000×40" in report.findings.errors[0].message


def test_an_image_over_the_limit_is_not_decoded(sound: Path) -> None:
    mask = planted.masks(sound)[0]
    png = bytearray(mask.read_bytes())
    png[16:24] = (50_000).to_bytes(4, "big") * 2  # width and height, as the header says them
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    mask.write_bytes(png)
    assert [problem.kind for problem in check(sound).findings.errors] == ["too-large"]


def test_the_data_may_not_hold_the_copy(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="inside the data"):
        check(sound, fix=sound / "out")
    with pytest.raises(OutputError, match="already exists"):
        check(sound, fix=sound)
    with pytest.raises(UsageError, match="no such folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="left, right, transpose"):
        Decisions(turn="upside down")
    with pytest.raises(UsageError, match="not a mask value"):
        Decisions(void_values=("#12",))


def test_a_stopped_repair_leaves_nothing(sound: Path, tmp_path: Path) -> None:
    def stop(what: str, done: int, _: int) -> None:
        if what == "writing the copy" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(sound, fix=tmp_path / "out", progress=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_decisions_are_heard(sound: Path, tmp_path: Path) -> None:
    planted.FAULTS["0 and 255"][1](sound)
    check(sound, fix=tmp_path / "out", decisions=Decisions(binary_foreground="cell", background="glass"))
    mended = open_dataset(tmp_path / "out")
    assert mended.classes.names == ("glass", "cell")
    assert set(np.unique(read_mask_ids(next((tmp_path / "out/train/masks").iterdir())))) == {0, 1}


def test_copies_are_dropped_and_groups_divided_on_request(sound: Path, tmp_path: Path) -> None:
    planted.FAULTS["a copy in val"][1](sound)
    check(sound, fix=tmp_path / "one", decisions=Decisions(drop_copies=True))
    assert not check(tmp_path / "one").findings.problems
    shutil.rmtree(sound)
    planted.sound(sound)
    planted.FAULTS["patients in both splits"][1](sound)
    report = check(sound, fix=tmp_path / "two", decisions=Decisions(grouped_split=True))
    assert report.split["val"]
    assert not [p for p in check(tmp_path / "two").findings.problems if p.kind == "groups-across-splits"]


# ── Suspected label errors ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_wrong_label_is_the_first_suspect(sound: Path) -> None:
    oracle = planted.Oracle(sound)
    path = planted.masks(sound)[3]
    mask = np.asarray(read_mask_ids(path), np.uint8).copy()
    mask[20:40, 30:60] = (mask[20:40, 30:60] + 1) % 6
    write_png(path, mask)
    dataset = open_dataset(sound)
    suspects = find_suspects(dataset, {"train": dataset.splits["train"]}, oracle)
    assert suspects
    assert {suspect.sample.mask for suspect in suspects} == {path}
    x, y, width, height = suspects[0].box
    assert x >= 30
    assert y >= 20
    assert x + width <= 60
    assert y + height <= 40
    assert suspects[0].confidence > 0.99
    report = check(sound, model=oracle)
    assert report.suspects == tuple(suspects)
    assert "region&#39;s image" in page_of(report)
    assert report.to_json()["suspects"][0]["box"] == list(suspects[0].box)
    oracle.classes = ClassList(("a", "b"), ((0, 0, 1), (0, 1, 0)))
    with pytest.raises(UsageError, match="classes"):
        find_suspects(dataset, {"train": dataset.splits["train"]}, oracle)


# ── Reports ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Outline(HTMLParser):
    """What an accessible page must have: one title, headings in order, words for pictures, nothing from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.levels: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "img":
            assert values["alt"]
            assert (values["src"] or "").startswith("data:")
        assert (values.get("href") or "data:").startswith(("data:", "#"))
        if tag == "html":
            assert values["lang"] == "en"


def test_the_page_stands_alone(sound: Path) -> None:
    for fault in ("colours", "cut short", "blank"):
        planted.FAULTS[fault][1](sound)
    page = page_of(check(sound))
    outline = Outline()
    outline.feed(page)
    assert "script" not in outline.tags
    assert outline.tags.count("title") == outline.tags.count("h1") == outline.tags.count("main") == 1
    assert outline.tags.count("img") > 0
    assert all(b - a <= 1 for a, b in zip(outline.levels, outline.levels[1:], strict=False))
    assert "prefers-color-scheme: dark" in page
    assert "default-src 'none'" in page
    assert "://" not in re.sub(r"data:image[^\"]*", "", page)


def test_names_cannot_write_html(sound: Path) -> None:
    rows = '[[classes]]\nname = "<script>alert(1)</script>"\n' + "".join(
        f'[[classes]]\nname = "c{i}"\n' for i in range(5)
    )
    (sound / "dataset.toml").write_text(rows)
    assert "<script>" not in page_of(check(sound))


def test_the_json_says_everything(sound: Path) -> None:
    planted.FAULTS["cut short"][1](sound)
    table = json.loads(json.dumps(check(sound).to_json(), allow_nan=False))
    assert table["sound"] is False
    assert table["counts"]["truncated"] == 1
    assert sum(row["pixel_share"] for row in table["classes"]) == pytest.approx(1)
    assert table["splits"]["train"]["pairs"] == planted.TRAIN - 1


def test_colours_that_no_class_has_are_told(tmp_path: Path) -> None:
    messy(tmp_path, "colours")
    rows = "".join(f'[[classes]]\nname = "c{i}"\ncolour = {COLOURS[i].tolist()}\n' for i in range(4))
    (tmp_path / "dataset.toml").write_text(rows)
    problems = {problem.kind: problem for problem in check(tmp_path).findings.errors}
    assert "#dc143c" in problems["undeclared-colours"].message
    (tmp_path / "dataset.toml").write_text(rows + f'[[classes]]\nname = "c4"\ncolour = {COLOURS[4].tolist()}\n')
    report = check(tmp_path, fix=tmp_path.parent / "mended")
    assert "undeclared-colours" not in {problem.kind for problem in report.findings.errors}
    assert open_dataset(tmp_path.parent / "mended").classes.names == ("c0", "c1", "c2", "c3", "c4")


def test_void_by_convention_can_be_a_class(tmp_path: Path) -> None:
    root = planted.sound(tmp_path / "data")
    planted.recode(0, 1, 2, 3, 4, 255)(root)
    assert check(root).classes.names[-1] == "class 4"
    check(root, fix=tmp_path / "out", decisions=Decisions(class_values=("255",)))
    assert open_dataset(tmp_path / "out").classes.names[-1] == "class 255"
