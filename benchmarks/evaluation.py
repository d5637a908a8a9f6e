"""What the report costs: evaluation with everything on, over the network's own time.

    python benchmarks/evaluation.py MODEL DATA [--split val] [--images 200] [--rounds 5]

The ratio is wall time over wall time, on the same cores:

    evaluate   the whole verb on an open model: every file read and decoded, every image labelled, everything counted,
               the bootstrap's intervals and the JSON
    network    the same images, decoded before the clock starts, labelled one after the other by the same open model
               with the threads that it predicts with, its outputs thrown away

Each round times both, one after the other, so that a busy machine is busy for both; the ratio is the median of the
rounds' ratios. On a machine that is busy with other work the processor's time says more than the clock's: the cores'
milliseconds an image are printed too, and the parts of evaluation alone on one core. Memory is that of the process
after a tenth of the images and after all.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console
from rich.table import Table

import pixelwise as pw
from pixelwise.evaluation.classes import match_classes
from pixelwise.evaluation.pairs import read_pair
from pixelwise.evaluation.split import measure_pair
from pixelwise.prediction.image import Model

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
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
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
    single = Model(model.engine.one_threaded())
    answers = [single.predict(image) for _, image, _ in pairs]

    def count() -> None:
        for turn, ((_, _, true), answer) in enumerate(zip(pairs, answers, strict=True)):
            measure_pair(match, answer, true, turn)

    works: dict[str, Callable[[], object]] = {
        "network": lambda: [model.predict(image) for _, image, _ in pairs],
        "evaluate": lambda: pw.evaluate(model, dataset, split=chosen.split).to_json(),
        "of it: read, one core": lambda: [read_pair(dataset, sample) for sample in samples],
        "network, one core": lambda: [single.predict(image) for _, image, _ in pairs],
        "count, one core": count,
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(chosen.rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    table = Table("what", "ms an image", "core-ms an image", title=f"Evaluation of {len(samples)} images, medians")
    for name, found in times.items():
        wall, cpu = (statistics.median(column) / len(samples) * 1e3 for column in zip(*found, strict=True))
        table.add_row(name, f"{wall:.1f}", f"{cpu:.1f}")
    console = Console()
    console.print(table)
    rounds = list(zip(times["evaluate"], times["network"], strict=True))
    ratios = sorted(whole[0] / network[0] for whole, network in rounds)
    spent = statistics.median(whole[1] / network[1] for whole, network in rounds)
    console.print(
        f"evaluate over network: {statistics.median(ratios):.2f}× by the clock ({ratios[0]:.2f} to {ratios[-1]:.2f}; "
        f"must: ≤ {MUST}×), {spent:.2f}× by the processors"
    )
    console.print(
        f"peak memory: {memory_few:.0f} MB after {len(few.splits[chosen.split])} images, "
        f"{memory_all:.0f} MB after {len(samples)}"
    )


if __name__ == "__main__":
    main()
