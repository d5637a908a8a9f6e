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

from pixelwise.version import __version__ as __version__

if TYPE_CHECKING:
    from pixelwise.datasets.convert import convert
    from pixelwise.datasets.open_dataset import open_dataset
    from pixelwise.doctor.check import check
    from pixelwise.errors import PixelwiseError
    from pixelwise.evaluation.compare import compare
    from pixelwise.evaluation.evaluate import evaluate
    from pixelwise.images.image_files import read_image
    from pixelwise.labelling.accept import accept
    from pixelwise.labelling.suggest import suggest
    from pixelwise.prediction.built_in_models import models
    from pixelwise.prediction.count_objects import count_objects
    from pixelwise.prediction.load_model import Model, load
    from pixelwise.prediction.predict import predict
    from pixelwise.prediction.video.label_video import predict_video
    from pixelwise.records import VOID, ClassList, Dataset, Prediction, Sample
    from pixelwise.tracing.trace import trace
    from pixelwise.training.cross_validation import cross_validate
    from pixelwise.training.demo import demo
    from pixelwise.training.export_run import export
    from pixelwise.training.find_learning_rate import find_rate
    from pixelwise.training.plan import plan
    from pixelwise.training.recipe import Recipe
    from pixelwise.training.search.recipe_search import search
    from pixelwise.training.train import train

# ONNX Runtime reports each start to its makers, from the moment that it is imported. Nothing is sent from here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "ClassList": "records",
    "Dataset": "records",
    "Model": "prediction.load_model",
    "PixelwiseError": "errors",
    "Prediction": "records",
    "Recipe": "training.recipe",
    "Sample": "records",
    "VOID": "records",
    "accept": "labelling.accept",
    "check": "doctor.check",
    "compare": "evaluation.compare",
    "convert": "datasets.convert",
    "count_objects": "prediction.count_objects",
    "cross_validate": "training.cross_validation",
    "demo": "training.demo",
    "evaluate": "evaluation.evaluate",
    "export": "training.export_run",
    "find_rate": "training.find_learning_rate",
    "load": "prediction.load_model",
    "models": "prediction.built_in_models",
    "open_dataset": "datasets.open_dataset",
    "plan": "training.plan",
    "predict": "prediction.predict",
    "predict_video": "prediction.video.label_video",
    "read_image": "images.image_files",
    "search": "training.search.recipe_search",
    "suggest": "labelling.suggest",
    "trace": "tracing.trace",
    "train": "training.train",
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
    "count_objects",
    "cross_validate",
    "demo",
    "evaluate",
    "export",
    "find_rate",
    "load",
    "models",
    "open_dataset",
    "plan",
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
