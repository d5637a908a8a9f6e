"""Random edits, undo, redo and operations on classes against a simple model in memory, across reopening."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from PIL import Image

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.labelling import mask_snapshots
from pixelwise.labelling.labelled_image import SOURCES, Edit
from pixelwise.labelling.patch import Patch
from pixelwise.labelling.workspace import Workspace
from pixelwise.records import VOID

SIZE = (9, 11)
WORTH = mask_snapshots.WORTH
Planes = tuple[np.ndarray, np.ndarray]  # keys and `drawn`


class OneImage:
    """The model: every state so far, as whole planes."""

    def __init__(self) -> None:
        self.now: Planes = (np.full(SIZE, VOID, np.uint8), np.zeros(SIZE, np.uint8))
        self.undo: list[Planes] = []
        self.redo: list[Planes] = []
        self.version = 0

    def edit(self, patch: Patch, code: int, locked: set[int]) -> None:
        keys, drawn = (plane.copy() for plane in self.now)
        for row, column in np.argwhere(patch.changed_hw):
            y, x, key = patch.y + row, patch.x + column, patch.values_hw[row, column]
            if int(key) not in locked and int(keys[y, x]) not in locked:
                keys[y, x], drawn[y, x] = key, 0 if key == VOID else code
        if (keys != self.now[0]).any() or (drawn != self.now[1]).any():
            self.undo.append(self.now)
            self.redo, self.now = [], (keys, drawn)
            self.version += 1

    def step(self, source: list[Planes], target: list[Planes]) -> None:
        if source:
            target.append(self.now)
            self.now = source.pop()
            self.version += 1

    def become(self, key: int, other: int) -> None:
        for keys, drawn in (self.now, *self.undo, *self.redo):
            keys[keys == key] = other
            drawn[keys == VOID] = 0


class LabellingMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        photos = Path(self.folder.name) / "photos"
        photos.mkdir()
        for name in ("a.png", "b.png"):
            Image.new("RGB", SIZE[::-1]).save(photos / name)
        self.photos = photos
        self.workspace = Workspace.open(photos, classes=("one", "two", "three"))
        self.ids = [photo.id for photo in self.workspace.photos()]
        self.models = {image_id: OneImage() for image_id in self.ids}
        self.edits = self.names = 0

    def teardown(self) -> None:
        mask_snapshots.WORTH = WORTH
        self.workspace.close()
        self.folder.cleanup()

    @rule(which=st.integers(0, 1), data=st.data(), source=st.sampled_from(sorted(SOURCES)))
    def edit(self, which: int, data: st.DataObject, source: str) -> None:
        x, y = data.draw(st.integers(0, SIZE[1] - 1)), data.draw(st.integers(0, SIZE[0] - 1))
        w, h = data.draw(st.integers(1, SIZE[1] - x)), data.draw(st.integers(1, SIZE[0] - y))
        random = np.random.default_rng(data.draw(st.integers(0, 1000)))
        values = random.choice([*self.workspace.classes.keys, VOID], (h, w)).astype(np.uint8)
        patch = Patch(x, y, values, random.random((h, w)) < 0.6)
        self.edits += 1
        image_id = self.ids[which]
        locked = {one.key for one in self.workspace.classes.classes if one.locked}
        for _ in range(2):  # the same edit twice is applied once
            self.workspace.opened(image_id).apply(Edit(str(self.edits), "brush", VOID, patch, 1.0, source))
        self.models[image_id].edit(patch, SOURCES[source], locked)

    @rule(which=st.integers(0, 1), number=st.integers(1, 4))
    def undo(self, which: int, number: int) -> None:
        model, image = self.models[self.ids[which]], self.workspace.opened(self.ids[which])
        for _ in range(number):
            image.undo()
            model.step(model.undo, model.redo)

    @rule(which=st.integers(0, 1), number=st.integers(1, 3))
    def redo(self, which: int, number: int) -> None:
        model, image = self.models[self.ids[which]], self.workspace.opened(self.ids[which])
        for _ in range(number):
            image.redo()
            model.step(model.redo, model.undo)

    @rule(data=st.data())
    def change_classes(self, data: st.DataObject) -> None:
        keys = self.workspace.classes.keys
        kind = data.draw(st.sampled_from(["add", "merge", "delete", "reorder", "rename", "lock", "unlock"]))
        key = data.draw(st.sampled_from(keys))
        if kind == "add":
            self.names += 1
            self.workspace.add_class(f"new {self.names}")
        elif kind in ("lock", "unlock"):
            self.workspace.lock_class(key, locked=kind == "lock")
        elif kind == "rename":
            self.names += 1
            self.workspace.rename_class(key, f"new {self.names}")
        elif kind == "reorder":
            self.workspace.reorder_classes(data.draw(st.permutations(keys)))
        elif len(keys) > 1:
            into = data.draw(st.sampled_from([other for other in keys if other != key]))
            there = sum(int((model.now[0] == key).sum()) for model in self.models.values())
            merged = kind == "merge"
            use = self.workspace.merge_class(key, into) if merged else self.workspace.delete_class(key)
            assert use.pixels == there
            for model in self.models.values():
                model.become(key, into if merged else VOID)

    @rule(snapshots=st.booleans())
    def reopen(self, snapshots: bool) -> None:
        self.workspace.close()
        mask_snapshots.WORTH = 0 if snapshots else WORTH
        self.workspace = Workspace.open(self.photos)
        assert self.workspace.notes == []

    @rule()
    def derive(self) -> None:
        self.workspace.flush()
        rows = [json.loads(line) for line in self.lines()]
        for image_id, model in self.models.items():
            assert [row["record"] for row in rows if row["id"] == image_id] == list(range(1, model.version + 1))
        names = self.workspace.classes.name_of
        assert all(row["class"] == (names(row["key"]) or None) for row in rows if row["key"] is not None)
        labelled = {f"images/{'ab'[i]}" for i, image_id in enumerate(self.ids) if self.is_labelled(image_id)}
        if not labelled:
            return
        dataset = open_dataset(self.workspace.out)
        assert dataset.classes == self.workspace.classes.class_list()
        samples = [sample for part in dataset.splits.values() for sample in part]
        assert {sample.name for sample in samples} == labelled
        for sample in samples:
            ids = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes))
            keys = np.array([*self.workspace.classes.keys, *[VOID] * 256], np.uint8)[ids]
            assert (keys == self.models[self.ids["ab".index(sample.name[-1])]].now[0]).all()

    def lines(self) -> list[str]:
        path = self.workspace.out / "labels.jsonl"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def is_labelled(self, image_id: str) -> bool:
        return bool((self.models[image_id].now[0] != VOID).any())

    @invariant()
    def the_same(self) -> None:
        for image_id, model in self.models.items():
            image = self.workspace.opened(image_id)
            assert (image.mask_HW == model.now[0]).all()
            assert (image.drawn_HW == model.now[1]).all()
            assert (image.state.version, image.state.undo) == (model.version, len(model.undo))
            assert image.state.redo == len(model.redo)
            counts = np.bincount(model.now[0].ravel(), minlength=256)
            assert (image.counts == counts).all()
            status = self.workspace.status(image_id)
            assert status.state == ("started" if self.is_labelled(image_id) else "untouched")
            assert status.pixels == {key: int(counts[key]) for key in np.flatnonzero(counts) if key != VOID}


TestLabelling = LabellingMachine.TestCase
TestLabelling.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
