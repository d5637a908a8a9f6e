"""How a dataset is read, as options: `--class NAME=VALUE[,VALUE…]`, `--void VALUE[,VALUE…]`, `--masks`, `--bands`.

A value is a number ("255"), a range of numbers ("1-65535", for masks that number objects) or a colour ("#ff0000").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pixelwise.errors import UsageError

NUMBER = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
LARGEST = 2**31 - 1  # masks hold 32-bit integers at most

Given = int | str | Sequence[int | str]  # one value or several, in Python
GivenBands = str | Sequence[int | str]  # names, or numbers from 1; "nir,red" and ["nir", "red"] are the same


@dataclass(frozen=True)
class Value:
    """One mask value, or a range of numbers."""

    low: int
    high: int
    coloured: bool = False  # the value is a colour, 0xRRGGBB

    def __str__(self) -> str:
        if self.coloured:
            return f"#{self.low:06x}"
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"

    def meets(self, other: Value) -> bool:
        return self.coloured == other.coloured and self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Values:
    """Which class each value is, which values mean unlabelled, and which files and bands. Empty: nothing was given."""

    classes: tuple[tuple[str, tuple[Value, ...]], ...] = ()  # by name, in the order of their ids
    void: tuple[Value, ...] = ()
    masks: str = ""  # part of the masks' folder or file names, if there are several candidates
    bands: tuple[str, ...] = ()  # names, or numbers from 1, of the images' bands to use, in this order

    def __bool__(self) -> bool:
        return bool(self.classes or self.void or self.masks or self.bands)

    @property
    def of_values(self) -> bool:
        """Whether values were given; masks must then be opened."""
        return bool(self.classes or self.void)

    def to_json(self) -> dict[str, Any]:
        return {
            "classes": {name: [str(value) for value in values] for name, values in self.classes},
            "void": [str(value) for value in self.void],
            **({"masks": self.masks} if self.masks else {}),
            **({"bands": list(self.bands)} if self.bands else {}),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any] | None) -> Values:
        told = row or {}
        return values_of(told.get("classes"), told.get("void", ()), told.get("masks", ""), told.get("bands", ()))

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of `check`, `train`, `evaluate` …"""
        return self.to_json()

    def options(self) -> str:
        """As written on the command line; "" if nothing was given."""
        parts = [f"--class {quoted(f'{name}={_joined(values)}')}" for name, values in self.classes]
        parts += [f"--void {quoted(_joined(self.void))}"] if self.void else []
        parts += [f"--masks {quoted(self.masks)}"] if self.masks else []
        return " ".join([*parts, *([f"--bands {quoted(','.join(self.bands))}"] if self.bands else [])])


def values_of(
    classes: Mapping[str, Given] | None = None, void: Given = (), masks: str = "", bands: GivenBands = ()
) -> Values:
    """Parse Python values: `{"vessel": 255, "rust": ["#ff0000", "#aa0000"]}`, `[9]`, and bands as `["nir", 3]`.

    Raises:
        UsageError: a value is invalid, or is given to two classes; a band is given twice.
    """
    named = [(name.strip(), _several(given, f"class {name!r}")) for name, given in (classes or {}).items()]
    return replace(_checked(named, _several(void, "void"), masks), bands=bands_given(bands))


def bands_given(bands: GivenBands) -> tuple[str, ...]:
    """`["nir", 3]` or "nir,3" as written. Raises UsageError: an empty name, or a band given twice."""
    parts = bands.split(",") if isinstance(bands, str) else [str(band) for band in bands]
    names = tuple(part.strip() for part in parts) if parts != [""] else ()
    if not all(names) or len({name.lower() for name in names}) < len(names):
        said = ",".join(names)
        raise UsageError(
            f"--bands {said}: expected each band once: names, or numbers from 1, such as 4,3,2 or nir,red."
        )
    return names


def parse_values(classes: Sequence[str], void: Sequence[str], masks: str = "", bands: str = "") -> Values:
    """Parse options: "vessel=255", "rust=#ff0000,#aa0000"; and "9", "255,#000000". Raises as `values_of`."""
    named: dict[str, list[Value]] = {}
    for text in classes:
        name, equals, values = text.rpartition("=")
        if not equals or not name.strip():
            raise UsageError(
                f"--class {text}: expected NAME=VALUE[,VALUE…], such as --class vessel=255 or --class 'rust=#ff0000'."
            )
        named.setdefault(name.strip(), []).extend(_parsed(values, f"--class {text}"))
    unlabelled = [value for text in void for value in _parsed(text, f"--void {text}")]
    return replace(_checked(list(named.items()), unlabelled, masks), bands=bands_given(bands))


def parse_value(text: str, where: str = "") -> Value:
    """Parse "255", "1-65535" or "#ff8000". `where` is for the message. Raises UsageError."""
    text = text.strip()
    if COLOUR.fullmatch(text):
        return Value(int(text[1:], 16), int(text[1:], 16), True)
    if match := NUMBER.fullmatch(text):
        low = int(match[1])
        high = int(match[2]) if match[2] else low
        if low <= high <= LARGEST:
            return Value(low, high)
    raise UsageError(
        f"{where}{': ' if where else ''}{text!r} is not a mask value; expected a number such as 255, a range such as "
        "1-65535, or a colour such as #ff8000."
    )


def quoted(text: str) -> str:
    """Quote an argument for a shell if it contains more than letters, digits and a few safe characters."""
    return text if re.fullmatch(r"[\w=.,:/-]+", text) else "'" + text.replace("'", "'\\''") + "'"


def _parsed(text: str, where: str) -> list[Value]:
    return [parse_value(part, where) for part in text.split(",")]


def _several(given: Given, where: str) -> list[Value]:
    parts: Sequence[int | str] = [given] if isinstance(given, (int, str)) else list(given)
    return [value for part in parts for value in _parsed(str(part), where)]


def _checked(named: Sequence[tuple[str, Sequence[Value]]], void: Sequence[Value], masks: str) -> Values:
    taken: list[tuple[Value, str]] = [(value, "void") for value in void]
    for name, values in named:
        if not name or not values:
            raise UsageError(f"class {name!r} has no name or no value; expected NAME=VALUE, such as vessel=255.")
        for value in values:
            other = next((whose for one, whose in taken if one.meets(value) and whose != name), None)
            if other is not None:
                raise UsageError(f"the mask value {value} is given to {name!r} and to {other!r}; expected one of them.")
        taken += [(value, name) for value in values]
    return Values(tuple((name, tuple(values)) for name, values in named), tuple(void), masks)


def _joined(values: Sequence[Value]) -> str:
    return ",".join(map(str, values))
