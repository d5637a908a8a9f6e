"""From labels to a model, and from the model to proposals: training, the assistant's model, the learning curve."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pixelwise.server.labelling.label_curve import curve_of
from pixelwise.server.labelling.label_refusals import LabelRoute
from pixelwise.server.labelling.label_training import start_training
from pixelwise.server.routes.label.label_context import LABEL_PREFIX, TheLabelling
from pixelwise.server.routes.label.label_folder_routes import described
from pixelwise.server.routes.predict_routes import TheState
from pixelwise.server.routes.run_routes import NewRun, checked_budget

router = APIRouter(prefix=LABEL_PREFIX, tags=["label"], route_class=LabelRoute)


class TrainBody(BaseModel):
    """How long a training may take."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"budget": "10m"}]})

    budget: str = Field("10m", max_length=20, description="Time for everything, such as 90s, 10m or 1h30m.")

    @field_validator("budget")
    @classmethod
    def parsed(cls, budget: str) -> str:
        return checked_budget(budget)


class AssistantBody(BaseModel):
    """Which model assists."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "labels-1"}]})

    model: str = Field(max_length=60, description="A finished run, `main` for the server's own model, or empty: none.")


@router.post("/train")
def train(state: TheState, labelling: TheLabelling, by: TrainBody) -> dict[str, str]:
    """Train on what is labelled. It is then a run as any other: see /v1/runs."""
    wanted = NewRun.model_validate({"name": "labels", "budget": by.budget})
    return {"run": start_training(labelling.opened, state.runs, wanted.model_dump())}


@router.post("/assistant")
def assistant(labelling: TheLabelling, by: AssistantBody) -> dict[str, Any]:
    """Choose the model that assists. Photos that are not done are labelled by it in advance, in the background."""
    labelling.choose(by.model)
    return described(labelling)


@router.get("/curve")
def curve(state: TheState, labelling: TheLabelling) -> dict[str, Any]:
    """The score of each training on its held-out images, and what ten more labelled images would bring."""
    return curve_of(labelling.opened, state.runs)
