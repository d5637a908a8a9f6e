"""A labelling folder: photos, their labels, and everything about them on disk.

    LABELS/dataset.toml, images/, masks/   a dataset, for `check`, `train` and `convert` (`labelled_dataset`)
    LABELS/labels.jsonl                    a line for each edit (`labels_journal`)
    LABELS/photos/                         photos that were uploaded, where no folder of photos was named
    LABELS/.labelling/                     photos.json, classes.json, edits/ (`edit_log`), states/, locks/, snapshots/

The logs are the truth; everything else is derived from them, and written again where it is older. The folder of photos
is never changed.

Shapes: H, W of an image.
"""

from __future__ import annotations

import getpass
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pixelwise.datasets.read_sample import image_size_of, read_sample_image
from pixelwise.datasets.sample_gaps import bands_with_gaps
from pixelwise.errors import DataError, ImageError, LabelLockedError, OutputError, UsageError
from pixelwise.images.banded_image import BandedImage
from pixelwise.images.files import Refusal, shown
from pixelwise.labelling.background_saving import BackgroundSaving
from pixelwise.labelling.class_operations import ClassOperations, ImageStatus, State
from pixelwise.labelling.derived_files import DerivedFiles
from pixelwise.labelling.edit_log import cut, open_log
from pixelwise.labelling.image_locks import ImageLocks
from pixelwise.labelling.label_classes import LabelClasses
from pixelwise.labelling.labelled_dataset import write_dataset_toml
from pixelwise.labelling.labelled_image import LabelledImage
from pixelwise.labelling.labelling_folder import (
    INSIDE,
    UPLOADS,
    alone,
    by_hand,
    make_inside,
    photos_of,
    places,
    read_changed_classes,
    read_classes,
    remove_old_parts,
    write_classes,
    write_photos,
)
from pixelwise.labelling.mask_snapshots import draw_log, keep_snapshot
from pixelwise.labelling.photo_list import FoundPhotos, Photo, bands_of_photos, found_one
from pixelwise.records import VOID, Raster

MOST_OPEN, MOST_OPEN_BYTES = 8, 400 << 20  # images whose planes stay in memory
REFRESH_S = 1.0


