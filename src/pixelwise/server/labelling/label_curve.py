"""How a model gets better with more labels: the scores of all trainings, and a forecast."""

from __future__ import annotations

from typing import Any

from pixelwise.errors import UsageError
from pixelwise.labelling.learning_curve import SIZES, fit_curve, score_of_run
from pixelwise.labelling.workspace import Workspace
from pixelwise.server.labelling.label_training import trainings_of
from pixelwise.server.run_list import Runs

MORE = 10  # images of a forecast


def curve_of(workspace: Workspace, runs: Runs) -> dict[str, Any]:
    """The answer of GET /v1/label/curve: points by labelled images, and what MORE images would bring, if known."""
    points: list[dict[str, Any]] = []
    for name, folder, labels in trainings_of(workspace, runs):
        try:
            trained, score = score_of_run(folder)
        except UsageError:  # its trace was removed: there is no score to show
            continue
        images, seconds = labels.get("images"), labels.get("seconds")
        points.append({
            "run": name, "images": images if isinstance(images, int) and images > 0 else trained,
            "minutes": round(seconds / 60, 2) if isinstance(seconds, (int, float)) else 0.0, "miou": score,
        })  # fmt: skip
    points.sort(key=lambda point: (point["images"], point["minutes"], point["run"]))
    return {"points": points, "forecast": forecast_of([(point["images"], point["miou"]) for point in points])}


def forecast_of(measured: list[tuple[int, float]]) -> dict[str, Any] | None:
    """The score with MORE images, with its 90 % range; None before there are scores at enough sizes."""
    if len({images for images, _ in measured}) < SIZES:
        return None
    curve = fit_curve(measured)
    found = curve.forecast(MORE)
    now = found.score - found.gain
    return {
        "images": curve.largest + MORE, "more_images": MORE, "miou": found.score, "gain": found.gain,
        "low": now + found.low, "high": now + found.high,
    }  # fmt: skip
