"""What the benchmarks of evaluation share: a model, and some images of a labelled split."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pixelwise as pw
from pixelwise.prediction.load_model import Model
from pixelwise.records import Dataset


def arguments(description: str, images: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=images)
    return parser


def opened(chosen: argparse.Namespace) -> tuple[Model, Dataset]:
    """The model, and the dataset with nothing but so many images of the split, taken at even distances."""
    dataset = pw.open_dataset(chosen.data)
    samples = dataset.splits[chosen.split]
    samples = samples[:: max(len(samples) // chosen.images, 1)][: chosen.images]
    return pw.load(chosen.model), replace(dataset, splits={chosen.split: samples})
