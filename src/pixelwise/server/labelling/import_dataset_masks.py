"""The masks of a dataset become first edits, on a thread, so that labelling can begin before all are taken over."""

from __future__ import annotations

import threading

from pixelwise.errors import PixelwiseError
from pixelwise.labelling.import_masks import import_first
from pixelwise.labelling.workspace import Workspace

PROMPT_S = 2.0  # a small dataset is taken over before the folder counts as open


class ImportStopped(PixelwiseError):
    """The folder is being closed; the rest is taken over when it is opened again."""


class ImportFirst:
    """Takes over the masks of the dataset that the photos are."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.done, self.total = 0, 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, name="pixelwise-import", daemon=True)

    def start(self) -> None:
        """Begin, and wait a moment for the end."""
        if self.workspace.found.dataset is not None and not self.workspace.read_only:
            self.thread.start()
            self.thread.join(PROMPT_S)

    def stop(self) -> None:
        """End after the mask that is being taken over, and wait for that."""
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join()

    def run(self) -> None:
        try:
            import_first(self.workspace, self.progress)
        except ImportStopped:
            return
        except PixelwiseError as error:
            self.workspace.notes.append(f"Not all masks of the dataset were taken over: {error}")

    def progress(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self.stopping.is_set():
            raise ImportStopped("the folder is being closed.")

    def to_json(self) -> dict[str, int] | None:
        """How far it is; None when it has ended."""
        return {"done": self.done, "total": self.total} if self.thread.is_alive() else None
