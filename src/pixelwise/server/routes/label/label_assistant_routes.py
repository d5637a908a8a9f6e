"""What the assistant offers for one photo: a proposal, the object at a click, superpixels, a path along edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from pixelwise.labelling.assistant import Proposal
from pixelwise.labelling.click_points import Click
from pixelwise.labelling.patch import Window
from pixelwise.labelling.superpixels import superpixels
from pixelwise.records import Raster
from pixelwise.server.labelling.label_refusals import LabelRoute
from pixelwise.server.routes.label.label_context import LABEL_PREFIX, ByClient, ImageId, TheLabelling, WindowBody
from pixelwise.server.routes.label.label_image_routes import planes
from pixelwise.server.routes.predict_routes import TheState

router = APIRouter(prefix=f"{LABEL_PREFIX}/images/{{image}}", tags=["label"], route_class=LabelRoute)
WINDOW: Any = {"x": 0, "y": 0, "w": 640, "h": 480}
MOST_POINTS = 200


class ProposeBody(ByClient):
    """The part of a photo that is looked at."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"client": "tab-1", "window": WINDOW}]})

    window: WindowBody | None = Field(None, description="Default: the whole photo.")


class ClickedPoint(BaseModel):
    """A click on an object, or beside it."""

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    positive: bool = Field(True, description="Whether the object is there.")


class ClickBody(ByClient):
    """All clicks for one object."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"client": "tab-1", "points": [{"x": 212, "y": 140, "positive": True}], "window": WINDOW}]
        }
    )

    points: list[ClickedPoint] = Field(min_length=1, max_length=MOST_POINTS)
    window: WindowBody | None = Field(None, description="The part that is looked at. Default: the whole photo.")


class SuperpixelsBody(ByClient):
    """Superpixels of a part of a photo."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"client": "tab-1", "window": WINDOW, "size": 16}]})

    window: WindowBody | None = Field(None, description="Default: the whole photo.")
    size: int = Field(16, ge=4, le=256, description="About the side of a superpixel, in pixels.")


class PixelBody(BaseModel):
    """A pixel."""

    x: int = Field(ge=0)
    y: int = Field(ge=0)


class PathBody(ByClient):
    """The ends of a path."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"client": "tab-1", "anchor": {"x": 5, "y": 9}, "target": {"x": 90, "y": 40}}]}
    )

    anchor: PixelBody
    target: PixelBody


@router.post("/propose", response_class=Response)
async def propose(
    request: Request, state: TheState, labelling: TheLabelling, image: ImageId, by: ProposeBody
) -> Response:
    """Labels for every pixel of a window, from the strokes and the model: keys [h, w], 255 where nothing is proposed or
    a person has labelled; and the confidence [h, w]. A newer request of the same tab replaces one that waits."""
    check = labelling.assistant.ticket(image, by.client)

    def work() -> Response:
        check()
        version, found = labelling.propose(image, window_of(by.window, labelling.pyramid(image).pixels))
        check()
        return planes(request, proposal_header(found, version), found.labels_hw, found.confidence_hw)

    return await state.queue.run(request, work)


@router.post("/click", response_class=Response)
async def click(request: Request, state: TheState, labelling: TheLabelling, image: ImageId, by: ClickBody) -> Response:
    """The object at the clicks: a mask [h, w] of 0 and 1."""

    def work() -> Response:
        window = window_of(by.window, labelling.pyramid(image).pixels)
        region = labelling.click(image, [Click(one.x, one.y, one.positive) for one in by.points], window)
        box = region.window
        return planes(request, box_of(box), region.mask_hw.astype(np.uint8))

    return await state.queue.run(request, work)


@router.post("/superpixels", response_class=Response)
async def superpixels_of(
    request: Request, state: TheState, labelling: TheLabelling, image: ImageId, by: SuperpixelsBody
) -> Response:
    """The number of each pixel's superpixel, uint16 [h, w]."""

    def work() -> Response:
        pixels = labelling.pyramid(image).pixels
        window = window_of(by.window, pixels)
        return planes(request, {"window": box_of(window)}, superpixels(pixels[window.slices], by.size))

    return await state.queue.run(request, work)


@router.post("/path")
async def path(
    request: Request, state: TheState, labelling: TheLabelling, image: ImageId, by: PathBody
) -> dict[str, Any]:
    """The path from an anchor to a target that follows the photo's edges."""
    anchor, target = (by.anchor.x, by.anchor.y), (by.target.x, by.target.y)
    found = await state.queue.run(request, lambda: labelling.paths(image, anchor).to(target))
    return {"points": [list(point) for point in found]}


def window_of(body: WindowBody | None, pixels: Raster) -> Window:
    """The part of a window that is inside a photo. Raises UsageError: none is."""
    height, width = pixels.shape[:2]
    if body is None:
        return Window.whole(height, width)
    return Window(body.x, body.y, body.w, body.h).clipped(height, width)


def box_of(window: Window) -> dict[str, int]:
    return {"x": window.x, "y": window.y, "w": window.w, "h": window.h}


def proposal_header(found: Proposal, version: int) -> dict[str, Any]:
    return {
        "window": box_of(found.window), "least_sure": box_of(found.least_sure), "source": found.source,
        "ms": round(found.ms, 1), "version": version,
    }  # fmt: skip
