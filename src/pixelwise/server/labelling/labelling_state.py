"""The labelling folder that a server has open, and what is computed for it.

Shapes: H, W height and width in pixels; N bands.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.datasets.read_sample import sample_facts
from pixelwise.errors import DataError, PixelwiseError
from pixelwise.images.files import Refusal, real_path, shown
from pixelwise.labelling.class_operations import ImageStatus
from pixelwise.labelling.labelling_folder import places
from pixelwise.labelling.photo_list import Photo
from pixelwise.labelling.workspace import Workspace, login_name
from pixelwise.server.error_responses import RequestError
from pixelwise.server.labelling.image_pyramid import ImagePyramid
from pixelwise.server.labelling.photo_pictures import for_display, thumbnail
from pixelwise.server.labelling.pyramid_cache import PyramidCache, ThumbnailCache
from pixelwise.server.model_cache import ModelCache

MAX_PIXELS = 64_000_000  # of an image to label


@dataclass(frozen=True)
class LabellingOptions:
    """What a server that labels is started with."""

    photos: Path | None = None
    out: Path | None = None
    classes: tuple[str, ...] = ()
    user: str | None = None
    keeps_runs: bool = False  # trainings are kept in the labelling folder


class PhotoSizes:
    """The size of each photo, or why it cannot be read. Thread-safe."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[int, int] | str] = {}

    def of(self, photo: Photo) -> tuple[int, int] | str:
        """(H, W), from the photo's header; or why there is none."""
        if photo.id not in self.known:
            self.known[photo.id] = size_or_error(photo)
        return self.known[photo.id]


class LabellingState:
    """The open labelling folder; none at first. Thread-safe."""

    def __init__(self, options: LabellingOptions, models: ModelCache) -> None:
        self.options, self.models = options, models
        self.lock = threading.RLock()
        self.workspace: Workspace | None = None
        self.pyramids, self.thumbnails = PyramidCache(), ThumbnailCache()
        self.sizes = PhotoSizes()

    @property
    def opened(self) -> Workspace:
        """The folder. Raises RequestError: none is open."""
        if self.workspace is None:
            raise RequestError(
                409, "label-nothing-open", "No folder of photos is open.", "Open one first: POST /v1/label/open."
            )
        return self.workspace

    @property
    def user(self) -> str:
        """The name of who labels."""
        return self.options.user or (self.workspace.user if self.workspace else login_name())

    def start(self) -> None:
        """Open what the server was started with. Raises as `Workspace.open`."""
        if self.options.photos is not None or self.options.out is not None:
            self.open(self.options.photos, self.options.out, self.options.classes)

    def open(self, photos: Path | None, out: Path | None, classes: Sequence[str]) -> Workspace:
        """Open a folder in place of the one that is open. Raises as `Workspace.open`; the old one then stays."""
        with self.lock:
            if self.workspace is not None and real_path(places(photos, out)[1]) == real_path(self.workspace.out):
                self.close()  # two of one folder would lock each other out
            workspace = Workspace.open(photos, out, classes)
            self.close()
            workspace.user = self.options.user or workspace.user
            self.pyramids.clear()
            self.thumbnails.clear()
            self.sizes = PhotoSizes()
            self.workspace = workspace
            if self.options.keeps_runs:
                self.models.runs.move_to(workspace.inside / "runs")
                self.models.forget_runs()
            return workspace

    def close(self) -> None:
        """Save everything. Raises OutputError."""
        with self.lock:
            workspace, self.workspace = self.workspace, None
            if workspace is not None:
                workspace.close()

    def photo(self, image_id: str) -> Photo:
        """Raises RequestError: there is no such photo, or no folder is open."""
        return photo_of(self.opened, image_id)

    def pyramid(self, image_id: str) -> ImagePyramid:
        """The photo, decoded. Raises RequestError, ImageError."""
        workspace, photo = self.opened, self.photo(image_id)

        def decode() -> ImagePyramid:
            self.require_size(photo)
            return ImagePyramid(*for_display(workspace.pixels(image_id)))

        return self.pyramids.get(image_id, decode)

    def require_size(self, photo: Photo) -> tuple[int, int]:
        """(H, W). Raises RequestError: the photo cannot be read, or is too large."""
        found = self.sizes.of(photo)
        if isinstance(found, str):
            raise RequestError(422, "photo-unreadable", found, "Save the photo again, and reload the page.")
        return found

    def thumbnail(self, image_id: str) -> bytes:
        """A small JPEG. Raises RequestError: the photo cannot be read."""
        photo = self.photo(image_id)
        self.require_size(photo)

        def make() -> bytes:
            try:
                return thumbnail(photo.sample)
            except (Refusal, DataError) as error:
                raise RequestError(
                    422, "photo-unreadable", f"{shown(photo.name)}: {error}", "Save the photo again."
                ) from error

        return self.thumbnails.get(image_id, make)

    def row(self, photo: Photo, status: ImageStatus) -> dict[str, Any]:
        """A photo in the strip of images."""
        size = status.size if status.size[0] else self.sizes.of(photo)
        height, width = (None, None) if isinstance(size, str) else size
        return {
            "id": photo.id, "name": shown(photo.name), "width": width, "height": height, "state": status.state,
            "labelled": status.labelled, "seconds": round(status.seconds, 1), "worth": None, "disagreement": None,
            "locked_by": self.opened.locks.holder(photo.id), "error": size if isinstance(size, str) else None,
        }  # fmt: skip


def photo_of(workspace: Workspace, image_id: str) -> Photo:
    """Raises RequestError: there is no such photo."""
    try:
        return workspace.photo(image_id)
    except PixelwiseError as error:
        raise RequestError(404, "image-unknown", "There is no such photo.", "Reload the list of photos.") from error


def size_or_error(photo: Photo) -> tuple[int, int] | str:
    """(H, W) from a photo's header, or why it cannot be labelled."""
    try:
        facts = sample_facts(photo.sample)
    except Refusal as refusal:
        return f"{shown(photo.name)}: {refusal}"
    except DataError as error:
        return str(error)
    height, width = facts.height, facts.width
    if height * width > MAX_PIXELS:
        has = f"{width}×{height} is {width * height:,} pixels"
        return f"{shown(photo.name)}: {has}; at most {MAX_PIXELS:,} can be labelled. Cut it into parts."
    return height, width
