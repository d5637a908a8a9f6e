"""Read the masks of a dataset: their combined content decides how each is read, for every command.

`check` reports the result and writes it with --fix; `open_dataset` reads the folder in the same way without a
copy, so training needs no repair unless a decision is required.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pixelwise.datasets.class_values import Values
from pixelwise.datasets.dataset_toml import FILE_NAME
from pixelwise.datasets.inspect_pair import mask_or_refusal
from pixelwise.datasets.list_dataset import dataset_of
from pixelwise.datasets.listing import Listed
from pixelwise.datasets.masks.declared_values import MaskContents, as_class, heard, renamed
from pixelwise.datasets.masks.inspection import MaskInspection
from pixelwise.datasets.masks.mask_encoding import MaskEncoding, find_encoding
from pixelwise.datasets.masks.mask_reading import BLOCKING, MaskChoices, Reading, as_colours, is_grey_of_colours
from pixelwise.datasets.masks.reading_problems import no_classes, reading_problems
from pixelwise.datasets.masks.value_meaning import Meaning, meaning_of
from pixelwise.datasets.name_tables import table_beside
from pixelwise.datasets.read_ahead import in_threads
from pixelwise.errors import DatasetError, UsageError
from pixelwise.images.files import shown
from pixelwise.records import Dataset, Sample

DISCOVERY_CAP = 2000  # masks to open to find the classes, about 1 s; spread evenly over the dataset
FEW = 5  # times as many masks of one kind make the others strays
SAMPLED_PAIRS = 32  # pairs in which connected components and flat pixels are counted
PLAIN_READERS = frozenset(
    {"", "matlab", "numpy", "nifti", "parquet"}
)  # their masks are arrays, not drawings of classes


def open_listed(listed: Listed, values: Values, *, strict: bool = True) -> Dataset:
    """The second half of `open_dataset`: inspect the masks and find their classes.

    Without `strict`, values that no mask contains are ignored: they were given for other data.

    Raises:
        UsageError: no mask contains a given value.
        DatasetError: the masks cannot be read as classes, even if some pairs are left out.
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
    """The dataset with this reading of its masks."""
    meaning = reading.meaning
    dataset = dataset_of(listed, meaning.classes, {} if reading.recoded else meaning.numbers)
    splits = {split: tuple(map(reading.sample, samples)) for split, samples in dataset.splits.items()}
    return replace(
        dataset,
        splits=splits,
        notes=(*dataset.notes, *reading.notes),
        problems=(*dataset.problems, *reading.problems),
    )


def inspect_masks(samples: Sequence[Sample]) -> list[tuple[MaskInspection, Sample]]:
    """Inspect masks; skip unreadable ones, which are reported when their pair is read."""
    every = max(len(samples) // SAMPLED_PAIRS, 1)
    jobs = [(sample, i % every == 0) for i, sample in enumerate(samples)]
    looks = in_threads(_look, jobs)
    return [(look, sample) for look, sample in zip(looks, samples, strict=True) if look is not None]


def read_masks(
    listed: Listed, masks: Sequence[tuple[MaskInspection, Sample]], asked: MaskChoices, *, looked: bool = True
) -> Reading:
    """The meaning of inspected masks, with the user's choices applied. `looked`: False if none had to be opened.

    Raises:
        UsageError: a choice matches nothing; the message lists the possible values.
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
    problems, questions, notes = reading_problems(listed, plain, as_read, asked, beside)
    if looked and not meaning.known and not any(problem.kind in BLOCKING for problem in problems):
        problems.append(no_classes(listed, bool(masks)))
    return Reading(meaning, numbers, colours, tuple(problems), tuple(questions), tuple(notes), promoted, recoded)


def _without_strays(
    listed: Listed, numbers: MaskEncoding | None, colours: MaskEncoding | None
) -> tuple[MaskEncoding | None, MaskEncoding | None]:
    """Drop the kind of a few masks that differ from the others: each is an error of its own pair."""
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
    """Whether the classes are declared and every mask is drawn from them, so that none needs to be opened."""
    declared = listed.settings.classes is not None or listed.listing.declared is not None
    return declared and not _readers(listed) & PLAIN_READERS


def _readers(listed: Listed) -> set[str]:
    return {s.mask_part.partition(":")[0] for samples in listed.listing.splits.values() for s in samples if s.mask}


def _ids_are_classes(listed: Listed) -> bool:
    """Whether the masks are drawn from classes, or their format declares their numbers as class ids."""
    return bool(listed.listing.source) or not _readers(listed) & PLAIN_READERS


def _promoted(looks: Sequence[MaskInspection]) -> list[MaskInspection]:
    """Treat grey masks among coloured ones as colours: with red on black, a mask without red is of the same kind."""
    if not any(look.coloured for look in looks):
        return list(looks)
    mostly = 2 * sum(look.coloured or look.stored_colour for look in looks) > len(looks)
    return [as_colours(look) if is_grey_of_colours(look, mostly) else look for look in looks]
