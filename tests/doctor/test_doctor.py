"""The doctor: every kind of fault is found, all at once, and none is invented."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.doctor.findings import Findings, find_problems, require_sound, without_bad
from pixelwise.doctor.validate_pair import sizes_in_words
from pixelwise.errors import DatasetError, UsageError
from pixelwise.images.image_files import write_png

CAMVID_FOLDER = Path(__file__).parents[2] / "../shared/data/camvid"
SHAPE = (24, 32)  # H, W


def write_pair(root: Path, split: str, stem: str, ids: tuple[int, ...] = (0, 1, 2)) -> None:
    rng = np.random.default_rng(list(f"{split}{stem}".encode()))
    for part in ("images", "masks"):
        (root / split / part).mkdir(parents=True, exist_ok=True)
    write_png(root / split / "images" / f"{stem}.png", rng.integers(0, 256, (*SHAPE, 3), np.uint8))
    write_png(root / split / "masks" / f"{stem}.png", np.resize(np.array(ids, np.uint8), SHAPE))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound dataset: 6 train pairs, 2 val pairs, three named classes."""
    for split, count in {"train": 6, "val": 2}.items():
        for i in range(count):
            write_pair(tmp_path, split, f"p{i}")
    rows = "".join(f'[[classes]]\nname = "{name}"\n' for name in ("sky", "road", "tree"))
    (tmp_path / "dataset.toml").write_text(rows)
    return tmp_path


def found(root: Path) -> Findings:
    return find_problems(open_dataset(root))


def brief(findings: Findings) -> set[tuple[str, str, str]]:
    return {(problem.severity, problem.kind, problem.where) for problem in findings.problems}


