"""The labelling folder that a server has open, and what is computed for it.

Shapes: H, W height and width in pixels; N bands.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixelwise.datasets.read_sample import sample_facts
from pixelwise.errors import DataError, PixelwiseError
from pixelwise.images.files import Refusal, real_path, shown
from pixelwise.images.no_data import without_data
from pixelwise.labelling.assistant import Proposal
from pixelwise.labelling.class_operations import ImageStatus
from pixelwise.labelling.click_model import ClickModel
from pixelwise.labelling.click_points import Click
from pixelwise.labelling.edge_path import EdgePaths
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.labelling.labelling_folder import places
from pixelwise.labelling.patch import Region, Window
from pixelwise.labelling.photo_list import Photo
from pixelwise.labelling.workspace import Workspace, login_name
from pixelwise.records import Bands, Raster
from pixelwise.server.error_responses import RequestError
from pixelwise.server.labelling.image_pyramid import ImagePyramid, display_bands
from pixelwise.server.labelling.import_dataset_masks import ImportFirst
from pixelwise.server.labelling.label_assistant import ChosenModel, LabelAssistant, keys_of, require_useful
from pixelwise.server.labelling.label_training import labels_of
from pixelwise.server.labelling.photo_pictures import for_display, thumbnail
from pixelwise.server.labelling.pyramid_cache import PyramidCache, ThumbnailCache
from pixelwise.server.model_cache import MAIN, ModelCache
from pixelwise.server.responses import ranges_of

MAX_PIXELS = 64_000_000  # of an image to label
ANCHORS = 4  # of paths along edges
UPLOADED = "labels"  # the folder of labels of uploaded photos


@dataclass(frozen=True)
class LabellingOptions:
    """What a server that labels is started with."""

    photos: Path | None = None
    out: Path | None = None
    classes: tuple[str, ...] = ()
    with_model: bool = False  # the server's own model assists
    click_model: tuple[Path, Path] | None = None  # encoder and decoder
    user: str | None = None
    keeps_runs: bool = False  # trainings are kept in the labelling folder


class PhotoSizes:
    """The size of each photo, or why it cannot be read: then it is read again, as it may be repaired. Thread-safe."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[int, int]] = {}

    def of(self, photo: Photo) -> tuple[int, int] | str:
        """(H, W), from the photo's header; or why there is none."""
        if photo.id in self.known:
            return self.known[photo.id]
        found = size_or_error(photo)
        if not isinstance(found, str):
            self.known[photo.id] = found
        return found


