"""Save the finished labels of an image of any size to disk as they arrive, so that a killed run can resume.

During labelling, one file next to the results, `.NAME.unfinished`, holds all finished labels, and further layers of one
value a pixel where results need them: a line of JSON that identifies the image, the model and the tiles, then one
record per row of squares. A record is its length and CRC-32; the preview; the squares of labels; the squares of the
layers, column by column; JSON; and the length of the JSON. A truncated record is dropped, and its rows are labelled
again. The results are written from this file at the end; a resumed run produces the same bytes.

Shapes: H, W the image's size; P, Q the size of the preview from which the overlay is made; R rows.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from pixelwise.errors import OutputError
from pixelwise.images.files import remedy_for, shown
from pixelwise.images.image_files import count_ids
from pixelwise.locks import try_lock
from pixelwise.prediction.large.layers import PixelLayer, Values, ValuesOf
from pixelwise.prediction.squares import LEVEL, SQUARE_PX, deflated_square, inflated_square
from pixelwise.records import VOID, Labels, Pixels

RECORD = struct.Struct("<QI")  # bytes that follow, and their CRC-32
HEADER = struct.Struct("<I")  # at the end of a record: bytes of JSON before it
READ_BYTES = 1 << 20  # of a record that is checked
LABELS = PixelLayer("labels", "|u1")
PREVIEW_PX = 2048  # longest side


@dataclass(frozen=True)
class Record:
    """One row of squares in the unfinished file."""

    starts: tuple[int, ...]  # offset of each compressed square, labels first, and of the end of the last
    counts: Mapping[str, int]  # pixels of every label
    preview_HQ4: NDArray[np.uint8]  # RGB and label of every n-th pixel


class LabelStore:
    """Labels in progress. A context manager: it locks the file against other processes."""

    def __init__(
        self, path: Path, size: tuple[int, int], about: Mapping[str, Any], layers: Sequence[PixelLayer] = ()
    ) -> None:
        """Start, or resume where a run with the same `about` and layers stopped.

        Args:
            path: path of the results without file extensions.
            size: (H, W).
            about: what the labels depend on, as JSON: image, model, tiles.
            layers: what is kept beside the labels.

        Raises:
            OutputError: the file cannot be written, or another process is writing it.
        """
        self.path, (self.height, self.width) = path, size
        self.layers, self.columns = tuple(layers), -(-size[1] // SQUARE_PX)
        self.step = max(-(-max(size) // PREVIEW_PX), 1)
        self.part = path.with_name(f".{path.name[:200]}.unfinished")
        self.waiting = np.empty((0, self.width), np.uint8)  # too few for a row of squares
        self.records: list[Record] = []
        identity = {"size": list(size), **about, **({"layers": [list(layer) for layer in layers]} if layers else {})}
        heading = json.dumps(identity, sort_keys=True).encode() + b"\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.part.touch()  # "r+b" does not create a file; every other mode truncates or only appends
            self.file: BinaryIO = self.part.open("r+b")
        except OSError as error:
            raise self.unwritable(error) from error
        try:
            if not try_lock(self.file):
                raise OutputError(
                    f"{shown(path)}: another process is labelling it now. Wait until it ends, or choose another --out."
                )
            if self.file.read(len(heading)) == heading:
                self.end = self.read_records(len(heading))
            else:
                self.end = len(heading)
                self.append(0, heading)
        except OSError as error:
            self.file.close()
            raise self.unwritable(error) from error
        except BaseException:
            self.file.close()
            raise

    def read_records(self, at: int) -> int:
        """Read the complete records from offset `at`. Returns the end offset of the last one."""
        size = os.fstat(self.file.fileno()).st_size
        while at + RECORD.size <= size:
            self.file.seek(at)
            length, checksum = RECORD.unpack(self.file.read(RECORD.size))
            if not length or length > size - at - RECORD.size or self.checksum(length) != checksum:
                break
            self.records.append(self.read_record(at, length))
            at += RECORD.size + length
        return at

    def checksum(self, length: int) -> int:
        """The CRC-32 of the next bytes of the file."""
        found = 0
        while length and (part := self.file.read(min(length, READ_BYTES))):
            found, length = zlib.crc32(part, found), length - len(part)
        return found

    def read_record(self, at: int, length: int) -> Record:
        begin, end = at + RECORD.size, at + RECORD.size + length - HEADER.size
        self.file.seek(end)
        (header_bytes,) = HEADER.unpack(self.file.read(HEADER.size))
        self.file.seek(end - header_bytes)
        header = json.loads(self.file.read(header_bytes))
        self.file.seek(begin)
        preview = np.frombuffer(isal_zlib.decompress(self.file.read(header["preview"])), np.uint8)
        starts = tuple(accumulate(header["squares"], initial=begin + header["preview"]))
        return Record(starts, header["counts"], preview.reshape(-1, -(-self.width // self.step), 4))

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def rows_done(self) -> int:
        """The number of saved rows of pixels, from the top."""
        return min(len(self.records) * SQUARE_PX, self.height)

    def add(self, labels: Labels, picture: Mapping[int, Pixels], values_of: ValuesOf | None = None) -> None:
        """Append rows of labels, uint8 [R, W].

        Args:
            picture: y → uint8 [1, Q, 3] for every `step`-th row of the image, at least as far as the labels.
            values_of: gives the layers' values at finished pixels; needed where there are layers.

        Raises:
            OutputError: the disk is full. Finished rows are kept, so that the run can resume.
        """
        self.waiting = np.concatenate([self.waiting, labels]) if len(self.waiting) else labels
        while self.rows_done < self.height:
            rows = min(SQUARE_PX, self.height - self.rows_done)
            if len(self.waiting) < rows:
                return
            self.commit(self.waiting[:rows], picture, values_of)
            self.waiting = self.waiting[rows:].copy()

    def commit(self, labels: Labels, picture: Mapping[int, Pixels], values_of: ValuesOf | None) -> None:
        """Write one row of squares."""
        length = checksum = 0
        try:
            self.append(self.end, bytes(RECORD.size))  # until all is written: a record of no length is none
            for part in self.parts_of_record(labels, picture, values_of):
                self.file.write(part)
                length, checksum = length + len(part), zlib.crc32(part, checksum)
            self.file.flush()
            self.file.seek(self.end)
            self.file.write(RECORD.pack(length, checksum))
            self.file.flush()
        except OSError as error:
            with suppress(OSError):  # the first error counts
                self.file.truncate(self.end)
            raise self.unwritable(error) from error
        self.records.append(self.read_record(self.end, length))
        self.end += RECORD.size + length

    def parts_of_record(
        self, labels: Labels, picture: Mapping[int, Pixels], values_of: ValuesOf | None
    ) -> Iterator[bytes]:
        """The bytes of a record, one square after the other, so that memory does not grow with the layers."""
        top = self.rows_done
        ys = range(-(-top // self.step) * self.step, top + len(labels), self.step)
        preview = np.empty((len(ys), -(-self.width // self.step), 4), np.uint8)
        for row, y in enumerate(ys):
            preview[row, :, :3] = picture[y]
            preview[row, :, 3] = labels[y - top, :: self.step]
        packed = isal_zlib.compress(preview.tobytes(), LEVEL)
        yield packed
        lengths = []
        lefts = range(0, self.width, SQUARE_PX)
        for left in lefts:
            square = deflated_square(labels[:, left : left + SQUARE_PX], VOID)
            lengths.append(len(square))
            yield square
        for left in lefts if self.layers else ():
            assert values_of is not None
            columns = slice(left, min(left + SQUARE_PX, self.width))
            values = values_of(slice(top, top + len(labels)), columns, labels[:, columns])
            for layer, part in zip(self.layers, values, strict=True):
                square = deflated_square(part.astype(layer.dtype, copy=False), 0)
                lengths.append(len(square))
                yield square
        counts = {str(value): pixels for value, pixels in count_ids(labels).items()}
        header = json.dumps({"squares": lengths, "counts": counts, "preview": len(packed)}).encode()
        yield header
        yield HEADER.pack(len(header))

    def append(self, at: int, data: bytes) -> None:
        self.file.seek(at)
        self.file.truncate()
        self.file.write(data)
        self.file.flush()

    def squares(self, layer: PixelLayer = LABELS) -> Iterator[bytes]:
        """Every square of a layer, row by row, deflated: SQUARE_PX a side; outside the image labels are void."""
        for row in range(len(self.records)):
            for column in range(self.columns):
                yield self.square(row, column, layer)

    def square(self, row: int, column: int, layer: PixelLayer = LABELS) -> bytes:
        at = self.place_of(column, layer)
        start, stop = self.records[row].starts[at : at + 2]
        self.file.seek(start)
        return self.file.read(stop - start)

    def place_of(self, column: int, layer: PixelLayer) -> int:
        """The number of a square in its record."""
        if layer == LABELS:
            return column
        return self.columns + column * len(self.layers) + self.layers.index(layer)

    def bytes_of(self, layer: PixelLayer = LABELS) -> int:
        """The total length of a layer's squares."""
        places = [self.place_of(column, layer) for column in range(self.columns)]
        return sum(record.starts[at + 1] - record.starts[at] for record in self.records for at in places)

    def labels(self, rows: slice, columns: slice) -> Labels:
        """Finished labels [start, stop) of rows and columns. Returns uint8 [rows, columns]."""
        return self.values(LABELS, rows, columns)

    def values(self, layer: PixelLayer, rows: slice, columns: slice) -> Values:
        """Finished values [start, stop) of rows and columns, [rows, columns], of the layer's type."""
        found = np.empty((rows.stop - rows.start, columns.stop - columns.start), layer.dtype)
        for row in range(rows.start // SQUARE_PX, -(-rows.stop // SQUARE_PX)):
            for column in range(columns.start // SQUARE_PX, -(-columns.stop // SQUARE_PX)):
                square = inflated_square(self.square(row, column, layer), layer.dtype)
                top, left = row * SQUARE_PX, column * SQUARE_PX
                up, down = max(rows.start, top), min(rows.stop, top + SQUARE_PX)
                begin, end = max(columns.start, left), min(columns.stop, left + SQUARE_PX)
                found[up - rows.start : down - rows.start, begin - columns.start : end - columns.start] = square[
                    up - top : down - top, begin - left : end - left
                ]
        return found

    def preview(self) -> tuple[Pixels, Labels]:
        """Every `step`-th pixel of the image, uint8 [P, Q, 3], and of its labels, [P, Q]; at most PREVIEW_PX a side."""
        rows = np.concatenate([record.preview_HQ4 for record in self.records])
        return np.ascontiguousarray(rows[:, :, :3]), np.ascontiguousarray(rows[:, :, 3])

    def counts(self) -> NDArray[np.int64]:
        """Pixels of every label, [256]."""
        counts = np.zeros(256, np.int64)
        for record in self.records:
            for value, number in record.counts.items():
                counts[int(value)] += number
        return counts

    def remove(self) -> None:
        """Remove the unfinished file: the results are written."""
        self.part.unlink(missing_ok=True)

    def kept(self) -> str:
        return f"The labels so far are kept in {shown(self.part)}: run the same command again to resume."

    def unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"{shown(self.part)}: cannot be written ({error.strerror}). {remedy_for(error, self.path)} {self.kept()}"
        )

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
