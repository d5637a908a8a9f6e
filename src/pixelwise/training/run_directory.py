"""The run directory: its lock, the recipe and data it was started with, and cleaning up after a killed training.

RUN/recipe.toml     every choice: enough to repeat the run
RUN/fingerprint.json  what was measured in the data, and the reasons of the plan; where the recipe was planned
RUN/data.json       the data's folder, classes, images of each split, and digest
RUN/trace.jsonl     what happened, one event per line
RUN/checkpoints/    the last two, and the weights of the best epoch
RUN/previews/       predicted masks of the same val images after every epoch
RUN/model.onnx      the bundle
RUN/cache/          during training: decoded copies of large images that are no tiled TIFFs
RUN/lock            held while a process trains here
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixelwise.datasets.class_values import Values
from pixelwise.datasets.instances import has_instances, instances_of
from pixelwise.datasets.read_sample import stored_digests
from pixelwise.errors import OutputError, RunLockedError, UsageError
from pixelwise.images.files import real_path, remove_parts
from pixelwise.locks import hold, release
from pixelwise.records import RGB, Dataset, Sample
from pixelwise.training.checkpoint import checkpoints
from pixelwise.training.object_facts import object_facts
from pixelwise.training.recipe import Recipe
from pixelwise.training.time_budget import Budget, show_duration


def choose_recipe(out: Path, recipe: Recipe | None, settings: Mapping[str, Any], resume: bool) -> Recipe | None:
    """The recipe to train with; a resumed run keeps its own. None: it is to be planned, with these settings.

    Raises:
        UsageError: `out` holds a training already, holds none to resume, or holds one with another recipe.
    """
    there = checkpoints(out / "checkpoints")
    if not resume:
        if there or (out / "model.onnx").exists():
            raise UsageError(f"{out}: already holds a training. Resume it with --resume, or choose another --out.")
        return recipe.with_values(dict(settings)) if recipe else None
    if not there:
        raise UsageError(f"{out}: holds no checkpoint to resume from. Leave out --resume to start there.")
    own = Recipe.from_file(out / "recipe.toml")
    if settings:
        recipe = (recipe or own).with_values(dict(settings))
    if recipe is not None and recipe != own:
        different = [name for name, value in vars(own).items() if getattr(recipe, name) != value]
        raise UsageError(
            f"{out}: was started with another recipe (different: {', '.join(different)}). Resume without options that "
            "change the recipe, or start over with another --out."
        )
    return own


def choose_values(out: Path, asked: Values, resume: bool, recorded: str = "data.json") -> Values:
    """How the data are read; a resumed run keeps its own. Raises UsageError if other values are given."""
    if not resume:
        return asked
    own = Values.from_json(json.loads((out / recorded).read_text(encoding="utf-8")).get("values"))
    if asked and asked != own:
        was = own.options() or "no options for masks or bands"
        raise UsageError(
            f"{out}: was started with {was}, not with {asked.options()}. Resume without --class, --void, --masks "
            "and --bands, or start over with another --out."
        )
    return own


@contextmanager
def locked(out: Path, parts: Sequence[str] = ("checkpoints", "previews")) -> Iterator[None]:
    """Lock the run directory for this process; the operating system releases the lock when the process ends.

    Args:
        parts: folders to create inside.

    Raises:
        RunLockedError, OutputError
    """
    try:
        for part in parts:
            (out / part).mkdir(parents=True, exist_ok=True)
        file = hold(out / "lock")
    except OSError as error:
        raise OutputError(f"{out}: cannot be used as run directory: {error.strerror}. Choose another --out.") from error
    if file is None:
        raise RunLockedError(f"{out}: another training is running here. Wait for it, or name another --out.")
    try:
        yield
    finally:
        release(file)


def remove_leftovers(out: Path) -> None:
    """Delete incomplete files of a killed training. The lock must be held."""
    for folder in (out, out / "checkpoints", out / "cache", *(out / "previews").glob("epoch-*")):
        remove_parts(folder)


def describe_data(
    dataset: Dataset, used: Mapping[str, Sequence[Sample]], separate: Sequence[str] = ()
) -> dict[str, Any]:
    """The content of RUN/data.json: where the training data are, their digest, and what their objects are like.

    Args:
        separate: classes whose objects are separated: then instances are part of the digest.
    """
    digest = hashlib.sha256()
    for split, samples in used.items():
        for sample in samples:
            digest.update(f"{split} {sample.name}\n".encode())
            for part in stored_digests(sample):
                digest.update(part)
            if separate and has_instances(sample):
                digest.update(instances_digest(sample))
    objects = {name: facts.size.to_json() for name, facts in object_facts(dataset).items()}
    return {
        "root": str(real_path(dataset.root)),
        "layout": dataset.layout,
        "sha256": digest.hexdigest(),
        "classes": dataset.classes.to_json(),
        "mask_ids": {str(key): value for key, value in dataset.mask_ids.items()},
        **({"bands": dataset.bands.to_json()} if dataset.bands != RGB else {}),
        **({"objects": objects} if objects else {}),
        "notes": list(dataset.notes),
        "splits": {
            split: [
                [
                    sample.name,
                    str(real_path(sample.image)),
                    str(real_path(sample.mask)) if sample.mask else None,
                    *((sample.image_part, sample.mask_part) if sample.image_part or sample.mask_part else ()),
                ]
                for sample in samples
            ]
            for split, samples in used.items()
        },
    }


def instances_digest(sample: Sample) -> bytes:
    """SHA-256 of the object numbers of a sample."""
    objects_HW = instances_of(sample)
    assert objects_HW is not None
    return hashlib.sha256(objects_HW.tobytes()).digest()


def require_same_data(recorded: Path, now: dict[str, Any]) -> None:
    before = json.loads(recorded.read_text(encoding="utf-8"))
    if before["sha256"] != now["sha256"]:
        raise UsageError(
            f"{recorded}: the data changed since this run began (SHA-256 {before['sha256'][:12]}… then, "
            f"{now['sha256'][:12]}… now). Restore them, or start over with another --out."
        )


def require_same_start(recorded: Path, asked: Path | str | None) -> None:
    """Raise UsageError if a resumed run is given other initial weights than its own."""
    own = json.loads(recorded.read_text(encoding="utf-8")).get("start", {}).get("run")
    if asked is not None and str(real_path(Path(asked))) != own:
        raise UsageError(
            f"{recorded.parent}: started from {own or 'published weights'}, not from {asked}. Resume without "
            "--start-from, or start over with another --out."
        )


def require_same_budget(out: Path, own: Budget | None, asked_s: float | None) -> None:
    """Raise UsageError if a resumed run is given another budget than its own."""
    if asked_s is None or (own is not None and own.seconds == asked_s):
        return
    was = f"a budget of {show_duration(own.seconds)}" if own else "no budget"
    raise UsageError(f"{out}: was started with {was}. Resume without --budget, or start over with another --out.")
