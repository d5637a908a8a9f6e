"""COCO files of class masks, written piece by piece: every class of an image is one object, or one panoptic segment.

A piece holds one image: a line with the image's row, then one line per class annotation. Ids are omitted and filled in
when the pieces are joined. A piece is made strip by strip, so neither the labels nor the run lengths of a large image
are held in memory. Category ids are class ids + 1; void is not written.

Format: cocodataset.org/#format-data. Shapes: H, W of the image; R columns of a strip; N runs.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from typing import IO

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.image_files import encode_png
from pixelwise.records import VOID, ClassList, Labels

COPIED_BYTES = 1 << 16  # of a line held in memory
RUN = np.dtype([("label", "u1"), ("pixels", "<u4")])
SPOOLED_BYTES = 1 << 26  # of runs held in memory; more go to a temporary file
Runs = NDArray[np.void]  # [N] of RUN: stretches of one label, down the columns


def coco_piece(file_name: str, size: tuple[int, ...], strips: Iterable[Labels]) -> Iterator[bytes]:
    """The lines of an image, in chunks of arbitrary length. Void is not drawn.

    Args:
        size: (H, W).
        strips: uint8 [H, R] each, from left to right; R may vary.
    """
    height, width = size
    yield json.dumps({"file_name": file_name, "height": height, "width": width}).encode() + b"\n"
    with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as spool:
        lengths, there = [], np.zeros(256, np.bool_)
        for strip in strips:
            runs = runs_down(strip)
            there[runs["label"]] = True
            spool.write(runs.tobytes())
            lengths.append(runs.nbytes)
        for c in np.flatnonzero(there):
            if c != VOID:
                spool.seek(0)
                stored = (np.frombuffer(spool.read(length), RUN) for length in lengths)
                yield from annotation(int(c), (height, width), stored)


def instances_piece(
    file_name: str, size: tuple[int, int], objects: Iterable[tuple[int, NDArray[np.bool_], tuple[int, int]]]
) -> Iterator[bytes]:
    """The lines of an image with one annotation an object.

    Args:
        size: (H, W).
        objects: class id, pixels in the object's box, and the box's top and left.
    """
    height, width = size
    yield json.dumps({"file_name": file_name, "height": height, "width": width}).encode() + b"\n"
    for class_id, own_hw, (top, left) in objects:
        down_N = np.flatnonzero(own_hw.T)  # down the columns of the box
        place_N = (left + down_N // own_hw.shape[0]) * height + top + down_N % own_hw.shape[0]
        apart = np.flatnonzero(np.diff(place_N) != 1)
        first, last = place_N[np.append(0, apart + 1)], place_N[np.append(apart, len(place_N) - 1)]
        counts = np.diff(np.stack([first, last + 1], axis=1).ravel(), prepend=0).tolist()
        rest = height * width - int(last[-1]) - 1
        row = {
            "category_id": class_id + 1,
            "segmentation": {"size": [height, width], "counts": counts + [rest] * (rest > 0)},
            "area": len(place_N),
            "bbox": [left, top, own_hw.shape[1], own_hw.shape[0]],
            "iscrowd": 0,
        }
        yield json.dumps(row).encode() + b"\n"


def join_pieces(
    file: IO[bytes], classes: ClassList, pieces: Callable[[], Iterable[BufferedReader]], *, things: bool = False
) -> None:
    """Write all pieces to one COCO file, with a few kilobytes in memory at a time.

    Args:
        pieces: opens the pieces, always in the same order; called twice.
        things: whether an annotation is one object, not all of a class.

    Raises:
        ValueError: (piece, error).
    """
    rows = enumerate(zip(classes.names, classes.colours, strict=True), start=1)
    categories = [{"id": i, "name": name, "color": list(colour), "isthing": int(things)} for i, (name, colour) in rows]
    file.write(b'{"categories": ' + json.dumps(categories).encode() + b', "images": [')
    for number, piece in enumerate(pieces(), start=1):
        file.write(b",\n" * (number > 1) + f'{{"id": {number}, '.encode())
        copy_line(piece, file)
    file.write(b'], "annotations": [')
    drawn = 0
    for number, piece in enumerate(pieces(), start=1):
        piece.readline()  # the image's row
        while piece.peek(1):
            drawn += 1
            file.write(b",\n" * (drawn > 1) + f'{{"id": {drawn}, "image_id": {number}, '.encode())
            copy_line(piece, file)
    file.write(b"]}\n")


def copy_line(piece: BufferedReader, file: IO[bytes]) -> None:
    """Write the rest of an object, after its opening brace, whose ids are already written."""
    if piece.read(2) != b'{"':
        raise ValueError(piece, "it is not a line of JSON")
    file.write(b'"')
    while (part := piece.readline(COPIED_BYTES)) and not part.endswith(b"\n"):
        file.write(part)
    if not part.endswith(b"}\n"):
        raise ValueError(piece, "it is cut short")
    file.write(part[:-1])


def panoptic_piece(file_name: str, png_name: str, labels: Labels) -> bytes:
    """The lines of an image with one segment of `panoptic_png` per class."""
    height, width = labels.shape
    segments = []
    for c in np.unique(labels).tolist():
        if c != VOID:
            ys, xs = np.nonzero(labels == c)
            box = [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1]
            segments.append({"id": c + 1, "category_id": c + 1, "area": len(ys), "bbox": box, "iscrowd": 0})
    image = {"file_name": file_name, "height": height, "width": width}
    rows = (image, {"file_name": png_name, "segments_info": segments})
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def panoptic_png(labels: Labels) -> bytes:
    """COCO's panoptic PNG of a mask [H, W]: red + 256 green + 65536 blue is the segment id, here the category id."""
    numbers = np.where(labels == VOID, 0, labels.astype(np.int32) + 1)
    return encode_png(np.stack([numbers & 255, numbers >> 8, np.zeros_like(numbers)], axis=-1).astype(np.uint8))


