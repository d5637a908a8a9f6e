"""Records of one inspected pair of files, filled by `inspect_pair`.

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
KEPT_CODES = 4096  # per mask; beyond this, only their number is reported


@dataclass(frozen=True)
class BandValues:
    """The values of each band of one image."""

    low: tuple[float, ...]  # NaN where a band holds no value
    high: tuple[float, ...]
    missing: tuple[float, ...]  # share of pixels without data, 0–1
    flat: tuple[float, ...]  # share of horizontal neighbours with equal values, 0–1


@dataclass(frozen=True)
class ImageInspection:
    """Properties of one image."""

    size: tuple[int, int]  # (H, W), upright
    bits: int  # per sample, as stored
    turn: int  # EXIF orientation, 1 to 8; 1: stored upright
    fingerprint: tuple[int, int]  # (bytes, CRC-32) of the file
    hash: int  # 64 bits: whether the grey of each of 8 × 8 fields exceeds that of its right neighbour
    thumbnail: bytes  # T × T × 3 RGB
    spread: float  # standard deviation of the sampled pixels' values, 0–128
    brightest: int  # largest sampled value, 0–255
    dropped: tuple[DroppedContent, ...] = ()  # unused content of the file
    detail: bytes = b""  # D × D grey, averaged from all pixels
    bands: BandValues | None = None  # of images that are not read as RGB


@dataclass(frozen=True)
class MaskInspection:
    """The content of one mask. A code is a mask value: a stored number, or a colour as 0xRRGGBB."""

    size: tuple[int, int]  # (H, W), upright
    coloured: bool  # codes are colours
    storage: str  # "ids", or why it is not plain ids: "jpeg-mask", "rgb-mask", "alpha-mask", "float-mask", …
    bits: int
    turn: int
    codes: Mapping[int, int]  # pixels by code, for the KEPT_CODES most frequent
    distinct: int  # number of different codes
    flat: Mapping[int, int] | None = None  # of these, pixels in a uniform 3×3 neighbourhood; None: not counted
    between: Mapping[int, int] = field(default_factory=dict)  # pixels between two neighbours' values, if flat is set
    parts: Mapping[int, int] = field(default_factory=dict)  # connected components by id, if counted
    palette: Mapping[int, Colour] = field(default_factory=dict)
    overlaps: Mapping[tuple[int, int], int] = field(default_factory=dict)  # pixels by (hidden code, kept code)
    stored_colour: bool = False  # three channels in the file, though codes may be grey values


@dataclass(frozen=True)
class RejectedFile:
    """Why one file is rejected."""

    of_mask: bool
    refusal: Refusal


@dataclass(frozen=True)
class PairInspection:
    """The inspection of one pair."""

    sample: Sample
    image: ImageInspection | None
    mask: MaskInspection | None
    refused: tuple[RejectedFile, ...] = ()
