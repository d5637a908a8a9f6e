"""Ship a model: its file, smaller forms, a web page by itself, times of the engines here, labels of a whole folder."""

from __future__ import annotations

import importlib.util
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Path as Path_
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from pixelwise.bundle.model_card import MAX_FIELD, ModelCard
from pixelwise.records import RGB
from pixelwise.server import ship_examples
from pixelwise.server.error_responses import RequestError
from pixelwise.server.model_cache import CachedModel
from pixelwise.server.routes.predict_routes import TheState
from pixelwise.server.server_state import State
from pixelwise.server.shipping.ship_request import Form, ShipRequest, Work
from pixelwise.server.shipping.shipped_card import keep_card, shown_card

router = APIRouter(prefix="/v1/ship", tags=["ship"])
JobNumber = Annotated[str, Path_(pattern=r"^[1-9][0-9]{0,5}$", description="From GET /v1/ship/jobs.", examples=["1"])]
ModelName = Annotated[str, Query(max_length=100, description="A model from GET /v1/models; the served one by default.")]
NO_TORCH = "Smaller forms need PyTorch, which is not installed here: pip install 'pixelwise[train]'"
NO_RUN = "Smaller forms are made from a run directory, and this model comes without one: serve RUN, or train one here."


class NewShipJob(BaseModel):
    """A job to start."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"work": "export", "form": "int8"}]})

    work: Work = Field(description="`export` a smaller form, a `web` page, a `benchmark`, or `label` a folder.")
    model: str = Field("", max_length=100, description="A model from GET /v1/models; the served one by default.")
    form: Form = Field("float16", description="Of `export`.")
    max_drop: float = Field(0.5, ge=0, le=100, description="Of `export`: accepted loss of mean IoU, in points.")
    data: str = Field("", max_length=50, description="Of `label`: the key of a folder from GET /v1/data.")
    below: str = Field("", max_length=1000, description="Of `label`: a folder in it, by its path from there.")


@router.get("")
def ship(state: TheState, model: ModelName = "") -> dict[str, Any]:
    """What can be made of a model here."""
    opened = state.models.get(model)
    return {
        "reducible": why_not_reducible(opened) is None,
        "why_not": why_not_reducible(opened),
        "web": opened.model.metadata.bands == RGB,
        "jobs": state.shipping.all(),
    }


def why_not_reducible(opened: CachedModel) -> str | None:
    if opened.run is None or not (opened.run / "checkpoints/best.safetensors").is_file():
        return NO_RUN
    return None if importlib.util.find_spec("torch") else NO_TORCH


CardText = Annotated[str, Field(max_length=MAX_FIELD)]


class CardTexts(BaseModel):
    """Plain texts; nothing in them is markup to the page."""

    model_config = ConfigDict(extra="forbid")

    summary: CardText = ""
    intended_use: CardText = ""
    limits: CardText = Field("", description="Where it fails, and what it is not for.")
    data: CardText = Field("", description="What it was trained on.")
    authors: CardText = ""
    licence: CardText = ""
    contact: CardText = ""


class NewCard(BaseModel):
    """A card to write: texts, each of at most 20,000 characters; what is left out is empty."""

    model_config = ConfigDict(json_schema_extra={"examples": [ship_examples.NEW_CARD]})

    card: CardTexts
    revision: str = Field(max_length=64, description="Of the card that was edited: from GET /v1/ship/card.")


@router.get("/card")
def card(state: TheState, model: ModelName = "") -> dict[str, Any]:
    """The card of a model, and whether it can be edited."""
    return shown_card(state.models, state.models.get(model))


@router.put("/card")
def write(state: TheState, new: NewCard, model: ModelName = "") -> dict[str, Any]:
    """Write a card into the bundle, whole or not at all."""
    opened = state.models.get(model)
    return keep_card(state.models, opened, ModelCard.of(new.card.model_dump()), new.revision)


@router.get("/bundle", response_class=FileResponse)
def bundle(state: TheState, model: ModelName = "") -> FileResponse:
    """The bundle of a model: one ONNX file."""
    opened = state.models.get(model)
    title = state.models.title_of(opened.name)
    return FileResponse(opened.model.path, media_type="application/octet-stream", filename=f"{title}.onnx")


@router.get("/jobs")
def jobs(state: TheState) -> list[dict[str, Any]]:
    """The jobs, the newest first."""
    return state.shipping.all()


@router.post("/jobs", status_code=201)
def start(state: TheState, new: NewShipJob) -> dict[str, Any]:
    """Start a job in a process of its own."""
    return state.shipping.start(request_of(state, new))


def request_of(state: State, new: NewShipJob) -> ShipRequest:
    """Raises RequestError: no such model or folder, or the model has no such form."""
    opened = state.models.get(new.model)
    title = state.models.title_of(opened.name)
    if new.work == "export" and (why_not := why_not_reducible(opened)):
        raise RequestError(409, "not-reducible", why_not)
    source = opened.run if new.work == "export" else opened.model.path
    folder = state.data.folder(new.data, new.below) if new.work == "label" else None
    shown = "/".join(part for part in (new.data, new.below) if part)
    return ShipRequest(new.work, str(source), title, new.form, new.max_drop, str(folder or ""), shown)


@router.post("/jobs/{number}/stop")
def stop(state: TheState, number: JobNumber) -> dict[str, Any]:
    """Stop a job as Ctrl-C does."""
    return state.shipping.stop(number)


@router.post("/jobs/{number}/remove")
def remove(state: TheState, number: JobNumber) -> dict[str, Any]:
    """Delete a job that has ended, with its files."""
    state.shipping.remove(number)
    return {"number": number}


@router.get("/jobs/{number}/file", response_class=FileResponse)
def made_file(state: TheState, number: JobNumber) -> FileResponse:
    """What a finished job made: a bundle, or a ZIP archive of the web page or of the labels."""
    path = state.shipping.file(number)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)
