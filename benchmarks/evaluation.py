"""What the report costs: evaluation with everything on, over the network's own time.

    python benchmarks/evaluation.py MODEL DATA [--split val] [--images 60] [--rounds 3]

Each round times, one after the other, so that a busy machine is busy for all of them; on a machine that is busy with
other work the processor's time says more than the clock's:

    network          every image through the network, nothing else
    read + network   the same, images and masks decoded ahead as `evaluate` does
    evaluate         the whole verb, its intervals and JSON with it
    count            what is counted on an image, alone, on one core

Prints the fastest round of each, the ratios, and how memory grows from a tenth of the images to all of them.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console
from rich.table import Table

import pixelwise as pw
from pixelwise.evaluation.classes import match_classes
from pixelwise.evaluation.measure import measure
from pixelwise.evaluation.pairs import read_ahead, read_pair

MUST = 1.3  # evaluation over the network's own time


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of all processor cores together."""
    began, began_cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - began_cpu


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    model, dataset = pw.load(chosen.model), pw.open_dataset(chosen.data)
    samples = dataset.splits[chosen.split][: chosen.images]
    dataset = replace(dataset, splits={chosen.split: samples})
    match = match_classes(model.classes, dataset.classes)

    few = replace(dataset, splits={chosen.split: samples[: max(len(samples) // 10, 1)]})
    pw.evaluate(model, few, split=chosen.split)
    memory_few = peak_mb()
    pw.evaluate(model, dataset, split=chosen.split)
    memory_all = peak_mb()

    pairs = [read_pair(dataset, sample) for sample in samples]
    answers = [model.engine.run(image) for _, image, _ in pairs]
    temperature = model.metadata.temperature

    def count() -> None:
        for turn, ((_, _, true), (labels, scores)) in enumerate(zip(pairs, answers, strict=True)):
            measure(match.predicted[labels], match.true[true], scores, len(match.classes),
                    temperature=temperature, turn=turn)  # fmt: skip

    works: dict[str, Callable[[], object]] = {
        "network": lambda: [model.engine.run(image) for _, image, _ in pairs],
        "read + network": lambda: [model.engine.run(image) for _, image, _ in read_ahead(dataset, chosen.split)],
        "evaluate": lambda: pw.evaluate(model, dataset, split=chosen.split).to_json(),
        "count": count,
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(chosen.rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    table = Table(
        "what", "ms an image", "over the network", "core-ms an image", title=f"Evaluation of {len(samples)} images"
    )
    fastest = {name: min(wall for wall, _ in found) for name, found in times.items()}
    for name, found in times.items():
        wall, cpu = fastest[name], min(cpu for _, cpu in found)
        table.add_row(name, f"{wall / len(samples) * 1e3:.1f}", f"{wall / fastest['network']:.2f}×",
                      f"{cpu / len(samples) * 1e3:.1f}")  # fmt: skip
    console = Console()
    console.print(table)
    network, whole, read = fastest["network"], fastest["evaluate"], fastest["read + network"]
    console.print(
        f"evaluate over network: {whole / network:.2f}× (must: ≤ {MUST}×); over read + network: {whole / read:.2f}×"
    )
    console.print(
        f"peak memory: {memory_few:.0f} MB after {len(few.splits[chosen.split])} images, "
        f"{memory_all:.0f} MB after {len(samples)}"
    )


if __name__ == "__main__":
    main()
