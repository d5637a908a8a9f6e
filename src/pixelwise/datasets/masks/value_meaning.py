"""The class of each mask value (code): declared by dataset.toml or the format, otherwise one class per value found.

If only one reading is sensible, it is used (0 and 255 are background and foreground), and a note reports it with the
options that change it. `declared_values` applies --class and --void.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pixelwise.datasets.class_names import background_first, known_classes, made_up_names, names_of_ids, void_ids
from pixelwise.datasets.dataset_toml import DatasetSettings, filled_colours
from pixelwise.datasets.listing import Listed
from pixelwise.datasets.masks.inspection import MaskInspection
from pixelwise.datasets.masks.mask_colours import points_of
from pixelwise.datasets.masks.mask_encoding import CITYSCAPES_BASE, MaskEncoding
from pixelwise.datasets.masks.mask_problems import names_of_black_and_white
from pixelwise.datasets.palettes import VOID_NAMES, colour_number, names_of_colours, numbered_colour
from pixelwise.records import MAX_CLASSES, VOID, ClassList, Colour

UNKNOWN = ClassList(("unknown",), filled_colours([None]))  # a placeholder, so that `check` can continue
APART = 8  # levels by which visually distinct palette colours differ


@dataclass(frozen=True)
class Meaning:
    """The class of each code, before or after the user's choices."""

    classes: ClassList
    numbers: Mapping[int, int]  # code → class id or VOID, for masks with numbers
    colours: Mapping[int, int]  # the same for masks with colours
    named: bool = False  # names come from a file, a format or a colour map, and are not made up from values
    in_order: bool = False  # classes without ids in dataset.toml were matched to the values found, in order

    @property
    def known(self) -> bool:
        """Whether any code has a class."""
        return self.classes != UNKNOWN


def meaning_of(
    listed: Listed,
    numbers: MaskEncoding | None,
    colours: MaskEncoding | None,
    masks: Sequence[MaskInspection] = (),
    beside: tuple[str, Mapping[int, str]] = ("", {}),
) -> Meaning:
    """The classes of a dataset and of its masks' codes; `beside`: the folder's table of colours."""
    if listed.settings.classes is not None or listed.listing.declared is not None:
        return _declared_meaning(listed, numbers, colours)
    chosen = numbers if numbers and (not colours or numbers.masks >= colours.masks) else colours
    if chosen is None or not chosen.class_codes:
        return Meaning(UNKNOWN, {}, {})
    if chosen.kind == "instances":
        names = ClassList(("background", "object"), filled_colours([None, None]))
        return Meaning(names, {code: int(code != 0) for look in masks for code in look.codes}, {})
    if chosen.kind == "class-instances":
        return _meaning_of_class_instances(chosen, masks)
    if len(chosen.class_codes) > MAX_CLASSES + 2:
        return Meaning(UNKNOWN, {}, {})
    if chosen is colours:
        return _coloured_meaning(chosen, beside, listed.settings)
    return _numbered_meaning(listed, chosen, masks, beside)


def class_of_instance(code: int) -> int:
    return code // CITYSCAPES_BASE if code >= CITYSCAPES_BASE else code


def _declared_meaning(listed: Listed, numbers: MaskEncoding | None, colours: MaskEncoding | None) -> Meaning:
    settings = listed.settings
    classes, mask_ids = known_classes(listed.listing, settings)
    in_order = _met_in_order(settings, numbers)
    if in_order:
        mask_ids = {**{code: label for code, label in mask_ids.items() if label == VOID}, **in_order}
    by_colour = dict(settings.colours)
    for i, colour in enumerate(classes.colours):
        by_colour.setdefault(colour_number(colour), i)
    return Meaning(classes, mask_ids, _nearest(colours, by_colour) if colours else {}, True, bool(in_order))


def _met_in_order(settings: DatasetSettings, numbers: MaskEncoding | None) -> dict[int, int]:
    """Values found → classes that dataset.toml names without ids, if their numbers are equal.

    With [[classes]] background and vessel and masks of 0 and 255, the second class is 255, not an absent id 1.
    """
    if settings.classes is None or settings.numbered or numbers is None or numbers.kind in ("lost", "one-value"):
        return {}
    codes = [code for code in numbers.book.codes if code not in settings.told_void]
    if len(codes) == len(settings.classes) + 1 and codes[-1] == VOID and numbers.kind not in ("binary", "steps"):
        codes = codes[:-1]
    expected = list(range(len(settings.classes)))
    if len(codes) != len(expected) or codes == expected:
        return {}
    return {code: i for i, code in enumerate(codes)}


