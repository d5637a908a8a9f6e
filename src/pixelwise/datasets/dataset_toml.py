"""dataset.toml: the user's settings for a dataset, validated.

void = [254, "#000000"]      # mask values that mean unlabelled; 255 does too, unless a class uses it

[[classes]]
name = "sky"
colour = [70, 130, 180]      # optional; a list, [[70, 130, 180], [0, 0, 90]], if masks use several colours for it
id = 0                       # optional, the id in mask files, or a list: [0, 7]; default: its position, from 0

[splits]                     # optional, for images/ + masks/: file names without extension
val = ["a", "b"]             # the others go to train

groups = false               # optional, before the tables: a split may divide a volume, video or patient; or a
                             # regular expression whose match in a pair's name is its group
bands = ["T2w"]              # optional, before the tables: one channel of volumes to use, or three as RGB, in 8 bits
runs = "columns"             # optional, before the tables: order of run lengths in a CSV, "columns" or "rows"

[bands]                      # optional, instead of the list above, for images of any bands
names = ["red", "nir"]       # of all bands of an image's file, in order
use = ["nir"]                # names, or numbers from 1; default: all
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import tomlkit

from pixelwise.datasets.default_colours import default_colours
from pixelwise.errors import DatasetError
from pixelwise.images.decoder_reasons import text_reason
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import MAX_CLASSES, RGB, VOID, Bands, ClassList, Colour

FILE_NAME = "dataset.toml"
KEY_PARTS = 64  # a.b.c has three; as many as the numbers in two DICOM identifiers, which file names may contain
KEY_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""  # with the dot after it
LONG_KEY = re.compile(rf"(?<![\w\\-])(?:{KEY_PART}){{{KEY_PARTS}}}", re.ASCII)
HEX = re.compile("#[0-9a-fA-F]{6}")
SPLITS = ("train", "val", "test")
EXAMPLE = 'For example: [[classes]] name = "sky", colour = [70, 130, 180], id = 0.'


@dataclass(frozen=True)
class DatasetSettings:
    """Contents of dataset.toml. Without the file: no classes, no splits, 255 is void."""

    classes: ClassList | None = None
    mask_ids: Mapping[int, int] = field(default_factory=dict)  # id in a mask file → class id or VOID; with classes only
    void: frozenset[int] = frozenset({VOID})  # ids in mask files; without 255 if a class uses it
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: bool | str = True  # True: detect groups from names and readers, see `groups`
    bands: tuple[str | int, ...] = ()  # one, or three as red, green and blue: names, or numbers from 0
    band_names: tuple[str, ...] = ()  # of all bands of an image's file
    used_bands: tuple[str | int, ...] = ()  # names, or numbers from 1; (): all
    runs: str = ""  # "columns" or "rows": how a table's run lengths number pixels; "": not declared
    told_void: frozenset[int] = frozenset()  # the part of `void` that the file itself declares
    colours: Mapping[int, int] = field(default_factory=dict)  # 0xRRGGBB → class id or VOID, for the colours in the file
    numbered: bool = False  # some class has an id in the file, so position alone defines none


def read_settings(root: Path) -> DatasetSettings:
    """Read `root`/dataset.toml if it exists.

    Raises:
        DatasetError: not TOML, or an invalid entry; the message names the entry and shows a valid one.
    """
    path = root / FILE_NAME
    if not os.path.lexists(path):
        return DatasetSettings()
    try:
        table = parse_toml(read_bytes(path).decode())
    except Refusal as refusal:  # includes pipes and devices, where a read would never end
        fail(path, refusal.what, refusal.remedy)
    except ValueError as error:
        fail(path, f"is not valid TOML ({text_reason(error)}).", EXAMPLE)
    return settings_of(table, path)


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML document. Raises ValueError, also if it is nested too deeply."""
    if LONG_KEY.search(text):  # tomllib's time is quadratic in the number of parts
        raise ValueError(f"it has a key of more than {KEY_PARTS} parts with dots between them")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error


def dataset_toml(classes: ClassList, ids: Sequence[int | list[int]] | None = None, void: Sequence[int] = ()) -> str:
    """The text of a dataset.toml that declares these classes. `ids`: the id, or several, of each in mask files; None:
    position."""
    rows = [
        {"name": name, "id": ids[position] if ids is not None else position, "colour": list(colour)}
        for position, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True))
    ]
    heading = f"void = {list(void)}  # ids in mask files that mean unlabelled, in addition to 255\n\n" if void else ""
    return heading + tomlkit.dumps({"classes": rows})


