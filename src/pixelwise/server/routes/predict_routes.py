"""POST /v1/predict, /v1/trace, /v1/pixel: an image in, labels and explanations out; nothing is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from pixelwise.heap import LARGE_PIXELS, give_back_soon
from pixelwise.images.declared_no_data import unpacked, void_where
from pixelwise.server.error_responses import RequestError
from pixelwise.server.explain import flow_of, layers_of, pixel_of
from pixelwise.server.image_memory import RememberedImage
from pixelwise.server.model_cache import CachedModel
from pixelwise.server.responses import as_json, as_png, for_page, png_answer, probability_answer, slice_header
from pixelwise.server.server_state import State, state_of
from pixelwise.server.upload_decoder import Decoded
from pixelwise.server.uploads import read_upload

router = APIRouter(prefix="/v1", tags=["predict"])
TheState = Annotated[State, Depends(state_of)]
ModelName = Annotated[str, Query(description="A name from GET /v1/models; the server's own by default.", max_length=60)]

SliceNumber = Annotated[
    int | None,
    Query(
        ge=0,
        alias="slice",
        description="Slice of a NIfTI volume, or page of a TIFF, from 0; by default the middle slice, the first page.",
    ),
]


@dataclass
class Place:
    """The pixel that a request is about."""

    x: Annotated[int, Query(ge=0, description="Column, from 0 at the left.", examples=[212])]
    y: Annotated[int, Query(ge=0, description="Row, from 0 at the top.", examples=[140])]

    def inside(self, seen: RememberedImage) -> tuple[int, int]:
        """(x, y). Raises RequestError where it lies outside the image."""
        height, width = seen.prediction.labels.shape
        if self.x >= width or self.y >= height:
            raise RequestError(
                422, "pixel-outside", f"({self.x}, {self.y}) lies outside the image of {width}×{height} pixels."
            )
        return self.x, self.y


Result = TypeVar("Result")
LONG_PIXELS = 8_000_000  # a larger image takes many seconds, and has a thread of its own
ThePlace = Annotated[Place, Depends(Place)]
IMAGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": (
            "The image: its bytes, or a multipart form with one file. A model of other bands than red, green and blue "
            "takes TIFF and NumPy (.npy) files that have them; GET /v1/model lists its bands. "
            "Of a NIfTI volume or a TIFF of several pages one slice is taken."
        ),
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"image": {"type": "string", "format": "binary"}}}
            },
        },
    }
}


def look(decoded: Decoded, decode_ms: float, state: State, opened: CachedModel) -> RememberedImage:
    """Label an upload. Runs on a worker's thread."""
    began = time.perf_counter()
    prediction = opened.model.predict(decoded.array)
    absent_HW = unpacked(decoded.absent, prediction.labels.shape)
    prediction = replace(prediction, labels=void_where(prediction.labels, absent_HW))
    predict_s = time.perf_counter() - began
    state.monitor.predicted(predict_s)
    if prediction.labels.size > LARGE_PIXELS:
        give_back_soon()
    bands = opened.model.metadata.bands
    return RememberedImage(
        decoded.array, prediction, decode_ms, predict_s * 1e3, decoded.format, decoded.size, decoded.sha256, bands,
        decoded.pixel,
    )  # fmt: skip


async def seen_by(
    request: Request,
    state: State,
    model: str,
    work: Callable[[CachedModel, RememberedImage], Result],
    slice_number: int | None = None,
) -> Result:
    """Read, decode and label an upload, then do `work` with it, each on the thread where it blocks no other request.

    `slice_number`: of a volume, from 0; None: the middle one.
    """
    upload = await read_upload(request, state)

    def decode() -> tuple[Decoded, float]:
        began = time.perf_counter()
        bands = state.models.get(model).model.metadata.bands
        found = state.decoders.decode(*upload, bands=bands, slice_number=slice_number)
        return found, (time.perf_counter() - began) * 1e3

    def label(found: tuple[Decoded, float]) -> Result:
        opened = state.models.get(model)
        return work(opened, look(*found, state, opened))

    return await state.queue.run_decoded(
        request, decode, label, aside=lambda found: found[0].array.nbytes > 3 * LONG_PIXELS
    )


@router.post("/predict", openapi_extra=IMAGE_BODY)
async def predict(
    request: Request,
    state: TheState,
    answer: Annotated[
        Literal["json", "png", "both", "page", "probabilities"] | None,
        Query(
            description="json: run lengths; png: a palette PNG; both: JSON with the PNG in it; page: packed arrays; "
            "probabilities: a float16 TIFF of one band a class."
        ),
    ] = None,
    model: ModelName = "",
    slice_number: SliceNumber = None,
) -> Response:
    """Label every pixel of an image."""
    if answer is None:
        answer = "png" if "image/png" in request.headers.get("accept", "") else "json"

    def work(opened: CachedModel, seen: RememberedImage) -> Response:
        if answer == "probabilities":
            return probability_answer(seen, opened.model.metadata)
        if answer == "png":
            return png_answer(as_png(seen.prediction), {"X-Image-SHA256": seen.sha256, **slice_header(seen)})
        if answer == "page":
            return for_page(state.memory.put(seen), seen)
        return as_json(seen, with_png=answer == "both")

    return await seen_by(request, state, model, work, slice_number)


@router.post("/trace", openapi_extra=IMAGE_BODY)
async def trace(
    request: Request, state: TheState, model: ModelName = "", slice_number: SliceNumber = None
) -> dict[str, Any]:
    """How an image passes through the model: the four stages, and every layer."""

    def work(opened: CachedModel, seen: RememberedImage) -> dict[str, Any]:
        return {"flow": flow_of(opened, seen), "layers": layers_of(opened, seen)}

    return await seen_by(request, state, model, work, slice_number)


@router.post("/pixel", openapi_extra=IMAGE_BODY)
async def pixel(
    request: Request, state: TheState, place: ThePlace, model: ModelName = "", slice_number: SliceNumber = None
) -> dict[str, Any]:
    """Why one pixel has its label: the probability of every class, and the receptive field."""

    def work(opened: CachedModel, seen: RememberedImage) -> dict[str, Any]:
        return pixel_of(opened, seen, *place.inside(seen))

    return await seen_by(request, state, model, work, slice_number)
