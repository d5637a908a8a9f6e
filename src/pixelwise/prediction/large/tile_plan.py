"""Decide whether to cut an image into tiles, and their size, so that objects keep the scale of training.

A bundle resizes an image to its input size (`stretch`, `fit`), or keeps its scale (`native`). The size of a tile is

    native           at least 512 px a side, or twice the input size of training; as large as the training images, up
                     to 2048 px, if exposure is normalised: a small tile may be darker than the image that it is from
    stretch, fit     the median size of the training images, which the bundle stores
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pixelwise.bundle.metadata import Metadata
from pixelwise.errors import UsageError
from pixelwise.images.tiff_header import tiff_size
from pixelwise.maps.gdal_files import is_vrt_file, jpeg2000_size
from pixelwise.prediction.large.tiles import Tiling, tiling
from pixelwise.records import RGB, Bands

# Images of more pixels are cut into tiles, so that each takes at most about 1 GB of memory. With `native` the network
# computes at the image's size, which takes 200 bytes per pixel; otherwise the image is only resized.
WHOLE_PIXELS = {"native": 2048 * 2048, "fit": 32_000_000, "stretch": 32_000_000}
# Larger files are read, labelled and written piece by piece; smaller ones can be saved in every format.
PIECEWISE_PIXELS = 32_000_000
NATIVE_TILE_PX = 512
EXPOSED_TILE_PX = 2048  # at most, of a tile whose exposure is normalised
COARSER = 1.5  # times the size of the training images: a larger map is cut into tiles, as all maps have one scale
OVERLAP_SHARE = 8  # tiles overlap by 1/8
MAX_SIDE_PX = 8192  # of a tile
PIXEL_BYTES = 12  # of a pixel for which these limits hold: three bands of float32; RGB takes less

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Tiles:
    """How to cut an image. None: chosen to fit the model."""

    size: Size | None = None
    overlap_px: int | None = None
    always: bool = False  # cut images of any size, not only large ones


def parse_tiles(tile: str | None, overlap_px: int | None) -> Tiles:
    """Parse `--tile 512` or `--tile 360x480` (height × width), and `--overlap`.

    Raises:
        UsageError: not a size, or an overlap of more than half a tile.
    """
    if tile is None:
        return Tiles(None, overlap_px)
    sides = tile.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and 32 <= int(side) <= MAX_SIDE_PX for side in sides):
        raise UsageError(
            f"--tile {tile}: expected PX or HEIGHTxWIDTH in pixels of the image, 32 to {MAX_SIDE_PX}, such as 512."
        )
    size = int(sides[0]), int(sides[-1])
    check_overlap(size, overlap_px)
    return Tiles(size, overlap_px, always=True)


def check_overlap(size: Size, overlap_px: int | None) -> None:
    if overlap_px is not None and not 0 <= overlap_px <= min(size) // 2:
        raise UsageError(
            f"--overlap {overlap_px}: expected 0 to {min(size) // 2}, half the shorter side of a tile of "
            f"{size[0]}×{size[1]} pixels (height × width)."
        )


def native_tile(size: Size, exposed: Size | None = None) -> Size:
    """The tile of a model with the policy `native` that was trained on crops of `size`.

    Args:
        exposed: the usual size of its images, if it normalises their exposure.
    """
    least = max(NATIVE_TILE_PX, 2 * size[0]), max(NATIVE_TILE_PX, 2 * size[1])
    if exposed is None:
        return least
    return max(least[0], min(exposed[0], EXPOSED_TILE_PX)), max(least[1], min(exposed[1], EXPOSED_TILE_PX))


def overlap_of(tile: Size) -> Size:
    return tile[0] // OVERLAP_SHARE, tile[1] // OVERLAP_SHARE


def trained_size(metadata: Metadata) -> Size | None:
    """The median size (height, width) of a model's training images, if its bundle states it."""
    stored = metadata.provenance.get("data", {}).get("image_size")
    if isinstance(stored, list) and len(stored) == 2 and all(isinstance(side, int) and side > 0 for side in stored):
        return int(stored[0]), int(stored[1])
    return None


def loses_scale(metadata: Metadata, size: Size) -> bool:
    """Whether a model resizes an image of this size (height, width) to a much coarser scale than it was trained at."""
    trained = trained_size(metadata)
    if metadata.policy == "native" or trained is None:
        return False
    return any(side > COARSER * usual for side, usual in zip(size, trained, strict=True))


def tile_size(metadata: Metadata) -> tuple[Size, str]:
    """The tile (height, width) that fits a model, and the reason."""
    trained = trained_size(metadata)
    if metadata.policy == "native":
        tile = native_tile(metadata.size, trained if metadata.even_exposure else None)
        return tile, "the model takes images at their original scale"
    if trained is not None:
        height, width = (min(max(side, 32), MAX_SIDE_PX) for side in trained)
        return (height, width), "as large as the images that the model was trained on"
    return metadata.size, (
        "the bundle does not state the size of its training images, so a tile has the network's input size; if they "
        "were larger, give their size: --tile HEIGHTxWIDTH"
    )


def tiling_of(metadata: Metadata, size: Size, tiles: Tiles) -> tuple[Tiling, str]:
    """The tiling of an image of `size`, and the reason.

    Raises:
        UsageError: tiles that overlap by more than half.
    """
    chosen, reason = tile_size(metadata) if tiles.size is None else (tiles.size, "set by the user")
    check_overlap(chosen, tiles.overlap_px)
    overlap = overlap_of(chosen) if tiles.overlap_px is None else (tiles.overlap_px, tiles.overlap_px)
    return replace(tiling(size, chosen, overlap), classes=len(metadata.classes)), reason


def most_pixels(limit: int, bands: Bands) -> int:
    """A limit in pixels, reduced where these bands take more memory than three of float32."""
    return limit * PIXEL_BYTES // max(bytes_of_pixel(bands), PIXEL_BYTES)


def bytes_of_pixel(bands: Bands) -> int:
    """Bytes of one pixel in memory, as a model of these bands takes it."""
    return len(bands) * (1 if bands.dtype == "uint8" else 4)


def is_cut(size: Size, policy: str, bands: Bands = RGB) -> bool:
    """Whether an image of this size is cut into tiles by default, for a model with this policy and these bands."""
    return size[0] * size[1] > most_pixels(WHOLE_PIXELS[policy], bands)


def is_large(size: Size, tiles: Tiles, bands: Bands = RGB) -> bool:
    """Whether an image of this size is labelled and written piece by piece."""
    return tiles.always or size[0] * size[1] > most_pixels(PIECEWISE_PIXELS, bands)


def is_read_by_rows(path: Path, tiles: Tiles, bands: Bands = RGB) -> bool:
    """Whether this is a file that is read and labelled piece by piece: a large TIFF or JPEG 2000, or any VRT."""
    size = tiff_size(path) or jpeg2000_size(path)
    return is_vrt_file(path) if size is None else is_large(size, tiles, bands)
