"""What people wait for: import, --help, one prediction, the demonstration.

    python benchmarks/speed.py [--model BUNDLE] [--demo]

Prints medians over several runs. Without --model it uses a network with untrained weights, which takes the same time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import pixelwise as pw
from pixelwise.scenes.render_scene import SCENE_CLASSES, render_scene


def median_ms(work: Callable[[], object], runs: int, warmup: int = 3) -> tuple[float, float]:
    """Median and fastest of `runs`, in milliseconds."""
    for _ in range(warmup):
        work()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times), min(times)


def untrained_bundle(path: Path) -> Path:
    from pixelwise.bundle.export import export_bundle, stages_of
    from pixelwise.bundle.metadata import Metadata
    from pixelwise.model.build_network import build
    from pixelwise.model.network import ModelConfig
    from pixelwise.model.preprocess import Preprocess

    network = build(ModelConfig(classes=len(SCENE_CLASSES))).eval()
    preprocess = Preprocess((256, 256), "stretch", network.mean, network.std)
    metadata = Metadata(
        SCENE_CLASSES, (256, 256), "stretch", network.stride, network.mean, network.std, 1.0, stages_of(network)
    )
    export_bundle(network, preprocess, metadata, [render_scene(0, 0, 360, 480)[0]], path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--demo", action="store_true", help="also time the whole demonstration, a few minutes")
    chosen = parser.parse_args()
    table = Table("what", "must", "median", "fastest", title="Speed")

    with tempfile.TemporaryDirectory() as folder:
        model = pw.load(chosen.model or untrained_bundle(Path(folder) / "model.onnx"))
        image = np.ascontiguousarray(render_scene(0, 1, 360, 480)[0])
        median, best = median_ms(lambda: model.predict(image), runs=60, warmup=10)
        table.add_row("predict one 480×360 photo, model loaded", "≤ 15 ms", f"{median:.1f} ms", f"{best:.1f} ms")

        def process(*arguments: str) -> Callable[[], object]:
            return lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

        bare, _ = median_ms(process("-c", "pass"), runs=11)
        median, best = median_ms(process("-c", "import pixelwise"), runs=11)
        table.add_row("import pixelwise, Python's own start taken off", "≤ 150 ms", f"{median - bare:.0f} ms", "")
        median, best = median_ms(process("-m", "pixelwise", "--help"), runs=11)
        table.add_row("pixelwise --help, whole process", "≤ 600 ms", f"{median:.0f} ms", f"{best:.0f} ms")
        if chosen.demo:
            median, _ = median_ms(process("-m", "pixelwise", "demo", "--out", f"{folder}/demo"), runs=1, warmup=0)
            table.add_row("pixelwise demo", "≤ 180 s", f"{median / 1e3:.0f} s", "")
    Console().print(table)


if __name__ == "__main__":
    main()
