"""One example of each answer below /v1/evaluations, as in `openapi_examples`. A test checks them."""

from __future__ import annotations

from typing import Any

EVALUATION = {
    "id": "3fa9c2d81e07", "kind": "evaluation", "models": ["main"], "titles": ["street"], "data": "camvid",
    "data_name": "CamVid", "below": "", "split": "test", "state": "done", "done": 233, "images": 233, "seconds": 31.4,
    "seconds_left": None, "error": None, "kept": True, "created": 1764230400.0, "skip_bad": False,
}  # fmt: skip
IMAGE = {
    "index": 17, "name": "test/images/0016E5_07959", "miou": 0.41, "accuracy": 0.83, "confidence": 0.88,
    "labelled_px": 172800, "errors": {"label": 0, "region": 8120, "boundary": 9412, "interior": 5230},
}  # fmt: skip

JSON: dict[tuple[str, str], Any] = {
    ("get", "/v1/evaluations"): [EVALUATION],
    ("post", "/v1/evaluations"): EVALUATION,
    ("get", "/v1/evaluations/splits"): {"splits": [{"name": "val", "images": 101}, {"name": "test", "images": 233}]},
    ("get", "/v1/evaluations/{evaluation}"): {
        **EVALUATION, "result": {"miou": 0.658, "accuracy": 0.912, "images": 233, "notes": []},
    },
    ("post", "/v1/evaluations/{evaluation}/stop"): {**EVALUATION, "state": "stopped"},
    ("post", "/v1/evaluations/{evaluation}/resume"): {**EVALUATION, "state": "waiting"},
    ("post", "/v1/evaluations/{evaluation}/remove"): {"id": "3fa9c2d81e07"},
    ("get", "/v1/evaluations/{evaluation}/images"): {"total": 233, "images": [IMAGE]},
}  # fmt: skip

OTHER: dict[tuple[str, str], dict[str, str]] = {
    ("get", "/v1/evaluations/{evaluation}/images/{index}"): {"image/webp": "RIFF…WEBP"},
    ("get", "/v1/evaluations/{evaluation}/files/{name}"): {
        "text/html": "<!doctype html><html lang=\"en\">…", "text/csv": "image,sequence,width_px,height_px,…",
        "application/json": '{"a": "…", "b": "…", "whole": […], …}',
    },
}  # fmt: skip
