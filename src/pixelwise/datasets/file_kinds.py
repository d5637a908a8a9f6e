"""File kinds by suffix, and the words that name a split."""

from __future__ import annotations

import re
from pathlib import Path

from pixelwise.datasets.unread_files import ENDINGS

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".gif",
    ".avif", ".heic", ".heif", ".jp2", ".j2k", ".tga",
)  # fmt: skip
NUMPY_SUFFIX = ".npy"  # masks; images only where there are no others
VOLUME_SUFFIXES = (".nii.gz", ".nii")
LAYER_SUFFIXES = IMAGE_SUFFIXES  # files that may be masks
MASK_SUFFIXES = (*LAYER_SUFFIXES, NUMPY_SUFFIX)
OF_IMAGES = ("images", "image", "imgs", "img")  # folders with these names hold no masks
UNREAD_SUFFIXES = (".npy", *ENDINGS)
_PHOTOS = (
    *(".jp2", ".j2k", ".jpx", ".jxl", ".heic", ".heif", ".avif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".psd"),
    *(".exr", ".tga", ".ecw", ".sid", ".svs", ".ndpi", ".czi", ".lif", ".nd2"),
)
UNREAD_PHOTOS = tuple(suffix for suffix in _PHOTOS if suffix not in IMAGE_SUFFIXES)  # images in unsupported formats
# Tables, settings and texts: read if they are relevant, otherwise ignored next to images.
SIDE_SUFFIXES = (
    ".csv", ".tsv", ".txt", ".md", ".toml", ".yaml", ".yml", ".ini", ".html", ".jsonl", ".ndjson", ".parquet", ".log",
    ".geojson", ".names", ".rst", ".lst", ".xlsx",
)  # fmt: skip
DRAWING_SUFFIXES = (".json", ".xml")
OF_GIS = (".aux.xml", ".qml")  # endings of what GDAL and QGIS keep beside a raster: statistics, names, colours
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def is_volume(path: Path) -> bool:
    """Whether this is a NIfTI volume by its name."""
    return path.name.lower().endswith(VOLUME_SUFFIXES)


def stem_of(path: Path) -> str:
    """The file's name without its suffix: "a.nii.gz" → "a", "frame.0001.png" → "frame.0001"."""
    ending = next((one for one in VOLUME_SUFFIXES if path.name.lower().endswith(one)), path.suffix)
    return path.name[: len(path.name) - len(ending)]


def split_of(path: Path, root: Path) -> str:
    """The split named by the words of a path, or "all"."""
    words = {SPLIT_WORDS.get(word) for word in re.findall(r"[a-z]+", str(path.relative_to(root)).lower())}
    return next((split for split in ("train", "val", "test") if split in words), "all")
