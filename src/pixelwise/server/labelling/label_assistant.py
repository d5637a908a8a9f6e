"""The assistant of a labelling folder: what proposes labels, its model, and what it knows of all photos.

Shapes: H, W height and width in pixels.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pixelwise.images.false_colour import false_colour
from pixelwise.images.files import utf8, write_whole
from pixelwise.labelling.assistant import Assistant, Proposal, least_sure
from pixelwise.labelling.click_points import Click
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.labelling.novelty import unit
from pixelwise.labelling.patch import Keys, Region, Window
from pixelwise.labelling.photo_list import Photo
from pixelwise.labelling.stored_proposals import PhotoFacts
from pixelwise.labelling.workspace import Workspace
from pixelwise.prediction.load_model import Model
from pixelwise.records import VOID, Bands, Raster
from pixelwise.reports.pictures import scaled
from pixelwise.server.error_responses import RequestError
from pixelwise.server.labelling.image_worth import ImageWorth
from pixelwise.server.labelling.photo_pictures import for_display, shrunk
from pixelwise.server.labelling.prelabel_images import PERSON, BackgroundLook, Prelabeller, in_order

CHOICE = "assistant.json"  # in .labelling/: which run assists
ENCODER = "encoder"  # in place of a model's digest
REMEMBERED = 10  # photos whose strokes help with the others from the start
DESCRIBED_PX = 256  # longest side of a photo that the encoder describes

Photograph = tuple[Raster, Bands]  # [H, W, N]


@dataclass(frozen=True)
class ChosenModel:
    """A model that assists."""

    name: str  # of a run, or as on the command line
    model: Model
    keys: tuple[int, ...]  # of its classes; 255 for those that the folder lacks


class LabelAssistant:
    """What proposes labels in one folder. Thread-safe."""

    def __init__(
        self,
        workspace: Workspace,
        features: FeatureSession,
        photograph: Callable[[str], Photograph],
        is_busy: Callable[[], bool],
    ) -> None:
        """
        Args:
            photograph: reads a photo by its id. Raises RequestError, ImageError.
            is_busy: whether a person waits for the server.
        """
        self.workspace, self.features, self.photograph, self.is_busy = workspace, features, photograph, is_busy
        self.lock = threading.Lock()
        self.chosen: ChosenModel | None = None
        self.prelabeller: Prelabeller | None = None
        self.background: BackgroundLook | None = None
        self.worth = ImageWorth()
        self.newest: dict[tuple[str, str], int] = {}  # image and client → number of the newest request

    @cached_property
    def plain(self) -> Assistant:
        return Assistant(self.features)

    def choose(self, chosen: ChosenModel | None) -> None:
        """Go on with another model, or with none. Photos are shown to it in the background."""
        with self.lock:
            self.stop()
            self.worth.clear()
            self.chosen = chosen
            memory = self.plain.memory
            self.plain = Assistant(self.features, chosen.model if chosen else None)
            self.plain.memory = memory
            self.prelabeller = None
            if chosen:
                self.prelabeller = Prelabeller(self.workspace, chosen.model, chosen.keys, self.worth)
            elif not self.workspace.read_only:
                for photo in self.workspace.photos():
                    self.workspace.proposal_path(photo.id).unlink(missing_ok=True)
            self.look_again()

    def look_again(self) -> None:
        """Look at all photos, those included that are new; what is known is not computed again."""
        self.stop()
        look = self.prelabeller.look if self.prelabeller and not self.workspace.read_only else self.look
        photos = in_order(self.workspace)
        drawn = [photo.id for photo in photos if self.workspace.status(photo.id).labelled][-REMEMBERED:]

        def look_and_remember(photo: Photo) -> PhotoFacts:
            if photo.id in drawn:
                self.remember_strokes(photo)
            return look(photo)

        self.background = BackgroundLook(photos, look_and_remember, self.worth, self.is_busy)
        self.background.start()

    def remember_strokes(self, photo: Photo) -> None:
        """Strokes of a photo help with the others. Raises ImageError, BundleError, DataError: it cannot be read."""
        if photo.id in self.plain.memory.kept:
            return
        _, keys_HW, drawn_HW = self.workspace.opened(photo.id).planes()
        window = Window.around((drawn_HW == PERSON) & (keys_HW != VOID))
        keys = [one.key for one in self.workspace.classes.classes]
        if window is not None and keys:
            self.plain.propose(photo.id, *self.photograph(photo.id), keys_HW, drawn_HW, keys, window, self.model_keys())

    def stop(self) -> None:
        """End the work in the background."""
        if self.background is not None:
            self.background.stop()

    def look(self, photo: Photo) -> PhotoFacts:
        """Without a model: what the encoder sees. Raises ImageError."""
        known = self.worth.facts.get(photo.id)
        if known is not None:
            return known
        pixels, bands = for_display(self.workspace.pixels(photo.id))
        picture = false_colour(shrunk(pixels), bands)
        small = scaled(picture, min(DESCRIBED_PX / max(picture.shape[:2]), 1.0))
        coarsest = self.features.maps(small)[0].values_hwC
        return PhotoFacts(ENCODER, 1.0, unit(coarsest.reshape(-1, coarsest.shape[-1]).mean(axis=0).astype(float)))

    def compare(self, photo: Photo) -> None:
        """The labels of a photo have changed."""
        if self.prelabeller is not None and not self.workspace.read_only:
            self.prelabeller.compare(photo)

    def model_keys(self) -> list[int] | None:
        """The key of each of the model's classes, as keys are now; None without a model."""
        resolve = self.workspace.classes.resolve()
        return [int(resolve[key]) for key in self.chosen.keys] if self.chosen else None

    def propose(self, image_id: str, photo: Photograph, labels: tuple[Keys, Keys], window: Window) -> Proposal:
        """Labels for the pixels of a window.

        Args:
            photo: the whole photo, and its bands.
            labels: the key of each pixel, and who labelled it.
        """
        keys_HW, drawn_HW = labels
        classes = self.workspace.classes
        keys = [one.key for one in classes.classes if not one.locked]
        locked = [one.key for one in classes.classes if one.locked]
        by_person_hw = (drawn_HW[window.slices] == PERSON) & (keys_HW[window.slices] != VOID)
        found = None if by_person_hw.any() else self.stored(image_id, window)
        if found is None and keys:
            found = self.plain.propose(image_id, *photo, keys_HW, drawn_HW, keys, window, self.model_keys())
        if found is None:
            nothing_hw = np.zeros((window.h, window.w), np.uint8)
            found = Proposal(window, np.full_like(nothing_hw, VOID), nothing_hw, window, "assistant", 0.0)
        held_hw = by_person_hw | np.isin(found.labels_hw, locked) | np.isin(keys_HW[window.slices], locked)
        return replace(found, labels_hw=np.where(held_hw, np.uint8(VOID), found.labels_hw))

    def click(self, image_id: str, photo: Photograph, clicks: Sequence[Click], window: Window) -> Region:
        """The object at the clicks. Of a large photo, only the window is looked at.

        Raises:
            UsageError: no click is on the object, or one is outside the photo or the window.
        """
        return self.plain.click(image_id, *photo, clicks, window)

    def stored(self, image_id: str, window: Window) -> Proposal | None:
        """What was proposed in advance for a window, as keys are now; None where there is nothing of this model."""
        found = self.prelabeller.proposal(image_id) if self.prelabeller else None
        if found is None:
            return None
        labels_hw = self.workspace.classes.resolve()[found.keys_HW[window.slices]]
        confidence_hw = found.confidence_HW[window.slices].copy()
        place = least_sure(confidence_hw, labels_hw == VOID)  # where the image has no data, above all
        place = Window(place.x + window.x, place.y + window.y, place.w, place.h)
        return Proposal(window, labels_hw, confidence_hw, place, "model", 0.0)

    def ticket(self, image_id: str, client: str) -> Callable[[], None]:
        """A request for a proposal begins. Returns a check that raises RequestError once a newer one has begun."""
        key = image_id, client
        mine = self.newest.get(key, 0) + 1
        self.newest[key] = mine

        def check() -> None:
            if self.newest.get(key) != mine:
                raise RequestError(409, "propose-replaced", "A newer request for this image has come.", "Use that one.")

        return check

    def to_json(self) -> dict[str, Any]:
        progress = self.background.progress if self.background and self.prelabeller else None
        return {
            "model": self.chosen.name if self.chosen else "",
            "ready": True,
            "waiting": progress.waiting if progress else 0,
            "total": progress.total if progress else 0,
            "failed": list(progress.failed) if progress else [],
        }

    def remember(self, run: str) -> None:
        """Assist with this run when the folder is opened again. Raises OutputError."""
        if not self.workspace.read_only:
            write_whole(self.workspace.inside / CHOICE, utf8(json.dumps({"run": run}) + "\n"))

    def remembered(self) -> str:
        """The run that assisted last; "" if none did."""
        try:
            choice = json.loads((self.workspace.inside / CHOICE).read_bytes())
        except (OSError, ValueError, RecursionError):
            return ""
        run = choice.get("run") if isinstance(choice, dict) else None
        return run if isinstance(run, str) else ""


