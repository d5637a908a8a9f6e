"""The names of a folder's colours, where a table beside the masks tells them.

class_dict.csv     name,r,g,b            Kaggle's editions of CamVid, DeepGlobe and others
label_colors.txt   64 128 64  Animal     CamVid
labelmap.txt       # label:color_rgb:…   CVAT
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from pixelwise.data.files import Refusal, read_bytes

NAMES = ("class_dict.csv", "label_colors.txt", "labelmap.txt", "class_dict_seg.csv", "colors.txt", "label_map.txt")
PATTERNS = ("*class_dict*.csv", "*colo*r*.txt", "*class*.csv", "*label*.csv")  # and names like these
BY_NUMBERS = re.compile(r"\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,:]+(\S.*?)\s*$")
BY_NAME = re.compile(r"\s*([^#:\s][^:]*):\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(?::.*)?$")
LARGE = 1 << 20  # bytes; a table of classes is far smaller


def table_beside(root: Path) -> tuple[str, dict[int, str]]:
    """The first table in a folder, or in one of the folders in it: its file's name, and colour 0xRRGGBB → class.

    ("", {}) where there is none that can be read.
    """
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink())]
    for folder in folders:
        others = (path.name for pattern in PATTERNS for path in sorted(folder.glob(pattern)))
        for name in dict.fromkeys((*NAMES, *others)):
            path = folder / name
            try:
                data = read_bytes(path) if path.is_file() and path.stat().st_size < LARGE else b""
            except Refusal:
                continue
            found = _of_csv(data) if name.endswith(".csv") else _of_lines(data)
            if len(found) >= 2:
                return name, found
    return "", {}


def _of_csv(data: bytes) -> dict[int, str]:
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig", "replace"))))
    if not rows:
        return {}
    head = [cell.strip().lower() for cell in rows[0]]
    places = [next((i for i, cell in enumerate(head) if cell in words), -1)
              for words in (("name", "class", "label"), ("r", "red"), ("g", "green"), ("b", "blue"))]  # fmt: skip
    if -1 in places:
        return {}
    found = {}
    for row in rows[1:]:
        cells = [row[place].strip() if place < len(row) else "" for place in places]
        if cells[0] and all(cell.isascii() and cell.isdigit() and int(cell) < 256 for cell in cells[1:]):
            found[_packed(*cells[1:])] = cells[0]
    return found


def _of_lines(data: bytes) -> dict[int, str]:
    found = {}
    for line in data.decode("utf-8-sig", "replace").splitlines():
        if match := BY_NUMBERS.match(line):
            *channels, name = match.groups()
        elif match := BY_NAME.match(line):
            name, *channels = match.groups()
        else:
            continue
        if all(int(channel) < 256 for channel in channels):
            found[_packed(*channels)] = name.strip()
    return found


def _packed(red: str, green: str, blue: str) -> int:
    return int(red) << 16 | int(green) << 8 | int(blue)
