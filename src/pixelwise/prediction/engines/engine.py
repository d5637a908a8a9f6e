"""A bundle on an engine: opened, checked, and run. No torch; the onnx package only where an engine needs it.

Shapes: H, W the image's own size; C classes; h, w the size of the scores.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy
from pathlib import Path

import numpy as np

from pixelwise.bundle.bundle_file import REMEDY, BundleFile
from pixelwise.bundle.score_margins import clearly_different
from pixelwise.bundle.sized_tensors import OperatorError
from pixelwise.bundle.trust import check_answer
from pixelwise.errors import BundleError, PixelwiseError, UsageError, of_ctrl_c
from pixelwise.prediction.engines import onnx_runtime, openvino
from pixelwise.prediction.engines.onnx_runtime import Run
from pixelwise.records import Labels, Pixels, Scores

GOLDEN_AGREEMENT = 0.99  # share of the golden image's labels; the rest is rounding, which differs between processors
ENGINES: dict[str, Callable[[BundleFile, int], Run]] = {
    "onnxruntime": onnx_runtime.on_cpu,
    "openvino": openvino.in_float32,
    "openvino-bf16": openvino.in_bfloat16,
    "cuda": onnx_runtime.on_cuda,
}
AUTO = "auto"
NVIDIA = Path("/proc/driver/nvidia")  # is there where a driver is loaded
ROUGHER = {"openvino-bf16": 0.95}  # engines that round more than float32 does, and what is asked of them instead


class Engine:
    """Runs a bundle. One engine may be used by several threads at a time."""

    def __init__(self, bundle: BundleFile, threads: int | None = None, name: str = AUTO) -> None:
        """Open a bundle and verify that it labels its golden image as it did when it was written.

        Args:
            threads: that one run may use; None: one for each core that this process may use.
            name: one of ENGINES, or "auto": cuda where ONNX Runtime has it, otherwise onnxruntime.

        Raises:
            BundleError: it cannot be loaded or run, or gives other labels than it should.
            UsageError: no such engine, or it cannot be used here.
            MissingExtraError: the engine is not installed.
        """
        self.bundle, self.threads = bundle, threads or usable_cores()
        self.name = choose(name)
        self.twin: Engine | None = None  # see `one_threaded`
        try:
            self.runner = ENGINES[self.name](bundle, self.threads)
        except PixelwiseError:
            raise
        except OperatorError as error:
            raise BundleError(f"{bundle.path}: {error}. {REMEDY}") from error
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            if of_ctrl_c(error):
                raise KeyboardInterrupt from error
            remedy = REMEDY if self.name == "onnxruntime" else "Choose --engine onnxruntime."
            raise BundleError(f"{bundle.path}: {self.name} cannot load it: {first_line(error)}. {remedy}") from error
        self.verify()

    def one_threaded(self) -> Engine:
        """A twin that labels each image in its caller's thread alone.

        As many callers as cores label more images a second than one that uses all cores for each: no core waits. It is
        made once: loading a network takes as long as labelling several images.
        """
        if self.threads == 1:
            return self
        if self.twin is None:
            twin = copy(self)
            twin.threads, twin.runner = 1, ENGINES[self.name](self.bundle, 1)
            self.twin = twin
        return self.twin

    def run(self, image_HW3: Pixels) -> tuple[Labels, Scores]:
        """Label one image.

        Args:
            image_HW3: uint8 RGB, contiguous.

        Returns:
            labels uint8 [H, W], 0 … C − 1, and scores float32 [C, h, w], finite.

        Raises:
            BundleError: the network cannot be run on it, for example for want of memory; it would take more memory or
                time than any network needs; or it gives something else than labels and scores.
        """
        height, width = image_HW3.shape[:2]
        self.bundle.check_image(height, width)
        try:
            labels_HW, scores_Chw = self.runner(image_HW3)
            check_answer(image_HW3, labels_HW, scores_Chw, len(self.bundle.metadata.classes))
            return labels_HW, scores_Chw
        except OperatorError as error:
            raise BundleError(f"{self.bundle.path}: {error}. {REMEDY}") from error
        except Exception as error:  # as above
            raise BundleError(
                f"{self.bundle.path}: {self.name} failed on an image of {width}×{height} pixels: {first_line(error)}. "
                "Try a smaller image; if every image fails, export the bundle again."
            ) from error

    def verify(self) -> None:
        """Run the golden image and compare. Raises BundleError where the labels are not those that were recorded."""
        golden = self.bundle.golden
        labels_HW, scores_Chw = self.run(np.ascontiguousarray(golden.image))
        different = clearly_different(labels_HW, golden.labels, scores_Chw)  # a tie may be decided either way
        agreement, asked = 1 - different / labels_HW.size, ROUGHER.get(self.name, GOLDEN_AGREEMENT)
        if agreement < asked:
            raise BundleError(
                f"{self.bundle.path}: labels of its golden image agree on {agreement:.1%} of the pixels with those "
                f"recorded at export; at least {asked:.0%} is expected. The file was altered, or {self.name} here "
                f"computes something else. {REMEDY}"
            )


def choose(name: str) -> str:
    """The engine that a name means.

    "auto" never trades labels for speed: it takes a GPU, computing in float32, where ONNX Runtime was built for one,
    and otherwise ONNX Runtime on the CPU, which starts at once and is what export checked. `benchmark` tells what is
    faster here, and how far its labels agree.

    Raises:
        UsageError: no such engine.
    """
    if name == AUTO:
        return "cuda" if onnx_runtime.has_cuda() and NVIDIA.exists() else "onnxruntime"
    if name not in ENGINES:
        raise UsageError(f"no engine is named {name!r}. Choose one of: {', '.join((AUTO, *ENGINES))}.")
    return name


def usable_cores() -> int:
    """The cores that this process may use: its affinity, and the share of a container, which core counts leave out."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):  # another system than Linux, or an older one
        return cores
    return cores if quota == "max" else max(1, min(cores, -(-int(quota) // int(period))))


def first_line(error: Exception) -> str:
    """What an exception of a library says, in one line of bearable length."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(". ")
