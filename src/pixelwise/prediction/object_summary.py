"""The objects of a folder in numbers: counts, densities and quantiles a file and class, as CSV and as one HTML page.

Everything is read from the tables of the images, so that it also covers those of an earlier run.

Shapes: N objects.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import OutputError
from pixelwise.images.files import shown, write_whole
from pixelwise.images.pixel_size import PixelSize
from pixelwise.objects.measure import unit_of
from pixelwise.prediction.manifest import read_records
from pixelwise.prediction.object_files import quoted
from pixelwise.prediction.outputs import OUTPUTS
from pixelwise.reports.charts import histogram
from pixelwise.reports.html_page import render, write_page

SUMMARY_NAME, PAGE_NAME = "objects_summary.csv", "objects.html"
ALL_FILES = "all files"
QUANTILES = (5, 25, 50, 75, 95)
BINS = 24
SHOWN_FILES = 200  # on the page; all are in the CSV
CONFIDENCE = "confidence_mean"
CHARTS = (
    ("area", "area in {unit}²"),
    ("roundness", "roundness"),
    ("solidity", "solidity"),
    (CONFIDENCE, "mean confidence"),
)


@dataclass(frozen=True)
class CountedObjects:
    """The objects of one class, in one file or in all."""

    file: str
    class_name: str
    number: int
    pixels: int  # of the images
    per_megapixel: float
    unit: str  # of the areas: "px", "um", "m" …
    per_square_unit: float | None  # objects a squared unit of the images; None without one
    area: tuple[float, ...]  # QUANTILES, in the squared unit; empty without objects
    area_mean: float
    roundness: float  # median
    confidence: float  # median of the objects' means

    def row(self) -> dict[str, Any]:
        """As one row of the summary."""
        areas = dict(zip((f"area_{q}%" for q in QUANTILES), self.area or (np.nan,) * len(QUANTILES), strict=True))
        return {
            "file": self.file,
            "class": self.class_name,
            "number": self.number,
            "per_megapixel": self.per_megapixel,
            "unit": self.unit,
            "per_square_unit": np.nan if self.per_square_unit is None else self.per_square_unit,
            "area_mean": self.area_mean,
            **areas,
            "roundness_median": self.roundness,
            "confidence_median": self.confidence,
        }


@dataclass(frozen=True)
class FileObjects:
    """What is summed up of one image's table."""

    file: str
    pixels: int
    pixel: PixelSize | None
    excluded: dict[str, int]
    separated: dict[str, str]
    numbers: dict[str, int]  # by class
    class_N: NDArray[np.str_]
    columns: dict[str, NDArray[np.float64]]  # of CHARTS


def write_summary(out: Path) -> list[CountedObjects]:
    """Write OUT/objects_summary.csv and OUT/objects.html; returns the counts of all files together, by class.

    Raises:
        OutputError: a table is missing or damaged, or a file cannot be written.
    """
    records = [record for record in read_records(out) if record["error"] is None and "objects" in record]
    files = [file_objects(out, record) for record in sorted(records, key=lambda record: str(record["name"]))]
    classes = list(dict.fromkeys(itertools.chain.from_iterable(one.numbers for one in files)))
    unit = common_unit(files)
    single = [counts_of([one], name, one.file, common_unit([one])) for one in files for name in classes]
    together = [counts_of(files, name, ALL_FILES, unit) for name in classes]
    write_whole(out / SUMMARY_NAME, "".join(csv_lines([*together, *single])).encode())
    write_page(page_of(files, together, single, unit), out / PAGE_NAME)
    return together


def file_objects(out: Path, record: dict[str, Any]) -> FileObjects:
    ending, facts = OUTPUTS["objects"].ending, record["objects"]
    path = out / next(name for name in record["saved"] if name.endswith(ending))
    wanted = [name for name, _ in CHARTS]
    classes, rows = [], []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            header = next(lines)
            # Finished label maps have no confidence.
            places = [header.index(name) if name in header or name != CONFIDENCE else None for name in wanted]
            at = header.index("class")
            for line in lines:
                classes.append(line[at])
                rows.append([math.nan if place is None else float(line[place] or "nan") for place in places])
    except (OSError, ValueError, IndexError, StopIteration) as error:
        remedy = "Remove it and run the same command again: this image will be labelled again."
        raise OutputError(f"{shown(path)}: cannot be read as a table of objects ({error}). {remedy}") from error
    values = np.array(rows, np.float64).reshape(-1, len(wanted)).T
    pixel = None if facts["pixel"] is None else PixelSize(**facts["pixel"])
    return FileObjects(
        str(record["name"]), record["width"] * record["height"], pixel, facts["excluded"], facts["separated"],
        facts["number"], np.array(classes, np.str_), dict(zip(wanted, values, strict=True)),
    )  # fmt: skip


