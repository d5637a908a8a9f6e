"""Splits that a folder, its lists or what belongs together says; and what each folder and file is for."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.datasets.dataset_toml import DatasetSettings
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.splits import divide
from pixelwise.doctor.check import check
from pixelwise.doctor.fix import Decisions
from pixelwise.errors import DatasetError, UsageError
from pixelwise.records import Dataset, Sample


def photo(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)).save(path)


def mask(path: Path, ids: tuple[int, ...] = (0, 1, 2)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.repeat(np.resize(np.array(ids, np.uint8), (4, 32)), 6, axis=0)).save(path)


def pairs(root: Path, names: Iterable[str], images: str = "images/{}.png", masks: str = "masks/{}.png") -> Path:
    for i, name in enumerate(names):
        photo(root / images.format(name), i)
        mask(root / masks.format(name))
    return root


def sizes(dataset: Dataset) -> dict[str, int]:
    return {split: len(samples) for split, samples in dataset.splits.items()}


def notes(dataset: Dataset) -> str:
    return " ".join(dataset.notes)


# ── splits of folders ────────────────────────────────────────────────────────────────────────────────────────────────

SIDE_BY_SIDE = {
    "Roboflow": ("{s}/{n}.jpg", "{s}/{n}_mask.png", ("train", "valid", "test")),
    "nested": ("data/{s}/tiles/{n}.png", "data/{s}/tiles/{n}_label.png", ("training", "validation", "testing")),
    "a folder a pair": ("{s}/{n}/image.png", "{s}/{n}/mask.png", ("train", "val", "test")),
    "dev": ("{s}/{n}.png", "{s}/{n}_L.png", ("train", "dev", "test")),
    "below images and masks": ("images/{s}/{n}.png", "masks/{s}/{n}.png", ("training", "validation", "testing")),
    "deeper below": ("images/town/{s}/{n}.png", "masks/town/{s}/{n}.png", ("train", "val", "test")),
    "native, other words": ("{s}/images/{n}.png", "{s}/masks/{n}.png", ("train", "valid", "testing")),
    "capitals": ("{s}/Images/{n}.png", "{s}/Masks/{n}.png", ("Train", "Valid", "Test")),
    "among other folders": ("{s}/{n}.png", "{s}/{n}_mask.png", ("train", "val", "test")),
}


@pytest.mark.parametrize("kind", SIDE_BY_SIDE)
def test_folders_of_splits_are_kept_at_any_depth(kind: str, tmp_path: Path) -> None:
    image, label, words = SIDE_BY_SIDE[kind]
    for word, count in zip(words, (5, 2, 3), strict=True):
        names = [f"{word[0]}{i}" for i in range(count)]
        pairs(tmp_path, names, image.replace("{s}", word).replace("{n}", "{}"),
              label.replace("{s}", word).replace("{n}", "{}"))  # fmt: skip
    if kind == "among other folders":
        for other in ("previews", "docs", "extra", "old"):
            photo(tmp_path / other / "x.png")
    dataset = open_dataset(tmp_path)
    assert sizes(dataset) == {"train": 5, "val": 2, "test": 3}
    for split, first in zip(("train", "val", "test"), words, strict=True):
        assert all(first in sample.name for sample in dataset.splits[split])


def test_one_film_that_is_called_train_is_no_split(tmp_path: Path) -> None:
    for film in ("bear", "train", "dog"):
        pairs(tmp_path, [f"{film}{i}" for i in range(3)], film + "/{}.png", film + "/{}_mask.png")
    assert sum(sizes(open_dataset(tmp_path)).values()) == 9


# ── lists of splits ──────────────────────────────────────────────────────────────────────────────────────────────────

NAMES = [f"p{i}" for i in (11, 4, 37, 20, 8, 51, 63, 72, 90, 15)]
LISTS = {
    "splits/{}.txt": {"train": "\n".join(NAMES[:6]), "val": "\n".join(NAMES[6:8]), "test": "\n".join(NAMES[8:])},
    "{}_list.txt": {
        "train": "\n".join(f"/data/images/{n}.png /data/masks/{n}.png" for n in NAMES[:6]),
        "valid": "\n".join(f"images\\{n}.png" for n in NAMES[6:8]),
        "test": "\n".join(f"./{n}.jpg" for n in NAMES[8:]),
    },
    "ImageSets/Segmentation/{}.txt": {
        "train": "\n".join(NAMES[:6]), "val": "\n".join(NAMES[6:8]), "test": "\n".join(NAMES[8:])
    },
    "split.csv": {
        "": "filename,split\n" + "".join(
            f"{n}.png,{'Train' if i < 6 else 'Valid' if i < 8 else 'Test'}\n" for i, n in enumerate(NAMES)
        )
    },
    "columns.csv": {
        "": ",train,val,test\n" + "".join(
            f"{i},{a},{b},{c}\n"
            for i, (a, b, c) in enumerate(itertools.zip_longest(NAMES[:6], NAMES[6:8], NAMES[8:], fillvalue=""))
        )
    },
    "splits.json": {"": json.dumps({"train": NAMES[:6], "val": NAMES[6:8], "test": NAMES[8:]})},
}  # fmt: skip


@pytest.mark.parametrize("kind", LISTS)
def test_lists_beside_the_data_say_what_is_in_which_split(kind: str, tmp_path: Path) -> None:
    pairs(tmp_path, NAMES)
    for split, text in LISTS[kind].items():
        path = tmp_path / kind.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    dataset = open_dataset(tmp_path)
    assert sizes(dataset) == {"train": 6, "val": 2, "test": 2}
    assert {sample.image.stem for sample in dataset.splits["val"]} == set(NAMES[6:8])
    assert kind.partition("{")[0] in notes(dataset)


def test_a_fold_is_val_and_said_and_what_no_list_names_is_left_out(tmp_path: Path) -> None:
    pairs(tmp_path / "folds", NAMES)
    (tmp_path / "folds/folds.csv").write_text("id;fold\n" + "".join(f"{n};{i % 5}\n" for i, n in enumerate(NAMES)))
    dataset = open_dataset(tmp_path / "folds")
    assert {sample.image.stem for sample in dataset.splits["val"]} == {NAMES[0], NAMES[5]}
    assert "fold 0 of 0 to 4 is val" in notes(dataset)
    pairs(tmp_path / "some", NAMES)
    (tmp_path / "some/train.txt").write_text("\n".join(NAMES[:5]))
    (tmp_path / "some/test.txt").write_text("\n".join(NAMES[5:8]))
    dataset = open_dataset(tmp_path / "some")
    assert (sizes(dataset)["test"], sizes(dataset)["train"] + sizes(dataset)["val"]) == (3, 5)
    assert "Left out, as test.txt, train.txt does not name them: 2 pairs" in notes(dataset)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("val.txt", "zebra\nlion\n"),
        ("split.csv", "file,split\nx,train\ny,val\n"),
        ("splits.json", '{"train": 3, "val": '),
    ],
)
def test_a_list_of_other_names_is_not_followed(name: str, text: str, tmp_path: Path) -> None:
    pairs(tmp_path, NAMES)
    (tmp_path / name).write_text(text)
    dataset = open_dataset(tmp_path)
    assert sizes(dataset) == {"train": 8, "val": 2}
    assert ("Not used" in notes(dataset)) == (not name.endswith("json"))


# ── what belongs together ────────────────────────────────────────────────────────────────────────────────────────────

FILMS = ("bear", "dog", "cow", "bus", "surf")
TOGETHER = {
    "slices of patients": ([f"patient{p:02}_slice{s:03}" for p in range(6) for s in range(5)], "patient{:02}", 6),
    "frames of clips": ([f"clip{p}_frame_{s:04}" for p in range(5) for s in range(4)], "clip{}", 5),
    "positions in an image": (
        [f"P{p:04}_{y}_{x}" for p in range(5) for y in (0, 512) for x in (0, 512, 1024)], "P{:04}", 5),
    "rows and columns": ([f"img{p}_r{y}_c{x}" for p in range(5) for y in range(3) for x in range(3)], "img{}_", 5),
    "patches of an image": ([f"scan{p}_{s:04}" for p in range(6) for s in range(1, 5)], "scan{}_", 6),
    "numbered series": ([f"000{p}TP_{s:06}" for p in range(5) for s in range(390, 540, 30)], "000{}TP", 5),
    "two series": ([f"K{p}_{s:03}" for p in range(2) for s in range(1, 7)], "K{}_", 2),
    "folders of patients": ([f"patient_{p}/t{7 * p * s % 31 + s}x" for p in range(6) for s in range(4)], "_{}/", 6),
    "films in folders": ([f"{film}/{s:05}" for film in FILMS for s in range(4)], "{}", 5),
    "pages": ([f"book{p}_p{s}" for p in range(6) for s in range(1, 5)], "book{}_", 6),
}  # fmt: skip


@pytest.mark.parametrize("kind", TOGETHER)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_belongs_together_is_never_divided(kind: str, seed: int, tmp_path: Path) -> None:
    names, head, count = TOGETHER[kind]
    dataset = open_dataset(pairs(tmp_path, names), seed=seed)
    heads = [FILMS[i] if head == "{}" else head.format(i) for i in range(count)]
    where = {head: {split for split, part in dataset.splits.items() for s in part if head in s.name} for head in heads}
    assert all(len(splits) == 1 for splits in where.values()), where
    assert set().union(*where.values()) == {"train", "val"}
    assert "Groups stay whole" in notes(dataset)
    (tmp_path / "dataset.toml").write_text("groups = false\n")
    assert "Groups stay whole" not in notes(open_dataset(tmp_path))


@pytest.mark.parametrize(
    "names",
    [
        [f"photo_{i:04}" for i in range(20)],
        [f"{i}" for i in range(20)],
        [f"2011_{i * i:06}" for i in range(3, 13)] + [f"2008_{i * i * 7 % 991:06}" for i in range(3, 13)],
        [f"{breed}_{i}" for breed in ("beagle", "pug", "boxer") for i in range(1, 8)],
        [f"{i * 7919 % 10**8:08}_15" for i in range(1, 21)],
        [f"{i * 2654435761 % 2**32:08x}" for i in range(1, 21)],
    ],
    ids=["one series", "numbers", "years", "breeds", "numbers of sheets", "hashes"],
)
def test_names_that_prove_nothing_make_no_groups(names: list[str], tmp_path: Path) -> None:
    dataset = open_dataset(pairs(tmp_path, names))
    assert "Groups" not in notes(dataset)
    assert 1 <= sizes(dataset)["val"] <= -(-len(names) // 5)


def test_a_regular_expression_says_what_belongs_together(tmp_path: Path) -> None:
    pairs(tmp_path, [f"{i}-{site}" for i in range(5) for site in ("rome", "oslo", "bern")])
    (tmp_path / "dataset.toml").write_text('groups = "rome|oslo|bern"\n')
    dataset = open_dataset(tmp_path)
    assert len({sample.name.rpartition("-")[2] for sample in dataset.splits["val"]}) == 1
    for wrong in ("(", "(a+)+$", ".*.*.*x", "(?P<n>a)(?P=n)", "x" * 300):
        (tmp_path / "dataset.toml").write_text(f'groups = "{wrong}"\n')
        with pytest.raises(DatasetError, match="not a regular expression"):
            open_dataset(tmp_path)
    (tmp_path / "dataset.toml").write_text("groups = 3\n")
    with pytest.raises(DatasetError, match="true, false or a regular expression"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 12, 40, 100])
def test_val_of_few_pairs_is_its_share_rounded_and_never_nothing(count: int, tmp_path: Path) -> None:
    names = [f"{i * 2654435761 % 2**32:08x}" for i in range(1, count + 1)]
    pairs(tmp_path, names)
    for seed in range(6):
        val = sizes(open_dataset(tmp_path, seed=seed))["val"]
        share = max((2 * count + 5) // 10, 1) if count < 50 else -(-count // 5)
        assert val == share if count < 50 else 0.7 * share <= val <= share


def test_a_pair_stays_where_it_is_when_others_are_added(tmp_path: Path) -> None:
    names = [f"{i * 2654435761 % 2**32:08x}" for i in range(1, 121)]
    before = open_dataset(pairs(tmp_path, names[:100]))
    after = open_dataset(pairs(tmp_path, names))
    was, now = ({s.name for s in dataset.splits["val"]} for dataset in (before, after))
    moved = (was ^ now) & {s.name for part in before.splits.values() for s in part}
    assert len(moved) <= 4


# ── what each folder and file is for ─────────────────────────────────────────────────────────────────────────────────


def heights(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(3).integers(0, 255, (24, 32), np.uint8)).save(path)


def unread(path: Path) -> None:
    """An image of a kind that nothing here reads: a raw photo of a camera."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"II*\0\x08\0\0\0CR\2\0" + bytes(64))


