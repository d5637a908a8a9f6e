"""The doctor's report as one HTML file: no scripts, no external links, light and dark, embedded thumbnails.

Shapes: H, W of an image; h, w of its thumbnail.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np

from pixelwise.datasets.inspect_bands import band_values, own_range
from pixelwise.datasets.masks.raw_mask import raw_mask_of
from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask, stored_mask_ids
from pixelwise.doctor.check_report import BAND_COLUMNS, CheckReport, Group, band_cells
from pixelwise.doctor.label_errors import crop_around
from pixelwise.errors import DataError
from pixelwise.images.false_colour import false_colour
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.records import RGB, VOID, Bands, ClassList, Labels, Pixels, Sample
from pixelwise.reports.html_page import render, write_page
from pixelwise.reports.pictures import PagePicture, page_picture, scaled

THUMBNAIL_PX = 160
SHOWN_THUMBNAILS = 6
GROUND = 128  # grey around a picture, in both themes
SHOWN_LINES = 40
SHOWN_SUSPECTS = 24


def write_check_page(report: CheckReport, path: Path) -> None:
    """Write the page, completely or not at all. Raises OutputError."""
    write_page(page_of(report), path)


def page_of(report: CheckReport) -> str:
    """The page's HTML."""
    suspects = [(suspect, suspect_pictures(report, suspect.sample, suspect.box)) for suspect in report.suspects]
    splits = [
        (split, int(split.pixels_C.sum()), split.pixels_C.tolist(), split.images_C.tolist())
        for split in report.findings.splits.values()
    ]
    columns = ["class"]
    for name, split in report.findings.splits.items():
        columns += [f"{name}: pixels", f"images of {split.pairs}"]
    return render(
        "check.html",
        report=report,
        root=shown(report.root),
        groups=[(group, pictures_of(report, group)) for group in report.groups()],
        suspects=suspects[:SHOWN_SUSPECTS],
        splits=splits,
        columns=columns,
        bands=[(row.name, band_cells(row)) for row in report.findings.bands],
        band_columns=("band", *BAND_COLUMNS),
        lines=SHOWN_LINES,
    )


def pictures_of(report: CheckReport, group: Group) -> list[PagePicture]:
    """Pictures of a group's first pairs, image and mask side by side."""
    found = []
    for problem in group.problems[: 4 * SHOWN_THUMBNAILS]:
        sample = report.samples.get(problem.where)
        picture = pair_picture(sample, report.classes, report.bands) if sample else None
        if picture is not None:
            found.append(
                page_picture(picture, 2 * THUMBNAIL_PX + 8, f"{problem.where}: image, and its mask in colours")
            )
        if len(found) == SHOWN_THUMBNAILS:
            break
    return found


def pair_picture(sample: Sample, classes: ClassList, bands: Bands = RGB) -> Pixels | None:
    """Thumbnails of image and mask, side by side; only one if the other cannot be read; None without either."""
    parts = []
    with contextlib.suppress(DataError):
        parts.append(small(display_image(sample, bands)))
    mask = _mask_picture(sample, classes)
    if mask is not None:
        parts.append(small(mask, nearest=True))
    if not parts:
        return None
    height = max(part.shape[0] for part in parts)
    grounded = [np.pad(part, ((0, height - part.shape[0]), (0, 4), (0, 0)), constant_values=GROUND) for part in parts]
    return np.hstack(grounded)


def suspect_pictures(report: CheckReport, sample: Sample, box: tuple[int, int, int, int]) -> list[PagePicture]:
    """A suspected label error: the image of its region, and the mask in colours."""
    try:
        image = display_image(sample, report.bands)
        mask_ids = {} if report.read_as(sample) != sample else report.mask_ids
        size = (image.shape[0], image.shape[1])
        mask = read_sample_mask(report.read_as(sample), mask_ids, len(report.classes), size)
    except DataError:
        return []
    where = shown(sample.name)
    region, colours = crop_around(image, box), crop_around(painted(mask, report.classes), box)
    return [
        page_picture(small(region), THUMBNAIL_PX, f"{where}: the region's image"),
        page_picture(small(colours, nearest=True), THUMBNAIL_PX, f"{where}: its mask"),
    ]


def display_image(sample: Sample, bands: Bands) -> Pixels:
    """A sample's image for the eye; other bands than RGB in the range of its own values. Raises ImageError."""
    if bands == RGB:
        return read_sample_image(sample)
    pixels = read_sample_image(sample, bands)
    return false_colour(pixels, own_range(band_values(pixels), bands))


def painted(labels: Labels, classes: ClassList) -> Pixels:
    return classes.palette()[labels]


def small(picture: Pixels, *, nearest: bool = False) -> Pixels:
    """The picture, scaled so that its longer side is THUMBNAIL_PX."""
    return scaled(picture, THUMBNAIL_PX / max(picture.shape[:2]), nearest=nearest)


def _mask_picture(sample: Sample, classes: ClassList) -> Pixels | None:
    """A visible mask: its own colours, the classes' colours if its values are class ids, else a colour per value."""
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
