"""Which class each id in the masks is: as dataset.toml or the format declares, else every id that is found is a class.

An id is the number that a mask file stores; a class id is its place in the dataset's ClassList. Masks are opened only
where nothing declares the classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pixelwise.data.decode import mask_ids_of, mask_palette
from pixelwise.data.files import Refusal, read_bytes, shown
from pixelwise.data.images import count_ids
from pixelwise.data.layouts import Declared, Listing
from pixelwise.data.name_tables import names_beside
from pixelwise.data.read_ahead import in_threads
from pixelwise.data.settings import FILE_NAME, Settings, filled_colours
from pixelwise.data.sources import stored_mask_ids
from pixelwise.errors import DatasetError
from pixelwise.records import MAX_CLASSES, VOID, ClassList, Colour, Sample

DISCOVERY_CAP = 2000  # masks that are opened to find the classes: about 1 s of them; spread evenly over the dataset


def undeclare_too_many(listing: Listing, settings: Settings) -> None:
    """Where a format names more classes than there can be (LVIS: 1,203), those that occur will be the classes."""
    declared = listing.declared
    if declared and settings.classes is None and len(declared.names) > MAX_CLASSES:
        listing.names = dict(zip(declared.ids, declared.names, strict=True))
        listing.void, listing.source, listing.declared = declared.void, declared.source, None


def void_ids(listing: Listing, settings: Settings) -> frozenset[int]:
    """Ids that mean unlabelled where classes are found: 255 by convention, unless the format says what its ids are."""
    return listing.void | (settings.void - {VOID}) if listing.source else settings.void | listing.void


def known_classes(listing: Listing, settings: Settings) -> tuple[ClassList, dict[int, int]]:
    """The classes that dataset.toml or the format declares, and id in mask files → class id or VOID."""
    declared = listing.declared
    if settings.classes is not None:
        if declared is not None and declared.by_name:
            return settings.classes, _met_by_name(settings.classes, settings.mask_ids, declared)
        return settings.classes, dict(settings.mask_ids)
    assert declared is not None
    listing.notes.append(f"Classes: {declared.source}; name others in {FILE_NAME}.")
    void = {**dict.fromkeys(declared.void, VOID), **dict.fromkeys(settings.void - {VOID}, VOID)}
    ids = {mask_id: i for i, mask_id in enumerate(declared.ids)}
    return ClassList(declared.names, filled_colours(declared.colours)), {**ids, **void}


def _met_by_name(classes: ClassList, mask_ids: Mapping[int, int], declared: Declared) -> dict[int, int]:
    """Ids that a format made from names → dataset.toml's class of the same name, whatever id it has there.

    So ids stay right when a label is drawn for the first time. A class under another name than the format's is met by
    its id. What is not drawn is void, unless it is a class.
    """
    own = dict(zip(declared.names, declared.ids, strict=True))
    named = {own[name]: i for i, name in enumerate(classes.names) if name in own}
    void = dict.fromkeys(declared.void, VOID)
    told = {k: i for k, i in mask_ids.items() if i == VOID or classes.names[i] not in own}
    return {0: VOID, **told, **void, **named}


def found_classes(listing: Listing, void: frozenset[int]) -> tuple[ClassList, dict[int, int]]:
    """Every id that occurs in the masks and is not void is a class, and id in mask files → class id or VOID.

    Raises:
        DatasetError: there are more ids than there can be classes. Where there is none at all, the listing's problems
            say so ("no-classes"), and a stand-in is returned.
    """
    masks = [sample for samples in listing.splits.values() for sample in samples if sample.mask]
    count = min(len(masks), DISCOVERY_CAP)
    opened = [masks[i * len(masks) // count] for i in range(count)]
    pixels: Counter[int] = Counter()
    palette: Mapping[int, Colour] = {}
    for counts, colours_by_id in in_threads(_mask_facts, opened):
        pixels.update(counts)
        palette = palette or colours_by_id
    ids = sorted(set(pixels) - void)
    if not ids:
        return _no_classes(listing, bool(opened), bool(pixels))
    if len(ids) > MAX_CLASSES:
        message = f"{len(ids):,} different ids, {ids[0]} to {ids[-1]}; the limit is {MAX_CLASSES} classes."
        remedy = f"If they number objects, write class ids instead; or declare the classes in {FILE_NAME}."
        if listing.source:
            message = f"{len(ids):,} classes occur ({listing.source}); the limit is {MAX_CLASSES}."
            remedy = "`pixelwise check DATA --fix OUT --commonest 150` writes a copy with the 150 commonest."
        listing.error("too-many-ids", listing.root / "masks", message, remedy)
        raise DatasetError(f"{shown(listing.root)}: no classes can be told from the masks.", listing.problems)
    if ids == [0] and pixels[VOID] and not listing.source:
        message = "all masks hold 0 and 255 only: 255 could be a class or void, which is not guessed."
        remedy = (
            f'Write {FILE_NAME} with [[classes]] name = "background", id = 0 and [[classes]] name = "foreground", '
            "id = 255; or, if 255 means unlabelled, with the one class that 0 is."
        )
        listing.error("binary-0-255", listing.root / "masks", message, remedy)
    names = names_of_ids(listing, ids)
    colours = [palette.get(i) for i in ids]
    if len(set(colours)) < len(ids) or _too_alike(colours):
        colours = [None] * len(ids)
    seen = f"all {len(masks)} masks" if len(opened) == len(masks) else f"{len(opened):,} of {len(masks):,} masks"
    gap = "" if ids == list(range(len(ids))) else " The ids have gaps and are numbered anew inside the program."
    listing.notes.append(
        f"Classes: {', '.join(names[:12])}{' …' if len(names) > 12 else ''}, found in {seen}.{gap} "
        f"Name them in {FILE_NAME}."
    )
    classes = ClassList(names, filled_colours(colours))
    return classes, {**dict.fromkeys(void, VOID), **{mask_id: i for i, mask_id in enumerate(ids)}}


def names_of_ids(listing: Listing, ids: Sequence[int]) -> tuple[str, ...]:
    """The names of ids that were found: the format's, else by their numbers; 0 beside one other is background.

    A table beside the masks goes before numbers; what it says, or why it is not followed, is noted.
    """
    if not listing.source and not listing.names:
        named, told = names_beside(listing.root, ids)
        if told and told not in listing.notes:
            listing.notes.append(told)
        if named and len(set(named.values())) == len(ids):
            return tuple(named[i] for i in ids)
    if ids in ([0, 1], [0, VOID], [0, 65535]) and not listing.source:
        return "background", "foreground"
    return tuple(listing.names.get(i, f"class {i}") for i in ids)


def _mask_facts(sample: Sample) -> tuple[dict[int, int], dict[int, Colour]]:
    """Pixels by id, and the palette's colours by id; nothing of a mask that the doctor will refuse."""
    try:
        if sample.mask_part or sample.mask is None:
            return count_ids(stored_mask_ids(sample)), {}
        data = read_bytes(sample.mask)
        return count_ids(mask_ids_of(data)), mask_palette(data)
    except Refusal:
        return {}, {}


def _too_alike(colours: Sequence[Colour | None]) -> bool:
    """True for a palette that nobody can tell apart, such as the grey ramp (0, 0, 0), (1, 1, 1), …"""
    given = [colour for colour in colours if colour]
    return any(max(abs(a - b) for a, b in zip(x, y, strict=True)) < 8 for i, x in enumerate(given) for y in given[:i])


def _no_classes(listing: Listing, any_mask: bool, any_id: bool) -> tuple[ClassList, dict[int, int]]:
    """A stand-in with an error, so that the doctor can go on and list what else is wrong."""
    message = "no classes can be found: no mask could be read."
    remedy = f"Mend the masks, or declare the classes in {FILE_NAME}."
    if any_id:
        message = "no classes can be found: every pixel of every mask is void (255)."
        remedy = f"Label some pixels; or, if 255 is a class, declare it in {FILE_NAME}: [[classes]] with id = 255."
    elif not any_mask:
        message = "no classes can be found: there is no pair of image and mask."
        remedy = "Add images and masks."
    listing.error("no-classes", listing.root, message, remedy)
    return ClassList(("unknown",), filled_colours([None])), {0: 0, VOID: VOID}