NOT_PROMOTED = {
    "heights in one folder": ("town/{}_rgb.cr2", "town/{}_seg.png", "town/{}_dem.png"),
    "heights in a folder": ("rgb/{}.cr2", "labels/{}.png", "dem/{}.png"),
    "previews": ("photos/{}.nef", "masks/{}.png", "previews/{}.png"),
    "overlays": ("a/{}.nef", "a/{}_mask.png", "a/{}_overlay.png"),
    "a folder that says nothing": ("one/{}.nef", "masks/{}.png", "two/{}.png"),
    "in splits": ("train/rgb/{}.cr2", "train/gt/{}.png", "train/depth/{}.png"),
}


@pytest.mark.parametrize("kind", NOT_PROMOTED)
def test_what_is_left_beside_unreadable_photos_is_never_the_photo(kind: str, tmp_path: Path) -> None:
    image, label, other = NOT_PROMOTED[kind]
    for i in range(4):
        unread(tmp_path / image.format(i))
        mask(tmp_path / label.format(i))
        heights(tmp_path / other.format(i))
    report = check(tmp_path)
    assert report.pairs == 0
    if kind != "a folder that says nothing":
        assert "unread-images" in {problem.kind for problem in report.findings.errors}


@pytest.mark.parametrize("other", ["dem/{}.png", "overlay/{}.png", "preview/{}.png", "depth_maps/{}.png"])
def test_readable_photos_are_paired_and_the_rest_is_named(other: str, tmp_path: Path) -> None:
    for i in range(4):
        photo(tmp_path / f"rgb/{i}.png", i)
        mask(tmp_path / f"labels/{i}.png")
        heights(tmp_path / other.format(i))
    report = check(tmp_path)
    assert report.pairs == 4
    assert "images in rgb/, masks in labels/" in " ".join(report.notes)
    assert other.partition("/")[0] + "/" in " ".join(report.notes)


