"""From a GeoTIFF in UTM and polygons in degrees to a model and back to polygons: every place is GDAL's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.datasets.map_chips import ChipOptions, cut_chips

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
features = pytest.importorskip("rasterio.features", reason="needs the extra geo")
pyogrio_raw = pytest.importorskip("pyogrio.raw", reason="needs the extra geo")
shapely = pytest.importorskip("shapely", reason="needs the extra geo")

from synthetic_maps import UTM, blobs, write_raster, write_shapes  # noqa: E402

SIDE = 256


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ogr2ogr") is None, reason="needs GDAL's tools (gdal-bin)")
def test_places_there_and_back(tmp_path: Path) -> None:
    shapes = blobs(60, size=(SIDE, SIDE))
    burnt = features.rasterize(shapes, (SIDE, SIDE), transform=UTM)
    noise = np.random.default_rng(0).integers(60, 90, (3, SIDE, SIDE))
    pixels = (noise + 120 * burnt).astype(np.uint8)
    raster = write_raster(tmp_path / "town.tif", pixels=pixels, photometric="rgb")
    write_shapes(tmp_path / "utm.gpkg", shapes, label=["house"] * 60)
    labels = tmp_path / "labels.gpkg"
    subprocess.run(["ogr2ogr", "-t_srs", "EPSG:4326", labels, tmp_path / "utm.gpkg"], check=True)
    cut_chips([raster], labels, tmp_path / "data", ChipOptions(size_px=32, val=0.2, test=0))
    pw.train(tmp_path / "data", tmp_path / "run", pw.Recipe(epochs=3, size=(32, 32), policy="native"))
    pw.predict(tmp_path / "run", [raster], tmp_path / "out", save=("labels", "geopackage"))
    with rasterio.open(raster) as source, rasterio.open(tmp_path / "out" / "town.tif") as result:
        assert (result.crs, result.shape) == (source.crs, source.shape)
        np.testing.assert_allclose(result.transform, source.transform, atol=0.01 * 0.5)
        found = result.read(1)
    assert (found == burnt).mean() > 0.9
    subprocess.run(
        ["gdal_polygonize.py", "-q", tmp_path / "out" / "town.tif", "-f", "GPKG", tmp_path / "gdal.gpkg"], check=True
    )
    ours, gdals = (pyogrio_raw.read(path) for path in (tmp_path / "out" / "town.gpkg", tmp_path / "gdal.gpkg"))
    of_house = shapely.union_all(shapely.from_wkb(ours[2][ours[3][list(ours[0]["fields"]).index("class")] == "house"]))
    expected = shapely.union_all(shapely.from_wkb(gdals[2][gdals[3][0] == 1]))
    assert shapely.hausdorff_distance(of_house, expected) < 0.01 * 0.5
