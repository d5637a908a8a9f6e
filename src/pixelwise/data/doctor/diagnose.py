"""The verb `check`: one pass over all pairs, then everything that the doctor knows about what it saw.

A pair leaves a few kilobytes behind, so memory does not grow with the images: 10,000 pairs need 30 MB.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pixelwise.data.classes import known_classes, names_of_ids, void_ids
from pixelwise.data.colour_tables import table_beside
from pixelwise.data.corrections import read_corrections
from pixelwise.data.corrections import told as told_corrections
from pixelwise.data.doctor.alike import (
    Seen,
    frames_across_splits,
    groups_across_splits,
    near_copies,
    suggested_split,
)
from pixelwise.data.doctor.coding import CITYSCAPES_BASE, Coding, find_coding
from pixelwise.data.doctor.colour_map import points_of
from pixelwise.data.doctor.dropped import depth_notes
from pixelwise.data.doctor.findings import gather
from pixelwise.data.doctor.judge import judge
from pixelwise.data.doctor.look import MaskLook, PairLook, look_at
from pixelwise.data.doctor.mask_problems import (
    STORAGE,
    Question,
    coding_problems,
    declared_mismatch,
    names_of_black_and_white,
    storage_problems,
    too_many_classes,
    undeclared_colours,
)
from pixelwise.data.doctor.outliers import odd_images
from pixelwise.data.doctor.report import Report
from pixelwise.data.doctor.suspects import Predicts, find_suspects
from pixelwise.data.files import Refusal, shown
from pixelwise.data.folder import Listed, dataset_of, list_dataset
from pixelwise.data.groups import group_of
from pixelwise.data.palettes import VOID_NAMES, names_of_colours
from pixelwise.data.read_ahead import in_threads
from pixelwise.data.settings import filled_colours
from pixelwise.records import MAX_CLASSES, VOID, ClassList, Colour, Dataset, Problem, Sample

SAMPLED_PAIRS = 32  # in which connected components and flat pixels are counted
TOLD_ONCE = frozenset(STORAGE)  # kinds that are told for all masks together

Progress = Callable[[str, int, int], None]  # what is done, done, in all


@dataclass(frozen=True)
class Meaning:
    """Which class each code is; the doctor's reading until a person says otherwise."""

    classes: ClassList
    numbers: Mapping[int, int]  # code → class id or VOID, of masks that hold numbers
    colours: Mapping[int, int]  # the same of masks that hold colours


@dataclass(frozen=True)
class Diagnosis:
    """All that one pass over a folder told, for the report and for the repair."""

    listed: Listed
    dataset: Dataset
    meaning: Meaning
    numbers: Coding | None
    colours: Coding | None
    report: Report


