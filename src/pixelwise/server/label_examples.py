"""One example of each answer below /v1/label, as in `openapi_examples`. A test checks them."""

from __future__ import annotations

from typing import Any

ROAD = {"key": 0, "name": "road", "colour": [86, 180, 233], "locked": False}
BANDS = {"names": ["red", "green", "blue"], "dtype": "uint8", "low": [0.0, 0.0, 0.0], "high": [255.0, 255.0, 255.0]}
FOLDER = {
    "open": True, "photos": "/data/photos", "out": "/data/photos-labels", "read_only": False, "user": "kim",
    "classes": [ROAD], "counts": {"untouched": 48, "started": 1, "done": 1, "model": 0}, "seconds": 184.5,
    "assistant": {"model": "", "click_model": False, "ready": True, "waiting": 0, "total": 0, "failed": []},
    "bands": BANDS,
    "notes": [], "failure": "", "importing": None, "alike": [], "can_train": True,
}  # fmt: skip
PHOTO = {
    "id": "fa27ddc7abeb", "name": "yard/001.jpg", "width": 4000, "height": 3000, "state": "started", "labelled": 0.12,
    "worth": 0.31, "disagreement": 0.08, "locked_by": None, "seconds": 12.5, "error": None,
}  # fmt: skip
PROGRESS = {"version": 7, "undo": 5, "redo": 0, "durable": 7}
IMAGE = "/v1/label/images/{image}"
PATCH = '{"x": 3, "y": 4, "w": 10, "h": 5, "version": 7, "undo": 5, "redo": 0, "arrays": [{…}, {…}, {…}]} …'
PACKED = "application/octet-stream"

JSON: dict[tuple[str, str], Any] = {
    ("get", "/v1/label"): FOLDER,
    ("post", "/v1/label/open"): FOLDER,
    ("get", "/v1/label/images"): {"total": 50, "images": [PHOTO]},
    ("post", f"{IMAGE}/open"): {
        "id": "fa27ddc7abeb", "name": "yard/001.jpg", "width": 4000, "height": 3000,
        "bands": {**BANDS, "rgb": True, "shown": [0, 1, 2]},
        "levels": 4, "tile": 512, **PROGRESS, "state": "started", "seconds": 12.5, "locked_by": None,
    },
    ("post", f"{IMAGE}/close"): {"id": "fa27ddc7abeb"},
    ("post", f"{IMAGE}/edits"): PROGRESS,
    ("post", f"{IMAGE}/state"): {"state": "done"},
    ("post", f"{IMAGE}/path"): {"points": [[5, 9], [6, 9], [7, 10]]},
    ("post", "/v1/label/classes"): {"classes": [ROAD], "images": 0, "pixels": 0},
    ("get", "/v1/label/classes/{key}/use"): {"images": 2, "pixels": 51234},
    ("post", "/v1/label/upload"): {"id": "fa27ddc7abeb"},
    ("post", "/v1/label/import"): {
        "images": 12, "pixels": 9123456, "skipped": ["b/7.png: no photo has this name"], "new_classes": ["kerb"],
    },
    ("post", "/v1/label/export"): {"written": 12},
    ("post", "/v1/label/train"): {"run": "labels-1"},
    ("post", "/v1/label/assistant"): FOLDER,
    ("get", "/v1/label/curve"): {
        "points": [{"run": "labels-1", "images": 10, "minutes": 21.5, "miou": 0.61}],
        "forecast": {"images": 40, "more_images": 10, "miou": 0.74, "gain": 0.02, "low": 0.72, "high": 0.77},
    },
}  # fmt: skip

OTHER: dict[tuple[str, str], dict[str, str]] = {
    ("get", f"{IMAGE}/thumbnail"): {"image/jpeg": "ÿØÿ…"},
    ("get", f"{IMAGE}/tiles/{{level}}/{{column}}/{{row}}"): {"image/jpeg": "ÿØÿ…"},
    ("get", f"{IMAGE}/mask"): {PACKED: '{"version": 7, …, "arrays": [{"shape": [3000, 4000], …}, {…}]} …'},
    ("post", f"{IMAGE}/undo"): {PACKED: PATCH},
    ("post", f"{IMAGE}/redo"): {PACKED: PATCH},
    ("post", f"{IMAGE}/morph"): {PACKED: PATCH},
    ("post", f"{IMAGE}/copy-from"): {PACKED: PATCH},
    ("post", f"{IMAGE}/propose"): {
        PACKED: '{"window": {"x": 0, …}, "least_sure": {…}, "source": "assistant", …, "arrays": [{…}, {…}]} …'
    },
    ("post", f"{IMAGE}/click"): {
        PACKED: '{"x": 201, "y": 118, "w": 40, "h": 31, "arrays": [{"dtype": "uint8", "shape": [31, 40], …}]} …'
    },
    ("post", f"{IMAGE}/superpixels"): {
        PACKED: '{"window": {"x": 0, …}, "arrays": [{"dtype": "uint16", "shape": [480, 640], …}]} …'
    },
}
