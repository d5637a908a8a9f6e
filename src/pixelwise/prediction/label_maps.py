"""Finished label maps → their objects: masks of a dataset, or labels that `predict` or another program wrote.

The classes are those of a dataset, whose masks say what their values or colours mean, or of a folder that `predict`
wrote. Where a map is a mask of the dataset, its image gives intensities and the size of a pixel. A TIFF larger than is
decoded at once is read by rows.

Shapes: H, W a map's size; R rows.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pixelwise.datasets.dataset_toml import FILE_NAME as DATASET_TOML
from pixelwise.datasets.dataset_toml import read_settings
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask, streamed_mask_window
from pixelwise.datasets.streamed_pairs import has_streamed_image, is_streamed
from pixelwise.errors import DataError, OutputError, UsageError
from pixelwise.images.files import shown
from pixelwise.images.pixel_size import pixel_size
from pixelwise.images.tiff_header import tiff_size
from pixelwise.maps.grid import Grid
from pixelwise.maps.map_polygons import is_on_earth
from pixelwise.objects.object_options import ObjectOptions, separations_of
from pixelwise.objects.stream_objects import MeasuredObjects, ObjectSource
from pixelwise.prediction.built_in_models import models
from pixelwise.prediction.channel_groups import digest_of, modified_at
from pixelwise.prediction.find_images import jobs_of, survey
from pixelwise.prediction.joined_outputs import write_joined
from pixelwise.prediction.label_file import (
    Job,
    LabelOptions,
    Record,
    as_text,
    error_message,
    failed,
    name_of_image,
    names_of,
    paths_of,
)
from pixelwise.prediction.load_model import BUNDLE_NAME, RUN_MARKS
from pixelwise.prediction.manifest import FILE_NAME as MANIFEST
from pixelwise.prediction.manifest import open_manifest, settings_of
from pixelwise.prediction.map_outputs import has_geo, place_of, placed_objects
from pixelwise.prediction.object_files import coco_parts, csv_parts, geojson_parts, map_parts, parquet_parts
from pixelwise.prediction.objects_once import check_separations, kept_objects
from pixelwise.prediction.result_files import ResultFile, write_results
from pixelwise.prediction.run_summary import RunTally, Summary
from pixelwise.records import RGB, Bands, ClassList, Labels, Raster, Sample

MASKS = "masks"
CODED = "coded:"  # the parts of masks whose values a table translates
OF_OTHER_MASKS = '"inside"'  # in such a part: of masks that are drawn first


@dataclass(frozen=True)
class LabelMaps:
    """What values in label maps mean."""

    root: Path  # the dataset, or the folder that `predict` wrote
    classes: ClassList
    mask_ids: dict[int, int]  # value → class id or VOID; empty: values are class ids, and 255 is void
    mask_part: str = ""  # how masks that are not plain ids are read
    samples: dict[str, Sample] | None = None  # real path of a mask → its sample
    bands: Bands = RGB

    def sample_of(self, path: Path) -> Sample:
        found = (self.samples or {}).get(os.path.realpath(path))
        return Sample(path.stem, path, path, mask_part=self.mask_part) if found is None else found


def has_label_classes(folder: Path | str) -> bool:
    """Whether this is no model, but a folder that says what label maps mean: a dataset, or results of `predict`."""
    given, folder = str(folder), Path(folder)
    if given in {one.name for one in models()}:  # as everywhere else; ./nuclei is a folder of that name
        return False
    if not folder.is_dir() or any((folder / name).exists() for name in (BUNDLE_NAME, *RUN_MARKS)):
        return False
    places = (folder, *(folder / split for split in ("train", "val", "test")))
    return any((place / name).exists() for place in places for name in (DATASET_TOML, MASKS))


def open_label_maps(folder: Path) -> LabelMaps:
    """What values in the label maps of a folder mean.

    Raises:
        DatasetError: the dataset cannot be opened.
        DataError: what `predict` wrote there declares no classes.
    """
    if (folder / MANIFEST).exists():
        settings = read_settings(folder)
        if settings.classes is None:
            what = f"{shown(folder)}: {DATASET_TOML} declares no classes"
            raise DataError(f"{what}; expected those of its labels. Run predict there with --save labels.")
        return LabelMaps(folder, settings.classes, dict(settings.mask_ids))
    dataset = open_dataset(folder)
    samples = [sample for split in dataset.splits.values() for sample in split if sample.mask is not None]
    coded = [
        one.mask_part for one in samples if one.mask_part.startswith(CODED) and OF_OTHER_MASKS not in one.mask_part
    ]
    return LabelMaps(
        folder,
        dataset.classes,
        dict(dataset.mask_ids),
        max(set(coded), key=coded.count) if coded else "",
        {os.path.realpath(sample.mask): sample for sample in samples if sample.mask is not None},
        dataset.bands,
    )


def measure_label_maps(
    folder: Path,
    maps: Sequence[Path],
    out: Path,
    save: Sequence[str],
    options: ObjectOptions,
    *,
    fresh: bool,
    progress: Callable[[int, int], None],
) -> Summary:
    """Count and measure the objects of finished label maps. Arguments and results as of `count_objects`.

    Raises:
        UsageError: labels or pictures of the image are to be saved, or what only a model knows is asked for; or a class
            that there is not.
        MissingExtraError: a library that is needed is missing.
        DatasetError: the dataset cannot be opened.
        OutputError: `out` cannot be written.
    """
    if others := [key for key in save if not key.startswith("object")]:
        raise UsageError(f"{others[0]}: label maps are finished; only their objects are saved. Leave it out.")
    if options.min_confidence:
        raise UsageError("label maps have no confidence: leave out --min-confidence, or name a model and images.")
    if options.separate == "border":
        raise UsageError("label maps have no learned border: choose --separate distance, or name a model and images.")
    known = open_label_maps(folder)
    check_separations(separations_of(known.classes, options, {}), save)
    found = survey(maps, out, save)
    began = time.perf_counter()
    label_options = LabelOptions(save=tuple(save), objects=options)
    digest = hashlib.sha256(repr((known.classes, known.mask_ids, known.mask_part)).encode()).hexdigest()
    with open_manifest(out, settings_of(digest, known.classes.to_json(), label_options), fresh=fresh) as manifest:
        tally = RunTally(manifest, found.total, strict=False, progress=progress)
        for job in tally.pending(jobs_of(maps, out, found, tally.unlisted, tally.clashing)):
            record = measured_map(known, job, save, options)
            manifest.append(record)
            tally.add(record)
        write_joined(out, known.classes, save)
    progress(found.total, found.total)
    return tally.summary(found, time.perf_counter() - began, digest, "measured")


def measured_map(known: LabelMaps, job: Job, save: Sequence[str], options: ObjectOptions) -> Record:
    """Measure and save the objects of one map, or none of its files. Returns its record, as `label_file` does.

    Raises:
        OutputError: a file cannot be written.
    """
    record: Record = {**names_of(job), "notes": [], "error": None}
    began, modified_ns = time.perf_counter(), modified_at(job.image, job.channels)
    try:
        source = source_of(known, job.image, options)
        grid, lost = place_of(job.image, save)
        objects, _, facts = kept_objects(source, options, {})
        with objects:
            name = name_of_image(job)
            parts = {
                "objects": lambda _: csv_parts(objects.table),
                "objects-parquet": lambda _: parquet_parts(objects.table),
                "objects-geojson": lambda _: polygons(objects, known.classes, name, grid),
                "objects-coco": lambda _: coco_parts(objects, known.classes, name),
                "objectmap": lambda _: map_parts(objects, job.image),
            }
            files = [
                ResultFile(key, path, parts[key], on_map=False)
                for key, path in zip(save, paths_of(job, save), strict=True)
            ]
            write_results(files, None, job.image)
    except OutputError:
        raise
    except Exception as error:  # one bad file costs one file
        return failed(record, error_message(job.image, error))
    return record | {
        "sha256": digest_of(job.image),
        "bytes": job.image.stat().st_size,
        "modified_ns": modified_ns,
        "width": source.size[1],
        "height": source.size[0],
        "milliseconds": {"all": round((time.perf_counter() - began) * 1e3, 3)},
        "saved": [as_text(os.path.relpath(file.path, job.out)) for file in files],
        "notes": lost,
        "objects": facts,
    }


def source_of(known: LabelMaps, path: Path, options: ObjectOptions) -> ObjectSource:
    """A map, read by rows, with its image where the dataset has it. Raises ImageError, MaskError, UsageError."""
    sample = known.sample_of(path)
    has_image = sample.image != path and not has_streamed_image(sample)
    if options.separate == "intensity" and not has_image:
        raise UsageError(
            f"{shown(path)}: no image of it is known, so its objects cannot be separated by intensity. Choose "
            "--separate distance, or name a dataset that has the images."
        )
    number = len(known.classes)
    image: Raster | None = read_sample_image(sample, known.bands) if has_image else None
    size = None if image is None else (image.shape[0], image.shape[1])
    rows: Callable[[slice], Labels]
    large = tiff_size(path) if not sample.mask_part and is_streamed(path) else None
    if large is not None:
        size, rows = large, partial(rows_of_large, sample, known.mask_ids, number, large)
    else:
        labels_HW = read_sample_mask(sample, known.mask_ids, number, size)
        size, rows = (labels_HW.shape[0], labels_HW.shape[1]), labels_HW.__getitem__
    return ObjectSource(
        size,
        known.classes,
        rows,
        None if image is None else image.__getitem__,
        () if image is None else known.bands.names,
        pixel_size=pixel_size(path) or (pixel_size(sample.image) if sample.image != path else None),
    )


def rows_of_large(sample: Sample, mask_ids: dict[int, int], number: int, size: tuple[int, int], rows: slice) -> Labels:
    window = (rows.start, 0, rows.stop - rows.start, size[1])
    return np.asarray(streamed_mask_window(sample, mask_ids, number, size, window), np.uint8)


def polygons(objects: MeasuredObjects, classes: ClassList, name: str, grid: Grid | None) -> Iterator[bytes]:
    """In WGS 84 where the map has a place on the earth, else in pixels."""
    if grid is not None and has_geo() and is_on_earth(grid):
        return placed_objects(objects, classes, name, grid)
    return geojson_parts(objects, classes, name)
