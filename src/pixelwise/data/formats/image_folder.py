"""Hugging Face image folders: [train/, …] with metadata.csv or metadata.jsonl, whose columns name image and mask files.

Format: huggingface.co/docs/datasets/image_dataset. The image's column is file_name (or image_file_name); the mask's is
any other one that ends in _file_name, or is called mask, label or annotation.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from pixelwise.data.files import Refusal, read_bytes
from pixelwise.data.formats.drawing import files_below, split_of
from pixelwise.data.layouts import Listing, sample_of

NAMES = ("metadata.csv", "metadata.jsonl")
IMAGE_COLUMNS = ("file_name", "image_file_name", "image")
MASK_COLUMNS = (
    "mask_file_name",
    "label_file_name",
    "annotation_file_name",
    "mask",
    "label",
    "annotation",
    "segmentation",
)


def is_image_folder(root: Path) -> bool:
    return any(_columns(path) for path in _tables(root))


def list_image_folder(root: Path) -> Listing:
    listing = Listing(root)
    for path in _tables(root):
        columns = _columns(path)
        if not columns:
            continue
        for row in _rows(path):
            image, mask = (path.parent / str(row.get(column) or "?") for column in columns)
            missing = [file for file in (image, mask) if not file.is_file()]
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
    """The columns of image and mask; None where there are no such columns."""
    known = set().union(*(row.keys() for row in _rows(path)[:5]))
    image = next((name for name in IMAGE_COLUMNS if name in known), None)
    mask = next((name for name in MASK_COLUMNS if name in known and name != image), None)
    return (image, mask) if image and mask else None


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = read_bytes(path).decode("utf-8", "replace")
        if path.suffix == ".csv":
            return list(csv.DictReader(io.StringIO(text)))
        return [row for line in text.splitlines() if line.strip() and isinstance(row := json.loads(line), dict)]
    except (Refusal, ValueError, csv.Error):
        return []
