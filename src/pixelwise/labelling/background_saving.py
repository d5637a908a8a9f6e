"""Saving in the background: one thread writes edits into their logs at once, another what is derived from them.

Drawing never waits for a disk, nor a log for a large mask or the copy of a photo. Where a log cannot be written, its
edits wait in memory and are tried again every RETRY_S seconds; until then no further edit is taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pixelwise.errors import OutputError, PixelwiseError, first_line
from pixelwise.labelling.labelled_image import LabelledImage

RETRY_S = 1.0


class BackgroundSaving:
    """Saves images that changed."""

    def __init__(self, derive: Callable[[LabelledImage], None], tick: Callable[[], None]) -> None:
        """
        Args:
            derive: writes what follows from an image's log: its mask and the like.
            tick: called about once a second, and after something was saved.
        """
        self.failure: OutputError | None = None  # of a log: edits wait in memory
        self._stuck: dict[str, PixelwiseError] = {}  # image id → why what is derived cannot be written
        self._derive, self._tick = derive, tick
        self._work = threading.Condition()
        self._to_log: dict[str, LabelledImage] = {}
        self._to_derive: dict[str, LabelledImage] = {}
        self._saving = 0  # threads at work
        self._logging: set[str] = set()  # images that they save
        self._deriving: set[str] = set()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, args=(self._save_logs, self._logs_wait), name="label-logs", daemon=True),
            threading.Thread(
                target=self._run, args=(self._save_mask, self._masks_wait), name="label-masks", daemon=True
            ),
        ]
        for thread in self._threads:
            thread.start()

    def changed(self, image: LabelledImage) -> None:
        """An image has records that are not on disk, or a mask that is older than they are."""
        with self._work:
            self._to_log[image.id] = image
            self._work.notify_all()

    def holds(self, image_id: str) -> bool:
        """Whether an image is not saved completely yet."""
        with self._work:
            waiting = image_id in self._to_log or image_id in self._to_derive
            return waiting or image_id in self._logging or image_id in self._deriving

    @property
    def delayed(self) -> PixelwiseError | None:
        """Why a mask cannot be written, though its edits are safe in the log."""
        with self._work:
            return next(iter(self._stuck.values()), None)

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until everything is on disk.

        Raises:
            OutputError: something cannot be written.
            ImageError: a photo cannot be copied.
        """
        end = time.monotonic() + timeout_s
        with self._work:
            while (waiting := self._saving or self._logs_wait() or self._masks_wait()) and time.monotonic() < end:
                self._work.wait(0.05)
            if error := self.failure or self.delayed:
                raise error
            if waiting:
                raise OutputError(f"the labels could not be saved within {timeout_s:.0f} seconds. Check the disk.")

    def stop(self) -> None:
        """Save everything and end the threads. Raises as `flush`."""
        try:
            self.flush()
        finally:
            with self._work:
                self._stopping = True
                self._work.notify_all()
            for thread in self._threads:
                thread.join()

    def _logs_wait(self) -> bool:
        """Whether there are edits to write, and the last ones could be."""
        return bool(self._to_log) and self.failure is None

    def _masks_wait(self) -> bool:
        """Whether there is something to derive that was not found impossible."""
        return self.failure is None and any(image_id not in self._stuck for image_id in self._to_derive)

    def _run(self, save: Callable[[], None], waits: Callable[[], bool]) -> None:
        """A thread: save when something waits, and try again what failed."""
        while True:
            with self._work:
                self._work.wait_for(
                    lambda: self._stopping or waits(), RETRY_S
                )  # not whenever the other has ended a round
                if self._stopping:
                    return
                self._saving += 1
            try:
                save()
            finally:
                with self._work:
                    self._saving -= 1
                    self._work.notify_all()

    def _save_logs(self) -> None:
        with self._work:
            images, self._to_log = self._to_log, {}
            self._logging = set(images)
        failure, unsaved = None, {}
        for image in images.values():
            try:
                save_log(image)
            except Exception as error:  # whatever it is, edits must not be lost: they stay, and the failure is shown
                failure = as_output_error(error)
                unsaved[image.id] = image
        with self._work:
            self._to_derive |= {image_id: image for image_id, image in images.items() if image_id not in unsaved}
            self._to_log = {**unsaved, **self._to_log}
            self._logging.clear()
            self.failure = failure

    def _save_mask(self) -> None:
        """What follows from one image's log."""
        with self._work:
            free = (image for image_id, image in self._to_derive.items() if image_id not in self._stuck)
            image = None if self.failure else next(free, None) or next(iter(self._to_derive.values()), None)
            if image is not None:
                self._to_derive.pop(image.id)
                self._deriving.add(image.id)
        if image is not None:
            self._derive_one(image)
        self._tick()

    def _derive_one(self, image: LabelledImage) -> None:
        failure: PixelwiseError | None = None
        try:
            self._derive(image)
        except Exception as error:
            failure = error if isinstance(error, PixelwiseError) else as_output_error(error)
        with self._work:
            self._deriving.clear()
            self._stuck.pop(image.id, None)
            if failure is not None:
                self._stuck[image.id] = failure
                self._to_derive.setdefault(image.id, image)  # at the end: others are not kept waiting by it


def as_output_error(error: Exception) -> OutputError:
    if isinstance(error, OutputError):
        return error
    return OutputError(f"the labels cannot be saved ({type(error).__name__}: {first_line(error)}).")


def save_log(image: LabelledImage) -> None:
    """Write what an image's log has waiting. Raises OutputError."""
    with image.lock:
        records = list(image.log.pending)
    if not records:
        return
    entries = image.log.write(records)
    with image.lock:
        image.log.written(entries)
