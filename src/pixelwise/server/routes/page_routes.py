"""Routes of the page: models, samples, and details of the images that it has sent before."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from pixelwise.images.declared_no_data import void_where
from pixelwise.images.false_colour import false_colour
from pixelwise.images.image_files import encode_png
from pixelwise.images.no_data import labels_with_data
from pixelwise.records import VOID, Bands, Pixels, Raster
from pixelwise.server.error_responses import RequestError
from pixelwise.server.explain import (
    flow_of,
    influence_of,
    layers_of,
    model_of,
    pixel_of,
    refuse_large,
    values_of,
    wrong_scale_of,
)
from pixelwise.server.image_memory import RememberedImage
from pixelwise.server.model_cache import CachedModel
from pixelwise.server.responses import as_json, as_png, packed, png_answer
from pixelwise.server.routes.predict_routes import ModelName, ThePlace, TheState
from pixelwise.server.sample_images import is_held_out
from pixelwise.server.security import PROVEN, require_proof
from pixelwise.tracing.arithmetic import explain
from pixelwise.tracing.prediction_checks import check_prediction
from pixelwise.tracing.trace import trace_pixels
from pixelwise.tracing.trace_page import page_of

router = APIRouter(prefix="/v1", tags=["inspect"])
Result = TypeVar("Result")


@dataclass
class RememberedRequest:
    """A request about an image that the page has sent before."""

    request: Request
    state: TheState
    image: Annotated[str, Path(max_length=40, description="The name that /v1/predict?answer=page returned.")]
    model: ModelName = ""

    async def run(self, work: Callable[[CachedModel, RememberedImage], Result]) -> Result:
        seen = self.state.memory.get(self.image)
        return await self.state.queue.run(self.request, lambda: work(self.state.models.get(self.model), seen))


TheImage = Annotated[RememberedRequest, Depends(RememberedRequest)]


@dataclass
class View:
    """Which bands are shown, and how their values become brightness."""

    bands: Annotated[
        str,
        Query(
            max_length=40,
            pattern=r"^(\d+,\d+,\d+)?$",
            description="The bands shown as red, green and blue, counted from 0. Default: as in GET /v1/model.",
            examples=["3,2,1"],
        ),
    ] = ""
    low: Annotated[float | None, Query(description="The value shown black. Default: each band's low.")] = None
    high: Annotated[float | None, Query(description="The value shown brightest. Default: each band's high.")] = None

    def of(self, pixels_HWN: Raster, bands: Bands) -> Pixels:
        """The picture [H, W, 3]. Raises RequestError: no such band, or an empty window."""
        choose = tuple(int(band) for band in self.bands.split(",")) if self.bands else None
        if (self.low is None) != (self.high is None):
            raise RequestError(422, "window-empty", "low and high belong together.", "Give both, or neither.")
        window = None if self.low is None or self.high is None else (self.low, self.high)
        if window is not None and not (math.isfinite(window[1] - window[0]) and window[0] < window[1]):
            raise RequestError(
                422, "window-empty", f"low is {self.low:g} and high {self.high:g}.", "Give a higher high."
            )
        if choose is not None and max(choose) >= len(bands):
            known = ", ".join(f"{place} {name}" for place, name in enumerate(bands.names))
            raise RequestError(422, "band-unknown", f"Band {max(choose)} does not exist.", f"The bands are: {known}.")
        assert choose is None or len(choose) == 3
        return false_colour(pixels_HWN, bands, choose, window)


TheView = Annotated[View, Depends(View)]


@router.get("/models", tags=["models"])
def models(request: Request, state: TheState) -> list[dict[str, str]]:
    """The models that can be used; with the token, also those of finished runs."""
    return state.models.names() if request.scope.get(PROVEN) else state.models.names()[:1]


@router.get("/model", tags=["models"])
async def model(request: Request, state: TheState, model: ModelName = "") -> dict[str, Any]:
    """A model: classes, input size, normalisation, layers, provenance and licence."""

    def work() -> dict[str, Any]:
        opened = state.models.get(model)
        return model_of(opened, state.models)

    return await state.queue.run(request, work)


@router.get("/judged", tags=["models"])
async def judged(request: Request, state: TheState, model: ModelName = "") -> dict[str, Any] | None:
    """A model's confusion matrix and scores on images that it was not trained on; null where there are none."""
    return await state.queue.run(request, lambda: state.models.get(model).judged(), aside=True)