def _meaning_of_class_instances(chosen: MaskEncoding, masks: Sequence[MaskInspection]) -> Meaning:
    kinds = sorted({class_of_instance(code) for code in chosen.book.codes})
    table = {code: kinds.index(class_of_instance(code)) for look in masks for code in look.codes}
    named = tuple(f"class {kind}" for kind in kinds)
    return Meaning(ClassList(named, filled_colours([None] * len(kinds))), table, {})


def _numbered_meaning(
    listed: Listed, chosen: MaskEncoding, masks: Sequence[MaskInspection], beside: tuple[str, Mapping[int, str]]
) -> Meaning:
    listing, settings = listed.listing, listed.settings
    void = dict.fromkeys(void_ids(listing, settings), VOID)
    by_convention = VOID not in settings.told_void and not listing.source and chosen.kind in ("binary", "steps")
    codes = [code for code in chosen.class_codes if code not in void or (code == VOID and by_convention)]
    if not codes or len(codes) > MAX_CLASSES:
        return Meaning(UNKNOWN, void, {})
    names = names_of_black_and_white(beside) if chosen.kind == "binary" and len(codes) == 2 else ()
    names = names or names_of_ids(listing, codes)
    named = bool(listing.source) or names != made_up_names(listing, codes)
    palette = next((look.palette for look in masks if look.palette), {})
    given = [palette.get(code) for code in codes]
    colours = filled_colours([None] * len(codes) if _too_alike(given) else given)
    table = {**void, **{code: i for i, code in enumerate(codes)}}
    return Meaning(ClassList(names, colours), table, {}, named)


def _coloured_meaning(
    coding: MaskEncoding, beside: tuple[str, Mapping[int, str]], settings: DatasetSettings
) -> Meaning:
    if len(coding.book.codes) > MAX_CLASSES + 1:
        return Meaning(UNKNOWN, {}, {})
    _, published = names_of_colours(coding.book.codes, coding.book.tolerance // 2, beside)
    told_void = {code for code in coding.book.codes if settings.colours.get(code) == VOID}
    ordered = [*published, *(code for code in coding.book.codes if code not in published)]
    codes = [code for code in ordered if published[code].lower() not in VOID_NAMES] if published else ordered
    codes = [code for code in codes if code not in told_void][:MAX_CLASSES]
    void = {code: VOID for code in coding.book.codes if code not in codes}
    if not codes:
        return Meaning(UNKNOWN, {}, void)
    names = tuple(published.get(code, f"colour #{code:06x}") for code in codes)
    if len(codes) == 2 and not published:
        codes = background_first(codes, coding.book.shares)
        names = ("background", "foreground")
    classes = ClassList(names, tuple(numbered_colour(code) for code in codes))
    return Meaning(classes, {VOID: VOID}, {**void, **{code: i for i, code in enumerate(codes)}}, bool(published))


def _nearest(coding: MaskEncoding, declared: Mapping[int, int]) -> dict[int, int]:
    """Each colour found → the declared class with that colour, within the encoding's tolerance."""
    found = {}
    targets = list(declared)
    points_K3 = points_of(targets, True)
    for code in coding.book.codes:
        distance_K = abs(points_K3 - points_of([code], True)).max(axis=1)
        if distance_K.min() <= coding.book.tolerance:
            found[code] = declared[targets[int(distance_K.argmin())]]
    if 0 in coding.book.codes and 0 not in found:  # black next to declared colours: unlabelled by convention
        found[0] = VOID
    return found


def _too_alike(colours: Collection[Colour | None]) -> bool:
    """Whether a palette's colours are indistinguishable, such as the grey ramp (0, 0, 0), (1, 1, 1), …"""
    given = [colour for colour in colours if colour]
    if len(set(colours)) < len(colours) or any(max(colour) - min(colour) < APART for colour in given[1:]):
        return True
    return any(
        max(abs(a - b) for a, b in zip(x, y, strict=True)) < APART for i, x in enumerate(given) for y in given[:i]
    )
