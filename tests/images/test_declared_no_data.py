"""8-bit images that declare a no-data value: finite pixels, and void labels wherever labels are read or made."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from conftest import picture
from pixelwise.datasets import read_sample, streamed_pairs
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.images.declared_no_data import absent_pixels, packed, unpacked, void_where
from pixelwise.images.input_image import InputImage
from pixelwise.images.orientation import oriented
from pixelwise.images.read_as import read_image_as
from pixelwise.prediction.large.tile_plan import Tiles
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.predict import predict
from pixelwise.records import RGB, VOID, Bands
from pixelwise.tracing.trace import trace

tifffile: Any = pytest.importorskip("tifffile")
SIZE = (60, 90)
FOUR = Bands(("blue", "green", "red", "nir"), "uint8", (0.0,) * 4, (255.0,) * 4)


def collar() -> NDArray[np.bool_]:
    """Where the images below hold no data: an edge, a hole, single pixels."""
    absent = np.zeros(SIZE, np.bool_)
    absent[:7] = absent[20:30, 40:55] = True
    absent[50, ::9] = True
    return absent


def values(samples: int, dtype: Any = np.uint8, no_data: int = 0, seed: int = 0) -> NDArray[Any]:
    """An image [H, W, samples] with `no_data` in the collar; one band of other pixels holds it, too."""
    rng = np.random.default_rng(seed)
    found = (rng.integers(1, 255, (*SIZE, samples)) + (no_data == 255)).clip(1, 254).astype(dtype)
    if samples > 1:
        found[40:45, :, 0] = no_data
    found[collar()] = no_data
    return found


def tiff_of(pixels: NDArray[Any], no_data: str | None = "0", **options: Any) -> bytes:
    shown = "rgb" if pixels.shape[2] in (3, 4) else "minisblack"
    tags = [(42113, 2, 0, no_data, True)] if no_data is not None else []
    buffer = io.BytesIO()
    how = {"photometric": shown, "planarconfig": "contig", "metadata": None, "extratags": tags} | options
    tifffile.imwrite(buffer, pixels if pixels.shape[2] > 1 else pixels[:, :, 0], **how)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [1, 3, 4, 5])
@pytest.mark.parametrize("no_data", [0, 255])
@pytest.mark.parametrize(
    "options",
    [{}, {"tile": (16, 32)}, {"rowsperstrip": 7, "compression": "zlib", "predictor": True}, {"bigtiff": True}],
)
def test_the_declared_value_in_every_band_is_absent(
    tmp_path: Path, dtype: Any, samples: int, no_data: int, options: dict[str, Any]
) -> None:
    shown = {"photometric": "minisblack"} if samples == 5 or dtype == np.uint16 else {}
    data = tiff_of(values(samples, dtype, no_data), str(no_data), **options, **(shown if samples > 1 else {}))
    (tmp_path / "a.tif").write_bytes(data)
    for source in (data, tmp_path / "a.tif"):
        assert np.array_equal(absent_pixels(source), collar())


def test_alpha_does_not_count_and_the_image_is_upright() -> None:
    pixels = values(4)
    pixels[:, :, 3] = 255
    found = absent_pixels(tiff_of(pixels, extrasamples=["unassalpha"]))
    assert np.array_equal(found, collar())
    turned = tiff_of(values(3), extratags=[(42113, 2, 0, "0", True), (274, 3, 1, 6, True)])
    assert np.array_equal(absent_pixels(turned), oriented(collar(), 6))


@pytest.mark.parametrize("no_data", [None, "7.5", "-9999", "nan", "256", "x", ""])
def test_without_a_value_that_pixels_can_have_nothing_is_absent(no_data: str | None) -> None:
    assert absent_pixels(tiff_of(values(3), no_data)) is None


def test_other_files_declare_nothing(tmp_path: Path) -> None:
    png = io.BytesIO()
    Image.fromarray(values(3)).save(png, "PNG")
    whole = tiff_of(values(3))
    floats = tiff_of(values(2).astype(np.float32))
    palette = tiff_of(values(1), photometric="palette", colormap=np.zeros((3, 256), np.uint16))
    for data in (b"", b"II*", png.getvalue(), whole[:20], floats, palette):
        assert absent_pixels(data) is None
    assert absent_pixels(tmp_path / "missing.tif") is None
    none = values(3).clip(1)
    assert absent_pixels(tiff_of(none)) is None


@pytest.mark.parametrize("absent", [None, collar(), ~collar()])
def test_absent_pixels_travel_as_text(absent: NDArray[np.bool_] | None) -> None:
    found = unpacked(packed(absent), SIZE)
    assert (found is None) == (absent is None)
    assert absent is None or np.array_equal(found, absent)
    labels = np.ones(SIZE, np.uint8)
    assert np.array_equal(void_where(labels, found) == VOID, np.zeros(SIZE, bool) if absent is None else absent)


def test_four_bands_of_8_bits_are_finite_and_void() -> None:
    """For a model of 8-bit bands, trained on images that declare nothing."""
    pixels = values(4)
    tags = [(42113, 2, 0, "0", True)]
    data = tiff_of(pixels, photometric="minisblack", extratags=tags)
    bands = Bands(("band 1", "band 2", "band 3", "band 4"), "uint8", FOUR.low, FOUR.high)
    encoded = InputImage(data, bands, "a.tif")
    found, absent = encoded.decode()[0], encoded.absent()
    assert found.dtype == np.uint8
    assert np.array_equal(found[~collar()][:, 1:], pixels[~collar()][:, 1:])
    assert absent is not None
    assert np.array_equal(absent, collar())
    assert np.array_equal(read_image_as(data, bands), found)


@pytest.fixture(scope="module")
def model() -> Model:
    return load("nuclei", threads=1)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = picture(3, *SIZE).clip(1)
    pixels[collar()] = 0
    path = tmp_path / "photos" / "a.tif"
    path.parent.mkdir()
    path.write_bytes(tiff_of(pixels, tile=(16, 16)))
    return path


def test_predictions_are_void_there_whole_and_in_tiles(model: Model, photo: Path, tmp_path: Path) -> None:
    pixels = np.ascontiguousarray(tifffile.imread(photo))
    expected = model.predict(pixels).labels
    assert (expected != VOID).all()  # an array declares nothing
    for name, tiles in (("whole", None), ("tiles", Tiles((32, 32), always=True))):
        summary = predict(model, [photo], tmp_path / name, **({} if tiles is None else {"tiles": tiles}))
        assert (summary.done, summary.failures) == (1, 0)
        (result,) = [*(tmp_path / name).glob("a.png"), *(tmp_path / name).glob("a.tif")]
        labels = tifffile.imread(result) if result.suffix == ".tif" else np.asarray(Image.open(result))
        assert np.array_equal(labels == VOID, collar())
        if tiles is None:
            assert np.array_equal(labels[~collar()], expected[~collar()])
    for tta in ("", "flip"):
        assert np.array_equal(model.predict(photo, tta=tta).labels == VOID, collar())
    assert np.array_equal(trace(model, photo).prediction.labels == VOID, collar())


def test_masks_are_void_there_in_training_and_scores(
    model: Model, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    for split in ("train", "test"):
        for part in ("images", "masks"):
            (data / split / part).mkdir(parents=True)
        (data / split / "images" / "a.tif").write_bytes(photo.read_bytes())
        labels = model.predict(np.ascontiguousarray(tifffile.imread(photo))).labels.copy()
        labels[collar()] = 1 - labels[collar()].clip(0, 1)  # wrong where there is no data, where it must not count
        tifffile.imwrite(data / split / "masks" / "a.tif", labels)
    dataset = open_dataset(data)
    (sample,) = dataset.splits["train"]
    number = len(dataset.classes)
    assert dataset.bands == RGB
    mask = read_sample.read_sample_mask(sample, dataset.mask_ids, number, SIZE)
    assert np.array_equal(mask == VOID, collar())
    strips = list(read_sample.label_strips(sample, dataset.mask_ids, number, SIZE))
    assert np.array_equal(np.concatenate(strips), mask)
    report = evaluate(model, data, split="test")
    assert report.scores.accuracy == 1.0
    for module in (read_sample, streamed_pairs):  # the same pair, as if it were too large to be decoded at once
        monkeypatch.setattr(module, "has_streamed_image", lambda _sample: True)
        monkeypatch.setattr(module, "is_streamed", lambda _path: True)
    strips = list(read_sample.label_strips(sample, dataset.mask_ids, number, SIZE))
    assert np.array_equal(np.concatenate(strips), mask)
    window = read_sample.streamed_mask_window(sample, dataset.mask_ids, number, SIZE, (5, 30, 40, 50))
    assert np.array_equal(window, mask[5:45, 30:80])


def write_channels(folder: Path, name: str, pixels: NDArray[Any], names: tuple[str, ...], no_data: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, band in enumerate(names):
        (folder / f"{name}_{band}.tif").write_bytes(tiff_of(pixels[:, :, place : place + 1], no_data))


@pytest.mark.parametrize("tiles", [None, Tiles((32, 32), always=True)])
def test_channels_of_a_file_each_are_void_where_all_declare_it(
    model: Model, photo: Path, tmp_path: Path, tiles: Tiles | None
) -> None:
    pixels = np.ascontiguousarray(tifffile.imread(photo))
    pixels[35:38, :, 0] = 0  # a band alone
    write_channels(tmp_path / "in", "a", pixels, RGB.names, "0")
    write_channels(tmp_path / "in", "b", pixels, RGB.names, None)
    summary = predict(model, [tmp_path / "in"], tmp_path / "out", **({} if tiles is None else {"tiles": tiles}))
    assert (summary.done, summary.failures) == (2, 0), str(summary)
    declared, plain = (np.asarray(Image.open(tmp_path / "out" / f"{name}.png")) for name in "ab")
    assert np.array_equal(declared == VOID, collar())
    assert np.array_equal(declared[~collar()], plain[~collar()])


@pytest.mark.parametrize("names", [("red", "green", "blue"), ("blue", "green", "nir", "red"), ("nir", "red")])
def test_pairs_of_channels_are_void_there_and_finite(tmp_path: Path, names: tuple[str, ...]) -> None:
    pixels = {f"s{number}": values(len(names), seed=number) for number in range(6)}
    (tmp_path / "masks").mkdir()
    for name, image in pixels.items():
        write_channels(tmp_path / "images", name, image, names, None if name == "s0" else "0")
        Image.fromarray((image[:, :, 0] > 90).astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.bands == RGB) == (len(names) == 3)
    samples = [sample for part in dataset.splits.values() for sample in part]
    assert len(samples) == 6
    for sample in samples:
        stem = sample.image.stem.split("_")[0]
        found = read_sample.read_sample_image(sample, dataset.bands)
        order = [names.index(band) for band in dataset.bands.names]
        assert found.dtype == np.uint8
        assert np.array_equal(found, pixels[stem][:, :, order])
        mask = read_sample.read_sample_mask(sample, dataset.mask_ids, 2, SIZE)
        assert np.array_equal(mask == VOID, collar() & (stem != "s0"))


def write_sparse(path: Path, pixels: NDArray[np.uint8], planes: str = "contig") -> None:
    """A TIFF of tiles that leaves out those of zeros only, as GDAL's SPARSE_OK does."""
    parts = [pixels] if planes == "contig" else [pixels[:, :, place : place + 1] for place in range(pixels.shape[2])]
    tiles = [part[y : y + 32, x : x + 32] for part in parts for y in (0, 32) for x in (0, 32)]
    height, width, count = pixels.shape
    single = planes == "separate" or count == 1
    stored = (np.ascontiguousarray(tile[:, :, 0] if single else tile) if tile.any() else None for tile in tiles)
    shape = (height, width) if count == 1 else (count, height, width) if single else (height, width, count)
    how: dict[str, Any] = {} if count == 1 else {"planarconfig": planes}
    shown = "rgb" if count == 3 else "minisblack"
    tifffile.imwrite(path, stored, shape=shape, dtype=np.uint8, tile=(32, 32), photometric=shown, metadata=None, **how)


