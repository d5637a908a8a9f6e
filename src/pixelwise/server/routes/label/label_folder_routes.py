"""The labelling folder: what is open, its photos, and their pictures."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from pixelwise.images.files import shown
from pixelwise.labelling.class_operations import ImageStatus
from pixelwise.labelling.label_classes import alike
from pixelwise.labelling.photo_list import Photo
from pixelwise.server.error_responses import RequestError
from pixelwise.server.labelling.label_refusals import LabelRoute
from pixelwise.server.labelling.labelling_state import LabellingState
from pixelwise.server.routes.label.label_context import LABEL_PREFIX, ImageId, TheLabelling

router = APIRouter(prefix=LABEL_PREFIX, tags=["label"], route_class=LabelRoute)
STATES = ("untouched", "started", "done", "model")
NO_ASSISTANT = {"model": "", "click_model": False, "ready": False, "waiting": 0, "total": 0, "failed": []}
Order = Literal["name", "worth", "disagreement"]
StateName = Literal["", "untouched", "started", "done", "model"]


class OpenFolder(BaseModel):
    """A folder of photos to label, on the server's machine."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"folder": "my_photos", "classes": ["road", "sky"]}]})

    folder: str = Field(min_length=1, max_length=4000, description="Photos, a dataset, or a labelling folder.")
    out: str | None = Field(None, max_length=4000, description="The labelling folder. Default: FOLDER-labels.")
    classes: list[str] = Field([], max_length=254, description="Classes that are added where they are missing.")


@router.get("")
def label(labelling: TheLabelling) -> dict[str, Any]:
    """What is open: the folders, classes, numbers of photos in each state, and the assistant."""
    return described(labelling)


@router.post("/open")
def open_folder(labelling: TheLabelling, folder: OpenFolder) -> dict[str, Any]:
    """Open a folder of photos, a dataset or a labelling folder, in place of the one that is open."""
    photos = path_of(folder.folder)
    labelling.open(photos, path_of(folder.out) if folder.out else None, folder.classes)
    return described(labelling)


@router.get("/images")
def images(
    labelling: TheLabelling,
    order: Annotated[Order, Query(description="By worth, what is most worth labelling comes first.")] = "name",
    state: Annotated[StateName, Query(description="Only photos in this state.")] = "",
    search: Annotated[str, Query(max_length=200, description="Only photos with this in their name.")] = "",
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:  # fmt: skip
    """The photos in an order, a part at a time."""
    workspace = labelling.opened
    wanted = search.casefold()
    every = [(photo, workspace.status(photo.id)) for photo in workspace.photos()]
    found = [
        (photo, status)
        for photo, status in every
        if wanted in shown(photo.name).casefold() and status.state in ((state,) if state else STATES)
    ]
    known = labelling.assistant.worth
    worth = known.of([photo.id for photo, status in every if status.labelled or status.state == "done"])
    disagreement = known.disagreement
    found = in_order(found, {"name": {}, "worth": worth, "disagreement": disagreement}[order])
    rows = [
        {**labelling.row(photo, status), "worth": worth.get(photo.id), "disagreement": disagreement.get(photo.id)}
        for photo, status in found[offset : offset + limit]
    ]
    return {"total": len(found), "images": rows}


@router.get("/images/{image}/thumbnail", response_class=Response)
def thumbnail(request: Request, labelling: TheLabelling, image: ImageId) -> Response:
    """A small picture of a photo."""
    picture = labelling.thumbnail(image)
    tag = f'"{hashlib.sha256(picture).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=60", "Content-Encoding": "identity"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(picture, headers=headers, media_type="image/jpeg")


def in_order(found: list[tuple[Photo, ImageStatus]], values: Mapping[str, float]) -> list[tuple[Photo, ImageStatus]]:
    """The highest value first; photos without one follow in the order of their names."""
    return sorted(found, key=lambda row: -values[row[0].id] if row[0].id in values else float("inf"))


def described(labelling: LabellingState) -> dict[str, Any]:
    """The answer of GET /v1/label."""
    workspace = labelling.workspace
    answer: dict[str, Any] = {
        "open": workspace is not None, "photos": None, "out": None, "read_only": False,
        "user": labelling.user, "classes": [], "counts": dict.fromkeys(STATES, 0), "seconds": 0.0,
        "assistant": NO_ASSISTANT, "bands": None, "notes": [], "failure": "", "importing": None, "alike": [],
        "can_train": importlib.util.find_spec("torch") is not None,
    }  # fmt: skip
    if workspace is None:
        return answer
    for photo in workspace.photos():
        status = workspace.status(photo.id)
        answer["counts"][status.state] += 1
        answer["seconds"] += status.seconds
    return answer | {
        "photos": shown(workspace.photos_root) if workspace.photos_root else None,
        "out": shown(workspace.out),
        "read_only": workspace.read_only,
        "classes": class_rows(labelling),
        "seconds": round(answer["seconds"], 1),
        "bands": {**workspace.bands.to_json()},
        "notes": list(workspace.notes),
        "failure": workspace.failure,
        "assistant": {**labelling.assistant.to_json(), "click_model": labelling.click_model is not None},
        "importing": labelling.importing.to_json() if labelling.importing else None,
        "alike": [[one, other] for one, other, _ in alike(workspace.classes)],
    }


def class_rows(labelling: LabellingState) -> list[dict[str, Any]]:
    return [
        {"key": one.key, "name": one.name, "colour": list(one.colour), "locked": one.locked}
        for one in labelling.opened.classes.classes
    ]


def path_of(named: str) -> Path:
    """Raises RequestError: no name of a file."""
    try:
        if "\0" not in named:
            return Path(named).expanduser()
    except RuntimeError:  # a user that there is not
        pass
    raise RequestError(422, "folder-missing", "This is no name of a folder.", "Check its path.")
