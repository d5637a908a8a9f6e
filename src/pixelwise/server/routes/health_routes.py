"""Liveness, readiness and metrics."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse

from pixelwise.server.routes.predict_routes import TheState

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Liveness: the process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(state: TheState) -> JSONResponse:
    """Readiness: a request sent now would be accepted."""
    if state.stopping.is_set() or state.queue.is_full:
        return JSONResponse({"status": "stopping" if state.stopping.is_set() else "full"}, 503)
    return JSONResponse({"status": "ready"})


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(state: TheState) -> PlainTextResponse:
    """Metrics for Prometheus."""
    return PlainTextResponse(state.monitor.text(state.queue.taken), media_type="text/plain; version=0.0.4")
