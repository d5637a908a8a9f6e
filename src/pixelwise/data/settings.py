"""dataset.toml: what a person says about a dataset, checked.

void = [254]                 # ids in mask files that mean unlabelled; 255 always does, unless a class claims it

[[classes]]
name = "sky"
colour = [70, 130, 180]      # optional
id = 0                       # optional, the id in mask files; by default the class's position, from 0

[splits]                     # optional, for images/ + masks/: file names without suffix
val = ["a", "b"]             # the others go to train

groups = false               # optional, before the tables: pairs of one volume, film or patient may be divided; or a
                             # regular expression, whose match in a pair's name is its group
bands = ["T2w"]              # optional, before the tables: the one channel of volumes that is used, or three as RGB
runs = "columns"             # optional, before the tables: run lengths in a CSV count down the columns, or along "rows"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import tomlkit

from pixelwise.data.colours import default_colours
from pixelwise.data.files import shown
from pixelwise.errors import DatasetError
from pixelwise.records import MAX_CLASSES, VOID, ClassList, Colour

FILE_NAME = "dataset.toml"
SPLITS = ("train", "val", "test")
EXAMPLE = 'For example: [[classes]] name = "sky", colour = [70, 130, 180], id = 0.'


@dataclass(frozen=True)
class Settings:
    """What dataset.toml holds. Without the file: no classes, no splits, 255 is void."""

    classes: ClassList | None = None
    mask_ids: Mapping[int, int] = field(default_factory=dict)  # id in a mask file → class id or VOID; with classes only
    void: frozenset[int] = frozenset({VOID})  # ids in mask files; 255 is missing where a class claims it
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: bool | str = True  # True: what names and readers say belongs together stays together, see `groups`
    bands: tuple[str | int, ...] = ()  # one, or three as red, green and blue: names, or numbers from 0
    runs: str = ""  # "columns" or "rows": how a table's run lengths number pixels; "": nobody says


def read_settings(root: Path) -> Settings:
    """Read `root`/dataset.toml where there is one.

    Raises:
        DatasetError: it is no TOML, or holds what it must not; the message names the entry and shows a right one.
    """
    path = root / FILE_NAME
    if not path.exists():
        return Settings()
    try:
        table = parse_toml(path.read_text("utf-8"))
    except OSError as error:
        fail(path, f"cannot be read ({error.strerror}).", "Check its permissions.")
    except ValueError as error:
        fail(path, f"is not valid TOML ({error}).", EXAMPLE)
    return settings_of(table, path)


def parse_toml(text: str) -> dict[str, Any]:
    """The table that a TOML document holds. Raises ValueError, also where it is nested too deeply to be read."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error


def dataset_toml(classes: ClassList, ids: Sequence[int] | None = None, void: Sequence[int] = ()) -> str:
    """The text of a dataset.toml that declares these classes. `ids`: of each in mask files; None: its position."""
    rows = [
        {"name": name, "id": ids[position] if ids is not None else position, "colour": list(colour)}
        for position, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True))
    ]
    heading = f"void = {list(void)}  # ids in mask files that mean unlabelled, beside 255\n\n" if void else ""
    return heading + tomlkit.dumps({"classes": rows})


def splits_toml(names: Mapping[str, Sequence[str]]) -> str:
    """The [splits] of a dataset.toml, for images/ + masks/: file names without suffix, by split."""
    return tomlkit.dumps({"splits": {split: list(stems) for split, stems in names.items()}})


