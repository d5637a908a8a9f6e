"""The doctor's report: findings grouped by kind, as JSON and for the terminal. `check_page` makes the HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from pixelwise.datasets.masks.mask_encoding import MaskEncoding
from pixelwise.datasets.masks.mask_problems import Question
from pixelwise.doctor.band_checks import BandRow
from pixelwise.doctor.findings import Findings, SplitFacts
from pixelwise.doctor.label_errors import SuspectedLabel
from pixelwise.images.files import shown
from pixelwise.records import RGB, Bands, ClassList, Problem, Sample

SHOWN_FILES = 5
BAND_COLUMNS = ("min", "1 %", "median", "99 %", "max", "no data")
VERSION = 1


def same(sample: Sample) -> Sample:
    return sample


@dataclass(frozen=True)
class Group:
    """All findings of one kind."""

    severity: Literal["error", "warning"]
    kind: str
    problems: tuple[Problem, ...]

    @property
    def remedies(self) -> tuple[str, ...]:
        """The distinct remedies, at most three."""
        return tuple(dict.fromkeys(problem.remedy for problem in self.problems))[:3]

    def files(self, at_most: int = SHOWN_FILES) -> str:
        names = [problem.where for problem in self.problems]
        return ", ".join(names[:at_most]) + (f" and {len(names) - at_most} more" if len(names) > at_most else "")


@dataclass(frozen=True)
class CheckReport:
    """The doctor's report on one folder."""

    root: Path
    layout: str
    pairs: int
    classes: ClassList
    mask_ids: Mapping[int, int]  # id in a mask file → class id or VOID; empty where masks hold colours
    findings: Findings
    codings: tuple[MaskEncoding, ...]  # of numeric masks, of colour masks
    questions: tuple[Question, ...]  # decisions that `--fix` needs
    notes: tuple[str, ...]
    split: Mapping[str, tuple[str, ...]]  # suggested split by group names; empty without a suggestion
    samples: Mapping[str, Sample] = field(default_factory=dict)  # by file name, for thumbnails
    suspects: tuple[SuspectedLabel, ...] = ()  # regions where a model contradicts the masks
    corrected: Mapping[str, Any] = field(default_factory=dict)  # manual corrections of a model's masks
    seconds: float = 0.0
    fixed: Path | None = None  # the repaired copy
    left_out: int = 0  # pairs that the copy lacks
    copy_errors: tuple[Problem, ...] = ()  # errors that remain in the copy
    read_as: Callable[[Sample], Sample] = same  # how a sample's mask is read, for pictures
    bands: Bands = RGB  # of the images, as they are read

    @property
    def sound(self) -> bool:
        """True when training would accept the folder."""
        return not self.findings.errors

    @property
    def all_well(self) -> bool:
        """True when nothing is left to do: the folder is sound, or a repaired copy is sound and holds every pair."""
        return not (self.left_out or self.copy_errors) if self.fixed else self.sound

    def groups(self) -> tuple[Group, ...]:
        """Findings by kind: errors first, then the most frequent."""
        kinds: dict[tuple[str, str], list[Problem]] = {}
        for problem in self.findings.problems:
            kinds.setdefault((problem.severity, problem.kind), []).append(problem)
        groups = [Group(p[0].severity, kind, tuple(p)) for (_, kind), p in kinds.items()]
        return tuple(sorted(groups, key=lambda group: (group.severity != "error", -len(group.problems))))

    def to_json(self) -> dict[str, Any]:
        """The whole report as plain lists and dicts. `version` changes when the meaning of a key changes."""
        return {
            "version": VERSION,
            "root": shown(self.root),
            "layout": self.layout,
            "sound": self.sound,
            "pairs": self.pairs,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "classes": [
                {**row, "ids": [code for code, c in self.mask_ids.items() if c == i], **self._shares(i)}
                for i, row in enumerate(self.classes.to_json())
            ],
            "splits": {name: _split_json(facts, self.classes) for name, facts in self.findings.splits.items()},
            **({"bands": [row.to_json() for row in self.findings.bands]} if self.findings.bands else {}),
            "masks": [_coding_json(coding) for coding in self.codings],
            "problems": [vars(problem) for problem in self.findings.problems],
            "counts": {group.kind: len(group.problems) for group in self.groups()},
            "questions": [vars(question) for question in self.questions],
            "suggested_split": {name: list(groups) for name, groups in self.split.items()},
            "corrected": dict(self.corrected),
            "suspects": [suspect.to_json() for suspect in self.suspects],
            "fixed": shown(self.fixed) if self.fixed else None,
            "left_out": self.left_out,
            "copy_problems": [vars(problem) for problem in self.copy_errors],
        }

    def _shares(self, class_id: int) -> dict[str, float]:
        facts = self.findings.splits.values()
        labelled = sum(int(f.pixels_C.sum()) for f in facts)
        pairs = sum(f.pairs for f in facts)
        return {
            "pixel_share": sum(int(f.pixels_C[class_id]) for f in facts) / labelled if labelled else 0.0,
            "image_share": sum(int(f.images_C[class_id]) for f in facts) / pairs if pairs else 0.0,
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        errors, warnings = len(self.findings.errors), len(self.findings.warnings)
        state = "sound" if self.sound else "not sound"
        head = f"{shown(self.root)}: {self.layout}, {self.pairs:,} pairs, {self.seconds:.1f} s: {state}"
        yield Text(f"{head}; {_number(errors, 'error')}, {_number(warnings, 'warning')}", style="bold")
        for group in self.groups():
            style = "bold red" if group.severity == "error" else "bold yellow"
            number = len(group.problems)
            yield Text(f"\n{group.severity} {group.kind}", style=style).append(f" ×{number}" if number > 1 else "")
            for problem in group.problems[:SHOWN_FILES]:
                yield Text(f"  {problem.where}: {problem.message}")
            if number > SHOWN_FILES:
                yield Text(f"  and {number - SHOWN_FILES} more; --json FILE lists all")
            yield from (Text(f"  → {remedy}", style="green") for remedy in group.remedies)
        if self.suspects:
            yield Text("\nsuspected label errors", style="bold yellow").append(f" ×{len(self.suspects)}")
            for suspect in self.suspects[:SHOWN_FILES]:
                yield Text(f"  {suspect}")
        yield Text("")
        if self.findings.splits:
            yield class_table(self)
        if self.findings.bands:
            yield Text("")
            yield band_table(self.findings.bands)
        for note in self.notes:
            yield Text(note)
        for question in self.questions:
            yield Text(f"Decision needed: {question.option}: {question.why}.", style="bold")
        if self.split:
            listed = "; ".join(f"{name}: {_some(groups)}" for name, groups in self.split.items())
            yield Text(f"Suggested split by groups: {listed}.")
        if self.fixed:
            yield Text(f"Repaired copy: {shown(self.fixed)}, every change in repairs.jsonl.", style="bold green")
            for problem in self.copy_errors[:SHOWN_FILES]:
                yield Text(f"  remaining problem in the copy: {problem}", style="red")
            if len(self.copy_errors) > SHOWN_FILES:
                yield Text(f"  and {len(self.copy_errors) - SHOWN_FILES} more; --json FILE lists all", style="red")


def class_table(report: CheckReport) -> Table:
    """Every class with its share of pixels and of images in each split."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    for name, facts in report.findings.splits.items():
        table.add_column(f"{name} ({facts.pairs:,} sound): pixels", justify="right")
        table.add_column("images", justify="right")
    for i, class_name in enumerate(report.classes.names):
        cells = []
        for facts in report.findings.splits.values():
            labelled = int(facts.pixels_C.sum())
            cells.append(f"{facts.pixels_C[i] / labelled:.2%}" if labelled else "–")
            cells.append(f"{facts.images_C[i] / facts.pairs:.0%}" if facts.pairs else "–")
        table.add_row(class_name, *cells)
    return table


def band_table(rows: Sequence[BandRow]) -> Table:
    """The values of every band."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("band")
    for column in BAND_COLUMNS:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row.name, *band_cells(row))
    return table


