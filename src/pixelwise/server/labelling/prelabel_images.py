"""A thread that shows the photos of a folder to a model: what it would label, how sure it is, and how photos differ.

Photos that nobody has labelled come first. It waits while the server works for a person, and stops when asked to.

Shapes: H, W height and width in pixels; C classes; h, w the size of the scores; F features.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.read_sample import without_numbers
from pixelwise.errors import PixelwiseError
from pixelwise.images.declared_no_data import void_where
from pixelwise.images.files import shown
from pixelwise.labelling.labelled_dataset import make_folders
from pixelwise.labelling.novelty import describer
from pixelwise.labelling.photo_list import Photo
from pixelwise.labelling.stored_proposals import PhotoFacts, StoredProposal, read_facts, read_proposal, write_proposal
from pixelwise.labelling.workspace import Workspace
from pixelwise.prediction.confidence_maps import probability_strips
from pixelwise.prediction.load_model import Model
from pixelwise.records import VOID, Labels, Prediction
from pixelwise.server.error_responses import RequestError
from pixelwise.server.labelling.image_worth import ImageWorth
from pixelwise.softmax import entropy, softmax

WAIT_S = 0.1  # between looks at whether the server works for a person
MOST_FAILURES = 20  # that are kept to be shown
PERSON = 1  # in `drawn_HW`

Look = Callable[[Photo], PhotoFacts]


@dataclass(frozen=True)
class PrelabelProgress:
    """How far the thread is."""

    waiting: int
    total: int
    failed: tuple[str, ...]


class BackgroundLook:
    """Looks at every photo of a folder, one at a time, on a thread of its own."""

    def __init__(self, photos: Sequence[Photo], look: Look, worth: ImageWorth, is_busy: Callable[[], bool]) -> None:
        """
        Args:
            look: what it finds of a photo. Raises PixelwiseError, RequestError: the photo is left out by name.
            worth: where it goes.
            is_busy: whether a person waits for the server.
        """
        self.photos, self.look, self.worth, self.is_busy = list(photos), look, worth, is_busy
        self.done, self.failed = 0, list[str]()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, name="pixelwise-prelabel", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """End after the photo that it looks at, and wait for that."""
        self.stopping.set()
        if self.thread.is_alive() and self.thread is not threading.current_thread():
            self.thread.join()

    @property
    def progress(self) -> PrelabelProgress:
        waiting = 0 if self.stopping.is_set() else len(self.photos) - self.done
        return PrelabelProgress(waiting, len(self.photos), tuple(self.failed[:MOST_FAILURES]))

    def run(self) -> None:
        for photo in self.photos:
            while self.is_busy() and not self.stopping.wait(WAIT_S):
                pass
            if self.stopping.is_set():
                return
            try:
                self.worth.add(photo.id, self.look(photo))
            except (PixelwiseError, RequestError) as error:
                self.failed.append(f"{shown(photo.name)}: {error}")
            self.done += 1


class Prelabeller:
    """Labels photos with a model."""

    def __init__(self, workspace: Workspace, model: Model, model_keys: Sequence[int], worth: ImageWorth) -> None:
        """
        Args:
            model_keys: the key of each of the model's classes, 255 for those that the folder lacks.
        """
        self.workspace, self.model, self.worth = workspace, model, worth
        self.describe = describer(model)
        self.table = np.full(256, VOID, np.uint8)
        self.table[: len(model_keys)] = model_keys

    def look(self, photo: Photo) -> PhotoFacts:
        """The proposal for a photo, kept on disk. One that this model has made is not made again.

        Raises:
            ImageError: the photo cannot be read, or has other bands.
            BundleError: the model cannot be run on it.
            OutputError: the proposal cannot be written.
        """
        path = self.workspace.proposal_path(photo.id)
        facts = read_facts(path)
        if facts is None or facts.model != self.model.digest:
            prediction, description_F = self.describe(self.workspace.raster(photo.id))
            prediction = replace(prediction, labels=void_where(prediction.labels, without_numbers(photo.sample)))
            facts = PhotoFacts(self.model.digest, uncertainty_of(prediction), description_F)
            make_folders(path.parent)
            keys_HW, confidence_HW = self.table[prediction.labels], confidence_of(prediction)
            write_proposal(path, StoredProposal(keys_HW, confidence_HW, facts.model, facts))
        self.compare(photo)
        return facts

    def proposal(self, image_id: str) -> StoredProposal | None:
        """What this model labels in a photo; None where it has not looked at it. Raises DataError: damaged."""
        found = read_proposal(self.workspace.proposal_path(image_id))
        return found if found is not None and found.model == self.model.digest else None

    def compare(self, photo: Photo) -> None:
        """Keep in which share of a person's pixels the model differs; forget it where there are none."""
        if not self.workspace.status(photo.id).labelled:
            self.worth.disagreement.pop(photo.id, None)
            return
        found = self.proposal(photo.id)
        labels = self.workspace.opened(photo.id)
        if found is None or found.keys_HW.shape != labels.size:
            return
        _, keys_HW, drawn_HW = labels.planes()
        share = differing(found.keys_HW, keys_HW, drawn_HW)
        if share is None:
            self.worth.disagreement.pop(photo.id, None)
        else:
            self.worth.disagreement[photo.id] = share


def differing(proposed_HW: Labels, keys_HW: Labels, drawn_HW: NDArray[np.uint8]) -> float | None:
    """The share of the pixels that a person labelled where a proposal is another; None if there are none."""
    by_person_HW = (drawn_HW == PERSON) & (keys_HW != VOID)
    number = int(np.count_nonzero(by_person_HW))
    return float(np.count_nonzero((proposed_HW != keys_HW) & by_person_HW)) / number if number else None


def uncertainty_of(prediction: Prediction) -> float:
    """Mean entropy, 0–1, as `suggest` ranks by it."""
    probability_Chw = softmax(prediction.scores, prediction.temperature)
    return float(entropy(probability_Chw.astype(np.float64)).mean())


def confidence_of(prediction: Prediction) -> NDArray[np.uint8]:
    """The probability of the proposed class at every pixel, [H, W], 255 = 1."""
    height, width = prediction.labels.shape
    confidence_HW = np.empty((height, width), np.uint8)
    for rows, probability_CRW in probability_strips(prediction.scores, (height, width), prediction.temperature):
        confidence_HW[rows] = np.rint(probability_CRW.max(axis=0) * 255)
    return confidence_HW


def in_order(workspace: Workspace) -> list[Photo]:
    """Photos that nobody has labelled, then those begun, then those done."""
    places = {"untouched": 0, "model": 0, "started": 1, "done": 2}
    return sorted(workspace.photos(), key=lambda photo: places[workspace.status(photo.id).state])
