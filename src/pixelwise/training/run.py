"""A training as its user starts it: folder in, run directory out.

RUN/recipe.toml     everything that repeats the run
RUN/data.json       where the data lie, which classes, which image in which split, and their digest
RUN/trace.jsonl     what happened, one event a line
RUN/checkpoints/    the last two, and the weights of the best epoch
RUN/previews/       the same held-out images' masks after every epoch
RUN/model.onnx      the bundle
RUN/lock            held while a process trains here
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from pixelwise.data.doctor import find_problems, require_sound, without_bad
from pixelwise.data.files import write_whole
from pixelwise.data.folder import hashed_split, open_dataset
from pixelwise.data.loader import Pairs
from pixelwise.data.sources import read_sample_image, stored_digests
from pixelwise.errors import DatasetError, DivergedError, OutputError, RunLockedError, UsageError
from pixelwise.model.network import Network
from pixelwise.model.preprocess import Preprocess, labels_from_scores, network_size, resize_scores
from pixelwise.records import VOID, Dataset, Sample
from pixelwise.tracing.flow import STAGES, coloured, flow_event
from pixelwise.tracing.recorder import Event, Listener, nobody, to_all, to_file
from pixelwise.training import loop
from pixelwise.training.checkpoint import checkpoints
from pixelwise.training.finish import export
from pixelwise.training.recipe import Recipe
from pixelwise.training.validate import Validation, seen_mask

Progress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    run: Path
    bundle: Path
    best_epoch: int
    best_miou: float
    epochs: tuple[Event, ...]
    seconds: float  # of this process, set-up and export included


def train(
    data: Path | str,
    out: Path | str,
    recipe: Recipe | None = None,
    *,
    resume: bool = False,
    skip_bad: bool = False,
    tell: Listener = nobody,
    progress: Progress = lambda what, done, total: None,
) -> Trained:
    """Train on the folder `data`, into the run directory `out`, which ends with a bundle.

    Args:
        recipe: how; on `resume` the run's own recipe is used and this must be None or equal to it.
        resume: go on from the last checkpoint in `out`.
        skip_bad: leave out pairs that are broken instead of refusing the dataset.
        tell: hears every trace event, as RUN/trace.jsonl does.

    Raises:
        DatasetError: the data are not sound; every problem is named.
        UsageError: `out` already holds a training, or holds none to resume.
        RunLockedError: another process trains in `out`.
        DivergedError: the loss stopped being a number.
        OutputError: `out` cannot be written.
    """
    began = time.perf_counter()
    out = Path(out)
    recipe = choose_recipe(out, recipe, resume)
    dataset = with_validation(open_dataset(data, seed=recipe.seed), recipe.seed)
    with locked(out):
        tell = to_all(to_file(out / "trace.jsonl"), tell)
        used = {split: dataset.splits[split] for split in ("train", "val")}
        findings = find_problems(dataset, list(used), lambda done, total: progress("checking the data", done, total))
        if skip_bad:
            dataset = without_bad(dataset, findings)
            used = {split: dataset.splits[split] for split in ("train", "val")}
        else:
            require_sound(findings)
        manifest = describe_data(dataset, used)
        if resume:
            require_same_data(out / "data.json", manifest)
        else:
            write_whole(out / "recipe.toml", recipe.to_toml().encode())
            write_whole(out / "data.json", (json.dumps(manifest, indent=1) + "\n").encode())

        classes = len(dataset.classes)
        pairs = {name: Pairs(samples, dataset.mask_ids, classes, recipe.cache_mb) for name, samples in used.items()}
        pixels_C = pixels_as_seen(pairs["train"], recipe, classes, progress)
        problems = [vars(problem) for problem in findings.problems]
        tell(data_event(dataset, used, pixels_C, problems))

        training = loop.start(recipe, classes)
        if resume:
            loop.restore(training, checkpoints(out / "checkpoints")[-1])
        network = training.network
        preprocess = Preprocess(recipe.size, recipe.policy, network.mean, network.std, recipe.even_exposure)
        validation = Validation(pairs["val"], preprocess, dataset.classes)
        show_flow(network, preprocess, pairs["train"], dataset, tell)
        try:
            loop.run_epochs(training, dataset, pixels_C, pairs["train"], validation, recipe, out, tell, progress)
        except (KeyboardInterrupt, DivergedError) as reason:
            tell({"event": "stop", "reason": type(reason).__name__, "message": str(reason), "epoch": training.epoch})
            raise
        bundle = export(out, validation=validation, tell=tell)
        tell({"event": "stop", "reason": "finished", "epoch": training.epoch})
    seconds = time.perf_counter() - began
    return Trained(out, bundle, training.best_epoch, training.best_miou, tuple(training.history or ()), seconds)


def choose_recipe(out: Path, recipe: Recipe | None, resume: bool) -> Recipe:
    """The recipe to train by: the run's own when it is resumed, never a silent mixture of two."""
    there = checkpoints(out / "checkpoints")
    if not resume:
        if there or (out / "model.onnx").exists():
            raise UsageError(f"{out}: already holds a training. Go on with --resume, or name another --out.")
        return recipe or Recipe()
    if not there:
        raise UsageError(f"{out}: holds no checkpoint to resume from. Leave out --resume to start there.")
    own = Recipe.from_file(out / "recipe.toml")
    if recipe is not None and recipe != own:
        different = [name for name, value in vars(own).items() if getattr(recipe, name) != value]
        raise UsageError(
            f"{out}: was started with another recipe (different: {', '.join(different)}). Resume without options that "
            "change the recipe, or start anew with another --out."
        )
    return own