@router.get("/samples", tags=["samples"])
def samples(request: Request, state: TheState, model: ModelName = "") -> list[dict[str, Any]]:
    """Sample images; with the token, also the held-out images of the model's run."""
    rows = state.models.get(model).samples.to_json()
    return [row for row in rows if request.scope.get(PROVEN) or not is_held_out(row["name"])]


@router.get("/samples/{name}/image", tags=["samples"], response_class=Response)
async def sample_image(
    request: Request,
    state: TheState,
    name: str,
    answer: Annotated[
        Literal["png", "npy"],
        Query(description="png: to look at; npy: a NumPy array of the model's bands, to send to /v1/predict."),
    ] = "png",
    model: ModelName = "",
) -> Response:
    """A sample as PNG, or as the model takes it."""
    open_to(request, name)
    kept = {"Cache-Control": "private, max-age=3600"}
    if answer == "npy":
        array = await state.queue.run(request, lambda: npy_of(state.models.get(model).samples.read(name)[0]))
        return Response(array, headers=kept, media_type="application/octet-stream")
    png = await state.queue.run(request, lambda: state.models.get(model).samples.pngs(name)[0])
    return png_answer(png, kept)


@router.get("/samples/{name}/truth", tags=["samples"], response_class=Response)
async def sample_truth(request: Request, state: TheState, name: str, model: ModelName = "") -> Response:
    """The true mask of a sample: a grey PNG of class ids, 255 where unlabelled."""
    open_to(request, name)
    png = await state.queue.run(request, lambda: state.models.get(model).samples.pngs(name)[1])
    return png_answer(png)


@router.get("/images/{image}/picture", response_class=Response)
async def picture(image: TheImage, view: TheView) -> Response:
    """The image as it was decoded, as PNG: for browsers that cannot show its own format, and for other bands than red,
    green and blue, of which three are shown."""
    png = await image.run(lambda _, seen: encode_png(view.of(seen.pixels, seen.bands)))
    return png_answer(png, {"Cache-Control": "private, max-age=600"})


@router.get("/images/{image}/flow")
async def flow(image: TheImage) -> list[dict[str, Any]]:
    """The four stages of an image: shapes, value ranges, times and thumbnails."""
    return await image.run(flow_of)


@router.get("/images/{image}/labels", response_class=Response)
async def labels(image: TheImage, answer: Literal["json", "png"] = "png") -> Response:
    """The labels as a download: a palette PNG, or JSON with run lengths."""

    def work(_: CachedModel, seen: RememberedImage) -> Response:
        if answer == "png":
            return png_answer(as_png(seen.prediction), attachment("mask.png"))
        return as_json(seen, with_png=False, headers=attachment("labels.json"))

    return await image.run(work)


@router.get("/images/{image}/diagnosis")
async def diagnosis(image: TheImage) -> list[dict[str, str]]:
    """Warnings about a prediction, each with a remedy; often none."""

    def work(opened: CachedModel, seen: RememberedImage) -> list[dict[str, str]]:
        like_training = opened.model.golden_image
        found = check_prediction(seen.pixels, seen.prediction, opened.model.metadata, example_HWN=like_training)
        return [finding.to_json() for finding in found]

    return await image.run(work)


@router.get("/images/{image}/layers")
async def layers(image: TheImage) -> list[dict[str, Any]]:
    """Every layer on this image: shape, value range, receptive field and thumbnail."""
    return await image.run(layers_of)


@router.get("/images/{image}/layers/{layer}", response_class=Response)
async def layer_values(image: TheImage, layer: str) -> Response:
    """All values of one layer, packed as float32 [channels, h, w]."""

    def work(opened: CachedModel, seen: RememberedImage) -> Response:
        values = values_of(opened, seen)[tensor_of(opened, layer)]
        return packed({"layer": layer}, values.astype(np.float32))

    return await image.run(work)


