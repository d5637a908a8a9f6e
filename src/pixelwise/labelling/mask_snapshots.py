"""Both planes of an image at one version of its log, so that a long log is not drawn again from its beginning.

A snapshot is derived and may be missing. It names the end and the checksum of the last record that it has: with another
log it is not used. A file holds a line of JSON and zlib of both planes.

Shapes: H, W of the image.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.images.files import write_whole
from pixelwise.labelling.edit_log import LogEntry, deflated, inflated
from pixelwise.labelling.labelled_image import LabelledImage
from pixelwise.labelling.patch import Keys

WORTH = 20_000_000  # pixels to draw again; fewer take a fraction of a second


@dataclass(frozen=True)
class MaskSnapshot:
    """What was read from a snapshot's file."""

    version: int  # records that it has
    last: LogEntry  # of them
    mask_HW: Keys
    drawn_HW: NDArray[np.uint8]


def keep_snapshot(path: Path, image: LabelledImage) -> None:
    """Write a snapshot of an image, if drawing its log again would take long. Raises OutputError."""
    with image.lock:
        if image.replay_cost < WORTH or image.log.pending or not image.log.entries:
            return
        version, mask_HW, drawn_HW = image.planes()
        last = image.log.entries[-1]
        cost, size = image.replay_cost, list(image.size)
    facts = {"version": version, "offset": last.offset, "length": last.length, "crc": last.crc, "size": size}
    write_whole(path, json.dumps(facts).encode() + b"\n" + deflated(mask_HW.tobytes() + drawn_HW.tobytes()))
    with image.lock:
        image.replay_cost -= cost


def read_snapshot(path: Path, size: tuple[int, int]) -> MaskSnapshot | None:
    """The snapshot of an image of this size (H, W); None where there is none that can be read."""
    try:
        first, _, rest = path.read_bytes().partition(b"\n")
        facts = json.loads(first)
        last = LogEntry(int(facts["offset"]), int(facts["length"]), int(facts["crc"]))
        planes = np.frombuffer(inflated(rest, 2 * size[0] * size[1]), np.uint8).reshape(2, *size)
        return MaskSnapshot(int(facts["version"]), last, planes[0], planes[1]) if facts["size"] == list(size) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, DataError):
        return None


def draw_log(image: LabelledImage, path: Path) -> None:
    """Draw an image from its log, which was just opened, with the help of a snapshot. Raises DataError as `replay`."""
    snapshot = read_snapshot(path, image.size)
    if snapshot is None:
        image.replay()
        return
    image.restore(snapshot.mask_HW, snapshot.drawn_HW)
    image.replay(snapshot.version)
    entries = image.log.entries
    if len(entries) < snapshot.version or entries[snapshot.version - 1] != snapshot.last:  # of another log
        image.reload(image.log.reopened(), image.classes)
