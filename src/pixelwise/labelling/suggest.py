"""The verb `suggest`: which unlabelled images to label next, and the expected gain.

Labels help most where the model is uncertain (entropy of its calibrated probabilities), on images that differ from the
labelled ones and from each other. The result is a ranking: its images should help more than random ones, by how much
only labelling shows.

Shapes: N images; F features.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pixelwise.datasets.list_dataset import list_dataset
from pixelwise.datasets.read_sample import read_sample_image
from pixelwise.errors import DataError, UsageError
from pixelwise.images.files import real_path, shown
from pixelwise.labelling.labelling_tasks import KINDS, write_tasks
from pixelwise.labelling.learning_curve import Forecast, fit_curve, read_curve, score_of_run
from pixelwise.labelling.novelty import choose, describer
from pixelwise.labelling.uncertainty import UnsureRegion, unsure_regions
from pixelwise.prediction.find_images import suffixes_for
from pixelwise.prediction.load_model import Model, as_input, load
from pixelwise.prediction.predict import images_below
from pixelwise.records import Dataset, Sample
from pixelwise.softmax import entropy, softmax

if TYPE_CHECKING:
    from rich.console import RenderableType

NUMBER = 20  # images to suggest
LISTED = 10  # regions in the terminal output
Item = TypeVar("Item")


@dataclass(frozen=True)
class Suggestion:
    """One image that is worth a label."""

    image: Path
    uncertainty: float  # mean entropy over the image, 0–1
    novelty: float  # distance to the nearest image that is labelled or was suggested before, 0–2
    worth: float  # uncertainty × novelty, by which images are ranked
    regions: tuple[UnsureRegion, ...]  # where to look first

    def to_json(self) -> dict[str, Any]:
        return {"image": shown(self.image), "uncertainty": self.uncertainty, "novelty": self.novelty,
                "worth": self.worth, "regions": [region.to_json() for region in self.regions]}  # fmt: skip


@dataclass(frozen=True)
class Suggestions:
    """The result of `suggest`, the most useful image first."""

    chosen: tuple[Suggestion, ...]
    considered: int
    failed: tuple[tuple[Path, str], ...]  # images that cannot be read, and why
    labelled: int  # labelled images with which the others were compared
    mean_uncertainty: float  # of all considered images
    forecast: Forecast | None  # the expected gain; None without measured scores
    measured: tuple[tuple[int, float], ...]  # the scores behind it: training images, mIoU
    tasks: Path | None  # the folder written for the labelling tool

    @property
    def regions(self) -> list[tuple[float, Suggestion, UnsureRegion]]:
        """The regions of the suggested images, the most useful first: worth, image, region.

        Worth is the region's uncertainty × its image's novelty.
        """
        found = [
            (region.uncertainty * image.novelty, image, region) for image in self.chosen for region in image.regions
        ]
        return sorted(found, key=lambda row: -row[0])

    def to_json(self) -> dict[str, Any]:
        return {
            "suggestions": [suggestion.to_json() for suggestion in self.chosen],
            "regions": [{"image": shown(image.image), "worth": worth, **region.to_json()}
                        for worth, image, region in self.regions],
            "considered": self.considered,
            "failed": [{"image": shown(path), "message": message} for path, message in self.failed],
            "labelled": self.labelled,
            "mean_uncertainty": self.mean_uncertainty,
            "forecast": self.forecast.to_json() if self.forecast else None,
            "measured": [{"images": images, "miou": score} for images, score in self.measured],
            "tasks": shown(self.tasks) if self.tasks else None,
        }  # fmt: skip

    def to_rich(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        from pixelwise.evaluation.report_text import table_of

        table = table_of("image", "worth", "uncertainty", "novelty")
        for suggestion in self.chosen:
            numbers = (suggestion.worth, suggestion.uncertainty, suggestion.novelty)
            table.add_row(shown(suggestion.image), *(f"{number:.3f}" for number in numbers))
        places = table_of("image", "worth", "x,y", "size", "confused classes")
        for worth, suggestion, region in self.regions[:LISTED]:
            places.add_row(shown(suggestion.image), f"{worth:.3f}", f"{region.x},{region.y}",
                           f"{region.width}×{region.height}", " and ".join(region.between))  # fmt: skip
        lines = [f"{self.considered:,} images considered, mean uncertainty {self.mean_uncertainty:.3f}; novelty is "
                 + (f"relative to {self.labelled:,} labelled images." if self.labelled else
                    "among these images only: give labelled images with --labelled.")]  # fmt: skip
        if self.forecast:
            f = self.forecast
            sizes = ", ".join(f"{images}: {score:.1%}" for images, score in self.measured)
            lines.append(
                f"Expected gain from {f.images} more images of the same kind: {f.gain * 100:+.2f} points of mIoU (90 % "
                f"range {f.low * 100:+.2f} to {f.high * 100:+.2f}). Measured: {sizes}."
            )
        else:
            lines.append("The expected gain is not known: give scores at three training sizes (--run or --curve).")
        if self.tasks:
            lines.append(f"Tasks with the model's masks to correct: {shown(self.tasks)}.")
        lines += [f"skipped: {message}" for _, message in self.failed]
        parts: list[RenderableType] = [Text("Label these images next"), table, Text()]
        if self.regions:
            parts += [
                Text("Start with these regions, or label only them"),
                places,
                Text(),
            ]
        return Group(*parts, *(Text(line) for line in lines))


def suggest(
    model: Model | str | Path,
    images: Sequence[Path | str],
    *,
    number: int = NUMBER,
    labelled: Dataset | str | Path | None = None,
    runs: Sequence[Path | str] = (),
    curve: Path | str | None = None,
    out: Path | str | None = None,
    tasks: str = "cvat",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Suggestions:
    """Suggest which images to label next: those of which the model is least sure and that are least like labelled ones.

    Args:
        model: an open model, or what `load` takes.
        images: unlabelled images: files and folders.
        number: number of images to suggest.
        labelled: a dataset that is already labelled, or its folder; similar images are ranked lower. None: none.
        runs: run directories of trainings on fewer images with the same val split, for the learning curve.
        curve: CSV file with the columns images and miou, for the learning curve. None: none.
        out: new folder for a labelling tool: the images, and tasks with the model's masks to correct. None: none.
        tasks: labelling tool: "cvat" or "labelstudio".
        progress: called with (images done, total).

    Returns:
        Suggestions: the images in order of their worth, the regions to look at, and the expected gain in mean IoU.

    Raises:
        UsageError: no images, a number below 1, an unknown tool, or too few scores for a curve. Nothing was written.
        DataError: none of the images can be read.
        BundleError: the model is corrupt or cannot be run.
        OutputError: `out` is not empty or cannot be written.

    Example:
        >>> import pixelwise as pw
        >>> found = pw.suggest("street", ["unlabelled"], number=1, labelled="my_data")
        >>> len(found.chosen), found.considered
        (1, 2)
    """
    if number < 1:
        raise UsageError(f"the number of images to suggest is {number}; expected 1 or more.")
    if tasks not in KINDS:
        raise UsageError(f"{tasks!r} is not a known labelling tool; expected one of: {', '.join(KINDS)}.")
    measured = [*(score_of_run(Path(run)) for run in runs), *(read_curve(Path(curve)) if curve else [])]
    fitted = fit_curve(measured) if measured else None  # fails before the long work
    opened = model if isinstance(model, Model) else load(model)
    bands, describe = opened.metadata.bands, describer(opened)
    paths = listed(images, Path(out) if out else None, suffixes_for(bands))
    known = known_samples(labelled)
    files = {real_path(sample.image) for sample in known}
    paths = [path for path in paths if real_path(path) not in files]
    if not paths:
        raise UsageError("all of these images are labelled already. Give others.")
    total = len(paths) + len(known)
    labelled_LF = [describe(read_sample_image(sample, bands))[1] for sample in with_progress(known, progress, 0, total)]
    uncertainty, described, regions, kept, failed = [], [], [], [], []
    for path in with_progress(paths, progress, len(known), total):
        try:
            image_HWN = as_input(path, bands)
        except DataError as error:
            failed.append((path, str(error)))
            continue
        prediction, description = describe(image_HWN)
        probability_Chw = softmax(prediction.scores, prediction.temperature)
        uncertainty.append(float(entropy(probability_Chw.astype(np.float64)).mean()))
        regions.append(unsure_regions(probability_Chw, image_HWN.shape[0], image_HWN.shape[1], opened.classes))
        described.append(description)
        kept.append(path)
    progress(total, total)
    if not kept:
        raise DataError("none of the images can be read:\n" + "\n".join(f"  {message}" for _, message in failed))
    features = len(described[0])
    ranked = choose(np.array(uncertainty), np.stack(described), np.array(labelled_LF).reshape(-1, features), number)
    chosen = tuple(Suggestion(kept[i], uncertainty[i], novelty, worth, regions[i]) for i, novelty, worth in ranked)
    if out:
        write_tasks(opened, [suggestion.image for suggestion in chosen], Path(out), tasks)
    return Suggestions(
        chosen=chosen,
        considered=len(kept),
        failed=tuple(failed),
        labelled=len(known),
        mean_uncertainty=float(np.mean(uncertainty)),
        forecast=fitted.forecast(len(chosen)) if fitted else None,
        measured=fitted.measured if fitted else (),
        tasks=Path(out) if out else None,
    )


def with_progress(
    items: Iterable[Item], progress: Callable[[int, int], None], before: int, total: int
) -> Iterator[Item]:
    """The items, with progress reported before each."""
    for done, item in enumerate(items):
        progress(before + done, total)
        yield item


def listed(images: Sequence[Path | str], out: Path | None, suffixes: tuple[str, ...]) -> list[Path]:
    """All images in these files and folders, each once, in order. Raises UsageError where there are none."""
    paths = [Path(image) for image in images]
    missing = [shown(path) for path in paths if not path.exists()]
    if missing:
        raise UsageError(f"no such file or folder: {', '.join(missing[:5])}. Check the path.")
    found: dict[Path, Path] = {}
    for path in paths:
        for image in images_below(path, out or Path(os.devnull), suffixes) if path.is_dir() else [path]:
            found.setdefault(real_path(image), image)
    if not found:
        kinds = ", ".join(suffixes)
        raise UsageError(f"no images found. Give image files ({kinds}) or folders of them.")
    return list(found.values())


def known_samples(labelled: Dataset | str | Path | None) -> list[Sample]:
    """The samples of a dataset that have masks, in order."""
    if labelled is None:
        return []
    splits = labelled.splits if isinstance(labelled, Dataset) else list_dataset(labelled).listing.splits
    return [sample for samples in splits.values() for sample in samples if sample.mask]
