"""A person's decisions on suspected label errors, one by one: keep the label, give the region another class, or void.

They are kept in a file of their own, one JSON line each, the latest for a region last: the data stay as they are until
`check --fix OUT --label-decisions FILE` writes a repaired copy in which they are applied.

Shapes: H, W of a mask; h, w of a region's box.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.masks.mask_problems import code_name
from pixelwise.datasets.masks.relabel import Change
from pixelwise.datasets.masks.value_meaning import Meaning
from pixelwise.errors import UsageError
from pixelwise.images.files import Refusal, read_bytes, shown, utf8, write_whole
from pixelwise.records import VOID, ClassList, Dataset, Labels

What = Literal["keep", "relabel", "void"]
VOID_NAME = "void"


@dataclass(frozen=True)
class LabelDecision:
    """What to do with one region whose label is suspected to be wrong."""

    sample: str  # name of its image in the dataset
    box: tuple[int, int, int, int]  # x, y, width, height of the region, pixels
    labelled: str  # the mask's class
    what: What
    to: str = ""  # the class that is right, for "relabel"
    runs: tuple[int, ...] = ()  # the region in its box, row by row: pixels outside, inside, outside …
    # The mask values of both classes, as "7" or "#ff0000": they stay when a class is renamed. () where not known.
    labelled_values: tuple[str, ...] = ()
    to_values: tuple[str, ...] = ()

    @property
    def region(self) -> tuple[str, tuple[int, int, int, int], tuple[int, ...]]:
        """What tells it from the other regions, whatever its class is called."""
        return self.sample, self.box, self.runs

    def inside(self) -> NDArray[np.bool_]:
        """The region's pixels in its box, [h, w]."""
        _, _, width, height = self.box
        ends = np.arange(len(self.runs)) % 2 == 1
        inside_N = np.repeat(ends, self.runs)
        return np.asarray(inside_N.reshape(height, width), np.bool_)

    def applied(self, labels_HW: Labels, classes: ClassList) -> tuple[Labels, Change]:
        """The labels with this decision, and the change in words.

        Raises:
            Refusal: the mask is no longer what was decided on.
        """
        x, y, width, height = self.box
        part_hw = labels_HW[y : y + height, x : x + width]
        inside_hw = self.inside()
        told = f"{self.labelled or VOID_NAME!r} at x {x}–{x + width}, y {y}–{y + height}"
        there = VOID if self.labelled == "" else classes.names.index(self.labelled)
        if part_hw.shape != inside_hw.shape or (part_hw[inside_hw] != there).any():
            what = f"has another mask than when its label was decided on: {told} is not there any more."
            raise Refusal("label-decision", what, "Search for label errors again, or take the line out of the file.")
        if self.what == "keep":
            return labels_HW, Change(f"kept {told}", "a person saw that it is right", "yes: nothing was changed")
        changed_HW = labels_HW.copy()
        becomes = VOID if self.what == "void" else classes.names.index(self.to)
        changed_HW[y : y + height, x : x + width][inside_hw] = becomes
        became = "void" if self.what == "void" else repr(self.to)
        number = int(np.count_nonzero(inside_hw))
        why = f"a person saw that the label was wrong, on {number:,} pixels"
        return changed_HW, Change(f"{told} became {became}", why, "yes: by the region in the file of decisions")

    def to_json(self) -> dict[str, Any]:
        row = {**vars(self), "sample": shown(self.sample), "box": list(self.box), "runs": list(self.runs)}
        values = {key: list(row.pop(key)) for key in ("labelled_values", "to_values")}
        return row | {key: value for key, value in values.items() if value}

    def renamed(self, meaning: Meaning) -> LabelDecision:
        """The decision with the classes' names of now: those that its mask values have; "" is void.

        Raises:
            ValueError: a class has been divided, so that its values have several names now.
        """
        labelled = name_now(self.labelled, self.labelled_values, meaning)
        to = name_now(self.to, self.to_values, meaning) if self.what == "relabel" else self.to
        return replace(self, labelled=labelled, to=to, what="void" if self.what == "relabel" and not to else self.what)


def name_now(name: str, values: Sequence[str], meaning: Meaning) -> str:
    """The name that a class of these mask values has now; "" if they are void. Without values, the name itself."""
    known = {code_name(code, False): label for code, label in meaning.numbers.items()}
    known |= {code_name(code, True): label for code, label in meaning.colours.items()}
    labels = {known[value] for value in values if value in known}
    if not labels:
        return name
    names = sorted("void" if label == VOID else meaning.classes.names[label] for label in labels)
    if len(names) > 1:
        raise ValueError(f"{name!r} has become {' and '.join(names)}")
    return "" if labels == {VOID} else names[0]


