"""One example of each answer below /v1/data/KEY/gallery, as in `openapi_examples`. A test checks them."""

from __future__ import annotations

from typing import Any

GALLERY = "/v1/data/{key}/gallery"
JOB = {
    "kind": "check", "state": "running", "step": "reading pairs", "done": 120, "total": 468, "seconds_left": 9.5,
    "failure": "", "problems": [], "result": {},
}  # fmt: skip
ROW = {
    "place": 3, "name": "train/images/0006R0_f00930", "split": "train", "masked": True, "width": 480, "height": 360,
    "errors": 0, "warnings": 1, "score": 0.71,
}  # fmt: skip
SUSPECTS = {
    "suspects": [
        {
            "sample": "train/images/0006R0_f00930", "box": [120, 40, 70, 48], "area_px": 2114, "labelled": "road",
            "predicted": "pavement", "confidence": 0.97, "number": 0, "place": 3,
            "decision": {"what": "relabel", "to": "pavement"},
        }
    ],
    "decided": 1,
    "file": "label-decisions.jsonl",
}  # fmt: skip

JSON: dict[tuple[str, str], Any] = {
    ("get", GALLERY): {
        "stage": "open", "version": 1, "total": 468, "layout": "native",
        "classes": [{"name": "sky", "colour": [160, 168, 251]}],
        "failure": "", "checked": True, "scored_by": {"model": "main", "title": "street"},
        "counts": {
            "splits": {"train": 367, "val": 101}, "classes": {"0": 450}, "sizes": {"480x360": 468},
            "findings": {"copy-across-splits": 1}, "with_finding": 1, "scored": 468,
        },
        "jobs": {"check": {**JOB, "state": "finished", "done": 468, "seconds_left": None}},
    },
    ("get", f"{GALLERY}/images"): {"total": 468, "offset": 0, "images": [ROW]},
    ("get", f"{GALLERY}/images/{{place}}"): {
        **ROW, "image": "0006R0_f00930.png", "mask": "0006R0_f00930.png", "shares": [{"class": 3, "share": 0.38}],
        "problems": [],
    },
    ("get", f"{GALLERY}/findings"): {
        "sound": True,
        "notes": ["Void: 255, 3.46% of the pixels."],
        "groups": [
            {
                "kind": "copy-across-splits", "severity": "warning", "count": 1,
                "messages": [{"where": "val/images/x.png", "message": "the same image as train's y.png, in val."}],
                "remedies": ["Keep it in one split: scores on images seen in training are inflated."], "images": 1,
                "places": [22],
            }
        ],
    },
    ("post", f"{GALLERY}/check"): JOB,
    ("post", f"{GALLERY}/score"): {**JOB, "kind": "score", "step": "labelling"},
    ("post", f"{GALLERY}/stop"): {"stopped": True},
    ("get", f"{GALLERY}/suspects"): SUSPECTS,
    ("put", f"{GALLERY}/suspects/{{number}}"): SUSPECTS,
    ("get", f"{GALLERY}/repair"): {
        "questions": [
            {
                "key": "values", "kind": "values", "question": "Which class is each value of the masks?",
                "about": ["ids-outside"], "required": False, "choices": [],
                "values": [{"value": "0", "share": 0.16, "name": "sky"}],
            }
        ],
        "decisions": 1, "into": "runs",
    },
    ("post", f"{GALLERY}/repair"): {**JOB, "kind": "repair", "step": "writing the copy"},
}  # fmt: skip

PICTURE = {"image/jpeg": "ÿØÿà, a JPEG"}
OTHER: dict[tuple[str, str], dict[str, str]] = {
    ("get", f"{GALLERY}/images/{{place}}/thumbnail"): PICTURE,
    ("get", f"{GALLERY}/images/{{place}}/picture"): PICTURE,
    ("get", f"{GALLERY}/images/{{place}}/pair"): PICTURE,
    ("get", f"{GALLERY}/suspects/{{number}}/picture"): PICTURE,
}
