"""Apply --class and --void to the meaning of every mask value. An option that matches nothing is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pixelwise.datasets.class_values import Value, Values, quoted
from pixelwise.datasets.dataset_toml import filled_colours
from pixelwise.datasets.masks.mask_colours import points_of
from pixelwise.datasets.masks.mask_encoding import MaskEncoding
from pixelwise.datasets.masks.mask_problems import code_name, codes_in_words
from pixelwise.datasets.masks.value_meaning import Meaning
from pixelwise.datasets.palettes import numbered_colour
from pixelwise.errors import UsageError
from pixelwise.records import MAX_CLASSES, VOID, ClassList, Colour

GREY = 0x010101
Code = tuple[int, bool]  # a stored number, or a colour (True)


@dataclass(frozen=True)
class MaskContents:
    """The contents of a dataset's masks."""

    numbers: MaskEncoding | None
    colours: MaskEncoding | None
    palette: Mapping[int, Colour]  # of palette images

    @property
    def codes(self) -> list[Code]:
        of_numbers = [(code, False) for code in self.numbers.book.codes] if self.numbers else []
        return of_numbers + ([(code, True) for code in self.colours.book.codes] if self.colours else [])

    def in_words(self) -> str:
        listed = [codes_in_words(coding) for coding in (self.numbers, self.colours) if coding]
        return " and ".join(listed) or "nothing that can be read"

    def share(self, code: Code) -> float:
        coding = self.colours if code[1] else self.numbers
        return coding.book.shares.get(code[0], 0.0) if coding else 0.0

    def find(self, value: Value) -> list[Code]:
        return self._colours_of(value) if value.coloured else self._numbers_of(value)

    def matching(self, value: Value, option: str) -> list[Code]:
        """The mask values that match an option's value. Raises UsageError if the masks hold none."""
        found = self.find(value)
        if not found:
            said = f"{option}{value}" if option.endswith("=") else f"{option} {value}"
            raise UsageError(f"{said}: no mask holds {value}; the masks hold {self.in_words()}.")
        return found

    def _numbers_of(self, value: Value) -> list[Code]:
        codes = self.numbers.book.codes if self.numbers else ()
        found = [(code, False) for code in codes if value.low <= code <= value.high]
        if not found and self.numbers and value.low == value.high:
            found = [(code, False) for code in _near(value.low, self.numbers)]
        grey = value.low * GREY
        if not found and self.colours and value.low == value.high <= 255 and grey in self.colours.book.codes:
            found = [(grey, True)]
        return found

    def _colours_of(self, value: Value) -> list[Code]:
        colour = value.low
        if self.colours and colour in self.colours.book.codes:
            return [(colour, True)]
        found = [(code, True) for code in _near(colour, self.colours)] if self.colours else []
        if not found and self.numbers:
            by_palette = [code for code in self.numbers.book.codes if self.palette.get(code) == numbered_colour(colour)]
            grey = [code for code in self.numbers.book.codes if not self.palette and code * GREY == colour]
            found = [(code, False) for code in by_palette or grey]
        return found


def heard(meaning: Meaning, held: MaskContents, values: Values, *, strict: bool = True) -> Meaning:
    """The meaning of every mask value, with the given values applied.

    Classes with known names (from dataset.toml, a format or a colour map) keep the values that are not given.
    If names were only made up, the given values must be complete: an omitted 0, or black, is background; any other
    omitted value is an error. Without `strict`, values that match nothing are ignored, and omitted values keep theirs.

    Raises:
        UsageError: a value that no mask contains; values without a class; or no class is left.
    """
    if not values.of_values or not held.codes:
        return meaning
    if not strict:
        values = _those_held(held, values)
    given = _given(held, values)
    names, colours, labels = _classes(meaning, held, values, given, strict=strict)
    numbers = {code: label for code, label in meaning.numbers.items() if label == VOID}
    by_colour = {code: label for code, label in meaning.colours.items() if label == VOID}
    for (code, coloured), label in labels.items():
        (by_colour if coloured else numbers)[code] = label
    if not names:
        raise UsageError(f"{values.options()}: every value that the masks hold would be void; no class is left.")
    if len(names) > MAX_CLASSES:
        raise UsageError(f"{len(names)} classes; the limit is {MAX_CLASSES}. Merge some: --class NAME=VALUE,VALUE.")
    classes = ClassList(tuple(names), filled_colours(colours))
    return replace(meaning, classes=classes, numbers=numbers, colours=by_colour, named=True)


def as_class(meaning: Meaning, held: MaskContents, value: Value) -> Meaning:
    """Apply --class-value: make a value read as void its own class. Raises UsageError if no mask contains it."""
    for code, coloured in held.matching(value, "--class-value"):
        table = dict(meaning.colours if coloured else meaning.numbers)
        if table.get(code, VOID) != VOID:
            continue
        table[code] = len(meaning.classes) if meaning.known else 0
        old = meaning.classes.names if meaning.known else ()
        old_colours = meaning.classes.colours if meaning.known else ()
        classes = ClassList((*old, f"class {value}"), filled_colours([*old_colours, None]))
        meaning = replace(
            meaning,
            classes=classes,
            numbers=meaning.numbers if coloured else table,
            colours=table if coloured else meaning.colours,
        )
    return meaning


