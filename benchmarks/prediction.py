"""How fast a bundle labels, beside the same network in PyTorch and beside other people's networks.

    python benchmarks/prediction.py RUN IMAGES [--threads 2] [--rounds 20] [--folder 1000] [--cpu-time]

RUN is a run directory of the default network; IMAGES a folder of photos, ten of which are taken, at 480 × 360.
Everything that is compared takes turns, image by image, in one process and with one number of threads, so that whatever
else the machine does falls on all alike: where it is busy, believe the ratios, best those of --cpu-time --threads 1.

Peers are timed where their packages can be imported, and named as not installed where not. Their weights are random,
which takes the same time. Each one's time runs from an image array to labels at the image's own size.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

import pixelwise as pw
from pixelwise.data.images import read_image

WIDTH, HEIGHT = 480, 360
Work = Callable[[np.ndarray], object]


def take_turns(
    works: dict[str, Work], images: list[np.ndarray], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """The median milliseconds of each."""
    for work in works.values():
        for image in images[:3]:
            work(image)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for image in images:
            for name, work in works.items():
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

    from pixelwise.model.build import ModelConfig, build
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
    from pixelwise.tracing.graph import batched, cut, parse

    graph = parse(model.graph)
    scores = batched(graph, model.metadata.stages[-1].tensor)
    session = model.open_session(cut(graph, [], [scores])[0])
    return lambda image: session.run([scores], {"image": image})


def with_numpy(model: pw.Model) -> Work:
    """The same, then every score resized and the highest taken outside the graph."""
    network = without_labels(model)

    def work(image: np.ndarray) -> object:
        scores = network(image)[0][0]  # type: ignore[index]
        height, width = image.shape[:2]
        return np.stack([cv2.resize(plane, (width, height)) for plane in scores]).argmax(axis=0).astype(np.uint8)

    return work


def torch_peer(network: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Work:
    """A peer in PyTorch eager: normalised at the image's own size, padded to 32, labels at the image's own size."""
    import torch
    from torch.nn import functional

    mean_311, std_311 = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    @torch.inference_mode()
    def work(image: np.ndarray) -> object:
        height, width = image.shape[:2]
        seen = ((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean_311) / std_311)[None]
        seen = functional.pad(seen, (0, -width % 32, 0, -height % 32))
        scores = network(seen)
        scores = scores["out"] if isinstance(scores, dict) else getattr(scores, "logits", scores)
        full = functional.interpolate(scores, seen.shape[2:], mode="bilinear", align_corners=False)
        return full[:, :, :height, :width].argmax(1).to(torch.uint8).numpy()

    return work


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def lraspp(classes: int) -> Work:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes).eval()
    return torch_peer(network, *IMAGENET)


def smp_unet(classes: int) -> Work:
    import segmentation_models_pytorch as smp

    network = smp.Unet("timm-tf_efficientnet_lite0", encoder_weights=None, classes=classes).eval()
    return torch_peer(network, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def segformer(classes: int) -> Work:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return torch_peer(SegformerForSemanticSegmentation(SegformerConfig(num_labels=classes)).eval(), *IMAGENET)


PEERS = {
    "torchvision LR-ASPP MobileNetV3-large, eager": lraspp,
    "SMP U-Net EfficientNet-Lite0, eager": smp_unet,
    "SegFormer-B0 (transformers), eager": segformer,
}


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


def folder_throughput(model: pw.Model, images: list[np.ndarray], number: int) -> float:
    """Images a second from JPEG files to label PNGs."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "photos"
        source.mkdir()
        for turn in range(number):
            cv2.imwrite(str(source / f"{turn:05}.jpg"), images[turn % len(images)][:, :, ::-1])
        began = time.perf_counter()
        summary = pw.predict(model, [source], Path(folder) / "out")
        assert summary.done == number
        return number / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=int, default=0, metavar="N", help="also label N JPEG files")
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
        except ModuleNotFoundError as error:
            absent["the same network, PyTorch eager"] = f"{error.name} is not installed"
        for name, make in PEERS.items():
            try:
                works[name] = make(len(plain.classes))
            except ModuleNotFoundError as error:
                absent[name] = f"{error.name} is not installed"
        medians = take_turns(works, images, max(chosen.rounds, 1), clock)
        show(console, chosen.threads, medians, absent)
        verdicts(console, medians, drops[str(bundles["int8"])])
        cold = cold_start(bundles["float32"], images[0], 7)
        console.print(f"first label from a cold `pixelwise predict`: {cold:.2f} s (must: ≤ 1.2 s)")
        if chosen.folder:
            rate = folder_throughput(plain, images, chosen.folder)
            console.print(f"JPEG file → label PNG over {chosen.folder} files: {rate:.0f} images/s (must: ≥ 90)")


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
    name, small = best("int8")
    console.print(f"in int8, best engine ({name.split(', ')[1]}): {small:.1f} ms (must: ≤ 5)")
    console.print(f"  mIoU on val lower by {int8_drop:.2f} points (must: ≤ 0.5)")
    ratio = medians["Pixelwise float32, onnxruntime"] / medians["  its network alone, without labels"]
    console.print(f"labels over the network alone: {ratio:.2f}× (must: ≤ 1.1)")


if __name__ == "__main__":
    main()
