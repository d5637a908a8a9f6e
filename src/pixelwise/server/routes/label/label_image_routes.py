"""One photo that is labelled: its tiles, its mask, and every change of it."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from pixelwise.images.false_colour import shown_bands
from pixelwise.images.files import shown
from pixelwise.labelling.labelled_image import Applied, Edit, LabelledImage
from pixelwise.labelling.mask_operations import change_mask
from pixelwise.labelling.patch import Patch, Window
from pixelwise.records import RGB, VOID
from pixelwise.server.body_limits import BODY, Body
from pixelwise.server.error_responses import RequestError
from pixelwise.server.labelling.edit_body import EditBody, edit_of
from pixelwise.server.labelling.image_pyramid import TILE_PX
from pixelwise.server.labelling.label_refusals import LabelRoute
from pixelwise.server.labelling.labelling_state import MAX_PIXELS, LabellingState
from pixelwise.server.labelling.photo_pictures import jpeg
from pixelwise.server.responses import pack
from pixelwise.server.routes.label.label_context import LABEL_PREFIX, ByClient, ImageId, TheLabelling, WindowBody
from pixelwise.server.routes.page_routes import TheView
from pixelwise.server.routes.predict_routes import TheState

router = APIRouter(prefix=f"{LABEL_PREFIX}/images/{{image}}", tags=["label"], route_class=LabelRoute)
TileNumber = Annotated[int, Path(ge=0, le=1000)]
COMPRESSED_BYTES = 1 << 16  # of an answer, beyond which it is sent compressed
EDIT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": (
            "uint32 length of the header (little-endian), the header as JSON (client, edit_id, tool, key, seconds, "
            "source, x, y, w, h), then h × w bytes of keys and h × w bytes that tell which pixels change (0 or 1). "
            "May be gzip-compressed (Content-Encoding: gzip)."
        ),
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class MorphBody(ByClient):
    """An operation on the pixels of one class."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"client": "tab-1", "operation": "grow", "key": 0, "amount": 3}]}
    )

    operation: Literal["fill-holes", "grow", "shrink", "smooth", "remove-specks"]
    key: int = Field(ge=0, le=253)
    amount: int = Field(ge=0, description="Pixels; of holes and specks: their largest area. Of holes, 0: all.")
    window: WindowBody | None = Field(None, description="Only pixels inside change. Default: the whole image.")


class CopyBody(ByClient):
    """Where labels are copied from."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"client": "tab-1", "from": "0123456789ab"}]}, populate_by_name=True
    )

    source: str = Field(alias="from", pattern="^[0-9a-f]{12}$", description="Another photo of the same size.")


class CloseBody(ByClient):
    """Which photo is not labelled any more."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"client": "tab-1", "leaving": False}]})

    leaving: bool = Field(False, description="The client ends: all its photos are freed, and it can open none.")
    perhaps: bool = Field(False, description="The client may end: free its photos after 5 s without a sign of life.")


