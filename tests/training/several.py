"""What the tests of several processes start: `python several.py DATA OUT RECIPE`, by torchrun.

A training in float64. Sums taken in another order differ in float32's last digits, and an optimiser that divides each
gradient by its own size makes a gradient of nearly nothing, of either sign, into a whole step. In float64 what is left
of that is far below what a wrong statistic, weight or share would bring.
"""

import sys
from pathlib import Path
from unittest.mock import patch

import torch

from pixelwise.training import step, train
from pixelwise.training.losses import class_weights
from pixelwise.training.recipe import Recipe


def train_in_float64(data: Path, out: Path, recipe: Path) -> None:
    """`pixelwise.train` without its last step: a bundle is float32."""
    torch.set_default_dtype(torch.float64)
    try:
        with (
            patch.object(step, "class_weights", lambda *arguments: class_weights(*arguments).double()),
            patch.object(train, "export", lambda out, **_: out / "model.onnx"),
        ):
            train.train(data, out, Recipe.from_file(recipe))
    finally:
        torch.set_default_dtype(torch.float32)


if __name__ == "__main__":
    train_in_float64(*map(Path, sys.argv[1:]))
