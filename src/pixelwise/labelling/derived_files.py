"""What is derived from the logs: the dataset, labels.jsonl, and the state of each image; and what of it is older.

A state is written last, after the mask and the lines that it stands for: where it does not fit its log, a program was
killed in between, and all of them are written again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from pathlib import Path

import numpy as np

from pixelwise.images.files import is_file
from pixelwise.labelling import labels_journal
from pixelwise.labelling.image_locks import ImageLocks
from pixelwise.labelling.image_state import ImageState, read_state, write_state
from pixelwise.labelling.label_classes import LabelClasses
from pixelwise.labelling.labelled_dataset import mask_path, put_in, take_out
from pixelwise.labelling.labelled_image import LabelledImage
from pixelwise.labelling.photo_list import Photo
from pixelwise.records import VOID, Bands


class DerivedFiles:
    """The derived files of a labelling folder, and the states that they are in."""

    def __init__(self, out: Path, inside: Path) -> None:
        self.out, self.edits, self.folder = out, inside / "edits", inside / "states"
        self._lines_lock = inside / "locks" / "lines"
        self._lock = threading.RLock()
        self._stamps: dict[str, int] = {}  # image id → when its state was written
        self._states: dict[str, ImageState] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the states that were written since, by this program or another."""
        try:
            with os.scandir(self.folder) as entries:
                found = {Path(entry.name).stem: entry.stat().st_mtime_ns for entry in entries if is_state(entry.name)}
        except OSError:  # no folder yet, or it has vanished: saving reports it
            return
        with self._lock:
            for image_id, stamp in found.items():
                if self._stamps.get(image_id) != stamp:
                    self._stamps[image_id] = stamp
                    self._states[image_id] = read_state(self.folder / f"{image_id}.json")

    def state(self, image_id: str) -> ImageState:
        """The state on disk."""
        with self._lock:
            return self._states.get(image_id, ImageState())

    def state_of(self, image: LabelledImage) -> ImageState:
        """The state of an image as it is in memory."""
        with image.lock:
            pixels = {int(key): int(image.counts[key]) for key in np.flatnonzero(image.counts) if key != VOID}
            seconds = dict(image.seconds_of)
            return replace(self.state(image.id), version=image.version, size=image.size, pixels=pixels, seconds=seconds)

    def set_done(self, image_id: str, done: bool) -> None:
        """Raises OutputError."""
        with self._lock:
            self._keep(image_id, replace(self.state(image_id), done=done))

    def write(self, image: LabelledImage, photo: Photo, bands: Bands, classes: LabelClasses) -> None:
        """Write an image's mask, lines and state, as its log is now.

        Raises:
            OutputError: a file cannot be written.
            ImageError: the photo cannot be copied.
        """
        with image.lock:
            waiting, durable = bool(image.log.pending), image.durable
            state = replace(self.state_of(image), log_bytes=-1 if waiting else image.log.size)
            mask_HW = image.mask_HW.copy()
        if state.labelled:
            put_in(self.out, photo, bands, mask_HW, classes)
        else:
            take_out(self.out, photo)
        headers = [image.log.read(number).header for number in range(state.lines, durable)]
        lines = [
            labels_journal.line_of(image.id, photo.name, number, header, classes.name_of(int(header.get("key", VOID))))
            for number, header in enumerate(headers, start=state.lines + 1)
        ]
        labels_journal.append_lines(self.out, self._lines_lock, lines)
        with self._lock:
            self._keep(image.id, replace(state, done=self.state(image.id).done, lines=durable))

    def take_out(self, photos: Iterable[Photo]) -> None:
        """Remove images from the dataset, as no pixel of them is labelled any more. Raises OutputError."""
        for photo in photos:
            take_out(self.out, photo)
            with self._lock:
                self._keep(photo.id, replace(self.state(photo.id), pixels={}))

    def rename_lines(self, classes: LabelClasses) -> None:
        """Give each line of labels.jsonl the name that its class has now. Raises OutputError."""
        labels_journal.rewrite(self.out, self._lines_lock, lambda row: labels_journal.renamed(row, classes.name_of))

    def stale(self, photos: Mapping[str, Photo], locks: ImageLocks) -> list[str]:
        """Images whose derived files do not fit their logs, and that no other program labels.

        Their lines in labels.jsonl are taken out where they are not as many as they should be.

        Raises:
            OutputError: labels.jsonl cannot be read or written.
        """
        lines = self._line_counts()
        found, miscounted = [], set()
        for path in sorted(self.edits.glob("*.log")):
            image_id = path.stem
            if image_id not in photos or locks.holder(image_id) is not None:
                continue
            state = self.state(image_id)
            if lines.get(image_id, 0) != state.lines:
                miscounted.add(image_id)
            masked = is_file(mask_path(self.out, photos[image_id]))
            if image_id in miscounted or path.stat().st_size != state.log_bytes or masked != (state.labelled > 0):
                found.append(image_id)
        self._leave_out(miscounted)
        return found

    def reread(self, image_id: str, log_bytes: int) -> None:
        """Read the state of an image that another program may have labelled, and been killed at that.

        Args:
            log_bytes: the size of its log.

        Raises:
            OutputError: labels.jsonl cannot be read or written.
        """
        with self._lock:
            self._states[image_id] = read_state(self.folder / f"{image_id}.json")
        state = self.state(image_id)
        if state.log_bytes != log_bytes and self._line_counts().get(image_id, 0) != state.lines:
            self._leave_out({image_id})

    def _line_counts(self) -> dict[str, int]:
        labels_journal.cut_torn_line(self.out, self._lines_lock)
        return labels_journal.lines_by_image(self.out / labels_journal.FILE_NAME)

    def _leave_out(self, miscounted: Set[str]) -> None:
        """Take the lines of images out, to be written again. Raises OutputError."""
        if not miscounted:
            return
        labels_journal.rewrite(
            self.out, self._lines_lock, lambda row: None if row.get("id") in miscounted else labels_journal.again(row)
        )
        with self._lock:
            self._states |= {image_id: replace(self.state(image_id), lines=0) for image_id in miscounted}

    def _keep(self, image_id: str, state: ImageState) -> None:
        write_state(self.folder / f"{image_id}.json", state)
        self._states[image_id] = state


def is_state(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")
