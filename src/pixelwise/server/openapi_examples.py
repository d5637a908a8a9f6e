"""One example of each answer, for the OpenAPI description; lists are shortened. A test checks them."""

from __future__ import annotations

from typing import Any

from pixelwise.server import evaluation_examples, gallery_examples, label_examples, ship_examples, train_examples

SKY, ROAD = {"name": "sky", "colour": [117, 211, 250]}, {"name": "road", "colour": [66, 56, 96]}
LABELS = {
    "width": 4,
    "height": 2,
    "classes": [{"id": 0, **SKY, "share": 0.5}, {"id": 1, **ROAD, "share": 0.5}],
    "sha256": "9f86d081884c7d65…",
    "milliseconds": {"decode": 3.1, "predict": 21.4},
    "rle": [0, 4, 1, 4],
}
STAGE = {
    "event": "flow", "stage": "image", "shape": [360, 480, 3], "dtype": "uint8", "minimum": 0.0, "maximum": 255.0,
    "milliseconds": 3.1, "thumbnail": "data:image/png;base64,iVBORw0KGgo…",
}  # fmt: skip
LAYER = {
    "strongest": 6, "thumbnail": "data:image/png;base64,iVBORw0KGgo…", "name": "stem", "group": "convolutional",
    "shape": [32, 128, 128], "minimum": 0.0, "maximum": 6.0, "mean": 0.71, "zero_share": 0.26, "view_px": 3,
    "sees_all": False, "step_px": 2.0, "skip": False,
}  # fmt: skip
PIXEL = {
    "x": 212,
    "y": 140,
    "sentences": ["The model is almost certain: road with 97.1%."],
    "values": {},
    "label": "road",
    "probability": 0.971,
    "runner_up": {"class": "sky", "probability": 0.029},
    "entropy_bits": 0.19,
    "probabilities": {"sky": 0.029, "road": 0.971},
    "receptive_field": {"network_px": 1107, "whole_image_by_pooling": True, "box": [0.0, 0.0, 480.0, 360.0]},
}
SCORES = {
    "accuracy": 0.944, "class_accuracy": 0.781, "miou": 0.664, "weighted_iou": 0.9, "mean_dice": 0.76,
    "pixels": 5453121,
    "classes": {"road": {"iou": 0.97, "dice": 0.985, "recall": 0.98, "precision": 0.99}},
}  # fmt: skip
RUN = {
    "name": "first-try",
    "running": True,
    "finished": False,
    "can_resume": True,
    "recipe": {"model": "fast", "encoder": "lite0", "epochs": 8},
    "request": {
        "name": "first-try", "size": [96, 128], "encoder": "lite0", "epochs": 8, "images": 64, "augmentation": True,
        "folder": None, "budget": None,
    },
    "classes": [SKY, ROAD],
    "data": {"notes": [], "train": 64, "val": 16},
    "previews": ["val/images/0000"],
    "photos": True,
    "failure": None,
    "note": "twice the light",
    "queued": False,
}  # fmt: skip
EPOCH = {
    "version": 1, "time": 1795351962.9, "event": "epoch", "epoch": 3, "loss": 0.71, "val_loss": 0.41,
    "accuracy": 0.88, "miou": 0.52, "learning_rate": 0.0019, "seconds": 4.2, "images_per_second": 15.1, "best": True,
    "observation": "improving: mIoU up 6.1 points", "iou": {"sky": 0.93, "road": 0.9},
    "true": {"sky": 0.2, "road": 0.4}, "predicted": {"sky": 0.21, "road": 0.41},
}  # fmt: skip
OBJECTS = {
    "width": 480, "height": 360, "number": {"car": 1}, "excluded": {}, "pixel": None,
    "separated": {"car": "distance: typical sizes of objects are unknown: split at necks"},
    "objects": [{"label": 1, "class": "car", "confidence_mean": 0.93, "area": 1204, "centroid-0": 140.2}],
}  # fmt: skip