def stacks(root: Path) -> Path:
    for i in range(5):
        photo(root / f"stack1/raw/{i:02}.png", i)
        photo(root / f"stack2/raw/{i:02}.png", i)
        mask(root / f"stack1/labels/labels{i:08}.png")
        mask(root / f"stack1/membranes/{i:02}.png", (0, 1))
        mask(root / f"stack1/mitochondria/{i:02}.png", (0, 3, 7, 9))
    return root


def test_every_folder_that_could_be_masks_is_offered_and_the_rest_told(tmp_path: Path) -> None:
    report = check(stacks(tmp_path))
    (offer,) = [problem for problem in report.findings.problems if problem.kind == "other-masks"]
    assert "--masks labels or --masks membranes or --masks mitochondria" in offer.remedy
    assert "stack2/raw/" in " ".join(report.notes)


@pytest.mark.parametrize(("word", "values"), [("membranes", 2), ("mitochondria", 4), ("labels", 3), ("membr", 2)])
def test_masks_says_which_folder_is_meant(word: str, values: int, tmp_path: Path) -> None:
    report = check(stacks(tmp_path), decisions=Decisions(masks=word))
    assert len(report.classes) == values
    assert f"masks in stack1/{word}" in " ".join(report.notes)


@pytest.mark.parametrize(("word", "said"), [("trees", "no folder's name"), ("raw", "holds the images")])
def test_masks_that_match_nothing_are_an_error_with_the_choices(word: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="labels, membranes, mitochondria") as caught:
        check(stacks(tmp_path), decisions=Decisions(masks=word))
    assert said in str(caught.value)


