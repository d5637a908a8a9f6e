"""Tables in the dataset's folder that name mask values or colours.

_classes.csv       Pixel Value, Class             Roboflow; also value, id, index … and colours in columns r, g, b
class_dict.csv     name,r,g,b                     Kaggle's editions of CamVid, DeepGlobe and others
label_colors.txt   64 128 64  Animal              CamVid
labelmap.txt       # label:color_rgb:…            CVAT
labels.txt         one name per line              labelme2voc, YOLO and others: the line number is the value
classes.json       {"0": "road"}, {"road": 0}, [{"name": …, "id": …, "color": …}], nnU-Net's {"labels": …}
data.yaml          names: …                       YOLO

A table is used only if it covers all mask values; otherwise a note reports it, and values keep their numbers.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from pixelwise.datasets.palettes import VOID_NAMES
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import VOID

FILE = re.compile(  # names of tables, most trusted first
    r"_?class(es)?(_?(dict|names?|list|map|labels?|info|table|lookup|ids?))?(_seg)?\.(csv|tsv|txt|json)"
    r"|.*class_?dict.*\.(csv|txt)|.*label_?colou?rs?.*\.(txt|csv)|.*colou?r_?(map|s|table|dict|code)?s?\.(txt|csv|json)"
    r"|_?label(s|map)?(_?(names?|list|map|dict|info|ids?|classes))?\.(csv|tsv|txt|json)|class.*\.csv|.*label.*\.csv"
    r"|(legend|categories|category|names|palette|codes|id2label|meta|dataset|obj_?names|pixel_?values?|values?)"
    r"\.(csv|tsv|txt|json)|.*\.names",
    re.IGNORECASE,
)
VALUE_WORDS = (
    *("pixel_value", "pixelvalue", "mask_value", "value", "pixel", "label_id", "labelid", "class_id", "classid", "id"),
    *("index", "idx", "code", "category_id", "grey", "gray", "grey_value", "gray_value", "number", "label_value", "dn"),
    *("train_id", "trainid", "label", "class"),
)
NAME_WORDS = ("name", "class_name", "classname", "label_name", "class", "label", "category", "title", "description")
COLOUR_WORDS = ("rgb", "colour", "color", "hex", "colour_rgb", "color_rgb", "rgb_value", "hex_color")
INSIDE = ("labels", "classes", "names", "id2label", "categories", "label_map", "class_map", "mapping")
BACKGROUNDS = frozenset(["background", "bg", "_background_", "back_ground", "back"])
BY_NUMBERS = re.compile(r"\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,:]+(\S.*?)\s*$")
BY_NAME = re.compile(r"\s*([^#:\s][^:]*):\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(?::.*)?$")
VALUE_FIRST = re.compile(r"\s*['\"]?(\d{1,5})['\"]?\s*[:=,;\t ]\s*([^\d\s].*?)\s*$")
VALUE_LAST = re.compile(r"\s*(\D.*?)\s*[:=,;\t ]\s*(\d{1,5})\s*$")
INLINE_NAME = r"""\s*(?:\d+\s*:)?\s*('[^']*'|"[^"]*"|[^'",\[\]{}\n]+?)\s*(?:,|$)"""  # with or without its number
LONGEST_INLINE = 1000
LARGE = 1 << 20  # bytes; a table of classes is far smaller
MOST_FOLDERS, MOST_ENTRIES, LONGEST_NAME, MOST_ROWS, LONGEST_LINE = 60, 5000, 80, 4096, 4096


@dataclass(frozen=True)
class NameRow:
    name: str
    value: int | None = None  # in mask files; None: given by list position or colour
    colour: int | None = None  # 0xRRGGBB


