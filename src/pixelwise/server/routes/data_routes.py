"""The folders of data that the server was started with, and the folders in them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Path as Path_

from pixelwise.server.routes.predict_routes import TheState

router = APIRouter(prefix="/v1/data", tags=["data"])
DataKey = Annotated[
    str, Path_(pattern=r"^[a-z0-9-]{1,50}$", description="A key from GET /v1/data.", examples=["camvid"])
]
Below = Annotated[str, Query(max_length=1000, description="A folder in it, by its path from there.")]


@router.get("")
def data(state: TheState) -> list[dict[str, Any]]:
    """The folders of data: those of `serve --data`, what the served run was trained on, and what is being labelled."""
    return [folder.to_json() for folder in state.data.all()]


@router.get("/{key}/folders")
def folders(state: TheState, key: DataKey, below: Below = "") -> list[str]:
    """Names of the folders in a folder of data."""
    return state.data.below(key, below)