class Workspace(ClassOperations):
    """An open labelling folder. Thread-safe. Close it, or use it as a context manager: edits are then all saved."""

    def __init__(self, out: Path, photos_root: Path | None, found: FoundPhotos, classes: LabelClasses) -> None:
        """Use `open`."""
        self.out, self.inside, self.photos_root = out, out / INSIDE, photos_root
        self.found, self.bands = found, found.bands
        self.notes: list[str] = list(found.notes)  # what was decided or found out, for people
        self.classes = classes
        self.read_only = False
        self.user = login_name()
        self.locks = ImageLocks(self.inside / "locks")
        self._photos: dict[str, Photo] = {photo.id: photo for photo in found.photos}
        self._derived = DerivedFiles(out, self.inside)
        self._refreshed, self._classes_stamp = time.monotonic(), (0, 0)
        self._lock, self._load_lock = threading.RLock(), threading.RLock()
        self._images: weakref.WeakValueDictionary[str, LabelledImage] = weakref.WeakValueDictionary()
        self._recent: OrderedDict[str, LabelledImage] = OrderedDict()
        self._saver = BackgroundSaving(self._derive, self._release_lapsed)

    @classmethod
    def open(cls, photos: Path | None, out: Path | None = None, classes: Sequence[str] = ()) -> Workspace:
        """Open a folder of photos to label, or go on with a labelling folder.

        Args:
            photos: a folder of images, a dataset, or a labelling folder; None: photos will be uploaded.
            out: the labelling folder. Default: "<photos>-labels" beside the photos.
            classes: names of classes to add, where they are missing.

        Raises:
            UsageError: no such folder, the labels would be inside the photos, or a class name is wrong.
            DataError: a file of the labelling folder is damaged.
            OutputError: the labelling folder cannot be created.
        """
        root, out = places(photos, out)
        found = photos_of(root, out)
        known = read_classes(out)
        workspace = cls(out, root, found, known or LabelClasses())
        try:
            workspace._start(found, classes, new=known is None)
        except BaseException:
            workspace._saver.stop()
            raise
        return workspace

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Save everything and free the images. Raises OutputError: something cannot be saved."""
        try:
            self._saver.stop()
        finally:
            self.locks.release_all()

    def flush(self) -> None:
        """Wait until every edit, mask and line is on disk. Raises OutputError, ImageError."""
        self._saver.flush()

    @property
    def failure(self) -> str:
        """Why edits or masks cannot be saved now; "" if they can."""
        error = self._saver.failure or self._saver.delayed
        return str(error) if error else ""

    def photos(self) -> list[Photo]:
        """All photos, by name."""
        with self._lock:
            return list(self._photos.values())

    def add_found(self, path: Path) -> Photo:
        """A photo that was just put into the folder of uploads. Raises OutputError."""
        root = self.out / UPLOADS
        with self._lock:
            known = list(self._photos.values())
            added = found_one(path, root, known)
            if added.id not in self._photos:
                self._photos[added.id] = added
                self.bands = bands_of_photos(root, list(self._photos.values()), self.notes)
                write_photos(self.out, None, list(self._photos.values()))
            return self._photos[added.id]

    def photo(self, image_id: str) -> Photo:
        """Raises UsageError: no photo has this id."""
        with self._lock:
            if image_id not in self._photos:
                raise UsageError(f"no photo has the id {shown(image_id)}. Reload the list of photos.")
            return self._photos[image_id]

    def pixels(self, image_id: str) -> BandedImage:
        """All bands of a photo, in full depth, NaN where it has no data. Raises ImageError: it cannot be read."""
        photo = self.photo(image_id)
        try:
            return bands_with_gaps(photo.sample)
        except Refusal as refusal:
            raise ImageError(f"{shown(photo.path)}: {refusal}") from refusal

    def raster(self, image_id: str) -> Raster:
        """A photo in the bands of most photos, as a model takes it. Raises ImageError: not read, or other bands."""
        return read_sample_image(self.photo(image_id).sample, self.bands)

    def size(self, image_id: str) -> tuple[int, int]:
        """(H, W) of a photo, from its header. Raises ImageError."""
        known = self._derived.state(image_id).size
        return known if known[0] else image_size_of(self.photo(image_id).sample)

    def opened(self, image_id: str) -> LabelledImage:
        """A photo's labels, as they are on disk now. The last few stay in memory.

        Raises:
            UsageError: no photo has this id.
            ImageError: its size cannot be read.
            DataError: its log is damaged.
        """
        self.refresh()
        with self._lock:
            image = self._images.get(image_id)
        if image is not None:
            self._reload_if_other(image)
        else:
            with self._load_lock:
                image = self._images.get(image_id)
                if image is None:
                    image = self._load(image_id)
                    with self._lock:
                        self._images[image_id] = image
        with self._lock:
            self._recent[image_id] = image
            self._recent.move_to_end(image_id)
            while len(self._recent) > 1 and self._too_many():
                self._recent.popitem(last=False)
        return image

    def status(self, image_id: str) -> ImageStatus:
        """What is known of a photo's labels, without opening them. Raises UsageError: no photo has this id."""
        self.photo(image_id)
        self.refresh()
        with self._lock:
            image = self._images.get(image_id)
        state = self._derived.state(image_id) if image is None else self._derived.state_of(image)
        table = self.classes.resolve()
        pixels: dict[int, int] = {}
        for key, number in state.pixels.items():
            if table[key] != VOID and number:
                pixels[int(table[key])] = pixels.get(int(table[key]), 0) + number
        labelled = sum(pixels.values())
        name: State = "done" if state.done else "started" if labelled else "untouched"
        if name == "untouched" and self.has_proposal(image_id):
            name = "model"
        area = state.size[0] * state.size[1]
        return ImageStatus(name, state.version, labelled / area if area else 0.0, sum(state.seconds.values()),
                           state.size, pixels, state.seconds)  # fmt: skip

    def has_proposal(self, image_id: str) -> bool:
        """Whether the model has labelled a photo in advance."""
        return self.proposal_path(image_id).exists()

    def has_log(self, image_id: str) -> bool:
        """Whether a photo was ever edited, even if everything was undone."""
        return self._log_path(image_id).exists() or self._saver.holds(image_id)

    def proposal_path(self, image_id: str) -> Path:
        """Where the model's labels of a photo are."""
        return self.inside / "proposals" / f"{image_id}.proposal"

    def set_done(self, image_id: str, done: bool) -> None:
        """Say that an image is labelled completely, or not yet. Raises OutputError."""
        self.photo(image_id)
        self.require_folder()
        self._derived.set_done(image_id, done)

    def refresh(self) -> None:
        """Take over what other programs on this folder have changed; looked for about once a second."""
        if time.monotonic() - self._refreshed < REFRESH_S:
            return
        self._refreshed = time.monotonic()
        self._derived.refresh()
        with self._lock:
            changed = read_changed_classes(self.out, self._classes_stamp)
            if changed is None:
                return
            self._classes_stamp, self.classes = changed
        for image in self.in_memory():
            image.remap(self.classes)

    def in_memory(self) -> list[LabelledImage]:
        """The images whose planes are in memory."""
        with self._lock:
            return list(self._images.values())

    # ── saving ──

    def require_folder(self) -> None:
        """Raise OutputError where nothing can be saved now."""
        if self.read_only:
            raise OutputError(f"{shown(self.out)}: is read-only. Choose a folder that you may write to with --out.")
        if self._saver.failure is not None:
            raise self._saver.failure

    def require_writable(self, image: LabelledImage) -> None:
        """Raise OutputError where an edit could not be saved, LabelLockedError where another program edits."""
        self.require_folder()
        if self.locks.hold_file(image.id, self.user):
            self._reload_if_other(image, held=True)

    def changed(self, image: LabelledImage) -> None:
        self._saver.changed(image)

    def _start(self, found: FoundPhotos, names: Sequence[str], *, new: bool) -> None:
        """Make or repair what is on disk."""
        try:
            make_inside(self.out)
            write_photos(self.out, self.photos_root, self.photos())
            with alone(self.inside / "locks" / "classes"):
                pass
        except OutputError as error:
            if new:
                raise
            self.read_only = True
            self.notes.append(f"The labels can be looked at, not changed: {error}")
        wanted = self.classes
        if new and found.dataset is not None:
            for name, colour in zip(found.dataset.classes.names, found.dataset.classes.colours, strict=True):
                wanted = wanted.added(name, colour)
        for name in names:
            if name not in {one.name for one in wanted.classes}:
                wanted = wanted.added(name)
        self.classes = wanted
        if not self.read_only:
            remove_old_parts(self.out)
            self.notes += by_hand(self.out, wanted)
            write_classes(self.out, wanted)
            write_dataset_toml(self.out, wanted, self.bands)
            for image_id in self._derived.stale(self._photos, self.locks):
                self._repair(image_id)

    def _repair(self, image_id: str) -> None:
        """Write again what is older than an image's log: the program was killed before it could."""
        try:
            image = self.opened(image_id)
            self.locks.hold_file(image_id, self.user)
        except (DataError, LabelLockedError) as error:
            self.notes.append(str(error))
        else:
            self.changed(image)

    def _reload_if_other(self, image: LabelledImage, *, held: bool = False) -> None:
        """Read an image's log again where another program has added to it."""
        if not held and self.locks.holds_file(image.id):
            return
        path = self._log_path(image.id)
        with image.lock:
            size = path.stat().st_size if path.exists() else 0
            if size != image.log.size and not image.log.pending:
                image.reload(image.log.reopened(), self.classes)
        if held:
            self._derived.reread(image.id, size)

    def _load(self, image_id: str) -> LabelledImage:
        photo, path = self.photo(image_id), self._log_path(image_id)
        log = open_log(path, {"kind": "image", "name": photo.name, "part": photo.part})
        if log.size:
            size = int(log.image["height"]), int(log.image["width"])
            require_same_size(photo, size)
        else:
            size = image_size_of(photo.sample)
            log.image |= {"height": size[0], "width": size[1]}
        image = LabelledImage(image_id, size, log, self.classes, self)
        draw_log(image, self._snapshot_path(image_id))
        if image.log.tail.lost and not self.read_only:
            self._cut(image)
        return image

    def _cut(self, image: LabelledImage) -> None:
        """Cut a torn end off a log, unless another program is just writing it."""
        with suppress(LabelLockedError):
            self.locks.hold_file(image.id, self.user)
            image.reload(image.log.reopened(), self.classes)
            if image.log.tail.lost:
                self.notes.append(cut(image.log.path, image.log.tail))

    def _derive(self, image: LabelledImage) -> None:
        self._derived.write(image, self.photo(image.id), self.bands, self.classes)
        keep_snapshot(self._snapshot_path(image.id), image)

    def _release_lapsed(self) -> None:
        for image_id in self.locks.lapsed():
            if not self._saver.holds(image_id):
                self.locks.release_file(image_id)

    def _too_many(self) -> bool:
        total = sum(2 * image.mask_HW.size for image in self._recent.values())
        return len(self._recent) > MOST_OPEN or total > MOST_OPEN_BYTES

    def _snapshot_path(self, image_id: str) -> Path:
        return self.inside / "snapshots" / f"{image_id}.bin"

    def _log_path(self, image_id: str) -> Path:
        return self.inside / "edits" / f"{image_id}.log"


def require_same_size(photo: Photo, size: tuple[int, int]) -> None:
    """Raise DataError where a photo is not of the size (H, W) that it was labelled at."""
    try:
        found = image_size_of(photo.sample)
    except ImageError:  # it is missing or damaged: its labels can still be read
        return
    if found != size:
        raise DataError(
            f"{shown(photo.path)}: has {found[1]}×{found[0]} pixels; it was labelled at {size[1]}×{size[0]}. Put the "
            "photo back that was labelled, or give this one another name."
        )


def login_name() -> str:
    """The name of the person who is logged in; "" where the system knows none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