@dataclass(frozen=True)
class Table:
    """One table of classes."""

    where: str  # its file, for messages
    rows: tuple[NameRow, ...]

    def by_value(self) -> dict[int, str]:
        return {row.value: row.name for row in self.rows if row.value is not None}

    def by_colour(self) -> dict[int, str]:
        return {row.colour: row.name for row in self.rows if row.colour is not None}

    def by_place(self) -> list[str]:
        """The names in order, if the table has neither values nor colours; otherwise []."""
        if any(row.value is not None or row.colour is not None for row in self.rows):
            return []
        names = [row.name for row in self.rows]
        return names[1:] if names[0].strip("_").lower() == "ignore" and len(names) > 1 else names


def tables_beside(root: Path) -> list[Table]:
    """Every table in a folder, down to two levels below it; identical tables once."""
    found: dict[tuple[NameRow, ...], Table] = {}
    inside = (path for pattern in ("*", "*/*") for path in sorted(root.glob(pattern)))
    folders = (path for path in inside if path.is_dir() and not path.is_symlink() and path.name[0] not in "._")
    for folder in [root, *islice(folders, MOST_FOLDERS)]:
        for path in _entries(folder):
            yaml = path.suffix.lower() in (".yaml", ".yml")
            if not (yaml or FILE.fullmatch(path.name)) or path.name.startswith("."):
                continue
            try:
                data = read_bytes(path) if path.is_file() and path.stat().st_size < LARGE else b""
            except (OSError, Refusal):  # an unreadable table is ignored: values keep their numbers
                continue
            rows = tuple(rows_of(path.name, data.decode("utf-8-sig", "replace"))[:MOST_ROWS])
            if len({row.name for row in rows}) == len(rows) >= 2:
                found.setdefault(rows, Table(shown(path.relative_to(root)), rows))
    return list(found.values())


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(islice(folder.iterdir(), MOST_ENTRIES))
    except OSError:  # an unreadable folder is reported with its images; here it has no tables
        return []


def rows_of(name: str, text: str) -> list[NameRow]:
    """The classes in the text of a table; [] if it is not such a table."""
    suffix = name.lower().rpartition(".")[2]
    if suffix in ("yaml", "yml"):
        try:
            return yaml_rows(text)
        except Refusal:
            return []
    if suffix == "json":
        try:
            return _of_json(json.loads(text))
        except (ValueError, RecursionError):
            return []
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if max(map(len, lines), default=0) > LONGEST_LINE:  # not a table of names, and the patterns take quadratic time
        return []
    if suffix in ("csv", "tsv"):
        return _of_csv(lines) or _of_lines(lines, names=False)
    return _of_lines(lines, names=True) or _of_csv(lines)


def void_of_tables(root: Path) -> frozenset[int]:
    """The values that a table in the folder calls void, unlabelled or similar."""
    tables = [table.by_value() for table in tables_beside(root)]
    return frozenset(value for names in tables for value, name in names.items() if name.lower() in VOID_NAMES)


def names_beside(root: Path, ids: Sequence[int]) -> tuple[dict[int, str], str]:
    """(names of these values from the tables in the folder, or {}; a note about it, or "")."""
    answers = []
    told = ""
    for table in tables_beside(root):
        names, why_not = _names_of(table, ids)
        if names:
            answers.append((names, table.where))
        elif why_not:
            told = told or f"{table.where} is not used for class names: {why_not}"
    if not answers:
        return {}, told
    names, where = answers[0]
    for other, its in answers[1:]:
        if other != names:
            return {}, f"{where} and {its} give the values different names; set the class names in dataset.toml."
    listed = ", ".join(f"{value} {shown(names[value])}" for value in list(names)[:12])
    return names, f"Names from {where}: {listed}{' …' if len(names) > 12 else ''}."


def table_beside(root: Path) -> tuple[str, dict[int, str]]:
    """The first table that names two or more colours: its file name, and colour 0xRRGGBB → class.

    ("", {}) if there is no readable one.
    """
    named = ((table.where, table.by_colour()) for table in tables_beside(root))
    return next(((PurePath(where).name, colours) for where, colours in named if len(colours) >= 2), ("", {}))