def bands_toml(bands: Bands) -> str:
    """The [bands] of a dataset.toml that selects these; "" for RGB images."""
    return "" if bands == RGB else "\n" + tomlkit.dumps({"bands": {"use": list(bands.names)}})


def splits_toml(names: Mapping[str, Sequence[str]]) -> str:
    """The [splits] of a dataset.toml, for images/ + masks/: file names without extension, by split."""
    return tomlkit.dumps({"splits": {split: list(stems) for split, stems in names.items()}})


def settings_of(table: Mapping[str, Any], path: Path) -> DatasetSettings:
    """Validate a parsed dataset.toml. `path` is for messages. Raises DatasetError."""
    refuse_unknown_keys(table, ("classes", "void", "splits", "groups", "bands", "runs"), "the file", path)
    rows = table.get("classes", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        fail(path, "`classes` is not a list of tables; expected [[classes]] entries.", EXAMPLE)
    declared_void, void_colours = void_of(table.get("void", []), path)
    for row in rows:  # TOML puts a `void` below [[classes]] into the last class: accept it there
        numbers, colours = void_of(row.get("void", []), path)
        declared_void, void_colours = declared_void + numbers, void_colours + colours
    void = frozenset({VOID, *declared_void})
    splits = splits_of(table.get("splits", {}), path)
    groups = table.get("groups", True)
    if not isinstance(groups, (bool, str)):
        fail(
            path,
            f"`groups` is {groups!r}; expected true, false or a regular expression.",
            "For example: groups = false",
        )
    own_bands = table.get("bands", [])
    bands = () if isinstance(own_bands, dict) else bands_of(own_bands, path)
    band_names, used_bands = band_table(own_bands, path) if isinstance(own_bands, dict) else ((), ())
    runs = table.get("runs", "")
    if runs not in ("", "columns", "rows"):
        fail(path, f"`runs` is {runs!r}; expected how pixels are numbered.", 'Write runs = "columns" or runs = "rows".')
    plain = DatasetSettings(
        void=void,
        splits=splits,
        groups=groups,
        bands=bands,
        band_names=band_names,
        used_bands=used_bands,
        runs=runs,
        told_void=frozenset(declared_void),
        colours=dict.fromkeys(void_colours, VOID),
    )
    if not rows:
        return plain
    classes, ids, class_colours = classes_of(rows, path)
    both = sorted(set(ids) & set(declared_void))
    if both:
        fail(path, f"id {both[0]} is declared as a class and as void.", "Remove it from one of them.")
    return replace(
        plain,
        classes=classes,
        mask_ids={**dict.fromkeys(void, VOID), **ids},
        void=void - set(ids),
        colours={**class_colours, **plain.colours},
        numbered=any("id" in row for row in rows),
    )


def bands_of(value: object, path: Path) -> tuple[str | int, ...]:
    """The channels to use: one, or three as red, green and blue."""
    rows: list[Any] = value if isinstance(value, list) else [value]
    if len(rows) not in (0, 1, 3) or not all(type(row) in (str, int) for row in rows):
        fail(path, f"`bands` is {value!r}; expected one channel or three.", 'For example: bands = ["T2w"].')
    return tuple(rows)


def band_table(table: Mapping[str, Any], path: Path) -> tuple[tuple[str, ...], tuple[str | int, ...]]:
    """[bands]: the names of all bands, and those to use, as names or numbers from 1."""
    refuse_unknown_keys(table, ("names", "use"), "[bands]", path)
    names, used = table.get("names", []), table.get("use", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        fail(path, f"[bands] names is {names!r}; expected a list of names.", 'For example: names = ["red", "nir"].')
    if len({name.lower() for name in names}) < len(names):
        fail(path, f"[bands] names is {names!r}; a name occurs twice.", "Give every band its own name.")
    if not isinstance(used, list) or not all(type(band) in (str, int) for band in used):
        fail(path, f"[bands] use is {used!r}; expected names, or numbers from 1.", 'For example: use = ["nir", 3].')
    return tuple(name.strip() for name in names), tuple(used)


def void_of(value: object, path: Path) -> tuple[list[int], list[int]]:
    """The numbers and the colours (0xRRGGBB) that mean unlabelled: 254, or "#000000"."""
    given: list[Any] = value if isinstance(value, list) else [value]
    colours = [entry for entry in given if isinstance(entry, str)]
    for colour in colours:
        if not HEX.fullmatch(colour):
            fail(path, f'`void` holds {colour!r}; expected whole numbers, or colours such as "#000000".', EXAMPLE)
    numbers = whole_numbers([entry for entry in given if not isinstance(entry, str)], "`void`", path)
    return numbers, [int(colour[1:], 16) for colour in colours]


def classes_of(rows: Sequence[Mapping[str, Any]], path: Path) -> tuple[ClassList, dict[int, int], dict[int, int]]:
    """The declared classes; id in mask files → class id; colour 0xRRGGBB → class id, for the declared colours."""
    if len(rows) > MAX_CLASSES:
        fail(path, f"declares {len(rows)} classes; the limit is {MAX_CLASSES}.", "Merge classes.")
    names: list[str] = []
    ids: dict[int, int] = {}
    shown_in: list[Colour | None] = []
    by_colour: dict[int, int] = {}
    for position, row in enumerate(rows):
        where = f"class {position}"
        refuse_unknown_keys(row, ("name", "colour", "color", "id", "void"), where, path)
        name = row.get("name")
        if not isinstance(name, str) or not name.strip():
            fail(path, f"{where} has no name; expected a text.", EXAMPLE)
        if name in names:
            fail(path, f"the class name {name!r} occurs twice.", "Give every class its own name.")
        names.append(name)
        for mask_id in whole_numbers(row.get("id", position), f"the id of class {name!r}", path):
            if ids.setdefault(mask_id, position) != position:
                fail(path, f"classes {names[ids[mask_id]]!r} and {name!r} have the same id {mask_id}.", EXAMPLE)
        colours = colours_of(row.get("colour", row.get("color")), name, path)
        shown_in.append(colours[0] if colours else None)
        for red, green, blue in colours:
            by_colour.setdefault(red << 16 | green << 8 | blue, position)
    return ClassList(tuple(names), filled_colours(shown_in)), ids, by_colour


def filled_colours(colours: Sequence[Colour | None]) -> tuple[Colour, ...]:
    """Replace None with default colours that differ from those already given."""
    spare = iter([colour for colour in default_colours(MAX_CLASSES) if colour not in colours])
    return tuple(colour or next(spare) for colour in colours)


def colours_of(value: object, name: str, path: Path) -> list[Colour]:
    """One colour [red, green, blue] of the file, or a list of them."""
    if value is None:
        return []
    several = value if isinstance(value, list) and value and all(isinstance(one, list) for one in value) else [value]
    found: list[Colour] = []
    for one in several:
        numbers = whole_numbers(one, f"the colour of class {name!r}", path)
        if len(numbers) != 3 or max(numbers) > 255:
            fail(path, f"the colour of class {name!r} is {one}; expected red, green, blue, each 0 to 255.", EXAMPLE)
        found.append((numbers[0], numbers[1], numbers[2]))
    return found


def splits_of(value: object, path: Path) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        fail(path, "`splits` is not a table; expected [splits].", 'For example: [splits] val = ["a", "b"].')
    refuse_unknown_keys(value, SPLITS, "[splits]", path)
    owner: dict[str, str] = {}
    for split, stems in value.items():
        if not isinstance(stems, list) or not all(isinstance(stem, str) for stem in stems):
            fail(path, f"split {split!r} is not a list of names.", 'For example: val = ["a", "b"].')
        for stem in stems:
            if owner.setdefault(stem, split) != split:
                fail(path, f"{stem!r} is in two splits, {owner[stem]} and {split}.", "Keep it in one.")
    return {split: tuple(stems) for split, stems in value.items()}


def whole_numbers(value: object, what: str, path: Path) -> list[int]:
    """A list of ids or colour values: integers, 0 to 65535."""
    numbers: list[Any] = value if isinstance(value, list) else [value]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**16:
            fail(path, f"{what} is {value!r}; expected whole numbers from 0 to 65535.", EXAMPLE)
    return numbers


def refuse_unknown_keys(table: Mapping[str, Any], known: Sequence[str], where: str, path: Path) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        fail(path, f"{where} has an unknown key {unknown[0]!r}; known: {', '.join(known)}.", "Correct or remove it.")


def fail(path: Path, what: str, remedy: str) -> NoReturn:
    raise DatasetError(f"{shown(path)}: {what} {remedy}")