def settings_of(table: Mapping[str, Any], path: Path) -> Settings:
    """Check a parsed dataset.toml. `path` stands in messages. Raises DatasetError."""
    refuse_unknown_keys(table, ("classes", "void", "splits", "groups", "bands", "runs"), "the file", path)
    rows = table.get("classes", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        fail(path, "`classes` is not a list of tables; expected [[classes]] entries.", EXAMPLE)
    declared_void = list(whole_numbers(table.get("void", []), "`void`", path))
    for row in rows:  # TOML puts a `void` that is written below [[classes]] into the last class: take it as meant
        declared_void += whole_numbers(row.get("void", []), "`void`", path)
    void = frozenset({VOID, *declared_void})
    splits = splits_of(table.get("splits", {}), path)
    groups = table.get("groups", True)
    if not isinstance(groups, (bool, str)):
        fail(
            path,
            f"`groups` is {groups!r}; expected true, false or a regular expression.",
            "For example: groups = false",
        )
    bands = bands_of(table.get("bands", []), path)
    runs = table.get("runs", "")
    if runs not in ("", "columns", "rows"):
        fail(path, f"`runs` is {runs!r}; expected how pixels are numbered.", 'Write runs = "columns" or runs = "rows".')
    if not rows:
        return Settings(void=void, splits=splits, groups=groups, bands=bands, runs=runs)
    classes, ids = classes_of(rows, path)
    both = sorted(set(ids) & set(declared_void))
    if both:
        fail(path, f"id {both[0]} is declared as a class and as void.", "Remove it from one of them.")
    mask_ids = {**dict.fromkeys(void, VOID), **{mask_id: i for i, mask_id in enumerate(ids)}}
    return Settings(classes, mask_ids, void - set(ids), splits, groups, bands, runs)


def bands_of(value: object, path: Path) -> tuple[str | int, ...]:
    """The channels that are used: one, or three as red, green and blue."""
    rows: list[Any] = value if isinstance(value, list) else [value]
    if len(rows) not in (0, 1, 3) or not all(type(row) in (str, int) for row in rows):
        fail(path, f"`bands` is {value!r}; expected one channel or three.", 'For example: bands = ["T2w"].')
    return tuple(rows)


def classes_of(rows: Sequence[Mapping[str, Any]], path: Path) -> tuple[ClassList, tuple[int, ...]]:
    """The declared classes, and the id of each in mask files."""
    if len(rows) > MAX_CLASSES:
        fail(path, f"declares {len(rows)} classes; the limit is {MAX_CLASSES}.", "Merge classes.")
    names: list[str] = []
    ids: list[int] = []
    colours: list[Colour | None] = []
    for position, row in enumerate(rows):
        where = f"class {position}"
        refuse_unknown_keys(row, ("name", "colour", "color", "id", "void"), where, path)
        name = row.get("name")
        if not isinstance(name, str) or not name.strip():
            fail(path, f"{where} has no name; expected a text.", EXAMPLE)
        if name in names:
            fail(path, f"the class name {name!r} occurs twice.", "Give every class its own name.")
        names.append(name)
        (mask_id,) = whole_numbers([row.get("id", position)], f"the id of class {name!r}", path)
        if mask_id in ids:
            fail(path, f"classes {names[ids.index(mask_id)]!r} and {name!r} have the same id {mask_id}.", EXAMPLE)
        ids.append(mask_id)
        colours.append(colour_of(row.get("colour", row.get("color")), name, path))
    return ClassList(tuple(names), filled_colours(colours)), tuple(ids)


def filled_colours(colours: Sequence[Colour | None]) -> tuple[Colour, ...]:
    """Default colours where there is None, other than those already given."""
    spare = iter([colour for colour in default_colours(MAX_CLASSES) if colour not in colours])
    return tuple(colour or next(spare) for colour in colours)


def colour_of(value: object, name: str, path: Path) -> Colour | None:
    if value is None:
        return None
    numbers = whole_numbers(value, f"the colour of class {name!r}", path)
    if len(numbers) != 3 or max(numbers) > 255:
        fail(path, f"the colour of class {name!r} is {value}; expected red, green, blue, each 0 to 255.", EXAMPLE)
    return numbers[0], numbers[1], numbers[2]


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
    """A list of ids or colour values: whole, 0 to 65535."""
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
