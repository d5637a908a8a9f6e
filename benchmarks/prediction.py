"""How fast a bundle labels, beside the same network in PyTorch and beside other people's networks.

    python benchmarks/prediction.py RUN IMAGES [--threads 2] [--rounds 20] [--cpu-time] [--folder 1000]
                                               [--gigapixel 20000] [--repeats 3]

RUN is a run directory of the default network; IMAGES a folder of photos, ten of which are taken, at 480 × 360.
Everything that is compared takes turns, in one process and with one number of threads, so that whatever else the
machine does falls on all alike: where it is busy, believe the ratios, best those of --cpu-time --threads 1. A turn is
all ten photos, as in use: a network that follows another at every photo finds the caches full of the other's weights.

Peers (peers.py) are timed where their packages can be imported, and named as not installed where not;
docs/how-to/engines.md says how to install them. Times run from an image array to labels at the image's own size.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from folder import folder_speed  # beside this file
from folder import table_of as folder_table
from rich.console import Console
from rich.table import Table

import pixelwise as pw
from pixelwise.images.image_files import read_image

WIDTH, HEIGHT = 480, 360
Work = Callable[[np.ndarray], object]
T = TypeVar("T")


def take_turns(
    works: dict[str, Work], images: list[np.ndarray], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """The median milliseconds of each."""
    for work in works.values():
        for image in images[:3]:
            work(image)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            work(images[0])  # untimed: it fetches the weights
            for image in images:
                began = clock()
                work(image)
                seconds[name].append(clock() - began)
    return {name: statistics.median(times) * 1e3 for name, times in seconds.items()}


def photos(folder: Path, number: int) -> list[np.ndarray]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not paths:
        sys.exit(f"{folder}: no PNG or JPEG")
    images = [read_image(path) for path in paths[:: max(len(paths) // number, 1)][:number]]
    return [np.ascontiguousarray(cv2.resize(image, (WIDTH, HEIGHT))) for image in images]


def eager(run: Path) -> Work:
    """The run's network in PyTorch as people would run it: image array → labels."""
    import torch

    from pixelwise.model.build_network import build
    from pixelwise.model.network import ModelConfig
    from pixelwise.model.preprocess import Preprocess, labels_from_scores
    from pixelwise.training.checkpoint import load_checkpoint
    from pixelwise.training.recipe import Recipe

    recipe = Recipe.from_file(run / "recipe.toml")
    weights, _ = load_checkpoint(run / "checkpoints" / "best.safetensors")
    classes = weights["classifier.bias"].shape[0] // 4
    network = build(ModelConfig(recipe.model, recipe.encoder, classes, pretrained=False)).eval()
    network.load_state_dict(weights)
    preprocess = Preprocess(recipe.size, recipe.policy, network.mean, network.std, recipe.even_exposure)

    @torch.inference_mode()
    def work(image: np.ndarray) -> object:
        scores = network(preprocess(torch.from_numpy(image)[None]))
        return labels_from_scores(scores, image.shape[:2])[0].numpy()

    return work


def without_labels(model: pw.Model) -> Work:
    """The bundle's graph up to the scores, and no further."""
    from pixelwise.bundle.onnx_graph import batched, extract, parse

    graph = parse(model.graph)
    scores = batched(graph, model.metadata.stages[-1].tensor)
    session = model.open_session(extract(graph, [], [scores])[0])
    return lambda image: session.run([scores], {"image": image})


def with_numpy(model: pw.Model) -> Work:
    """The same, then every score resized and the highest taken outside the graph."""
    network = without_labels(model)

    def work(image: np.ndarray) -> object:
        scores = network(image)[0][0]  # type: ignore[index]
        height, width = image.shape[:2]
        return np.stack([cv2.resize(plane, (width, height)) for plane in scores]).argmax(axis=0).astype(np.uint8)

    return work


def peers_here(classes: int, image: np.ndarray, threads: int, absent: dict[str, str]) -> dict[str, Work]:
    """Other people's networks, as far as their packages are installed; `absent` hears of the others."""
    from peers import peers  # beside this file; imports torch

    works, missing = peers(classes, image, threads)
    absent |= missing
    return works


