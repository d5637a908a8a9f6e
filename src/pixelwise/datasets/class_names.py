"""The class of each mask id, as declared by dataset.toml or the format; and names for undeclared ids.

An id is the number that a mask file stores; a class id is an index in the dataset's ClassList. No mask is opened here:
`read_masks` does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pixelwise.datasets.dataset_toml import FILE_NAME, DatasetSettings, filled_colours
from pixelwise.datasets.listing import DeclaredClasses, Listing
from pixelwise.datasets.name_tables import names_beside
from pixelwise.records import MAX_CLASSES, VOID, ClassList


def undeclare_too_many(listing: Listing, settings: DatasetSettings) -> None:
    """If a format names more classes than the limit (LVIS: 1,203), use only the classes that occur."""
    declared = listing.declared
    if declared and settings.classes is None and len(declared.names) > MAX_CLASSES:
        listing.names = dict(zip(declared.ids, declared.names, strict=True))
        listing.void, listing.source, listing.declared = declared.void, declared.source, None


def void_ids(listing: Listing, settings: DatasetSettings) -> frozenset[int]:
    """Ids that mean unlabelled if classes are detected: 255 by convention, unless the format defines its ids."""
    return listing.void | (settings.void - {VOID}) if listing.source else settings.void | listing.void


def known_classes(listing: Listing, settings: DatasetSettings) -> tuple[ClassList, dict[int, int]]:
    """The classes declared by dataset.toml or the format, and id in mask files → class id or VOID."""
    declared = listing.declared
    if settings.classes is not None:
        if declared is not None and declared.by_name:
            return settings.classes, _met_by_name(settings.classes, settings.mask_ids, declared)
        return settings.classes, dict(settings.mask_ids)
    assert declared is not None
    listing.notes.append(f"Classes: {declared.source}; to change them, list classes in {FILE_NAME}.")
    void = {**dict.fromkeys(declared.void, VOID), **dict.fromkeys(settings.void - {VOID}, VOID)}
    ids = {mask_id: i for i, mask_id in enumerate(declared.ids)}
    return ClassList(declared.names, filled_colours(declared.colours)), {**ids, **void}


def _met_by_name(classes: ClassList, mask_ids: Mapping[int, int], declared: DeclaredClasses) -> dict[int, int]:
    """Ids that a format made from names → dataset.toml's class of the same name, regardless of its id there.

    So ids stay correct when a label is drawn for the first time. A class whose name the format lacks is matched by
    its id. Undrawn pixels are void, unless they are a class.
    """
    own = dict(zip(declared.names, declared.ids, strict=True))
    named = {own[name]: i for i, name in enumerate(classes.names) if name in own}
    void = dict.fromkeys(declared.void, VOID)
    told = {k: i for k, i in mask_ids.items() if i == VOID or classes.names[i] not in own}
    return {0: VOID, **told, **void, **named}


def names_of_ids(listing: Listing, ids: Sequence[int]) -> tuple[str, ...]:
    """Names for the ids found: the format's, else by number; 0 next to one other id is background.

    A table of names in the folder takes precedence over numbers; a note reports its use, or why it is not used.
    """
    if not listing.source and not listing.names:
        named, told = names_beside(listing.root, ids)
        if told and told not in listing.notes:
            listing.notes.append(told)
        if named and len(set(named.values())) == len(ids):
            return tuple(named[i] for i in ids)
    return made_up_names(listing, ids)


def made_up_names(listing: Listing, ids: Sequence[int]) -> tuple[str, ...]:
    """Names for ids: the format's where it has one, else made up."""
    if len(ids) == 2 and ids[0] == 0 and not listing.source:
        return "background", "foreground"
    return tuple(listing.names.get(i, f"class {i}") for i in ids)


def background_first(codes: Sequence[int], shares: Mapping[int, float]) -> list[int]:
    """Sort two colours, background first: black if present, else white, else the more frequent."""
    first = next((code for code in (0, 0xFFFFFF) if code in codes), max(codes, key=lambda code: shares.get(code, 0.0)))
    return [first, *(code for code in codes if code != first)]
