"""The masks of a dataset, looked at together → how each of them is read, for every verb.

`check` shows what is found here and writes it with --fix; `open_dataset` reads the folder in the same way without a
copy, so that a training needs no repair that takes no decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pixelwise.datasets.class_names import void_ids
from pixelwise.datasets.class_values import Value, Values, quoted
from pixelwise.datasets.dataset_toml import FILE_NAME, SPLITS
from pixelwise.datasets.inspect_pair import mask_or_refusal
from pixelwise.datasets.list_dataset import Listed, dataset_of
from pixelwise.datasets.masks.declared_values import MaskContents, as_class, heard, renamed
from pixelwise.datasets.masks.inspection import MaskInspection
from pixelwise.datasets.masks.mask_encoding import Kind, MaskEncoding, find_encoding, lost_in_jpeg
from pixelwise.datasets.masks.mask_part import BLACK_WHITE, GREY, MaskRule, coded_of
from pixelwise.datasets.masks.mask_problems import (
    Question,
    code_name,
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
from pixelwise.datasets.masks.value_meaning import Meaning, meaning_of
from pixelwise.datasets.name_tables import table_beside
from pixelwise.datasets.pairing import ROLE_WORDS
from pixelwise.datasets.read_ahead import in_threads
from pixelwise.errors import DatasetError, UsageError
from pixelwise.images.files import Refusal, shown
from pixelwise.records import VOID, Dataset, Problem, Sample

DISCOVERY_CAP = 2000  # masks that are opened to find the classes: about 1 s of them; spread evenly over the dataset
FEW = 5  # times as many masks of one kind make those of another strays
SAMPLED_PAIRS = 32  # in which connected components and flat pixels are counted
PLAIN_READERS = frozenset(
    {"", "matlab", "numpy", "nifti", "parquet"}
)  # their masks are arrays, not drawings of classes
# What keeps the masks from being read, whichever pairs are left out.
BLOCKING = ("too-many-ids", "too-many-classes", "declared-ids", "undeclared-colours", "lost-masks", "photo-masks")


@dataclass(frozen=True)
class MaskChoices:
    """What a person says about the masks, beside what they mean by themselves."""

    values: Values = field(default_factory=Values)
    also_classes: tuple[Value, ...] = ()  # --class-value
    foreground: str | None = None  # --binary-foreground
    background: str | None = None
    strict: bool = True  # what matches nothing is an error

    def __bool__(self) -> bool:
        return bool(self.values.of_values or self.also_classes or self.foreground or self.background)


@dataclass(frozen=True)
class Reading:
    """What the masks hold, what it means, and what is to be said about it."""

    meaning: Meaning
    numbers: MaskEncoding | None
    colours: MaskEncoding | None
    problems: tuple[Problem, ...]
    questions: tuple[Question, ...]
    notes: tuple[str, ...]
    promoted: bool  # grey masks that are stored in colour are read as colours
    recoded: bool  # masks are read by their codes, because they are no plain files of ids

    @property
    def objects(self) -> Kind:
        kind: Kind = self.numbers.kind if self.numbers else "ids"
        several = len(set(self.meaning.numbers.values()) - {VOID}) > 2
        return "ids" if kind not in ("instances", "class-instances") or (kind == "instances" and several) else kind

    def is_colour(self, look: MaskInspection) -> bool:
        """Whether a mask is read by colours, though it may hold nothing but grey."""
        return look.coloured or (self.promoted and _is_grey_of_colours(look, self.numbers is None))

    def reads(self, look: MaskInspection) -> bool:
        """Whether the values of a mask have classes, as far as its kind goes."""
        coding = self.colours if look.coloured else self.numbers
        if coding is None:
            return False
        return look.storage != "jpeg-mask" or look.coloured or not lost_in_jpeg(coding.book.codes)

    def coded(self, meaning: Meaning | None = None) -> MaskRule:
        """How one mask is read; `meaning`: another than was found."""
        table = meaning or self.meaning
        return MaskRule(
            coded_of(self.numbers, table.numbers),
            coded_of(self.colours, table.colours),
            self.objects,
            self.promoted,
        )

    def sample(self, sample: Sample) -> Sample:
        """A sample whose mask is read by its codes."""
        if not self.recoded or sample.mask is None:
            return sample
        return replace(sample, mask_part=replace(self.coded(), inside=sample.mask_part).to_part())


def open_listed(listed: Listed, values: Values, *, strict: bool = True) -> Dataset:
    """The second half of `open_dataset`: the masks are looked at, and their classes found.

    Without `strict`, values that no mask holds are passed over: they were said of other data.

    Raises:
        UsageError: a value that was named is in no mask.
        DatasetError: the masks cannot be read as classes, whichever pairs are left out.
    """
    masks = [sample for samples in listed.listing.splits.values() for sample in samples if sample.mask]
    count = len(masks) if values.of_values else min(len(masks), DISCOVERY_CAP)
    chosen = [masks[i * len(masks) // count] for i in range(count)]
    looked = values.of_values or not _drawn(listed)
    reading = read_masks(
        listed, inspect_masks(chosen if looked else []), MaskChoices(values, strict=strict), looked=looked
    )
    blocking = [problem for problem in reading.problems if problem.kind in BLOCKING]
    if blocking:
        others = [problem for problem in listed.listing.problems if problem.severity == "error"]
        message = f"{shown(listed.listing.root)}: the masks cannot be read as classes."
        raise DatasetError(message, [*blocking, *others])
    return dataset_as_read(listed, reading)


def dataset_as_read(listed: Listed, reading: Reading) -> Dataset:
    """The dataset whose masks are read so."""
    meaning = reading.meaning
    dataset = dataset_of(listed, meaning.classes, {} if reading.recoded else meaning.numbers)
    splits = {split: tuple(map(reading.sample, samples)) for split, samples in dataset.splits.items()}
    return replace(
        dataset,
        splits=splits,
        notes=(*dataset.notes, *reading.notes),
        problems=(*dataset.problems, *reading.problems),
    )


def strange_codes(mask: MaskInspection, table: Mapping[int, int]) -> Refusal:
    """Why a mask is not taken that holds values of no class."""
    strange = {code: pixels for code, pixels in mask.codes.items() if code not in table}
    shown_codes = [code_name(code, mask.coloured) for code in strange]
    listed = ", ".join(f"{text} ({n:,} px)" for text, n in zip(shown_codes[:8], strange.values(), strict=False))
    more = f" and {len(strange) - 8} more" if len(strange) > 8 else ""
    what = f"holds {listed}{more}, of which no class is known."
    example = quoted(shown_codes[0])
    return Refusal("ids-outside", what, f"Say what they mean: --class NAME={example}, or --void {example}.")


def inspect_masks(samples: Sequence[Sample]) -> list[tuple[MaskInspection, Sample]]:
    """What masks hold; those that cannot be read are left out, for the doctor to name when their pair is read."""
    every = max(len(samples) // SAMPLED_PAIRS, 1)
    jobs = [(sample, i % every == 0) for i, sample in enumerate(samples)]
    looks = in_threads(_look, jobs)
    return [(look, sample) for look, sample in zip(looks, samples, strict=True) if look is not None]


def read_masks(
    listed: Listed, masks: Sequence[tuple[MaskInspection, Sample]], asked: MaskChoices, *, looked: bool = True
) -> Reading:
    """What masks that were looked at mean, once a person was heard. `looked`: False where none had to be opened.

    Raises:
        UsageError: what a person says matches nothing; the message says what is there.
    """
    declared = listed.listing.declared
    if asked.values.of_values and declared is not None and declared.by_name:
        raise UsageError(
            f"{asked.values.options()}: the masks are drawn from shapes with names ({', '.join(declared.names[:8])}), "
            f"which have no values. Name, merge and leave out classes in {FILE_NAME}."
        )
    looks = _promoted([look for look, _ in masks])
    promoted = looks != [look for look, _ in masks]
    numbers = find_encoding(looks, coloured=False, classes=_ids_are_classes(listed))
    beside = table_beside(listed.listing.root)
    colours = find_encoding(looks, coloured=True, table=beside[1])
    numbers, colours = _without_strays(listed, numbers, colours)
    meaning = meaning_of(listed, numbers, colours, looks, beside)
    held = MaskContents(numbers, colours, next((look.palette for look in looks if look.palette), {}))
    meaning = _heard(meaning, held, asked)
    plain = Reading(meaning, numbers, colours, (), (), (), promoted, False)
    recoded = meaning.known and any(
        (
            any(look.storage != "ids" for look, _ in masks),
            any(coding is not None and coding.book.blurred for coding in (numbers, colours)),
            plain.objects != "ids",
        )
    )
    as_read = [(look, sample) for look, (_, sample) in zip(looks, masks, strict=True)]
    problems, questions, notes = _findings(listed, plain, as_read, asked, beside)
    if looked and not meaning.known and not any(problem.kind in BLOCKING for problem in problems):
        problems.append(_no_classes(listed, bool(masks)))
    return Reading(meaning, numbers, colours, tuple(problems), tuple(questions), tuple(notes), promoted, recoded)


def _without_strays(
    listed: Listed, numbers: MaskEncoding | None, colours: MaskEncoding | None
) -> tuple[MaskEncoding | None, MaskEncoding | None]:
    """Without the few masks of another kind than the others: each of them is an error of its own pair."""
    if numbers is None or colours is None:
        return numbers, colours
    if FEW * colours.masks <= numbers.masks:
        known = meaning_of(listed, None, colours).colours if listed.settings.colours else {}
        return numbers, colours if known.keys() >= set(colours.book.codes) else None
    return (None, colours) if FEW * numbers.masks <= colours.masks else (numbers, colours)


def _heard(meaning: Meaning, held: MaskContents, asked: MaskChoices) -> Meaning:
    if not asked or not held.codes:
        return meaning
    for value in asked.also_classes:
        meaning = as_class(meaning, held, value)
    meaning = heard(meaning, held, asked.values, strict=asked.strict)
    return renamed(meaning, held, asked.foreground, asked.background)


def _look(job: tuple[Sample, bool]) -> MaskInspection | None:
    sample, sampled = job
    return partial(mask_or_refusal, thoroughly=True, sampled=sampled)(sample, None)[0]


def _drawn(listed: Listed) -> bool:
    """Whether the classes are declared and every mask is a drawing of them, so that none needs to be opened."""
    declared = listed.settings.classes is not None or listed.listing.declared is not None
    return declared and not _readers(listed) & PLAIN_READERS


def _readers(listed: Listed) -> set[str]:
    return {s.mask_part.partition(":")[0] for samples in listed.listing.splits.values() for s in samples if s.mask}


def _ids_are_classes(listed: Listed) -> bool:
    """Whether the masks are drawings of classes, or their format says that their numbers are."""
    return bool(listed.listing.source) or not _readers(listed) & PLAIN_READERS


def _promoted(looks: Sequence[MaskInspection]) -> list[MaskInspection]:
    """Grey masks among coloured ones as colours: beside red on black, a mask without any red is of the same kind."""
    if not any(look.coloured for look in looks):
        return list(looks)
    mostly = 2 * sum(look.coloured or look.stored_colour for look in looks) > len(looks)
    return [as_colours(look) if _is_grey_of_colours(look, mostly) else look for look in looks]


def _is_grey_of_colours(look: MaskInspection, mostly: bool) -> bool:
    """`mostly`: most of the masks are stored in colour, so that a plain black one is of their kind."""
    black_white = mostly and not look.palette and set(look.codes) <= BLACK_WHITE
    return not look.coloured and (look.stored_colour or black_white)


def as_colours(look: MaskInspection) -> MaskInspection:
    """A grey mask's look with its codes as colours."""
    tables = {
        name: {code * GREY: pixels for code, pixels in (getattr(look, name) or {}).items()}
        for name in ("codes", "flat", "between")
    }
    flat = tables["flat"] if look.flat is not None else None
    return replace(look, coloured=True, codes=tables["codes"], flat=flat, between=tables["between"])


