"""Routes that compare labels with a true mask: a sample's own, or one from a file, with what its values mean."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import Response

from pixelwise.images.declared_no_data import void_where
from pixelwise.images.decode import MaskIds
from pixelwise.images.files import Refusal
from pixelwise.images.image_files import count_ids, full_mapping, labels_from_ids
from pixelwise.images.no_data import labels_with_data
from pixelwise.metrics import confusion
from pixelwise.records import VOID, Labels, Prediction
from pixelwise.server.error_responses import RequestError
from pixelwise.server.image_memory import RememberedImage
from pixelwise.server.model_cache import CachedModel
from pixelwise.server.responses import packed
from pixelwise.server.routes.page_routes import TheImage, open_to
from pixelwise.server.routes.predict_routes import IMAGE_BODY
from pixelwise.server.upload_decoder import Decoded
from pixelwise.server.uploads import read_upload

router = APIRouter(prefix="/v1", tags=["inspect"])
MOST_VALUES = 256  # of a mask that are listed


@router.post("/images/{image}/truth", openapi_extra=IMAGE_BODY, response_class=Response)
async def truth(
    image: TheImage,
    ids: Annotated[
        str,
        Query(
            max_length=4000,
            pattern=r"^(-?\d{1,9}:\d{1,3}(,-?\d{1,9}:\d{1,3})*)?$",
            description="What each value means, as value:class id, 255 void. Default: as in the model's training.",
            examples=["0:0,7:1,11:255"],
        ),
    ] = "",
) -> Response:
    """Compare with a mask of class ids: each class's IoU on this image, and the mask, packed as uint8 [H, W]."""
    state, seen = image.state, image.state.memory.get(image.image)
    upload = await read_upload(image.request, state)

    def work(mask: Decoded) -> Response:
        opened = state.models.get(image.model)
        mapping = ids_given(ids, len(opened.model.classes)) if ids else ids_known(opened)
        return compared(opened, seen, true_labels(mask.array, mapping, opened, seen.prediction))

    return await state.queue.run_decoded(image.request, lambda: state.decoders.decode(*upload, mask=True), work)


@router.post("/images/{image}/mask-values", openapi_extra=IMAGE_BODY)
async def mask_values(image: TheImage) -> list[dict[str, Any]]:
    """The values that a mask holds, the most frequent first, each with the class id that this model gives it: 255 void,
    null none. At most 256 of them."""
    state, seen = image.state, image.state.memory.get(image.image)
    upload = await read_upload(image.request, state)

    def work(mask: Decoded) -> list[dict[str, Any]]:
        opened = state.models.get(image.model)
        require_size(mask.array, seen.prediction)
        mapping, counts = full_mapping(ids_known(opened), len(opened.model.classes)), count_ids(mask.array)
        ordered = sorted(counts.items(), key=lambda item: -item[1])[:MOST_VALUES]
        return [{"value": v, "share": n / mask.array.size, "class": mapping.get(v)} for v, n in ordered]

    return await state.queue.run_decoded(image.request, lambda: state.decoders.decode(*upload, mask=True), work)


@router.get("/images/{image}/truth", response_class=Response)
async def truth_of_sample(
    image: TheImage, sample: Annotated[str, Query(max_length=60, examples=["scene-4"])]
) -> Response:
    """As POST, with the true mask of the sample that this image is."""
    open_to(image.request, sample)

    def work(opened: CachedModel, seen: RememberedImage) -> Response:
        pixels, labels = opened.samples.read(sample)
        if not np.array_equal(pixels, seen.pixels, equal_nan=pixels.dtype.kind == "f"):
            raise RequestError(422, "sample-other", "This image is not that sample.", "GET /v1/samples lists them.")
        return compared(opened, seen, labels)

    return await image.run(work)


def compared(opened: CachedModel, seen: RememberedImage, true_HW: Labels) -> Response:
    no_data_HW = seen.prediction.labels == VOID  # the file may say it where 8-bit pixels cannot
    true_HW = void_where(labels_with_data(seen.pixels, true_HW), no_data_HW)
    matrix = confusion.count_pairs(seen.prediction.labels, true_HW, len(opened.model.classes))
    scores = confusion.scores(matrix).to_json(opened.model.classes)
    return packed({"scores": scores, "void_share": float((true_HW == VOID).mean())}, true_HW)


def ids_known(opened: CachedModel) -> dict[int, int]:
    """Stored value → class id, as in the masks that this model was trained on; 255 is always void."""
    mask_ids = opened.samples.mask_ids
    return {VOID: VOID, **mask_ids} if mask_ids else {}


def ids_given(text: str, classes: int) -> dict[int, int]:
    """ "7:0,11:255" as a mapping. Raises RequestError."""
    mapping = {int(value): int(label) for value, _, label in (pair.partition(":") for pair in text.split(","))}
    if wrong := sorted({label for label in mapping.values() if label >= classes and label != VOID}):
        known = f"This model's class ids are 0 to {classes - 1}, and {VOID} for void."
        raise RequestError(422, "class-unknown", f"There is no class {wrong[0]}.", known)
    return mapping


def require_size(ids: MaskIds, prediction: Prediction) -> None:
    """Raises RequestError if a mask is not of the image's size."""
    if ids.shape != prediction.labels.shape:
        (h, w), (height, width) = ids.shape, prediction.labels.shape
        raise RequestError(
            422, "mask-size", f"The mask is {w}×{h}, the image {width}×{height}.", "Send the mask of this image."
        )


def true_labels(ids: MaskIds, mapping: dict[int, int], opened: CachedModel, prediction: Prediction) -> Labels:
    """An uploaded mask as this model's class ids. Raises RequestError."""
    require_size(ids, prediction)
    try:
        return labels_from_ids(ids, mapping, len(opened.model.classes))
    except Refusal as refusal:
        raise RequestError(
            422,
            "mask-unreadable",
            f"The mask: {refusal.what}",
            "Say what each value means: ids=VALUE:CLASS,… (255 void).",
        ) from refusal