def keys_of(model: Model, workspace: Workspace, recorded: Mapping[str, Any] | None = None) -> tuple[int, ...]:
    """The key of each of a model's classes: by the names at its training, where they are recorded, else by name."""
    names = {one.name: one.key for one in workspace.classes.classes}
    table = workspace.classes.resolve()
    found = []
    for name in model.classes.names:
        key = (recorded or {}).get(name, names.get(name, VOID))
        found.append(int(table[key]) if isinstance(key, int) and 0 <= key <= VOID else VOID)
    return tuple(found)


def require_useful(model: Model, workspace: Workspace, keys: tuple[int, ...]) -> None:
    """Raises RequestError: the model shares no class with the folder, or takes other bands."""
    if all(key == VOID for key in keys):
        theirs, ours = ", ".join(model.classes.names), ", ".join(one.name for one in workspace.classes.classes)
        raise RequestError(
            422, "classes-differ", f"The model has none of the classes {ours or '(none yet)'}; it has {theirs}.",
            "Add classes of these names, or choose another model.",
        )  # fmt: skip
    if model.metadata.bands.names != workspace.bands.names:
        theirs, ours = ", ".join(model.metadata.bands.names), ", ".join(workspace.bands.names)
        raise RequestError(
            422, "bands-differ", f"The model takes the bands {theirs}; the photos have {ours}.",
            "Choose a model for these bands.",
        )  # fmt: skip
