"""Lists in the dataset's folder that assign pairs to splits.

    train.txt, val.txt, test.txt        one name or path per line; at the root or in splits/, lists/, ImageSets/*/
    splits.csv                          a column of names and one called split, set, subset, partition or fold;
                                        or a column of names per split
    splits.json, splits_final.json      {"train": [names], "val": [names]}; or a list of these: the first is used

A name matches the end of a pair's image path, with or without suffix, or a folder in it (a patient).
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.datasets.file_kinds import SPLIT_WORDS
from pixelwise.datasets.folder_roles import split_word
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import Sample

FOLDERS = (
    "", "splits", "split", "lists", "list", "sets", "folds", "ImageSets", "ImageSets/*", "imagesets", "data_split",
)  # fmt: skip
SPLIT_COLUMNS = frozenset(["split", "set", "subset", "partition", "phase", "usage", "fold", "folds", "kfold"])
NAME_COLUMNS = (
    "image", "image_name", "image_id", "imageid", "image_path", "img", "file", "file_name", "filename", "name", "path",
    "id", "case", "case_id", "patient", "patient_id", "subject", "subject_id", "stem", "sample", "key",
)  # fmt: skip
LARGE = 16 << 20  # bytes; a list is far smaller
MOST_FILES = 60  # to open
DEPTH = 4  # folders of a path to compare
ENDING = re.compile(r"(\.nii)?\.[A-Za-z]{2,5}\d?$")


@dataclass(frozen=True)
class SplitList:
    """The content of one list, or of the lists in one folder."""

    where: str  # the files, for messages
    entries: tuple[tuple[str, str], ...]  # (name, "train", "val" or "test")
    how: str = ""  # further decisions, for the note: ": fold 0 is val"

    @property
    def named(self) -> int:
        return len({name for name, _ in self.entries})

    @property
    def what(self) -> str:
        return f"{self.named:,} names, such as {shown(self.entries[0][0])[:60]}"

    @property
    def whole(self) -> bool:
        """Whether it also lists train, so that unlisted pairs are left out on purpose."""
        return any(split == "train" for _, split in self.entries)

    def splits_of(self, samples: Sequence[Sample], root: Path) -> dict[str, str]:
        """Sample name → split for the listed samples, each by the longest matching end of its path."""
        ends, folders = _index(samples, root)
        found: dict[str, str] = {}
        for name, split in self.entries:
            parts = ENDING.sub("", name.strip().replace("\\", "/")).strip("/").split("/")
            for length in range(min(len(parts), DEPTH), 0, -1):
                own = ends.get("/".join(parts[-length:]), set())
                if len(own) == 1:
                    found.update(dict.fromkeys(own, split))
                    break
            else:
                found.update(dict.fromkeys(folders.get(parts[-1], set()), split))
        return found


def split_lists(root: Path) -> list[SplitList]:
    """All lists found, text files first."""
    found: list[SplitList] = []
    opened = 0
    for pattern in FOLDERS:
        for folder in sorted(root.glob(pattern)) if pattern else [root]:
            if not folder.is_dir() or folder.is_symlink() or not os.access(folder, os.R_OK):
                continue
            texts: list[tuple[str, list[str]]] = []
            for path in sorted(folder.iterdir()):
                suffix = path.suffix.lower()
                if suffix not in (".txt", ".lst", ".csv", ".tsv", ".json") or path.name.startswith("."):
                    continue
                split = split_word(path.stem)
                if (suffix in (".txt", ".lst") and not split) or opened >= MOST_FILES:
                    continue
                opened += 1
                text = _text(path)
                if suffix in (".txt", ".lst"):
                    texts.append((path.name, [f"{split}\t{name}" for name in _names_of_lines(text)]))
                else:
                    entries, how = _of_json(text) if suffix == ".json" else _of_table(text)
                    if entries:
                        found.append(SplitList(shown(path.relative_to(root)), tuple(entries), how))
            rows = [row.partition("\t") for _, lines in texts for row in lines]
            if rows:
                where = ", ".join(shown((folder / name).relative_to(root)) for name, lines in texts if lines)
                found.insert(0, SplitList(where, tuple((name, split) for split, _, name in rows)))
    return found


def _index(samples: Sequence[Sample], root: Path) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Ends of paths without suffix → samples, or slices of one file; folder names → samples."""
    ends: defaultdict[str, set[str]] = defaultdict(set)
    files: defaultdict[str, set[Path]] = defaultdict(set)
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for sample in samples:
        inside = sample.image.relative_to(root) if sample.image.is_relative_to(root) else Path(sample.image.name)
        parts = [*inside.parts[:-1], ENDING.sub("", inside.name)]
        for length in range(1, min(len(parts), DEPTH) + 1):
            end = "/".join(parts[-length:])
            ends[end].add(sample.name)
            files[end].add(sample.image)
        for part in {*parts[:-1], *([sample.group] if sample.group else [])}:
            folders[part].add(sample.name)
        if sample.image_part:
            folders[ENDING.sub("", inside.name)].add(sample.name)
            folders[re.sub(r"_\d{4}$", "", ENDING.sub("", inside.name))].add(sample.name)  # nnU-Net's channel number
    return {end: names for end, names in ends.items() if len(files[end]) == 1}, dict(folders)


