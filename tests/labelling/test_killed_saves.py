"""SIGKILL at every file call of a save: what was durable is there, and nothing is applied by half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from killed_saves import CLASSES, edit_of
from PIL import Image

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.images.image_files import read_mask_ids
from pixelwise.labelling.labelled_dataset import mask_path
from pixelwise.labelling.workspace import Workspace
from pixelwise.records import VOID

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the program that is killed is forked")
SIZE = (40, 50)


class Model:
    """One image's labels, as simple as can be: a list of all masks so far."""

    def __init__(self) -> None:
        self.undo: list[np.ndarray] = []
        self.redo: list[np.ndarray] = []
        self.mask = np.full(SIZE, VOID, np.uint8)
        self.history = [self.mask]  # by version

    def step(self, kind: str, number: int = 0) -> None:
        if kind == "edit":
            patch = edit_of(number).patch
            self.undo.append(self.mask)
            self.redo.clear()
            self.mask = self.mask.copy()
            patch.apply(self.mask)
        elif kind == "undo" and self.undo:
            self.redo.append(self.mask)
            self.mask = self.undo.pop()
        elif kind == "redo" and self.redo:
            self.undo.append(self.mask)
            self.mask = self.redo.pop()
        else:
            return
        self.history.append(self.mask)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed") / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", SIZE[::-1], (90, 120, 30)).save(folder / name)
    return folder


def run(photos: Path, folder: Path, numbers: list[int]) -> None:
    folder.mkdir(exist_ok=True)
    program = Path(__file__).with_name("killed_saves.py")
    arguments = [sys.executable, program, photos, folder, *numbers]
    subprocess.run([str(argument) for argument in arguments], check=True, timeout=600)


def calls_of(photos: Path, folder: Path) -> int:
    """The number of file calls where nothing is killed."""
    run(photos, folder, [0])
    last = (folder / "0.txt").read_text().splitlines()[-1].split()
    assert last[0] == "calls"
    return int(last[1])


def check(photos: Path, folder: Path, at: int) -> bool:
    """Compare what is on disk with what the killed program told. Returns whether it was killed."""
    models: dict[str, Model] = {}
    durable: dict[str, int] = {}
    told = (folder / f"{at}.txt").read_text().splitlines()
    for line in told:
        kind, *rest = line.split()
        if kind in ("edit", "undo", "redo"):
            models.setdefault(rest[0], Model()).step(kind, *map(int, rest[1:]))
        elif kind == "durable":
            durable[rest[0]] = int(rest[1])
    begun = any(line.startswith("edit") for line in told)
    with Workspace.open(photos, folder / str(at), () if begun else CLASSES) as workspace:
        number = len(workspace.classes)
        assert f"merge {number}" not in told or f"durable-merge {number - 1}" not in told, at
        assert number == len(CLASSES) or f"merge {number + 1}" in told, at
        table = workspace.classes.resolve()
        names = {photo.id: photo.name for photo in workspace.photos()}
        for image_id, model in models.items():
            image = workspace.opened(image_id)
            assert image.version >= durable.get(image_id, 0), (at, names[image_id])
            assert (image.mask_HW == table[model.history[image.version]]).all(), (at, names[image_id])
            assert ((image.drawn_HW > 0) == (image.mask_HW != VOID)).all()
        if "durable-done" in told:
            assert workspace.status(workspace.photos()[0].id).state == "done"
        workspace.flush()
        assert_derived(workspace)
    return not any(line.startswith("calls") for line in told)


def assert_derived(workspace: Workspace) -> None:
    """Masks, lines and the dataset are as the logs say."""
    rows = [json.loads(line) for line in (workspace.out / "labels.jsonl").read_text().splitlines()] if (
        workspace.out / "labels.jsonl").exists() else []  # fmt: skip
    labelled = 0
    for photo in workspace.photos():
        image = workspace.opened(photo.id)
        numbers = [row["record"] for row in rows if row["id"] == photo.id]
        assert numbers == list(range(1, image.version + 1))
        if not image.labelled:
            assert not mask_path(workspace.out, photo).exists()
            continue
        labelled += 1
        assert (workspace.classes.resolve()[read_mask_ids(mask_path(workspace.out, photo))] == image.mask_HW).all()
    if labelled:
        dataset = open_dataset(workspace.out)
        assert not dataset.problems
        assert sum(len(part) for part in dataset.splits.values()) == labelled


def kills(photos: Path, folder: Path, number: int, every: slice = slice(None)) -> None:
    """Kill at `number` calls, spread over all, of which `every` says which."""
    total = calls_of(photos, folder)
    assert total > number
    chosen = sorted({round(i * total / number) or 1 for i in range(number)})[every]
    run(photos, folder, chosen)
    assert not check(photos, folder, 0)
    killed = sum(check(photos, folder, at) for at in chosen)
    assert killed >= 0.9 * len(chosen)  # the threads' order differs: a few end before their call


def test_killed_at_25_calls(photos: Path, tmp_path: Path) -> None:
    kills(photos, tmp_path / "folders", 25)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
def test_killed_at_200_calls(photos: Path, tmp_path: Path, part: int) -> None:
    kills(photos, tmp_path / "folders", 200, slice(part, None, 5))
