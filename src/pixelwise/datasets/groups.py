"""Groups that a split must not divide: slices of a volume, frames of a video, patches of an image, a patient's images.

A reader that knows the group sets `Sample.group`. Otherwise names must be unambiguous, because many datasets number
independent images consecutively: a word such as frame, slice or patch before the number, a prefix such as patient or
volume, grid positions x and y, or several numbered series, each with consecutive numbers. Last, the images themselves
may show that they are slices of one stack, see `stacks`.

Groups are strings; samples of one group share the same string.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from pixelwise.datasets.stacks import is_one_stack
from pixelwise.images.files import shown
from pixelwise.records import Sample

NUMBER = re.compile(r"\d+(?![A-Za-z\d])")  # not the 8 of leftImg8bit
PIECE_WORDS = frozenset(
    [
        *("frame", "frames", "slice", "slices", "page", "patch", "tile", "crop", "window", "chunk"),
        *("fr", "sl", "f", "p", "z", "t"),
    ]
)
WHOLE_WORDS = frozenset(
    [
        *("patient", "pat", "subject", "subj", "sub", "case", "person", "donor", "animal", "mouse", "specimen"),
        *("volume", "vol", "stack", "scan", "series", "study", "session", "slide", "wsi", "plate", "well"),
        *("film", "video", "vid", "clip", "movie", "sequence", "seq", "scene", "drive", "run", "flight", "recording"),
        *("document", "doc", "book", "batch"),
    ]
)
STACK = "one stack or film"
MOST = 0.8  # of the samples must be in groups
REGULAR = 0.5  # of the steps between consecutive numbers must be equal
FEW = 3  # minimum median number of samples per group
LONGEST_NAME, LONGEST_RULE = 300, 100  # characters
WORDS = re.compile(r"[A-Za-z]+")
PIECES = re.compile(r"[-_., ()]+")
POSITION = re.compile(r"[A-Za-z]{0,3}\d+")


@dataclass(frozen=True)
class Groups:
    """Which samples belong together."""

    of: Mapping[str, str]  # sample name → group; omits samples without a group
    why: str = ""  # reason, for the note

    def __len__(self) -> int:
        return len(set(self.of.values()))


def numbered(path: Path) -> tuple[str, int] | None:
    """Split a file name into (everything but its last number, that number); None without a number."""
    found = list(NUMBER.finditer(shown(path.stem)))
    if not found:
        return None
    last = found[-1]
    stem = shown(path.stem)
    return stem[: last.start()] + "#" + stem[last.end() :], int(last.group()[:15])


def group_of(path: Path) -> str:
    """The group in a name: the name without its last number ("patient07_slice12" → "patient07_slice")."""
    parts = numbered(path)
    return parts[0].rstrip("#").rstrip("_-. ") if parts else shown(path.stem)


def found_groups(samples: Sequence[Sample], rule: str | bool = True) -> Groups:
    """The groups of these samples.

    Args:
        rule: dataset.toml's `groups`: True: detect, see the module; False: none; a regular expression: its match in a
            sample's name is the group.

    Raises:
        re.error: the expression is invalid, or may never finish.
    """
    if rule is False:
        return Groups({})
    if isinstance(rule, str):
        expression = _bounded(rule)
        matches = ((sample.name, expression.search(sample.name[-LONGEST_NAME:])) for sample in samples)
        own = {name: match[match.lastindex or 0] for name, match in matches if match}
        return Groups(own, "dataset.toml's `groups`")
    told = {sample.name: sample.group or _volume(sample) for sample in samples}
    told = {name: group for name, group in told.items() if group}
    if told:
        return Groups(told, "the files or annotations state their groups")
    for find in (_by_word, _by_grid, _by_series):
        groups = find(samples)
        if groups.of:
            return groups
    if is_one_stack(samples):
        return Groups(
            dict.fromkeys((sample.name for sample in samples), STACK), "each image is most like its neighbour"
        )
    return Groups({})


def _bounded(rule: str) -> re.Pattern[str]:
    """A regular expression that is fast on every name: a dataset may be untrusted. Raises re.error."""
    plain = re.sub(r"\\.|\[[^\]]*\]", "x", rule)
    if (
        len(rule) > LONGEST_RULE
        or re.search(r"\)[*+?{]|\(\?[^:]|\\[1-9]", rule)
        or len(re.findall(r"[*+{]", plain)) > 2
    ):
        raise re.error("at most two repetitions, none of a group, and no reference to one, so that it ends soon")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return re.compile(rule)


def _volume(sample: Sample) -> str:
    """The volume's file that contains this slice."""
    return shown(sample.image.name) if sample.image_part.startswith("nifti:") else ""


