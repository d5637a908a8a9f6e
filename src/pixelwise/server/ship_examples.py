"""One example of each answer below /v1/ship, as in `openapi_examples`."""

from __future__ import annotations

from typing import Any

JOB = {
    "number": "3", "work": "export", "title": "kerbs", "form": "int8", "shown": "", "state": "finished",
    "progress": {"what": "calibrating on training images", "done": 64, "total": 64, "seconds": 41.2},
    "result": {
        "state": "finished", "file": "kerbs-int8.onnx", "bytes": 3612044, "differs": 0.0001, "miou_before": 0.4315,
        "miou_after": 0.4295, "drop_points": 0.19, "warnings": [],
    },
}  # fmt: skip
RUNNING = {**JOB, "state": "running", "result": {}}
TEXTS = {
    "summary": "Labels kerbs in photos taken from a wheelchair.", "intended_use": "Planning of repairs.",
    "limits": "Fails at night.", "data": "", "authors": "A. Author", "licence": "CC BY 4.0", "contact": "",
}  # fmt: skip
NEW_CARD: dict[str, Any] = {"card": {"summary": TEXTS["summary"], "licence": "CC BY 4.0"}, "revision": "9f2c41d07a3b"}
CARD = {
    "title": "kerbs", "digest": "4b1f…", "card": TEXTS, "revision": "9f2c41d07a3b", "editable": True, "why_not": None,
    "licence": {"data": "not recorded; see where the data came from", "weights": "Apache-2.0"},
    "metrics": {"split": "val", "images": 40, "miou": 0.43, "accuracy": 0.91}, "markdown": "# kerbs\n…",
}  # fmt: skip

JSON: dict[tuple[str, str], Any] = {
    ("get", "/v1/ship"): {"reducible": True, "why_not": None, "web": True, "jobs": [JOB]},
    ("get", "/v1/ship/card"): CARD,
    ("put", "/v1/ship/card"): CARD,
    ("get", "/v1/ship/jobs"): [JOB],
    ("post", "/v1/ship/jobs"): RUNNING,
    ("post", "/v1/ship/jobs/{number}/stop"): RUNNING,
    ("post", "/v1/ship/jobs/{number}/remove"): {"number": "3"},
}

OTHER: dict[tuple[str, str], dict[str, str]] = {
    ("get", "/v1/ship/bundle"): {"application/octet-stream": "an ONNX file"},
    ("get", "/v1/ship/jobs/{number}/file"): {"application/octet-stream": "an ONNX file, or a ZIP archive: PK…"},
}