def runs_down(labels_HR: Labels) -> Runs:
    """Runs of equal labels down the columns. Returns [N] of RUN."""
    flat = labels_HR.T.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, len(flat))
    runs = np.empty(len(ends), RUN)
    runs["label"], runs["pixels"] = flat[ends - 1], np.diff(ends, prepend=0)
    return runs


def annotation(c: int, size: tuple[int, int], strips: Iterable[Runs]) -> Iterator[bytes]:
    """The line of a class, from all runs of the image. Category ids are class ids + 1."""
    height, width = size
    yield f'{{"category_id": {c + 1}, "segmentation": {{"size": [{height}, {width}], "counts": ['.encode()
    at = written_to = area = 0
    box = [width, height, 0, 0]  # left, top, last column + 1, last row + 1
    held: NDArray[np.int64] = np.empty((0, 2), np.int64)  # the last run: the next strip may continue it
    for runs in strips:
        ends = at + np.cumsum(runs["pixels"], dtype=np.int64)
        at = int(ends[-1])
        own = runs["label"] == c
        spans_N2 = np.concatenate([held, np.stack([ends - runs["pixels"], ends], axis=1)[own]])
        if len(spans_N2):
            apart = spans_N2[1:, 0] != spans_N2[:-1, 1]
            begins = spans_N2[np.append(True, apart), 0]
            spans_N2 = np.stack([begins, spans_N2[np.append(apart, True), 1]], axis=1)
            held, spans_N2 = spans_N2[-1:], spans_N2[:-1]
        if len(spans_N2):
            yield counts_text(spans_N2, written_to)
            written_to, area, box = int(spans_N2[-1, 1]), area + covered(spans_N2), around(spans_N2, height, box)
    yield counts_text(held, written_to)
    area, box = area + covered(held), around(held, height, box)
    rest = height * width - int(held[-1, 1])
    left, top, right, bottom = box
    end = f'{f", {rest}" if rest else ""}]}}, "area": {area}, "bbox": [{left}, {top}, {right - left}, {bottom - top}]'
    yield end.encode() + b', "iscrowd": 1}\n'


def counts_text(spans_N2: NDArray[np.int64], written_to: int) -> bytes:
    """Alternating counts of other and own pixels, from pixel `written_to` to the end of the last span."""
    counts = np.diff(spans_N2.ravel(), prepend=written_to)
    return (", " * bool(written_to) + ", ".join(map(str, counts.tolist()))).encode()


def covered(spans_N2: NDArray[np.int64]) -> int:
    return int((spans_N2[:, 1] - spans_N2[:, 0]).sum())


def around(spans_N2: NDArray[np.int64], height: int, box: list[int]) -> list[int]:
    """The box, enlarged to include these pixel spans, which run down the columns."""
    first, last = spans_N2[:, 0], spans_N2[:, 1] - 1
    over = first // height != last // height  # continues in the next column, so touches both lower and upper edge
    top = int(np.where(over, 0, first % height).min())
    bottom = int(np.where(over, height - 1, last % height).max()) + 1
    left, right = int(first[0]) // height, int(last[-1]) // height + 1
    return [min(box[0], left), min(box[1], top), max(box[2], right), max(box[3], bottom)]
