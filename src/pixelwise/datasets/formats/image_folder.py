"""Hugging Face image folders: [train/, …] with metadata.csv or metadata.jsonl, whose columns name image and mask files.

Format: huggingface.co/docs/datasets/image_dataset. The image column is file_name (or image_file_name); the mask column
is any other that ends in _file_name, or is called mask, label or annotation.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from pixelwise.datasets.file_kinds import split_of
from pixelwise.datasets.formats.field_checks import table_of, text_of
from pixelwise.datasets.formats.image_lookup import below, files_below
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.listing import Listing, sample_of
from pixelwise.images.files import is_file, read_bytes

NAMES = ("metadata.csv", "metadata.jsonl")
IMAGE_COLUMNS = ("file_name", "image_file_name", "image")
MASK_COLUMNS = (
    "mask_file_name", "label_file_name", "annotation_file_name", "mask", "label", "annotation", "segmentation",
)  # fmt: skip


def recognises(root: Path) -> bool:
    return any(_columns(path) for path in _tables(root))


def list_pairs(root: Path) -> Listing:
    """The pairs that the tables name. An error in one row does not stop the others."""
    listing = Listing(root)
    for path in _tables(root):
        columns = _columns(path)
        if not columns:
            continue
        for number, row in enumerate(_rows(path, listing), start=1):
            with problems_of(listing, path, f"row {number}:"):
                image, mask = (below(path.parent, text_of(row.get(c), c, "surrogateescape"), root) for c in columns)
                missing = [file for file in (image, mask) if not is_file(file)]
                for file in missing:
                    kind = "image-missing" if file is image else "mask-missing"
                    listing.error(kind, file, f"no such file, but {path.name} names it.", "Add it, or remove the row.")
                if not missing:
                    listing.splits.setdefault(split_of(path, root), []).append(sample_of(image, mask, listing))
    return listing


def metadata_text(rows: list[tuple[str, str]]) -> bytes:
    """metadata.jsonl of image and mask files."""
    lines = (json.dumps({"file_name": image, "mask_file_name": mask}) for image, mask in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _tables(root: Path) -> list[Path]:
    return [path for path in files_below(root, (".csv", ".jsonl"), depth=2) if path.name in NAMES]


def _columns(path: Path) -> tuple[str, str] | None:
    """The image and mask columns; None if they are missing."""
    known = set().union(*(row.keys() for row in _rows(path)[:5]))
    image = next((name for name in IMAGE_COLUMNS if name in known), None)
    mask = next((name for name in MASK_COLUMNS if name in known and name != image), None)
    return (image, mask) if image and mask else None


def _rows(path: Path, listing: Listing | None = None) -> list[dict[str, Any]]:
    """The rows of a table. Unreadable parts are reported in the listing."""
    rows: list[dict[str, Any]] = []
    told = listing or Listing(path.parent)
    with problems_of(told, path):
        text = read_bytes(path).decode("utf-8-sig", "surrogateescape")
        if path.suffix == ".csv":
            rows += csv.DictReader(io.StringIO(text))
            return rows
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                with problems_of(told, path, f"line {number}:"):
                    rows.append(table_of(json.loads(line), "row"))
    return rows