def _accepted(of: Mapping[str, str], samples: Sequence[Sample], why: str, *, least: int = 2) -> Groups:
    """These groups if there are several, with several samples each and most samples in total; else none."""
    sizes = Counter(of.values())
    several = sum(size for size in sizes.values() if size > 1)
    return Groups(of, why) if len(sizes) >= least and several >= MOST * len(samples) else Groups({})


def _by_word(samples: Sequence[Sample]) -> Groups:
    """Groups by a word: "patient07/…", "case3_12", "clip2_frame004", "page_scan3_p2"."""
    of_folder, of_name = {}, {}
    for sample in samples:
        path = PurePath(sample.name)
        for i, part in enumerate(path.parts[:-1]):
            if _is_whole(part):
                of_folder[sample.name] = "/".join(path.parts[: i + 1])
        parts = numbered(Path(path.name))
        if parts is None:
            continue
        head, _, tail = parts[0].partition("#")
        words = WORDS.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", head).lower())
        before = words[-1] if words and head.rstrip("-_. (").lower().endswith(words[-1]) else ""
        if before in PIECE_WORDS and (len(words) > 1 or re.search(r"\d", head)) and not tail:
            of_name[sample.name] = f"{path.parent}/{head[: head.lower().rindex(before)].rstrip('-_. ')}"
        elif any(_is_whole(piece) for piece in PIECES.split(head) if piece):
            of_name[sample.name] = f"{path.parent}/{head.rstrip('-_. (')}"
    groups = _accepted(of_name, samples, "their names are numbered within one film, volume, patient or image")
    return groups if groups.of else _accepted(of_folder, samples, "each folder is one film, volume or patient")


def _is_whole(piece: str) -> bool:
    """Whether a piece of a name is a word such as patient with a number or letter: "patient07", "seqA", "case_3"."""
    match = re.fullmatch(r"([A-Za-z]+?)[-_ ]?(\d+|[A-Z]\d*)", piece)
    return match is not None and match[1].lower() in WHOLE_WORDS


def _by_grid(samples: Sequence[Sample]) -> Groups:
    """Patches of one image: names that end with two or more positions, which fill a grid for each prefix."""
    cells: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    of: dict[str, str] = {}
    for sample in samples:
        path = PurePath(sample.name)
        pieces = [piece for piece in PIECES.split(path.name) if piece]
        kept = len(pieces)
        while kept > 1 and POSITION.fullmatch(pieces[kept - 1]):
            kept -= 1
        if len(pieces) - kept < 2:
            continue
        of[sample.name] = f"{path.parent}/{'_'.join(pieces[:kept])}"
        cells[of[sample.name]].add((pieces[-2], pieces[-1]))
    grids = {group for group, places in cells.items() if _is_grid(places)}
    of = {name: group for name, group in of.items() if group in grids}
    return _accepted(of, samples, "their names end with positions in one image")


def _is_grid(places: set[tuple[str, str]]) -> bool:
    rows, columns = {row for row, _ in places}, {column for _, column in places}
    return len(rows) > 1 and len(columns) > 1 and 2 * len(places) >= len(rows) * len(columns)


def _by_series(samples: Sequence[Sample]) -> Groups:
    """Numbered series: "0016E5_00390", "0016E5_00420" …; or folders of zero-padded numbers, "bear/00000"."""
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    of: dict[str, str] = {}
    for sample in samples:
        path = PurePath(sample.name)
        parts = numbered(Path(path.name))
        if parts is None:
            continue
        head = parts[0].partition("#")[0].rstrip("-_. (")
        if re.search(r"\d", head) or (not WORDS.search(parts[0]) and re.match(r"0*\d{4,}$", path.name)):
            of[sample.name] = f"{path.parent}/{head}"
            numbers[of[sample.name]].append(parts[1])
    series = {group: sorted(own) for group, own in numbers.items()}
    if not series or sorted(map(len, series.values()))[len(series) // 2] < FEW:
        return Groups({})
    if sum(_runs_on(own) for own in series.values()) < MOST * len(series):
        return Groups({})
    first = Counter(own[0] for own in series.values()).most_common(1)[0][1]
    restarts = first >= MOST * len(series)  # every series begins with the same number
    return _accepted(of, samples, "their names are numbered series", least=2 if restarts else 3)


def _runs_on(numbers: Sequence[int]) -> bool:
    """Whether most consecutive numbers differ by the same step."""
    steps = Counter(b - a for a, b in itertools.pairwise(numbers))
    return bool(steps) and steps.most_common(1)[0][1] >= REGULAR * sum(steps.values())
