"""The verb `count_objects`: images → their objects, counted, measured and summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.errors import UsageError
from pixelwise.images.files import shown
from pixelwise.objects.object_options import AUTO, ObjectOptions
from pixelwise.prediction.label_maps import has_label_classes, measure_label_maps
from pixelwise.prediction.load_model import Model
from pixelwise.prediction.object_summary import PAGE_NAME, SUMMARY_NAME, CountedObjects, write_summary
from pixelwise.prediction.predict import predict
from pixelwise.prediction.run_summary import Summary
from pixelwise.records import OnProgress, no_progress

FORMATS = {
    "csv": "objects",
    "parquet": "objects-parquet",
    "geojson": "objects-geojson",
    "coco": "objects-coco",
    "map": "objectmap",
    "labels": "labels",
    "overlay": "overlay",
}  # name → key of outputs.OUTPUTS


@dataclass(frozen=True)
class ObjectsSummary:
    """The outcome of `count_objects`."""

    counts: tuple[CountedObjects, ...]  # of all files together, by class
    labelled: Summary

    @property
    def exit_code(self) -> int:
        return self.labelled.exit_code

    def to_json(self) -> dict[str, Any]:
        return self.labelled.to_json() | {"objects": [one.row() for one in self.counts]}

    def __str__(self) -> str:
        lines = [str(self.labelled)]
        for one in self.counts:
            text = f"{one.class_name}: {one.number:,} objects, {one.per_megapixel:,.1f} a megapixel"
            if one.area:
                unit = f"{one.unit}²".replace("um", "µm")
                text += (
                    f"; area {one.area[2]:,.5g} {unit} (median), 90 % from {one.area[0]:,.5g} to {one.area[-1]:,.5g}"
                )
            lines.append(text)
        lines.append(f"summary: {shown(self.labelled.out / SUMMARY_NAME)}, {shown(self.labelled.out / PAGE_NAME)}")
        return "\n".join(lines)


def count_objects(
    model: Model | str | Path,
    images: Sequence[Path | str],
    out: Path | str,
    *,
    save: Sequence[str] = ("csv",),
    classes: Sequence[str] = (),
    separate: str = AUTO,
    min_area: float | None = None,
    max_area: float | None = None,
    min_confidence: float = 0,
    drop_edge: bool = False,
    threads: int | None = None,
    fresh: bool = False,
    progress: OnProgress = no_progress,
) -> ObjectsSummary:
    """Count and measure the objects in images: label the images, separate what touches, one row an object.

    Each image gets OUT/NAME.objects.csv; the folder gets objects_summary.csv, with counts, densities and quantiles, and
    objects.html, with histograms. Columns have the names and values of scikit-image's `regionprops`, in pixels; where
    the file states the size of a pixel (OME-TIFF, ImageJ, GeoTIFF, NIfTI), there are more with the unit behind their
    name: `area_um2`, `perimeter_um`. An interrupted run resumes.

    Finished label maps have objects, too: name the folder of a dataset, or one that `predict` wrote, in place of the
    model, and masks in place of images. Intensities and the size of a pixel are then those of the dataset's images.

    Args:
        model: an open model, or what `load` takes; or a folder that says which classes label maps have.
        images: files, folders and globs, as `predict` takes them; or label maps.
        out: folder for the results, created if it does not exist.
        save: besides "csv", which is always written: "parquet", "geojson" (polygons with the measurements), "coco"
            (instances, objects.coco.json), "map" (NAME.objects.tif: object numbers), "labels", "overlay".
        classes: names of the classes whose objects are counted. (): all but the background.
        separate: how touching objects are separated: "auto", "components" (not at all), "distance" (at necks),
            "intensity" (bright or dark centres), "border" (a border that the model learned).
        min_area: smallest area that counts, in pixels. None: a quarter of what 95 % of training's objects exceed, if
            the model knows it; what is smaller is a speck of wrong labels. 0: all count.
        max_area: largest area that counts, in pixels. None: no limit.
        min_confidence: smallest mean confidence that counts, 0–1.
        drop_edge: leave out objects that touch the edge of the image. What is left out is counted in the report.
        threads: CPU threads, as `predict` takes them.
        fresh: start over: delete what an earlier run wrote to `out`.
        progress: called with (images done, total).

    Returns:
        ObjectsSummary: counts and quantiles by class, and the summary of `predict`.

    Raises:
        UsageError: as `predict`; or an unknown format, class or way to separate, or limits that no object meets; or
            of label maps, labels, overlays or a confidence.
        DatasetError: `model` is a dataset that cannot be opened.
        MissingExtraError: touching objects are to be separated, or Parquet written, without the extra `objects`.
        BundleError: the model is corrupt or cannot be run.
        OutputError: `out` cannot be written.

    Example:
        >>> import pixelwise as pw
        >>> found = pw.count_objects("street", ["photo.jpg"], "counted", classes=["car"], separate="components")
        >>> [(one.class_name, one.unit) for one in found.counts]
        [('car', 'px')]
    """
    if unknown := [name for name in save if name not in FORMATS]:
        raise UsageError(f"{unknown[0]!r} is not a file of objects; known: {', '.join(FORMATS)}.")
    chosen = ObjectOptions(tuple(classes), separate, min_area, max_area, min_confidence, drop_edge)
    keys = [FORMATS[name] for name in dict.fromkeys(("csv", *save))]
    if not isinstance(model, Model) and has_label_classes(model):
        labelled = measure_label_maps(
            Path(model), [Path(image) for image in images], Path(out), keys, chosen, fresh=fresh, progress=progress
        )
    else:
        labelled = predict(
            model, images, out, save=keys, objects=chosen, threads=threads, fresh=fresh, progress=progress
        )
    return ObjectsSummary(tuple(write_summary(labelled.out)), labelled)
