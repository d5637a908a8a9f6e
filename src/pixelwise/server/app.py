"""The application: state, security, routes and the built page."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixelwise.errors import PixelwiseError
from pixelwise.prediction.built_in_models import built_in as built_in_model
from pixelwise.prediction.load_model import Model
from pixelwise.server.body_limits import UPLOADS, ArrivingBodies, Limits
from pixelwise.server.data_folders import DataFolders
from pixelwise.server.decoder_pool import DecoderPool
from pixelwise.server.error_responses import RequestError, body
from pixelwise.server.evaluating.evaluation_jobs import EvaluationJobs
from pixelwise.server.evaluating.evaluation_store import EvaluationStore
from pixelwise.server.explain import model_of
from pixelwise.server.gallery.galleries import Galleries
from pixelwise.server.image_memory import ImageMemory
from pixelwise.server.labelling.labelling_state import LabellingOptions, LabellingState
from pixelwise.server.model_cache import ModelCache
from pixelwise.server.monitoring import Monitor
from pixelwise.server.openapi_examples import add_examples
from pixelwise.server.page_files import PageFiles
from pixelwise.server.request_queue import ClientGone, RequestQueue
from pixelwise.server.routes import (
    data_routes,
    evaluation_routes,
    health_routes,
    images_routes,
    object_routes,
    page_routes,
    predict_routes,
    run_routes,
    ship_routes,
    train_routes,
    truth_routes,
)
from pixelwise.server.routes.label import (
    label_assistant_routes,
    label_class_routes,
    label_folder_routes,
    label_image_routes,
    label_training_routes,
)
from pixelwise.server.run_list import Runs
from pixelwise.server.security import RequestGuard
from pixelwise.server.server_settings import ServerSettings
from pixelwise.server.server_state import State
from pixelwise.server.shipping.ship_jobs import ShipJobs

QUEUE_S = 1.0  # between looks at the queue of trainings
LOG = logging.getLogger(__name__)
LABEL_ROUTES = (
    label_folder_routes, label_image_routes, label_assistant_routes, label_class_routes, label_training_routes,
)  # fmt: skip
ROUTES = (
    predict_routes,
    object_routes,
    page_routes,
    truth_routes,
    run_routes,
    ship_routes,
    train_routes,
    data_routes,
    images_routes,
    evaluation_routes,
    *LABEL_ROUTES,
    health_routes,
)
ABOUT = """Label every pixel of an image, and see why. Every error has the form
`{"error": {"kind": "…", "message": "…", "remedy": "…"}}`. A server that is full answers 503 with `Retry-After`."""


def create_app(
    model: Model,
    settings: ServerSettings | None = None,
    built_in: str | None = None,
    labels: LabellingOptions | None = None,
) -> FastAPI:
    """The server of one model.

    Args:
        model: loaded and verified.
        settings: limits and addresses.
        built_in: the name under which `model` comes with Pixelwise; None for a file or a run.
        labels: how it labels. No folder is opened here: call `state.labelling.start`.
    """
    settings = settings or ServerSettings()
    settings = replace(settings, token=settings.token or secrets.token_urlsafe(24))
    state = new_state(model, settings, built_in, labels or LabellingOptions())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        state.decoders.start()
        state.queue.pool.submit(warm, state)  # ahead of the first request, in the same queue
        state.evaluations.start()
        next_training = asyncio.create_task(start_queued(state))
        yield
        next_training.cancel()
        close(state)

    # FastAPI's own documentation page loads assets from a CDN; rest_docs makes one that does not.
    app = FastAPI(
        title="Pixelwise", version="1", description=ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url="/v1/openapi.json",
    )  # fmt: skip
    app.state.pixelwise = state
    for routes in ROUTES:
        app.include_router(routes.router)
    PageFiles().add_to(app)
    describe = app.openapi
    app.openapi = lambda: app.openapi_schema if app.openapi_schema else add_examples(describe())  # type: ignore[method-assign]
    add_answers_for_errors(app)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=1)
    app.add_middleware(Limits, settings=settings, arriving=state.arriving)
    app.add_middleware(UploadAdmission, queue=state.queue)
    app.add_middleware(Counted, state=state)
    app.add_middleware(RequestGuard, settings=settings)
    return app


def new_state(model: Model, settings: ServerSettings, built_in: str | None, labels: LabellingOptions) -> State:
    own = model.path.parent if (model.path.parent / "trace.jsonl").is_file() else None
    log = None if built_in is None else built_in_model(built_in).training_log
    runs = Runs(settings.runs, own or log)
    models = ModelCache(model, built_in, runs)
    queue = RequestQueue(settings.workers, settings.queue, settings.wait_s, settings.decoders)
    labelling = LabellingState(labels, models, lambda: queue.taken > 0)
    data = DataFolders(
        settings.data, own, lambda: labelling.workspace.out if labelling.workspace else None, lambda: runs.root
    )
    state = State(
        settings=settings,
        models=models,
        runs=runs,
        queue=queue,
        decoders=DecoderPool(settings.decoders, settings),
        arriving=ArrivingBodies(settings.arriving_bytes),
        memory=ImageMemory(settings.remembered, settings.max_pixels),
        monitor=Monitor(),
        labelling=labelling,
        data=data,
        galleries=Galleries(lambda: runs.root, models, lambda: queue.taken > 0),
        evaluations=EvaluationJobs(models, data, EvaluationStore(lambda: runs.root), lambda: state.stopping.is_set()),
        shipping=ShipJobs(lambda: runs.root),
    )
    return state


def close(state: State) -> None:
    """Stop what runs, and save the labels."""
    state.stopping.set()
    state.galleries.close()
    state.evaluations.close()
    state.decoders.kill()
    state.queue.close()
    try:
        state.labelling.close()
    except PixelwiseError:
        LOG.exception("Labels could not be saved when the server stopped.")


def warm(state: State) -> None:
    """Compute what every page requests first, so that the first visitor need not wait."""
    opened = state.models.main
    model_of(opened, state.models)
    if opened.samples.examples:
        opened.samples.pngs(opened.samples.examples[0].name)


async def start_queued(state: State) -> None:
    """Start queued trainings one after another, for as long as the server runs."""
    while True:
        await asyncio.sleep(QUEUE_S)
        try:
            await asyncio.to_thread(state.runs.start_next)
        except (OSError, PixelwiseError, KeyError):
            LOG.exception("The next training could not be started.")


class UploadAdmission:
    """ASGI middleware that rejects an upload with 503 while the queue is full, before its body is read: a crowd then
    takes almost nothing from the requests in progress."""

    def __init__(self, app: ASGIApp, queue: RequestQueue) -> None:
        self.app, self.queue = app, queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] == "http" and self.queue.is_full and scope["method"] == "POST" and scope["path"] in UPLOADS:
            app = self.queue.refusal().response()
        await app(scope, receive, send)


class Counted:
    """ASGI middleware that counts answers by route: by its pattern, not by the address, so that labels stay few."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.state.monitor.answered(self.route(scope), message["status"])
            await send(message)

        await self.app(scope, receive, send_counted if scope["type"] == "http" else send)

    def route(self, scope: Scope) -> str:
        if route := scope.get("route"):
            return str(route.path)
        return scope["path"] if scope["path"] in UPLOADS else "other"  # rejected before routing


def add_answers_for_errors(app: FastAPI) -> None:
    """One form for every error; no internals leak."""

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> JSONResponse:
        return error.response()

    @app.exception_handler(ClientGone)
    async def left(_: Request, _error: ClientGone) -> Response:
        return Response(status_code=499)  # nobody reads it, but it is counted

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse(body("request-invalid", f"{where}: {first['msg']}.", "See /docs."), 422)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(body("http", str(error.detail), "See /docs."), error.status_code)

    @app.exception_handler(PixelwiseError)
    async def failed(_: Request, _error: PixelwiseError) -> JSONResponse:
        return JSONResponse(body("failed", "The model failed on this image.", "Try a smaller image."), 500)

    @app.exception_handler(Exception)
    async def broken(_: Request, _error: Exception) -> JSONResponse:
        return JSONResponse(body("broken", "The server has an internal error.", "See its log."), 500)
