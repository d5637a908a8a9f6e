"""A model's scores on held-out images, with the functions and rules of `evaluate`."""

from __future__ import annotations

from typing import Any

from pixelwise.evaluation.analysis import Analysis
from pixelwise.evaluation.measure_image import Sums, measure
from pixelwise.metrics.calibration import BINS
from pixelwise.metrics.confusion import scores
from pixelwise.metrics.error_types import BOUNDARY_PX
from pixelwise.prediction.load_model import Model
from pixelwise.server.sample_images import Samples
from pixelwise.trace_events import finite

IMAGES = 32  # at most, to bound the time that the page waits


def held_out_scores(model: Model, samples: Samples) -> dict[str, Any] | None:
    """The response of GET /v1/judged; None if there are no images with masks. Raises RequestError."""
    found = samples.labelled(IMAGES)
    if found is None:
        return None
    source, pairs = found
    sums, images = Sums.zero(len(model.classes)), 0
    for image_HW3, true_HW in pairs:
        prediction = model.predict(image_HW3)
        sums.add(
            measure(
                prediction.labels, true_HW, prediction.scores, len(model.classes),
                temperature=prediction.temperature, turn=images,
            )[0]
        )  # fmt: skip
        images += 1
    head = {"source": source, "from_run": bool(samples.held_out), "images": images}
    return {**head, **summary(Analysis(model.classes, sums, (), (), 0), model.metadata.temperature)}


def summary(analysis: Analysis, temperature: float) -> dict[str, Any]:
    matrix, near = analysis.sums.matrix, analysis.sums.near
    guess, calibration = analysis.baseline_scores(matrix), analysis.calibration
    value = {
        "matrix": matrix.tolist(),
        "scores": scores(matrix).to_json(analysis.classes),
        "commonest": {
            "class": analysis.classes.names[analysis.majority],
            "accuracy": guess.accuracy,
            "miou": guess.miou,
        },
        "boundary": {
            "within_px": BOUNDARY_PX,
            "pixels": int(near.sum()),
            "accuracy": scores(near).accuracy,
            "interior_pixels": int((matrix - near).sum()),
            "interior_accuracy": scores(matrix - near).accuracy,
        },
        "calibration": {
            "error": calibration.error,
            "temperature": temperature,
            "bins": [
                {
                    "from": i / BINS,
                    "to": (i + 1) / BINS,
                    "pixels": round(share * calibration.pixels),
                    "confidence": confidence,
                    "accuracy": accuracy,
                }
                for i, (share, confidence, accuracy) in enumerate(calibration.bins.tolist())
            ],
        },
    }
    return finite(value)  # type: ignore[no-any-return]