@pytest.mark.parametrize("count", [1, 3, 4, 5])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_tiles_that_a_file_leaves_out_hold_no_data(tmp_path: Path, count: int, planes: str) -> None:
    path = tmp_path / "sparse.tif"
    rng = np.random.default_rng(count)
    shown = rng.integers(1, 255, (64, 64, count), np.uint8)
    shown[:32, 32:] = 0
    missing = np.zeros((64, 64), np.bool_)
    missing[:32, 32:] = True
    write_sparse(path, shown, planes)
    bands = Bands(tuple(f"band {1 + one}" for one in range(count)), "uint8", (0.0,) * count, (255.0,) * count)
    names = RGB if count in (1, 3) else bands
    for source in (path, path.read_bytes()):
        found = absent_pixels(source, names)
        assert found is not None
        assert np.array_equal(found, missing)
    encoded = InputImage(path.read_bytes(), names, "sparse.tif")
    pixels, absent = encoded.decode()[0], encoded.absent()
    assert pixels.dtype == np.uint8
    assert absent is not None
    assert np.array_equal(absent, missing)
    full = tmp_path / "full.tif"
    write_sparse(full, np.maximum(shown, 1), planes)
    assert absent_pixels(full, names) is None


def test_predictions_are_void_where_a_file_leaves_out_tiles(model: Model, tmp_path: Path) -> None:
    pixels = picture(3, 64, 64).clip(1)
    pixels[:32, 32:] = 0
    write_sparse(tmp_path / "a.tif", pixels)
    labels = model.predict(tmp_path / "a.tif").labels
    assert (labels[:32, 32:] == VOID).all()
    assert (labels == VOID).sum() == 32 * 32