def _names_of(table: Table, ids: Sequence[int]) -> tuple[dict[int, str], str]:
    """The names of these values in one table, or the reason why there are none."""
    known = table.by_value()
    if known:
        missing = [value for value in ids if value not in known]
        if missing == [0] and not {name.lower() for name in known.values()} & BACKGROUNDS:
            known, missing = {0: "background", **known}, []
        if missing:
            return {}, f"the masks hold {_listed(missing)} as well, which it does not name."
        return {value: known[value] for value in ids}, ""
    names = table.by_place()
    if not names or not ids:
        return {}, ""
    first = names[0].lower() in BACKGROUNDS
    if first and len(names) == len(ids) == 2:
        return dict(zip(ids, names, strict=True)), ""
    if max(ids) < len(names) and (first or max(ids) == len(names) - 1) and (first or 0 in ids):
        return {value: names[value] for value in ids}, ""
    if not first and max(ids) == len(names):
        return {value: (names[value - 1] if value else "background") for value in ids}, ""
    what = f"it lists {len(names)} names, but the masks hold {_listed(ids)}"
    return {}, f"{what}; it does not map one to the other. Name the classes in dataset.toml."


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:8])) + (" …" if len(values) > 8 else "")


def _of_csv(lines: Sequence[str]) -> list[NameRow]:
    if not lines:
        return []
    comma = max(",;\t", key=lines[0].count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=comma)]
    except csv.Error:
        return []
    head = [re.sub(r"\W+", "_", cell.lower()).strip("_") for cell in rows[0]]
    body = [row for row in rows[1:] if any(row)]

    def column(words: Iterable[str], numbers: bool | None = None) -> int | None:
        for word in words:
            if word in head:
                at = head.index(word)
                cells = [row[at] for row in body if at < len(row)]
                if cells and (numbers is None or all(map(_is_value, cells)) == numbers):
                    return at
        return None

    name_at, value_at = column(NAME_WORDS, numbers=False), column(VALUE_WORDS, numbers=True)
    channels = [column(words, numbers=True) for words in (("r", "red"), ("g", "green"), ("b", "blue"))]
    colour_at = column(COLOUR_WORDS, numbers=False)
    if name_at is None or (value_at is None and colour_at is None and None in channels):
        return []
    found = []
    for row in body:
        cells = [
            row[at] if at is not None and at < len(row) else "" for at in (name_at, value_at, colour_at, *channels)
        ]
        name, value, colour, *parts = cells
        packed = _packed(parts) if all(parts) else _colour(colour)
        if name and (_is_value(value) or packed is not None):
            found.append(NameRow(name[:LONGEST_NAME], int(value) if _is_value(value) else None, packed))
    return found


def _of_lines(lines: Sequence[str], *, names: bool) -> list[NameRow]:
    """Parse lines of text: colours and names, values and names, or (`names`) names alone."""
    coloured = []
    for line in lines:
        if match := BY_NUMBERS.match(line):
            *channels, name = match.groups()
        elif match := BY_NAME.match(line):
            name, *channels = match.groups()
        else:
            continue
        packed = _packed(channels)
        if packed is not None:
            coloured.append(NameRow(name.strip()[:LONGEST_NAME], None, packed))
    if len(coloured) >= 2:
        return coloured
    for pattern, value_at in ((VALUE_FIRST, 1), (VALUE_LAST, 2)):
        matches = [pattern.fullmatch(line) for line in lines]
        if matches and all(matches):
            pairs = [(m[3 - value_at], int(m[value_at])) for m in matches if m]
            if len({value for _, value in pairs}) == len(pairs):
                return [NameRow(name.strip("'\"{} ")[:LONGEST_NAME], value) for name, value in pairs]
    plain = [line.strip().strip("'\",") for line in lines]
    if (
        not names
        or len(plain) > VOID
        or any(len(name) > LONGEST_NAME or not re.match(r"(\d+\S*[^\W\d]|[^\W\d])", name) for name in plain)
    ):
        return []
    return [NameRow(name) for name in plain]


