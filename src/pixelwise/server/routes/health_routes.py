"""Is it alive, is it ready, and what has it done."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse

from pixelwise.server.routes.predict_routes import TheState

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(state: TheState) -> JSONResponse:
    """A request sent now would be taken in."""
    if state.stopping.is_set() or state.gate.is_full:
        return JSONResponse({"status": "stopping" if state.stopping.is_set() else "full"}, 503)
    return JSONResponse({"status": "ready"})


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(state: TheState) -> PlainTextResponse:
    """Counts for Prometheus."""
    return PlainTextResponse(state.monitor.text(state.gate.taken), media_type="text/plain; version=0.0.4")
