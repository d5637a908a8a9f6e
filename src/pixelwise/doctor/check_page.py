"""The doctor's report as one HTML file: no script, no outside address, light and dark, thumbnails inside.

Shapes: H, W of an image; h, w of its thumbnail.
"""

from __future__ import annotations

import base64
import contextlib
import io
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.datasets.masks.raw_mask import raw_mask_of
from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask, stored_mask_ids
from pixelwise.doctor.check_report import CheckReport, Group
from pixelwise.doctor.label_errors import crop_around
from pixelwise.errors import DataError
from pixelwise.images.files import Refusal, read_bytes, shown, write_whole
from pixelwise.records import VOID, ClassList, Labels, Pixels, Sample

THUMBNAIL_PX = 160
SHOWN_THUMBNAILS = 6
GROUND = 128  # grey beside and below a picture, on either theme
SHOWN_LINES = 40
SHOWN_SUSPECTS = 24


@dataclass(frozen=True)
class Thumbnail:
    """A picture of the page."""

    data: str  # a data: address
    words: str  # what it shows, for those who do not see it


def write_page(report: CheckReport, path: Path) -> None:
    """Write the page, whole or not at all. Raises OutputError."""
    write_whole(path, page_of(report).encode("utf-8", "replace"))


def page_of(report: CheckReport) -> str:
    """The page's HTML."""
    from jinja2 import Environment, StrictUndefined

    text = files("pixelwise.doctor").joinpath("templates/report.html").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    groups = [(group, thumbnails_of(report, group)) for group in report.groups()]
    suspects = [(suspect, suspect_pictures(report, suspect.sample, suspect.box)) for suspect in report.suspects]
    facts = [
        (name, split, int(split.pixels_C.sum()), split.pixels_C.tolist(), split.images_C.tolist())
        for name, split in report.findings.splits.items()
    ]
    return environment.from_string(text).render(
        report=report,
        root=shown(report.root),
        groups=groups,
        suspects=suspects[:SHOWN_SUSPECTS],
        facts=facts,
        lines=SHOWN_LINES,
        colours=["#{:02x}{:02x}{:02x}".format(*colour) for colour in report.classes.colours],
    )


def thumbnails_of(report: CheckReport, group: Group) -> list[Thumbnail]:
    """Pictures of the first pairs that a group is about, image and mask side by side."""
    found = []
    for problem in group.problems[: 4 * SHOWN_THUMBNAILS]:
        sample = report.samples.get(problem.where)
        picture = pair_picture(sample, report.classes) if sample else None
        if picture is not None:
            found.append(Thumbnail(data_url(picture), f"{problem.where}: image, and its mask in colours"))
        if len(found) == SHOWN_THUMBNAILS:
            break
    return found


def pair_picture(sample: Sample, classes: ClassList) -> Pixels | None:
    """Image and mask, each made small, side by side; one of them alone where the other cannot be read."""
    parts = []
    with contextlib.suppress(DataError):
        parts.append(small(read_sample_image(sample)))
    mask = _mask_picture(sample, classes)
    if mask is not None:
        parts.append(small(mask, nearest=True))
    if not parts:
        return None
    height = max(part.shape[0] for part in parts)
    grounded = [np.pad(part, ((0, height - part.shape[0]), (0, 4), (0, 0)), constant_values=GROUND) for part in parts]
    return np.hstack(grounded)


def suspect_pictures(report: CheckReport, sample: Sample, box: tuple[int, int, int, int]) -> list[Thumbnail]:
    """A doubted region: its image, and its mask in colours."""
    try:
        image = read_sample_image(sample)
        mask_ids = {} if report.read_as(sample) != sample else report.mask_ids
        size = (image.shape[0], image.shape[1])
        mask = read_sample_mask(report.read_as(sample), mask_ids, len(report.classes), size)
    except DataError:
        return []
    where = shown(sample.name)
    return [
        Thumbnail(data_url(small(crop_around(image, box))), f"{where}: the region's image"),
        Thumbnail(data_url(small(crop_around(painted(mask, report.classes), box), nearest=True)), f"{where}: its mask"),
    ]


def painted(labels: Labels, classes: ClassList) -> Pixels:
    return classes.palette()[labels]


def small(picture: NDArray[np.uint8], *, nearest: bool = False) -> Pixels:
    """At most THUMBNAIL_PX wide and high, its shape kept."""
    height, width = picture.shape[:2]
    scale = THUMBNAIL_PX / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    how = cv2.INTER_NEAREST if nearest or scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=how), np.uint8)


def data_url(picture: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "WEBP", quality=70)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _mask_picture(sample: Sample, classes: ClassList) -> Pixels | None:
    """A mask as a person can see it: its colours, its grey values if they are far apart, else a colour for each id."""
    try:
        if sample.mask is None:
            return None
        if sample.mask_part:
            codes = stored_mask_ids(sample).astype(np.int32)
        else:
            raw = raw_mask_of(read_bytes(sample.mask))
            if raw.coloured:
                return raw.planes()
            codes = raw.codes
    except Refusal:
        return None
    if codes.min() >= 0 and codes.max() < len(classes):
        return painted(codes.astype(np.uint8), classes)
    spread = np.where(codes == VOID, 0, codes * 67 % 251 + 1).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(spread, cv2.COLORMAP_TURBO)[:, :, ::-1], np.uint8)
