"""Problems, questions and notes about how the masks of a dataset are stored and encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pixelwise.datasets.class_names import void_ids
from pixelwise.datasets.dataset_toml import FILE_NAME, SPLITS
from pixelwise.datasets.listing import Listed, shown_sample
from pixelwise.datasets.masks.inspection import MaskInspection
from pixelwise.datasets.masks.mask_encoding import MaskEncoding
from pixelwise.datasets.masks.mask_problems import (
    Question,
    coding_problems,
    declared_mismatch,
    names_of_black_and_white,
    never_together,
    palettes_differ,
    storage_problems,
    too_many_classes,
    two_values,
    undeclared_colours,
)
from pixelwise.datasets.masks.mask_reading import BLOCKING, MaskChoices, Reading
from pixelwise.datasets.masks.value_meaning import Meaning
from pixelwise.datasets.pairing import ROLE_WORDS
from pixelwise.records import VOID, Problem, Sample


def reading_problems(
    listed: Listed,
    reading: Reading,
    masks: Sequence[tuple[MaskInspection, Sample]],
    asked: MaskChoices,
    beside: tuple[str, Mapping[int, str]],
) -> tuple[list[Problem], list[Question], list[str]]:
    """Problems, questions and notes about how the masks are stored and encoded."""
    looks, root = [look for look, _ in masks], listed.listing.root
    problems: list[Problem] = []
    questions: list[Question] = []
    notes: list[str] = []
    declared = listed.settings.classes is not None or listed.listing.declared is not None
    for coding in (reading.numbers, reading.colours):
        if coding is None:
            continue
        if listed.listing.source and not coding.book.coloured:
            void = void_ids(listed.listing, listed.settings)
            found, questions = too_many_classes(coding, listed.listing.names, void, listed.listing.source)
            problems += found
            continue
        found, _, noted = coding_problems(coding, beside)
        if declared:
            found, noted = _of_declared(coding, reading.meaning, found, noted)
        elif asked.values.classes:
            told = ("value-steps", "one-based", "id-gaps", "instance-ids")
            found, noted = [problem for problem in found if problem.kind not in told], []
        elif reading.meaning.known and not any(problem.severity == "error" for problem in found):
            noted += _taken(listed, coding, reading.meaning, masks, asked, beside)
        problems, notes = problems + found, notes + noted
        unnamed = not declared and not asked.values.classes and not reading.meaning.named
        if unnamed and coding.kind == "ids" and coding.book.codes:
            folders = [str(sample.mask.parent) if sample.mask else "" for _, sample in masks]
            kind = [(look.codes, folder) for look, folder in zip(looks, folders, strict=True)
                    if look.coloured == coding.book.coloured]  # fmt: skip
            alone = never_together(coding, [codes for codes, _ in kind], [folder for _, folder in kind])
            problems += [alone] if alone else []
    if reading.meaning.in_order:
        notes.append(
            f"{FILE_NAME} names classes without ids: the values found in the masks are assigned to them in order."
        )
    if asked.values.of_values:
        notes.append(f"As given: {asked.values.options()}.")
    if reading.numbers and reading.colours:
        problems.append(_mixed(reading.numbers, reading.colours, declared))
    blocked = any(problem.kind in BLOCKING for problem in problems)
    read = [(look, shown_sample(sample, root, mask=True)) for look, sample in masks if reading.reads(look)]
    stored = storage_problems([look for look, _ in read], [name for _, name in read], read=not blocked)
    differing = palettes_differ(looks, [shown_sample(sample, root, mask=True) for _, sample in masks])
    problems += [differing] if differing else []
    photo = any(problem.kind == "photo-masks" for problem in problems)  # then their storage does not matter
    return [*([] if photo else stored), *problems], questions, notes


def _of_declared(
    coding: MaskEncoding, meaning: Meaning, found: list[Problem], noted: list[str]
) -> tuple[list[Problem], list[str]]:
    """Problems and notes on codes with declared classes: only whether they match."""
    if coding.book.coloured:
        photo = any(problem.kind == "photo-masks" for problem in found)
        return [*found, *([] if photo else undeclared_colours(coding, meaning.colours))], noted
    mismatch = declared_mismatch(coding, meaning.numbers)
    if meaning.in_order or not mismatch:
        found = [problem for problem in found if problem.kind in ("blended-masks", "lost-masks")]
    else:
        found = [p for p in found if p.kind in ("blended-masks", "instance-ids", "photo-masks", "lost-masks")]
        found = [replace(p, severity="error") if p.kind == "instance-ids" else p for p in found] + [mismatch]
    void = [code for code in coding.book.codes if meaning.numbers.get(code) == VOID]
    return found, [f"Void: {code}, {coding.book.shares.get(code, 0):.2%} of the pixels." for code in void]


def _taken(
    listed: Listed,
    coding: MaskEncoding,
    meaning: Meaning,
    masks: Sequence[tuple[MaskInspection, Sample]],
    asked: MaskChoices,
    beside: tuple[str, Mapping[int, str]],
) -> list[str]:
    """The assumptions made, one line each, with the options that change them."""
    if asked.values.of_values or asked.foreground or coding.kind.endswith("instances"):
        return []
    if len(meaning.classes) == 2 and len(coding.book.codes) == 2 and coding.book.codes != (0, 1):
        if coding.kind == "binary" and (names := names_of_black_and_white(beside)):
            return [f"Masks hold 0 and {coding.book.codes[-1]}: {beside[0]} names them {names[0]} and {names[1]}."]
        if not meaning.named and (coding.kind == "binary" or coding.book.coloured):
            return [two_values(coding, _word_of_folder(masks))]
    names = meaning.classes.names
    number = sum(look.coloured == coding.book.coloured for look, _ in masks)
    total = sum(sample.mask is not None for samples in listed.listing.splits.values() for sample in samples)
    seen = f"all {total} masks" if len(masks) == total else f"{number:,} of {total:,} masks"
    gaps = not coding.book.coloured and [code for code, label in meaning.numbers.items() if label != VOID]
    gap = " The ids have gaps and are renumbered inside the program." if gaps and max(gaps) >= len(names) else ""
    listed_names = f"{', '.join(names[:12])}{' …' if len(names) > 12 else ''}"
    hint = "" if meaning.named else f" Name them in {FILE_NAME}, or by --class NAME=VALUE for each."
    return [f"Classes: {listed_names}, found in {seen}.{gap}{hint}"]


def _word_of_folder(masks: Sequence[tuple[MaskInspection, Sample]]) -> str:
    """The name of the masks' folder if it is one word more specific than "masks"; otherwise NAME."""
    parents = {sample.mask.parent.name for _, sample in masks if sample.mask}
    word = parents.pop() if len(parents) == 1 else ""
    known = ROLE_WORDS | set(SPLITS) | {"training", "validation", "data"}
    return word.lower() if word.isalpha() and word.lower() not in known and len(word) > 3 else "NAME"