def _text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig", "replace") if path.stat().st_size <= LARGE else ""
    except (OSError, Refusal):  # an empty or unreadable list is ignored, and the note on splits reports the method
        return ""


def _names_of_lines(text: str) -> Iterable[str]:
    """The image on each line: the whole line if it ends in a file suffix, else its first word."""
    for line in text.splitlines():
        line = line.strip()
        if line:
            first = re.split(r"[,;\t]| +(?=\S*[/\\.])| +-?[01]$", line)[0]
            yield first.strip().strip("'\"")


def _of_table(text: str) -> tuple[list[tuple[str, str]], str]:
    head = text.partition("\n")[0]
    comma = max(",;\t", key=head.count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=comma) if row]
    except csv.Error:
        return [], ""
    if len(rows) < 2:
        return [], ""
    names = [cell.lower().replace(" ", "_") for cell in rows[0]]
    columns = {i: SPLIT_WORDS[name] for i, name in enumerate(names) if name in SPLIT_WORDS}
    if len(set(columns.values())) > 1:
        return [(row[i], split) for row in rows[1:] for i, split in columns.items() if i < len(row) and row[i]], ""
    split_at = next((i for i, name in enumerate(names) if name in SPLIT_COLUMNS), None)
    if split_at is None:
        return [], ""
    wanted = [names.index(name) for name in NAME_COLUMNS if name in names]
    name_at = wanted[0] if wanted else next((i for i in range(len(names)) if i != split_at), None)
    if name_at is None:
        return [], ""
    last = max(split_at, name_at)
    pairs = [(row[name_at], row[split_at]) for row in rows[1:] if len(row) > last and row[name_at]]
    return _of_values(pairs, names[split_at])


def _of_values(pairs: list[tuple[str, str]], column: str) -> tuple[list[tuple[str, str]], str]:
    """Entries from pairs of (name, "train", "Test" or a fold number)."""
    words = {value: SPLIT_WORDS.get(value.lower(), "") for _, value in pairs}
    if len({word for word in words.values() if word}) > 1:
        return [(name, words[value]) for name, value in pairs if words[value]], ""
    folds = sorted({value for _, value in pairs if re.fullmatch(r"-?\d{1,2}", value)}, key=int)
    if len(folds) < 2 or len(folds) < len(words):
        return [], ""
    how = f": {column} {folds[0]} of {folds[0]} to {folds[-1]} is val, the others are train"
    return [(name, "val" if value == folds[0] else "train") for name, value in pairs], how


def _of_json(text: str) -> tuple[list[tuple[str, str]], str]:
    if not re.search(r'"(val|valid|validation|dev|test|testing)"\s*:', text[:LARGE], re.IGNORECASE):
        return [], ""
    try:
        table: Any = json.loads(text)
    except (ValueError, RecursionError):
        return [], ""
    how = ""
    if isinstance(table, list) and table and isinstance(table[0], dict):
        how = f": the first of its {len(table)} folds"
        table = table[0]
    if not isinstance(table, dict):
        return [], ""
    entries = [
        (name, SPLIT_WORDS[key.lower()])
        for key, names in table.items()
        if key.lower() in SPLIT_WORDS and isinstance(names, list)
        for name in names
        if isinstance(name, str) and name
    ]
    return (entries, how) if len({split for _, split in entries}) > 1 else ([], "")