def test_nothing_is_invented_on_sound_data(root: Path) -> None:
    steps: list[tuple[int, int]] = []
    write_pair(root, "val", "with_void", (0, 1, 2, 255))
    findings = find_problems(open_dataset(root), progress=lambda done, total: steps.append((done, total)))
    assert findings.problems == ()
    require_sound(findings)
    assert steps == [(i + 1, 9) for i in range(9)]
    train, val = findings.splits["train"], findings.splits["val"]
    assert (train.pairs, val.pairs) == (6, 3)
    assert train.pixels_C.tolist() == [6 * 256] * 3
    assert train.images_C.tolist() == [6] * 3
    assert (train.void_pixels, val.void_pixels) == (0, 24 * 32 // 4)
    assert train.smallest == train.largest == SHAPE


def test_every_fault_is_found_in_one_go(root: Path) -> None:
    images, masks = root / "train/images", root / "train/masks"
    for i in range(6, 20):
        write_pair(root, "train", f"p{i}")
    whole = (images / "p6.png").read_bytes()
    (images / "p6.png").write_bytes(whole[: len(whole) // 2])
    (images / "p7.png").write_bytes(b"")
    (masks / "p8.png").write_bytes(b"")
    (images / "p9.png").write_bytes(b"no image at all")
    write_png(masks / "p10.png", np.zeros((SHAPE[1], SHAPE[0]), np.uint8))
    write_png(masks / "p11.png", np.full(SHAPE, 7, np.uint8))
    write_png(masks / "p12.png", np.resize(np.arange(9, dtype=np.uint8), (*SHAPE, 3)))
    Image.new("L", SHAPE[::-1], 1).save(masks / "p13.png", "JPEG")
    Image.new("LA", SHAPE[::-1]).save(masks / "p14.png")
    write_png(masks / "p15.png", np.full(SHAPE, 255, np.uint8))
    (masks / "p16.png").unlink()
    (images / "p17.png").unlink()
    shutil.copy(images / "p18.png", root / "val/images/p0.png")
    findings = found(root)
    train = {
        ("error", "truncated", "train/images/p6.png"),
        ("error", "empty-file", "train/images/p7.png"),
        ("error", "empty-file", "train/masks/p8.png"),
        ("error", "not-an-image", "train/images/p9.png"),
        ("error", "size-mismatch", "train/masks/p10.png"),
        ("error", "ids-outside", "train/masks/p11.png"),
        ("error", "rgb-mask", "train/masks/p12.png"),
        ("error", "jpeg-mask", "train/masks/p13.png"),
        ("error", "all-void", "train/masks/p15.png"),
        ("error", "mask-missing", "train/images/p16.png"),
        ("error", "image-missing", "train/masks/p17.png"),
    }
    warnings = {
        ("warning", "alpha-masks", "train/masks/p14.png"),  # read without its alpha channel
        ("warning", "copy-across-splits", "val/images/p0.png"),
    }
    assert brief(findings) == train | warnings
    assert [problem.severity for problem in findings.problems] == ["error"] * 11 + ["warning"] * 2
    assert all(problem.remedy and problem.message for problem in findings.problems)
    with pytest.raises(DatasetError, match="11 problems") as caught:
        require_sound(findings)
    assert len(caught.value.problems) == 11
    assert "--skip-bad" in str(caught.value)

    dataset = without_bad(open_dataset(root), findings)
    assert len(dataset.splits["train"]) == 20 - 9 - 2
    assert len(dataset.splits["val"]) == 2
    assert {problem.kind for problem in find_problems(dataset).errors} == set()
    assert "9 pairs" in dataset.notes[-1]
    # A sound split can be used, whatever the others look like.
    assert find_problems(open_dataset(root), ["val"]).errors == ()


@pytest.mark.parametrize(
    ("mask", "image", "words"),
    [
        ((48, 64), (64, 48), "rotated by 90°"),
        ((24, 32), (48, 64), "scaled by 0.5"),
        ((47, 64), (48, 64), "it has as many columns and 1 row too few."),
        ((47, 63), (48, 64), "it has 1 column too few and 1 row too few."),
        ((50, 64), (48, 61), "it has 3 columns too many and 2 rows too many."),
        ((48, 1064), (48, 64), "it has 1,000 columns too many and as many rows."),
    ],
)
def test_sizes_are_compared_in_words(mask: tuple[int, int], image: tuple[int, int], words: str) -> None:
    message, remedy = sizes_in_words(mask, image)
    assert words in message
    assert f"{mask[1]}×{mask[0]}" in message
    assert remedy


def test_classes_without_pixels_are_named(root: Path) -> None:
    with (root / "dataset.toml").open("a") as file:
        file.write('[[classes]]\nname = "unicorn"\n[[classes]]\nname = "sign"\n')
    write_pair(root, "train", "sign", (0, 4))
    assert brief(found(root)) == {("warning", "class-empty", "unicorn"), ("warning", "class-missing", "sign")}


def test_masks_of_one_class_only_are_a_warning(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for stem in "ab":
            write_pair(tmp_path, split, stem, (0,))
    assert brief(found(tmp_path)) == {("warning", "one-class", ".")}


def test_one_image_is_not_enough(tmp_path: Path) -> None:
    write_pair(tmp_path, ".", "only")
    assert ("error", "one-image", ".") in brief(found(tmp_path))


def test_empty_folders_have_nothing_to_train_with(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    kinds = {kind for _, kind, _ in brief(found(tmp_path))}
    assert kinds == {"folder-empty", "no-classes", "no-pairs"}
    with pytest.raises(DatasetError, match="does not solve"):
        without_bad(open_dataset(tmp_path), found(tmp_path))


def test_a_test_split_alone_can_be_evaluated(tmp_path: Path) -> None:
    write_pair(tmp_path, "test", "a")
    dataset = open_dataset(tmp_path)
    assert find_problems(dataset, ["test"]).problems == ()
    assert brief(find_problems(dataset)) == {("warning", "no-train-split", ".")}
    with pytest.raises(UsageError, match="no 'val' split"):
        find_problems(dataset, ["val"])


def test_dropping_everything_is_refused(root: Path) -> None:
    for i in range(2):
        (root / f"val/masks/p{i}.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="all 2 of its pairs"):
        without_bad(open_dataset(root), found(root))


def test_all_masks_in_colour_and_a_cut_image_come_together(tmp_path: Path) -> None:
    for stem in "abc":
        write_pair(tmp_path, "train", stem)
        write_png(tmp_path / "train/masks" / f"{stem}.png", np.zeros((*SHAPE, 3), np.uint8))
    (tmp_path / "train/images/b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    kinds = sorted(kind for _, kind, _ in brief(found(tmp_path)))
    assert kinds == ["one-class", "rgb-masks", "truncated"]  # black in three channels is 0


@pytest.mark.skipif(
    not CAMVID_FOLDER.is_dir(), reason="real CamVid is not at ../shared/data/camvid beside the repository"
)
def test_real_camvid_is_sound() -> None:
    findings = find_problems(open_dataset(CAMVID_FOLDER), ["val"])
    assert findings.problems == ()
    val = findings.splits["val"]
    assert val.pairs == 101
    assert int(val.pixels_C.sum()) + val.void_pixels == 101 * 480 * 360
