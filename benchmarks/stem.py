"""How should an ImageNet encoder take images of many bands? Short trainings on 12-band satellite images.

    python benchmarks/stem.py [DATA] [--steps 150] [--seeds 2]

DATA holds images/*.tif and labels/*.png of one name (0: land, 1: water). Every fifth image is held out. The last two
bands are maps of water, which give the answer away, so the first ten are used; the second to fourth are blue, green and
red. Each way of making the first convolution is trained the same number of steps from the same seeds; the rest of the
encoder always starts from ImageNet. With one thread a step takes about 0.2 s.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from pixelwise.datasets.read_sample import read_sample_image
from pixelwise.model.encoders import STEM_WIDTH, ConvNorm, EfficientNetLite
from pixelwise.model.preprocess import Preprocess
from pixelwise.records import Bands, ClassList, Sample
from pixelwise.training import loop
from pixelwise.training.band_ranges import measured_ranges
from pixelwise.training.loader import Pairs
from pixelwise.training.recipe import Recipe
from pixelwise.training.step import learn, rate_at, set_training, step_setup
from pixelwise.training.training_state import make_optimizer, start
from pixelwise.training.validate import Validation, validate

TEN = tuple(f"band {number}" for number in range(1, 11))
VISIBLE = ("band 4", "band 3", "band 2")
NAMED = ("band 1", "blue", "green", "red", *TEN[4:])  # the same ten, as the rule for colours' filters knows them
RGB_NAMED = ("red", "green", "blue")
WAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, int]] = {  # bands, their names, first filters, frozen
    "random filters": (TEN, TEN, "random", -1),
    "each the mean of the colours', frozen with two stages": (TEN, TEN, "inflated", 2),
    "each the mean of the colours'": (TEN, TEN, "inflated", -1),
    "colours their own, others the mean": (TEN, NAMED, "inflated", -1),
    "red, green and blue only, frozen with two stages": (VISIBLE, RGB_NAMED, "inflated", 2),
    "red, green and blue only": (VISIBLE, RGB_NAMED, "inflated", -1),
}
CLASSES = ClassList(("land", "water"), ((100, 80, 60), (40, 80, 220)))
RECIPE = Recipe(size=(128, 128), policy="stretch", batch=8, even_exposure=False, light=0.5, turn=True, epochs=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data/own/water12"))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    images = sorted((asked.data / "images").glob("*.tif"), key=lambda path: int(path.stem))
    samples = [Sample(path.stem, path, asked.data / "labels" / f"{path.stem}.png") for path in images]
    table = Table("first filters", "bands", "IoU of water, each seed", "mean", "s", title=f"{asked.steps} steps")
    for way, (bands, names, filters, frozen) in WAYS.items():
        began = time.perf_counter()
        scores = [score(samples, bands, names, filters, frozen, asked.steps, seed) for seed in range(asked.seeds)]
        row = way, str(len(bands)), ", ".join(f"{one:.3f}" for one in scores), f"{sum(scores) / len(scores):.3f}"
        table.add_row(*row, f"{time.perf_counter() - began:.0f}")
        print(*row, flush=True)
    Console().print(table)


def score(
    samples: Sequence[Sample], bands: tuple[str, ...], names: tuple[str, ...], filters: str, frozen: int, steps: int,
    seed: int,
) -> float:  # fmt: skip
    """Train once; the IoU of water on the images held out."""
    train = [sample for place, sample in enumerate(samples) if place % 5]
    held_out = [sample for place, sample in enumerate(samples) if place % 5 == 0]
    plain = Bands(bands, "float32", (0.0,) * len(bands), (1.0,) * len(bands))
    taken = measured_ranges(train, plain, lambda sample: read_sample_image(sample, plain))
    assert taken is not None
    recipe = replace(RECIPE, seed=seed, frozen_stages=frozen, plan=((0, 1, steps),))
    training = start(recipe, len(CLASSES), bands=replace(taken, names=names))
    if filters == "random":
        encoder = training.network.encoder_module()
        assert isinstance(encoder, EfficientNetLite)
        encoder.stem = ConvNorm(len(bands), STEM_WIDTH, kernel=3, stride=2)
    training.optimizer = make_optimizer(training.network, recipe)  # as for RGB: `frozen` alone decides what is frozen
    training.average = {name: tensor.detach().clone() for name, tensor in training.network.state_dict().items()}
    pairs, val = (Pairs(part, {0: 0, 1: 1}, len(CLASSES), 256, bands=taken) for part in (train, held_out))
    pixels = [sum(int((pairs[i][1] == label).sum()) for i in range(len(pairs))) for label in (0, 1)]
    network = training.network
    preprocess = Preprocess(recipe.size, recipe.policy, network.mean, network.std, recipe.even_exposure, taken)
    data = loop.EpochData(pairs, pixels, Validation(val, preprocess, CLASSES))
    lesson, order = step_setup(training, pixels), loop.order_of(training, pairs)
    set_training(network, recipe)
    if filters == "random":
        encoder.stem.train()  # its statistics are not ImageNet's
    for images_BhwN, labels_Bhw in loop.batches_of(training, data, order):
        learn(training, lesson, images_BhwN, labels_Bhw, rate_at(training, steps))
    network.load_state_dict(training.average)
    return float(validate(network, data.validation).scores.iou_C[1])


if __name__ == "__main__":
    main()
