"""One pass over all pairs of a folder, then every analysis of the results.

A pair keeps a few kilobytes, so memory does not depend on image size: 10,000 pairs need 30 MB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pixelwise.datasets.corrections import describe_corrections as told_corrections
from pixelwise.datasets.corrections import read_corrections
from pixelwise.datasets.groups import group_of
from pixelwise.datasets.inspect_pair import inspect_pair
from pixelwise.datasets.list_dataset import dataset_of, list_dataset
from pixelwise.datasets.listing import Listed, shown_sample
from pixelwise.datasets.masks.inspection import PairInspection, RejectedFile
from pixelwise.datasets.masks.mask_colours import UNFIT_SHARE, unfit_share
from pixelwise.datasets.masks.mask_encoding import MaskEncoding
from pixelwise.datasets.masks.mask_problems import STORAGE, Question
from pixelwise.datasets.masks.mask_reading import MaskChoices, Reading, as_colours, strange_codes
from pixelwise.datasets.masks.relabel import unfit_mask, way_to_fit
from pixelwise.datasets.masks.value_meaning import Meaning
from pixelwise.datasets.read_ahead import in_threads
from pixelwise.datasets.read_masks import SAMPLED_PAIRS, dataset_as_read, read_masks
from pixelwise.doctor.check_report import CheckReport
from pixelwise.doctor.findings import gather, with_bands
from pixelwise.doctor.leakage import (
    InspectedImage,
    frames_across_splits,
    groups_across_splits,
    near_copies,
    suggested_split,
)
from pixelwise.doctor.outliers import odd_images
from pixelwise.doctor.unused_input import depth_notes
from pixelwise.doctor.validate_pair import PairFacts, validate_pair
from pixelwise.images.files import Refusal
from pixelwise.records import RGB, VOID, Bands, Dataset, Problem, Sample

TOLD_ONCE = frozenset(STORAGE)  # kinds that are reported once for all masks

Progress = Callable[[str, int, int], None]  # current step, done, total


@dataclass(frozen=True)
class Diagnosis:
    """Everything found in one pass over a folder, for the report and for the repair."""

    listed: Listed
    dataset: Dataset  # masks are read by `reading`
    reading: Reading
    report: CheckReport
    ways: frozenset[str] = frozenset()  # ways to fit masks whose size differs from their image's
    pairs: tuple[tuple[str, PairFacts], ...] = ()  # the facts of every pair, with its split, as `dataset` holds them

    @property
    def meaning(self) -> Meaning:
        return self.reading.meaning

    @property
    def numbers(self) -> MaskEncoding | None:
        return self.reading.numbers

    @property
    def colours(self) -> MaskEncoding | None:
        return self.reading.colours


def diagnose(
    data: Path | str,
    progress: Progress = lambda what, done, total: None,
    *,
    masks: str = "",
    asked: MaskChoices = MaskChoices(),  # noqa: B008 - immutable
    bands: Sequence[str] = (),
) -> Diagnosis:
    """Read every pair of a folder once and report all findings. `masks`, `bands`: as `list_dataset`.

    Raises as `check`.
    """
    listed = list_dataset(data, masks=masks, bands=bands)
    jobs = [(split, sample) for split, samples in listed.listing.splits.items() for sample in samples]
    looks = _look_at_all([sample for _, sample in jobs], listed.bands, progress)
    seen_masks = [(look.mask, look.sample) for look in looks if look.mask]
    reading = read_masks(listed, seen_masks, asked)
    meaning, numbers = reading.meaning, reading.numbers
    plain = dataset_of(listed, meaning.classes, _file_ids(meaning, numbers))
    understood = replace(plain, mask_ids={})  # inspections hold class ids before validation
    pairs = [
        (split, validate_pair(understood if translated else plain, look))
        for (split, _), (look, translated) in zip(jobs, (_translated(look, reading) for look in looks), strict=True)
    ]
    as_read = dataset_as_read(listed, reading)
    findings = gather(understood, tuple(plain.splits), pairs)
    findings = with_bands(findings, as_read, [replace(pair, sample=reading.sample(pair.sample)) for _, pair in pairs])
    seen = [
        InspectedImage(split, shown_sample(look.sample, plain.root, mask=False), Path(look.sample.name), look.image)
        for (split, _), look in zip(jobs, looks, strict=True)
        if look.image
    ]
    questions = list(reading.questions)
    if listed.listing.choices:
        words = " or --masks ".join(listed.listing.choices)
        questions.insert(0, Question(f"--masks {words}", "which of them are the masks"))
    corrections, corrected = _corrections(plain.root)
    problems = [*reading.problems, *_across_images(seen, plain.bands)]
    grouped = any(problem.kind.endswith(("frames-across-splits", "groups-across-splits")) for problem in problems)
    everything = sorted((*findings.problems, *problems), key=lambda problem: problem.severity != "error")
    report = CheckReport(
        root=plain.root,
        layout=plain.layout,
        pairs=len(jobs),
        classes=meaning.classes,
        mask_ids=plain.mask_ids,
        findings=replace(findings, problems=tuple(everything)),
        codings=tuple(coding for coding in (numbers, reading.colours) if coding),
        questions=tuple(questions),
        notes=(
            *plain.notes,
            *reading.notes,
            *depth_notes([one.look.dropped for one in seen] if plain.bands == RGB else ()),
            *corrections,
        ),
        corrected=corrected,
        split=suggested_split(seen) if grouped else {},
        samples=_by_file(plain),
        read_as=reading.sample,
        bands=plain.bands,
    )
    return Diagnosis(listed, as_read, reading, report, ways_to_fit(looks), tuple(pairs))


def _corrections(root: Path) -> tuple[list[str], dict[str, Any]]:
    """Notes on the manual corrections of a model's masks, and the corrections for the report."""
    try:
        return told_corrections(root, read_corrections(root))
    except Refusal as refusal:
        return [f"corrections.jsonl: {refusal.what} {refusal.remedy}"], {}