def cold_start(bundle: Path, image: np.ndarray, runs: int) -> float:
    """Seconds from the call of `pixelwise predict` on one photo to its end, each in a new process; the median."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        cv2.imwrite(f"{folder}/photo.jpg", image[:, :, ::-1])
        for number in range(runs):
            command = [sys.executable, "-m", "pixelwise", "predict", str(bundle), f"{folder}/photo.jpg"]
            began = time.perf_counter()
            subprocess.run([*command, "--out", f"{folder}/{number}"], check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=int, default=0, metavar="N", help="also label N JPEG files, as folder.py does")
    parser.add_argument(
        "--gigapixel", type=int, default=0, metavar="SIDE", help="also label a huge image: gigapixel.py"
    )
    parser.add_argument("--repeats", type=int, default=1, help="of --folder and --gigapixel; the median run is shown")
    parser.add_argument("--cpu-time", action="store_true", help="time that cores worked, not that passed")
    chosen = parser.parse_args()
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    console = Console(width=120)
    images = photos(chosen.images, 10)
    works: dict[str, Work] = {}
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        bundles = {"float32": Path(folder) / "float32.onnx", "int8": Path(folder) / "int8.onnx"}
        drops: dict[str, float] = {}

        def note(event: dict[str, Any]) -> None:
            drops[str(event["path"])] = event.get("reduced", {}).get("drop_points", 0.0)

        pw.export(chosen.run, bundles["float32"], tell=note)
        pw.export(chosen.run, bundles["int8"], int8=True, max_drop=100, tell=note)
        models: dict[str, pw.Model] = {}
        for kind, path in bundles.items():
            for engine in ("onnxruntime", "openvino", "openvino-bf16", "cuda"):
                name = f"Pixelwise {kind}, {engine}"
                try:
                    models[name] = pw.load(path, chosen.threads, engine)
                except pw.PixelwiseError as error:
                    absent[name] = str(error).split(". ")[0]
                    continue
                works[name] = models[name].engine.run
        plain = models["Pixelwise float32, onnxruntime"]
        works["  its network alone, without labels"] = without_labels(plain)
        works["  its network, then numpy stack + argmax"] = with_numpy(plain)
        try:
            import torch

            torch.set_num_threads(chosen.threads)
            works["the same network, PyTorch eager"] = eager(chosen.run)
            works |= peers_here(len(plain.classes), images[0], chosen.threads, absent)
        except ModuleNotFoundError as error:
            absent["the same network, PyTorch eager, and peers"] = f"{error.name} is not installed"
        medians = take_turns(works, images, max(chosen.rounds, 1), clock)
        show(console, chosen.threads, medians, absent)
        verdicts(console, medians, drops[str(bundles["int8"])])
        cold = cold_start(bundles["float32"], images[0], 7)
        console.print(f"first label from a cold `pixelwise predict`: {cold:.2f} s (must: ≤ 1.2 s)")
        if chosen.folder:
            speeds = [folder_speed(bundles["float32"], chosen.folder) for _ in range(chosen.repeats)]
            console.print(folder_table(median_of(speeds, lambda speed: speed.images_per_s)))
        if chosen.gigapixel:
            from gigapixel import measure  # needs the extra `tiff`
            from gigapixel import table_of as gigapixel_table

            found = [measure(bundles["float32"], Path(folder), chosen.gigapixel) for _ in range(chosen.repeats)]
            console.print(gigapixel_table(median_of(found, lambda figures: figures.share)))
        console.print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def median_of(runs: Sequence[T], figure: Callable[[T], float]) -> T:
    """The run in the middle by this figure, so that all its figures belong together."""
    return sorted(runs, key=figure)[(len(runs) - 1) // 2]


def show(console: Console, threads: int, medians: dict[str, float], absent: dict[str, str]) -> None:
    reference = medians["Pixelwise float32, onnxruntime"]
    table = Table(title=f"image array {WIDTH}×{HEIGHT} → labels, {threads} threads", title_justify="left", box=None)
    for column in ("what", "median ms", "times float32 on onnxruntime"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, milliseconds in medians.items():
        table.add_row(name, f"{milliseconds:.1f}", f"{milliseconds / reference:.2f}")
    for name, why in absent.items():
        table.add_row(name, "–", why)
    console.print(table)


def verdicts(console: Console, medians: dict[str, float], int8_drop: float) -> None:
    """What must be reached, and what was."""

    def best(kind: str) -> tuple[str, float]:
        return min(((n, ms) for n, ms in medians.items() if n.startswith(f"Pixelwise {kind},")), key=lambda row: row[1])

    name, fastest = best("float32")
    console.print(f"default network, best engine ({name.split(', ')[1]}): {fastest:.1f} ms (must: ≤ 8)")
    if slow := medians.get("the same network, PyTorch eager"):
        console.print(f"  over PyTorch eager: {slow / fastest:.1f}× faster (must: ≥ 4)")
    if theirs := {name: ms for name, ms in medians.items() if name.endswith((", eager", ", ONNX Runtime"))}:
        peer = min(theirs, key=lambda name: theirs[name])
        console.print(f"  the fastest peer ({peer}): {theirs[peer]:.1f} ms (must: slower)")
    name, small = best("int8")
    console.print(f"in int8, best engine ({name.split(', ')[1]}): {small:.1f} ms (must: ≤ 5)")
    console.print(f"  mIoU on val lower by {int8_drop:.2f} points (must: ≤ 0.5)")
    ratio = medians["Pixelwise float32, onnxruntime"] / medians["  its network alone, without labels"]
    console.print(f"labels over the network alone: {ratio:.2f}× (must: ≤ 1.1)")


if __name__ == "__main__":
    main()
