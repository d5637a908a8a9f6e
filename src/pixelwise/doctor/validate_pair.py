"""Validate one inspected pair: report its problems or, without any, its pixels per class.

Shapes: H, W of one image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pixelwise.datasets.listing import shown_below
from pixelwise.datasets.masks.inspection import BandValues, PairInspection
from pixelwise.datasets.masks.relabel import way_to_fit
from pixelwise.images.dropped_content import DroppedContent
from pixelwise.images.files import Refusal
from pixelwise.images.image_files import full_mapping, refuse_unknown_ids
from pixelwise.records import VOID, Dataset, Problem, Sample

FEW_PX = 4  # a mask whose size differs by at most this was cropped, not scaled
DROP = "or leave the pair out: `check --fix` does, and `train --skip-bad`."
TURN = "`pixelwise check DATA --fix OUT --turn left` (or right, or transpose) writes a copy in which it is rotated"
STRETCH = "if it shows the same view, `pixelwise check DATA --fix OUT --stretch-masks` writes a copy in which it fits"


@dataclass(frozen=True)
class PairFacts:
    """The facts of one validated pair."""

    sample: Sample
    problems: tuple[Problem, ...]
    size: tuple[int, int] | None = None  # (H, W); None if the image cannot be read
    pixels: Mapping[int, int] | None = None  # pixels by class id, including VOID; None if the pair has errors
    fingerprint: tuple[int, int] | None = None  # (bytes, CRC-32) of the image file
    dropped: tuple[DroppedContent, ...] = ()  # unused content of the image file
    bands: BandValues | None = None  # of images that are not read as RGB
    overlaps: Mapping[tuple[int, int], int] = field(default_factory=dict)  # pixels by (hidden class id, kept class id)


def validate_pair(dataset: Dataset, look: PairInspection) -> PairFacts:
    """The problems of one inspected pair."""
    sample, problems = look.sample, []
    size = look.image.size if look.image else None
    fingerprint = look.image.fingerprint if look.image else None
    dropped = look.image.dropped if look.image else ()
    bands = look.image.bands if look.image else None
    pixels = None

    def report(path: Path, kind: str, message: str, remedy: str) -> None:
        problems.append(Problem("error", kind, where(dataset, path), message, f"{remedy[:-1]}, {DROP}"))

    for refused in look.refused:
        path = sample.mask if refused.of_mask and sample.mask else sample.image
        report(path, refused.refusal.kind, refused.refusal.what, refused.refusal.remedy)
    if sample.mask is None:
        return PairFacts(sample, tuple(problems), size, None, fingerprint, dropped, bands)
    if look.mask and look.mask.storage == "ids":
        mapping = full_mapping(dataset.mask_ids, len(dataset.classes))
        if size and look.mask.size != size:
            problems.append(_of_size(dataset, sample, look))
        try:
            refuse_unknown_ids(look.mask.codes, mapping)
            pixels = _by_class(look.mask.codes, mapping)
        except Refusal as refusal:
            report(sample.mask, refusal.kind, refusal.what, refusal.remedy)
    if any(problem.severity == "error" for problem in problems):
        return PairFacts(sample, tuple(problems), size, None, fingerprint, dropped, bands)
    if pixels is not None and set(pixels) == {VOID}:
        message = "every pixel is void: it cannot be trained on."
        place = where(dataset, sample.mask)
        problems.append(Problem("error", "all-void", place, message, f"Label it, {DROP}"))
    overlaps = _overlaps_by_class(look.mask.overlaps, dataset) if pixels is not None and look.mask else {}
    return PairFacts(sample, tuple(problems), size, pixels, fingerprint, dropped, bands, overlaps)


def _of_size(dataset: Dataset, sample: Sample, look: PairInspection) -> Problem:
    """The problem of a mask whose size differs from its image's: a warning if there is exactly one way to fit it."""
    assert sample.mask is not None
    assert look.mask is not None
    assert look.image is not None
    message, remedy = sizes_in_words(look.mask.size, look.image.size)
    place = where(dataset, sample.mask)
    way = way_to_fit(look.mask.size, look.mask.turn, look.image.size, look.image.turn)
    if way == "turn":
        said = f"{message[:-1]}; its image is rotated by EXIF, but the mask matches the stored pixels."
        return Problem("warning", "size-mismatch", place, said, "It is rotated like its image when it is read.")
    if way == "scale":
        return Problem("warning", "size-mismatch", place, message, "It is resized (nearest neighbour) when it is read.")
    ways = TURN if way == "ask-turn" else STRETCH
    return Problem("error", "size-mismatch", place, message, f"{remedy[:-1]}; {ways}; {DROP}")


def sizes_in_words(mask: tuple[int, int], image: tuple[int, int]) -> tuple[str, str]:
    """Message and remedy for a mask whose size (H, W) differs from its image's."""
    (mask_h, mask_w), (height, width) = mask, image
    message = f"{mask_w}×{mask_h} (width × height), but its image is {width}×{height}"
    if mask == (width, height):
        return (
            f"{message}: one of them is rotated by 90° or transposed.",
            "Rotate one of them; an EXIF orientation in one of the files is a likely cause.",
        )
    alike = abs(mask_w / width - mask_h / height) < 0.5 / min(width, height)
    if alike and max(abs(mask_w - width), abs(mask_h - height)) > FEW_PX:
        message += f": scaled by {mask_w / width:.3g}"
    else:
        message += f": it has {_more_or_fewer(mask_w - width, 'column')} and {_more_or_fewer(mask_h - height, 'row')}"
    return f"{message}.", f"Re-export the mask at {width}×{height}."


def _more_or_fewer(difference: int, name: str) -> str:
    """ "3 columns too many", "1 row too few", "as many rows"."""
    if not difference:
        return f"as many {name}s"
    number = abs(difference)
    return f"{number:,} {name}{'s' if number > 1 else ''} too {'many' if difference > 0 else 'few'}"


def _by_class(counts: Mapping[int, int], mapping: Mapping[int, int]) -> dict[int, int]:
    pixels: defaultdict[int, int] = defaultdict(int)
    for mask_id, number in counts.items():
        pixels[mapping[mask_id]] += number
    return dict(pixels)


def _overlaps_by_class(overlaps: Mapping[tuple[int, int], int], dataset: Dataset) -> Mapping[tuple[int, int], int]:
    """Overlaps of two classes; two values of one class do not hide each other."""
    mapping = full_mapping(dataset.mask_ids, len(dataset.classes))
    pixels: defaultdict[tuple[int, int], int] = defaultdict(int)
    for (hidden, kept), number in overlaps.items():
        below, above = mapping.get(hidden, VOID), mapping.get(kept, VOID)  # a value may be hidden everywhere
        if below != above:
            pixels[below, above] += number
    return dict(pixels)


def where(dataset: Dataset, path: Path) -> str:
    return shown_below(path, dataset.root)
