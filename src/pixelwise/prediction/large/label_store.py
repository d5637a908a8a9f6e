"""Finished labels of an image of any size, kept on disk piece by piece so that a killed run goes on.

While an image is being labelled, everything that is finished lies in one file beside the results, `.NAME.unfinished`: a
line of JSON that says which image, model and tiles it belongs to, then one record for every row of squares: its length,
its CRC-32, a line of JSON, and the compressed squares. A record that a kill cut short is dropped, and its rows are done
again. At the end `large_outputs` makes the results of it, each whole; they have the same bytes whether the run was
killed or not.

Shapes: H, W the image's own size; P, Q of the small picture that an overlay is made of; R rows.
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
from types import TracebackType
from typing import Any, BinaryIO

import cv2
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from pixelwise.errors import OutputError
from pixelwise.images.files import remedy_for, shown
from pixelwise.locks import try_lock
from pixelwise.records import VOID, Labels, Pixels

SQUARE_PX = 512  # labels are kept, and written into a TIFF, in squares of this side
LEVEL = 2  # of deflate: labels shrink to a hundredth in a fraction of a millisecond a square
RECORD = struct.Struct("<QI")  # bytes that follow, and their CRC-32
PREVIEW_PX = 2048  # longest side of the small picture


@dataclass(frozen=True)
class Record:
    """One row of squares, as it lies in the unfinished file."""

    starts: tuple[int, ...]  # byte at which each compressed square begins, and the byte after the last
    counts: Mapping[str, int]  # pixels of every label
    preview_HQ4: NDArray[np.uint8]  # RGB and label of every n-th pixel


def counted(labels: Labels) -> NDArray[np.int64]:
    """Pixels of every label, [256], of a piece of at most 2^24 pixels: cv2 counts four times as fast as numpy, which
    widens every label first, but says it in float32."""
    return cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel().astype(np.int64)


class LabelStore:
    """Labels that are being made. Use it in `with`: then nobody else makes the same ones."""

    def __init__(self, path: Path, size: tuple[int, int], about: Mapping[str, Any]) -> None:
        """Begin, or go on where a run with the same `about` was stopped.

        Args:
            path: of the results, without their endings.
            size: height and width.
            about: what the labels depend on: image, model, tiles. JSON.

        Raises:
            OutputError: it cannot be written, or another process writes it now.
        """
        self.path, (self.height, self.width) = path, size
        self.step = max(-(-max(size) // PREVIEW_PX), 1)
        self.part = path.with_name(f".{path.name[:200]}.unfinished")
        self.waiting = np.empty((0, self.width), np.uint8)  # rows too few for a row of squares
        self.records: list[Record] = []
        heading = json.dumps({"size": list(size), **about}, sort_keys=True).encode() + b"\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.part.touch()  # "r+b" makes no file, and every other mode empties one or only appends
            self.file: BinaryIO = self.part.open("r+b")
        except OSError as error:
            raise self.unwritable(error) from error
        try:
            self.lock()
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

    def lock(self) -> None:
        if not try_lock(self.file):
            raise OutputError(
                f"{shown(self.path)}: another process is labelling it now. Wait for it, or choose another --out."
            )

    def read_records(self, at: int) -> int:
        """Take up the whole records from byte `at` on. Returns where the last of them ends."""
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
        said = json.loads(body[: body.index(b"\n")])
        preview_at = body.index(b"\n") + 1
        squares_at = preview_at + said["preview"]
        preview = np.frombuffer(isal_zlib.decompress(body[preview_at:squares_at]), np.uint8)
        small_width = -(-self.width // self.step)
        starts = tuple(accumulate(said["squares"], initial=at + squares_at))
        return Record(starts, said["counts"], preview.reshape(-1, small_width, 4))

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def rows_done(self) -> int:
        """Rows of pixels, from the top, that need not be labelled again."""
        return min(len(self.records) * SQUARE_PX, self.height)

    def add(self, labels: Labels, picture: Mapping[int, Pixels]) -> None:
        """Take the next rows of labels, uint8 [R, W].

        Args:
            picture: y → uint8 [1, Q, 3] for every `step`-th row of pixels of the image, at least as far as the labels.

        Raises:
            OutputError: the disk is full. What was finished stays, to go on from.
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
        squares, pixels = [], np.zeros(256, np.int64)
        for left in range(0, self.width, SQUARE_PX):
            square = np.ascontiguousarray(labels[:, left : left + SQUARE_PX])
            pixels += counted(square)
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
        counts = {str(value): int(pixels[value]) for value in np.flatnonzero(pixels)}
        said = json.dumps({"squares": [len(square) for square in squares], "counts": counts, "preview": len(packed)})
        body = b"".join([said.encode(), b"\n", packed, *squares])
        try:
            self.append(self.end, RECORD.pack(len(body), zlib.crc32(body)) + body)
        except OSError as error:
            raise self.unwritable(error) from error
        squares_at = self.end + RECORD.size + len(body) - sum(len(square) for square in squares)
        starts = tuple(accumulate((len(square) for square in squares), initial=squares_at))
        self.records.append(Record(starts, counts, preview))
        self.end += RECORD.size + len(body)

    def append(self, at: int, data: bytes) -> None:
        self.file.seek(at)
        self.file.truncate()
        self.file.write(data)
        self.file.flush()

    def squares(self) -> Iterator[bytes]:
        """Every square, SQUARE_PX a side and void beyond the image, compressed by deflate, row by row."""
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
        """Every n-th pixel of the image, uint8 [P, Q, 3], and of its labels, [P, Q]; at most PREVIEW_PX a side."""
        rows = np.concatenate([record.preview_HQ4 for record in self.records])
        return np.ascontiguousarray(rows[:, :, :3]), np.ascontiguousarray(rows[:, :, 3])

    def counts(self) -> NDArray[np.int64]:
        """Pixels of every label, [256]."""
        counts = np.zeros(256, np.int64)
        for record in self.records:
            for value, number in record.counts.items():
                counts[int(value)] += number
        return counts

    def let_go(self) -> None:
        """Take the unfinished file away: the results are there."""
        self.part.unlink(missing_ok=True)

    def kept(self) -> str:
        return f"What was labelled so far is kept in {shown(self.part)}: the same command goes on from there."

    def unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"{shown(self.part)}: cannot be written ({error.strerror}). {remedy_for(error, self.path)} {self.kept()}"
        )

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
