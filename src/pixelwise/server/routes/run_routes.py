"""Training runs: list, start, watch live, stop, resume."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi import Path as Path_
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pixelwise.datasets.class_values import parse_values
from pixelwise.datasets.read_sample import read_sample_image
from pixelwise.errors import PixelwiseError, UsageError
from pixelwise.images.false_colour import false_colour
from pixelwise.images.files import real_path
from pixelwise.images.image_files import encode_png
from pixelwise.prediction.flow_events import coloured
from pixelwise.records import ClassList, Pixels, Sample
from pixelwise.reports.pictures import scaled
from pixelwise.server.error_responses import RequestError
from pixelwise.server.responses import png_answer
from pixelwise.server.routes.predict_routes import TheState
from pixelwise.server.run_list import MOST_NOTE, progress_of, read_from, write_note
from pixelwise.server.sample_images import bands_of, data_of, held_out_pairs, mask_ids_of, read_held_out
from pixelwise.server.server_state import State
from pixelwise.trace_events import read_events
from pixelwise.training.recipe import Recipe
from pixelwise.training.time_budget import parse_duration

router = APIRouter(prefix="/v1/runs", tags=["runs"])
POLL_S = 0.1
RUN_NAME = r"^[a-z0-9][a-z0-9-]{0,39}$"
HEARTBEAT_S = 15.0
PREVIEW_PX = 512
Number = Annotated[int, Path_(ge=0, le=999_999)]


class NewRun(BaseModel):
    """A training run to start. The defaults take a minute or two on two CPU cores."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "first-try", "epochs": 8}]})

    name: str = Field(pattern=RUN_NAME, examples=["first-try"])
    size: tuple[int, int] = Field((96, 128), description="Input height and width of the network, multiples of 32.")
    encoder: Literal["lite0", "lite1", "lite2", "unet"] = "lite0"
    epochs: int = Field(8, ge=1, le=500)
    images: int = Field(64, ge=8, le=5000, description="Number of rendered street scenes to train on.")
    augmentation: bool = True
    folder: str | None = Field(
        None, max_length=1000, description="A dataset on the server's machine, instead of scenes."
    )
    budget: str | None = Field(
        None,
        max_length=20,
        description="Time limit for everything, such as 90s, 30m or 1h30m: size, network and epochs are then planned.",
    )

    data: str | None = Field(
        None,
        max_length=50,
        description="A folder of data by its key from GET /v1/data; the training is planned from it.",
    )
    below: str = Field("", max_length=1000, description="A folder in it, by its path from there.")
    settings: dict[str, float | int | bool | str | list[float | int]] = Field(
        {}, max_length=60, description="With data: fields of the recipe that are kept; the others are planned."
    )
    classes: list[Annotated[str, Field(max_length=1000)]] = Field(
        [],
        max_length=255,
        description="With data: NAME=VALUE[,VALUE…], as --class of `pixelwise train`.",
        examples=[["kerb=1", "road=2,7"]],
    )
    void: str = Field("", max_length=1000, description="With data: mask values that mean unlabelled, as --void.")
    masks: str = Field("", max_length=200, description="With data: which masks, as --masks.")
    bands: str = Field("", max_length=4000, description="With data: bands of the images to use, in order, as --bands.")
    start_from: str | None = Field(
        None, pattern=RUN_NAME, description="With data: the run whose best weights to start from."
    )
    note: str = Field("", max_length=MOST_NOTE, description="For people, kept with the run.")
    queue: bool = Field(False, description="Wait for the training that is running, instead of an error.")

    @field_validator("size")
    @classmethod
    def multiples(cls, size: tuple[int, int]) -> tuple[int, int]:
        if any(side % 32 or not 32 <= side <= 1024 for side in size):
            raise ValueError("height and width must be multiples of 32 up to 1024")
        return size

    @field_validator("budget")
    @classmethod
    def duration(cls, budget: str | None) -> str | None:
        return checked_budget(budget) if budget else None


def checked_budget(budget: str) -> str:
    """Raises ValueError: not a duration."""
    try:
        parse_duration(budget)
    except UsageError as error:
        raise ValueError(str(error).rstrip(".")) from error
    return budget


