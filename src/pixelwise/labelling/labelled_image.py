"""The labels of one photo in memory: its mask, where each label came from, and every edit, to undo and redo.

An edit's payload is zlib of: which pixels of its rectangle it changed (bits, in rows), then of the changed pixels their
keys before, their keys after, and their `drawn` before. Keys in the log are as they were drawn; in memory they are what
they mean now (`LabelClasses.resolve`).

Shapes: H, W of the image; h, w of an edit's rectangle; N changed pixels.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, UsageError
from pixelwise.images.files import shown
from pixelwise.images.image_files import counted_ids
from pixelwise.labelling.edit_log import EditLog, LogRecord, deflated, inflated
from pixelwise.labelling.label_classes import LabelClasses
from pixelwise.labelling.patch import Keys, Mask, Patch, Window
from pixelwise.records import VOID

SOURCES = {"person": 1, "imported": 1, "assistant": 2, "model": 2}  # → its number in `drawn_HW`
LONGEST_WORD = 80  # of an edit's id and tool
LONGEST_SECONDS = 86_400.0
COST_OF_RECORD = 50_000  # as many pixels take as long as the rest of a record


@dataclass(frozen=True)
class Edit:
    """One undoable change, as a page or the program asks for it."""

    edit_id: str  # the same one twice is applied once
    tool: str
    key: int  # the class that is drawn; 255: erased, or several
    patch: Patch
    seconds: float = 0.0  # that the person took
    source: str = "person"  # a key of SOURCES
    user: str = ""


@dataclass(frozen=True)
class Applied:
    """What an edit led to."""

    version: int  # records in the log
    undo: int  # edits that can be undone
    redo: int
    locked: int = 0  # pixels that were left as they are, because their class or the new one is locked


@dataclass(frozen=True)
class PixelChange:
    """The changed pixels of a rectangle, before and after."""

    window: Window
    changed_hw: Mask
    before_N: NDArray[np.uint8]  # keys
    after_N: NDArray[np.uint8]
    drawn_before_N: NDArray[np.uint8]

    def packed(self) -> bytes:
        parts = (np.packbits(self.changed_hw), self.before_N, self.after_N, self.drawn_before_N)
        return deflated(b"".join(part.tobytes() for part in parts))

    @classmethod
    def unpacked(cls, record: LogRecord, size: tuple[int, int]) -> PixelChange:
        """Raises DataError: the record is not an edit of an image of this size (H, W)."""
        try:
            x, y, w, h = (int(record.header[name]) for name in ("x", "y", "w", "h"))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("an edit in the log has no rectangle.") from error
        if x < 0 or y < 0 or w < 1 or h < 1 or x + w > size[1] or y + h > size[0]:
            raise DataError(f"an edit in the log is outside its image of {size[1]}×{size[0]} pixels.")
        data = np.frombuffer(inflated(record.payload, (w * h + 7) // 8 + 3 * w * h), np.uint8)
        bits, rest = data[: (w * h + 7) // 8], data[(w * h + 7) // 8 :]
        if len(bits) * 8 < w * h:
            raise DataError("an edit in the log is too short for its rectangle.")
        changed_hw = np.unpackbits(bits, count=w * h).reshape(h, w).astype(np.bool_)
        number = int(np.count_nonzero(changed_hw))
        if len(rest) != 3 * number:
            raise DataError("an edit in the log does not hold the pixels that it changed.")
        return cls(Window(x, y, w, h), changed_hw, *np.split(rest, 3))


class LabelKeeper(Protocol):
    """What a labelled image asks of its folder."""

    user: str  # who labels, where an edit does not say

    def require_writable(self, image: LabelledImage, /) -> None:
        """Raise OutputError where an edit could not be saved, LabelLockedError where another program edits."""

    def changed(self, image: LabelledImage, /) -> None:
        """The image has records to save."""


class LabelledImage:
    """A photo's labels. Thread-safe; hold `lock` to read both planes of one version."""

    def __init__(
        self, image_id: str, size: tuple[int, int], log: EditLog, classes: LabelClasses, keeper: LabelKeeper
    ) -> None:
        """
        Args:
            size: (H, W) of the upright photo.
        """
        self.id, self.log, self.keeper = image_id, log, keeper
        self.lock = threading.RLock()
        self._start(size, classes)

    def _start(self, size: tuple[int, int], classes: LabelClasses) -> None:
        self.mask_HW: Keys = np.full(size, VOID, np.uint8)
        self.drawn_HW: NDArray[np.uint8] = np.zeros(size, np.uint8)  # 0 nothing, else a value of SOURCES
        self.counts = np.zeros(256, np.int64)  # pixels of each key
        self.counts[VOID] = self.mask_HW.size
        self.seconds_of: dict[int, float] = {}  # key → seconds of its edits, as they were drawn
        self.classes, self._resolve = classes, classes.resolve()
        self.replay_cost = 0  # pixels to draw to get here from the last snapshot
        self._undo: list[int] = []  # numbers of records
        self._redo: list[int] = []
        self._edit_ids: set[str] = set()

    @property
    def version(self) -> int:
        """The number of records, also of those that are not on disk yet."""
        return len(self.log)

    @property
    def durable(self) -> int:
        """The number of records on disk."""
        return len(self.log.entries)

    @property
    def size(self) -> tuple[int, int]:
        return self.mask_HW.shape[0], self.mask_HW.shape[1]

    @property
    def state(self) -> Applied:
        with self.lock:
            return Applied(self.version, len(self._undo), len(self._redo))

    @property
    def labelled(self) -> int:
        """Labelled pixels."""
        return int(self.counts.sum() - self.counts[VOID])

    def planes(self) -> tuple[int, Keys, NDArray[np.uint8]]:
        """The version, and copies of the mask and of `drawn_HW`, of one moment."""
        with self.lock:
            return self.version, self.mask_HW.copy(), self.drawn_HW.copy()

    def apply(self, edit: Edit) -> Applied:
        """Draw an edit, and add it to the log. One that changes nothing adds no record.

        Raises:
            UsageError: it is outside the image, or names keys or a source that there are none of.
            OutputError: it could not be saved now: the disk is full, or the folder is gone or read-only.
            LabelLockedError: another program labels this image.
        """
        with self.lock:
            self.keeper.require_writable(self)
            if edit.edit_id in self._edit_ids:
                return self.state
            change, locked = self._change_of(edit)
            self._edit_ids.add(edit.edit_id)
            if change is None:
                return Applied(self.version, len(self._undo), len(self._redo), locked)
            header = {
                "kind": "edit", "id": edit.edit_id, "tool": edit.tool, "key": edit.key, "seconds": edit.seconds,
                "source": edit.source, "user": edit.user or self.keeper.user, "time": now(),
                "x": change.window.x, "y": change.window.y, "w": change.window.w, "h": change.window.h,
                "pixels": len(change.after_N),
            }  # fmt: skip
            self.log.append(LogRecord(header, change.packed()))
            self._draw(change, SOURCES[edit.source])
            self._note(header)
            self.keeper.changed(self)
            return Applied(self.version, len(self._undo), len(self._redo), locked)

    def undo(self, user: str = "") -> Patch | None:
        """Take back the last edit. Returns the keys that are back; None if there is nothing to undo.

        Raises:
            DataError: the edit cannot be read from the log.
            OutputError, LabelLockedError: as of `apply`.
        """
        return self._step("undo", user)

    def redo(self, user: str = "") -> Patch | None:
        """Do again what was undone last. As `undo`."""
        return self._step("redo", user)

    def remap(self, classes: LabelClasses) -> None:
        """Go on with other classes: keys mean what `classes` says."""
        with self.lock:
            self.classes, self._resolve = classes, classes.resolve()
            here = np.flatnonzero(self.counts)
            if (self._resolve[here] == here).all():
                return
            cv2.LUT(self.mask_HW, self._resolve, dst=self.mask_HW)
            self.drawn_HW[self.mask_HW == VOID] = 0
            self.counts = np.bincount(self._resolve, weights=self.counts, minlength=256).astype(np.int64)

    def replay(self, drawn: int = 0) -> None:
        """Read the history from a log that was just opened, and draw its records from number `drawn` on.

        Raises:
            DataError: the log cannot be read, or a record is not of this image.
        """
        with self.lock:
            for number, record in enumerate(self.log.records(drawn)):
                self._replay_one(number, record, draw=number >= drawn)

    def reload(self, log: EditLog, classes: LabelClasses) -> None:
        """Start over from a log, just opened, that another program wrote meanwhile. Raises DataError as `replay`."""
        with self.lock:
            self.log = log
            self._start(self.size, classes)
            self.replay()

    def restore(self, mask_HW: Keys, drawn_HW: NDArray[np.uint8]) -> None:
        """Take both planes from a snapshot, in place of drawing the records before it."""
        with self.lock:
            self.mask_HW = np.asarray(cv2.LUT(mask_HW, self._resolve), np.uint8)
            self.drawn_HW = np.where(self.mask_HW == VOID, np.uint8(0), drawn_HW)
            self.counts = np.zeros(256, np.int64)
            self._count(self.mask_HW, 1)

    def _replay_one(self, number: int, record: LogRecord, *, draw: bool) -> None:
        kind = record.header.get("kind")
        if kind == "edit":
            if draw:
                self._draw(PixelChange.unpacked(record, self.size), self._code(record.header))
            self._note(record.header, number)
            self._edit_ids.add(str(record.header.get("id")))
            return
        source, target = (self._undo, self._redo) if kind == "undo" else (self._redo, self._undo)
        if kind not in ("undo", "redo") or not source:
            raise DataError(f"{shown(self.log.path)}: record {number + 1} is a {kind!r} with nothing before it.")
        edit = source.pop()
        target.append(edit)
        if draw:
            self._draw_step(str(kind), edit)

    def _step(self, kind: str, user: str) -> Patch | None:
        with self.lock:
            self.keeper.require_writable(self)
            source, target = (self._undo, self._redo) if kind == "undo" else (self._redo, self._undo)
            if not source:
                return None
            patch = self._draw_step(kind, source[-1])
            target.append(source.pop())
            self.log.append(
                LogRecord({"kind": kind, "of": target[-1], "user": user or self.keeper.user, "time": now()})
            )
            self.keeper.changed(self)
            return patch

    def _draw_step(self, kind: str, number: int) -> Patch:
        """Draw an edit backwards or again."""
        record = self.log.read(number)
        change = PixelChange.unpacked(record, self.size)
        keys_N, drawn_N = change.after_N, np.full(len(change.after_N), self._code(record.header), np.uint8)
        if kind == "undo":
            keys_N, drawn_N = change.before_N, change.drawn_before_N
        values_N = self._put(change.window, change.changed_hw, keys_N, drawn_N)
        values_hw = np.full(change.changed_hw.shape, VOID, np.uint8)
        values_hw[change.changed_hw] = values_N
        return Patch(change.window.x, change.window.y, values_hw, change.changed_hw)

    def _draw(self, change: PixelChange, code: int) -> None:
        self._put(change.window, change.changed_hw, change.after_N, np.full(len(change.after_N), code, np.uint8))

    def _put(
        self, window: Window, changed_hw: Mask, keys_N: NDArray[np.uint8], drawn_N: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Write keys, as they were drawn, into both planes. Returns them as they are now."""
        self.replay_cost += changed_hw.size + COST_OF_RECORD
        values_N = self._resolve[keys_N]
        mask_hw, drawn_hw = self.mask_HW[window.slices], self.drawn_HW[window.slices]
        self._count(mask_hw[changed_hw], -1)
        self._count(values_N, 1)
        mask_hw[changed_hw] = values_N
        drawn_hw[changed_hw] = np.where(values_N == VOID, np.uint8(0), drawn_N)
        return values_N

    def _count(self, keys: NDArray[np.uint8], times: int) -> None:
        present, numbers = counted_ids(keys)
        self.counts[present] += times * numbers

    def _note(self, header: Mapping[str, Any], number: int | None = None) -> None:
        """Add an edit to what can be undone, and its time."""
        self._undo.append(self.version - 1 if number is None else number)
        self._redo.clear()
        key, seconds = header.get("key"), header.get("seconds")
        if isinstance(key, int) and isinstance(seconds, (int, float)):
            self.seconds_of[key] = self.seconds_of.get(key, 0.0) + seconds

    def _code(self, header: Mapping[str, Any]) -> int:
        return SOURCES.get(str(header.get("source")), 1)

    def _change_of(self, edit: Edit) -> tuple[PixelChange | None, int]:
        """The pixels that an edit really changes, None if none; and how many are locked."""
        self._require_valid(edit)
        slices = edit.patch.window.slices
        mask_hw, drawn_hw = self.mask_HW[slices], self.drawn_HW[slices]
        values_hw = self._resolve[edit.patch.values_hw]  # a page may not know yet of a class that was merged
        new_drawn_hw = np.where(values_hw == VOID, np.uint8(0), np.uint8(SOURCES[edit.source]))
        changed_hw = edit.patch.changed_hw & ((mask_hw != values_hw) | (drawn_hw != new_drawn_hw))
        locked = 0
        locks = np.zeros(256, np.bool_)
        locks[[one.key for one in self.classes.classes if one.locked]] = True
        if locks.any():
            held_hw = changed_hw & (locks[mask_hw] | locks[values_hw])
            locked = int(np.count_nonzero(held_hw))
            changed_hw &= ~held_hw
        inside = Window.around(changed_hw)
        if inside is None:
            return None, locked
        cut = inside.slices
        changed_hw = changed_hw[cut].copy()
        window = Window(edit.patch.x + inside.x, edit.patch.y + inside.y, inside.w, inside.h)
        planes = (plane[cut][changed_hw] for plane in (mask_hw, values_hw, drawn_hw))
        return PixelChange(window, changed_hw, *planes), locked

    def _require_valid(self, edit: Edit) -> None:
        """Raise UsageError for an edit that cannot be drawn."""
        height, width = self.size
        x, y, (h, w) = edit.patch.x, edit.patch.y, edit.patch.values_hw.shape
        if x < 0 or y < 0 or x + w > width or y + h > height:
            raise UsageError(
                f"the edit covers {w}×{h} pixels at column {x}, row {y}; the image has {width}×{height}. Cut it there."
            )
        if edit.patch.values_hw.dtype != np.uint8 or edit.patch.changed_hw.dtype != np.bool_:
            raise UsageError("the edit's values are not uint8, or what it changed is not bool.")
        if edit.source not in SOURCES:
            raise UsageError(f"the edit's source is {edit.source!r}; expected one of {', '.join(SOURCES)}.")
        if not 0 < len(edit.edit_id) <= LONGEST_WORD or len(edit.tool) > LONGEST_WORD:
            raise UsageError(f"the edit's id or tool is empty, or longer than {LONGEST_WORD} letters.")
        if not (math.isfinite(edit.seconds) and 0 <= edit.seconds <= LONGEST_SECONDS):
            raise UsageError(f"the edit took {edit.seconds} seconds; expected 0 to {LONGEST_SECONDS:,.0f}.")
        known = self._resolve != VOID
        known[VOID] = True
        used, _ = counted_ids(edit.patch.values_hw[edit.patch.changed_hw])
        strange = [*used[~known[used]].tolist(), *([] if 0 <= edit.key <= VOID and known[edit.key] else [edit.key])]
        if strange:
            keys = ", ".join(map(str, self.classes.keys)) or "none yet"
            raise UsageError(f"the edit draws key {strange[0]}, which is no class; the keys are {keys}.")


def now() -> str:
    """The time, in UTC, to milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