class StateBody(ByClient):
    """Whether a photo is labelled completely."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"client": "tab-1", "state": "done"}]})

    state: Literal["done", "started"]


@router.post("/open")
def open_image(labelling: TheLabelling, image: ImageId, by: ByClient) -> dict[str, Any]:
    """Open a photo to label it, and lock it for others. Repeat it every 10 s: a lock lapses after 30 s."""
    workspace, photo = labelling.opened, labelling.photo(image)
    new = workspace.locks.holder(image) is None
    if not workspace.read_only:  # before the photo is decoded: a page that leaves meanwhile closes what it holds
        workspace.locks.acquire(image, by.client, workspace.user)
    try:
        pyramid, labels = labelling.pyramid(image), workspace.opened(image)
    except Exception:
        if new:  # a photo that cannot be read is not locked
            workspace.locks.let_go(image, by.client)
        raise
    height, width = labels.size
    if pyramid.pixels.shape[:2] != (height, width):
        has = f"{pyramid.pixels.shape[1]}×{pyramid.pixels.shape[0]} pixels, but its labels {width}×{height}"
        raise RequestError(
            409, "photo-replaced", f"{shown(photo.name)}: the photo has {has}.", "Bring the former photo back."
        )
    status, state = workspace.status(image), labels.state
    return {
        "id": image, "name": shown(photo.name), "width": width, "height": height,
        "bands": {
            **pyramid.bands.to_json(), "rgb": pyramid.bands == RGB, "shown": list(shown_bands(pyramid.bands)),
        },
        "levels": pyramid.number, "tile": TILE_PX, **progress(labels, state), "state": status.state,
        "seconds": round(status.seconds, 1), "locked_by": None,
    }  # fmt: skip


@router.post("/close")
def close_image(labelling: TheLabelling, image: ImageId, by: CloseBody) -> dict[str, Any]:
    """Free a photo for others."""
    labelling.photo(image)
    if by.perhaps:
        labelling.opened.locks.may_leave(by.client)
        return {"id": image}
    labelling.opened.locks.let_go(image, by.client)
    if by.leaving:
        labelling.opened.locks.leave(by.client)
    labelling.assistant.compare(labelling.photo(image))
    return {"id": image}


@router.get("/tiles/{level}/{column}/{row}", response_class=Response)
def tile(
    labelling: TheLabelling, image: ImageId, level: TileNumber, column: TileNumber, row: TileNumber, view: TheView
) -> Response:
    """A tile of at most 512 × 512 pixels. Level 0 is the photo itself; each further level is half as large."""
    pyramid = labelling.pyramid(image)
    try:
        values = pyramid.tile(level, column, row)
    except IndexError as error:
        raise RequestError(404, "tile-unknown", f"T{str(error)[1:]}.", "See levels in POST …/open.") from error
    headers = {"Cache-Control": "private, max-age=600", "Content-Encoding": "identity"}
    return Response(jpeg(view.of(values, pyramid.bands)), headers=headers, media_type="image/jpeg")


@router.get("/mask", response_class=Response)
def mask(request: Request, labelling: TheLabelling, image: ImageId) -> Response:
    """The labels: keys [H, W], 255 where not labelled; and who labelled: 0 nobody, 1 a person, 2 the assistant."""
    labelling.photo(image)
    labels = labelling.opened.opened(image)
    with labels.lock:
        keys_HW, drawn_HW = labels.mask_HW.copy(), labels.drawn_HW.copy()
        header = {**progress(labels, labels.state)}
    return planes(request, header, keys_HW, drawn_HW)


@router.post("/edits", openapi_extra=EDIT_BODY)
async def edit(request: Request, labelling: TheLabelling, image: ImageId) -> dict[str, Any]:
    """Change a part of the mask, as one edit that can be undone. The same edit_id twice is applied once."""
    body: Body = request.scope[BODY]
    data = await body.read()
    encoding = request.headers.get("content-encoding", "")
    return await run_in_threadpool(lambda: edited(labelling, image, edit_of(data, encoding, MAX_PIXELS)))


def edited(labelling: LabellingState, image: str, found: EditBody) -> dict[str, Any]:
    """Apply an edit."""
    header = found.header
    labels = held(labelling, image, header.client)
    patch = Patch(header.x, header.y, found.values_hw, found.changed_hw)
    by = labelling.user
    applied = labels.apply(Edit(header.edit_id, header.tool, header.key, patch, header.seconds, header.source, by))
    return progress(labels, applied)


@router.post("/undo", response_class=Response)
def undo(request: Request, labelling: TheLabelling, image: ImageId, by: ByClient) -> Response:
    """Take the last edit back. The answer is what changed: values, changed and drawn, each [h, w]; empty if nothing."""
    labels = held(labelling, image, by.client)
    return stepped(request, labels, lambda: labels.undo(labelling.user))


@router.post("/redo", response_class=Response)
def redo(request: Request, labelling: TheLabelling, image: ImageId, by: ByClient) -> Response:
    """Apply again what was undone last. The answer is as that of undo."""
    labels = held(labelling, image, by.client)
    return stepped(request, labels, lambda: labels.redo(labelling.user))


@router.post("/morph", response_class=Response)
async def morph(request: Request, state: TheState, labelling: TheLabelling, image: ImageId, by: MorphBody) -> Response:
    """Fill holes, grow, shrink, smooth, or remove specks, as an edit. The answer is as that of undo."""

    def work() -> Response:
        labels = held(labelling, image, by.client)
        window = Window(by.window.x, by.window.y, by.window.w, by.window.h) if by.window else None
        locked = [one.key for one in labelling.opened.classes.classes if one.locked]
        with labels.lock:
            patch = change_mask(by.operation, labels.mask_HW, by.key, by.amount, window, locked)
            return changed_by(request, labelling, labels, by.operation, by.key, patch)

    return await state.queue.run(request, work)


@router.post("/copy-from", response_class=Response)
def copy_from(request: Request, labelling: TheLabelling, image: ImageId, by: CopyBody) -> Response:
    """Copy the labels of another photo of the same size, as an edit. The answer is as that of undo."""
    labels = held(labelling, image, by.client)
    labelling.photo(by.source)
    other = labelling.opened.opened(by.source)
    if other.size != labels.size:
        sizes = (f"{size[1]}×{size[0]}" for size in (other.size, labels.size))
        raise RequestError(
            422, "sizes-differ", "The photos have {} and {} pixels.".format(*sizes), "Copy from one of the same size."
        )
    _, keys_HW, _ = other.planes()
    with labels.lock:
        patch = Patch.between(labels.mask_HW, np.where(keys_HW == VOID, labels.mask_HW, keys_HW))
        return changed_by(request, labelling, labels, "copy-from", VOID, patch)


@router.post("/state")
def set_state(labelling: TheLabelling, image: ImageId, by: StateBody) -> dict[str, Any]:
    """Say that a photo is labelled completely, or not yet."""
    labelling.photo(image)
    workspace = labelling.opened
    workspace.locks.require(image, by.client)
    workspace.set_done(image, by.state == "done")
    labelling.assistant.compare(labelling.photo(image))
    return {"state": workspace.status(image).state}


def held(labelling: LabellingState, image: str, client: str) -> LabelledImage:
    """The labels of a photo that this client has open. Raises RequestError, LabelLockedError."""
    workspace = labelling.opened
    labelling.photo(image)
    workspace.require_folder()
    workspace.locks.require(image, client)
    return workspace.opened(image)


def progress(labels: LabelledImage, state: Applied) -> dict[str, Any]:
    """Where the log of edits is."""
    return {"version": state.version, "undo": state.undo, "redo": state.redo, "durable": labels.durable}


def stepped(request: Request, labels: LabelledImage, step: Callable[[], Patch | None]) -> Response:
    with labels.lock:
        patch = step()
        nothing = np.empty((0, 0), np.uint8)
        return patch_answer(request, labels, patch or Patch(0, 0, nothing, nothing.astype(bool)))


def changed_by(
    request: Request, labelling: LabellingState, labels: LabelledImage, tool: str, key: int, patch: Patch
) -> Response:
    """Apply a patch that the server computed. Called with the labels' lock held."""
    if patch.pixels:
        labels.apply(Edit(uuid.uuid4().hex, tool, key, patch, user=labelling.user))
    return patch_answer(request, labels, patch)


def patch_answer(request: Request, labels: LabelledImage, patch: Patch) -> Response:
    window = patch.window
    header = {"x": window.x, "y": window.y, "w": window.w, "h": window.h, **progress(labels, labels.state)}
    values_hw = labels.mask_HW[window.slices].copy()
    drawn_hw = labels.drawn_HW[window.slices].copy()
    return planes(request, header, values_hw, patch.changed_hw.astype(np.uint8), drawn_hw)


def planes(request: Request, header: dict[str, Any], *arrays: NDArray[Any]) -> Response:
    """Packed arrays; large ones compressed here, on this thread: labels shrink to a hundredth."""
    body = pack(header, *arrays)
    encoding = "identity"
    if len(body) > COMPRESSED_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        body, encoding = gzip.compress(body, 1, mtime=0), "gzip"
    headers = {"Content-Encoding": encoding, "Vary": "Accept-Encoding"}
    return Response(body, headers=headers, media_type="application/octet-stream")
