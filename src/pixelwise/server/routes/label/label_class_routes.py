"""Classes of the labelling folder, and masks that come from or go to other formats."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.concurrency import run_in_threadpool

from pixelwise.labelling.class_operations import ClassUse
from pixelwise.labelling.export_labels import export_labels
from pixelwise.labelling.import_masks import import_masks
from pixelwise.labelling.upload_photos import add_photo
from pixelwise.labelling.workspace import Workspace
from pixelwise.server.body_limits import BODY, Body
from pixelwise.server.labelling.label_refusals import LabelRoute
from pixelwise.server.labelling.labelling_state import LabellingState
from pixelwise.server.routes.label.label_context import LABEL_PREFIX, TheLabelling
from pixelwise.server.routes.label.label_folder_routes import class_rows, path_of
from pixelwise.server.routes.predict_routes import TheState

router = APIRouter(prefix=LABEL_PREFIX, tags=["label"], route_class=LabelRoute)
Key = Annotated[int, Field(ge=0, le=253)]
NEEDED = {
    "add": ("name",), "rename": ("key", "name"), "recolour": ("key", "colour"), "merge": ("key", "into"),
    "reorder": ("keys",), "delete": ("key",), "lock": ("key", "locked"),
}  # fmt: skip
PHOTO_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The bytes of an image file.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ClassChange(BaseModel):
    """A change of the classes. Each op takes its own fields."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"op": "add", "name": "road"}, {"op": "merge", "key": 1, "into": 0}]}
    )

    op: Literal["add", "rename", "recolour", "merge", "reorder", "delete", "lock"]
    key: Key | None = None
    name: str | None = Field(None, max_length=400)
    colour: tuple[int, int, int] | None = Field(None, description="Red, green and blue, 0–255. Of add: may be missing.")
    into: Key | None = Field(None, description="The class that takes the pixels of a merged one.")
    keys: list[Key] | None = Field(None, max_length=254, description="All keys, in their new order.")
    locked: bool | None = Field(None, description="A locked class neither gains nor loses pixels.")

    @model_validator(mode="after")
    def complete(self) -> ClassChange:
        missing = [name for name in NEEDED[self.op] if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{self.op} needs {' and '.join(missing)}")
        return self


class ImportBody(BaseModel):
    """Masks to take over."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"folder": "other_masks"}]})

    folder: str = Field(
        min_length=1, max_length=4000, description="A dataset that `check` reads, or an export of CVAT or Label Studio."
    )


class ExportBody(BaseModel):
    """Where labels go."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"format": "coco", "out": "my_coco"}]})

    format: str = Field(max_length=40, description="A format that `convert` writes.")
    out: str = Field(min_length=1, max_length=4000, description="A new folder on the server's machine.")


@router.post("/classes")
def change_classes(labelling: TheLabelling, change: ClassChange) -> dict[str, Any]:
    """Add, rename, recolour, merge, reorder, delete or lock a class. The answer counts the images and pixels it had."""
    use = changed(labelling.opened, change)
    return {"classes": class_rows(labelling), "images": use.images, "pixels": use.pixels}


def changed(workspace: Workspace, change: ClassChange) -> ClassUse:
    """Change the classes; returns what a merged or deleted class touched."""
    key = change.key if change.key is not None else 0
    match change.op:
        case "add":
            workspace.add_class(change.name or "", change.colour)
        case "rename":
            workspace.rename_class(key, change.name or "")
        case "recolour":
            workspace.recolour_class(key, change.colour or (0, 0, 0))
        case "lock":
            workspace.lock_class(key, bool(change.locked))
        case "reorder":
            workspace.reorder_classes(change.keys or [])
        case "merge":
            return workspace.merge_class(key, change.into or 0)
        case "delete":
            return workspace.delete_class(key)
    return ClassUse(0, 0)


@router.get("/classes/{key}/use")
def class_use(labelling: TheLabelling, key: Annotated[int, Path(ge=0, le=253)]) -> dict[str, int]:
    """How many images and pixels a class has: what deleting or merging it touches."""
    use = labelling.opened.class_use(key)
    return {"images": use.images, "pixels": use.pixels}


@router.post("/upload", openapi_extra=PHOTO_BODY)
async def upload(
    request: Request,
    labelling: TheLabelling,
    name: Annotated[str, Query(min_length=1, max_length=400, description="The file's name.", examples=["001.jpg"])],
) -> dict[str, str]:
    """Add a photo to a labelling folder that keeps uploaded ones; a new one is made where none is open."""
    body: Body = request.scope[BODY]
    data = await body.read()
    return await run_in_threadpool(lambda: {"id": uploaded(labelling, name, data)})


def uploaded(labelling: LabellingState, name: str, data: bytes) -> str:
    workspace = labelling.opened_or_new()
    photo = add_photo(workspace, name, data)
    labelling.photos_changed()
    return photo.id


@router.post("/import")
async def import_labels(
    request: Request, state: TheState, labelling: TheLabelling, source: ImportBody
) -> dict[str, Any]:
    """Take over masks, matched to the photos by name; each becomes an edit that can be undone."""
    workspace = labelling.opened
    folder = path_of(source.folder)
    found = await state.queue.run(request, lambda: import_masks(workspace, folder), aside=True)
    return {
        "images": found.images, "pixels": found.pixels, "skipped": list(found.skipped),
        "new_classes": list(found.new_classes),
    }  # fmt: skip


@router.post("/export")
async def export(request: Request, state: TheState, labelling: TheLabelling, target: ExportBody) -> dict[str, Any]:
    """Write the labelled images and their masks into a new folder, in any format that `convert` writes."""
    workspace = labelling.opened
    out = path_of(target.out)
    return {"written": await state.queue.run(request, lambda: export_labels(workspace, target.format, out), aside=True)}