def _findings(
    listed: Listed,
    reading: Reading,
    masks: Sequence[tuple[MaskInspection, Sample]],
    asked: MaskChoices,
    beside: tuple[str, Mapping[int, str]],
) -> tuple[list[Problem], list[Question], list[str]]:
    """Problems, questions and notes about how the masks are stored and coded."""
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
        notes.append(f"{FILE_NAME} names classes without ids: they are the values that were found, in order.")
    if asked.values.of_values:
        notes.append(f"As told: {asked.values.options()}.")
    if reading.numbers and reading.colours:
        problems.append(_mixed(reading.numbers, reading.colours, declared))
    blocked = any(problem.kind in BLOCKING for problem in problems)
    read = [(look, _name(root, sample)) for look, sample in masks if reading.reads(look)]
    stored = storage_problems([look for look, _ in read], [name for _, name in read], read=not blocked)
    differing = palettes_differ(looks, [_name(root, sample) for _, sample in masks])
    problems += [differing] if differing else []
    photo = any(problem.kind == "photo-masks" for problem in problems)  # then how they are stored does not matter
    return [*([] if photo else stored), *problems], questions, notes


def _of_declared(
    coding: MaskEncoding, meaning: Meaning, found: list[Problem], noted: list[str]
) -> tuple[list[Problem], list[str]]:
    """What is said of codes whose classes are declared: whether they fit, not how they look."""
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
    """What was taken for granted, in a line with the options that differ."""
    if asked.values.of_values or asked.foreground or coding.kind.endswith("instances"):
        return []
    if len(meaning.classes) == 2 and len(coding.book.codes) == 2 and coding.book.codes != (0, 1):
        if coding.kind == "binary" and (names := names_of_black_and_white(beside)):
            return [f"Masks hold 0 and {coding.book.codes[-1]}: {beside[0]} calls them {names[0]} and {names[1]}."]
        if not meaning.named and (coding.kind == "binary" or coding.book.coloured):
            return [two_values(coding, _word_of_folder(masks))]
    names = meaning.classes.names
    number = sum(look.coloured == coding.book.coloured for look, _ in masks)
    total = sum(sample.mask is not None for samples in listed.listing.splits.values() for sample in samples)
    seen = f"all {total} masks" if len(masks) == total else f"{number:,} of {total:,} masks"
    gaps = not coding.book.coloured and [code for code, label in meaning.numbers.items() if label != VOID]
    gap = " The ids have gaps and are numbered anew inside the program." if gaps and max(gaps) >= len(names) else ""
    listed_names = f"{', '.join(names[:12])}{' …' if len(names) > 12 else ''}"
    hint = "" if meaning.named else f" Name them in {FILE_NAME}, or by --class NAME=VALUE for each."
    return [f"Classes: {listed_names}, found in {seen}.{gap}{hint}"]