def with_validation(dataset: Dataset, seed: int) -> Dataset:
    """A dataset that has something to validate on: a fifth of the training split where no val split is given.

    Raises:
        DatasetError: there is nothing to train on, or too little to hold anything out.
    """
    train_samples = dataset.splits.get("train", ())
    if not train_samples:
        raise DatasetError(
            f"{dataset.root}: no training pairs; the splits are: {', '.join(dataset.splits) or 'none'}. Expected "
            "train/images and train/masks, or images/ and masks/.",
            dataset.problems,
        )
    if dataset.splits.get("val"):
        return dataset
    kept, held_out = hashed_split(train_samples, seed, 0.2)
    if not kept or not held_out:
        raise DatasetError(
            f"{dataset.root}: {len(train_samples)} pair is too few to train on: at least one to learn from and one to "
            "check on are needed. Add labelled images.",
            dataset.problems,
        )
    note = f"No val split: {len(held_out)} of {len(train_samples)} training pairs are held out (seed {seed})."
    splits = {**dataset.splits, "train": tuple(kept), "val": tuple(held_out)}
    return replace(dataset, splits=splits, notes=(*dataset.notes, note))


HELD_LOCKS: set[TextIO] = set()


def let_go_of_locks() -> None:
    """In a loader worker just forked: a lock lives until its last copy is closed, and a worker may outlive a killed
    training by seconds."""
    while HELD_LOCKS:
        HELD_LOCKS.pop().close()


