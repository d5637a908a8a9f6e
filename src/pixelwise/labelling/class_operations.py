"""The classes of an open labelling folder: added, renamed, merged … in one file, dataset.toml, whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pixelwise.labelling.derived_files import DerivedFiles
from pixelwise.labelling.label_classes import LabelClasses
from pixelwise.labelling.labelled_dataset import write_dataset_toml
from pixelwise.labelling.labelled_image import LabelledImage
from pixelwise.labelling.labelling_folder import alone, read_classes, write_classes
from pixelwise.labelling.photo_list import Photo
from pixelwise.records import Bands, Colour

State = Literal["untouched", "started", "done", "model"]


@dataclass(frozen=True)
class ImageStatus:
    """What a strip of images shows of one."""

    state: State
    version: int
    labelled: float  # share of the pixels, 0–1
    seconds: float  # of all edits
    size: tuple[int, int]  # (H, W); zeros where the photo was never opened
    pixels: Mapping[int, int]  # key → labelled pixels
    seconds_of: Mapping[int, float]  # key → seconds of its edits


@dataclass(frozen=True)
class ClassUse:
    """How much a class is used."""

    images: int
    pixels: int


class ClassOperations(ABC):
    """What can be done to the classes of a labelling folder. All raise UsageError, and OutputError if not saved."""

    out: Path
    inside: Path
    bands: Bands
    classes: LabelClasses
    _derived: DerivedFiles

    @abstractmethod
    def photos(self) -> list[Photo]: ...
    @abstractmethod
    def status(self, image_id: str) -> ImageStatus: ...
    @abstractmethod
    def require_folder(self) -> None: ...
    @abstractmethod
    def flush(self) -> None: ...
    @abstractmethod
    def in_memory(self) -> Iterable[LabelledImage]:
        """The images whose planes are in memory."""

    def add_class(self, name: str, colour: Colour | None = None) -> int:
        """Returns the new class's key. Raises UsageError, OutputError."""
        self._change_classes(lambda classes: classes.added(name, colour))
        return self.classes.classes[-1].key

    def rename_class(self, key: int, name: str) -> None:
        self._change_classes(lambda classes: classes.renamed(key, name))

    def recolour_class(self, key: int, colour: Colour) -> None:
        self._change_classes(lambda classes: classes.recoloured(key, colour))

    def lock_class(self, key: int, locked: bool = True) -> None:
        """Edits leave the pixels of a locked class as they are."""
        self._change_classes(lambda classes: classes.locked(key, locked))

    def reorder_classes(self, keys: Sequence[int]) -> None:
        self._change_classes(lambda classes: classes.reordered(keys))

    def merge_class(self, key: int, into: int) -> ClassUse:
        """Pixels of one class become pixels of another. Returns how many."""
        use = self.class_use(key)
        self._change_classes(lambda classes: classes.merged(key, into))
        return use

    def delete_class(self, key: int) -> ClassUse:
        """Pixels of a class become not labelled. Returns how many."""
        use = self.class_use(key)
        labelled = [photo for photo in self.photos() if self.status(photo.id).labelled]
        self._change_classes(lambda classes: classes.without(key))
        self._derived.take_out([photo for photo in labelled if not self.status(photo.id).labelled])
        return use

    def class_use(self, key: int) -> ClassUse:
        """The images and pixels of a class. Raises UsageError: no class has this key."""
        self.classes.of(key)
        numbers = [self.status(photo.id).pixels.get(key, 0) for photo in self.photos()]
        return ClassUse(sum(number > 0 for number in numbers), sum(numbers))

    def _change_classes(self, change: Callable[[LabelClasses], LabelClasses]) -> None:
        self.require_folder()
        with alone(self.inside / "locks" / "classes"):
            before = read_classes(self.out) or self.classes
            after = change(before)
            write_classes(self.out, after)
            write_dataset_toml(self.out, after, self.bands)
            self.classes = after
        for image in self.in_memory():
            image.remap(after)
        if any(before.name_of(key) != after.name_of(key) for key in (*before.keys, *before.gone)):
            self._derived.rename_lines(after)