def _word_of_folder(masks: Sequence[tuple[MaskInspection, Sample]]) -> str:
    """What the folder of the masks is called, where that is one word which says more than "masks"; else NAME."""
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
        f"Export all masks the same way; or say what both mean, --class NAME={next(iter(numbers.book.codes), 0)},"
        f"#{next(iter(colours.book.codes), 0):06x} for each class. Otherwise those with {fewer} cannot be read beside "
        f"those with {more}."
    )
    return Problem("error", "mixed-masks", "masks", message, remedy)


def _no_classes(listed: Listed, any_read: bool) -> Problem:
    """An error, so that the doctor can go on with a stand-in and list what else is wrong."""
    message, remedy = "no classes can be found: no mask could be read.", "Mend the masks."
    if any_read:
        message = "no classes can be found: every pixel of every mask is void, by dataset.toml or as 255 is."
        remedy = "Label some pixels; or, if 255 is a class: --class NAME=255."
    elif not any(sample.mask for samples in listed.listing.splits.values() for sample in samples):
        message = "no classes can be found: there is no pair of image and mask."
        remedy = "Add images and masks."
    return Problem("error", "no-classes", ".", message, remedy)


def _name(root: Path, sample: Sample) -> str:
    path = sample.mask or sample.image
    where = shown(path.relative_to(root) if path.is_relative_to(root) else path)
    part = sample.mask_part
    return f"{where} ({part.partition(':')[2][:60]})" if part and sample.image_part else where
