"""Save the finished labels of an image of any size to disk as they arrive, so that a killed run can resume.

During labelling, one file next to the results, `.NAME.unfinished`, holds all finished labels: a line of JSON that
identifies the image, the model and the tiles, then one record per row of squares: its length, its CRC-32, a line of
JSON, and the compressed squares. A truncated record is dropped, and its rows are labelled again. The results are
written from this file at the end; a resumed run produces the same bytes.

Shapes: H, W the image's size; P, Q the size of the preview from which the overlay is made; R rows.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
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
from pixelwise.prediction.outputs import SQUARE_PX
from pixelwise.records import VOID, Labels, Pixels

LEVEL = 2  # of deflate: labels shrink to a hundredth in a fraction of a millisecond per square
RECORD = struct.Struct("<QI")  # bytes that follow, and their CRC-32
PREVIEW_PX = 2048  # longest side


@dataclass(frozen=True)
class Record:
    """One row of squares in the unfinished file."""

    starts: tuple[int, ...]  # offset of each compressed square, and of the end of the last
    counts: Mapping[str, int]  # pixels of every label
    preview_HQ4: NDArray[np.uint8]  # RGB and label of every n-th pixel


class LabelStore:
    """Labels in progress. A context manager: it locks the file against other processes."""

    def __init__(self, path: Path, size: tuple[int, int], about: Mapping[str, Any]) -> None:
        """Start, or resume where a run with the same `about` stopped.

        Args:
            path: path of the results without file extensions.
            size: (H, W).
            about: what the labels depend on, as JSON: image, model, tiles.

        Raises:
            OutputError: the file cannot be written, or another process is writing it.
        """
        self.path, (self.height, self.width) = path, size
        self.step = max(-(-max(size) // PREVIEW_PX), 1)
        self.part = path.with_name(f".{path.name[:200]}.unfinished")
        self.waiting = np.empty((0, self.width), np.uint8)  # too few for a row of squares
        self.records: list[Record] = []
        heading = json.dumps({"size": list(size), **about}, sort_keys=True).encode() + b"\n"
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
        self.file.seek(at)
        while len(head := self.file.read(RECORD.size)) == RECORD.size:
            length, checksum = RECORD.unpack(head)
            if length > os.fstat(self.file.fileno()).st_size - at:
                break
            body = self.file.read(length)
            if len(body) != length or zlib.crc32(body) != checksum:
                break
            self.records.append(self.record_of(body, at + RECORD.size))
            at += RECORD.size + length
        return at

    def record_of(self, body: bytes, at: int) -> Record:
        header = json.loads(body[: body.index(b"\n")])
        preview_at = body.index(b"\n") + 1
        squares_at = preview_at + header["preview"]
        preview = np.frombuffer(isal_zlib.decompress(body[preview_at:squares_at]), np.uint8)
        small_width = -(-self.width // self.step)
        starts = tuple(accumulate(header["squares"], initial=at + squares_at))
        return Record(starts, header["counts"], preview.reshape(-1, small_width, 4))

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def rows_done(self) -> int:
        """The number of saved rows of pixels, from the top."""
        return min(len(self.records) * SQUARE_PX, self.height)

    def add(self, labels: Labels, picture: Mapping[int, Pixels]) -> None:
        """Append rows of labels, uint8 [R, W].

        Args:
            picture: y → uint8 [1, Q, 3] for every `step`-th row of the image, at least as far as the labels.

        Raises:
            OutputError: the disk is full. Finished rows are kept, so that the run can resume.
        """
        self.waiting = np.concatenate([self.waiting, labels]) if len(self.waiting) else labels
        while self.rows_done < self.height:
            rows = min(SQUARE_PX, self.height - self.rows_done)
            if len(self.waiting) < rows:
                return
            self.commit(self.waiting[:rows], picture)
            self.waiting = self.waiting[rows:].copy()

    def commit(self, labels: Labels, picture: Mapping[int, Pixels]) -> None:
        """Write one row of squares."""
        squares = []
        for left in range(0, self.width, SQUARE_PX):
            square = np.ascontiguousarray(labels[:, left : left + SQUARE_PX])
            if square.shape != (SQUARE_PX, SQUARE_PX):
                missing = SQUARE_PX - square.shape[0], SQUARE_PX - square.shape[1]
                square = np.pad(square, ((0, missing[0]), (0, missing[1])), constant_values=VOID)
            squares.append(isal_zlib.compress(square, LEVEL))
        top = self.rows_done
        ys = range(-(-top // self.step) * self.step, top + len(labels), self.step)
        preview = np.empty((len(ys), -(-self.width // self.step), 4), np.uint8)
        for row, y in enumerate(ys):
            preview[row, :, :3] = picture[y]
            preview[row, :, 3] = labels[y - top, :: self.step]
        packed = isal_zlib.compress(preview.tobytes(), LEVEL)
        counts = {str(value): pixels for value, pixels in count_ids(labels).items()}
        header = json.dumps({"squares": [len(square) for square in squares], "counts": counts, "preview": len(packed)})
        body = b"".join([header.encode(), b"\n", packed, *squares])
        try:
            self.append(self.end, RECORD.pack(len(body), zlib.crc32(body)) + body)
        except OSError as error:
            raise self.unwritable(error) from error
        self.records.append(self.record_of(body, self.end + RECORD.size))
        self.end += RECORD.size + len(body)

    def append(self, at: int, data: bytes) -> None:
        self.file.seek(at)
        self.file.truncate()
        self.file.write(data)
        self.file.flush()

    def squares(self) -> Iterator[bytes]:
        """Every square, row by row, deflated: SQUARE_PX a side, void outside the image."""
        for row, record in enumerate(self.records):
            for column in range(len(record.starts) - 1):
                yield self.square(row, column)

    def square(self, row: int, column: int) -> bytes:
        start, stop = self.records[row].starts[column : column + 2]
        self.file.seek(start)
        return self.file.read(stop - start)

    def labels(self, rows: slice, columns: slice) -> Labels:
        """Finished labels [start, stop) of rows and columns. Returns uint8 [rows, columns]."""
        found = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        for row in range(rows.start // SQUARE_PX, -(-rows.stop // SQUARE_PX)):
            for column in range(columns.start // SQUARE_PX, -(-columns.stop // SQUARE_PX)):
                square = np.frombuffer(isal_zlib.decompress(self.square(row, column)), np.uint8)
                top, left = row * SQUARE_PX, column * SQUARE_PX
                up, down = max(rows.start, top), min(rows.stop, top + SQUARE_PX)
                begin, end = max(columns.start, left), min(columns.stop, left + SQUARE_PX)
                found[up - rows.start : down - rows.start, begin - columns.start : end - columns.start] = (
                    square.reshape(SQUARE_PX, SQUARE_PX)[up - top : down - top, begin - left : end - left]
                )
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