def common_unit(files: Iterable[FileObjects]) -> str:
    """The unit of all files' pixels; "px" if one has none, or another."""
    units = {unit_of(one.pixel)[0] if one.pixel is not None and one.pixel.unit == "m" else "px" for one in files}
    return units.pop() if len(units) == 1 else "px"


def pixel_area(one: FileObjects, unit: str) -> float:
    """The area of a pixel in the squared unit."""
    if unit == "px" or one.pixel is None:
        return 1.0
    metres = unit_of(one.pixel)[1]
    return one.pixel.height * one.pixel.width / metres**2


def column_of(files: Iterable[FileObjects], name: str, class_name: str, unit: str) -> NDArray[np.float64]:
    """A column over the objects of a class in all files; areas in the squared unit."""
    parts = [np.empty(0)]
    for one in files:
        scale = pixel_area(one, unit) if name == "area" else 1.0
        parts.append(one.columns[name][one.class_N == class_name] * scale)
    found = np.concatenate(parts)
    return found[np.isfinite(found)]


def counts_of(files: list[FileObjects], class_name: str, file: str, unit: str) -> CountedObjects:
    area = column_of(files, "area", class_name, unit)
    pixels, number = sum(one.pixels for one in files), sum(one.numbers.get(class_name, 0) for one in files)
    surface = sum(one.pixels * pixel_area(one, unit) for one in files)

    def median(name: str) -> float:
        values = column_of(files, name, class_name, unit)
        return float(np.median(values)) if len(values) else float("nan")

    return CountedObjects(
        file=file,
        class_name=class_name,
        number=number,
        pixels=pixels,
        per_megapixel=number / pixels * 1e6 if pixels else 0.0,
        unit=unit,
        per_square_unit=None if unit == "px" or not surface else number / surface,
        area=tuple(np.percentile(area, QUANTILES).tolist()) if len(area) else (),
        area_mean=float(area.mean()) if len(area) else float("nan"),
        roundness=median("roundness"),
        confidence=median(CONFIDENCE),
    )


def csv_lines(counts: Iterable[CountedObjects]) -> Iterator[str]:
    header: list[str] | None = None
    for one in counts:
        row = one.row()
        if header is None:
            header = list(row)
            yield ",".join(header) + "\n"
        yield ",".join(quoted(text(value)) for value in row.values()) + "\n"


def text(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.6g}"
    return str(value)


def page_of(files: list[FileObjects], together: list[CountedObjects], single: list[CountedObjects], unit: str) -> str:
    """The HTML page: numbers of all files with histograms, then those of each file."""
    excluded: dict[str, int] = {}
    for one in files:
        for reason, number in one.excluded.items():
            excluded[reason] = excluded.get(reason, 0) + number
    return render(
        "objects.html",
        files=len(files),
        together=together,
        single=single[:SHOWN_FILES],
        left_off=max(len(single) - SHOWN_FILES, 0),
        unit=unit,
        quantiles_named=[f"{q} %" for q in QUANTILES],
        areas=area_cells,
        excluded=excluded,
        separated=files[0].separated if files else {},
        charts={one.class_name: charts_of(files, one.class_name, unit) for one in together if one.number},
    )


def area_cells(one: CountedObjects) -> list[str]:
    return [f"{value:.1f}" for value in one.area] or ["–"] * len(QUANTILES)


def charts_of(files: list[FileObjects], class_name: str, unit: str) -> list[Any]:
    """A histogram of each of CHARTS."""
    found = []
    for name, title in CHARTS:
        values = column_of(files, name, class_name, unit)
        if not len(values):
            continue
        top = float(np.percentile(values, 99)) if name == "area" else max(float(values.max()), 1.0)
        counts, edges = np.histogram(np.minimum(values, top), bins=BINS, range=(0.0, top or 1.0))
        limits = (f"{edges[0]:.3g}", f"{edges[BINS // 2]:.3g}", f"{edges[-1]:.3g}" + ("+" if name == "area" else ""))
        label = f"{class_name}: {title.format(unit=unit)}"
        found.append(histogram(label, title.format(unit=unit), counts.tolist(), limits))
    return found
