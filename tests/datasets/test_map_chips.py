"""chips: a raster and polygons → a native dataset, with GDAL's own labels, in place, and divided by space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
pytest.importorskip("pyogrio", reason="needs the extra geo")
shapely = pytest.importorskip("shapely", reason="needs the extra geo")

from pixelwise.datasets.instances import instances_of  # noqa: E402
from pixelwise.datasets.map_chips import ChipOptions, cut_chips  # noqa: E402
from pixelwise.datasets.open_dataset import open_dataset  # noqa: E402
from pixelwise.datasets.read_sample import read_sample_mask  # noqa: E402
from pixelwise.errors import DataError, ImageError, UsageError  # noqa: E402
from pixelwise.maps.chip_plan import split_by_blocks, windows_of, without_neighbours  # noqa: E402
from pixelwise.records import VOID  # noqa: E402
from synthetic_maps import UTM, Affine, blobs, write_raster, write_shapes  # noqa: E402

SIDE = 256
SMALL = ChipOptions(size_px=32, val=0.2, test=0.2)


def noise(bands: int = 3, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(0).integers(1, 250, (bands, SIDE, SIDE)).astype(dtype)


def town(folder: Path, **more: Any) -> tuple[Path, Path]:
    """A raster of 8 × 8 chips with blobs of two classes all over it."""
    raster = write_raster(folder / "town.tif", pixels=more.pop("pixels", noise()), **more)
    shapes = blobs(150, size=(SIDE, SIDE))
    labels = write_shapes(folder / "labels.gpkg", shapes, label=["house", "water", "house"] * 50)
    return raster, labels


def samples_of(out: Path) -> list[tuple[str, Any]]:
    dataset = open_dataset(out)
    return [(split, sample) for split, samples in dataset.splits.items() for sample in samples]


def test_chips_are_the_raster_and_what_gdal_burns(tmp_path: Path) -> None:
    raster, labels = town(tmp_path)
    made = cut_chips([raster], labels, tmp_path / "out", SMALL)
    assert made.classes.names == ("background", "house", "water")
    from rasterio.features import rasterize

    shapes = blobs(150, size=(SIDE, SIDE))
    values = [1, 2, 1] * 50
    with rasterio.open(raster) as file:
        pixels = file.read()
        expected = rasterize(zip(shapes, values, strict=True), file.shape, transform=file.transform)
    dataset = open_dataset(tmp_path / "out")
    found = samples_of(tmp_path / "out")
    assert len(found) + made.beside_another_split + sum(made.skipped.values()) == 64
    for _, sample in found:
        with rasterio.open(sample.image) as chip:
            assert chip.crs == "EPSG:32632"
            column, row = (round(one) for one in ~UTM @ (chip.transform.c, chip.transform.f))
            place = slice(row, row + 32), slice(column, column + 32)
            np.testing.assert_array_equal(chip.read(), pixels[:, *place])
        mask = read_sample_mask(sample, dataset.mask_ids, 3, (32, 32))
        np.testing.assert_array_equal(mask, expected[place])


def test_neighbours_share_a_split(tmp_path: Path) -> None:
    raster, labels = town(tmp_path)
    made = cut_chips([raster], labels, tmp_path / "out", SMALL)
    assert min(made.splits.values()) > 3
    boxes = []
    for split, sample in samples_of(tmp_path / "out"):
        with rasterio.open(sample.image) as chip:
            boxes.append((split, shapely.box(*chip.bounds)))
    apart = min(a.distance(b) for one, a in boxes for other, b in boxes if one != other)
    assert apart > 1  # metre: a chip is 16 wide


def test_no_data_the_area_and_void_polygons_are_void(tmp_path: Path) -> None:
    pixels = noise()
    pixels[:, :40, :40] = 0
    raster, _ = town(tmp_path, pixels=pixels, nodata=0)
    left, top = UTM.c, UTM.f
    shapes = [*blobs(40, size=(SIDE, SIDE)), shapely.box(left + 60, top - 60, left + 70, top - 70)]
    labels = write_shapes(tmp_path / "few.gpkg", shapes, label=["house"] * 40 + ["void"])
    area = write_shapes(tmp_path / "area.geojson", [shapely.box(left - 9, top - 110, left + 200, top + 9)])
    made = cut_chips([raster], labels, tmp_path / "out", ChipOptions(size_px=32, area=area))
    dataset = open_dataset(tmp_path / "out")
    assert made.skipped == {"no data": 1, "only void": 8}
    for _, sample in samples_of(tmp_path / "out"):
        with rasterio.open(sample.image) as chip:
            column, row = (round(one) for one in ~UTM @ (chip.transform.c, chip.transform.f))
        rows, columns = np.mgrid[row : row + 32, column : column + 32]
        mask = read_sample_mask(sample, dataset.mask_ids, 2, (32, 32))
        nothing = (rows < 40) & (columns < 40)
        void = (rows >= 120) & (rows < 140) & (columns >= 120) & (columns < 140)
        np.testing.assert_array_equal(mask == VOID, nothing | void | (rows >= 220))


def test_touching_polygons_keep_their_numbers(tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "a.tif", pixels=noise())
    left, top = UTM.c, UTM.f
    houses = [
        shapely.box(left + 4 * x, top - 4 * y - 4, left + 4 * x + 4, top - 4 * y) for x in range(32) for y in range(32)
    ]
    labels = write_shapes(tmp_path / "a.gpkg", houses[::2], label=["house"] * 512)
    made = cut_chips([raster], labels, tmp_path / "out", SMALL)
    assert any("polygons of one class touch" in note for note in made.notes)
    _, sample = samples_of(tmp_path / "out")[0]
    objects = instances_of(sample)
    assert objects is not None
    assert objects.max() == 8  # houses in each chip of 16 × 16 metres


def test_bands_names_and_scales_of_a_16_bit_raster_are_kept(tmp_path: Path) -> None:
    raster, labels = town(tmp_path, pixels=noise(4, np.uint16), nodata=0)
    with rasterio.open(raster, "r+") as file:
        file.descriptions = ("blue", "green", "red", "nir")
        file.scales, file.offsets = (0.0001,) * 4, (-0.1,) * 4
    cut_chips([raster], labels, tmp_path / "out", SMALL)
    assert open_dataset(tmp_path / "out").bands.names == ("blue", "green", "red", "nir")
    with rasterio.open(samples_of(tmp_path / "out")[0][1].image) as chip:
        assert (chip.scales, chip.offsets, chip.nodata) == ((0.0001,) * 4, (-0.1,) * 4, 0)


def test_alpha_says_where_there_is_no_data(tmp_path: Path) -> None:
    pixels = noise(4)
    pixels[3] = 255
    pixels[3, :, 200:] = 0
    raster, labels = town(tmp_path, pixels=pixels, photometric="rgb", alpha="yes")
    made = cut_chips([raster], labels, tmp_path / "out", SMALL)
    assert made.skipped["no data"] == 8
    assert made.pixels["void"] > 0
    assert len(open_dataset(tmp_path / "out").bands) == 3


def test_what_overlaps_and_lies_outside_is_counted(tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "a.tif", pixels=noise())
    far = [shapely.box(0, 0, 1, 1)]
    labels = write_shapes(tmp_path / "a.gpkg", [*blobs(99, size=(SIDE, SIDE)), *far], label=["a", "b"] * 50)
    made = cut_chips([raster], labels, tmp_path / "out", SMALL)
    assert any("of different classes overlap" in note for note in made.notes)
    assert "1 of 100 polygons lie outside the rasters: not drawn." in made.notes


def test_errors_name_the_remedy(tmp_path: Path) -> None:
    raster, labels = town(tmp_path)
    with pytest.raises(DataError, match="--test 0"):
        cut_chips([raster], labels, tmp_path / "out", ChipOptions(size_px=256))
    with pytest.raises(UsageError, match="some for train"):
        cut_chips([raster], labels, tmp_path / "out", ChipOptions(val=0.5, test=0.5))
    away = write_raster(tmp_path / "away.tif", Affine(0.5, 0, 0, 0, -0.5, 0), pixels=noise())
    with pytest.raises(DataError, match="none of its 150 polygons lies on"):
        cut_chips([away], labels, tmp_path / "out")
    deep = write_raster(tmp_path / "deep.tif", pixels=noise(dtype=np.uint16))
    with pytest.raises(DataError, match="3 bands of uint16"):
        cut_chips([raster, deep], labels, tmp_path / "out")
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write_raster(tmp_path / "plain.png", Affine.identity(), None, noise(), driver="PNG")
    with pytest.raises(ImageError, match="does not say where it lies"):
        cut_chips([tmp_path / "plain.png"], labels, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_windows_cover_a_raster_once() -> None:
    covered = np.zeros((100, 75), int)
    for top, left, height, width in windows_of(100, 75, 32):
        assert max(height, width) <= 32
        covered[top : top + height, left : left + width] += 1
    assert (covered == 1).all()


def test_of_two_neighbours_the_one_in_the_larger_split_goes() -> None:
    pairs = np.array([[0, 1], [1, 2], [2, 3]])
    np.testing.assert_array_equal(without_neighbours(np.array([0, 0, 1, 2]), pairs), [0, -1, -1, 2])


def test_every_class_is_in_every_split() -> None:
    corners = np.stack(np.meshgrid(np.arange(20), np.arange(20)), axis=-1).reshape(-1, 2)
    boxes = np.concatenate([corners, corners + 1], axis=1).astype(float)
    rare = (corners[:, 1] < 3).astype(int)  # along the upper edge
    found = split_by_blocks(boxes, np.stack([1 - rare, rare], axis=1), 0.15, 0.15)
    for split in (0, 1, 2):
        assert rare[found.of_N == split].any()
    assert np.mean(found.of_N == -1) < 0.2
