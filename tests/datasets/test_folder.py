"""Folders → datasets: layouts, splits, classes, dataset.toml, and what is wrong with names and kinds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import planted
from pixelwise.datasets.default_colours import default_colours, seen_lab, separation
from pixelwise.datasets.formats.camvid import CAMVID
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.errors import DatasetError, UsageError
from pixelwise.images.files import write_whole
from pixelwise.images.image_files import encode_label_png, read_mask, read_mask_ids, write_png
from pixelwise.records import VOID, ClassList, Dataset

CAMVID_FOLDER = Path(__file__).parents[2] / "../shared/data/camvid"
needs_camvid = pytest.mark.skipif(
    not CAMVID_FOLDER.is_dir(), reason="real CamVid is not at ../shared/data/camvid beside the repository"
)


def add_pair(images: Path, masks: Path, stem: str, ids: tuple[int, ...] = (0, 1)) -> None:
    """An 8×6 grey image, and a mask in which the ids take turns."""
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    write_png(images / f"{stem}.png", np.full((6, 8, 3), sum(stem.encode()) % 256, np.uint8))
    write_png(masks / f"{stem}.png", np.resize(np.array(ids, np.uint8), (6, 8)))


def pairs_folder(root: Path, stems: list[str], ids: tuple[int, ...] = (0, 1)) -> Path:
    for stem in stems:
        add_pair(root / "images", root / "masks", stem, ids)
    return root


def stems_of(dataset: Dataset) -> dict[str, list[str]]:
    return {split: [sample.image.stem for sample in samples] for split, samples in dataset.splits.items()}


def kinds(dataset: Dataset) -> list[tuple[str, str]]:
    return [(problem.kind, problem.where) for problem in dataset.problems]


def test_native_splits_are_those_of_the_folder(tmp_path: Path) -> None:
    for split, stems in {"train": "ab", "val": "c", "test": "d"}.items():
        for stem in stems:
            add_pair(tmp_path / split / "images", tmp_path / split / "masks", stem)
    dataset = open_dataset(str(tmp_path))
    assert dataset.layout == "native"
    assert stems_of(dataset) == {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    assert dataset.splits["val"][0].name == "val/images/c"
    assert dataset.problems == ()
    assert dataset.classes.names == ("background", "foreground")
    assert dataset.mask_ids == {0: 0, 1: 1, 255: VOID}


def test_native_without_val_holds_some_of_train_out_and_never_test(tmp_path: Path) -> None:
    for split, stems in {"train": "abcdefgh", "test": "xyz"}.items():
        for stem in stems:
            add_pair(tmp_path / split / "images", tmp_path / split / "masks", stem)
    dataset = open_dataset(tmp_path)
    stems = stems_of(dataset)
    assert stems["test"] == ["x", "y", "z"]
    assert stems["val"]
    assert sorted(stems["train"] + stems["val"]) == list("abcdefgh")
    assert "held out" in dataset.notes[0]


def test_a_folder_with_only_a_test_split_opens(tmp_path: Path) -> None:
    add_pair(tmp_path / "test", tmp_path / "testannot", "a", (0, 11))
    dataset = open_dataset(tmp_path)
    assert stems_of(dataset) == {"test": ["a"]}
    assert dataset.problems == ()


def test_pairs_split_keeps_everyone_in_place(tmp_path: Path) -> None:
    stems = [f"photo_{i:03}" for i in range(100)]
    small = open_dataset(pairs_folder(tmp_path / "small", stems[:60]))
    large = open_dataset(pairs_folder(tmp_path / "large", stems[::-1]))
    assert small.layout == "pairs"
    moved = set(stems_of(small)["val"]) ^ (set(stems_of(large)["val"]) & set(stems[:60]))
    assert len(moved) <= 3  # those at the limit of the share
    assert 15 <= len(large.splits["val"]) <= 20
    assert stems_of(large)["train"] == sorted(stems_of(large)["train"])
    other = open_dataset(tmp_path / "large", seed=1)
    assert stems_of(other) != stems_of(large)
    assert "seed 0, val share 0.2" in large.notes[0]


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("seed", range(6))
def test_small_folders_have_both_splits(tmp_path: Path, count: int, seed: int) -> None:
    dataset = open_dataset(pairs_folder(tmp_path, list("abcd"[:count])), seed=seed)
    assert all(dataset.splits[split] for split in ("train", "val"))


@pytest.mark.parametrize("share", [0, 1, -0.5])
def test_val_share_is_checked(tmp_path: Path, share: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        open_dataset(pairs_folder(tmp_path, ["a", "b"]), val_share=share)


# ── CamVid ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_camvid_lists_say_which_pairs_whatever_machine_they_are_from(tmp_path: Path) -> None:
    for stem in ("a", "b c", "left_out"):
        add_pair(tmp_path / "train", tmp_path / "trainannot", stem, (0, 10, 11))
    add_pair(tmp_path / "val", tmp_path / "valannot", "v", (3, 4))
    lines = [
        "/SegNet/CamVid/train/b c.png /SegNet/CamVid/trainannot/b c.png",
        r"D:\data\train\a.png D:\data\trainannot\a.png",
        "",
        "/SegNet/CamVid/train/gone.png /SegNet/CamVid/trainannot/gone.png",
    ]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "camvid"
    assert stems_of(dataset) == {"train": ["a", "b c"], "val": ["v"]}
    assert kinds(dataset) == [("image-missing", "train/gone.png"), ("mask-missing", "trainannot/gone.png")]
    assert any("1 files of train/" in note for note in dataset.notes)
    assert dataset.classes == CAMVID
    labels = read_mask(tmp_path / "trainannot" / "a.png", dataset.mask_ids, len(dataset.classes))
    assert set(np.unique(labels)) == {0, 10, VOID}


@needs_camvid
def test_real_camvid() -> None:
    dataset = open_dataset(CAMVID_FOLDER)
    assert dataset.layout == "camvid"
    assert (len(dataset.splits["train"]), len(dataset.splits["val"])) == (367, 101)
    assert dataset.classes.names[3] == "road"
    assert dataset.problems == ()
    sample = dataset.splits["train"][0]
    assert sample.name == "train/0001TP_006690"
    assert sample.mask is not None
    labels = read_mask(sample.mask, dataset.mask_ids, 11)
    assert labels.shape == (360, 480)
    assert set(np.unique(labels)) <= {*range(11), VOID}


# ── classes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_gaps_in_the_ids_are_closed_and_said(tmp_path: Path) -> None:
    dataset = open_dataset(pairs_folder(tmp_path, ["a", "b"], (0, 2, 5, 255)))
    assert dataset.classes.names == ("class 0", "class 2", "class 5")
    assert dataset.mask_ids == {0: 0, 2: 1, 5: 2, 255: VOID}
    assert any("gaps" in note for note in dataset.notes)


def test_a_palette_gives_the_colours(tmp_path: Path) -> None:
    palette = ClassList(("x", "y", "z"), ((10, 20, 30), (200, 0, 0), (0, 90, 250)))
    pairs_folder(tmp_path, ["a", "b"], (0, 1, 2))
    for stem in "ab":
        ids = read_mask_ids(tmp_path / "masks" / f"{stem}.png").astype(np.uint8)
        write_whole(tmp_path / "masks" / f"{stem}.png", encode_label_png(ids, palette))
    assert open_dataset(tmp_path).classes.colours == palette.colours


def test_a_grey_ramp_palette_does_not(tmp_path: Path) -> None:
    pairs_folder(tmp_path, ["a", "b"], (0, 1, 2))
    for stem in "ab":
        mask = Image.open(tmp_path / "masks" / f"{stem}.png")
        mask.putpalette([i // 3 for i in range(768)])
        mask.save(tmp_path / "masks" / f"{stem}.png")
    assert open_dataset(tmp_path).classes.colours == default_colours(3)


def test_0_and_255_are_background_and_foreground(tmp_path: Path) -> None:
    pairs_folder(tmp_path, ["a", "b"], (0, 255))
    found = open_dataset(tmp_path)
    assert found.problems == ()
    assert found.classes.names == ("background", "foreground")
    assert (found.mask_ids[0], found.mask_ids[255]) == (0, 1)
    (line,) = [note for note in found.notes if "--void 255" in note]
    assert "--class NAME=255" in line
    rows = '[[classes]]\nname = "background"\nid = 0\n[[classes]]\nname = "foreground"\nid = 255\n'
    (tmp_path / "dataset.toml").write_text(rows)
    dataset = open_dataset(tmp_path)
    assert dataset.problems == ()
    assert dataset.mask_ids == {0: 0, 255: 1}
    labels = read_mask(tmp_path / "masks/a.png", dataset.mask_ids, 2)
    assert set(np.unique(labels)) == {0, 1}


def test_more_ids_than_classes_can_be(tmp_path: Path) -> None:
    pairs_folder(tmp_path, ["a", "b"])
    write_png(tmp_path / "masks/a.png", np.arange(48, dtype=np.uint16).reshape(6, 8) * 9)
    write_png(tmp_path / "masks/b.png", np.arange(300, dtype=np.uint16).reshape(15, 20))
    with pytest.raises(DatasetError, match="without flat values"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("ids", [(255,), None])
def test_no_classes_to_be_found_is_a_problem(tmp_path: Path, ids: tuple[int, ...] | None) -> None:
    pairs_folder(tmp_path, ["a", "b"], ids or (0,))
    if ids is None:
        for stem in "ab":
            (tmp_path / f"masks/{stem}.png").write_bytes(b"")
    assert [kind for kind, _ in kinds(open_dataset(tmp_path))] == ["no-classes"]


def test_default_colours_stay_apart_for_every_kind_of_vision() -> None:
    assert default_colours(11)[:7] == default_colours(7)
    assert len(set(default_colours(255))) == 255
    for colours, least in ((default_colours(11), 15), (default_colours(30), 12), (CAMVID.colours, 20)):
        lab_VN3 = seen_lab([(0, 0, 0), *colours])  # black: void
        for n in range(1, lab_VN3.shape[1]):
            assert separation(lab_VN3[:, n : n + 1], lab_VN3[:, :n])[0] > least


# ── dataset.toml ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_dataset_toml_names_classes_colours_ids_void_and_splits(tmp_path: Path) -> None:
    pairs_folder(tmp_path, list("abcd"), (1, 2, 9))
    (tmp_path / "dataset.toml").write_text(
        '[[classes]]\nname = "cell"\ncolour = [1, 2, 3]\nid = 2\n'
        '[[classes]]\nname = "glass"\nid = 1\n'
        "void = [9]\n"  # below [[classes]], where TOML puts it into the last class
        '[splits]\nval = ["b"]\ntest = ["d.png"]\n'
    )
    dataset = open_dataset(tmp_path)
    assert dataset.classes.names == ("cell", "glass")
    assert dataset.classes.colours[0] == (1, 2, 3)
    assert dataset.mask_ids == {2: 0, 1: 1, 9: VOID, 255: VOID}
    assert stems_of(dataset) == {"train": ["a", "c"], "val": ["b"], "test": ["d"]}
    assert "dataset.toml" in dataset.notes[0]


def test_void_alone_steers_discovery(tmp_path: Path) -> None:
    pairs_folder(tmp_path, ["a", "b"], (0, 1, 7))
    (tmp_path / "dataset.toml").write_text("void = [7]")
    dataset = open_dataset(tmp_path)
    assert dataset.classes.names == ("background", "foreground")
    assert dataset.mask_ids[7] == VOID


def test_a_split_that_names_no_pair_is_a_problem(tmp_path: Path) -> None:
    pairs_folder(tmp_path, ["a", "b"])
    (tmp_path / "dataset.toml").write_text('[splits]\nval = ["a", "zebra"]')
    assert kinds(open_dataset(tmp_path)) == [("split-name", "dataset.toml")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("classes = [", "not valid TOML"),
        ("[[classes]]\nid = 1", "class 0 has no name"),
        ('classes = ["a"]', "list of tables"),
        ('[[classes]]\nname = "a"\n[[classes]]\nname = "a"', "occurs twice"),
        ('[[classes]]\nname = "a"\nid = 1\n[[classes]]\nname = "b"', "same id 1"),
        ('[[classes]]\nname = "a"\nid = -1', "whole numbers"),
        ('[[classes]]\nname = "a"\ncolour = [1, 2]', "red, green, blue"),
        ('[[classes]]\nname = "a"\ncolour = [1, 2, 999]', "red, green, blue"),
        ('[[classes]]\nname = "a"\nsize = 3', "unknown key 'size'"),
        ('void = ["x"]', "whole numbers"),
        ('void = [0]\n[[classes]]\nname = "a"', "as a class and as void"),
        ('[splits]\nvalid = ["a"]', "unknown key 'valid'"),
        ('[splits]\nval = "a"', "not a list"),
        ('[splits]\nval = ["a"]\ntest = ["a"]', "two splits"),
        ("splits = 3", "not a table"),
    ],
)
def test_a_wrong_dataset_toml_names_the_entry(tmp_path: Path, text: str, words: str) -> None:
    pairs_folder(tmp_path, ["a", "b"])
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(DatasetError, match=words) as caught:
        open_dataset(tmp_path)
    assert "dataset.toml: " in str(caught.value)


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_such_path_and_a_file_are_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        open_dataset(tmp_path / "none")
    (tmp_path / "x").touch()
    with pytest.raises(UsageError, match="is a file"):
        open_dataset(tmp_path / "x")


def test_an_unknown_layout_lists_what_was_expected_and_found(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="found: nothing"):
        open_dataset(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "readme.md").touch()
    with pytest.raises(DatasetError, match=r"\./: 1 \.md\n  empty: pictures/") as caught:
        open_dataset(tmp_path)
    assert "trainannot" in str(caught.value)


def test_empty_folders_are_problems(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert kinds(open_dataset(tmp_path)) == [
        ("folder-empty", "images"),
        ("folder-missing", "masks"),
        ("no-classes", "."),
    ]


def test_everything_wrong_with_the_names_comes_at_once(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    pairs_folder(tmp_path, ["ok", "fine", "twice", "no_mask", "no_image"])
    (masks / "no_mask.png").unlink()
    (images / "no_image.png").unlink()
    shutil.copy(images / "twice.png", images / "twice.jpg")
    os.mkfifo(images / "pipe.png")
    (images / "broken.png").symlink_to(images / "nowhere.png")
    (images / "loop").symlink_to(images)
    for junk in (".hidden.png", "Thumbs.db", "notes.txt"):
        (images / junk).write_bytes(b"")
    (images / "painting.psd").write_bytes(b"")
    dataset = open_dataset(tmp_path)
    assert sorted(kinds(dataset)) == [
        ("duplicate-stem", "images/twice.jpg"),
        ("hidden-files", "images"),
        ("image-missing", "masks/no_image.png"),
        ("linked-folder", "images/loop"),
        ("mask-missing", "images/no_mask.png"),
        ("not-a-file", "images/pipe.png"),
        ("unread-kind", "images"),
        ("unreadable", "images/broken.png"),
    ]
    assert sorted(stem for stems in stems_of(dataset).values() for stem in stems) == ["fine", "ok"]


def test_folders_inside_are_entered_and_suffixes_may_differ(tmp_path: Path) -> None:
    add_pair(tmp_path / "images/berlin", tmp_path / "masks/berlin", "a")
    add_pair(tmp_path / "images/ulm", tmp_path / "masks/ulm", "a")
    (tmp_path / "images/ulm/a.png").rename(tmp_path / "images/ulm/a.PNG")
    dataset = open_dataset(tmp_path)
    names = sorted(sample.name for samples in dataset.splits.values() for sample in samples)
    assert names == ["images/berlin/a", "images/ulm/a"]
    assert dataset.problems == ()


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_of_any_bytes_can_be_shown(tmp_path: Path) -> None:
    pairs_folder(tmp_path, ["a", "b"])
    strange = os.fsencode(tmp_path / "images") + b"/\xff\xfe.png"
    Path(os.fsdecode(strange)).write_bytes((tmp_path / "images/a.png").read_bytes())
    (problem,) = open_dataset(tmp_path).problems
    assert problem.kind == "mask-missing"
    str(problem).encode("utf-8")


def test_links_out_of_the_folder_are_read_and_reported(tmp_path: Path) -> None:
    root = planted.sound(tmp_path / "data")
    outside = tmp_path / "elsewhere.png"
    image = sorted((root / "train/images").iterdir())[0]
    image.rename(outside)
    try:
        image.symlink_to(outside)
    except OSError:
        pytest.skip("no links here")
    (problem,) = [problem for problem in open_dataset(root).problems if problem.kind == "linked-outside"]
    assert problem.severity == "warning"
    assert problem.where == f"train/images/{image.name}"
