"""Pixelwise: label every pixel.

    import pixelwise as pw

    pw.train("my_data", "my_run")
    prediction = pw.load("my_run/model.onnx").predict("photo.jpg")
    prediction.shares                      # {"road": 0.41, "car": 0.06, …}
    prediction.probabilities(x=212, y=140)

Importing this imports neither torch nor onnxruntime: each name is looked up when it is first used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelwise.data.doctor import check
    from pixelwise.data.folder import open_dataset
    from pixelwise.data.formats.convert import convert
    from pixelwise.data.images import read_image
    from pixelwise.errors import PixelwiseError
    from pixelwise.evaluation.accept import accept
    from pixelwise.evaluation.compare import compare
    from pixelwise.evaluation.split import evaluate
    from pixelwise.evaluation.suggest import suggest
    from pixelwise.prediction.builtin import models
    from pixelwise.prediction.folder import predict
    from pixelwise.prediction.image import Model, load
    from pixelwise.prediction.video import predict_video
    from pixelwise.records import VOID, ClassList, Dataset, Prediction, Sample
    from pixelwise.tracing.story import trace
    from pixelwise.training.demo import demo
    from pixelwise.training.find_rate import find_rate
    from pixelwise.training.finish import export
    from pixelwise.training.recipe import Recipe
    from pixelwise.training.run import train
    from pixelwise.training.search import search

__version__ = "0.1.0"

# ONNX Runtime reports each start to its makers, from the moment that it is imported. Nothing is sent from here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "ClassList": "records",
    "Dataset": "records",
    "Model": "prediction.image",
    "PixelwiseError": "errors",
    "Prediction": "records",
    "Recipe": "training.recipe",
    "Sample": "records",
    "VOID": "records",
    "accept": "evaluation.accept",
    "check": "data.doctor",
    "compare": "evaluation.compare",
    "convert": "data.formats.convert",
    "demo": "training.demo",
    "evaluate": "evaluation.split",
    "export": "training.finish",
    "find_rate": "training.find_rate",
    "load": "prediction.image",
    "models": "prediction.builtin",
    "open_dataset": "data.folder",
    "predict": "prediction.folder",
    "predict_video": "prediction.video",
    "read_image": "data.images",
    "search": "training.search",
    "suggest": "evaluation.suggest",
    "trace": "tracing.story",
    "train": "training.run",
}

__all__ = [
    "VOID",
    "ClassList",
    "Dataset",
    "Model",
    "PixelwiseError",
    "Prediction",
    "Recipe",
    "Sample",
    "accept",
    "check",
    "compare",
    "convert",
    "demo",
    "evaluate",
    "export",
    "find_rate",
    "load",
    "models",
    "open_dataset",
    "predict",
    "predict_video",
    "read_image",
    "search",
    "suggest",
    "trace",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pixelwise' has no attribute {name!r}")
    try:
        value = getattr(import_module(f"pixelwise.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from pixelwise.errors import as_missing_extra

        raise (as_missing_extra(error) or error) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
