"""The folders of data that the page has open: their pictures, and the work on them.

What a person decides goes into the folder of runs, never into the data: decisions on labels as one file a folder,
repaired copies as new folders.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.doctor.check import check, examine
from pixelwise.doctor.label_decisions import (
    LabelDecision,
    What,
    read_decisions,
    region_in,
    runs_of,
    values_of,
    write_decisions,
)
from pixelwise.doctor.label_errors import ExaminedImage, examined_images
from pixelwise.doctor.repair_questions import answers_of, repair_questions
from pixelwise.errors import PixelwiseError, UsageError
from pixelwise.images.files import shown
from pixelwise.metrics.confusion import count_pairs, scores
from pixelwise.metrics.error_types import LISTED
from pixelwise.records import VOID, Sample
from pixelwise.server.data_folders import REPAIRED
from pixelwise.server.error_responses import RequestError
from pixelwise.server.gallery.folder_job import FolderJob, Kind
from pixelwise.server.gallery.opened_folder import OpenedFolder, ScoredFolder, SuspectedRegion
from pixelwise.server.gallery.sample_thumbnails import View, thumbnail_jpeg
from pixelwise.server.labelling.pyramid_cache import ThumbnailCache
from pixelwise.server.model_cache import CachedModel, ModelCache

OPEN_AT_A_TIME = 4
KEPT_THUMBNAILS = 12_000  # of some 8 kB each, for all folders together
CALM_S = 0.3  # without a picture being asked for, before long work goes on
DECISIONS = "label-decisions.jsonl"


class Gallery:
    """One folder with its work. Thread-safe."""

    def __init__(
        self, folder: OpenedFolder, runs: Callable[[], Path], models: ModelCache, is_busy: Callable[[], bool]
    ) -> None:
        self.folder, self.runs, self.models, self.is_busy = folder, runs, models, is_busy
        self.lock = threading.Lock()
        self.jobs: dict[Kind, FolderJob] = {}

    @property
    def running(self) -> FolderJob | None:
        return next((job for job in self.jobs.values() if job.state == "running"), None)

    def begin(self, kind: Kind, work: Callable[[FolderJob], dict[str, Any]]) -> FolderJob:
        """Start work. Raises RequestError: other work is going on."""
        with self.lock:
            if (other := self.running) is not None:
                if other.kind == kind:
                    return other
                raise RequestError(
                    409, "work-already", f"This folder is busy: {other.step or other.kind}.", "Stop it, or wait."
                )
            job = self.jobs[kind] = FolderJob(kind, work, self.is_busy)
            job.start()
            return job

    def stop(self) -> None:
        for job in self.jobs.values():
            job.stop()

    def check(self) -> FolderJob:
        """Read every pair, and list what is wrong."""

        def work(job: FolderJob) -> dict[str, Any]:
            self.folder.opened.wait()
            self.folder.take_check(examine(self.folder.root, job.progress))
            return {}

        return self.begin("check", work)

    def score(self, name: str) -> FolderJob:
        """Show every image to a model: a score for each, and suspected label errors. What is found stays if stopped."""
        opened = self.models.get(name)

        return self.begin("score", lambda job: self._score(job, opened))

    def _score(self, job: FolderJob, opened: CachedModel) -> dict[str, Any]:
        folder = self.folder
        folder.opened.wait()
        dataset = folder.dataset
        if dataset is None:
            raise UsageError("these images have no masks that can be read, so there is nothing to compare with.")
        splits: dict[str, list[Sample]] = {split: [] for split in dataset.splits}
        places = []
        for place, (split, sample) in enumerate(folder.samples):
            sound = all(problem.severity != "error" for problem in folder.problems_of(place))
            if sound and sample.mask is not None:
                splits[split].append(sample)
                places.append(place)
        found = ScoredFolder(opened.name, self.models.title_of(opened.name))
        for done, one in enumerate(examined_images(dataset, splits, opened.model), start=1):
            folder.scored = found  # only now: the model fits the data
            if one is not None:
                if not math.isnan(miou := miou_of(one)):  # else all of it is void
                    found.miou[places[done - 1]] = miou
                found.regions = with_regions(found.regions, one)
            job.progress(f"running {found.title} on every image", done, len(places))
        return {"images": len(found.miou), "suspects": len(found.regions)}

    def repair(self, answers: Mapping[str, Any]) -> FolderJob:
        """Write the repaired copy. Raises RequestError: an answer does not fit."""
        checked = self.folder.checked
        if checked is None:
            raise RequestError(409, "check-first", "This folder has not been checked yet.", "Wait until it is checked.")
        decided = str(self.decisions_path) if self.decisions() else None
        try:
            given = answers_of(repair_questions(checked.diagnosis), answers, decided)
        except UsageError as error:
            raise RequestError(422, "answer-invalid", str(error), "Answer the questions again.") from error

        def work(job: FolderJob) -> dict[str, Any]:
            runs = self.runs()
            runs.mkdir(parents=True, exist_ok=True)
            out = free_copy(runs, self.folder.key)
            report = check(
                self.folder.root, fix=out, decisions=given.decisions, classes=given.classes or None, void=given.void,
                progress=job.progress,
            )  # fmt: skip
            return {
                "path": shown(out), "name": out.name, "pairs": report.pairs - report.left_out,
                "left_out": report.left_out, "copy_problems": [str(problem) for problem in report.copy_errors[:20]],
            }  # fmt: skip

        return self.begin("repair", work)

    @property
    def decisions_path(self) -> Path:
        """The file of decisions about this very folder."""
        of_root = hashlib.sha256(os.fsencode(self.folder.root)).hexdigest()[:8]
        return self.runs() / f"{self.folder.key}_{of_root}_{DECISIONS}"

    def decisions(self) -> list[LabelDecision]:
        """Raises RequestError: the file is damaged."""
        try:
            return read_decisions(self.decisions_path)
        except UsageError as error:
            raise RequestError(409, "decisions-unreadable", str(error), "Repair the file, or remove it.") from error

    def decide(self, number: int, what: What | None, to: str) -> None:
        """Keep what a person decided on a suspected label error; None: take it back. Raises RequestError."""
        region = self.region(number)
        suspect = region.suspect
        dataset = self.folder.dataset
        assert dataset is not None
        if what == "relabel" and to not in dataset.classes.names:
            raise RequestError(
                422,
                "class-unknown",
                f"{to!r} is no class of these data.",
                f"Expected one of {', '.join(dataset.classes.names)}.",
            )
        becomes = to if what == "relabel" else ""
        made = LabelDecision(
            shown(suspect.sample.name), suspect.box, suspect.labelled, what or "keep", becomes, region.runs,
            self.mask_values(suspect.labelled), self.mask_values(becomes),
        )  # fmt: skip
        with self.lock:
            kept = [one for one in self.decisions() if one.region != made.region]
            try:
                self.runs().mkdir(parents=True, exist_ok=True)
                write_decisions(self.decisions_path, [*kept, *([made] if what else [])])
            except (OSError, PixelwiseError) as error:
                raise RequestError(
                    409, "runs-unwritable", str(error), "Start the server with another --runs."
                ) from error

    def mask_values(self, name: str) -> tuple[str, ...]:
        """The mask values of a class, by which a decision is known when it is renamed; () where they are not known."""
        checked = self.folder.checked
        return values_of(name, checked.diagnosis.meaning) if checked and name else ()

    def region(self, number: int) -> SuspectedRegion:
        """Raises RequestError: there is none."""
        found = self.folder.scored.regions if self.folder.scored else ()
        if not 0 <= number < len(found):
            raise RequestError(
                404, "suspect-unknown", "There is no such suspected label error.", "Search for them again."
            )
        return found[number]


class Galleries:
    """The open folders. Thread-safe."""

    def __init__(self, runs: Callable[[], Path], models: ModelCache, is_busy: Callable[[], bool]) -> None:
        self.runs, self.models, self.is_busy = runs, models, is_busy
        self.lock = threading.Lock()
        self.opened: OrderedDict[Path, Gallery] = OrderedDict()
        self.thumbnails = ThumbnailCache(KEPT_THUMBNAILS)
        self.asked_at = -CALM_S  # when somebody last asked for pictures, or for rows whose pictures follow

    def open_ahead(self, key: str, root: Path) -> None:
        """Open a folder on a thread, so that the first visitor need not wait until its files are listed."""
        threading.Thread(target=self.get, args=(key, root), name="pixelwise-open-ahead", daemon=True).start()

    def get(self, key: str, root: Path) -> Gallery:
        """The folder, opened on first use."""
        with self.lock:
            if root not in self.opened:
                folder = OpenedFolder(key, root)
                folder.start()
                self.opened[root] = Gallery(folder, self.runs, self.models, self.is_wanted)
                idle = [path for path, one in self.opened.items() if one.running is None and path != root]
                for path in idle[: max(len(self.opened) - OPEN_AT_A_TIME, 0)]:
                    del self.opened[path]
            self.opened.move_to_end(root)
            return self.opened[root]

    def is_wanted(self) -> bool:
        """Whether the cores are needed for a person: long work then waits, so that pictures come at once."""
        return self.is_busy() or time.monotonic() - self.asked_at < CALM_S

    def expect_pictures(self) -> None:
        """Pictures will be asked for."""
        self.asked_at = time.monotonic()

    def thumbnail(self, gallery: Gallery, place: int, view: View) -> bytes:
        """A small JPEG; empty where the image cannot be read."""
        folder = gallery.folder
        sample = folder.samples[place][1]
        self.expect_pictures()
        made = self.thumbnails.get(
            f"{folder.root}\0{folder.version}\0{place}\0{view}",
            lambda: thumbnail_jpeg(sample, folder.dataset, view),
        )
        self.expect_pictures()
        return made

    def close(self) -> None:
        for gallery in self.opened.values():
            gallery.stop()


def miou_of(one: ExaminedImage) -> float:
    """An image's mean IoU over the classes in it or predicted in it, as `evaluate` computes it; NaN: all is void."""
    mask_HW = np.where(one.prediction.labels == VOID, np.uint8(VOID), one.mask_HW)
    return scores(count_pairs(one.prediction.labels, mask_HW, len(one.prediction.classes))).miou


def with_regions(regions: Sequence[SuspectedRegion], one: ExaminedImage) -> list[SuspectedRegion]:
    """The suspected regions with those of one more image, the largest first, at most LISTED."""
    names = one.prediction.classes.names
    for suspect in one.suspects:
        labelled, predicted = names.index(suspect.labelled), names.index(suspect.predicted)
        inside_hw = region_in(one.mask_HW, one.prediction.labels, suspect.box, labelled, predicted)
        regions = [*regions, SuspectedRegion(suspect, runs_of(inside_hw))]
    return sorted(regions, key=lambda region: -region.suspect.area_px)[:LISTED]


def free_copy(runs: Path, key: str) -> Path:
    """A new folder for a repaired copy."""
    number, path = 1, runs / f"{key}{REPAIRED}"
    while path.exists():
        number += 1
        path = runs / f"{key}{REPAIRED}-{number}"
    return path
