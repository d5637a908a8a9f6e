"""A repaired native copy: OUT/{train,val,test}/{images,masks}/, dataset.toml, and repairs.jsonl with every change.

Images keep their bytes. Masks become palette PNGs of class ids, without loss except where repairs.jsonl states it.
Choices that only the user can make are options (`Decisions`) and never guessed. A pair that cannot be repaired is left
out and listed with the reason.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixelwise.datasets.class_values import parse_value, quoted
from pixelwise.datasets.dataset_toml import FILE_NAME, SPLITS, bands_toml, dataset_toml, filled_colours
from pixelwise.datasets.groups import group_of
from pixelwise.datasets.image_copy import image_copy
from pixelwise.datasets.inspect_bands import inspect_bands
from pixelwise.datasets.masks.mask_part import labels_by
from pixelwise.datasets.masks.mask_reading import BLOCKING
from pixelwise.datasets.masks.raw_mask import RawMask, raw_mask_of
from pixelwise.datasets.masks.relabel import Change, fitted_to
from pixelwise.datasets.masks.value_meaning import Meaning
from pixelwise.datasets.new_folder import new_folder, require_new
from pixelwise.datasets.read_sample import stored_mask_ids, stored_orientation, upright_size
from pixelwise.doctor.diagnose import Diagnosis
from pixelwise.doctor.label_decisions import LabelDecision, decisions_for
from pixelwise.doctor.select_classes import select_classes
from pixelwise.errors import DatasetError, UsageError
from pixelwise.images.decode import image_pixels
from pixelwise.images.files import Refusal, read_bytes, shown, utf8, write_whole
from pixelwise.images.image_files import encode_label_png
from pixelwise.records import MAX_CLASSES, RGB, VOID, ClassList, Labels, Problem, Sample

LIST_NAME = "repairs.jsonl"
COPIES = ("copy-across-splits", "near-copy-across-splits")
TURNS = ("left", "right", "transpose")


@dataclass(frozen=True)
class Decisions:
    """Decisions that only the user can make. Every field is an option of `pixelwise check --fix`."""

    binary_foreground: str | None = None  # the class of 255 in a 0/255 mask, or of every object id
    void_values: tuple[str, ...] = ()  # mask values that mean unlabelled: "255", "#000000"
    class_values: tuple[str, ...] = ()  # mask values that are classes although they look like void
    background: str | None = None  # name of the class of id 0 or black
    turn: str | None = None  # how to rotate masks stored sideways: "left", "right" or "transpose"
    stretch_masks: bool = False  # masks with another aspect ratio show the same view as their images
    grouped_split: bool = False  # split again by the suggested groups
    drop_copies: bool = False  # drop images from train that also occur in val or test
    commonest: int | None = None  # keep the classes with the most pixels, this many; the others become void
    masks: str | None = None  # part of the mask folder or file names, if several folders could hold the masks
    keep_classes: tuple[str, ...] = ()  # keep the classes of these names; the others become void
    label_decisions: str | None = None  # file of decisions on suspected label errors, see `label_decisions`

    def __post_init__(self) -> None:
        if self.turn is not None and self.turn not in TURNS:
            raise UsageError(f"--turn is {self.turn!r}; expected one of {', '.join(TURNS)}.")
        if self.commonest is not None and not 1 <= self.commonest <= MAX_CLASSES:
            raise UsageError(f"--commonest is {self.commonest}; expected 1 to {MAX_CLASSES}.")
        for value in (*self.void_values, *self.class_values):
            parse_value(value)

    def of_copy(self) -> list[str]:
        """The given options that apply only to the repaired copy."""
        given = {
            f"--turn {self.turn}": self.turn,
            "--stretch-masks": self.stretch_masks,
            "--grouped-split": self.grouped_split,
            "--drop-copies": self.drop_copies,
            f"--commonest {self.commonest}": self.commonest,
            " ".join(f"--keep-class {quoted(name)}" for name in self.keep_classes): self.keep_classes,
            f"--label-decisions {quoted(self.label_decisions or '')}": self.label_decisions,
        }
        return [option for option, value in given.items() if value]


def write_repaired_copy(
    diagnosis: Diagnosis, out: Path, decisions: Decisions, progress: Callable[[str, int, int], None]
) -> tuple[int, list[str]]:
    """Write the repaired copy. Returns the number of pairs left out, and how to fix them.

    Raises:
        UsageError: a decision matches nothing in these data.
        DatasetError: decisions are missing (all are listed), or no pair can be repaired.
        OutputError: `out` already exists, is inside the data, or cannot be written.
    """
    require_new(out)
    refuse_in_vain(diagnosis, decisions)
    with new_folder(out, diagnosis.dataset.root) as part:
        return _write_copy(diagnosis, part, decisions, progress)


def refuse_in_vain(diagnosis: Diagnosis, decisions: Decisions) -> None:
    """Raise UsageError if a decision about the copy has no effect."""
    kinds = {problem.kind for problem in diagnosis.report.findings.problems}
    if decisions.turn and "ask-turn" not in diagnosis.ways:
        raise UsageError(f"--turn {decisions.turn}: no mask is rotated against its image; leave the option out.")
    if decisions.stretch_masks and "ask-stretch" not in diagnosis.ways:
        raise UsageError("--stretch-masks: no mask has another shape than its image; leave the option out.")
    if decisions.drop_copies and not kinds & set(COPIES):
        raise UsageError("--drop-copies: no image is a copy of one in another split; leave the option out.")
    if decisions.grouped_split and not diagnosis.report.split:
        raise UsageError(
            "--grouped-split: no group is in several splits, so no split is suggested; leave the option out."
        )


def _write_copy(
    diagnosis: Diagnosis, out: Path, decisions: Decisions, progress: Callable[[str, int, int], None]
) -> tuple[int, list[str]]:
    root = diagnosis.dataset.root
    plan = plan_codes(diagnosis, decisions)
    decided = decisions_for(decisions.label_decisions, diagnosis.dataset, plan)
    jobs = _jobs(diagnosis, decisions)
    lines: list[dict[str, Any]] = []
    taken: set[tuple[str, str]] = set()
    asked: dict[str, int] = {}
    written = 0
    for done, (split, sample, dropped) in enumerate(jobs, start=1):
        line = {"sample": shown(sample.name), "split": split}
        try:
            if dropped:
                raise Refusal("dropped", dropped, "")
            line |= _write_pair(diagnosis, plan, decisions, decided.get(sample.name, ()), out, split, sample, taken)
            written += 1
        except Refusal as refusal:
            lines.append({**line, "left_out": f"{refusal.what} {refusal.remedy}".strip()})
            if refusal.kind == "ask":
                asked[refusal.remedy] = asked.get(refusal.remedy, 0) + 1
        else:
            lines.append(line)
        progress("writing the copy", done, len(jobs))
    if not written:
        hint = "; ".join(f"{number} of them: add {option}" for option, number in asked.items())
        raise DatasetError(
            f"{shown(root)}: no pair can be repaired{': ' + hint if hint else ''}.", diagnosis.report.findings.errors
        )
    write_whole(out / FILE_NAME, (dataset_toml(plan.classes) + bands_toml(diagnosis.dataset.bands)).encode())
    summary = _summary(diagnosis, plan, decisions)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (summary, *lines))
    write_whole(out / LIST_NAME, utf8(text))
    left = len(jobs) - written
    more = "".join(f"; {number} of them would be in it with {option}" for option, number in asked.items())
    notes = [f"Left out of the copy: {left} of {len(jobs)} pairs{more}. repairs.jsonl says why."] if left else []
    return left, notes


def plan_codes(diagnosis: Diagnosis, decisions: Decisions) -> Meaning:
    """The class of each mask value, with the decisions applied. Raises DatasetError if a decision is missing."""
    missing = [question for question in diagnosis.report.questions if not _answered(question.option, decisions)]
    blocking = [p for p in diagnosis.report.findings.errors if p.kind in BLOCKING and p.kind != "too-many-classes"]
    if missing or blocking:
        problems = [Problem("error", "decision", "--fix", f"{q.why}?", f"Say {q.option}.") for q in missing]
        head = "The repair needs decisions first." if missing else "The meaning of the masks cannot be guessed."
        raise DatasetError(head, [*problems, *blocking])
    meaning = diagnosis.meaning
    if decisions.commonest or decisions.keep_classes:
        meaning = select_classes(diagnosis, decisions.commonest, decisions.keep_classes)
    labels = {*meaning.numbers.values(), *meaning.colours.values()} - {VOID}
    if not meaning.known or not labels:
        where = shown(diagnosis.dataset.root)
        raise DatasetError(
            f"{where}: the masks hold no classes, so there is nothing to write.", diagnosis.report.findings.errors
        )
    declared = diagnosis.listed.settings.classes is not None or diagnosis.listed.listing.declared is not None
    kept = list(range(len(meaning.classes))) if declared else sorted(labels)  # declared classes stay even without masks
    new = {old: i for i, old in enumerate(kept)} | {VOID: VOID}
    names, colours = meaning.classes.names, meaning.classes.colours
    classes = ClassList(tuple(names[i] for i in kept), filled_colours([colours[i] for i in kept]))
    numbers, by_colour = ({c: new[v] for c, v in table.items()} for table in (meaning.numbers, meaning.colours))
    return replace(meaning, classes=classes, numbers=numbers, colours=by_colour)


def _answered(option: str, decisions: Decisions) -> bool:
    """Whether the decisions answer a question. A question that --masks answers is not in the report."""
    return option.startswith("--commonest") and bool(decisions.commonest or decisions.keep_classes)


def _jobs(diagnosis: Diagnosis, decisions: Decisions) -> list[tuple[str, Sample, str]]:
    """(split, sample, reason to leave it out or "") of every pair, including pairs with nearly equal names."""
    splits = diagnosis.listed.listing.splits
    jobs = [(split, sample) for split, samples in splits.items() for sample in samples]
    for sample in diagnosis.listed.listing.near:
        same = [split for split, other in jobs if other.image.parent == sample.image.parent]
        jobs.append((same[0] if same else "train", sample))
    if decisions.grouped_split and diagnosis.report.split:
        of_group = {group: split for split, groups in diagnosis.report.split.items() for group in groups}
        jobs = [(of_group.get(group_of(Path(sample.name)), split), sample) for split, sample in jobs]
    copies: set[str] = set()
    if decisions.drop_copies:
        copies = {problem.where for problem in diagnosis.report.findings.problems if problem.kind in COPIES}
    by_sample = {id(sample): where for where, sample in diagnosis.report.samples.items() if where in copies}
    return [(s, sample, "a copy of another split's image" if id(sample) in by_sample else "") for s, sample in jobs]


def _write_pair(
    diagnosis: Diagnosis,
    plan: Meaning,
    decisions: Decisions,
    decided: Sequence[LabelDecision],
    out: Path,
    split: str,
    sample: Sample,
    taken: set[tuple[str, str]],
) -> dict[str, Any]:
    """Write one pair and return its entry for repairs.jsonl. Raises Refusal if the pair must be left out."""
    if sample.mask is None:
        raise Refusal("mask-missing", "has no mask.", "")
    bad = [
        p
        for p in diagnosis.report.findings.errors
        if p.kind in ("ids-outside",) and diagnosis.report.samples.get(p.where) == sample
    ]
    if bad:
        raise Refusal("ids-outside", bad[0].message, bad[0].remedy)
    bands = diagnosis.dataset.bands
    data, suffix = image_copy(sample, bands)
    turn = stored_orientation(data)
    labels, changes = _labels(diagnosis, plan, sample, data, turn, decisions)
    for one in decided:
        labels, change = one.applied(labels, plan.classes)
        changes.append(change)
    if (labels == VOID).all():
        raise Refusal("all-void", "every pixel is void: it cannot be trained on.", "")
    stem = _free_name(sample, split, taken)
    image_to = f"{split}/images/{stem}{suffix}"
    mask_to = f"{split}/masks/{stem}.png"
    for part in ("images", "masks"):
        (out / split / part).mkdir(parents=True, exist_ok=True)
    if bands == RGB:
        image_pixels(data)  # an image that cannot be decoded is left out
    else:
        inspect_bands(sample, bands, thoroughly=False)  # or one with other bands, or without data
    write_whole(out / image_to, data)
    write_whole(out / mask_to, encode_label_png(labels, plan.classes))
    if stem != sample.image.stem:
        changes.append(
            Change(f"named {stem}", "one name for both files, safe on every machine", "yes: see the paths here")
        )
    return {
        "image": {"from": shown(sample.image), "to": image_to},
        "mask": {"from": shown(sample.mask), "to": mask_to},
        "changes": [vars(change) for change in changes],
    }


def _labels(
    diagnosis: Diagnosis, plan: Meaning, sample: Sample, image: bytes, turn: int, decisions: Decisions
) -> tuple[Labels, list[Change]]:
    assert sample.mask is not None
    size = upright_size(image)
    if sample.mask_part:
        raw = RawMask(stored_mask_ids(sample, size).astype("int32"), False, False, 8, 1)
    else:
        raw = raw_mask_of(read_bytes(sample.mask))
    labels, changes = labels_by(raw, diagnosis.reading.coded(plan))
    if labels.shape != size:
        fitted = fitted_to(labels, raw.turn, size, turn, decisions.turn, decisions.stretch_masks)
        if isinstance(fitted, str):
            what = f"its mask is {labels.shape[1]}×{labels.shape[0]}, its image {size[1]}×{size[0]}: say how with"
            raise Refusal("ask", what, fitted)
        labels = fitted[0]
        changes.append(fitted[1])
    return labels, changes


def _free_name(sample: Sample, split: str, taken: set[tuple[str, str]]) -> str:
    """A name that is unique in its split on every file system: NFC, and distinct when case is ignored."""
    own = Path(sample.name).name if sample.image_part else shown(sample.image.stem)
    stem = (
        "".join("_" if c in '<>:"/\\|?*' or ord(c) < 32 else c for c in unicodedata.normalize("NFC", own)).lstrip(".")
        or "image"
    )
    free, number = stem, 1
    if (split, free.casefold()) in taken and sample.image.parent.name:  # 001/image.png, 002/image.png
        free = stem = f"{shown(sample.image.parent.name)}_{stem}"
    while (split, free.casefold()) in taken:
        number += 1
        free = f"{stem}-{number}"
    taken.add((split, free.casefold()))
    return free


def _summary(diagnosis: Diagnosis, plan: Meaning, decisions: Decisions) -> dict[str, Any]:
    """The first line of repairs.jsonl: facts about all files."""
    return {
        "pixelwise": "repairs",
        "source": shown(diagnosis.dataset.root),
        "layout": diagnosis.dataset.layout,
        "decisions": vars(decisions),
        **({"bands": list(diagnosis.dataset.bands.names)} if diagnosis.dataset.bands != RGB else {}),
        "codes": {
            **{str(code): _class_name(label, plan) for code, label in list(plan.numbers.items())[:1000]},
            **{f"#{code:06x}": _class_name(label, plan) for code, label in plan.colours.items()},
        },
        "splits": [split for split in SPLITS if split in diagnosis.listed.listing.splits],
    }


def _class_name(label: int, plan: Meaning) -> str:
    return "void" if label == VOID else plan.classes.names[label]
