"""`pixelwise predict --benchmark`: time every engine on this machine, and compare their labels.

The engines take turns, so that other load on the machine affects all of them equally. In a turn each labels several
images in a row, as in use: if engines alternated at every image, the processor's caches would hold the weights of the
other one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.errors import MissingExtraError, UsageError
from pixelwise.images.files import shown
from pixelwise.prediction.engines.engine import ENGINES, Engine
from pixelwise.prediction.load_model import as_input, find_bundle
from pixelwise.records import Labels, OnProgress, Raster, no_progress

if TYPE_CHECKING:
    from rich.console import RenderableType

ROUNDS, IN_A_ROW = 4, 10
REFERENCE = "onnxruntime"  # verified at export; the labels of other engines are compared with it


@dataclass(frozen=True)
class Timed:
    """Times of one engine on this machine."""

    engine: str
    milliseconds: float  # image array → labels, the median
    fastest: float
    opened_s: float  # opening and verifying the bundle
    agreement: float  # share of pixels with the same label as ONNX Runtime


@dataclass(frozen=True)
class Benchmark:
    """The result of `benchmark`."""

    model: str
    images: int
    threads: int
    timed: tuple[Timed, ...]  # the fastest first
    missing: dict[str, str]  # engine → why it cannot be used here

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_rich(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table

        title = f"{self.model}: {self.images} image{'s' * (self.images != 1)}, {self.threads} threads"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for name in ("engine", "median ms", "fastest ms", "opened in", "same labels as onnxruntime"):
            table.add_column(name, justify="left" if name == "engine" else "right")
        for row in self.timed:
            table.add_row(
                row.engine,
                f"{row.milliseconds:.1f}",
                f"{row.fastest:.1f}",
                f"{row.opened_s:.2f} s",
                "–" if row.engine == REFERENCE else f"{row.agreement:.2%}",
            )
        return Group(table, *(f"{name}: {why}" for name, why in self.missing.items()))


def benchmark(
    model: str | Path,
    images: Sequence[Path | str],
    *,
    threads: int | None = None,
    progress: OnProgress = no_progress,
) -> Benchmark:
    """Time every engine of this machine on a model and images, without decoding.

    Raises:
        UsageError: no image, or no such model.
        ImageError: an image cannot be read.
        BundleError: the model cannot be used.
    """
    if not images:
        raise UsageError("no image to time the engines on; name at least one.")
    bundle = read_bundle(find_bundle(model))
    pixels = [as_input(Path(image), bundle.metadata.bands) for image in images]
    engines: dict[str, Engine] = {}
    opened_s: dict[str, float] = {}
    missing: dict[str, str] = {}
    for name in ENGINES:
        began = time.perf_counter()
        try:
            engines[name] = Engine(bundle, threads, name)
            opened_s[name] = time.perf_counter() - began
        except (UsageError, MissingExtraError) as error:
            missing[name] = str(error).removeprefix(f"engine {name}: ")
    seconds, labels = take_turns(engines, pixels, progress)
    rows = [
        Timed(
            engine=name,
            milliseconds=float(np.median(seconds[name])) * 1e3,
            fastest=float(np.min(seconds[name])) * 1e3,
            opened_s=opened_s[name],
            agreement=agreement(labels[name], labels[REFERENCE]),
        )
        for name in engines
    ]
    rows.sort(key=lambda row: row.milliseconds)
    used = engines[REFERENCE].threads
    return Benchmark(shown(bundle.path), len(pixels), used, tuple(rows), missing)


def take_turns(
    engines: dict[str, Engine], images: Sequence[Raster], progress: OnProgress
) -> tuple[dict[str, list[float]], dict[str, list[Labels]]]:
    """Seconds of every timed run, and the labels of every image, by engine."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    labels: dict[str, list[Labels]] = {
        name: [engine.run(image)[0] for image in images] for name, engine in engines.items()
    }
    rounds = ROUNDS * len(engines)
    in_a_row = list(images) * -(-IN_A_ROW // len(images))
    for done in range(rounds):
        progress(done, rounds)
        name = list(engines)[done % len(engines)]
        engines[name].run(in_a_row[0])  # untimed: it loads the weights into the cache
        for image in in_a_row:
            began = time.perf_counter()
            engines[name].run(image)
            seconds[name].append(time.perf_counter() - began)
    progress(rounds, rounds)
    return seconds, labels


def agreement(labels: Sequence[Labels], others: Sequence[Labels]) -> float:
    """Share of pixels that are the same."""
    same = sum(int((a == b).sum()) for a, b in zip(labels, others, strict=True))
    return same / sum(a.size for a in labels)
