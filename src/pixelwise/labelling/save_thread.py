"""The thread that saves: edits into their logs at once, then what is derived from them. Drawing never waits for a disk.

Where a log cannot be written, its edits wait in memory and are tried again every RETRY_S seconds; until then no further
edit is taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pixelwise.errors import OutputError, PixelwiseError, first_line
from pixelwise.labelling.labelled_image import LabelledImage

RETRY_S = 1.0


class SaveThread:
    """Saves images that changed, in the background."""

    def __init__(self, derive: Callable[[LabelledImage], None], tick: Callable[[], None]) -> None:
        """
        Args:
            derive: writes what follows from an image's log: its mask and the like.
            tick: called about once a second.
        """
        self.failure: OutputError | None = None  # of a log: edits wait in memory
        self._stuck: dict[str, PixelwiseError] = {}  # image id → why what is derived cannot be written
        self._derive, self._tick = derive, tick
        self._work = threading.Condition()
        self._to_log: dict[str, LabelledImage] = {}
        self._to_derive: dict[str, LabelledImage] = {}
        self._busy = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="labels", daemon=True)
        self._thread.start()

    def changed(self, image: LabelledImage) -> None:
        """An image has records that are not on disk, or a mask that is older than they are."""
        with self._work:
            self._to_log[image.id] = self._to_derive[image.id] = image
            self._work.notify_all()

    def holds(self, image_id: str) -> bool:
        """Whether an image is not saved completely yet."""
        with self._work:
            return image_id in self._to_log or image_id in self._to_derive

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
            self._work.notify_all()
            while self._waiting() and time.monotonic() < end:
                self._work.wait(0.05)
            if error := self.failure or self.delayed:
                raise error
            if self._waiting():
                raise OutputError(f"the labels could not be saved within {timeout_s:.0f} seconds. Check the disk.")

    def _waiting(self) -> bool:
        """Whether there is something to save that was not found impossible."""
        return self._busy or (bool(self._to_log) and not self.failure) or bool(self._to_derive.keys() - self._stuck)

    def stop(self) -> None:
        """Save everything and end the thread. Raises as `flush`."""
        try:
            self.flush()
        finally:
            with self._work:
                self._stopping = True
                self._work.notify_all()
            self._thread.join()

    def _run(self) -> None:
        ticked = time.monotonic()
        while True:
            with self._work:
                if self._stopping:
                    return
                if not self._waiting():
                    self._work.wait(RETRY_S)
                self._busy = True
            try:
                self._save_logs()
                self._save_derived()
            finally:
                with self._work:
                    self._busy = False
                    self._work.notify_all()
            if time.monotonic() - ticked >= RETRY_S:
                self._tick()
                ticked = time.monotonic()

    def _save_logs(self) -> None:
        with self._work:
            images = list(self._to_log.values())
        failure = None
        for image in images:
            with self._work:
                self._to_log.pop(image.id, None)
            try:
                save_log(image)
            except Exception as error:  # whatever it is, edits must not be lost: they stay, and the failure is shown
                failure = as_output_error(error)
                with self._work:
                    self._to_log[image.id] = image
        self.failure = failure

    def _save_derived(self) -> None:
        """What follows from one image's log; one at a time, so that no log waits for many masks."""
        with self._work:
            free = (image for image_id, image in self._to_derive.items() if image_id not in self._stuck)
            image = next(free, None) or next(iter(self._to_derive.values()), None)
            if image is None or self.failure:
                return
            self._to_derive.pop(image.id)
        try:
            self._derive(image)
        except Exception as error:
            with self._work:
                self._stuck[image.id] = error if isinstance(error, PixelwiseError) else as_output_error(error)
                self._to_derive.setdefault(image.id, image)  # at the end: others are not kept waiting by it
        else:
            with self._work:
                self._stuck.pop(image.id, None)


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