def test_masks_chooses_a_folder_beside_native_ones(tmp_path: Path) -> None:
    for split in ("train", "val"):
        pairs(tmp_path / split, [f"{split}{i}" for i in range(3)])
        for i in range(3):
            mask(tmp_path / split / f"instances/{split}{i}.png", (0, 5, 6, 7, 8))
    report = check(tmp_path)
    assert "train/instances/ (3 files), val/instances/ (3 files)" in " ".join(report.notes)
    assert len(check(tmp_path, decisions=Decisions(masks="instances")).classes) == 5


def test_classes_are_read_before_object_numbers(tmp_path: Path) -> None:
    for i in range(4):
        photo(tmp_path / f"images/{i}.png", i)
        mask(tmp_path / f"semantic/{i}.png")
        mask(tmp_path / f"instance/{i}.png", (0, 5, 6, 7))
    assert "masks in semantic/" in " ".join(check(tmp_path).notes)


def test_masks_that_match_nothing_in_a_native_folder(tmp_path: Path) -> None:
    pairs(tmp_path, [f"{i}" for i in range(4)])
    with pytest.raises(UsageError, match="There are: masks"):
        check(tmp_path, decisions=Decisions(masks="lesion"))


@pytest.mark.parametrize(("image", "label"), [("bmp", "png"), ("png", "bmp"), ("jpg", "png"), ("tif", "gif")])
def test_one_name_and_two_kinds_in_one_folder(image: str, label: str, tmp_path: Path) -> None:
    for i in range(6):
        photo(tmp_path / f"Dataset 1/{i:03}.{image}", i)
        mask(tmp_path / f"Dataset 1/{i:03}.{label}")
    dataset = open_dataset(tmp_path)
    samples = [sample for part in dataset.splits.values() for sample in part]
    assert {(s.image.suffix, s.mask.suffix) for s in samples if s.mask} == {(f".{image}", f".{label}")}
    assert len(samples) == 6


