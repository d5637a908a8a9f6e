"""What the report costs: evaluation with everything on, over the network's own time.

    python benchmarks/evaluation.py MODEL DATA [--split val] [--images 200] [--rounds 5] [--memory 2000]

The ratio is wall time over wall time, on the same cores:

    evaluate   the whole verb on an open model: every file read and decoded, every image labelled, everything counted,
               the bootstrap's intervals and the JSON
    network    the same images, decoded before the clock starts, labelled one after the other by the same open model
               with the threads that it predicts with, its outputs thrown away

Each round times both, one after the other, so that a busy machine is busy for both; the ratio is the median of the
rounds' ratios. On a machine that is busy with other work the processor's time says more than the clock's: the cores'
milliseconds an image are printed too, and the parts of evaluation alone on one core. Memory is that of the process
after a tenth of so many images and after all of them; images are taken again and again where there are fewer.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice

from labelled import arguments, opened
from rich.console import Console
from rich.table import Table

import pixelwise as pw
from pixelwise.evaluation.evaluation_pass import measure_pair
from pixelwise.evaluation.labelled_pairs import read_pair
from pixelwise.evaluation.match_classes import match_classes
from pixelwise.prediction.load_model import Model
from pixelwise.records import Dataset

MUST = 1.3  # evaluation over the network's own time


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of all processor cores together."""
    began, began_cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - began_cpu


def peak_mb(model: Model, dataset: Dataset, split: str, images: int) -> float:
    """The process's memory at its highest once so many images were evaluated."""
    samples = tuple(
        replace(sample, name=f"{turn:06}/{sample.name}")
        for turn, sample in enumerate(islice(cycle(dataset.splits[split]), images))
    )
    pw.evaluate(model, replace(dataset, splits={split: samples}), split=split)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = arguments(__doc__.partition("\n")[0], images=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, default=2000, help="images after which memory is told; 0: it is not")
    chosen = parser.parse_args()
    model, dataset = opened(chosen)
    samples = dataset.splits[chosen.split]
    match = match_classes(model.classes, dataset.classes)
    numbers = (chosen.memory // 10, chosen.memory) if chosen.memory else ()
    memory = [(peak_mb(model, dataset, chosen.split, images), images) for images in numbers]

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
    if memory:
        console.print("peak memory: " + ", ".join(f"{peak:.0f} MB after {images} images" for peak, images in memory))


if __name__ == "__main__":
    main()