@router.get("")
def runs(state: TheState) -> dict[str, Any]:
    """All runs, that of the loaded model first, and whether this machine can train."""
    can_train = importlib.util.find_spec("torch") is not None
    return {
        "runs": [state.runs.describe(name) for name in state.runs.names()],
        "can_train": can_train,
        "install": None if can_train else "pip install 'pixelwise[train]'",
        "local": True,  # requests with the token may name folders of this machine
    }


@router.post("", status_code=201)
def start(state: TheState, new: NewRun) -> dict[str, Any]:
    """Start a training run in a process of its own."""
    state.runs.start(new.name, request_of(state, new), queue=new.queue)
    write_note(state.runs.folder(new.name), new.note)
    return state.runs.describe(new.name)


def request_of(state: State, new: NewRun) -> dict[str, Any]:
    """The request for the training process. Raises RequestError: a folder, a field or a run that there is not."""
    own = {"data", "below", "settings", "start_from", "note", "queue", "classes", "void", "masks", "bands"}
    if new.data is None:
        return {**new.model_dump(exclude=own), "folder": str(existing_folder(new.folder)) if new.folder else None}
    checked_settings(new.settings)
    wanted = {"name": new.name, "budget": new.budget, "data": new.data, "below": new.below, "settings": new.settings}
    wanted["reading"] = checked_reading(new.classes, new.void, new.masks, new.bands)
    wanted["folder"] = str(state.data.folder(new.data, new.below))
    if new.start_from:
        wanted |= {"start_from": new.start_from, "start_folder": str(real_path(state.runs.existing(new.start_from)))}
    return wanted


