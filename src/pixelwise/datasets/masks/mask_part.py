"""How to read masks that do not hold plain class ids, as text stored in a sample (`Sample.mask_part`).

"coded:{…}": the class of each number or colour (the codes), whether pixels between codes take the class of the nearest
fitting pixel (JPEG, smoothed edges), and how to read the underlying file. `check` detects it and `--fix` writes it, so
training on the folder itself reads the same labels as training on the repaired copy. A run that stores its samples
reads them again in the same way, even if other masks have changed.

Shapes: H, W of the mask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from pixelwise.datasets.masks.mask_colours import ValueBook
from pixelwise.datasets.masks.mask_encoding import CITYSCAPES_BASE, Kind, MaskEncoding, lost_in_jpeg
from pixelwise.datasets.masks.raw_mask import RawMask, counted
from pixelwise.datasets.masks.relabel import Change, labels_of
from pixelwise.images.files import Refusal
from pixelwise.records import VOID, Labels

GREY = 0x010101  # a grey value as a colour
BLACK_WHITE = frozenset({0, 255})


@dataclass(frozen=True)
class ValueTable:
    """The codes of one kind of masks, and the class id or VOID of each."""

    book: ValueBook
    table: Mapping[int, int]

    @property
    def coding(self) -> MaskEncoding:
        return MaskEncoding(self.book, "ids", 1, None)


@dataclass(frozen=True)
class MaskRule:
    """How the masks of a dataset are read."""

    numbers: ValueTable | None
    colours: ValueTable | None
    objects: Kind = "ids"  # "instances": every number but 0 is class 1; "class-instances": class × 1000 + number
    promoted: bool = False  # grey masks that are stored in colour are read as colours
    inside: str = ""  # the mask part of the underlying file

    def to_part(self) -> str:
        """The text of a `Sample.mask_part`."""
        row = {
            "numbers": _row(self.numbers),
            "colours": _row(self.colours),
            "objects": self.objects,
            "promoted": self.promoted,
            "inside": self.inside,
        }
        return "coded:" + json.dumps({key: value for key, value in row.items() if value}, separators=(",", ":"))


def coded_of(coding: MaskEncoding | None, table: Mapping[int, int]) -> ValueTable | None:
    """The codes that a reader needs; None if nothing is known about them."""
    return ValueTable(coding.book, dict(table)) if coding is not None and table else None


@lru_cache(maxsize=64)
def from_entry(entry: str) -> MaskRule:
    """Parse the text from `to_part`, without its "coded:"."""
    row = json.loads(entry)
    return MaskRule(
        _codes(row.get("numbers"), coloured=False),
        _codes(row.get("colours"), coloured=True),
        row.get("objects", "ids"),
        row.get("promoted", False),
        row.get("inside", ""),
    )


def labels_by(raw: RawMask, coded: MaskRule) -> tuple[Labels, list[Change]]:
    """Class ids uint8 [H, W] of a decoded mask, VOID where unlabelled; and the changes made.

    Raises:
        Refusal: it contains values without a class, or its ids were lost when it was saved.
    """
    black_white = coded.numbers is None and not raw.coloured and set(np.unique(raw.codes).tolist()) <= BLACK_WHITE
    if coded.promoted and not raw.coloured and (raw.stored_colour or black_white):
        raw = replace(raw, codes=raw.codes * GREY, coloured=True)
    codes = coded.colours if raw.coloured else coded.numbers
    if codes is None or not codes.table:
        what = "holds colours" if raw.coloured else "holds numbers"
        other = "numbers" if raw.coloured else "colours"
        remedy = "Export it like the others, or say what its values mean: --class NAME=VALUE."
        kind = "rgb-mask" if raw.coloured else "unknown-codes"
        raise Refusal(kind, f"{what}, but it is known only which {other} the classes are.", remedy)
    if coded.objects != "ids" and not raw.coloured:
        return _of_objects(raw, codes, coded.objects)
    if not raw.lossy and not codes.book.blurred:
        _refuse_strangers(raw, codes.table)
    elif raw.lossy and not raw.coloured and lost_in_jpeg(codes.book.codes):
        what = f"is a JPEG or lossy WebP, whose noise is larger than the steps between ids ({_listed(codes)}): they are"
        raise Refusal("jpeg-mask", f"{what} lost.", "Export it again from its source, as PNG.")
    labels, changes = labels_of(raw, codes.coding, codes.table)
    if raw.transparent is not None or raw.translucent:
        changes.append(Change("the alpha channel was dropped", "its colours hold the classes", "no: alpha is lost"))
    return labels, changes


def _of_objects(raw: RawMask, codes: ValueTable, kind: Kind) -> tuple[Labels, list[Change]]:
    values, inverse = np.unique(raw.codes, return_inverse=True)
    labels = []
    for value in values.tolist():
        label = codes.table.get(value)
        if label is None and kind == "instances":
            label = max(v for v in codes.table.values() if v != VOID)
        if label is None:
            of_class = value // CITYSCAPES_BASE if value >= CITYSCAPES_BASE else value
            known = {c // CITYSCAPES_BASE if c >= CITYSCAPES_BASE else c: v for c, v in codes.table.items()}
            label = known.get(of_class)
        if label is None:
            what = f"holds {value}, of a class that no other mask has."
            raise Refusal("ids-outside", what, f"Assign it: --class NAME={value}, or --void {value}.")
        labels.append(label)
    change = Change("object numbers became class ids", "models learn classes, not objects", "no: which object is lost")
    return np.array(labels, np.uint8)[inverse.reshape(raw.codes.shape)], [change]


def _refuse_strangers(raw: RawMask, table: Mapping[int, int]) -> None:
    """Raises Refusal if a losslessly stored mask holds values of unknown classes."""
    values, numbers = counted(raw.codes)
    strange = [(v, n) for v, n in zip(values.tolist(), numbers.tolist(), strict=True) if v not in table]
    if not strange:
        return
    shown = [f"#{v:06x}" if raw.coloured else str(v) for v, _ in strange]
    listed = ", ".join(f"{v} ({n:,} px)" for v, (_, n) in zip(shown[:8], strange[:8], strict=True))
    more = f" and {len(strange) - 8} more" if len(strange) > 8 else ""
    what = f"holds {listed}{more}, which belong to no known class."
    if raw.stored_colour and len(strange) > 8:
        raise Refusal("rgb-mask", what, "Is it a photograph? Export the mask again, or remove it.")
    raise Refusal("ids-outside", what, f"Assign them: --class NAME={shown[0]}, or --void {shown[0]}.")


def _listed(codes: ValueTable) -> str:
    return ", ".join(map(str, codes.book.codes[:8])) + (" …" if len(codes.book.codes) > 8 else "")


def _row(codes: ValueTable | None) -> dict[str, object] | None:
    """As JSON; includes the codes to fit pixels to only if they differ from those of the table."""
    if codes is None:
        return None
    book, table = codes.book, sorted(codes.table.items())
    row: dict[str, object] = {"values": [code for code, _ in table], "classes": [label for _, label in table]}
    if sorted(book.codes) != row["values"]:
        row["fitted"] = sorted(book.codes)
    return {**row, "blurred": book.blurred, "tolerance": book.tolerance}


def _codes(row: Mapping[str, Any] | None, *, coloured: bool) -> ValueTable | None:
    if row is None:
        return None
    table = dict(zip(row["values"], row["classes"], strict=True))
    fitted = tuple(row.get("fitted", sorted(table)))
    return ValueTable(ValueBook(fitted, coloured, row["blurred"], row["tolerance"], {}, 0.0), table)