# (method, path) → an example answer as JSON
JSON: dict[tuple[str, str], Any] = {
    ("post", "/v1/predict"): LABELS,
    ("post", "/v1/trace"): {"flow": [STAGE], "layers": [LAYER]},
    ("post", "/v1/pixel"): PIXEL,
    ("post", "/v1/objects"): OBJECTS,
    ("get", "/v1/models"): [{"name": "main", "title": "street"}],
    ("get", "/v1/model"): {
        "name": "main", "title": "street", "opens": "street", "digest": "ee3705f5a9b4…",
        "bytes": 13200000, "parameters": 3270844,
        "classes": [SKY, ROAD], "size": [256, 256], "policy": "stretch", "even_exposure": True, "stride": 2,
        "bands": {
            "names": ["red", "green", "blue"], "dtype": "uint8", "low": [0.0, 0.0, 0.0], "high": [255.0, 255.0, 255.0],
            "rgb": True, "shown": [0, 1, 2],
        },
        "mean": [0.498, 0.498, 0.498], "std": [0.502, 0.502, 0.502], "temperature": 1.14,
        "stages": [{"name": "stem", "group": "convolutional"}], "skips": ["up16", "up8", "up4"],
        "receptive_field": {"network_px": 1107, "whole_image_by_pooling": True},
        "provenance": {"pixelwise": "0.1.0", "metrics": {"split": "val", "miou": 0.677}},
        "licence": {"weights": "encoder: EfficientNet-Lite by Google, ImageNet, Apache-2.0"}, "has_run": True,
    },
    ("get", "/v1/judged"): {
        "source": "32 images held out during training", "from_run": True, "images": 32,
        "matrix": [[1200, 40], [31, 2900]], "scores": SCORES,
        "commonest": {"class": "road", "accuracy": 0.7, "miou": 0.35},
        "boundary": {
            "within_px": 4, "pixels": 410, "accuracy": 0.675, "interior_pixels": 3761, "interior_accuracy": 0.979,
        },
        "calibration": {
            "error": 0.004, "temperature": 1.14,
            "bins": [{"from": 0.9333, "to": 1.0, "pixels": 287898, "confidence": 0.988, "accuracy": 0.986}],
        },
    },
    ("get", "/v1/samples"): [
        {
            "name": "scene-4", "title": "street scene 1", "source": "rendered, with an exact mask",
            "has_truth": True,
        }
    ],
    ("get", "/v1/images/{image}/flow"): [STAGE],
    ("get", "/v1/images/{image}/labels"): LABELS,
    ("get", "/v1/images/{image}/diagnosis"): [
        {
            "kind": "grey", "what": "The image has almost no colour.",
            "remedy": "A model trained on colour photos misses a cue here.",
        }
    ],
    ("post", "/v1/images/{image}/mask-values"): [
        {"value": 3, "share": 0.62, "class": 3}, {"value": 11, "share": 0.02, "class": None},
    ],
    ("get", "/v1/images/{image}/layers"): [LAYER],
    ("get", "/v1/images/{image}/unit"): {
        "layer": "stem", "channel": 6, "x": 64, "y": 64, "value": 2.154,
        "steps": [{"step": "activation", "text": "2.154 → 2.154: negative values become 0", "result": 2.154}],
    },
    ("get", "/v1/images/{image}/wrong-scale"): {
        "changed_share": 0.93, "commonest": {"class": "sky", "share": 0.88},
    },
    ("get", "/v1/images/{image}/pixel"): PIXEL,
    ("get", "/v1/images/{image}/objects"): OBJECTS,
    ("get", "/v1/images/{image}/influence"): {
        "x": 212, "y": 140, "class": "road", "probability": 0.971, "row": 3, "rows": 8, "drop": [0.0, 0.004, 0.31],
    },
    ("get", "/v1/runs"): {"runs": [RUN], "can_train": True, "install": None, "local": True},
    ("post", "/v1/runs"): RUN,
    ("get", "/v1/runs/{name}"): RUN,
    ("post", "/v1/runs/{name}/stop"): {**RUN, "running": False},
    ("post", "/v1/runs/{name}/resume"): RUN,
    ("get", "/v1/runs/{name}/epochs/{epoch}"): EPOCH,
    **train_examples.JSON,
    ("get", "/v1/data"): [{"key": "camvid", "name": "CamVid", "path": "/data/CamVid", "from": "data"}],
    ("get", "/v1/data/{key}/folders"): ["train", "val"],
    **label_examples.JSON,
    **evaluation_examples.JSON,
    **gallery_examples.JSON,
    **ship_examples.JSON,
    ("get", "/healthz"): {"status": "ok"},
    ("get", "/readyz"): {"status": "ready"},
}  # fmt: skip