@router.get("/images/{image}/unit")
async def unit(
    image: TheImage,
    place: ThePlace,
    layer: Annotated[str, Query(max_length=60, description="A name from GET …/layers.", examples=["stem"])],
    channel: Annotated[int, Query(ge=0, examples=[6])],
) -> dict[str, Any]:
    """How one value of a layer is computed from the model's weights. x and y count the layer's values, not pixels."""

    def work(opened: CachedModel, seen: RememberedImage) -> dict[str, Any]:
        tensor = tensor_of(opened, layer)
        values = values_of(opened, seen, tensor)
        channels, h, w = values[tensor].shape
        if channel >= channels or place.y >= h or place.x >= w:
            raise RequestError(422, "value-outside", f"The layer {layer} is {channels}×{h}×{w}.")
        return {
            "layer": layer,
            "channel": channel,
            "x": place.x,
            "y": place.y,
            "value": float(values[tensor][channel, place.y, place.x]),
            "steps": explain(opened.inspected, values, tensor, channel, place.y, place.x),
        }

    return await image.run(work)


@router.get("/images/{image}/skips", response_class=Response)
async def skips(
    image: TheImage,
    off: Annotated[str, Query(max_length=200, description="Names of upsampling layers, separated by commas.")] = "",
) -> Response:
    """Labels and scores with skip connections switched off, packed as by /v1/predict?answer=page."""

    def work(opened: CachedModel, seen: RememberedImage) -> Response:
        names = [name for name in off.split(",") if name]
        unknown = [name for name in names if name not in opened.inspected.skips]
        if unknown:
            raise RequestError(
                422, "skip-unknown", f"This model's skips are: {', '.join(opened.inspected.skips) or 'none'}."
            )
        refuse_large(opened, seen)
        labels, scores = opened.inspected.without_skips(seen.pixels, names)
        labels = void_where(labels_with_data(seen.pixels, labels), seen.prediction.labels == VOID)
        changed = float((labels != seen.prediction.labels).mean())
        return packed({"off": names, "changed_share": changed}, labels, scores)

    return await image.run(work)


@router.get("/images/{image}/wrong-scale")
async def wrong_scale(image: TheImage) -> dict[str, Any]:
    """The prediction when the input is not divided by 255, which is the most common mistake."""
    return await image.run(wrong_scale_of)


@router.get("/images/{image}/pixel")
async def pixel(image: TheImage, place: ThePlace) -> dict[str, Any]:
    """As POST /v1/pixel, for an image sent before."""
    return await image.run(lambda opened, seen: pixel_of(opened, seen, *place.inside(seen)))


@router.get("/images/{image}/influence")
async def influence(
    image: TheImage,
    place: ThePlace,
    row: Annotated[int, Query(ge=0, description="Which row of parts, from the top.", examples=[3])],
    grid: Annotated[int, Query(ge=2, le=16, description="Rows of parts.")] = 8,
) -> dict[str, Any]:
    """How much a pixel's probability drops when parts of the image are greyed out, one row of parts per request."""
    if row >= grid:
        raise RequestError(422, "row-outside", f"Row {row} does not exist: there are {grid} rows, from 0.")
    return await image.run(lambda opened, seen: influence_of(opened, seen, *place.inside(seen), grid, row))


@router.get("/images/{image}/report", response_class=Response)
async def report(image: TheImage, place: ThePlace) -> Response:
    """The trace of an image as one HTML file that opens offline."""

    def work(opened: CachedModel, seen: RememberedImage) -> Response:
        refuse_large(opened, seen)
        traced = trace_pixels(
            opened.model, seen.pixels, place.inside(seen), decode_ms=seen.decode_ms, prediction=seen.prediction
        )
        html = page_of(traced, opened.model, image.state.models.title_of(opened.name))
        return Response(html, media_type="text/html; charset=utf-8", headers=attachment("pixelwise-report.html"))

    return await image.run(work)


def npy_of(pixels_HWN: Raster) -> bytes:
    """An array as a .npy file."""
    written = io.BytesIO()
    np.save(written, pixels_HWN, allow_pickle=False)
    return written.getvalue()


def open_to(request: Request, sample: str) -> None:
    """Images in folders of this machine need the token. Raises RequestError."""
    if is_held_out(sample):
        require_proof(request.scope)


def attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def tensor_of(opened: CachedModel, layer: str) -> str:
    if layer not in opened.inspected.tensors:
        raise RequestError(404, "layer-unknown", f"This model's layers are: {', '.join(opened.inspected.tensors)}.")
    return opened.inspected.tensors[layer]
