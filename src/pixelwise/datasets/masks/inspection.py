"""Records of what was found in one pair of files, filled by `inspect_pair`.

Shapes: H, W of one image; T = 16, the side of its thumbnail; D = 64, that of its detail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pixelwise.images.dropped_content import DroppedContent
from pixelwise.images.files import Refusal
from pixelwise.records import Colour, Sample

THUMBNAIL_PX = 16
DETAIL_PX = 64
KEPT_CODES = 4096  # of one mask; of one with more, only their number is reported


@dataclass(frozen=True)
class ImageInspection:
    """What one image is like."""

    size: tuple[int, int]  # (H, W), upright
    bits: int  # a sample, as stored
    turn: int  # EXIF orientation, 1 to 8; 1: stored upright
    fingerprint: tuple[int, int]  # (bytes, CRC-32) of the file
    hash: int  # 64 bits: whether the grey of each of 8 × 8 fields exceeds that of its right neighbour
    thumbnail: bytes  # T × T × 3 RGB
    spread: float  # standard deviation of the sampled pixels' values, 0–128
    brightest: int  # largest sampled value, 0–255
    dropped: tuple[DroppedContent, ...] = ()  # what of the file is not used
    detail: bytes = b""  # D × D grey, averaged from all pixels


@dataclass(frozen=True)
class MaskInspection:
    """What one mask holds. A code is a stored number, or a colour as 0xRRGGBB."""

    size: tuple[int, int]  # (H, W), upright
    coloured: bool  # codes are colours
    storage: str  # "ids", or why it is not plain ids: "jpeg-mask", "rgb-mask", "alpha-mask", "float-mask", …
    bits: int
    turn: int
    codes: Mapping[int, int]  # pixels by code, of the KEPT_CODES commonest
    distinct: int  # different codes in all
    flat: Mapping[int, int] | None = None  # of them, pixels whose 3×3 neighbourhood is of one code; None: not counted
    between: Mapping[int, int] = field(default_factory=dict)  # and pixels between two neighbours' values, where flat is
    parts: Mapping[int, int] = field(default_factory=dict)  # connected components by id, where they were counted
    palette: Mapping[int, Colour] = field(default_factory=dict)
    stored_colour: bool = False  # three channels in the file, though codes may be grey values


@dataclass(frozen=True)
class RejectedFile:
    """Why one file is not taken."""

    of_mask: bool
    refusal: Refusal


@dataclass(frozen=True)
class PairInspection:
    """What was found in one pair."""

    sample: Sample
    image: ImageInspection | None
    mask: MaskInspection | None
    refused: tuple[RejectedFile, ...] = ()