def checked_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Raises RequestError: not a field of a recipe, or no value for it."""
    try:
        Recipe().with_values(settings, "settings")
    except UsageError as error:
        raise RequestError(422, "recipe-invalid", str(error), "GET /v1/train/plan shows the fields.") from error
    return settings


def checked_reading(classes: Sequence[str], void: str, masks: str, bands: str) -> dict[str, Any]:
    """How data are read, as keyword arguments of `train` and `plan`. Raises RequestError: not as `train` takes it."""
    try:
        return parse_values(classes, [void] if void else [], masks, bands).arguments()
    except UsageError as error:
        raise RequestError(422, "values-invalid", str(error), "Write them as `pixelwise train --help` says.") from error


def existing_folder(named: str) -> Path:
    """Raises RequestError."""
    try:
        folder = Path(named).expanduser()
        if "\0" not in named and folder.is_dir():
            return folder
    except (OSError, RuntimeError, ValueError):  # a name too long, a user that there is not
        pass
    raise RequestError(422, "folder-missing", "This folder does not exist on the server's machine.", "Check its path.")


@router.get("/{name}")
def run(state: TheState, name: str) -> dict[str, Any]:
    """One run: its recipe, its data, and whether it is running."""
    return state.runs.describe(name)


@router.post("/{name}/stop")
def stop(state: TheState, name: str) -> dict[str, Any]:
    """Stop a training run as Ctrl-C does; its last checkpoint is kept."""
    state.runs.stop(name)
    return state.runs.describe(name)


@router.post("/{name}/resume")
def resume(state: TheState, name: str) -> dict[str, Any]:
    """Resume a stopped training run from its last checkpoint."""
    state.runs.resume(name)
    return state.runs.describe(name)


@router.get("/{name}/events", response_class=StreamingResponse)
async def events(request: Request, state: TheState, name: str) -> StreamingResponse:
    """Server-sent events: lists of trace events as they are written, then `end` when the training has ended.

    The id of an event is a position in the trace, so that a client that reconnects continues where it was.
    """
    state.runs.existing(name)
    last = request.headers.get("last-event-id", "0")
    offset = int(last) if last.isdecimal() and len(last) < 16 else 0
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(follow(state, name, offset), media_type="text/event-stream", headers=headers)


async def follow(state: State, name: str, offset: int) -> AsyncIterator[str]:
    """The trace from `offset` on, until the training ends."""
    trace = state.runs.folder(name) / "trace.jsonl"
    quiet_s = 0.0
    shown: dict[str, Any] = {}
    while not state.stopping.is_set():
        alive = state.runs.is_running(name)  # checked before reading, so that nothing written before the end is missed
        found, offset = await asyncio.to_thread(read_from, trace, offset)
        found += doing_now(state, name, shown) if alive else []
        if found:
            quiet_s = 0.0
            yield f"id: {offset}\nevent: trace\ndata: {json.dumps(found, ensure_ascii=False)}\n\n"
        elif not alive:
            yield f"event: end\ndata: {json.dumps({'failure': state.runs.failure(name)}, ensure_ascii=False)}\n\n"
            return
        elif quiet_s >= HEARTBEAT_S:
            quiet_s = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(POLL_S)
        quiet_s += POLL_S


def doing_now(state: State, name: str, shown: dict[str, Any]) -> list[dict[str, Any]]:
    """What the training is doing, as an event, where it is not what was last `shown`."""
    now = progress_of(state.runs.folder(name))
    if not now or now == shown:
        return []
    shown.clear()
    shown.update(now)
    return [{"event": "progress", **now}]


@router.get("/{name}/epochs/{epoch}")
def epoch(state: TheState, name: str, epoch: Number) -> dict[str, Any]:
    """All numbers of one epoch, including the IoU of each class."""
    trace = state.runs.existing(name) / "trace.jsonl"
    found = [e for e in read_events(trace) if e.get("event") == "epoch" and e.get("epoch") == epoch]
    if not found:
        raise RequestError(404, "epoch-unknown", f"This run has no epoch {epoch}.")
    return found[-1]


@router.get("/{name}/previews/{epoch}/{index}", response_class=FileResponse)
def preview(state: TheState, name: str, epoch: Number, index: Number) -> FileResponse:
    """The predicted mask of a held-out image after an epoch."""
    path = state.runs.existing(name) / "previews" / f"epoch-{epoch:04d}" / f"{index}.png"
    if not 0 <= index < 100 or not path.is_file():
        raise RequestError(404, "preview-unknown", "This run has no such preview.")
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, max-age=60"})


@router.get("/{name}/images/{index}", response_class=Response)
def image(state: TheState, name: str, index: Number) -> Response:
    """The held-out image that the previews show."""
    if shipped := shipped_picture(state, name, "images", index):
        return shipped
    sample = held_out(state, name, index)
    try:
        bands = bands_of(state.runs.existing(name))
        pixels = false_colour(read_sample_image(sample, bands), bands)
    except PixelwiseError as error:
        raise RequestError(410, "image-gone", "This image has been moved or deleted since the training.") from error
    return preview_png(pixels)


@router.get("/{name}/truth/{index}", response_class=Response)
def truth(state: TheState, name: str, index: Number) -> Response:
    """The true mask of a held-out image, in the colours of the classes."""
    if shipped := shipped_picture(state, name, "truth", index):
        return shipped
    sample = held_out(state, name, index)
    folder = state.runs.existing(name)
    classes = ClassList.from_json(data_of(folder)["classes"])
    try:
        labels = read_held_out(sample, bands_of(folder), mask_ids_of(folder), len(classes))[1]
    except PixelwiseError as error:
        raise RequestError(410, "image-gone", "This mask has been moved or deleted since the training.") from error
    return preview_png(coloured(labels, classes), nearest=True)


def shipped_picture(state: State, name: str, folder: str, index: int) -> Response | None:
    """An image or true mask that a built-in model brings with its training log: nobody else has its data."""
    path = state.runs.existing(name) / folder / f"{index}.png"
    return FileResponse(path, media_type="image/png") if path.is_file() else None


def held_out(state: State, name: str, index: int) -> Sample:
    pairs = held_out_pairs(state.runs.existing(name))
    if not 0 <= index < len(pairs):
        raise RequestError(404, "image-unknown", "This run has no such held-out image.")
    return pairs[index]


def preview_png(pixels: Pixels, *, nearest: bool = False) -> Response:
    """The picture, no side longer than PREVIEW_PX."""
    return png_answer(encode_png(scaled(pixels, min(PREVIEW_PX / max(pixels.shape[:2]), 1.0), nearest=nearest)))