def check(
    data: Path | str,
    *,
    fix: Path | str | None = None,
    decisions: object = None,
    model: Predicts | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Examine a folder of images and masks, of any layout that is read in place. The data are never changed.

    Args:
        data: the folder.
        fix: a new folder for a repaired native copy, see `repair`.
        decisions: `repair.Decisions`, what only a person can say.
        model: with `.predict(image)` and `.classes`, to look for suspected label errors.
        progress: called with (what is being done, done, in all), in the calling thread.

    Raises:
        UsageError: no such folder; the model's classes are others; a decision is not understood.
        DatasetError: no layout is recognised, or dataset.toml is wrong; with `fix`: a decision is missing, or nothing
            can be repaired.
        OutputError: `fix` cannot be written, or is there already.
    """
    from pixelwise.data.doctor.repair import Decisions, repair

    began = time.perf_counter()
    chosen = decisions if isinstance(decisions, Decisions) else Decisions()
    diagnosis = diagnose(data, progress, masks=chosen.masks or "")
    report = diagnosis.report
    if model is not None:
        samples = [sample for part in diagnosis.dataset.splits.values() for sample in part]
        good = [sample for sample in samples if sample.name not in report.findings.bad]
        suspects = find_suspects(
            diagnosis.dataset, good, model, lambda done: progress("asking the model", done, len(good))
        )
        report = replace(report, suspects=tuple(suspects))
    if fix is not None:
        left_out = repair(diagnosis, Path(fix), chosen, progress)
        report = replace(report, fixed=Path(fix), notes=(*report.notes, *left_out))
    return replace(report, seconds=time.perf_counter() - began)


def diagnose(data: Path | str, progress: Progress = lambda what, done, total: None, *, masks: str = "") -> Diagnosis:
    """Read every pair of a folder once and say all that can be said. `masks`: see `list_dataset`. Raises as `check`."""
    listed = list_dataset(data, masks=masks)
    jobs = [(split, sample) for split, samples in listed.listing.splits.items() for sample in samples]
    looks = _look_at_all([sample for _, sample in jobs], progress)
    seen_masks = [(look.mask, look.sample) for look in looks if look.mask]
    mask_looks = [mask for mask, _ in seen_masks]
    numbers = find_coding(mask_looks, coloured=False, classes=_ids_are_classes(listed, jobs))
    beside = table_beside(listed.listing.root)
    colours = find_coding(mask_looks, coloured=True, table=beside[1])
    meaning = meaning_of(listed, numbers, colours, mask_looks, beside)
    dataset = dataset_of(listed, meaning.classes, _file_ids(meaning, numbers))
    understood = replace(dataset, mask_ids={})  # looks are translated into class ids before they are judged
    pairs = [
        (split, judge(understood if translated else dataset, look))
        for (split, _), (look, translated) in zip(
            jobs, (_translated(look, meaning, numbers) for look in looks), strict=True
        )
    ]
    findings = gather(understood, tuple(dataset.splits), pairs)
    seen = [
        Seen(split, _where(dataset.root, look.sample), Path(look.sample.name), look.image)
        for (split, _), look in zip(jobs, looks, strict=True)
        if look.image
    ]
    problems, questions, notes = _mask_findings(dataset, listed, meaning, seen_masks, numbers, colours)
    if listed.listing.choices:
        words = " or --masks ".join(listed.listing.choices)
        questions.insert(0, Question(f"--masks {words}", "which of them are the masks"))
    try:
        corrections, corrected = told_corrections(dataset.root, read_corrections(dataset.root))
    except Refusal as refusal:
        corrections, corrected = [f"corrections.jsonl: {refusal.what} {refusal.remedy}"], {}
    films = frames_across_splits(seen)
    told = {group_of(Path(problem.where)) for problem in films}
    problems += near_copies(seen) + films + groups_across_splits(seen, told) + odd_images(seen)
    grouped = any(problem.kind.endswith(("frames-across-splits", "groups-across-splits")) for problem in problems)
    everything = sorted((*findings.problems, *problems), key=lambda problem: problem.severity != "error")
    report = Report(
        root=dataset.root,
        layout=dataset.layout,
        pairs=len(jobs),
        classes=meaning.classes,
        mask_ids=dataset.mask_ids,
        findings=replace(findings, problems=tuple(everything)),
        codings=tuple(coding for coding in (numbers, colours) if coding),
        questions=tuple(questions),
        notes=(*dataset.notes, *notes, *depth_notes([one.look.dropped for one in seen]), *corrections),
        corrected=corrected,
        split=suggested_split(seen) if grouped else {},
        samples=_by_file(dataset),
    )
    return Diagnosis(listed, dataset, meaning, numbers, colours, report)


def meaning_of(
    listed: Listed,
    numbers: Coding | None,
    colours: Coding | None,
    masks: Sequence[MaskLook] = (),
    beside: tuple[str, Mapping[int, str]] = ("", {}),
) -> Meaning:
    """Which class each code is: as dataset.toml or the format declares, else every code that was found is one."""
    if listed.settings.classes is not None or listed.listing.declared is not None:
        classes, mask_ids = known_classes(listed.listing, listed.settings)
        by_colour = {_packed(colour): i for i, colour in enumerate(classes.colours)}
        return Meaning(classes, mask_ids, _nearest(colours, by_colour) if colours else {})
    chosen = numbers if numbers and (not colours or numbers.masks >= colours.masks) else colours
    if chosen is None or (len(chosen.class_codes) > MAX_CLASSES + 2 and not chosen.kind.endswith("instances")):
        return Meaning(ClassList(("unknown",), filled_colours([None])), {}, {})
    if chosen.kind == "instances":
        names: tuple[str, ...] = ("background", "object")
        table = {code: int(code != 0) for look in masks for code in look.codes}
        return Meaning(ClassList(names, filled_colours([None, None])), table, {})
    if chosen.kind == "class-instances":
        kinds = sorted({_class_of_instance(code) for code in chosen.book.codes})
        table = {code: kinds.index(_class_of_instance(code)) for look in masks for code in look.codes}
        named = tuple(f"class {kind}" for kind in kinds)
        return Meaning(ClassList(named, filled_colours([None] * len(kinds))), table, {})
    if chosen is colours:
        return _coloured_meaning(chosen, beside)
    void = dict.fromkeys(void_ids(listed.listing, listed.settings), VOID)
    codes = [
        code for code in chosen.class_codes if code not in void or (code == VOID and chosen.kind in ("binary", "steps"))
    ]
    if not codes:
        codes = list(chosen.class_codes)
    if len(codes) > MAX_CLASSES:
        return Meaning(ClassList(("unknown",), filled_colours([None])), {}, {})
    names = names_of_black_and_white(beside) if chosen.kind == "binary" else ()
    names = names or names_of_ids(listed.listing, codes)
    palette = next((look.palette for look in masks if look.palette), {})
    given = [palette.get(code) for code in codes]
    alike = len(set(given)) < len(given) or any(c is not None and max(c) - min(c) < 8 for c in given[1:])
    colours_ = filled_colours([None] * len(codes) if alike else given)
    table = {**void, **{code: i for i, code in enumerate(codes)}}
    return Meaning(ClassList(names, colours_), table, {})


def class_of_code(meaning: Meaning, coding: Coding) -> dict[int, int]:
    """Class id or VOID of each of a coding's codes; codes that no class has are missing."""
    table = meaning.colours if coding.book.coloured else meaning.numbers
    return {code: table[code] for code in coding.book.codes if code in table}


def _coloured_meaning(coding: Coding, beside: tuple[str, Mapping[int, str]]) -> Meaning:
    _, published = names_of_colours(coding.book.codes, coding.book.tolerance // 2, beside)
    ordered = [*published, *(code for code in coding.book.codes if code not in published)]
    codes = [code for code in ordered if published[code].lower() not in VOID_NAMES] if published else ordered
    void = {code: VOID for code in coding.book.codes if code not in codes}
    names = tuple(published.get(code, f"colour #{code:06x}") for code in codes)
    classes = ClassList(names, tuple(_unpacked(code) for code in codes))
    return Meaning(classes, {VOID: VOID}, {**void, **{code: i for i, code in enumerate(codes)}})


def _nearest(coding: Coding, declared: Mapping[int, int]) -> dict[int, int]:
    """Each colour that was found → the declared class whose colour it is, within the coding's tolerance."""
    found = {}
    targets = list(declared)
    points_K3 = points_of(targets, True)
    for code in coding.book.codes:
        distance_K = abs(points_K3 - points_of([code], True)).max(axis=1)
        if distance_K.min() <= coding.book.tolerance:
            found[code] = declared[targets[int(distance_K.argmin())]]
    if 0 in coding.book.codes and 0 not in found:  # black beside declared colours: unlabelled, by every convention
        found[0] = VOID
    return found


def _translated(look: PairLook, meaning: Meaning, numbers: Coding | None) -> tuple[PairLook, bool]:
    """A look whose codes are class ids and whose storage is not held against it; False: it stays as it is.

    What is wrong with storage and coding is told once for the dataset. Ids that a declared mapping lacks stay, so that
    each file with such ids is named.
    """
    mask = look.mask
    refused = tuple(one for one in look.refused if not (mask and one.of_mask and one.refusal.kind in TOLD_ONCE))
    if mask is None:
        return replace(look, refused=refused), False
    table = meaning.colours if mask.coloured else meaning.numbers
    blended = mask.coloured or mask.storage != "ids" or (numbers is not None and numbers.book.blurred)
    if not set(table) - {VOID}:  # nobody knows what its codes mean: told once, for all such masks
        return replace(look, refused=refused, mask=replace(mask, storage="unknown")), True
    if not blended and not set(mask.codes) <= set(table):
        return replace(look, refused=refused), False
    counted: dict[int, int] = {}
    for code, pixels in mask.codes.items():
        label = table.get(code, VOID)
        counted[label] = counted.get(label, 0) + pixels
    return replace(look, refused=refused, mask=replace(mask, storage="ids", codes=counted)), True


def _mask_findings(
    dataset: Dataset,
    listed: Listed,
    meaning: Meaning,
    masks: Sequence[tuple[MaskLook, Sample]],
    numbers: Coding | None,
    colours: Coding | None,
) -> tuple[list[Problem], list[Question], list[str]]:
    """Problems, questions and notes about how the masks are stored and coded."""
    looks = [mask for mask, _ in masks]
    problems = storage_problems(looks, [_where(dataset.root, sample, mask=True) for _, sample in masks])
    questions: list[Question] = []
    notes: list[str] = []
    declared = listed.settings.classes is not None or listed.listing.declared is not None
    for coding in (numbers, colours):
        if coding is None:
            continue
        if listed.listing.source and not coding.book.coloured:
            found, asked = too_many_classes(
                coding, listed.listing.names, void_ids(listed.listing, listed.settings), listed.listing.source
            )
            problems, questions = problems + found, questions + asked
            continue
        found, asked, noted = coding_problems(coding, table_beside(dataset.root))
        if declared and not coding.book.coloured:
            mismatch = declared_mismatch(coding, dataset.mask_ids)
            found = [problem for problem in found if problem.kind in ("blended-masks", "instance-ids") and mismatch]
            found += [mismatch] if mismatch else []
            asked = asked if mismatch else []
            void = [code for code in coding.book.codes if dataset.mask_ids.get(code) == VOID]
            noted = [f"Void: {code}, {coding.book.shares.get(code, 0):.2%} of the pixels." for code in void]
        if declared and coding.book.coloured:
            found += undeclared_colours(coding, meaning.colours)
        problems, questions, notes = problems + found, questions + asked, notes + noted
    if numbers and colours:
        message = f"{numbers.masks} masks hold numbers and {colours.masks} hold colours; expected one kind."
        more, fewer = ("numbers", "colours") if numbers.masks >= colours.masks else ("colours", "numbers")
        remedy = (
            f"Export all masks the same way; or give each class its id and its colour in dataset.toml: otherwise --fix "
            f"goes by the {more} and leaves out the pairs whose masks hold {fewer}."
        )
        problems.append(Problem("error", "mixed-masks", "masks", message, remedy))
    return problems, questions, notes


def _ids_are_classes(listed: Listed, jobs: Sequence[tuple[str, Sample]]) -> bool:
    """Whether the masks are drawings of classes, or their format says that their numbers are."""
    readers = {sample.mask_part.partition(":")[0] for _, sample in jobs if sample.mask}
    return bool(listed.listing.source) or not readers & {"", "numpy", "nifti", "parquet"}


def _look_at_all(samples: Sequence[Sample], progress: Progress) -> list[PairLook]:
    every = max(len(samples) // SAMPLED_PAIRS, 1)
    jobs = [(sample, i % every == 0) for i, sample in enumerate(samples)]
    looks = []
    for done, look in enumerate(in_threads(_look_at_job, jobs), start=1):
        looks.append(look)
        progress("reading pairs", done, len(samples))
    return looks


def _look_at_job(job: tuple[Sample, bool]) -> PairLook:
    return partial(look_at, thoroughly=True, sampled=job[1])(job[0])


def _file_ids(meaning: Meaning, numbers: Coding | None) -> dict[int, int]:
    if numbers is not None and numbers.kind.endswith("instances"):
        return {}
    return dict(meaning.numbers)


def _class_of_instance(code: int) -> int:
    return code // CITYSCAPES_BASE if code >= CITYSCAPES_BASE else code


def _where(root: Path, sample: Sample, *, mask: bool = False) -> str:
    path = sample.mask if mask and sample.mask else sample.image
    where = shown(path.relative_to(root) if path.is_relative_to(root) else path)
    part = sample.mask_part if mask else sample.image_part
    return f"{where} ({part.partition(':')[2][:60]})" if part and sample.image_part else where


def _by_file(dataset: Dataset) -> dict[str, Sample]:
    """Samples by the name under which problems name their files."""
    return {
        _where(dataset.root, sample, mask=mask): sample
        for samples in dataset.splits.values()
        for sample in samples
        for mask in (False, True)
    }


def _packed(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _unpacked(code: int) -> Colour:
    return code >> 16, code >> 8 & 255, code & 255
