"""Training steps on a GPU: images a second and memory, by batch size, with bfloat16 and with float32.

    python benchmarks/gpu_speed.py [--size 352x480] [--batches 4,32,64,128] [--steps 10] [--repeats 3]

Steps alone, on random images that are in memory already; what loading and augmenting cost shows in the images/s that
`pixelwise train` prints. Medians of the repeats, after as many steps that do not count.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table

from pixelwise.records import RGB
from pixelwise.training.distributed import choose_device
from pixelwise.training.recipe import Recipe
from pixelwise.training.step import learn, set_training, step_setup
from pixelwise.training.training_state import start

CLASSES = 11


def measure(recipe: Recipe, bfloat16: bool, steps: int, repeats: int) -> tuple[float, float]:
    """Images a second, and the most GPU memory used, in GiB."""
    device = torch.device("cuda")
    training = start(recipe, CLASSES, device)
    lesson = replace(step_setup(training, [1] * CLASSES, RGB), bfloat16=bfloat16)
    set_training(training.network, recipe)
    height, width = recipe.size
    images_Bhw3 = torch.randint(0, 256, (recipe.batch, height, width, 3), dtype=torch.uint8).pin_memory()
    labels_Bhw = torch.randint(0, CLASSES, (recipe.batch, height, width), dtype=torch.uint8).pin_memory()
    torch.cuda.reset_peak_memory_stats()

    def some_steps() -> float:
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(steps):
            learn(training, lesson, images_Bhw3, labels_Bhw, 1e-4)
        torch.cuda.synchronize()
        return time.perf_counter() - began

    some_steps()
    seconds = statistics.median(some_steps() for _ in range(repeats))
    return steps * recipe.batch / seconds, torch.cuda.max_memory_allocated() / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="352x480", help="height and width, multiples of 32")
    parser.add_argument("--batches", default="4,32,64,128")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device here; this measures training on one.")
    choose_device("cuda")
    height, width = (int(side) for side in chosen.size.split("x"))
    table = Table("batch", "images/s bf16", "GiB", "images/s float32", "GiB")
    for batch in (int(one) for one in chosen.batches.split(",")):
        recipe = Recipe(size=(height, width), small_epochs=0.0, batch=batch)
        figures = [measure(recipe, bfloat16, chosen.steps, chosen.repeats) for bfloat16 in (True, False)]
        table.add_row(str(batch), *(text for rate, gib in figures for text in (f"{rate:,.0f}", f"{gib:.1f}")))
    console = Console(highlight=False, width=120)
    console.print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, lite0 at {height}×{width}")
    console.print(table)


if __name__ == "__main__":
    main()
