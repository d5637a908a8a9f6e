"""Who labels which image: one client at a time, of this process or of another on the same folder.

Within a process, a client holds an image for as long as it says so at least every LAPSE_S seconds. Between processes,
the process locks a file of `.labelling/locks`, which says who holds it and is free as soon as the process ends.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import IO

from pixelwise.errors import LabelLockedError, OutputError
from pixelwise.images.files import remedy_for, shown
from pixelwise.labelling.edit_log import folder_gone
from pixelwise.locks import hold, identity_in, is_locked, release

LAPSE_S = 30.0  # without a sign of life, a client's lock ends
LEAVING_S = 5.0  # as LAPSE_S, for a client that has said that it may be leaving


@dataclass
class ClientHold:
    """A client that labels an image."""

    client: str
    user: str
    seen: float  # monotonic seconds of its last sign of life


class ImageLocks:
    """The locks of one process on a labelling folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = RLock()
        self._files: dict[str, IO[str]] = {}
        self._clients: dict[str, ClientHold] = {}
        self._gone: dict[str, float] = {}  # clients that have left, and when, in monotonic seconds

    def acquire(self, image_id: str, client: str, user: str) -> bool:
        """Hold an image for a client, or go on holding it. Returns whether this process did not hold it before.

        Raises:
            LabelLockedError: another client holds it, or this one has left.
            OutputError: the lock cannot be written.
        """
        with self._lock:
            if client in self._gone:
                raise not_open(image_id)
            held = self._living(image_id)
            if held is not None and held.client != client:
                raise locked(image_id, held.user)
            new = self.hold_file(image_id, user)
            self._clients[image_id] = ClientHold(client, user, time.monotonic())
            return new

    def require(self, image_id: str, client: str) -> None:
        """A sign of life of a client that edits. Raises LabelLockedError: it does not hold the image."""
        with self._lock:
            held = self._living(image_id)
            if held is None:
                raise not_open(image_id)
            if held.client != client:
                raise locked(image_id, held.user)
            held.seen = time.monotonic()

    def let_go(self, image_id: str, client: str) -> None:
        """The client labels another image now."""
        with self._lock:
            held = self._clients.get(image_id)
            if held is not None and held.client == client:
                del self._clients[image_id]

    def may_leave(self, client: str) -> None:
        """The client may be about to end: without another sign of life, what it holds is free after LEAVING_S."""
        with self._lock:
            for held in self._clients.values():
                if held.client == client:
                    held.seen = time.monotonic() - LAPSE_S + LEAVING_S

    def leave(self, client: str) -> None:
        """The client is gone: it holds nothing, nor does a request of it that is still on its way."""
        now = time.monotonic()
        with self._lock:
            self._gone = {one: when for one, when in self._gone.items() if now - when <= LAPSE_S} | {client: now}
            self._clients = {image_id: held for image_id, held in self._clients.items() if held.client != client}

    def holder(self, image_id: str) -> str | None:
        """The user who labels an image, also of another process; None where it is free."""
        with self._lock:
            held = self._living(image_id)
            if held is not None:
                return held.user
            if image_id in self._files:
                return None
        path = self.folder / image_id
        return user_in(path) if path.exists() and is_locked(path) else None

    def hold_file(self, image_id: str, user: str) -> bool:
        """Lock an image for this process. Returns whether it was not locked before. Raises as `acquire`."""
        with self._lock:
            if image_id in self._files:
                return False
            path = self.folder / image_id
            if not self.folder.is_dir():
                raise folder_gone(self.folder.parents[1])
            try:
                file = hold(path)
                if file is None:
                    raise locked(image_id, user_in(path))
                file.seek(0)
                file.truncate(0)
                file.write(json.dumps({**(identity_in(path) or {}), "user": user}))
                file.flush()
            except OSError as error:
                raise OutputError(
                    f"{shown(path)}: the image cannot be locked ({error.strerror}). {remedy_for(error, path)}"
                ) from error
            self._files[image_id] = file
            return True

    def holds_file(self, image_id: str) -> bool:
        """Whether this process locks an image."""
        with self._lock:
            return image_id in self._files

    def lapsed(self) -> list[str]:
        """Images that this process locks, though no client holds them."""
        with self._lock:
            return [image_id for image_id in self._files if self._living(image_id) is None]

    def release_file(self, image_id: str) -> None:
        with self._lock:
            if (file := self._files.pop(image_id, None)) is not None:
                with suppress(OSError):  # the folder has vanished: so has the lock
                    release(file)

    def release_all(self) -> None:
        with self._lock:
            self._clients.clear()
            for image_id in list(self._files):
                self.release_file(image_id)

    def _living(self, image_id: str) -> ClientHold | None:
        held = self._clients.get(image_id)
        if held is not None and time.monotonic() - held.seen > LAPSE_S:
            del self._clients[image_id]
            return None
        return held


def user_in(path: Path) -> str:
    """The user who is named in a lock file."""
    found = identity_in(path)
    return str(found.get("user") or "another program") if isinstance(found, dict) else "another program"


def not_open(image_id: str) -> LabelLockedError:
    return LabelLockedError(f"image {image_id} is not open for this page any more. Open it again.", "")


def locked(image_id: str, user: str) -> LabelLockedError:
    return LabelLockedError(
        f"image {image_id} is being labelled by {shown(user)}. Choose another one, or wait until it is free.", user
    )
