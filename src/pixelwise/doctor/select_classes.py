"""Select classes of a dataset: the most frequent, or those that the user names. All others become void."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from pixelwise.datasets.class_names import names_of_ids, void_ids
from pixelwise.datasets.class_values import quoted
from pixelwise.datasets.dataset_toml import filled_colours
from pixelwise.datasets.masks.value_meaning import Meaning
from pixelwise.doctor.diagnose import Diagnosis
from pixelwise.errors import UsageError
from pixelwise.records import MAX_CLASSES, VOID, ClassList, Colour


@dataclass
class _Class:
    """A candidate class and its mask values."""

    name: str
    colour: Colour | None
    numbers: list[int] = field(default_factory=list)
    colours: list[int] = field(default_factory=list)
    pixels: float = 0.0  # in units of one mask


def select_classes(diagnosis: Diagnosis, commonest: int | None, names: Sequence[str]) -> Meaning:
    """The meaning of every mask value when only the `commonest` most frequent classes and those in `names` are kept.

    Raises:
        UsageError: an unknown class name, or too many classes.
    """
    known = _classes_of(diagnosis)
    by_name = {one.name: one for one in known}
    for name in names:
        if name not in by_name:
            near = get_close_matches(name, by_name, 5) or sorted(by_name)[:5]
            listed = f"{', '.join(near)} … in all {len(by_name):,}"
            raise UsageError(f"--keep-class {quoted(name)}: no such class; the classes are {listed}.")
    if commonest and commonest > len(known):
        raise UsageError(
            f"--commonest {commonest}: there are only {len(known)} classes, so that none would be left out."
        )
    ordered = sorted(known, key=lambda one: -one.pixels)
    wanted = {one.name for one in ordered[: commonest or 0]} | set(names)
    if len(wanted) > MAX_CLASSES:
        raise UsageError(f"{len(wanted)} classes are to be kept; the limit is {MAX_CLASSES}.")
    kept = [one for one in known if one.name in wanted]
    numbers = {code: VOID for one in known for code in one.numbers} | {VOID: VOID}
    numbers |= {code: code_class for code, code_class in diagnosis.meaning.numbers.items() if code_class == VOID}
    void = void_ids(diagnosis.listed.listing, diagnosis.listed.settings)
    numbers = dict.fromkeys(void, VOID) | numbers
    colours = dict.fromkeys((code for one in known for code in one.colours), VOID)
    colours |= {code: code_class for code, code_class in diagnosis.meaning.colours.items() if code_class == VOID}
    for i, one in enumerate(kept):
        numbers |= dict.fromkeys(one.numbers, i)
        colours |= dict.fromkeys(one.colours, i)
    classes = ClassList(tuple(one.name for one in kept), filled_colours([one.colour for one in kept]))
    return replace(diagnosis.meaning, classes=classes, numbers=numbers, colours=colours)


def _classes_of(diagnosis: Diagnosis) -> list[_Class]:
    """All classes in id order, even if there are more than a ClassList holds."""
    meaning, listing = diagnosis.meaning, diagnosis.listed.listing
    numbers, colours = diagnosis.numbers, diagnosis.colours
    if listing.source and numbers:
        void = void_ids(listing, diagnosis.listed.settings)
        codes = [code for code in numbers.book.codes if code not in void]
        named = zip(codes, names_of_ids(listing, codes), strict=True)
        return [_Class(name, None, [code], [], numbers.book.shares[code]) for code, name in named]
    found = [_Class(*row) for row in zip(meaning.classes.names, meaning.classes.colours, strict=True)]
    for coding, table, coloured in ((numbers, meaning.numbers, False), (colours, meaning.colours, True)):
        for code, label in table.items():
            if label != VOID:
                (found[label].colours if coloured else found[label].numbers).append(code)
                found[label].pixels += coding.book.shares.get(code, 0.0) * coding.masks if coding else 0.0
    return found
