"""An example of each answer of the Train room, for the OpenAPI description; a test checks them."""

from __future__ import annotations

from typing import Any

from pixelwise.server import ship_examples

JSON: dict[tuple[str, str], Any] = {
    ("get", "/v1/training"): {
        "proven": True,
        "run": {
            "name": "first-try", "what": "epoch 3", "done": 40, "total": 92, "seconds": 31.5, "epochs_done": 2,
            "epochs": 20, "epoch_seconds": [70.1, 69.8],
        },
        "queued": [],
        "job": ship_examples.RUNNING,
    },
    ("put", "/v1/train/notes/{name}"): {"note": "twice the light"},
    ("delete", "/v1/train/queue/{name}"): {"queued": []},
}  # fmt: skip

OTHER: dict[tuple[str, str], dict[str, str]] = {
    ("get", "/v1/train/plan"): {
        "text/event-stream": 'data: {"event": "plan", "choices": [{"name": "batch", "value": "4", …}], …}\n\n',
    },
}
