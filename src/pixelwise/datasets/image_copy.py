"""A sample's image as one file to be written: its own bytes where it is one file, else a TIFF with all its bands."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path

from pixelwise.datasets.read_sample import image_bytes, sample_bands
from pixelwise.images.band_names import GDAL_METADATA
from pixelwise.images.banded_image import BandedImage
from pixelwise.images.files import SUFFIX_OF, Refusal, image_format
from pixelwise.records import RGB, Bands, Sample


def image_copy(sample: Sample, bands: Bands) -> tuple[bytes, str]:
    """The bytes of a file with the sample's image, and its suffix. `bands`: those of the dataset. Raises Refusal."""
    if bands != RGB and sample.image_part:
        return tiff_with_names(sample_bands(sample)), ".tif"
    data = image_bytes(sample)
    try:
        return data, SUFFIX_OF[image_format(data)]
    except (Refusal, KeyError):
        if bands == RGB:
            raise
        return data, Path(sample.image).suffix.lower()


def tiff_with_names(image: BandedImage) -> bytes:
    """An uncompressed TIFF with all bands, named as GDAL does."""
    import tifffile

    rows = [
        f'<Item name="DESCRIPTION" sample="{i}" role="description">{escape(name)}</Item>'
        for i, name in enumerate(image.band_names)
    ]
    metadata = f"<GDALMetadata>{''.join(rows)}</GDALMetadata>"
    file = io.BytesIO()
    several = image.pixels.shape[2] > 1
    tifffile.imwrite(
        file,
        image.pixels if several else image.pixels[:, :, 0],
        photometric="minisblack",
        planarconfig="contig" if several else None,
        metadata=None,
        extratags=[(GDAL_METADATA, "s", 0, metadata, True)],
    )
    return file.getvalue()