def band_cells(row: BandRow) -> list[str]:
    """The values of one band, below BAND_COLUMNS."""
    values = ["–" if math.isnan(value) else f"{value:.6g}" for value in (row.low, *row.percentiles, row.high)]
    return [*values, f"{row.missing:.2%}" if row.missing else "0"]


def _split_json(facts: SplitFacts, classes: ClassList) -> dict[str, Any]:
    return {
        "pairs": facts.pairs,
        "pixels": dict(zip(classes.names, facts.pixels_C.tolist(), strict=True)),
        "images": dict(zip(classes.names, facts.images_C.tolist(), strict=True)),
        "void_pixels": facts.void_pixels,
        "smallest": facts.smallest,
        "largest": facts.largest,
    }


def _coding_json(coding: MaskEncoding) -> dict[str, Any]:
    book = coding.book
    return {
        "kind": coding.kind,
        "masks": coding.masks,
        "coloured": book.coloured,
        "blended": book.blurred,
        "unfit_share": book.unfit,
        "void": coding.void,
        "step": coding.step,
        "distinct": coding.distinct,
        "codes": {(f"#{c:06x}" if book.coloured else str(c)): share for c, share in list(book.shares.items())[:300]},
    }


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _some(names: Sequence[str], at_most: int = 6) -> str:
    return ", ".join(names[:at_most]) + (f" and {len(names) - at_most} more" if len(names) > at_most else "")