OBJECT_FILES = {"text/csv": "label,class,confidence_mean,area,…", "image/tiff": "II*, object numbers"}

# (method, path) → media type of an answer, and how it begins
OTHER: dict[tuple[str, str], dict[str, str]] = {
    ("post", "/v1/predict"): {"image/png": "‰PNG, a palette image whose values are class ids"},
    ("post", "/v1/objects"): OBJECT_FILES,
    ("get", "/v1/samples/{name}/image"): {"image/png": "‰PNG", "application/octet-stream": "“NUMPY …"},
    ("get", "/v1/samples/{name}/truth"): {"image/png": "‰PNG, grey: class ids, 255 where unlabelled"},
    ("get", "/v1/images/{image}/picture"): {"image/png": "‰PNG"},
    ("get", "/v1/images/{image}/labels"): {"image/png": "‰PNG, a palette image whose values are class ids"},
    ("get", "/v1/images/{image}/layers/{layer}"): {
        "application/octet-stream": '{"layer": "stem", "arrays": [{"dtype": "float32", "shape": [32, 128, 128], …}]} …',
    },
    ("get", "/v1/images/{image}/skips"): {
        "application/octet-stream": '{"off": ["up4"], "changed_share": 0.06, "arrays": [{"dtype": "uint8", …}, …]} …',
    },
    ("post", "/v1/images/{image}/truth"): {
        "application/octet-stream": '{"scores": {"accuracy": 0.94, …}, "void_share": 0.02, "arrays": [{…}]} …',
    },
    ("get", "/v1/images/{image}/truth"): {
        "application/octet-stream": '{"scores": {"accuracy": 0.94, …}, "void_share": 0.02, "arrays": [{…}]} …',
    },
    ("get", "/v1/images/{image}/objects"): OBJECT_FILES,
    ("get", "/v1/images/{image}/report"): {"text/html": "<!doctype html><html lang=\"en\">…"},
    ("get", "/v1/runs/{name}/events"): {
        "text/event-stream": 'id: 1402\nevent: trace\ndata: [{"event": "epoch", "epoch": 3, "loss": 0.71, …}]\n\n',
    },
    ("get", "/v1/runs/{name}/previews/{epoch}/{index}"): {"image/png": "‰PNG"},
    ("get", "/v1/runs/{name}/images/{index}"): {"image/png": "‰PNG"},
    ("get", "/v1/runs/{name}/truth/{index}"): {"image/png": "‰PNG"},
    **train_examples.OTHER,
    **label_examples.OTHER,
    **evaluation_examples.OTHER,
    **gallery_examples.OTHER,
    **ship_examples.OTHER,
    ("get", "/metrics"): {
        "text/plain": 'pixelwise_requests_total{route="/v1/predict",status="200"} 1.0\n'
        "pixelwise_predict_seconds_count 1.0",
    },
}  # fmt: skip
ERROR = {"error": {"kind": "busy", "message": "The server is busy: its queue is full.", "remedy": "Try again in 2 s."}}


def add_examples(description: dict[str, Any]) -> dict[str, Any]:
    """Add the examples and the common form of errors to an OpenAPI description."""
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            responses = operation["responses"]
            good = next(responses[code] for code in ("200", "201", "202") if code in responses)
            content = good["content"] = {}
            if (method, path) in JSON:
                content["application/json"] = {"schema": {}, "example": JSON[method, path]}
            for kind, start in OTHER.get((method, path), {}).items():
                binary = kind.startswith("image/") or kind == "application/octet-stream"
                schema = {"type": "string", **({"format": "binary"} if binary else {})}
                content[kind] = {"schema": schema, "example": start}
            responses.pop("422", None)  # FastAPI documents its own form of errors here
            responses["default"] = {
                "description": "An error.",
                "content": {"application/json": {"schema": {"type": "object"}, "example": ERROR}},
            }
    schemas = description.get("components", {}).get("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return description
