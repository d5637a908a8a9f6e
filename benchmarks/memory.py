"""How much memory one large image takes, in every verb that reads images.

    python benchmarks/memory.py [--only TEXT …] [--folder DIR] [--limit-mb 1200] [--list]

Each case is a process of its own. "peak" is the most memory that it and the processes it started held at a time;
"of it the input" is what is beyond the same command's peak on an image of 256 × 256, so what the large image took.
"before" and "after" are what a server holds before the large image, when it has answered, and when it has answered a
small image too: verbs that end give everything back. The exit code is 1 where a peak is beyond the limit.

Inputs are generated once, into DIR or a temporary folder. Needs psutil.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import psutil
import tifffile
from PIL import Image
from rich.console import Console
from rich.table import Table

from pixelwise.scenes.render_scene import render_scene

Image.MAX_IMAGE_PIXELS = None
PIXELWISE = (sys.executable, "-m", "pixelwise")
SAMPLED_S = 0.01
PATIENCE_S = 900
WIDE, HIGH = 7380, 5380  # 39.7 megapixels
WHOLE_WIDE, WHOLE_HIGH = 6600, 4840  # 31.9 megapixels, which models that resize images label at once
DECODED_PIXELS = 100_000_000  # larger images are tiled TIFFs
ALL_OUTPUTS = "labels,overlay,numpy,coco,labelme,geojson,confidence,entropy"
PIECEWISE_OUTPUTS = "labels,overlay,numpy,coco,geojson"  # what there is of an image over 32 megapixels
Pixels = np.ndarray


@dataclass(frozen=True)
class Case:
    """One verb on one input."""

    verb: str
    model: str
    image: str  # a key of IMAGES
    options: tuple[str, ...] = ()
    mask: str = ""  # a key of MASKS, where a model is measured; a verb that has no model has it in its place

    @property
    def name(self) -> str:
        parts = (self.verb, self.model, self.image, self.mask, *self.options)
        return " ".join(part for part in parts if part)


@dataclass
class Measured:
    """Megabytes."""

    peak: float
    before: float = float("nan")
    after: float = float("nan")
    after_small: float = float("nan")
    note: str = ""
    seconds: float = 0.0


def photo(height: int, width: int) -> Pixels:
    scene, _ = render_scene(0, 0)
    return np.asarray(cv2.resize(scene, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def checkerboard(height: int, width: int) -> Pixels:
    return np.asarray(np.add.outer(np.arange(height), np.arange(width)) % 2 * 255, np.uint8)


def grey_as_rgb(height: int, width: int) -> Pixels:
    return np.repeat(checkerboard(height, width)[:, :, None], 3, 2)


def blocks(small: Pixels, side: int) -> Pixels:
    return small.repeat(side, 0).repeat(side, 1)


def page(height: int, width: int) -> Pixels:
    """Black letters on white, as a scanner makes them."""
    sheet = np.full((height, width), 255, np.uint8)
    for y in range(60, height - 40, 48):
        cv2.putText(sheet, "every pixel has a label " * 40, (40, y), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 0, 2)
    return sheet


def png(path: Path, pixels: Pixels) -> None:
    cv2.imwrite(str(path), pixels[:, :, ::-1] if pixels.ndim == 3 else pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])


IMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "small": ("png", lambda path: png(path, photo(256, 256))),
    "black-39.7MP": ("png", lambda path: png(path, np.zeros((HIGH, WIDE, 3), np.uint8))),
    "black-31.9MP": ("png", lambda path: png(path, np.zeros((WHOLE_HIGH, WHOLE_WIDE, 3), np.uint8))),
    "noise-39.7MP": ("png", lambda path: png(path, noise(HIGH, WIDE))),
    "noise-31.9MP": ("png", lambda path: png(path, noise(WHOLE_HIGH, WHOLE_WIDE))),
    "photo-39.7MP": ("jpg", lambda path: Image.fromarray(photo(HIGH, WIDE)).save(path, quality=90)),
    "page-15.5MP-1bit": ("png", lambda path: Image.fromarray(page(4680, 3310)).convert("1").save(path)),
    "checkerboard-39.7MP": ("png", lambda path: png(path, checkerboard(HIGH, WIDE))),
    "checkerboard-31.9MP": ("png", lambda path: png(path, checkerboard(WHOLE_HIGH, WHOLE_WIDE))),
    "16-bit-39.7MP": ("png", lambda path: png(path, photo(HIGH, WIDE).astype(np.uint16) * 257)),
    "16-bit-31.9MP": ("png", lambda path: png(path, photo(WHOLE_HIGH, WHOLE_WIDE).astype(np.uint16) * 257)),
    "tiff-39.7MP": ("tif", lambda path: Image.fromarray(photo(HIGH, WIDE)).save(path, compression="tiff_lzw")),
    "tiff-31.9MP": ("tif", lambda path: Image.fromarray(photo(WHOLE_HIGH, WHOLE_WIDE)).save(path)),
}
MASKS: dict[str, Callable[[int, int], Pixels]] = {
    "halves": lambda height, width: np.repeat((np.arange(height) * 2 // height)[:, None], width, 1).astype(np.uint8),
    "checkerboard": lambda height, width: (checkerboard(height, width) // 255).astype(np.uint8),
    "noise": lambda height, width: np.random.default_rng(1).integers(0, 2, (height, width), np.uint8),
    "colours": lambda height, width: blocks(noise(height // 8 + 1, width // 8 + 1), 8)[:height, :width],
    "noise-colours": noise,
    "grey-as-rgb": grey_as_rgb,
    "16-bit": lambda height, width: np.random.default_rng(1).integers(0, 60000, (height, width), np.uint16),
    "jpeg": lambda height, width: blocks(grey_as_rgb(height // 64 + 1, width // 64 + 1), 64)[:height, :width],
}  # fmt: skip


def tiled(path: Path, side: int, *, mask: bool) -> None:
    """A square TIFF of any size, written tile by tile: fields of 300 pixels, every fifth of them bright."""
    noise = np.random.default_rng(0).integers(0, 100, (32, 32, 3), np.uint8).repeat(16, 0).repeat(16, 1)

    def tiles() -> Iterator[Pixels]:
        for top in range(0, side, 512):
            for left in range(0, side, 512):
                y, x = np.mgrid[top : top + 512, left : left + 512]
                bright = ((y // 300 + x // 300) % 5 == 0).astype(np.uint8)
                yield bright if mask else bright[..., None] * 100 + noise

    shape, colours = ((side, side), "minisblack") if mask else ((side, side, 3), "rgb")
    tifffile.imwrite(path, tiles(), shape=shape, dtype=np.uint8, tile=(512, 512), compression="zlib",
                     photometric=colours)  # fmt: skip


@dataclass
class Inputs:
    """Generated files, each made when it is first asked for."""

    folder: Path
    made: dict[str, Path] = field(default_factory=dict)

    def image(self, name: str) -> Path:
        ending, make = IMAGES[name]
        path = self.folder / f"{name}.{ending}"
        if not path.exists():
            make(path)
        return path

    def dataset(self, mask: str, size: tuple[int, int], splits: Sequence[str] = ("train", "val")) -> Path:
        """A native dataset: in each split one small pair, and one of `size` whose mask is of this kind."""
        root = self.folder / f"data-{mask}-{size[0]}x{size[1]}"
        if root.exists():
            return root
        for split in splits:
            images, masks = root / split / "images", root / split / "masks"
            images.mkdir(parents=True)
            masks.mkdir()
            sides = [size] if size == (256, 256) else [(256, 256), size]
            for number, (height, width) in enumerate(sides):
                if height * width > DECODED_PIXELS:
                    tiled(images / f"{number}.tif", height, mask=False)
                    tiled(masks / f"{number}.tif", height, mask=True)
                    continue
                Image.fromarray(photo(height, width)).save(images / f"{number}.jpg", quality=90)
                drawn = MASKS[mask](height, width)
                if mask == "jpeg":
                    Image.fromarray(drawn).save(masks / f"{number}.jpg", quality=90)
                else:
                    png(masks / f"{number}.png", drawn)
        return root


def cases() -> list[Case]:
    found: list[Case] = []
    for model in ("street", "nuclei"):
        for kind in ("black", "noise", "photo", "checkerboard", "16-bit", "tiff"):
            found.append(Case("predict", model, f"{kind}-39.7MP", ("--save", PIECEWISE_OUTPUTS)))
        for kind in ("black-31.9MP", "noise-31.9MP", "checkerboard-31.9MP", "16-bit-31.9MP", "page-15.5MP-1bit"):
            found.append(Case("predict", model, kind, ("--save", ALL_OUTPUTS)))
        found.append(Case("predict", model, "noise-31.9MP", ("--tta", "flip,1.25")))
        for image in ("black-39.7MP", "noise-31.9MP", "photo-39.7MP", "16-bit-39.7MP"):
            found.append(Case("serve", model, image))
    found += [Case("check", mask, "39.7MP") for mask in MASKS]
    found += [Case("evaluate", "nuclei", image, (), mask)
              for image in ("39.7MP", "31.9MP") for mask in ("halves", "checkerboard", "noise")]  # fmt: skip
    found.append(Case("evaluate", "nuclei", "39.7MP", ("--html",), "halves"))
    found += [Case("train", policy, image) for image in ("39.7MP", "99MP", "400MP") for policy in ("stretch", "native")]
    return found


SIZES = {
    "39.7MP": (HIGH, WIDE),
    "31.9MP": (WHOLE_HIGH, WHOLE_WIDE),
    "99MP": (8600, 11500),
    "400MP": (20_000, 20_000),
    "small": (256, 256),
}


def command_of(case: Case, image: str, inputs: Inputs, out: Path) -> list[str]:
    """The command line of a case on its own image, or on the small one."""
    if case.verb == "predict":
        return [*PIXELWISE, "predict", case.model, str(inputs.image(image)), "--out", str(out), *case.options]
    if case.verb == "check":
        return [*PIXELWISE, "check", str(inputs.dataset(case.model, SIZES[image], ("train",)))]
    data = str(inputs.dataset(case.mask or "halves", SIZES[image]))
    if case.verb == "evaluate":
        html = [f"{out}.html"] if "--html" in case.options else []
        return [*PIXELWISE, "evaluate", case.model, data, "--split", "val", *case.options, *html]
    return [*PIXELWISE, "train", data, "--out", str(out), "--epochs", "1", "--batch", "2", "--policy", case.model]


def tree_mb(process: psutil.Process) -> float:
    """What a process and those that it started hold now."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.Error:  # it has just ended
            continue
    return total / 2**20