def renamed(meaning: Meaning, held: MaskContents, foreground: str | None, background: str | None) -> Meaning:
    """Apply --binary-foreground and --background. Raises UsageError unless the masks hold two classes."""
    names = list(meaning.classes.names)
    if foreground is not None:
        if len(names) != 2:
            raise UsageError(
                f"--binary-foreground {quoted(foreground)}: the masks hold {len(names)} classes, not background and "
                f"foreground: {held.in_words()}. Name classes by their values: --class NAME=VALUE."
            )
        names[1] = foreground
    if background is not None:
        names[0] = background
    if len(set(names)) < len(names):
        raise UsageError(f"two classes would be called {names[0]!r}; expected two names.")
    return replace(meaning, classes=ClassList(tuple(names), meaning.classes.colours))


def _those_held(held: MaskContents, values: Values) -> Values:
    classes = [(name, tuple(value for value in own if held.find(value))) for name, own in values.classes]
    return Values(
        tuple((name, own) for name, own in classes if own), tuple(value for value in values.void if held.find(value))
    )


def _given(held: MaskContents, values: Values) -> dict[Code, str | None]:
    """The class given for each mask value; None: void."""
    given: dict[Code, str | None] = {}
    for name, of_class in values.classes:
        for value in of_class:
            given |= dict.fromkeys(held.matching(value, f"--class {name}="), name)
    for value in values.void:
        given |= dict.fromkeys(held.matching(value, "--void"), None)
    return given


def _classes(
    meaning: Meaning, held: MaskContents, values: Values, given: Mapping[Code, str | None], *, strict: bool
) -> tuple[list[str], list[Colour | None], dict[Code, int]]:
    """Names and colours of the classes, and the class id or VOID of each mask value."""

    def before(code: Code) -> int | None:
        return (meaning.colours if code[1] else meaning.numbers).get(code[0])

    left = [code for code in held.codes if code not in given and before(code) not in (None, VOID)]
    names_by_code: dict[Code, str | None] = dict(given)
    names: list[str] = []
    if not values.classes or meaning.named or (not strict and any(code[0] for code in left)):
        for code in left:
            label = before(code)
            assert label is not None
            names_by_code[code] = meaning.classes.names[label]
        kept = set(filter(None, names_by_code.values()))
        unseen = {label for label in (*meaning.numbers.values(), *meaning.colours.values()) if label != VOID}
        unseen -= {before(code) or 0 for code in held.codes if before(code) not in (None, VOID)}
        names = [n for i, n in enumerate(meaning.classes.names) if n in kept or (meaning.named and i in unseen)]
    else:
        zero = [code for code in left if code[0] == 0]
        _refuse_unlisted([code for code in left if code[0] != 0], held, values)
        names_by_code |= dict.fromkeys(zero, "background")
        names = ["background"] if zero else []
    names += [name for name, _ in values.classes if name not in names]
    colours = [_colour_of(name, meaning, names_by_code) for name in names]
    ids = {name: i for i, name in enumerate(names)}
    return names, colours, {code: VOID if name is None else ids[name] for code, name in names_by_code.items()}


def _refuse_unlisted(codes: Sequence[Code], held: MaskContents, values: Values) -> None:
    if not codes:
        return
    shown = [code_name(*code) for code in codes]
    listed = ", ".join(f"{text} ({held.share(code):.2%})" for text, code in zip(shown[:8], codes, strict=False))
    more = f" and {len(codes) - 8} more" if len(codes) > 8 else ""
    several = len(codes) > 1
    run = [code for code, coloured in codes if not coloured]
    span = f"{min(run)}-{max(run)}" if len(run) > 8 else quoted(",".join(shown))
    raise UsageError(
        f"{values.options()}: the masks also hold {listed}{more}, which {'are' if several else 'is'} in no class that "
        f"is named. Add --class NAME={span} to make {'them' if several else 'it'} a class, or --void {span} to leave "
        f"{'them' if several else 'it'} out."
    )


def _colour_of(name: str, meaning: Meaning, names: Mapping[Code, str | None]) -> Colour | None:
    """The class's colour in the masks, else its previous one."""
    mine = [code for code, whose in names.items() if whose == name]
    colour = next((numbered_colour(code) for code, coloured in mine if coloured), None)
    if colour is None and meaning.known:
        olds = ((meaning.colours if coloured else meaning.numbers).get(code) for code, coloured in mine)
        label = next((label for label in olds if label is not None and label != VOID), None)
        if name in meaning.classes.names:
            label = meaning.classes.names.index(name)
        colour = meaning.classes.colours[label] if label is not None else None
    return colour


def _near(value: int, coding: MaskEncoding) -> list[int]:
    """The nearest class value of blended masks, within tolerance of a value."""
    book = coding.book
    if not book.blurred or not book.tolerance or not book.codes:
        return []
    gaps_K = np.abs(points_of(book.codes, book.coloured) - points_of([value], book.coloured)).max(axis=1)
    return [book.codes[int(gaps_K.argmin())]] if gaps_K.min() <= book.tolerance else []