def _of_json(table: Any) -> list[NameRow]:
    """Rows of a parsed JSON file, in any of the supported structures."""
    if isinstance(table, dict):
        for key in INSIDE:
            if isinstance(table.get(key), (dict, list)):
                return _of_json(table[key])
        rows = [_of_item(key, value) for key, value in table.items()]
        return [row for row in rows if row] if rows and all(rows) else []
    if isinstance(table, list):
        if table and all(isinstance(item, str) for item in table):
            return [NameRow(item[:LONGEST_NAME]) for item in table]
        rows = [_of_item("", item) for item in table]
        return [row for row in rows if row] if rows and all(rows) else []
    return []


def _of_item(key: str, item: Any) -> NameRow | None:
    """One class: "0": "road", "road": 0, "road": [128, 64, 128], "road": "#804080", {"name": …, "id": …}."""
    if isinstance(item, dict):
        name = next((item[word] for word in (*NAME_WORDS, "title") if isinstance(item.get(word), str)), key)
        value = next((item[word] for word in VALUE_WORDS if _is_int(item.get(word))), None)
        value = int(key) if value is None and _is_value(key) else value
        colour = next((_colour(item[word]) for word in COLOUR_WORDS if word in item), None)
        return NameRow(name[:LONGEST_NAME], value, colour) if name and not (value is None and colour is None) else None
    if _is_value(key) and isinstance(item, str):
        return NameRow(item[:LONGEST_NAME], int(key))
    if _is_int(item) and re.search(r"[^\W\d]", key):
        return NameRow(key[:LONGEST_NAME], item)
    colour = _colour(item) if re.search(r"[^\W\d]", key) else None
    return NameRow(key[:LONGEST_NAME], None, colour) if colour is not None else None


def yaml_rows(text: str) -> list[NameRow]:
    """`names` of a YAML file in YOLO's notation: in brackets, or with a dash or number on each line.

    Raises:
        Refusal: a name is too long.
    """
    inline = re.search(r"^names:\s*[\[{](.*?)[\]}]", text, re.MULTILINE | re.DOTALL)
    if inline:
        listed = inline[1].strip()
        if max(map(len, listed.split(","))) > LONGEST_INLINE:  # matching takes quadratic time in a name's length
            raise Refusal("names", f"has a name of over {LONGEST_INLINE} characters.", "Correct `names`.")
        names = (name.strip().strip("'\"") for name in re.findall(INLINE_NAME, listed))
        return [NameRow(name[:LONGEST_NAME]) for name in names if name]
    block = re.search(r"^names:\s*\n((?:[ \t]*(?:-|\d+:).*\n?)+)", text, re.MULTILINE)
    found = []
    for line in block[1].splitlines() if block else ():
        match = re.match(r"\s*(?:-|(\d+):)\s*(.*)$", line)
        if match and (name := match[2].split(" #")[0].strip().strip("'\"")):
            found.append(NameRow(name[:LONGEST_NAME], int(match[1]) if match[1] else None))
    return found


def _is_value(cell: str) -> bool:
    return cell.isascii() and cell.isdigit() and len(cell) <= 5


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**16


def _colour(value: object) -> int | None:
    """0xRRGGBB for "#804080", "128, 64, 128" or [128, 64, 128]; None for anything else."""
    if isinstance(value, str):
        if match := re.fullmatch(r"\s*#?([0-9a-fA-F]{6})\s*", value):
            return int(match[1], 16)
        parts = re.findall(r"\d+", value)
        return _packed(parts) if len(parts) in (3, 4) else None
    if isinstance(value, list) and len(value) in (3, 4) and all(map(_is_int, value)):
        return _packed([str(channel) for channel in value])
    return None


def _packed(channels: Sequence[str]) -> int | None:
    numbers = [int(channel) for channel in channels[:3] if _is_value(channel)]
    if len(numbers) != 3 or max(numbers) > 255:
        return None
    return numbers[0] << 16 | numbers[1] << 8 | numbers[2]