def _across_images(seen: Sequence[InspectedImage], bands: Bands) -> list[Problem]:
    """Problems that only several images together show."""
    films = frames_across_splits(seen)
    told = {group_of(Path(problem.where)) for problem in films}
    return [*near_copies(seen), *films, *groups_across_splits(seen, told), *odd_images(seen, bands)]


def ways_to_fit(looks: Sequence[PairInspection]) -> frozenset[str]:
    """Ways to fit masks whose size differs from their image's, see `relabel.way_to_fit`."""
    return frozenset(
        way_to_fit(look.mask.size, look.mask.turn, look.image.size, look.image.turn)
        for look in looks
        if look.mask and look.image and look.mask.size != look.image.size
    )


def _translated(look: PairInspection, reading: Reading) -> tuple[PairInspection, bool]:
    """An inspection with mask values translated to class ids and storage accepted; False: unchanged.

    Problems of storage and encoding are reported once for the dataset. Ids that a declared mapping lacks stay, so
    that each file with such ids is reported.
    """
    mask, meaning = look.mask, reading.meaning
    if mask is not None and reading.is_colour(mask) and not mask.coloured:
        mask = as_colours(mask)
    own = [one for one in look.refused if one.of_mask]
    if mask is not None and meaning.known and not reading.reads(mask):
        if mask.storage == "jpeg-mask":
            return replace(look, mask=replace(mask, storage="unknown")), True
        kind = "colours" if mask.coloured else "numbers"
        what = f"holds {kind}, though nearly all other masks hold {'numbers' if mask.coloured else 'colours'}."
        stray = Refusal(own[0].refusal.kind if own else "unknown-codes", what, "Export it like the others.")
        others = tuple(one for one in look.refused if not one.of_mask)
        return replace(look, refused=(*others, RejectedFile(True, stray)), mask=replace(mask, storage="unknown")), True
    refused = tuple(one for one in look.refused if not (mask and one.of_mask and one.refusal.kind in TOLD_ONCE))
    if mask is None:
        return replace(look, refused=refused), False
    table = meaning.colours if mask.coloured else meaning.numbers
    coding = reading.colours if mask.coloured else reading.numbers
    blended = mask.storage == "jpeg-mask" or (coding is not None and coding.book.blurred) or reading.objects != "ids"
    if not set(table) - {VOID}:  # unknown mask values: reported once for all such masks
        return replace(look, refused=refused, mask=replace(mask, storage="unknown")), True
    if not blended and not set(mask.codes) <= set(table):
        if mask.storage == "ids":
            return replace(look, refused=refused), False
        return replace(look, refused=(*refused, RejectedFile(True, strange_codes(mask, table)))), True
    if coding is not None and coding.book.blurred:
        share = unfit_share(mask.codes, coding.book, mask.size[0] * mask.size[1])
        if share > UNFIT_SHARE:
            stray_mask = replace(mask, storage="unknown")
            return replace(look, refused=(*refused, RejectedFile(True, unfit_mask(share))), mask=stray_mask), True
    counted: dict[int, int] = {}
    for code, pixels in mask.codes.items():
        label = table.get(code, VOID)
        counted[label] = counted.get(label, 0) + pixels
    overlaps: Counter[tuple[int, int]] = Counter()
    for (hidden, kept), pixels in mask.overlaps.items():
        overlaps[table.get(hidden, VOID), table.get(kept, VOID)] += pixels
    return replace(look, refused=refused, mask=replace(mask, storage="ids", codes=counted, overlaps=overlaps)), True


def _look_at_all(samples: Sequence[Sample], bands: Bands, progress: Progress) -> list[PairInspection]:
    every = max(len(samples) // SAMPLED_PAIRS, 1)
    jobs = [(sample, i % every == 0) for i, sample in enumerate(samples)]
    looks = []
    for done, look in enumerate(in_threads(partial(_look_at_job, bands), jobs), start=1):
        looks.append(look)
        progress("reading pairs", done, len(samples))
    return looks


def _look_at_job(bands: Bands, job: tuple[Sample, bool]) -> PairInspection:
    return inspect_pair(job[0], bands, thoroughly=True, sampled=job[1])


def _file_ids(meaning: Meaning, numbers: MaskEncoding | None) -> dict[int, int]:
    if numbers is not None and numbers.kind.endswith("instances"):
        return {}
    return dict(meaning.numbers)


def _by_file(dataset: Dataset) -> dict[str, Sample]:
    """Samples by the file name that problems use."""
    return {
        shown_sample(sample, dataset.root, mask=mask): sample
        for samples in dataset.splits.values()
        for sample in samples
        for mask in (False, True)
    }
