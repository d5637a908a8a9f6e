"""What every request below /v1/label works with."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from pixelwise.server.labelling.labelling_state import LabellingState
from pixelwise.server.server_state import State

LABEL_PREFIX = "/v1/label"
CLIENT = Field(min_length=1, max_length=64, description="Name of the tab or program that labels; any text.")


async def labelling_of(request: Request) -> LabellingState:
    state: State = request.app.state.pixelwise
    return state.labelling


TheLabelling = Annotated[LabellingState, Depends(labelling_of)]
ImageId = Annotated[str, Path(pattern="^[0-9a-f]{12}$", description="An id from GET /v1/label/images.")]


class ByClient(BaseModel):
    """A request of one tab or program."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"client": "tab-1"}]})

    client: str = CLIENT


class WindowBody(BaseModel):
    """A rectangle of an image, in pixels."""

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    w: int = Field(ge=1)
    h: int = Field(ge=1)
