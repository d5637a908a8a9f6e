"""A repaired native copy: OUT/{train,val,test}/{images,masks}/, dataset.toml, and repairs.jsonl with every change.

Images keep their bytes. Masks become palette PNGs of class ids, without loss but where repairs.jsonl says what is lost.
What only a person can say is asked for by name (`Decisions`), never guessed; a pair that cannot be mended is left out
and listed with its reason.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.data.decode import image_pixels, open_image
from pixelwise.data.doctor.keep import keep_some
from pixelwise.data.doctor.raw_mask import RawMask, raw_mask_of
from pixelwise.data.doctor.relabel import Change, fitted_to, labels_of
from pixelwise.data.files import SUFFIX_OF, Refusal, image_format, read_bytes, shown, write_whole
from pixelwise.data.groups import group_of
from pixelwise.data.images import encode_label_png
from pixelwise.data.new_folder import new_folder, require_new
from pixelwise.data.settings import FILE_NAME, SPLITS, dataset_toml, filled_colours
from pixelwise.data.sources import image_bytes, stored_mask_ids, upright_size
from pixelwise.errors import DatasetError, UsageError
from pixelwise.records import MAX_CLASSES, VOID, ClassList, Labels, Problem, Sample

if TYPE_CHECKING:
    from pixelwise.data.doctor.diagnose import Diagnosis

LIST_NAME = "repairs.jsonl"
BLOCKING = ("too-many-ids", "declared-ids", "undeclared-colours", "lost-masks")  # no repair can guess these
TURNS = ("left", "right", "transpose")


@dataclass(frozen=True)
class Decisions:
    """What only a person can say about a dataset. Every field is an option of `pixelwise check --fix`."""

    binary_foreground: str | None = None  # 255 beside 0, or every object's id, is the class of this name
    void_values: tuple[str, ...] = ()  # codes that mean unlabelled: "255", "#000000"
    class_values: tuple[str, ...] = ()  # codes that are classes though they look like void
    background: str | None = None  # the name of the class that id 0, or black, is
    turn: str | None = None  # masks that lie on their side: "left", "right" (how to turn them) or "transpose"
    stretch_masks: bool = False  # masks of another shape than their images cover the same view
    grouped_split: bool = False  # divide anew by the suggested groups
    drop_copies: bool = False  # leave the images of other splits' val and test out of train
    commonest: int | None = None  # keep this many classes, those with the most pixels; the others become void
    masks: str | None = None  # part of the names of the masks' folders or files, where several could be the masks
    keep_classes: tuple[str, ...] = ()  # keep the classes of these names; the others become void

    def __post_init__(self) -> None:
        if self.turn is not None and self.turn not in TURNS:
            raise UsageError(f"--turn is {self.turn!r}; expected one of {', '.join(TURNS)}.")
        if self.commonest is not None and not 1 <= self.commonest <= MAX_CLASSES:
            raise UsageError(f"--commonest is {self.commonest}; expected 1 to {MAX_CLASSES}.")
        for value in (*self.void_values, *self.class_values):
            parse_code(value)


@dataclass(frozen=True)
class Plan:
    """What every code becomes."""

    classes: ClassList
    numbers: Mapping[int, int]
    colours: Mapping[int, int]


def repair(
    diagnosis: Diagnosis, out: Path, decisions: Decisions, progress: Callable[[str, int, int], None]
) -> list[str]:
    """Write the repaired copy. Returns what is to be known of it: pairs that were left out, and what would mend them.

    Raises:
        DatasetError: a decision is missing (all missing ones are named), or no pair can be mended.
        OutputError: `out` is there already, lies inside the data, or cannot be written.
    """
    require_new(out)
    with new_folder(out, diagnosis.dataset.root) as part:
        return _write_copy(diagnosis, part, decisions, progress)


def _write_copy(
    diagnosis: Diagnosis, out: Path, decisions: Decisions, progress: Callable[[str, int, int], None]
) -> list[str]:
    root = diagnosis.dataset.root
    plan = plan_codes(diagnosis, decisions)
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
            line |= _write_pair(diagnosis, plan, decisions, out, split, sample, taken)
            written += 1
        except Refusal as refusal:
            lines.append({**line, "left_out": f"{refusal.what} {refusal.remedy}".strip()})
            if refusal.kind == "ask":
                asked[refusal.remedy] = asked.get(refusal.remedy, 0) + 1
        else:
            lines.append(line)
        progress("writing the copy", done, len(jobs))
    if not written:
        hint = "; ".join(f"{number} of them: say {option}" for option, number in asked.items())
        raise DatasetError(
            f"{shown(root)}: no pair can be mended{': ' + hint if hint else ''}.", diagnosis.report.findings.errors
        )
    write_whole(out / FILE_NAME, dataset_toml(plan.classes).encode())
    summary = _summary(diagnosis, plan, decisions)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (summary, *lines))
    write_whole(out / LIST_NAME, text.encode("utf-8", "replace"))
    left = len(jobs) - written
    more = "".join(f"; {number} of them would be in it with {option}" for option, number in asked.items())
    return [f"Left out of the copy: {left} of {len(jobs)} pairs{more}. repairs.jsonl says why."] if left else []


def plan_codes(diagnosis: Diagnosis, decisions: Decisions) -> Plan:
    """Which class each code becomes, when the decisions are heard. Raises DatasetError where one is missing."""
    missing = [question for question in diagnosis.report.questions if not _answered(question.option, decisions)]
    blocking = [p for p in diagnosis.report.findings.errors if p.kind in BLOCKING]
    if missing or blocking:
        problems = [Problem("error", "decision", "--fix", f"{q.why}?", f"Say {q.option}.") for q in missing]
        raise DatasetError("The repair needs a person's decision first.", [*problems, *blocking])
    meaning = diagnosis.meaning
    if decisions.commonest or decisions.keep_classes:
        meaning = keep_some(diagnosis, decisions.commonest, decisions.keep_classes)
    names, colours = list(meaning.classes.names), list(meaning.classes.colours)
    numbers, by_colour = dict(meaning.numbers), dict(meaning.colours)
    if decisions.binary_foreground and len(names) == 2:
        names[1] = decisions.binary_foreground
    if decisions.background:
        names[0] = decisions.background
    for text in decisions.void_values:
        code, coloured = parse_code(text)
        table = by_colour if coloured else numbers
        table[code] = VOID
    for text in decisions.class_values:
        code, coloured = parse_code(text)
        table = by_colour if coloured else numbers
        if table.get(code) == VOID:
            table[code] = len(names)
            names.append(f"class {text}")
            colours.append(filled_colours([*colours, None])[-1])
    used = sorted({label for label in (*numbers.values(), *by_colour.values()) if label != VOID})
    if not used:
        raise DatasetError("Every code is declared void; no class is left.", diagnosis.report.findings.errors)
    declared = diagnosis.listed.settings.classes is not None or diagnosis.listed.listing.declared is not None
    kept = list(range(len(names))) if declared else used  # declared classes stay, though no mask may hold them
    new = {old: i for i, old in enumerate(kept)} | {VOID: VOID}
    classes = ClassList(tuple(names[i] for i in kept), filled_colours([colours[i] for i in kept]))
    return Plan(classes, {c: new[v] for c, v in numbers.items()}, {c: new[v] for c, v in by_colour.items()})


def parse_code(text: str) -> tuple[int, bool]:
    """ "255" → (255, False); "#ff8000" → (0xff8000, True). Raises UsageError."""
    try:
        return (int(text[1:], 16), True) if text.startswith("#") and len(text) == 7 else (int(text), False)
    except ValueError:
        raise UsageError(
            f"{text!r} is no mask value; expected a number such as 255, or a colour such as #ff8000."
        ) from None


def _answered(option: str, decisions: Decisions) -> bool:
    if option.startswith("--masks"):
        return False  # a word that told them apart would have left no question
    if option.startswith("--commonest"):
        return bool(decisions.commonest or decisions.keep_classes)
    if option.startswith("--binary-foreground"):
        return decisions.binary_foreground is not None or bool({*decisions.void_values, *decisions.class_values})
    return bool({*decisions.void_values, *decisions.class_values})


def _jobs(diagnosis: Diagnosis, decisions: Decisions) -> list[tuple[str, Sample, str]]:
    """(split, sample, why it is left out or "") of every pair, those of nearly equal names among them."""
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
        kinds = ("copy-across-splits", "near-copy-across-splits")
        copies = {problem.where for problem in diagnosis.report.findings.problems if problem.kind in kinds}
    by_sample = {id(sample): where for where, sample in diagnosis.report.samples.items() if where in copies}
    return [(s, sample, "a copy of another split's image" if id(sample) in by_sample else "") for s, sample in jobs]


def _write_pair(
    diagnosis: Diagnosis,
    plan: Plan,
    decisions: Decisions,
    out: Path,
    split: str,
    sample: Sample,
    taken: set[tuple[str, str]],
) -> dict[str, Any]:
    """Write one pair; what was done, for repairs.jsonl. Raises Refusal where it must be left out."""
    if sample.mask is None:
        raise Refusal("mask-missing", "has no mask.", "")
    bad = [
        p
        for p in diagnosis.report.findings.errors
        if p.kind in ("ids-outside",) and diagnosis.report.samples.get(p.where) == sample
    ]
    if bad:
        raise Refusal("ids-outside", bad[0].message, bad[0].remedy)
    data = image_bytes(sample)
    turn = open_image(data).turn
    labels, changes = _labels(diagnosis, plan, sample, data, turn, decisions)
    if (labels == VOID).all():
        raise Refusal("all-void", "every pixel is void: nothing can be learnt from it.", "")
    stem = _free_name(sample, split, taken)
    image_to = f"{split}/images/{stem}{SUFFIX_OF[image_format(data)]}"
    mask_to = f"{split}/masks/{stem}.png"
    for part in ("images", "masks"):
        (out / split / part).mkdir(parents=True, exist_ok=True)
    image_pixels(data)  # an image that cannot be decoded is no part of a repaired copy
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
    diagnosis: Diagnosis, plan: Plan, sample: Sample, image: bytes, turn: int, decisions: Decisions
) -> tuple[Labels, list[Change]]:
    assert sample.mask is not None
    size = upright_size(image)
    if sample.mask_part:
        raw = RawMask(stored_mask_ids(sample, size).astype("int32"), False, False, 8, 1)
    else:
        raw = raw_mask_of(read_bytes(sample.mask))
    coding = diagnosis.colours if raw.coloured else diagnosis.numbers
    table = plan.colours if raw.coloured else plan.numbers
    if coding is None or not table:
        raise Refusal("unknown-codes", "its codes have no class.", "Declare the classes in dataset.toml.")
    if coding.kind == "instances":
        table = {int(code): 1 if code else 0 for code in set(raw.codes.ravel().tolist())} | {0: table.get(0, 0)}
    elif coding.kind == "class-instances":
        raw = replace(raw, codes=raw.codes // 1000 * (raw.codes >= 1000) + raw.codes * (raw.codes < 1000))
        table = {code // 1000 if code >= 1000 else code: label for code, label in table.items()}
    labels, changes = labels_of(raw, coding, table)
    if coding.kind.endswith("instances"):
        changes = [
            Change("object numbers became class ids", "classes are learnt, not objects", "no: which object is lost")
        ]
    if raw.transparent is not None or raw.translucent:
        changes.append(Change("the alpha channel was dropped", "its colours hold the classes", "no: alpha is lost"))
    if labels.shape != size:
        mended = fitted_to(labels, raw.turn, size, turn, decisions.turn, decisions.stretch_masks)
        if isinstance(mended, str):
            what = f"its mask is {labels.shape[1]}×{labels.shape[0]}, its image {size[1]}×{size[0]}: say how with"
            raise Refusal("ask", what, mended)
        labels = mended[0]
        changes.append(mended[1])
    return labels, changes


def _free_name(sample: Sample, split: str, taken: set[tuple[str, str]]) -> str:
    """A name that is free in its split on every file system: NFC, and different from others in more than case."""
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


def _summary(diagnosis: Diagnosis, plan: Plan, decisions: Decisions) -> dict[str, Any]:
    """The first line: what holds for all files."""
    return {
        "pixelwise": "repairs",
        "source": shown(diagnosis.dataset.root),
        "layout": diagnosis.dataset.layout,
        "decisions": vars(decisions),
        "codes": {
            **{str(code): _class_name(label, plan) for code, label in list(plan.numbers.items())[:1000]},
            **{f"#{code:06x}": _class_name(label, plan) for code, label in plan.colours.items()},
        },
        "splits": [split for split in SPLITS if split in diagnosis.listed.listing.splits],
    }


def _class_name(label: int, plan: Plan) -> str:
    return "void" if label == VOID else plan.classes.names[label]
