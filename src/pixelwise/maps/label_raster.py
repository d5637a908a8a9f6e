"""Labels as a raster on the image's grid: a cloud-optimised GeoTIFF with its colour table, and the classes' names.

GDAL keeps names in a file beside the TIFF, NAME.tif.aux.xml: as category names, and as a raster attribute table, which
QGIS and ArcGIS read.

Formats: gdal.org/drivers/raster/cog.html; gdal.org/user/raster_data_model.html.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from pixelwise.errors import OutputError
from pixelwise.images.files import shown
from pixelwise.maps.grid import Grid
from pixelwise.records import ClassList

BLOCK_PX = 512
# name, type (0 whole number, 2 text) and usage as GDAL numbers them
COLUMNS = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))


def write_cog(plain: Path, cog: Path, grid: Grid) -> None:
    """Turn a palette TIFF into a cloud-optimised GeoTIFF on a grid, with overviews.

    Raises:
        OutputError: it cannot be written.
    """
    import rasterio
    import rasterio.shutil
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with rasterio.Env(GDAL_CACHEMAX=256), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(plain, "r+") as image:
                if not same_grid(image, grid):
                    image.transform = rasterio.Affine(*grid.transform)
                    if grid.crs is not None:
                        image.crs = rasterio.CRS.from_user_input(grid.crs)
            rasterio.shutil.copy(
                plain, cog, driver="COG", compress="DEFLATE", predictor="NO", blocksize=BLOCK_PX,
                overview_resampling="NEAREST", bigtiff="IF_SAFER", num_threads=1,
            )  # fmt: skip
    except RasterioError as error:
        reason = f"GDAL reports: {error}"
        raise OutputError(f"{shown(cog)}: the label raster cannot be written ({reason}).") from error


def same_grid(image: Any, grid: Grid) -> bool:
    """Whether a TIFF already has the grid in its tags, copied from the image, which keep it to the last digit."""
    return tuple(image.transform)[:6] == grid.transform and (grid.crs is None or image.crs is not None)


def class_table(classes: ClassList) -> bytes:
    """The content of NAME.tif.aux.xml."""
    names = "".join(f"<Category>{escape(name)}</Category>" for name in classes.names)
    fields = "".join(
        f'<FieldDefn index="{index}"><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage></FieldDefn>'
        for index, (name, kind, usage) in enumerate(COLUMNS)
    )
    rows = "".join(
        f'<Row index="{number}"><F>{number}</F><F>{escape(name)}</F>'
        + "".join(f"<F>{one}</F>" for one in colour)
        + "</Row>"
        for number, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True))
    )
    table = f'<GDALRasterAttributeTable tableType="thematic">{fields}{rows}</GDALRasterAttributeTable>'
    band = f'<PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames>{table}</PAMRasterBand>'
    return f"<PAMDataset>{band}</PAMDataset>\n".encode()
