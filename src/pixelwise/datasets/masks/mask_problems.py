"""Problems with a dataset's mask encoding, and questions that only the user can decide.

Storage (colours, JPEG, alpha, floats) is reported once for all masks that share it, with their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pixelwise.datasets.class_names import background_first
from pixelwise.datasets.class_values import quoted
from pixelwise.datasets.masks.inspection import MaskInspection
from pixelwise.datasets.masks.mask_colours import UNFIT_SHARE
from pixelwise.datasets.masks.mask_encoding import CITYSCAPES_BASE, MaskEncoding
from pixelwise.datasets.palettes import colour_number, names_of_colours
from pixelwise.records import MAX_CLASSES, VOID, Problem

READ = "They are still read, by these values; `pixelwise check DATA --fix OUT` writes them as class ids."
UNREAD = "Export them again from their source, as PNGs of class ids."
PALETTE_LEVELS = 16  # minimum difference between intentionally different colours of an index
MEETINGS = 4  # masks that contain a colour, before its never meeting another is evidence
PHOTO_CODES = 32  # a photograph has far more values than this,
PHOTO_FLAT = 0.1  # and less than this share of its pixels lies among equal ones
NOTABLE = 1e-4  # share of pixels below which a mismatch is not reported
STORAGE = {  # storage other than plain ids → problem kind and description
    "jpeg-mask": ("jpeg-masks", "JPEG or lossy WebP files, whose compression alters ids along every edge"),
    "rgb-mask": ("rgb-masks", "RGB images"),
    "alpha-mask": ("alpha-masks", "images with an alpha channel"),
    "float-mask": ("float-masks", "floating-point images that hold whole numbers"),
    "colour-mask": ("colour-masks", "images in a colour space other than RGB"),
}


@dataclass(frozen=True)
class Question:
    """A decision that the user must make before a repair, with its option."""

    option: str
    why: str


def storage_problems(looks: Sequence[MaskInspection], names: Sequence[str], *, read: bool = True) -> list[Problem]:
    """A warning for each kind of storage other than plain ids, with the number of masks. `names`: their files.

    `read`: their values have classes; otherwise the problem is an error.
    """
    problems = []
    for storage, (kind, words) in STORAGE.items():
        chosen = [(look, name) for look, name in zip(looks, names, strict=True) if look.storage == storage]
        if not chosen:
            continue
        grey = sum(not look.coloured for look, _ in chosen)
        detail = "" if storage in ("float-mask", "jpeg-mask") else _channels(grey, len(chosen))
        message = f"{_of(len(chosen), len(looks))} {words}{detail}; expected one channel of class ids."
        where = _listed([name for _, name in chosen])
        problems.append(Problem("warning" if read else "error", kind, where, message, READ if read else UNREAD))
    wide = [(look, name) for look, name in zip(looks, names, strict=True) if look.storage == "ids" and look.bits > 8]
    if wide and all(max(look.codes, default=0) <= VOID for look, _ in wide):
        bits = Counter(look.bits for look, _ in wide).most_common(1)[0][0]
        message = f"{_of(len(wide), len(looks))} {bits}-bit, though no id exceeds 255."
        remedy = "They are read as they are; --fix writes 8-bit masks, with nothing lost."
        problems.append(Problem("warning", "wide-masks", _listed([name for _, name in wide]), message, remedy))
    return problems


def coding_problems(
    coding: MaskEncoding, beside: tuple[str, Mapping[int, str]] = ("", {})
) -> tuple[list[Problem], list[Question], list[str]]:
    """Problems and questions about the codes themselves, and notes on harmless findings.

    `beside`: the folder's table of colours.
    """
    book = coding.book
    where = "masks"
    problems: list[Problem] = []
    questions: list[Question] = []
    notes: list[str] = []
    if coding.kind in ("instances", "class-instances"):
        return [_instances(coding)], questions, notes
    if photo := _photographs(coding):
        return [photo], questions, notes
    if coding.kind == "lost":
        message = (
            f"JPEGs of ids that lie nearer to each other than JPEG's noise ({codes_in_words(coding)}): they are lost."
        )
        remedy = "Export the masks again from their source, as PNG. No repair can bring them back."
        problems.append(Problem("error", "lost-masks", where, message, remedy))
        return problems, questions, notes
    if book.coloured:
        notes.append(colours_in_words(coding, beside))
    if book.blurred and (book.unfit >= NOTABLE or not book.tolerance):
        message = (
            f"{book.unfit:.2%} of the pixels match none of {len(book.codes)} mask values ({codes_in_words(coding)}): "
            "they are blends along edges, from anti-aliased drawing, resizing with interpolation, or JPEG."
        )
        remedy = (
            "Each such pixel takes the class of the nearest that fits. Export the masks without smoothing to be exact."
        )
        problems.append(Problem("warning", "blended-masks", where, message, remedy))
    if len(book.codes) > MAX_CLASSES + 1:
        message = f"{len(book.codes):,} different values; the limit is {MAX_CLASSES} classes."
        remedy = "If they are colours, are the images among the masks? If they number objects, write class ids."
        problems.append(Problem("error", "too-many-ids", where, message, remedy))
        return problems, questions, notes
    if not book.coloured:
        _number_problems(coding, problems, notes)
    return problems, questions, notes


def too_many_classes(
    coding: MaskEncoding, names: Mapping[int, str], void: Collection[int], source: str
) -> tuple[list[Problem], list[Question]]:
    """An error and a question if a format has more classes than an id mask can hold. `names`, `void`: of ids."""
    shares = {code: share for code, share in coding.book.shares.items() if code not in void}
    if len(shares) <= MAX_CLASSES:
        return [], []
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{names.get(code, f'class {code}')} ({share:.2%})" for code, share in ordered[:8])
    labelled = max(sum(shares.values()), 1e-12)
    covered = ", ".join(f"{n} cover {sum(share for _, share in ordered[:n]) / labelled:.1%}" for n in (50, 100, 150))
    message = (
        f"{len(shares):,} classes ({source}); a mask of ids can hold {MAX_CLASSES}. The commonest are {listed}; of the "
        f"labelled pixels the commonest {covered}."
    )
    option = "--commonest N or --keep-class NAME"
    remedy = f"Say {option} (for each class that you need) with --fix: the other classes become void."
    why = "which classes to train on: the N with the most pixels, or those that you name"
    return [Problem("error", "too-many-classes", "masks", message, remedy)], [Question(option, why)]


def names_of_black_and_white(beside: tuple[str, Mapping[int, str]]) -> tuple[str, ...]:
    """The names of black and white in a table that names only these two; otherwise ()."""
    _, names = beside
    return (names[0], names[0xFFFFFF]) if names.keys() == {0, 0xFFFFFF} else ()


def two_values(coding: MaskEncoding, name: str = "NAME") -> str:
    """The assumption about masks with 0 (or black) and one other value, and the options to change it.

    `name`: the name from the masks' folder, for the example.
    """
    book = coding.book
    background, foreground = background_first(book.codes, book.shares) if book.coloured else book.codes
    low, high = (quoted(code_name(code, book.coloured)) for code in (background, foreground))
    rarer = ""
    if book.shares.get(background, 0.0) < book.shares.get(foreground, 0.0):
        shares = f"{book.shares.get(background, 0.0):.0%}"
        other = quoted(f"{name}={code_name(background, book.coloured)}")
        more = quoted(f"background={code_name(foreground, book.coloured)}")
        rarer = (
            f" {low} is the rarer, {shares} of the pixels: if it is the object class, --class {other} --class {more}."
        )
    example = quoted(f"{name}={code_name(foreground, book.coloured)}")
    return (
        f"Masks hold {codes_in_words(coding)}: read as background ({low}) and foreground ({high}). To name the "
        f"foreground, --class {example}; if {high} means unlabelled, --void {high}.{rarer}"
    )


def never_together(coding: MaskEncoding, masks: Sequence[Collection[int]], folders: Sequence[str]) -> Problem | None:
    """A warning if two or more colours never meet in one mask: possibly one class in the colours of two annotators.

    Numbers must also have separate folders: two of three classes that never meet need no question.

    Args:
        masks: the codes of each mask, `folders`: its folder.
    """
    common = max(coding.book.codes, key=lambda code: coding.images.get(code, 0), default=0)
    others = [code for code in coding.book.codes if code != common]
    if not 2 <= len(others) <= 4:
        return None
    places: dict[int, set[str]] = {code: set() for code in others}
    for codes, folder in zip(masks, folders, strict=True):
        mine = [code for code in others if code in codes]
        if len(mine) > 1:
            return None
        for code in mine:
            places[code].add(folder)
    held = list(places.values())
    shared = any(a & b for i, a in enumerate(held) for b in held[:i])
    few = min(coding.images.get(code, 0) for code in others) < MEETINGS
    if not all(held) or (shared and (few or not coding.book.coloured)):
        return None
    names = [code_name(code, coding.book.coloured) for code in others]
    where = "" if shared else ", and each occurs in its own folders"
    message = f"{' and '.join(names)} never occur in the same mask{where}: they are read as {len(names)} classes."
    example = quoted(f"NAME={','.join(names)}")
    return Problem("warning", "never-together", "masks", message, f"If they are one class: --class {example}.")


def palettes_differ(looks: Sequence[MaskInspection], names: Sequence[str]) -> Problem | None:
    """A warning if an index has different colours in different masks: then indices are not classes."""
    first: dict[int, tuple[tuple[int, int, int], str]] = {}
    for look, name in zip(looks, names, strict=True):
        for code in look.codes if look.palette and not look.coloured else ():
            colour = look.palette.get(code)
            if colour is None:
                continue
            before, where = first.setdefault(code, (colour, name))
            if max(abs(a - b) for a, b in zip(before, colour, strict=True)) > PALETTE_LEVELS:
                message = (
                    f"index {code} is {code_name(colour_number(colour), True)}, but "
                    f"{code_name(colour_number(before), True)} in {where}: each file has its own palette, and masks "
                    "are read by their indices."
                )
                remedy = "If the colours are the classes, save the masks as RGB: then they are read by their colours."
                return Problem("warning", "palettes-differ", name, message, remedy)
    return None


def _photographs(coding: MaskEncoding) -> Problem | None:
    """An error if the masks have no flat areas: photographs, heights, scores."""
    book = coding.book
    few = 0 < len(book.codes) <= PHOTO_CODES and book.unfit < UNFIT_SHARE
    if coding.distinct <= PHOTO_CODES or few:
        return None
    if coding.flat >= PHOTO_FLAT and book.codes and (book.unfit < UNFIT_SHARE or not book.coloured):
        return None
    what = f"{coding.distinct:,} different values, hardly any next to equal ones"
    kind = "colours" if book.coloured else "values"
    message = f"holds photographs or other images without flat {kind}, not masks: {what}."
    remedy = "Provide masks in which every class is one value; are images and masks swapped?"
    return Problem("error", "photo-masks", "masks", message, remedy)


def _number_problems(
    coding: MaskEncoding,
    problems: list[Problem],
    notes: list[str],
) -> None:
    codes, shares = coding.book.codes, coding.book.shares
    found = codes_in_words(coding)
    if coding.kind == "steps":
        message = f"the ids go up in steps of {coding.step}: {found}."
        if codes[-1] == VOID:
            message += " 255 is one of the steps, and read as a class; if it means unlabelled, --void 255."
        remedy = "They are renumbered inside the program; name them: --class NAME=VALUE for each, or in dataset.toml."
        problems.append(Problem("warning", "value-steps", "masks", message, remedy))
    elif coding.kind == "one-based":
        message = f"the ids start at 1: {found}."
        remedy = "They are renumbered inside the program; --fix writes 0, 1, 2 …"
        problems.append(Problem("warning", "one-based", "masks", message, remedy))
    elif coding.kind == "gaps":
        message = f"the ids have gaps: {found}."
        remedy = "They are renumbered inside the program; declare classes that occur in no mask in dataset.toml."
        problems.append(Problem("warning", "id-gaps", "masks", message, remedy))
    if coding.void is not None:
        void = coding.void
        notes.append(f"Void: {void}, {shares.get(void, 0):.2%} of the pixels. If it is a class: --class NAME={void}.")


def _instances(coding: MaskEncoding) -> Problem:
    if coding.kind == "class-instances":
        classes = sorted({c // CITYSCAPES_BASE if c >= CITYSCAPES_BASE else c for c in coding.book.codes})
        listed = ", ".join(map(str, classes[:12]))
        message = f"{coding.distinct:,} ids of the form class × 1000 + number: they number objects of {listed}."
        remedy = "They are read as the classes of their objects; which object a pixel belongs to is lost."
        return Problem("warning", "instance-ids", "masks", message, remedy)
    message = f"{coding.distinct:,} different ids, one object each: they number objects, not classes."
    top = max(coding.book.codes)
    remedy = (
        f"Every object is read as one class, with 0 as background; to name it, --class NAME=1-{top}. If they are "
        "classes after all, declare them in dataset.toml."
    )
    return Problem("warning", "instance-ids", "masks", message, remedy)


def code_name(code: int, coloured: bool) -> str:
    return f"#{code:06x}" if coloured else str(code)


def codes_in_words(coding: MaskEncoding, names: Mapping[int, str] | None = None, at_most: int = 12) -> str:
    """ "0 (61.2%), 40 (30.0%), …" by descending share; with names "#804080 road (61.2%), …"."""
    shares = sorted(coding.book.shares.items(), key=lambda item: -item[1])
    called = {code: f" {name}" for code, name in (names or {}).items()}
    listed = [
        f"{code_name(code, coding.book.coloured)}{called.get(code, '')} ({share:.2%})"
        for code, share in shares[:at_most]
    ]
    return ", ".join(listed) + (f" and {len(shares) - at_most} more" if len(shares) > at_most else "")


def colours_in_words(coding: MaskEncoding, beside: tuple[str, Mapping[int, str]]) -> str:
    palette, names = names_of_colours(coding.book.codes, coding.book.tolerance // 2, beside)
    numbered = all(name.startswith("class ") for name in names.values())
    whose = f", {'numbered' if numbered else 'named'} by {palette}" if palette else ""
    black = " If black is unlabelled, --void '#000000'." if names.get(0, "void") != "void" and numbered else ""
    return (
        f"Colour map: {len(coding.book.codes)} colours in {coding.masks} masks{whose}: "
        f"{codes_in_words(coding, names)}.{black}"
    )


def _channels(grey: int, number: int) -> str:
    if grey == number:
        return " of equal channels"
    return f", {grey} of them of equal channels" if grey else ""


def _of(number: int, total: int) -> str:
    if number == 1:
        return f"1 of {total} masks is one of the" if total > 1 else "the mask is one of the"
    return f"{'all' if number == total else f'{number} of'} {total} masks are"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def declared_mismatch(coding: MaskEncoding, known: Mapping[int, int]) -> Problem | None:
    """An error if the masks' numbering differs from that of the declared classes; None if they agree."""
    codes = set(coding.book.codes)
    unknown = sorted(codes - set(known))
    if coding.book.coloured or not unknown or len(unknown) < len(codes - {0, VOID}) / 2:
        return None
    guess = f" They look {coding.kind.replace('-', ' ')}." if coding.kind not in ("ids", "gaps") else ""
    message = f"hold {codes_in_words(coding)}, of which {len(unknown)} ids are not declared.{guess}"
    remedy = "Correct the ids in dataset.toml: [[classes]] with id = …, or void = […]; or say --class NAME=VALUE."
    return Problem("error", "declared-ids", "masks", message, remedy)


def undeclared_colours(coding: MaskEncoding, known: Mapping[int, int]) -> list[Problem]:
    """An error if the masks contain colours of no declared class."""
    unknown = [code for code in coding.book.codes if code not in known]
    if not unknown:
        return []
    listed = ", ".join(f"#{code:06x} ({coding.book.shares.get(code, 0):.2%})" for code in unknown[:8])
    message = f"{len(unknown)} of {len(coding.book.codes)} colours belong to no declared class: {listed}."
    example = quoted(f"NAME=#{unknown[0]:06x}")
    remedy = (
        f"Give each class its colour, by --class {example} or in dataset.toml: colour = [red, green, blue]; black "
        "without a class is void."
    )
    return [Problem("error", "undeclared-colours", "masks", message, remedy)]
