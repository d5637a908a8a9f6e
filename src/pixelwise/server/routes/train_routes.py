"""The Train room: the plan before a training, notes, the queue, and what is running now."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from pixelwise.server.error_responses import RequestError
from pixelwise.server.routes.predict_routes import TheState
from pixelwise.server.routes.run_routes import checked_reading, checked_settings
from pixelwise.server.run_list import (
    MOST_NOTE,
    progress_of,
    read_from,
    read_toml,
    require_torch,
    without_folders,
    write_note,
)
from pixelwise.server.security import PROVEN
from pixelwise.server.server_state import State

router = APIRouter(prefix="/v1", tags=["train"])
RECENT_EPOCHS = 3  # whose mean time forecasts the rest
MOST_SETTINGS = 4000  # letters
PLANS = asyncio.Semaphore(1)  # measuring a dataset takes all cores


class Note(BaseModel):
    """What a person writes about a run."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "twice the light"}]})

    note: str = Field(max_length=MOST_NOTE)


@dataclass
class DataOptions:
    """How the data are read, as options of `pixelwise train`. Empty: detected."""

    classes: Annotated[list[str] | None, Query(max_length=255, description="NAME=VALUE[,VALUE…], as --class.")] = None
    void: Annotated[str, Query(max_length=1000, description="Mask values that mean unlabelled.")] = ""
    masks: Annotated[str, Query(max_length=200, description="Part of the name of the masks to use.")] = ""
    bands: Annotated[str, Query(max_length=4000, description="Bands of the images to use, in order.")] = ""

    def checked(self) -> dict[str, Any]:
        """As keyword arguments of `plan`. Raises RequestError."""
        return checked_reading(self.classes or [], self.void, self.masks, self.bands)


@router.get("/training")
def training(request: Request, state: TheState) -> dict[str, Any]:
    """What is being trained or shipped now, for the header of every room. Without the token it says only that this is
    missing."""
    if not request.scope.get(PROVEN):
        return {"proven": False, "run": None, "queued": [], "job": None}
    name = state.runs.running()
    run = None if name is None else running_row(state, name)
    return {"proven": True, "run": run, "queued": state.runs.queued(), "job": state.shipping.running()}


def running_row(state: State, name: str) -> dict[str, Any]:
    folder = state.runs.folder(name)
    epochs = [event for event in read_from(folder / "trace.jsonl", 0)[0] if event.get("event") == "epoch"]
    now = {"what": "starting", "done": 0, "total": 0, "seconds": 0.0} | progress_of(folder)
    done = int(epochs[-1]["epoch"]) if epochs else 0
    recent = [float(event["seconds"]) for event in epochs[-RECENT_EPOCHS:]]
    planned = int(read_toml(folder / "recipe.toml").get("epochs", 0))
    return {"name": name, **now, "epochs_done": done, "epochs": max(planned, done), "epoch_seconds": recent}


@router.put("/train/notes/{name}")
def note(state: TheState, name: str, wanted: Note) -> dict[str, Any]:
    """Keep a note with a run."""
    write_note(state.runs.existing(name), wanted.note)
    return {"note": wanted.note.strip()}


@router.delete("/train/queue/{name}")
def leave_queue(state: TheState, name: str) -> dict[str, Any]:
    """Take a training out of the queue."""
    state.runs.forget_queued(name)
    return {"queued": state.runs.queued()}


@router.get("/train/plan", response_class=StreamingResponse)
async def plan(
    state: TheState,
    reading: Annotated[DataOptions, Depends(DataOptions)],
    data: Annotated[
        str, Query(pattern=r"^[a-z0-9-]{1,50}$", description="A key from GET /v1/data.", examples=["camvid"])
    ],
    below: Annotated[str, Query(max_length=1000, description="A folder in it.")] = "",
    settings: Annotated[str, Query(max_length=MOST_SETTINGS, description="Fields of the recipe to keep: JSON.")] = "{}",
) -> StreamingResponse:  # fmt: skip
    """What a training would do with this data, and why, as `pixelwise plan`: server-sent events "progress", "plan",
    "crops" (training crops of an image, as training makes them), "error"; the last is "end"."""
    folder = state.data.folder(data, below)
    try:
        fields = json.loads(settings)
    except ValueError as error:
        raise RequestError(422, "request-invalid", "settings: not JSON.", "See /docs.") from error
    if not isinstance(fields, dict):
        raise RequestError(422, "request-invalid", "settings: not a JSON object.", "See /docs.")
    checked_settings(fields)
    require_torch()
    read = reading.checked()
    command = [sys.executable, "-m", "pixelwise.server.plan_job", str(folder), json.dumps(fields), json.dumps(read)]
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(lines_of(command, state), media_type="text/event-stream", headers=headers)


def event_of(row: dict[str, Any]) -> str:
    """A server-sent event; without paths on this machine."""
    if "message" in row:
        row = row | {"message": without_folders(str(row["message"]))}
    return f"data: {json.dumps(row, ensure_ascii=False)}\n\n"


async def lines_of(command: list[str], state: State) -> AsyncIterator[str]:
    """What a process writes, an event a line; whoever stops reading ends it."""
    if PLANS.locked():
        yield event_of({"event": "progress", "what": "waiting for another plan", "done": 0, "total": 0})
    async with PLANS:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, limit=2**24
        )
        try:
            assert process.stdout is not None
            while not state.stopping.is_set() and (line := await process.stdout.readline()):
                yield event_of(json.loads(line))
            if await process.wait():
                message = "The plan ended unexpectedly, perhaps for lack of memory. Try: pixelwise plan DATA"
                yield event_of({"event": "error", "message": message})
            yield event_of({"event": "end"})
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
