"""Evaluations of the server's models on its data, and comparisons of two models: as jobs, with their images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import cv2
from fastapi import APIRouter, Query
from fastapi import Path as Path_
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from pixelwise.datasets.list_dataset import list_dataset
from pixelwise.errors import PixelwiseError
from pixelwise.server.error_responses import RequestError
from pixelwise.server.evaluating.evaluation_job import EvaluationJob, in_few_words
from pixelwise.server.evaluating.evaluation_request import EvaluationRequest
from pixelwise.server.evaluating.evaluation_store import DOWNLOADS
from pixelwise.server.routes.page_routes import attachment
from pixelwise.server.routes.predict_routes import TheState

router = APIRouter(prefix="/v1/evaluations", tags=["evaluations"])
DataKey = Annotated[
    str, Query(pattern=r"^[a-z0-9-]{1,50}$", description="A key from GET /v1/data.", examples=["camvid"])
]
Below = Annotated[str, Query(max_length=1000, description="A folder in it, by its path from there.")]
EvaluationId = Annotated[str, Path_(pattern=r"^[0-9a-f]{12}$", description="From GET /v1/evaluations.")]
ClassId = Annotated[int, Query(ge=0, le=254)]
SPLIT = r"^(train|val|test)$"


class NewEvaluation(BaseModel):
    """What to evaluate. With `against`, two models are compared on the same images."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": "camvid", "split": "test"}]})

    data: str = Field(pattern=r"^[a-z0-9-]{1,50}$", description="A key from GET /v1/data.", examples=["camvid"])
    below: str = Field("", max_length=1000, description="A folder in it, by its path from there.")
    split: str = Field(pattern=SPLIT, examples=["test"])
    model: str = Field("main", max_length=60, description="A name from GET /v1/models.")
    against: str | None = Field(None, max_length=60, description="A second model, B, to compare with `model`, A.")
    skip_bad: bool = Field(False, description="Leave broken pairs out instead of stopping at them.")
    again: bool = Field(False, description="Start over, even if this was evaluated before.")


@router.get("")
def evaluations(state: TheState) -> list[dict[str, Any]]:
    """Every evaluation and comparison, the newest first, with its progress."""
    return [state.evaluations.describe(job) for job in state.evaluations.served()]


@router.post("", status_code=201)
def start(state: TheState, new: NewEvaluation) -> dict[str, Any]:
    """Evaluate a model on a split, or compare two. What was evaluated before is returned as it is."""
    names = [new.model or "main", *([new.against] if new.against is not None else [])]
    if len(set(names)) < len(names):
        raise RequestError(422, "same-model", "A model cannot be compared with itself.", "Choose another one.")
    models = [state.models.get(name).model for name in names]
    folder = str(state.data.folder(new.data, new.below))
    request = EvaluationRequest(folder, new.split, tuple(names), tuple(model.digest for model in models), new.skip_bad)
    return state.evaluations.describe(state.evaluations.ask(request, again=new.again))


@router.get("/splits")
def splits(state: TheState, data: DataKey, below: Below = "") -> dict[str, Any]:
    """The splits of a folder of data, with the number of images that have a mask."""
    folder = state.data.folder(data, below)
    try:
        found = list_dataset(folder).listing.splits
    except PixelwiseError as error:
        message, _ = in_few_words(error)
        raise RequestError(422, "no-dataset", message, "Choose a folder of images and masks.") from error
    counts = {name: sum(sample.mask is not None for sample in samples) for name, samples in found.items()}
    return {"splits": [{"name": name, "images": count} for name, count in counts.items() if count]}


@router.get("/{evaluation}")
def evaluation(state: TheState, evaluation: EvaluationId) -> dict[str, Any]:
    """One evaluation: its progress, and its report, while it runs that of the images so far."""
    job = state.evaluations.get(evaluation)
    return {**state.evaluations.describe(job), "result": state.evaluations.result(job)}


@router.post("/{evaluation}/stop")
def stop(state: TheState, evaluation: EvaluationId) -> dict[str, Any]:
    """Stop after the image in progress; what was counted is kept."""
    return state.evaluations.describe(state.evaluations.stop(evaluation))


@router.post("/{evaluation}/resume")
def resume(state: TheState, evaluation: EvaluationId) -> dict[str, Any]:
    """Go on with an evaluation that was stopped or failed."""
    return state.evaluations.describe(state.evaluations.resume(evaluation))


@router.post("/{evaluation}/remove")
def remove(state: TheState, evaluation: EvaluationId) -> dict[str, Any]:
    """Delete the files of an evaluation in the folder of runs."""
    state.evaluations.remove(evaluation)
    return {"id": evaluation}


@router.get("/{evaluation}/images")
def images(
    state: TheState,
    evaluation: EvaluationId,
    order: Annotated[
        Literal["worst", "best", "cell", "better", "worse"],
        Query(description="cell: with pixels of a cell of the confusion matrix; better, worse: of a comparison."),
    ] = "worst",
    true: ClassId = 0,
    predicted: ClassId = 0,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 24,
) -> dict[str, Any]:
    """The images of an evaluation in an order, a part at a time."""
    job = state.evaluations.get(evaluation)
    if (order in ("better", "worse")) != (job.request.kind == "comparison"):
        raise RequestError(422, "order-unknown", f"A {job.request.kind} has no such order of images.")
    found = state.evaluations.work_of(job).listed(order, (true, predicted))
    return {"total": len(found), "images": found[offset : offset + limit]}


@router.get("/{evaluation}/images/{index}", response_class=Response)
def picture(
    state: TheState,
    evaluation: EvaluationId,
    index: Annotated[int, Path_(ge=0, le=9_999_999)],
    show: Annotated[
        Literal["photo", "truth", "model", "errors", "cell"],
        Query(description="cell: the pixels of one true and one predicted class are marked."),
    ] = "photo",
    side: Annotated[Literal["a", "b"], Query(description="Of a comparison: whose prediction.")] = "a",
    true: ClassId = 0,
    predicted: ClassId = 0,
    px: Annotated[int, Query(ge=32, le=2048, description="The longest side of the picture.")] = 480,
) -> Response:
    """An image as a picture: the photo, its true mask, the prediction, or the wrong pixels."""
    job = state.evaluations.get(evaluation)
    compared = state.evaluations.compared(job, index, "ab".index(side))
    view_hw3 = compared.view(show, px, (true, predicted))
    done, data = cv2.imencode(".webp", view_hw3[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 90])
    if not done:
        raise RequestError(500, "not-encoded", "This picture cannot be encoded.")
    headers = {"Cache-Control": "private, max-age=600", "Content-Encoding": "identity"}
    return Response(data.tobytes(), headers=headers, media_type="image/webp")


@router.get("/{evaluation}/files/{name}", response_class=Response)
def file(
    state: TheState, evaluation: EvaluationId, name: Literal["report.html", "images.csv", "comparison.json"]
) -> Response:
    """A result as a file: what `pixelwise evaluate` writes with --html and --csv, and `compare` with --json."""
    job = state.evaluations.get(evaluation)
    data = state.evaluations.file(job, name)
    return Response(data, headers=attachment(file_name(job, name)), media_type=DOWNLOADS[name])


def file_name(job: EvaluationJob, name: str) -> str:
    """For a download: the models' names and the split, then what it is."""
    found = "-".join([*job.request.models, job.request.split, name])
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in found)
