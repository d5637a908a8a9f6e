"""Trainings on the labels of a labelling folder: ordinary runs, which also record what they were trained on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelwise.images.files import real_path
from pixelwise.labelling.workspace import Workspace
from pixelwise.server.error_responses import RequestError
from pixelwise.server.run_list import Runs, read_json

LABELS = "labels"  # in a run's request: what was labelled then


def start_training(workspace: Workspace, runs: Runs, wanted: dict[str, Any]) -> str:
    """Train on what is labelled now. Returns the name of the run.

    Args:
        wanted: the request, as POST /v1/runs takes it, without name and folder.

    Raises:
        RequestError: nothing is labelled, or a training is running.
        OutputError: the labels cannot be saved.
    """
    workspace.flush()
    statuses = [workspace.status(photo.id) for photo in workspace.photos()]
    images = sum(status.labelled > 0 for status in statuses)
    keys = {key for status in statuses for key, number in status.pixels.items() if number}
    if images < 2 or len(keys) < 2:
        raise RequestError(
            409, "label-too-few",
            f"{images} images and {len(keys)} classes are labelled; a training takes at least two of each.",
            "Label more.",
        )  # fmt: skip
    labels = {
        "images": images,
        "seconds": round(sum(status.seconds for status in statuses), 1),
        "keys": {one.name: one.key for one in workspace.classes.classes},
    }
    name = free_name(runs)
    runs.start(name, {**wanted, "name": name, "folder": str(real_path(workspace.out)), LABELS: labels})
    return name


def free_name(runs: Runs) -> str:
    return next(name for number in itertools.count(1) if not runs.folder(name := f"labels-{number}").exists())


def trainings_of(workspace: Workspace, runs: Runs) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """The finished runs on the labels of this folder: name, folder, and what was labelled then."""
    out = str(real_path(workspace.out))
    for name in runs.names():
        folder = runs.folder(name)
        labels = labels_of(runs, name, out)
        if labels and (folder / "model.onnx").is_file():
            yield name, folder, labels


def labels_of(runs: Runs, name: str, out: str) -> dict[str, Any]:
    """What was labelled when a run on this folder began; empty for other runs."""
    request = read_json(runs.folder(name) / "page.json").get("request")
    if not isinstance(request, dict) or request.get("folder") != out:
        return {}
    found = request.get(LABELS)
    return found if isinstance(found, dict) else {}