def test_a_dark_photograph_is_no_mask(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(4):
        for name, picture in (
            ("a", rng.poisson(6, (64, 64)).astype(np.uint8)),
            ("b", np.kron(rng.integers(0, 4, (4, 4)), np.ones((16, 16))).astype(np.uint8)),
        ):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / name / f"{i}.png")
    assert "images in a/, masks in b/" in notes(open_dataset(tmp_path))


def test_drawings_beside_masks_are_mentioned(tmp_path: Path) -> None:
    pairs(tmp_path, [f"{i}" for i in range(4)])
    for i in range(4):
        (tmp_path / f"masks/{i}.xml").write_text("<a/>")
    assert "4 annotation files in masks/" in notes(open_dataset(tmp_path))


# ── which mask belongs to which image ────────────────────────────────────────────────────────────────────────────────

PADDED = {
    "numbers": ("images/{}.png", "masks/{:03}.png"),
    "numbers, some of them alike": ("images/{}.png", "masks/{:02}.png"),
    "numbers behind words": ("images/img_{}.png", "masks/mask_{:05}.png"),
    "behind more than words": ("images/frame{}.png", "masks/frame{:04}_label.png"),
    "in front": ("images/{}_photo.png", "masks/{:03}_truth.png"),
    "folders on one side": ("images/day{0}/p{0}x.png", "masks/p{}x.png"),
    "beginnings": ("images/{:03}.png", "masks/segmentation_of_{:03}.png"),
}


@pytest.mark.parametrize("kind", PADDED)
def test_names_pair_with_other_zeros_beginnings_and_folders(kind: str, tmp_path: Path) -> None:
    image, label = PADDED[kind]
    for i in range(3, 15):
        photo(tmp_path / image.format(i), i)
        mask(tmp_path / label.format(i), (0, i))
    dataset = open_dataset(tmp_path)
    samples = [sample for part in dataset.splits.values() for sample in part]
    assert len(samples) == 12
    for sample in samples:
        assert sample.mask is not None
        (number,) = set(re.findall(r"[1-9]\d*", sample.image.stem))
        assert np.asarray(Image.open(sample.mask)).max() == int(number)


def test_one_mask_is_never_given_to_two_images(tmp_path: Path) -> None:
    for i in range(6):
        photo(tmp_path / f"images/a/{i}.png", i)
        photo(tmp_path / f"images/b/{i}.png", i + 10)
        mask(tmp_path / f"masks/{i}.png")
    dataset = open_dataset(tmp_path)
    samples = [sample for part in dataset.splits.values() for sample in part]
    assert len({sample.mask for sample in samples}) == len(samples)
    assert "mask-missing" in {problem.kind for problem in dataset.problems}


def test_the_nearest_name_is_told(tmp_path: Path) -> None:
    pairs(tmp_path, [f"scene{i}" for i in range(6)])
    (tmp_path / "masks/scene3.png").rename(tmp_path / "masks/scen3.png")
    (problem,) = [p for p in open_dataset(tmp_path).problems if p.kind == "mask-missing"]
    assert "The nearest name is scen3.png" in problem.message


def test_named_splits_are_kept_where_other_files_name_none(tmp_path: Path) -> None:
    """One file for train, one for val, and a third: the third is left out, and said, instead of taking their place."""
    samples = [Sample(name, tmp_path / f"{name}.png", tmp_path / f"{name}.json") for name in "abcdef"]
    listing = Listing(tmp_path, {"train": samples[:3], "val": samples[3:4], "all": samples[4:]})
    divide(listing, DatasetSettings(), 0, 0.2)
    assert {split: len(part) for split, part in listing.splits.items()} == {"train": 3, "val": 1}
    assert "Left out, as nothing names their split: 2 pairs, such as e." in listing.notes
    listing = Listing(tmp_path, {"test": samples[:2], "all": samples[2:]})
    divide(listing, DatasetSettings(), 0, 0.2)
    assert {split: len(part) for split, part in listing.splits.items()} == {"test": 2, "train": 3, "val": 1}