class LabellingState:
    """The open labelling folder; none at first. Thread-safe."""

    def __init__(self, options: LabellingOptions, models: ModelCache, is_busy: Callable[[], bool]) -> None:
        """
        Args:
            is_busy: whether a person waits for the server: work in the background then pauses.

        Raises:
            BundleError: the click model cannot be used.
        """
        self.options, self.models, self.is_busy = options, models, is_busy
        self.features = FeatureSession()
        self.click_model = ClickModel(*options.click_model) if options.click_model else None
        self._assistant: LabelAssistant | None = None
        self.importing: ImportFirst | None = None
        self._paths: OrderedDict[tuple[str, tuple[int, int]], EdgePaths] = OrderedDict()
        self.lock = threading.RLock()
        self.workspace: Workspace | None = None
        self.pyramids, self.thumbnails = PyramidCache(), ThumbnailCache()
        self.sizes = PhotoSizes()

    @property
    def opened(self) -> Workspace:
        """The folder. Raises RequestError: none is open."""
        if self.workspace is None:
            raise nothing_open()
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
            self._paths.clear()
            if self.options.keeps_runs:
                self.models.runs.move_to(workspace.inside / "runs")
                self.models.forget_runs()
            self._assistant = LabelAssistant(workspace, self.features, self.photograph, self.is_busy)
            if self.options.with_model and not workspace.classes.classes and not workspace.read_only:
                own = self.models.main.model.classes
                for name, colour in zip(own.names, own.colours, strict=True):
                    workspace.add_class(name, colour)
            self.importing = ImportFirst(workspace)
            self.importing.start()
            self.choose_first()
            return workspace

    def opened_or_new(self) -> Workspace:
        """The folder; a new one for uploaded photos, in the current folder, where none is open."""
        with self.lock:
            if self.workspace is None:
                self.open(None, self.options.out or free_folder(Path.cwd() / UPLOADED), self.options.classes)
            return self.opened

    def photos_changed(self) -> None:
        """Photos were added."""
        self.assistant.look_again()

    @property
    def assistant(self) -> LabelAssistant:
        """Raises RequestError: no folder is open."""
        if self._assistant is None:
            raise nothing_open()
        return self._assistant

    def choose_first(self) -> None:
        """The model that the server was started with assists, or the run that did last; else none."""
        run = MAIN if self.options.with_model else self.assistant.remembered()
        try:
            self.choose(run, remember=False)
        except RequestError as error:
            self.opened.notes.append(f"The model {shown(run)} does not assist: {error.message}")
            self.choose("", remember=False)

    def choose(self, name: str, *, remember: bool = True) -> None:
        """Assist with a run's model, with the server's own ("main"), or with none ("").

        Raises:
            RequestError: there is no such model, or it shares no class or has other bands.
        """
        with self.lock:
            chosen = None
            if name:
                model = self.models.get(name).model
                recorded = labels_of(self.models.runs, name, str(real_path(self.opened.out))) if name != MAIN else {}
                keys = keys_of(model, self.opened, recorded.get("keys"))
                require_useful(model, self.opened, keys)
                chosen = ChosenModel(name, model, keys)
            self.assistant.choose(chosen)
            if remember:
                self.assistant.remember(name)

    def close(self) -> None:
        """Save everything. Raises OutputError."""
        with self.lock:
            if self._assistant is not None:
                self._assistant.stop()
            if self.importing is not None:
                self.importing.stop()
            workspace, self.workspace, self._assistant, self.importing = self.workspace, None, None, None
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

    def propose(self, image_id: str, window: Window) -> tuple[int, Proposal]:
        """Labels for a window, and the version of the labels that they follow from."""
        workspace, assistant = self.opened, self.assistant
        photo = self.photograph(image_id)
        version, keys_HW, drawn_HW = workspace.opened(image_id).planes()
        return version, assistant.propose(image_id, photo, (keys_HW, drawn_HW), window)

    def click(self, image_id: str, clicks: Sequence[Click], window: Window) -> Region:
        """The object at the clicks."""
        pyramid = self.pyramid(image_id)
        if self.click_model is None:
            region = self.assistant.click(image_id, self.photograph(image_id), clicks, window)
        else:
            region = self.click_model.click(image_id, pyramid.pixels, pyramid.bands, clicks, window)
        missing_hw = without_data(pyramid.pixels[region.window.slices])
        return region if missing_hw is None else replace(region, mask_hw=region.mask_hw & ~missing_hw)

    def photograph(self, image_id: str) -> tuple[Raster, Bands]:
        """The photo in the bands that models of this folder take, with the range of its values.

        Raises RequestError, ImageError.
        """
        workspace, pyramid = self.opened, self.pyramid(image_id)
        if pyramid.bands.names == workspace.bands.names:
            return pyramid.pixels, pyramid.bands
        pixels = workspace.raster(image_id)
        return pixels, display_bands(workspace.bands.names, ranges_of(pixels), is_8_bit=pixels.dtype.name == "uint8")

    def paths(self, image_id: str, anchor: tuple[int, int]) -> EdgePaths:
        """The paths from an anchor. Those of the last few are kept: the first one takes the longest."""
        pixels = self.pyramid(image_id).pixels
        key = image_id, anchor
        with self.lock:
            if key not in self._paths:
                self._paths[key] = EdgePaths(pixels, anchor)
            self._paths.move_to_end(key)
            while len(self._paths) > ANCHORS:
                self._paths.popitem(last=False)
            return self._paths[key]

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
            "labelled": status.labelled, "seconds": round(status.seconds, 1),
            "locked_by": self.opened.locks.holder(photo.id), "error": size if isinstance(size, str) else None,
        }  # fmt: skip


def nothing_open() -> RequestError:
    return RequestError(
        409, "label-nothing-open", "No folder of photos is open.", "Open one first: POST /v1/label/open."
    )


def free_folder(folder: Path) -> Path:
    """The folder, or one beside it that does not exist yet: labels, labels-2 …"""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain([folder], numbered) if not one.exists())


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
