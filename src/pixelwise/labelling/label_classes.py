"""The classes of a labelling folder. A class has a key, 0 to 253, that is never used again and never changes.

Masks and logs hold keys, so a class that is renamed, moved, merged or deleted changes no mask: `resolve` says what a
key means now, and dataset.toml gives each class the keys that mean it.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.default_colours import default_colours, seen_lab, separation
from pixelwise.errors import UsageError
from pixelwise.images.files import shown
from pixelwise.records import VOID, ClassList, Colour

MOST_CLASSES = 254  # keys 0 … 253; 254 is spare, 255 not labelled
LONGEST_NAME = 200
APART = 20.0  # ΔE 1976 in the kind of vision that separates two colours least: less is hard to tell apart


@dataclass(frozen=True)
class LabelClass:
    """One class."""

    key: int
    name: str
    colour: Colour
    locked: bool = False  # edits leave its pixels as they are


@dataclass(frozen=True)
class LabelClasses:
    """The classes in their order, and what became of keys that are no class any more."""

    classes: tuple[LabelClass, ...] = ()
    gone: Mapping[int, int] = field(default_factory=dict)  # key → the key it was merged into; 255: deleted
    names_gone: Mapping[int, str] = field(default_factory=dict)  # of the keys in `gone`

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def keys(self) -> tuple[int, ...]:
        return tuple(one.key for one in self.classes)

    def of(self, key: int) -> LabelClass:
        """Raises UsageError: no class has this key."""
        for one in self.classes:
            if one.key == key:
                return one
        raise UsageError(f"no class has the key {key}; the keys are {', '.join(map(str, self.keys)) or 'none yet'}.")

    def name_of(self, key: int) -> str:
        """The name of what a key means now; of a deleted class, the name it had; "" for not labelled."""
        now = int(self.resolve()[key])
        if now != VOID:
            return self.of(now).name
        return self.names_gone.get(key, "")

    def resolve(self) -> NDArray[np.uint8]:
        """uint8 [256]: key → the key that it means now, 255 where it means none."""
        table = np.full(256, VOID, np.uint8)
        for key in self.keys:
            table[key] = key
        for key in self.gone:
            into, seen = key, {key}
            while into in self.gone and (into := self.gone[into]) not in seen:
                seen.add(into)
            table[key] = into if into in self.keys else VOID
        return table

    def palette(self) -> NDArray[np.uint8]:
        """uint8 [256, 3]: the colour of each key; black where it means no class."""
        table = np.zeros((256, 3), np.uint8)
        for one in self.classes:
            table[one.key] = one.colour
        return np.asarray(table[self.resolve()], np.uint8)

    def class_list(self) -> ClassList:
        return ClassList(tuple(one.name for one in self.classes), tuple(one.colour for one in self.classes))

    def ids(self) -> list[int | list[int]]:
        """Of each class, in order, the keys that mean it: its own, first of those that were merged into it."""
        table = self.resolve()
        merged = {key: [old for old in sorted(self.gone) if table[old] == key] for key in self.keys}
        return [[key, *merged[key]] if merged[key] else key for key in self.keys]

    def deleted(self) -> list[int]:
        """Keys of masks and logs that mean no class any more."""
        table = self.resolve()
        return [key for key in sorted(self.gone) if table[key] == VOID]

    def added(self, name: str, colour: Colour | None = None) -> LabelClasses:
        """With one more class, at the end. Without a colour, it gets one far from the others.

        Raises:
            UsageError: the name is empty, too long or taken; or there are no keys left.
        """
        key = max([-1, *self.keys, *self.gone]) + 1
        if key >= MOST_CLASSES:
            raise UsageError(f"{MOST_CLASSES} classes were made, which is the limit. Start a new labelling folder.")
        own = LabelClass(key, self._free_name(name), colour_of(colour or self.next_colour()))
        return replace(self, classes=(*self.classes, own))

    def renamed(self, key: int, name: str) -> LabelClasses:
        return self._with(replace(self.of(key), name=self._free_name(name, key)))

    def recoloured(self, key: int, colour: Colour) -> LabelClasses:
        return self._with(replace(self.of(key), colour=colour_of(colour)))

    def locked(self, key: int, locked: bool) -> LabelClasses:
        return self._with(replace(self.of(key), locked=locked))

    def merged(self, key: int, into: int) -> LabelClasses:
        """Pixels of `key` become pixels of `into`. Raises UsageError: they are the same, or one is no class."""
        self.of(into)
        if key == into:
            raise UsageError(f"class {shown(self.of(key).name)} cannot be merged into itself. Choose another class.")
        return self._without(key, into)

    def without(self, key: int) -> LabelClasses:
        """Pixels of `key` become not labelled."""
        return self._without(key, VOID)

    def reordered(self, keys: Sequence[int]) -> LabelClasses:
        """Raises UsageError: these are not the keys, each once."""
        if sorted(keys) != sorted(self.keys):
            raise UsageError(f"the order names the keys {list(keys)}; expected each of {list(self.keys)} once.")
        return replace(self, classes=tuple(self.of(key) for key in keys))

    def next_colour(self) -> Colour:
        """The first default colour that every kind of vision tells from those in use; else the farthest."""
        used = [(0, 0, 0), *(one.colour for one in self.classes)]
        known = default_colours(MOST_CLASSES)
        distances = separation(seen_lab(list(known)), seen_lab(used))
        enough = np.flatnonzero(distances >= APART)
        return known[int(enough[0]) if len(enough) else int(distances.argmax())]

    def to_json(self) -> dict[str, Any]:
        return {
            "format": 1,
            "classes": [
                {"key": one.key, "name": one.name, "colour": list(one.colour), "locked": one.locked}
                for one in self.classes
            ],
            "gone": [
                {"key": key, "name": self.names_gone.get(key, ""), "into": into} for key, into in self.gone.items()
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LabelClasses:
        """Raises KeyError, TypeError, ValueError: not what `to_json` makes."""
        classes = tuple(
            LabelClass(int(row["key"]), str(row["name"]), colour_of(row["colour"]), bool(row["locked"]))
            for row in value["classes"]
        )
        gone = {int(row["key"]): int(row["into"]) for row in value["gone"]}
        keys = [one.key for one in classes]
        if len({*keys, *gone}) < len(keys) + len(gone) or any(not 0 <= key < MOST_CLASSES for key in (*keys, *gone)):
            raise ValueError(f"keys repeat, or are not 0 to {MOST_CLASSES - 1}")
        return cls(classes, gone, {int(row["key"]): str(row["name"]) for row in value["gone"]})

    def _with(self, changed: LabelClass) -> LabelClasses:
        return replace(self, classes=tuple(changed if one.key == changed.key else one for one in self.classes))

    def _without(self, key: int, into: int) -> LabelClasses:
        own = self.of(key)
        return replace(
            self,
            classes=tuple(one for one in self.classes if one.key != key),
            gone={**self.gone, key: into},
            names_gone={**self.names_gone, key: own.name},
        )

    def _free_name(self, name: str, key: int = VOID) -> str:
        plain = plain_name(name)
        if any(one.name == plain and one.key != key for one in self.classes):
            raise UsageError(f"a class {shown(plain)} exists already. Give every class its own name.")
        return plain


def of_names(names: Iterable[str], colours: Sequence[Colour | None] = ()) -> LabelClasses:
    """New classes, with keys in this order. Raises UsageError as `LabelClasses.added`."""
    classes = LabelClasses()
    for position, name in enumerate(names):
        classes = classes.added(name, colours[position] if position < len(colours) else None)
    return classes


def plain_name(name: str) -> str:
    """A class's name in Unicode's composed form, white space and control characters as single spaces.

    Raises:
        UsageError: nothing is left of it, it is too long, or it is no text.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise UsageError(f"the class name {shown(name)} is no text in Unicode. Write another.")
    spaced = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in name)
    plain = " ".join(unicodedata.normalize("NFC", spaced).split())
    if not plain:
        raise UsageError("the class has no name; expected a text. Write one.")
    if len(plain) > LONGEST_NAME:
        raise UsageError(f"the class name has {len(plain):,} letters; at most {LONGEST_NAME} are allowed. Shorten it.")
    return plain


def colour_of(value: Sequence[int]) -> Colour:
    """Raises UsageError: not red, green and blue, each a whole number from 0 to 255."""
    if len(value) != 3 or any(type(one) is not int or not 0 <= one <= 255 for one in value):
        raise UsageError(
            f"the colour is {list(value)}; expected red, green and blue, each a whole number from 0 to 255."
        )
    return value[0], value[1], value[2]


def alike(classes: LabelClasses) -> list[tuple[int, int, float]]:
    """Pairs of classes whose colours some people cannot tell apart: both keys, and the distance (ΔE 1976) at least.

    Colours are compared as normal, protanope, deuteranope and tritanope vision see them; the smallest counts.
    """
    lab_VN3 = seen_lab([one.colour for one in classes.classes]) if len(classes) else np.zeros((4, 0, 3))
    found = []
    for i, one in enumerate(classes.classes):
        for j in range(i):
            distance = float(separation(lab_VN3[:, i : i + 1], lab_VN3[:, j : j + 1])[0])
            if distance < APART and math.isfinite(distance):
                found.append((classes.classes[j].key, one.key, distance))
    return sorted(found, key=lambda pair: pair[2])
