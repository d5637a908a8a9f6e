"""Before the first step: check the data, read and count them, and build a network that is not trained yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pixelwise.doctor.findings import find_problems, require_sound, without_bad
from pixelwise.errors import UsageError
from pixelwise.model.preprocess import LARGE_PIXELS, Preprocess
from pixelwise.records import RGB, ClassList, Dataset, Sample
from pixelwise.trace_events import Listener
from pixelwise.training.band_ranges import with_ranges
from pixelwise.training.data_summary import Progress, data_event, pixels_as_seen, show_flow
from pixelwise.training.disk_copies import DiskCopies
from pixelwise.training.export_run import bands_of, samples_of
from pixelwise.training.loader import Pairs
from pixelwise.training.loop import EpochData
from pixelwise.training.recipe import Recipe
from pixelwise.training.training_state import CPU, Training, start
from pixelwise.training.true_objects import TrueObjects
from pixelwise.training.validate import Validation

NAMED_BLANKS = 3  # images


@dataclass(frozen=True)
class CheckedData:
    """A dataset whose train and val splits can be trained on."""

    dataset: Dataset
    problems: list[dict[str, Any]]  # including those of pairs that were left out
    large_val: bool = False  # whether the val split has images that may be read in windows

    @property
    def used(self) -> dict[str, tuple[Sample, ...]]:
        """The splits that a training reads."""
        return {split: self.dataset.splits[split] for split in ("train", "val")}


def check_data(dataset: Dataset, skip_bad: bool, progress: Progress) -> CheckedData:
    """Check the splits that a training reads, and measure the ranges of their bands.

    Raises:
        DatasetError: there are broken pairs, which are listed, and `skip_bad` is not set.
    """
    findings = find_problems(dataset, ["train", "val"], lambda done, total: progress("checking the data", done, total))
    if skip_bad:
        dataset = without_bad(dataset, findings)
    else:
        require_sound(findings)
    dataset = with_ranges(dataset, lambda done, total: progress("measuring the bands", done, total))
    largest = findings.splits["val"].largest or (0, 0)
    large_val = largest[0] * largest[1] > LARGE_PIXELS
    return CheckedData(dataset, [vars(problem) for problem in findings.problems], large_val)


def prepare(
    checked: CheckedData,
    recipe: Recipe,
    copies: DiskCopies,
    tell: Listener,
    progress: Progress,
    device: torch.device = CPU,
) -> tuple[Training, EpochData]:
    """Load the images, report what is in them, and build the network.

    Args:
        copies: where copies of large images are kept.

    Raises:
        UsageError: a setting that is for RGB images only, with images of other bands.
    """
    dataset = checked.dataset
    for name in ("stain", "tint"):
        if (share := getattr(recipe, name)) and dataset.bands != RGB:
            raise UsageError(
                f"{name} = {share:g} changes the colours of RGB images, but these have {len(dataset.bands)} bands: "
                f"{', '.join(dataset.bands.names[:12])}. Leave it out (--set {name}=0)."
            )
    pairs, val_pairs = pairs_of(dataset, recipe, copies)
    pixels_C = pixels_as_seen(pairs, recipe, len(dataset.classes), progress)
    if checked.large_val:  # their copies are written now: a full disk should not end a long training
        for index in range(len(val_pairs)):
            val_pairs[index]
            progress("loading validation images", index + 1, len(val_pairs))
    if recipe.also_val:
        note = "Trained on too (also_val): the val split. Its scores are too high, and the last epoch is kept."
        dataset = replace(dataset, notes=(*dataset.notes, note))
    dataset = replace(dataset, notes=(*dataset.notes, *blanks_in_words(pairs)))
    tell(data_event(dataset, checked.used, pixels_C, checked.problems))
    training, data = build_training(recipe, dataset.classes, (pairs, val_pairs), pixels_C, device)
    show_flow(training.network, data.validation.preprocess, pairs, dataset, tell)
    return training, data


def build_training(
    recipe: Recipe, classes: ClassList, pairs: tuple[Pairs, Pairs], pixels_C: Sequence[int], device: torch.device
) -> tuple[Training, EpochData]:
    """An untrained network, and the data of its epochs.

    Args:
        pairs: those to train on, and those to validate on.
        pixels_C: pixels of each class at the network's input size.
    """
    bands = pairs[0].bands
    training = start(recipe, len(classes), device, bands)
    network = training.network
    preprocess = Preprocess(recipe.size, recipe.policy, network.mean, network.std, recipe.even_exposure, bands)
    return training, EpochData(pairs[0], pixels_C, Validation(pairs[1], preprocess, classes))


def blanks_in_words(pairs: Pairs) -> list[str]:
    """Which training images have blank areas with structure in their masks, as a note; empty if none has."""
    if not pairs.blank_shares:
        return []
    largest = sorted(pairs.blank_shares, key=lambda index: -pairs.blank_shares[index])
    named = ", ".join(f"{pairs.samples[i].image.name} ({pairs.blank_shares[i]:.0%})" for i in largest[:NAMED_BLANKS])
    more = f" and {len(largest) - NAMED_BLANKS:,} more" if len(largest) > NAMED_BLANKS else ""
    return [
        f"Plain white or black areas whose masks go on as if something were there: {named}{more}. Nobody could learn "
        "these labels, so training takes each area's most frequent class for all of it. Scores count the masks as "
        "given."
    ]


def pairs_of(dataset: Dataset, recipe: Recipe, copies: DiskCopies) -> tuple[Pairs, Pairs]:
    """The pairs to train on (with `also_val` the val split too), and those to validate on."""
    splits = dataset.splits
    fitted = (*splits["train"], *splits["val"]) if recipe.also_val else splits["train"]
    train_pairs, val_pairs = (
        Pairs(samples, dataset.mask_ids, len(dataset.classes), recipe.cache_mb, copies, dataset.bands)
        for samples in (fitted, splits["val"])
    )
    if recipe.separate:
        ids = tuple(map(dataset.classes.names.index, recipe.separate))
        room_bytes = train_pairs.room_bytes // 4  # beside that of the images and masks
        train_pairs.objects = TrueObjects(train_pairs.samples, ids, copies, room_bytes)
    train_pairs.without_blanks = True
    train_pairs.overviews = recipe.policy != "native"
    return train_pairs, val_pairs


def dataset_from_manifest(manifest: dict[str, Any]) -> Dataset:
    """The dataset that `describe_data` recorded."""
    return Dataset(
        Path(manifest["root"]),
        manifest["layout"],
        ClassList.from_json(manifest["classes"]),
        {split: samples_of(rows) for split, rows in manifest["splits"].items()},
        {int(key): value for key, value in manifest["mask_ids"].items()},
        tuple(manifest["notes"]),
        bands=bands_of(manifest),
    )