def _mixed(numbers: MaskEncoding, colours: MaskEncoding, declared: bool) -> Problem:
    message = f"{numbers.masks} masks hold numbers and {colours.masks} hold colours; expected one kind."
    if declared:
        return Problem("warning", "mixed-masks", "masks", message, "Both are read, by the declared ids and colours.")
    more, fewer = ("numbers", "colours") if numbers.masks >= colours.masks else ("colours", "numbers")
    remedy = (
        f"Export all masks the same way; or assign both, --class NAME={next(iter(numbers.book.codes), 0)},"
        f"#{next(iter(colours.book.codes), 0):06x} for each class. Otherwise those with {fewer} cannot be read "
        f"together with those with {more}."
    )
    return Problem("error", "mixed-masks", "masks", message, remedy)


def no_classes(listed: Listed, any_read: bool) -> Problem:
    """The error for masks without classes; `check` continues with a placeholder to list other problems."""
    message, remedy = "no classes can be found: no mask could be read.", "Repair the masks."
    if any_read:
        message = "no classes can be found: every pixel of every mask is void (255, or listed as void in dataset.toml)."
        remedy = "Label some pixels; or, if 255 is a class: --class NAME=255."
    elif not any(sample.mask for samples in listed.listing.splits.values() for sample in samples):
        message = "no classes can be found: no image has a mask."
        remedy = "Add images and masks."
    return Problem("error", "no-classes", ".", message, remedy)
