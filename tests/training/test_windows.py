"""Large pairs are read in windows: every crop is that of the whole image, from memory, a TIFF in place or a copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
tifffile = pytest.importorskip("tifffile")

from pixelwise.images.image_files import read_image, write_png  # noqa: E402
from pixelwise.images.tiff_windows import TiffWindows  # noqa: E402
from pixelwise.records import VOID, Sample  # noqa: E402
from pixelwise.training import data_summary, large_pairs, loader  # noqa: E402
from pixelwise.training.augment import PADDING, Crop, crop_image, crop_mask  # noqa: E402
from pixelwise.training.disk_copies import DiskArray, DiskCopies  # noqa: E402
from pixelwise.training.loader import Augmentation, Pairs, augment, resized_crop  # noqa: E402
from pixelwise.training.validate import seen_mask  # noqa: E402

SIZE = (150, 210)
TIFFS = {
    "tiles": {"tile": (32, 48)},
    "deflated-tiles": {"tile": (32, 32), "compression": "zlib", "predictor": 2},
    "planes": {"tile": (32, 32), "planarconfig": "separate"},
    "strips": {"rowsperstrip": 20},
    "one-strip": {"rowsperstrip": 150},
    "lzw-strips": {"rowsperstrip": 7, "compression": "lzw"},
}


def picture() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    mask = rng.choice(np.array([0, 1, 2, VOID], np.uint8), SIZE, p=(0.6, 0.2, 0.1, 0.1))
    return image, mask


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pairs]:
    """The same pair in memory, in TIFFs of every layout, and as copies of a PNG on disk."""
    folder = tmp_path_factory.mktemp("windows")
    image, mask = picture()
    write_png(folder / "mask.png", mask)
    write_png(folder / "image.png", image)
    found = {}
    files = {"png": folder / "image.png", "memory": folder / "image.png"}
    for name, options in TIFFS.items():
        files[name] = folder / f"{name}.tif"
        pixels = np.moveaxis(image, 2, 0) if name == "planes" else image
        tifffile.imwrite(files[name], pixels, photometric="rgb", **options)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loader, "LARGE_PIXELS", 100)
        for name, path in files.items():
            copies = DiskCopies(folder / f"cache-{name}")
            pairs = Pairs([Sample(name, path, folder / "mask.png")], {}, 3, 64 if name == "memory" else 0, copies)
            pairs[0]
            found[name] = pairs
    return found


def test_each_pair_is_read_where_it_should_be(stored: dict[str, Pairs]) -> None:
    assert list(stored["memory"].kept) == [0]
    for name, pairs in stored.items():
        if name != "memory":
            assert isinstance(pairs[0][0], DiskArray if name == "png" else TiffWindows), name
            assert isinstance(pairs[0][1], DiskArray), name
            assert pairs.copies is not None
            assert len(list(pairs.copies.folder.iterdir())) == (2 if name == "png" else 1)


@settings(deadline=None, max_examples=60)
@given(
    top=st.integers(-200, 200), left=st.integers(-200, 250), height=st.integers(1, 300), width=st.integers(1, 300),
    mirrored=st.booleans(), name=st.sampled_from([*TIFFS, "png", "memory"]),
)  # fmt: skip
def test_a_crop_by_window_is_that_of_the_whole(
    stored: dict[str, Pairs], top: int, left: int, height: int, width: int, mirrored: bool, name: str
) -> None:
    crop = Crop(top, left, height, width, mirrored)
    whole_image, whole_mask = picture()
    rows, columns = np.arange(top, top + height), np.arange(left, left + width)
    inside = np.ix_((rows >= 0) & (rows < SIZE[0]), (columns >= 0) & (columns < SIZE[1]))
    box, labels = np.full((height, width, 3), PADDING, np.uint8), np.full((height, width), VOID, np.uint8)
    ys, xs = rows[(rows >= 0) & (rows < SIZE[0])], columns[(columns >= 0) & (columns < SIZE[1])]
    box[inside], labels[inside] = whole_image[np.ix_(ys, xs)], whole_mask[np.ix_(ys, xs)]
    image, mask = stored[name][0]
    assert (crop_image(image, crop) == box).all()
    assert (crop_mask(mask, crop, (height, width)) == (labels[:, ::-1] if mirrored else labels)).all()
    few = (max(height // 3, 1), max(width // 2, 1))
    assert (crop_mask(mask, crop, few) == crop_mask(whole_mask, crop, few)).all()


@settings(deadline=None, max_examples=30)
@given(index=st.integers(0, 1000), name=st.sampled_from([*TIFFS, "png"]))
def test_training_crops_are_the_same_bytes(stored: dict[str, Pairs], index: int, name: str) -> None:
    how = Augmentation((64, 96), "stretch", (0.5, 2.0), True, 0.5, 3, crops=3, rare=(2,))
    expected = augment(*picture(), how, 0, index)
    found = augment(*stored[name][0], how, 0, index)
    assert all((a == b).all() for a, b in zip(found, expected, strict=True))


@settings(deadline=None, max_examples=30)
@given(
    rows=st.slices(SIZE[0]).filter(lambda one: one.step is None or one.step > 0),
    columns=st.slices(SIZE[1]).filter(lambda one: one.step is None or one.step > 0),
    name=st.sampled_from([*TIFFS, "png"]),
)
def test_what_is_read_in_windows_is_indexed_like_an_array(
    stored: dict[str, Pairs], rows: slice, columns: slice, name: str
) -> None:
    image = stored[name][0][0]
    assert (image[rows, columns] == picture()[0][rows, columns]).all()
    assert (image[rows] == picture()[0][rows]).all()
    assert (np.asarray(image) == picture()[0]).all()


@pytest.mark.parametrize(
    "box", [Crop(0, 0, 150, 210, False), Crop(-40, -70, 260, 333, False), Crop(9, 5, 99, 77, False)]
)
def test_a_large_box_is_resized_in_parts_as_at_once(
    stored: dict[str, Pairs], monkeypatch: pytest.MonkeyPatch, box: Crop
) -> None:
    whole = resized_crop(picture()[0], box, (64, 96))
    monkeypatch.setattr(loader, "LARGE_PIXELS", 100)
    monkeypatch.setattr(loader, "STRIP_PIXELS", 2000)
    for name in ("tiles", "lzw-strips", "png", "memory"):
        assert (resized_crop(stored[name][0][0], box, (64, 96)) == whole).all()


def test_grey_and_16_bit_tiffs_read_in_place_are_as_decoded(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 65536, SIZE, np.uint16)
    for name, pixels in (("deep", grey), ("grey", (grey >> 8).astype(np.uint8))):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, pixels, tile=(32, 32), compression="zlib")
        windows = large_pairs.tiff_in_place(path)
        assert windows is not None
        assert (np.asarray(windows) == read_image(path)).all()


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 200), width=st.integers(1, 300), name=st.sampled_from(["png", "memory"]))
def test_pixels_are_counted_in_parts_as_at_once(stored: dict[str, Pairs], height: int, width: int, name: str) -> None:
    expected = np.bincount(seen_mask(picture()[1], (height, width)).ravel(), minlength=256)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(data_summary, "SEEN_PIXELS", 1000)
        assert (data_summary.counts_as_seen(stored[name][0][1], (height, width)) == expected).all()
