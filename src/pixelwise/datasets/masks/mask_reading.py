"""How the masks of a dataset are read: the user's choices and the resulting reading."""

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

# Problems that prevent reading the masks, even if some pairs are left out.
BLOCKING = ("too-many-ids", "too-many-classes", "declared-ids", "undeclared-colours", "lost-masks", "photo-masks")


@dataclass(frozen=True)
class MaskChoices:
    """The user's choices about mask values."""

    values: Values = field(default_factory=Values)
    also_classes: tuple[Value, ...] = ()  # --class-value
    foreground: str | None = None  # --binary-foreground
    background: str | None = None
    strict: bool = True  # a choice that matches nothing is an error

    def __bool__(self) -> bool:
        return bool(self.values.of_values or self.also_classes or self.foreground or self.background)


@dataclass(frozen=True)
class Reading:
    """The content and meaning of the masks, with problems, questions and notes."""

    meaning: Meaning
    numbers: MaskEncoding | None
    colours: MaskEncoding | None
    problems: tuple[Problem, ...]
    questions: tuple[Question, ...]
    notes: tuple[str, ...]
    promoted: bool  # grey masks that are stored in colour are read as colours
    recoded: bool  # masks are read through a value table, because they are not plain id files

    @property
    def objects(self) -> Kind:
        kind: Kind = self.numbers.kind if self.numbers else "ids"
        several = len(set(self.meaning.numbers.values()) - {VOID}) > 2
        return "ids" if kind not in ("instances", "class-instances") or (kind == "instances" and several) else kind

    def is_colour(self, look: MaskInspection) -> bool:
        """Whether a mask is read by colours, even if it contains only grey."""
        return look.coloured or (self.promoted and is_grey_of_colours(look, self.numbers is None))

    def reads(self, look: MaskInspection) -> bool:
        """Whether mask values of this kind have classes."""
        coding = self.colours if look.coloured else self.numbers
        if coding is None:
            return False
        return look.storage != "jpeg-mask" or look.coloured or not lost_in_jpeg(coding.book.codes)

    def coded(self, meaning: Meaning | None = None) -> MaskRule:
        """The rule to read one mask; `meaning`: replaces the detected one."""
        table = meaning or self.meaning
        return MaskRule(
            coded_of(self.numbers, table.numbers),
            coded_of(self.colours, table.colours),
            self.objects,
            self.promoted,
        )

    def sample(self, sample: Sample) -> Sample:
        """The sample, with its mask read through the value table."""
        if not self.recoded or sample.mask is None:
            return sample
        return replace(sample, mask_part=replace(self.coded(), inside=sample.mask_part).to_part())


def strange_codes(mask: MaskInspection, table: Mapping[int, int]) -> Refusal:
    """The refusal of a mask with values of unknown classes."""
    strange = {code: pixels for code, pixels in mask.codes.items() if code not in table}
    shown_codes = [code_name(code, mask.coloured) for code in strange]
    listed = ", ".join(f"{text} ({n:,} px)" for text, n in zip(shown_codes[:8], strange.values(), strict=False))
    more = f" and {len(strange) - 8} more" if len(strange) > 8 else ""
    what = f"holds {listed}{more}, which belong to no known class."
    example = quoted(shown_codes[0])
    return Refusal("ids-outside", what, f"Assign them: --class NAME={example}, or --void {example}.")


def is_grey_of_colours(look: MaskInspection, mostly: bool) -> bool:
    """Whether a grey mask belongs to coloured ones. `mostly`: most masks are in colour, so an all-black one does."""
    black_white = mostly and not look.palette and set(look.codes) <= BLACK_WHITE
    return not look.coloured and (look.stored_colour or black_white)


def as_colours(look: MaskInspection) -> MaskInspection:
    """A grey mask's inspection, with its codes as colours."""
    tables = {
        name: {code * GREY: pixels for code, pixels in (getattr(look, name) or {}).items()}
        for name in ("codes", "flat", "between")
    }
    flat = tables["flat"] if look.flat is not None else None
    return replace(look, coloured=True, codes=tables["codes"], flat=flat, between=tables["between"])