def values_of(name: str, meaning: Meaning) -> tuple[str, ...]:
    """The inverse of `name_now`: the mask values of a class."""
    if name not in meaning.classes.names:
        return ()
    label = meaning.classes.names.index(name)
    tables = ((meaning.numbers, False), (meaning.colours, True))
    return tuple(
        code_name(code, is_colour) for table, is_colour in tables for code, one in table.items() if one == label
    )


def region_in(
    labels_HW: Labels, predicted_HW: Labels, box: tuple[int, int, int, int], labelled: int, predicted: int
) -> NDArray[np.bool_]:
    """The pixels [h, w] of a suspected region in its box: those of its two classes that hang together and fill it."""
    x, y, width, height = box
    part = slice(y, y + height), slice(x, x + width)
    both_hw = (labels_HW[part] == labelled) & (predicted_HW[part] == predicted)
    _, ids_hw, stats, _ = cv2.connectedComponentsWithStats(both_hw.view(np.uint8), connectivity=4)
    fits = [i for i in range(1, len(stats)) if tuple(stats[i, :4]) == (0, 0, width, height)]
    if not fits:  # joined by a line of single pixels, which the search cuts
        return np.asarray(both_hw, np.bool_)
    largest = max(fits, key=lambda i: int(stats[i, cv2.CC_STAT_AREA]))
    return np.asarray(ids_hw == largest)


def runs_of(inside_hw: NDArray[np.bool_]) -> tuple[int, ...]:
    """The inverse of `LabelDecision.inside`."""
    flat = np.concatenate([[False], inside_hw.ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return tuple(int(n) for n in np.diff(np.concatenate([[0], changes, [inside_hw.size]])))


def read_decisions(path: Path) -> list[LabelDecision]:
    """The decisions in a file, the latest for each region; [] if there is no file.

    Raises:
        UsageError: the file is damaged.
    """
    if not path.is_file():
        return []
    latest: dict[Any, LabelDecision] = {}
    try:
        for line in read_bytes(path).decode().splitlines():
            if line.strip():
                one = decision_of(json.loads(line))
                latest[one.region] = one
    except (Refusal, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--label-decisions {shown(path)}: cannot be read: {error}. Expected one JSON object a line, as the page "
            "writes them."
        ) from error
    return list(latest.values())


def decision_of(row: Mapping[str, Any]) -> LabelDecision:
    """Raises ValueError, KeyError, TypeError: the row is damaged."""
    x, y, width, height = (int(value) for value in row["box"])
    runs = tuple(int(n) for n in row["runs"])
    if row["what"] not in get_args(What):
        raise ValueError(f"{row['what']!r} is none of {', '.join(get_args(What))}")
    if min(x, y, width, height, *runs) < 0 or sum(runs) != width * height:
        raise ValueError(f"the runs of a region add up to {sum(runs)}, not to its {width}×{height} pixels")
    what = cast("What", row["what"])
    return LabelDecision(
        str(row["sample"]), (x, y, width, height), str(row["labelled"]), what, str(row.get("to", "")), runs,
        *(tuple(str(value) for value in row.get(key, ())) for key in ("labelled_values", "to_values")),
    )  # fmt: skip


def write_decisions(path: Path, decisions: Sequence[LabelDecision]) -> None:
    """Replace the file. Raises OutputError."""
    lines = "".join(json.dumps(one.to_json(), ensure_ascii=False) + "\n" for one in decisions)
    write_whole(path, utf8(lines))


def decisions_for(path: str | None, dataset: Dataset, meaning: Meaning) -> Mapping[str, Sequence[LabelDecision]]:
    """The decisions of a file by the names of the dataset's samples, to be applied to labels of this meaning. A class
    that was renamed after it had been decided on is known by its mask values.

    Raises:
        UsageError: no such file, or it is about other data.
    """
    if path is None:
        return {}
    if not Path(path).is_file():
        raise UsageError(f"--label-decisions {shown(path)}: there is no such file.")
    names = {shown(sample.name): sample.name for samples in dataset.splits.values() for sample in samples}
    found: defaultdict[str, list[LabelDecision]] = defaultdict(list)
    for one in read_decisions(Path(path)):
        if one.sample not in names:
            raise UsageError(f"--label-decisions {shown(path)}: {one.sample} is no image of these data.")
        try:
            now = one.renamed(meaning)
        except ValueError as error:
            raise UsageError(
                f"--label-decisions {shown(path)}: {one.sample}: {error}, so that the decision fits no more. Decide on "
                "this region again."
            ) from error
        strange = {now.labelled, *([now.to] if now.what == "relabel" else [])} - {*meaning.classes.names, ""}
        if strange:
            raise UsageError(
                f"--label-decisions {shown(path)}: {', '.join(sorted(strange))} is none of the classes "
                f"({', '.join(meaning.classes.names)})."
            )
        found[names[one.sample]].append(now)
    return found
