"""A folder of photographs to labels: images per second, and where the time goes.

    python benchmarks/folder.py [--model BUNDLE] [--images 1000] [--save labels] [--engine auto]

Writes JPEG files of 480×360, labels them as `pixelwise predict` does, and prints what each part takes alone: reading
and decoding, the network on one core, packing the label PNG (beside Pillow's way), writing it to disk. "The network
alone" is the bound: the same images, decoded before and not written, on as many cores. Images a second hold on a quiet
machine; the processor's time for an image nearly does on a busy one, and says what is possible: cores / time.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from pixelwise.images.files import write_whole
from pixelwise.images.image_files import read_image
from pixelwise.images.png_writer import label_png
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.predict import networks_at_once, predict
from pixelwise.records import ClassList, Labels, Pixels
from pixelwise.scenes.render_scene import render_scene

DISTINCT = 24  # photographs; the files repeat them
QUALITY = 92
MUST_PER_S = 90


@dataclass(frozen=True)
class FolderSpeed:
    """Medians; milliseconds an image and files a second."""

    images: int
    at_once: int  # networks that ran side by side
    images_per_s: float  # JPEG files → label PNG files
    network_per_s: float  # the network alone, on as many cores
    cpu_ms: float  # of the processor, for one image from file to file
    network_cpu_ms: float  # of it for the network
    decode_ms: float
    network_ms: float  # on one core
    pack_ms: float  # the label PNG
    pillow_ms: float  # the same by Pillow, at its default level
    write_ms: float  # to disk, for good


def folder_speed(
    bundle: Path | str, images: int = 1000, save: Sequence[str] = ("labels",), engine: str = "auto"
) -> FolderSpeed:
    """Measure a bundle over a folder of so many JPEG files of 480×360."""
    with tempfile.TemporaryDirectory() as place:
        photos, out = Path(place) / "photos", Path(place) / "out"
        pictures = write_photos(photos, images)
        model = load(bundle, threads=1, engine=engine)
        model.predict(pictures[0])
        began, cpu = time.perf_counter(), time.process_time()
        summary = predict(model, [photos], out, save=save)
        images_per_s = summary.done / (time.perf_counter() - began)
        cpu_ms = (time.process_time() - cpu) * 1e3 / images
        if summary.done != images:
            raise RuntimeError(f"{summary.done} of {images} images were labelled: {summary}")
        files = sorted(photos.iterdir())[:DISTINCT]
        labels = [model.predict(picture).labels for picture in pictures]
        palette = model.classes.palette()
        network_per_s, network_cpu_ms = network_alone(model, pictures, max(images // 4, DISTINCT))
        packed = [label_png(one, palette) for one in labels]
        return FolderSpeed(
            images=images,
            at_once=networks_at_once(model),
            images_per_s=images_per_s,
            network_per_s=network_per_s,
            cpu_ms=cpu_ms,
            network_cpu_ms=network_cpu_ms,
            decode_ms=median_ms([lambda file=file: read_image(file) for file in files]),
            network_ms=median_ms([lambda one=one: model.predict(one) for one in pictures]),
            pack_ms=median_ms([lambda one=one: label_png(one, palette) for one in labels]),
            pillow_ms=median_ms([lambda one=one: by_pillow(one, model.classes) for one in labels]),
            write_ms=median_ms([lambda data=data: write_whole(out / "again.png", data) for data in packed]),
        )


def write_photos(folder: Path, images: int) -> list[Pixels]:
    """So many JPEG files of a few rendered scenes; returns the scenes."""
    folder.mkdir(parents=True)
    pictures = [np.ascontiguousarray(render_scene(0, i, 360, 480)[0]) for i in range(min(DISTINCT, images))]
    jpegs = [
        cv2.imencode(".jpg", one[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes() for one in pictures
    ]
    for i in range(images):
        (folder / f"{i:05}.jpg").write_bytes(jpegs[i % len(jpegs)])
    return pictures


def network_alone(model: Model, pictures: Sequence[Pixels], images: int) -> tuple[float, float]:
    """Images a second with nothing but the network, on as many cores as a folder uses; the processor's ms for one."""
    with ThreadPoolExecutor(networks_at_once(model)) as pool:
        began, cpu = time.perf_counter(), time.process_time()
        for _ in pool.map(lambda i: model.predict(pictures[i % len(pictures)]).labels.shape, range(images)):
            pass
        return images / (time.perf_counter() - began), (time.process_time() - cpu) * 1e3 / images


def by_pillow(labels_HW: Labels, classes: ClassList) -> bytes:
    image = Image.fromarray(labels_HW)
    image.putpalette(classes.palette().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", bits=8)
    return buffer.getvalue()


def median_ms(work: Sequence[Callable[[], object]]) -> float:
    times = []
    for one in work:
        began = time.perf_counter()
        one()
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def table_of(speed: FolderSpeed) -> Table:
    table = Table("what", "must", "measured", title=f"{speed.images:,} JPEG files of 480×360, {speed.at_once} at once")
    share = speed.images_per_s / speed.network_per_s
    table.add_row("JPEG file → label PNG", f"≥ {MUST_PER_S} images/s", f"{speed.images_per_s:.1f} images/s")
    table.add_row("the network alone", "", f"{speed.network_per_s:.1f} images/s; the whole is {share:.0%} of that")
    bound = 1e3 * speed.at_once / speed.cpu_ms
    cpu = f"{speed.cpu_ms:.1f} ms, {speed.network_cpu_ms:.1f} of it the network: at most {bound:.0f} images/s"
    table.add_row("processor time for an image", "", cpu)
    table.add_row("read and decode", "", f"{speed.decode_ms:.2f} ms")
    table.add_row("network, one core", "", f"{speed.network_ms:.2f} ms")
    table.add_row("pack the label PNG", "", f"{speed.pack_ms:.2f} ms; Pillow {speed.pillow_ms:.2f} ms")
    table.add_row("write it to disk", "", f"{speed.write_ms:.2f} ms, mostly waiting")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default=None, help="a bundle or run; without: untrained weights, the same time")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--save", default="labels")
    parser.add_argument("--engine", default="auto")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = chosen.model
        if bundle is None:
            from speed import untrained_bundle  # beside this file

            bundle = untrained_bundle(Path(folder) / "model.onnx")
        Console().print(table_of(folder_speed(bundle, chosen.images, chosen.save.split(","), chosen.engine)))


if __name__ == "__main__":
    main()
