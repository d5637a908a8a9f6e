"""Measurements, equal to those of scikit-image's `regionprops`."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pixelwise.images.pixel_size import PixelSize
from pixelwise.objects.measure import measure_objects
from pixelwise.objects.object_records import FoundObjects, ObjectTable, Separation
from pixelwise.objects.separate import find_objects

skimage_measure = pytest.importorskip("skimage.measure", reason="the oracle; install pixelwise[objects]")
NAMES = ("background", "blob", "speck")
SHAPES = (
    "area",
    "area_convex",
    "perimeter",
    "equivalent_diameter_area",
    "axis_major_length",
    "axis_minor_length",
    "orientation",
    "eccentricity",
    "solidity",
    "euler_number",
)


def blobs(seed: int, height: int = 120, width: int = 150) -> np.ndarray:
    """Blobs of every shape, with holes; and single pixels, a line and a corner, where formulas break."""
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    labels = (cv2.GaussianBlur(noise, (0, 0), 3) > 0.02).astype(np.uint8)
    labels[0:2, 0:3], labels[50, 60:64], labels[90, 90], labels[100:103, 100] = 2, 2, 2, 2
    return labels


@pytest.fixture(scope="module")
def measured() -> tuple[FoundObjects, np.ndarray, ObjectTable]:
    labels, random = blobs(1), np.random.default_rng(2)
    values = random.random((*labels.shape, 2)).astype(np.float32)
    found = find_objects(labels, {1: Separation(), 2: Separation()})
    table = measure_objects(found, NAMES, values[..., :1], ["DAPI"], values[..., 1], PixelSize(2e-6, 2e-6))
    return found, values, table


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_those_of_regionprops(measured: tuple[FoundObjects, np.ndarray, ObjectTable], name: str) -> None:
    found, _, table = measured
    expected = [getattr(one, name) for one in skimage_measure.regionprops(found.objects_HW.astype(np.int32))]
    assert len(expected) > 15
    np.testing.assert_allclose(table.columns[name], expected, rtol=1e-6, atol=1e-6)


def test_places_and_intensities_are_those_of_regionprops(
    measured: tuple[FoundObjects, np.ndarray, ObjectTable],
) -> None:
    found, values, table = measured
    expected = skimage_measure.regionprops(found.objects_HW.astype(np.int32), intensity_image=values)
    for name in ("centroid", "bbox"):
        columns = [table.columns[f"{name}-{i}"] for i in range(len(getattr(expected[0], name)))]
        np.testing.assert_allclose(np.stack(columns, axis=1), [getattr(one, name) for one in expected])
    for name in ("mean", "min", "max", "std"):
        band = [getattr(one, f"intensity_{name}")[0] for one in expected]
        np.testing.assert_allclose(table.columns[f"intensity_{name}-DAPI"], band, rtol=1e-5)
    confidence = [one.intensity_mean[1] for one in expected]
    np.testing.assert_allclose(table.columns["confidence_mean"], confidence, rtol=1e-5)


def test_classes_edges_and_units(measured: tuple[FoundObjects, np.ndarray, ObjectTable]) -> None:
    found, _, table = measured
    columns = table.columns
    assert set(columns["class"]) == {"blob", "speck"}
    corner = int(found.objects_HW[0, 0]) - 1
    assert columns["touches_edge"][corner]
    assert not columns["touches_edge"][int(found.objects_HW[90, 90]) - 1]
    assert table.unit == "um"
    np.testing.assert_allclose(columns["area_um2"], columns["area"] * 4.0)
    np.testing.assert_allclose(columns["axis_major_length_um"], columns["axis_major_length"] * 2)
    np.testing.assert_allclose(columns["perimeter_um"], columns["perimeter"] * 2)


def test_pixels_that_are_not_square_stretch_the_axes_and_have_no_perimeter() -> None:
    found = find_objects(np.ones((4, 4), np.uint8), {1: Separation()})
    columns = measure_objects(found, NAMES, pixel_size=PixelSize(30.0, 10.0)).columns
    expected = skimage_measure.regionprops(np.ones((4, 4), np.int32), spacing=(30, 10))[0]
    assert columns["area_m2"].tolist() == [4800.0]
    assert columns["axis_major_length_m"] == pytest.approx(expected.axis_major_length)
    assert "perimeter_m" not in columns


def test_degrees_are_no_length() -> None:
    found = find_objects(np.ones((4, 4), np.uint8), {1: Separation()})
    assert measure_objects(found, NAMES, pixel_size=PixelSize(1e-5, 1e-5, "°")).unit == ""


def test_pixels_without_data_do_not_count_as_dark() -> None:
    values = np.full((3, 4, 1), 7.0, np.float32)
    values[0, 0], values[:, 3] = np.nan, np.nan
    labels = np.array([[1, 1, 0, 1]] * 3, np.uint8)
    columns = measure_objects(find_objects(labels, {1: Separation()}), NAMES, values, ["B8"]).columns
    assert columns["intensity_mean-B8"][0] == 7.0
    assert np.isnan(columns["intensity_mean-B8"][1])


def test_an_image_without_objects_has_an_empty_table_with_all_columns() -> None:
    found = find_objects(np.zeros((5, 6), np.uint8), {1: Separation()})
    table = measure_objects(found, NAMES, np.zeros((5, 6, 1), np.uint8), ["grey"])
    assert len(table) == 0
    assert {"label", "class", "area", "intensity_mean-grey"} <= set(table.columns)
