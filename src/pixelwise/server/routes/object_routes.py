"""The objects of an image and their measurements: of an upload, of which nothing is kept, or of one sent before."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response

from pixelwise.errors import MissingExtraError, UsageError
from pixelwise.objects.object_options import AUTO, ObjectOptions
from pixelwise.objects.stream_objects import MeasuredObjects
from pixelwise.prediction.object_files import csv_parts, geojson_parts, map_parts
from pixelwise.prediction.objects_once import ObjectsOnce
from pixelwise.prediction.outputs import WholeImage
from pixelwise.server.error_responses import RequestError
from pixelwise.server.image_memory import RememberedImage
from pixelwise.server.model_cache import CachedModel
from pixelwise.server.routes.page_routes import TheImage
from pixelwise.server.routes.predict_routes import IMAGE_BODY, ModelName, SliceNumber, TheState, seen_by

router = APIRouter(prefix="/v1")
IMAGE_NAME = "image"  # an upload's own name is never used
LEAST = "Leave out objects of fewer pixels. By default a quarter of the area that 95 % of training's objects exceed."


@dataclass
class ObjectQuery:
    """Which objects, and in which form."""

    answer: Annotated[
        Literal["json", "csv", "geojson", "map"],
        Query(description="json or csv: a row an object; geojson: a polygon each; map: their numbers as TIFF."),
    ] = "json"
    separate: Annotated[str, Query(description="auto, components, distance, intensity or border.", max_length=20)] = (
        AUTO
    )
    min_area: Annotated[float | None, Query(ge=0, description=LEAST)] = None
    drop_edge: Annotated[bool, Query(description="Leave out objects that touch the image's edge.")] = False

    def of(self, opened: CachedModel, seen: RememberedImage) -> Response:
        """Find and measure them. Raises RequestError."""
        try:
            options = ObjectOptions(separate=self.separate, min_area_px=self.min_area, drop_edge=self.drop_edge)
            with ObjectsOnce(options, opened.model.metadata, pixel=seen.pixel) as once:
                whole = WholeImage(seen.pixels, seen.prediction, IMAGE_NAME, seen.bands, objects=once)
                return answer_of(self.answer, once.of(whole), once, whole)
        except (UsageError, MissingExtraError) as error:
            raise RequestError(422, "objects", str(error)) from error


TheObjects = Annotated[ObjectQuery, Depends(ObjectQuery)]


@router.post("/objects", tags=["predict"], openapi_extra=IMAGE_BODY)
async def objects(
    request: Request, state: TheState, query: TheObjects, model: ModelName = "", slice_number: SliceNumber = None
) -> Response:
    """Count and measure the objects in an image."""
    return await seen_by(request, state, model, query.of, slice_number)


@router.get("/images/{image}/objects", tags=["inspect"])
async def objects_of_seen(image: TheImage, query: TheObjects) -> Response:
    """As POST /v1/objects, for an image sent before."""
    return await image.run(query.of)


def answer_of(answer: str, found: MeasuredObjects, once: ObjectsOnce, whole: WholeImage) -> Response:
    if answer != "json":
        left_out = {"X-Objects-Excluded": json.dumps(once.excluded)}  # reason → objects, as JSON answers have it
        if answer == "csv":
            body, kind = b"".join(csv_parts(found.table)), "text/csv; charset=utf-8"
        elif answer == "geojson":
            body, kind = b"".join(geojson_parts(found, whole.classes, IMAGE_NAME)), "application/geo+json"
        else:
            body, kind = b"".join(map_parts(found, None)), "image/tiff"
        return Response(body, headers=left_out, media_type=kind)
    columns = {name: values.tolist() for name, values in found.table.columns.items()}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    facts = {"width": whole.size[1], "height": whole.size[0], **once.facts}
    return JSONResponse(facts | {"objects": [without_nan(row) for row in rows]})


def without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
