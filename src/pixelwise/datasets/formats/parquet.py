"""Hugging Face parquet: image and mask files stored in the rows of parquet files; file names give the splits.

Needs pyarrow (`pip install 'pixelwise[formats]'`). Rows are read by row group; the last few groups are cached.
Format: huggingface.co/docs/datasets/image_load; columns of struct(bytes, path).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from pixelwise.datasets.file_kinds import split_of
from pixelwise.datasets.formats.field_checks import colour_of, table_of, text_of
from pixelwise.datasets.formats.image_lookup import files_below
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.listing import DeclaredClasses, Listing
from pixelwise.errors import MissingExtraError
from pixelwise.images.decode import MaskIds, mask_ids_of
from pixelwise.images.decoder_reasons import because
from pixelwise.images.files import Refusal
from pixelwise.records import Colour, Sample

IMAGE_COLUMNS = ("image", "pixel_values", "img")
MASK_COLUMNS = ("label", "mask", "annotation", "labels", "segmentation", "masks", "semantic_mask", "segmentation_mask")
MAGIC = b"PAR1"
GROUP_ROWS = 100


def recognises(root: Path) -> bool:
    return bool(files_below(root, (".parquet",), depth=2))


def list_pairs(root: Path) -> Listing:
    """Every row with an image and a mask."""
    listing = Listing(root)
    for path in files_below(root, (".parquet",), depth=2):
        try:
            file = _opened(path, path.stat().st_mtime_ns)
        except (Refusal, OSError) as problem:
            what = problem.what if isinstance(problem, Refusal) else f"cannot be read ({problem.strerror})."
            listing.error("truncated", path, what, "Download or export the file again.")
            continue
        columns = set(file.schema_arrow.names)
        image = next((name for name in IMAGE_COLUMNS if name in columns), None)
        mask = next((name for name in MASK_COLUMNS if name in columns), None)
        if image is None or mask is None:
            message = f"has the columns {', '.join(sorted(columns))[:200]}; expected image and label (or mask)."
            listing.error("columns", path, message, "Rename the columns.")
            continue
        split = split_of(path, root)
        with problems_of(listing, path, "in its schema"):
            listing.declared = listing.declared or _declared(file.schema_arrow.metadata or {})
        for row in range(file.metadata.num_rows):
            name = f"{listing.where(path.with_suffix(''))}/{row:06}"
            sample = Sample(name, path, path, f"parquet:{row}/{image}", f"parquet:{row}/{mask}")
            listing.splits.setdefault(split, []).append(sample)
    return listing


def image_bytes(path: Path, entry: str) -> bytes:
    """The bytes of the image file in one cell. `entry`: row/column."""
    return _cell(path, entry)


def mask_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    del size
    return mask_ids_of(_cell(path, entry))


def write_table(
    path: Path, rows: Iterable[tuple[bytes, bytes, str]], names: tuple[str, ...], colours: tuple[Colour, ...]
) -> None:
    """Write a parquet file of (image file, mask file, name), group by group, with classes in the schema metadata."""
    pa, pq = _library()
    cell = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    classes = json.dumps({"names": names, "colours": colours})
    schema = pa.schema([("image", cell), ("label", cell)], metadata={"pixelwise": classes})
    waiting = iter(rows)
    with pq.ParquetWriter(path, schema) as writer:
        while group := list(islice(waiting, GROUP_ROWS)):
            image = pa.array([{"bytes": image, "path": name} for image, _, name in group], cell)
            mask = pa.array([{"bytes": mask, "path": name} for _, mask, name in group], cell)
            writer.write_table(pa.table([image, mask], schema=schema))


def _cell(path: Path, entry: str) -> bytes:
    row, column = entry.split("/", 1)
    try:
        changed = path.stat().st_mtime_ns
        place, group = int(row), 0
        file = _opened(path, changed)
        while place >= file.metadata.row_group(group).num_rows:
            place -= file.metadata.row_group(group).num_rows
            group += 1
        value = _group(path, changed, group, column)[place]
    except Refusal:
        raise
    except Exception as error:  # pyarrow raises many kinds on damaged pages
        what = because(f"its row {row} cannot be read", error)
        raise Refusal("truncated", f"{what}.", "Download or export the file again.") from error
    if isinstance(value, dict):
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise Refusal(
            "empty-file", f"row {row} has no file in its column {column}.", "Export it with the files inside."
        )
    return value


READING = threading.Lock()  # pyarrow crashes if two threads share an open file


@lru_cache(maxsize=8)
def _group(path: Path, changed_ns: int, group: int, column: str) -> list[Any]:
    with READING:
        return list(_opened(path, changed_ns).read_row_group(group, columns=[column]).column(0).to_pylist())


@lru_cache(maxsize=8)
def _opened(path: Path, _changed_ns: int) -> Any:
    _, pq = _library()
    with path.open("rb") as file:
        head, size = file.read(4), file.seek(0, 2)
        file.seek(max(size - 4, 0))
        tail = file.read(4)
    if head != MAGIC or tail != MAGIC:
        raise Refusal("truncated", "the parquet file is cut short: its end is missing.", "Download it again.")
    try:
        return pq.ParquetFile(path)
    except Exception as error:
        what = because("no parquet file can be read here", error)
        raise Refusal("truncated", f"{what}.", "Download it again.") from error


def _declared(metadata: dict[bytes, bytes]) -> DeclaredClasses | None:
    if b"pixelwise" not in metadata:
        return None
    table = table_of(json.loads(metadata[b"pixelwise"]), "classes")
    names = tuple(text_of(name, "class") for name in table["names"])
    colours = tuple(colour_of(colour) for colour in table["colours"])
    ids = tuple(range(len(names)))
    if len(colours) != len(names):
        raise Refusal("annotations", f"has {len(names)} classes but {len(colours)} colours.", "Export it again.")
    return DeclaredClasses(names, ids, colours, frozenset({255}), "the parquet schema's")


def _library() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow, which reads parquet files,", "formats") from error
    return pyarrow, pyarrow.parquet
