"""How the masks of a dataset are read: the choices that were made, and the reading that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pixelwise.datasets.class_values import Value, Values, quoted
from pixelwise.datasets.masks.inspection import MaskInspection
from pixelwise.datasets.masks.mask_encoding import Kind, MaskEncoding, lost_in_jpeg
from pixelwise.datasets.masks.mask_part import BLACK_WHITE, GREY, MaskRule, coded_of
from pixelwise.datasets.masks.mask_problems import Question, code_name
from pixelwise.datasets.masks.value_meaning import Meaning
from pixelwise.images.files import Refusal
from pixelwise.records import VOID, Problem, Sample

# What keeps the masks from being read, whichever pairs are left out.
BLOCKING = ("too-many-ids", "too-many-classes", "declared-ids", "undeclared-colours", "lost-masks", "photo-masks")


@dataclass(frozen=True)
class MaskChoices:
    """The user's choices about mask values."""

    values: Values = field(default_factory=Values)
    also_classes: tuple[Value, ...] = ()  # --class-value
    foreground: str | None = None  # --binary-foreground
    background: str | None = None
    strict: bool = True  # what matches nothing is an error

    def __bool__(self) -> bool:
        return bool(self.values.of_values or self.also_classes or self.foreground or self.background)


@dataclass(frozen=True)
class Reading:
    """What the masks hold, what it means, and the problems, questions and notes about it."""

    meaning: Meaning
    numbers: MaskEncoding | None
    colours: MaskEncoding | None
    problems: tuple[Problem, ...]
    questions: tuple[Question, ...]
    notes: tuple[str, ...]
    promoted: bool  # grey masks that are stored in colour are read as colours
    recoded: bool  # masks are read by their codes, because they are not plain files of ids

    @property
    def objects(self) -> Kind:
        kind: Kind = self.numbers.kind if self.numbers else "ids"
        several = len(set(self.meaning.numbers.values()) - {VOID}) > 2
        return "ids" if kind not in ("instances", "class-instances") or (kind == "instances" and several) else kind

    def is_colour(self, look: MaskInspection) -> bool:
        """Whether a mask is read by colours, though it may hold nothing but grey."""
        return look.coloured or (self.promoted and is_grey_of_colours(look, self.numbers is None))

    def reads(self, look: MaskInspection) -> bool:
        """Whether the values of a mask have classes, as far as its kind goes."""
        coding = self.colours if look.coloured else self.numbers
        if coding is None:
            return False
        return look.storage != "jpeg-mask" or look.coloured or not lost_in_jpeg(coding.book.codes)

    def coded(self, meaning: Meaning | None = None) -> MaskRule:
        """How one mask is read; `meaning`: another than was found."""
        table = meaning or self.meaning
        return MaskRule(
            coded_of(self.numbers, table.numbers),
            coded_of(self.colours, table.colours),
            self.objects,
            self.promoted,
        )

    def sample(self, sample: Sample) -> Sample:
        """A sample whose mask is read by its codes."""
        if not self.recoded or sample.mask is None:
            return sample
        return replace(sample, mask_part=replace(self.coded(), inside=sample.mask_part).to_part())


def strange_codes(mask: MaskInspection, table: Mapping[int, int]) -> Refusal:
    """Why a mask with values of unknown classes is rejected."""
    strange = {code: pixels for code, pixels in mask.codes.items() if code not in table}
    shown_codes = [code_name(code, mask.coloured) for code in strange]
    listed = ", ".join(f"{text} ({n:,} px)" for text, n in zip(shown_codes[:8], strange.values(), strict=False))
    more = f" and {len(strange) - 8} more" if len(strange) > 8 else ""
    what = f"holds {listed}{more}, which belong to no known class."
    example = quoted(shown_codes[0])
    return Refusal("ids-outside", what, f"Assign them: --class NAME={example}, or --void {example}.")


def is_grey_of_colours(look: MaskInspection, mostly: bool) -> bool:
    """`mostly`: most of the masks are stored in colour, so that a plain black one is of their kind."""
    black_white = mostly and not look.palette and set(look.codes) <= BLACK_WHITE
    return not look.coloured and (look.stored_colour or black_white)


def as_colours(look: MaskInspection) -> MaskInspection:
    """A grey mask's look with its codes as colours."""
    tables = {
        name: {code * GREY: pixels for code, pixels in (getattr(look, name) or {}).items()}
        for name in ("codes", "flat", "between")
    }
    flat = tables["flat"] if look.flat is not None else None
    return replace(look, coloured=True, codes=tables["codes"], flat=flat, between=tables["between"])
