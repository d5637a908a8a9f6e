"""What is said of folders that are no dataset: what they hold, what came closest, what helps, and no trap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.datasets import unrecognised
from pixelwise.datasets.unrecognised import describe, diagnosis, why_unrecognised
from pixelwise.doctor.check import check
from pixelwise.errors import DatasetError

RNG = np.random.default_rng(0)


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def photo(path: Path) -> None:
    save(path, RNG.integers(0, 256, (40, 48, 3), np.uint8))


def mask(path: Path) -> None:
    save(path, np.kron(RNG.integers(0, 3, (4, 4)), np.ones((10, 12))).astype(np.uint8))


def bands(path: Path, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    planar = "contig" if count > 1 else None
    pixels = RNG.random((20, 30, count)).astype(np.float32)
    tifffile.imwrite(path, pixels.squeeze(), photometric="minisblack", planarconfig=planar)


def other_names(root: Path) -> None:
    for i in range(4):
        photo(root / f"photos/holiday_{i * 17}.jpg")
        mask(root / f"drawn/x{chr(97 + i)}.png")


def no_masks(root: Path) -> None:
    for i in range(4):
        photo(root / f"stuff/{i}.jpg")


def floats(root: Path) -> None:
    for i in range(4):
        bands(root / f"event{i // 2}/s1/{i}.tif", 2)
        bands(root / f"event{i // 2}/level/{i}.tif", 1)
        mask(root / f"event{i // 2}/water_mask/{i}.tif")


def only_masks(root: Path) -> None:
    for i in range(4):
        mask(root / f"truth/{i}.png")


KINDS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "names that do not pair": (
        other_names,
        ("photos/: 4 images (.jpg, 48×40, colour)", "drawn/: 4 masks of few flat values", "0 of 4 names agree",
         "Give each mask its image's name"),
    ),
    "photos alone": (no_masks, ("stuff/: 4 images (.jpg, 48×40, colour)", "No masks were found")),
    "floating-point bands": (
        floats,
        ("s1/ (2 folders of this name): 4 images that are not read", "2 bands of 32-bit floating-point values",
         "1 band of 32-bit floating-point values", "water_mask/ (2 folders of this name) could be the masks",
         "8- or 16-bit PNG or TIFF"),
    ),
    "masks alone": (only_masks, ("truth/: 4 masks of few flat values", "no images are next to them")),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_what_is_missing_and_what_helps(kind: str, tmp_path: Path) -> None:
    build, said = KINDS[kind]
    build(tmp_path)
    with pytest.raises(DatasetError, match="not recognised") as caught:
        check(tmp_path)
    for sentence in said:
        assert sentence in str(caught.value)
    assert "Supervisely" in str(caught.value)  # every format that is read is named, not three of them


def test_a_folder_of_which_half_is_there_is_explained_too(tmp_path: Path) -> None:
    for i in range(4):
        photo(tmp_path / f"one/{i}.png")
        photo(tmp_path / f"other/{i}.png")
        mask(tmp_path / f"masks/{i}.png")
    report = check(tmp_path)
    assert report.pairs == 0
    assert "one/, other/ could all be the images. Rename the right one to images/." in " ".join(report.notes)


def test_a_large_tree_is_looked_at_in_part_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unrecognised, "FILES", 50)
    for i in range(60):
        (tmp_path / f"{i}.png").write_bytes(b"")
    assert "(only the first 50 files were examined)" in "\n".join(diagnosis(tmp_path))


@pytest.mark.parametrize("data", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", bytes(100)])
@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".jxl"])
def test_a_damaged_file_is_described_and_nothing_breaks(data: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a/x{suffix}"
    path.parent.mkdir()
    path.write_bytes(data)
    assert describe(path)[1] is False
    assert "a/: 1 images that are not read" in why_unrecognised(tmp_path)
