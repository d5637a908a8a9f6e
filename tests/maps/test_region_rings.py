"""Outlines of regions, against GDAL's own and against counting pixels."""

import numpy as np
import pytest

from pixelwise.maps.region_rings import region_rings

shapely = pytest.importorskip("shapely")
rasterio_features = pytest.importorskip("rasterio.features")


def regions_of(labels, kept, values=None, rows=7):
    """In strips of so many rows."""
    (regions,) = parts_of(labels, kept, values, rows)
    return regions


def parts_of(labels, kept, values=None, rows=7, **options):
    tops = range(0, len(labels), rows)
    maps = None if values is None else [values[top : top + rows] for top in tops]
    strips = [labels[top : top + rows] for top in tops]
    return list(region_rings(strips, labels.shape, kept, maps, **options))


def polygons(regions):
    found = []
    for first, stop in zip(regions.region_starts[:-1], regions.region_starts[1:], strict=True):
        parts = [slice(*regions.ring_starts[ring : ring + 2]) for ring in range(first, stop)]
        rings = [np.stack([regions.xs[part], regions.ys[part]], axis=1) for part in parts]
        found.append(shapely.Polygon(rings[0], rings[1:]))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_regions_are_those_that_gdal_finds(seed):
    """Noise of pixels and of blocks: holes in holes, outlines that touch at corners, void, the image's edges."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(1, 4))
    labels = rng.integers(0, classes + 1, rng.integers(1, 30, 2)).astype(np.uint8)
    if seed % 2:
        labels = np.kron(labels, np.ones((3, 2), np.uint8))
    labels[labels == classes] = 255
    values = rng.integers(0, 65536, labels.shape).astype(np.uint16)
    found = regions_of(labels, range(classes), values)
    drawn = polygons(found)
    gdal = [shapely.geometry.shape(one) for one, _ in rasterio_features.shapes(labels, labels != 255, connectivity=4)]
    assert all(one.is_valid for one in drawn)
    assert sorted(one.area for one in drawn) == sorted(one.area for one in gdal)
    numbers = list(zip(drawn, range(1, len(drawn) + 1), strict=True))
    place = rasterio_features.rasterize(numbers, labels.shape, dtype=np.int32) if drawn else np.zeros(labels.shape, int)
    assert ((place > 0) == (labels != 255)).all()
    assert (found.labels[place[place > 0] - 1] == labels[place > 0]).all()
    assert (np.bincount(place.ravel(), minlength=len(drawn) + 1)[1:] == found.pixels).all()
    sums = np.bincount(place.ravel(), values.ravel(), minlength=len(drawn) + 1)[1:]
    assert (sums == found.sums).all()


def test_strips_of_any_height_give_the_same_regions():
    labels = np.kron(np.random.default_rng(3).integers(0, 3, (9, 11)), np.ones((4, 3))).astype(np.uint8)
    one, other = regions_of(labels, [0, 1, 2], rows=1), regions_of(labels, [0, 1, 2], rows=36)
    for name in ("xs", "ys", "ring_starts", "region_starts", "labels", "pixels"):
        assert (getattr(one, name) == getattr(other, name)).all(), name


def test_an_outer_ring_that_touches_itself_becomes_a_ring_and_a_hole():
    labels = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.uint8)
    (ring,) = polygons(regions_of(labels, [1]))
    assert ring.is_valid
    assert len(ring.interiors) == 1
    assert ring.area == 7


@pytest.mark.parametrize("seed", range(8))
def test_regions_given_as_they_end_are_the_same(seed):
    """Also those that go on across many strips, and their holes."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.random((40, 12)) < 0.6, np.ones((2, 3))).astype(np.uint8)
    values = rng.integers(0, 65536, labels.shape).astype(np.uint16)
    whole = regions_of(labels, [0, 1], values)
    parts = parts_of(labels, [0, 1], values, rows=3, at_once=10)
    assert len(parts) > 3
    assert sum(len(part) > 0 for part in parts) > 2

    def facts(regions):
        drawn = (shapely.normalize(one).wkb for one in polygons(regions))
        return list(zip(drawn, regions.labels.tolist(), regions.pixels.tolist(), regions.sums.tolist(), strict=True))

    assert sorted(fact for part in parts for fact in facts(part)) == sorted(facts(whole))


def test_neighbours_share_every_corner():
    """Where three regions meet, the one with the straight edge has a corner too."""
    labels = np.array([[0, 0, 0, 0], [1, 1, 2, 2]], np.uint8)
    regions = polygons(regions_of(labels, [0, 1, 2]))
    assert shapely.coverage_is_valid(regions)
    assert (2.0, 1.0) in regions[0].exterior.coords


def test_no_region_at_all():
    found = regions_of(np.full((5, 4), 255, np.uint8), [0, 1], np.ones((5, 4), np.uint16))
    assert len(found) == 0
    assert len(found.sums) == 0
