"""The files of an image's objects: tables, polygons, run lengths, and the map of their numbers.

Shapes: N objects.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.formats.coco_writer import instances_piece
from pixelwise.datasets.formats.geojson import collection_parts
from pixelwise.datasets.formats.polygons import rings
from pixelwise.errors import MissingExtraError
from pixelwise.objects.object_records import ObjectTable
from pixelwise.objects.stream_objects import MeasuredObjects
from pixelwise.records import ClassList

CSV_ROWS = 4096  # at a time
TILE_PX = 256
SIXTEEN_BITS = 65535
COPY_BYTES = 1 << 20
Geometry = dict[str, Any]  # of GeoJSON


def csv_parts(table: ObjectTable) -> Iterator[bytes]:
    """A table as CSV: a header, one line an object; an empty field where there is no value."""
    yield (",".join(quoted(name) for name in table.columns) + "\n").encode()
    for top in range(0, len(table), CSV_ROWS):
        columns = [texts_of(values[top : top + CSV_ROWS]) for values in table.columns.values()]
        yield "".join(",".join(row) + "\n" for row in zip(*columns, strict=True)).encode()


def texts_of(values: NDArray[Any]) -> list[str]:
    """Values as text. Floats have eight significant digits."""
    if values.dtype.kind == "f":
        return ["" if value != value else f"{value:.8g}" for value in values.tolist()]
    if values.dtype.kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    return [quoted(str(value)) for value in values.tolist()]


def quoted(text: str) -> str:
    """A field of RFC 4180."""
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\r\n') else text


def parquet_parts(table: ObjectTable) -> Iterator[bytes]:
    """A table as Parquet, with the unit of lengths in the schema's metadata. Raises MissingExtraError."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyarrow, which writes Parquet,", "objects") from error
    arrow = pyarrow.table({name: pyarrow.array(values) for name, values in table.columns.items()})
    arrow = arrow.replace_schema_metadata({"pixelwise.unit": table.unit or "px"})
    file = io.BytesIO()
    parquet.write_table(arrow, file, compression="zstd")
    yield file.getvalue()


def geojson_parts(
    objects: MeasuredObjects, classes: ClassList, image_name: str, placed: Callable[[Geometry], Geometry] | None = None
) -> Iterator[bytes]:
    """A feature collection: one polygon an object, its measurements as properties.

    Args:
        placed: a geometry in pixels → the one that is written. None: in pixels.
    """
    found = features(objects, classes)
    if placed is not None:
        found = ({**feature, "geometry": placed(feature["geometry"])} for feature in found)
    return collection_parts(PurePath(image_name).name, found)


def features(objects: MeasuredObjects, classes: ClassList) -> Iterator[dict[str, Any]]:
    columns = objects.table.columns
    colours = dict(zip(classes.names, classes.colours, strict=True))
    for i, (own_hw, (top, left)) in enumerate(objects.crops()):
        name = str(columns["class"][i])
        measured = {key: plain(values[i]) for key, values in columns.items() if key not in ("label", "class")}
        properties = {
            "objectType": "annotation",
            "classification": {"name": name, "color": list(colours[name])},
            "label": int(columns["label"][i]),
            **measured,
        }
        polygons = []
        for ring in rings(own_hw.astype(np.uint8)):
            placed = [[[int(x) + left, int(y) + top] for x, y in piece] for piece in ring]
            polygons.append([[*piece, piece[0]] for piece in placed])
        geometry: dict[str, Any] = {"type": "MultiPolygon", "coordinates": polygons}
        if len(polygons) == 1:
            geometry = {"type": "Polygon", "coordinates": polygons[0]}
        yield {"type": "Feature", "geometry": geometry, "properties": properties}


def plain(value: Any) -> Any:
    """A value as JSON has it; None for what is no number."""
    value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def coco_parts(objects: MeasuredObjects, classes: ClassList, image_name: str) -> Iterator[bytes]:
    """The lines of an image for `coco_writer.join_pieces`, one annotation an object."""
    ids = {name: i for i, name in enumerate(classes.names)}
    names = objects.table.columns["class"]
    found = ((ids[str(names[i])], own_hw, place) for i, (own_hw, place) in enumerate(objects.crops()))
    return instances_piece(image_name, objects.size, found)


def map_parts(objects: MeasuredObjects, path: Path | None) -> Iterator[bytes]:
    """The object map as a tiled TIFF: uint16, or uint32 where there are more objects than that counts.

    Args:
        path: of the image's file, whose place on the earth and resolution the map keeps. None: none.
    """
    import tifffile

    from pixelwise.images.tiff import place_in_file

    place, resolution = place_in_file(path) if path is not None else ({}, None)
    options: dict[str, Any] = {"extratags": [(code, *value, True) for code, value in place.items()]}
    if resolution is not None:
        options |= {"resolution": resolution[:2], "resolutionunit": resolution[2]}
    dtype = np.uint16 if len(objects.table) <= SIXTEEN_BITS else np.uint32
    height, width = objects.size
    tiles = (
        np.ascontiguousarray(padded[:, left : left + TILE_PX])
        for strip in objects.strips(TILE_PX)
        for padded in [np.pad(strip, ((0, TILE_PX - len(strip)), (0, -width % TILE_PX))).astype(dtype)]
        for left in range(0, width, TILE_PX)
    )
    with tempfile.TemporaryDirectory(prefix="pixelwise-") as folder:  # tifffile writes to files that have a name
        part = Path(folder) / "map.part"
        large = height * width * np.dtype(dtype).itemsize > 2**32 - 2**25
        with tifffile.TiffWriter(part, bigtiff=large) as writer:
            writer.write(
                tiles, shape=objects.size, dtype=dtype, tile=(TILE_PX, TILE_PX), compression="deflate",
                photometric="minisblack", software="pixelwise", metadata=None, **options,
            )  # fmt: skip
        with part.open("rb") as file:
            while data := file.read(COPY_BYTES):
                yield data