class Watch:
    """Samples the memory of a process and its children while it runs."""

    def __init__(self, pid: int) -> None:
        self.process, self.peak, self.over = psutil.Process(pid), 0.0, threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()

    def sample(self) -> None:
        while not self.over.is_set():
            try:
                self.peak = max(self.peak, tree_mb(self.process))
            except psutil.Error:
                return
            time.sleep(SAMPLED_S)

    def stop(self) -> float:
        self.over.set()
        self.thread.join()
        return self.peak


def measure_command(command: Sequence[str]) -> Measured:
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        watch = Watch(process.pid)
        if hasattr(os, "wait4"):
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            own = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        else:
            process.wait(PATIENCE_S)
            own = 0.0
        peak = max(watch.stop(), own)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines() or [""]
    note = f"exit {process.returncode}: {lines[-1][:60]}" if process.returncode else ""
    return Measured(peak, note=note, seconds=time.perf_counter() - began)


def ask(port: int, image: Path) -> str:
    """Have an image labelled by a server; what went wrong, or ""."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/predict", image.read_bytes(), method="POST")
    request.add_header("Accept", "image/png")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        return f"{error.code}: {error.read()[:60]!r}"
    return ""


@contextmanager
def server(model: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server that answers: its port, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*PIXELWISE, "serve", model, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            time.sleep(0.1)
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
                break
            except OSError:
                continue
        yield port, process
    finally:
        process.terminate()
        process.wait(30)


def measure_server(model: str, small: Path, image: Path) -> Measured:
    with server(model) as (port, process):
        ask(port, small)
        began, watch = time.perf_counter(), Watch(process.pid)
        before = tree_mb(watch.process)
        note = ask(port, image)
        seconds = time.perf_counter() - began
        peak = watch.stop()
        time.sleep(2)
        after = tree_mb(watch.process)
        ask(port, small)
        time.sleep(0.5)
        return Measured(peak, before, after, tree_mb(watch.process), note, seconds)


def measure(case: Case, image: str, inputs: Inputs) -> Measured:
    if case.verb == "serve":
        return measure_server(case.model, inputs.image("small"), inputs.image(image))
    out = inputs.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    try:
        return measure_command(command_of(case, image, inputs, out))
    finally:
        shutil.rmtree(out, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="cases whose name holds one of these")
    parser.add_argument("--folder", type=Path, help="where inputs are generated, and kept")
    parser.add_argument("--limit-mb", type=float, default=1200)
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    options = parser.parse_args()
    chosen = [case for case in cases() if not options.only or any(text in case.name for text in options.only)]
    if options.list:
        print("\n".join(case.name for case in chosen))
        return 0
    table = Table("case", "peak, MB", "of it the input", "before", "after", "after a small one", "s", "")
    worst = 0.0
    baselines: dict[tuple[str, ...], float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        inputs = Inputs(options.folder or Path(temporary))
        inputs.folder.mkdir(parents=True, exist_ok=True)
        for case in chosen:
            key = (case.verb, case.model, case.mask, *case.options)
            if key not in baselines:
                baselines[key] = measure(case, "small", inputs).peak
            found = measure(case, case.image, inputs)
            worst = max(worst, found.peak)
            row = [case.name.replace(f"--save {ALL_OUTPUTS}", "all outputs").replace(f"--save {PIECEWISE_OUTPUTS}", "")]
            numbers = (found.peak, found.peak - baselines[key], found.before, found.after, found.after_small)
            row += ["" if np.isnan(number) else f"{number:,.0f}" for number in numbers]
            row += [f"{found.seconds:.0f}", found.note]
            table.add_row(*row)
            print("\t".join(row), file=sys.stderr, flush=True)
    Console(width=160).print(table)
    return int(worst > options.limit_mb)


if __name__ == "__main__":
    sys.exit(main())