os.register_at_fork(after_in_child=let_go_of_locks)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the run directory for this process; the operating system lets go when the process ends, however it ends.

    Raises:
        RunLockedError, OutputError
    """
    try:
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
        file = (out / "lock").open("a")
    except OSError as error:
        raise OutputError(f"{out}: cannot be used as run directory: {error.strerror}. Name another --out.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunLockedError(
                f"{out}: another training is running here. Wait for it, or name another --out."
            ) from error
        HELD_LOCKS.add(file)
        try:
            yield
        finally:
            HELD_LOCKS.discard(file)


def describe_data(dataset: Dataset, used: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """What the run was trained on, so that it can be found and recognised again."""
    digest = hashlib.sha256()
    for split, samples in used.items():
        for sample in samples:
            digest.update(f"{split} {sample.name}\n".encode())
            for part in stored_digests(sample):
                digest.update(part)
    return {
        "root": str(dataset.root.resolve()),
        "layout": dataset.layout,
        "sha256": digest.hexdigest(),
        "classes": dataset.classes.to_json(),
        "mask_ids": {str(key): value for key, value in dataset.mask_ids.items()},
        "notes": list(dataset.notes),
        "splits": {
            split: [
                [
                    sample.name,
                    str(sample.image.resolve()),
                    str(sample.mask.resolve()) if sample.mask else None,
                    *((sample.image_part, sample.mask_part) if sample.image_part or sample.mask_part else ()),
                ]
                for sample in samples
            ]
            for split, samples in used.items()
        },
    }


def require_same_data(recorded: Path, now: dict[str, Any]) -> None:
    before = json.loads(recorded.read_text(encoding="utf-8"))
    if before["sha256"] != now["sha256"]:
        raise UsageError(
            f"{recorded}: the data changed since this run began (SHA-256 {before['sha256'][:12]}… then, "
            f"{now['sha256'][:12]}… now). Put them back as they were, or start anew with another --out."
        )


def pixels_as_seen(pairs: Pairs, recipe: Recipe, classes: int, progress: Progress) -> list[int]:
    """Pixels of each class at the network's input size, where thin things may have vanished."""
    counts = np.zeros(256, np.int64)
    for index in range(len(pairs)):
        mask_HW = pairs[index][1]
        size = network_size(mask_HW.shape[0], mask_HW.shape[1], recipe.size, recipe.policy)
        counts += np.bincount(seen_mask(mask_HW, size).ravel(), minlength=256)
        progress("loading images", index + 1, len(pairs))
    return [int(count) for count in counts[:classes]]


def data_event(
    dataset: Dataset, used: Mapping[str, Sequence[Sample]], pixels_C: Sequence[int], problems: list[dict[str, Any]]
) -> Event:
    """What the network will see of each class, and a warning by name for each class that it will not see at all."""
    names = dataset.classes.names
    warnings = [
        f"class {name} has no pixels at the network's size: it cannot be learnt"
        for name, pixels in zip(names, pixels_C, strict=True)
        if pixels == 0
    ]
    return {
        "event": "data",
        "root": str(dataset.root),
        "layout": dataset.layout,
        "pairs": {split: len(samples) for split, samples in used.items()},
        "classes": dataset.classes.to_json(),
        "pixels": dict(zip(names, pixels_C, strict=True)),
        "warnings": warnings,
        "problems": problems,
        "notes": list(dataset.notes),
    }


@torch.inference_mode()
def show_flow(network: Network, preprocess: Preprocess, pairs: Pairs, dataset: Dataset, tell: Listener) -> None:
    """Send one training image through the four stages and tell what passed, before the first epoch."""
    network.eval()
    mask_HW = pairs[0][1]
    opened = time.perf_counter()
    image_HW3 = read_sample_image(pairs.samples[0])
    began = time.perf_counter()
    seen_13hw = preprocess(torch.from_numpy(image_HW3)[None])
    preprocessed = time.perf_counter()
    size = (seen_13hw.shape[2], seen_13hw.shape[3])
    scores_1Chw = resize_scores(network(seen_13hw), size)
    scored = time.perf_counter()
    labels_hw = labels_from_scores(scores_1Chw, size)[0].numpy()
    labelled = time.perf_counter()
    picture = ((seen_13hw * preprocess.std + preprocess.mean) * 255).round().clamp(0, 255)[0].permute(1, 2, 0)
    picture_hw3 = picture.to(torch.uint8).numpy()
    name = pairs.samples[0].name
    tell(flow_event(STAGES[0], image_HW3, 1e3 * (began - opened), picture=image_HW3, image=name))
    seen_hw3 = picture_hw3.astype(np.float32) / 255
    tell(flow_event(STAGES[1], seen_hw3, 1e3 * (preprocessed - began), picture=picture_hw3, image=name))
    scores_hwC = scores_1Chw[0].permute(1, 2, 0).numpy()
    tell(flow_event(STAGES[2], scores_hwC, 1e3 * (scored - preprocessed), image=name, classes=len(dataset.classes)))
    mask = coloured(labels_hw, dataset.classes)
    labelled_share = float((mask_HW != VOID).mean())
    tell(
        flow_event(
            STAGES[3], labels_hw, 1e3 * (labelled - scored), picture=mask, image=name, labelled_share=labelled_share
        )
    )
