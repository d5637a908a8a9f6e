"""Opens a bundle on an engine, verifies it and runs it. Needs no torch; the onnx package only for some engines.

Shapes: H, W the image's own size; N its bands; C classes; h, w the size of the scores.
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
from pixelwise.bundle.trust import check_answer, check_borders
from pixelwise.errors import BundleError, PixelwiseError, UsageError, first_line, of_ctrl_c
from pixelwise.prediction.engines import onnx_runtime, openvino
from pixelwise.prediction.engines.onnx_runtime import Run
from pixelwise.records import Labels, Raster, Scores

GOLDEN_AGREEMENT = 0.99  # share of the golden image's labels; rounding differs between processors
ENGINES: dict[str, Callable[[BundleFile, int], Run]] = {
    "onnxruntime": onnx_runtime.on_cpu,
    "openvino": openvino.in_float32,
    "openvino-bf16": openvino.in_bfloat16,
    "cuda": onnx_runtime.on_cuda,
}
AUTO = "auto"
NVIDIA = Path("/proc/driver/nvidia")  # exists if a driver is loaded
ROUGHER = {"openvino-bf16": 0.95}  # engines less precise than float32, and the agreement they must reach


class Engine:
    """Runs a bundle. Several threads may use one engine at a time."""

    def __init__(self, bundle: BundleFile, threads: int | None = None, name: str = AUTO) -> None:
        """Open a bundle and verify that it labels its golden image as at export.

        Args:
            threads: for one run; None: one per core that this process may use.
            name: one of ENGINES, or "auto": cuda if ONNX Runtime has it, otherwise onnxruntime.

        Raises:
            BundleError: it cannot be loaded or run, or computes other labels than those recorded.
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
        except Exception as error:  # onnxruntime's exceptions have no common base class
            if of_ctrl_c(error):
                raise KeyboardInterrupt from error
            remedy = REMEDY if self.name == "onnxruntime" else "Choose --engine onnxruntime."
            raise BundleError(f"{bundle.path}: {self.name} cannot load it: {first_line(error)}. {remedy}") from error
        self.verify()

    def one_threaded(self) -> Engine:
        """The same engine with one thread per run, the caller's.

        One caller per core labels more images per second than one run at a time on all cores. It is made once: loading
        a network takes as long as labelling several images.
        """
        if self.threads == 1:
            return self
        if self.twin is None:
            twin = copy(self)
            twin.threads, twin.runner = 1, ENGINES[self.name](self.bundle, 1)
            self.twin = twin
        return self.twin

    def run(self, image_HWN: Raster) -> tuple[Labels, Scores]:
        """Label one image.

        Args:
            image_HWN: as the bundle takes it: uint8 RGB, or uint8 or float32 values of other bands; contiguous.

        Returns:
            labels uint8 [H, W], 0 … C − 1, and scores float32 [C, h, w], finite.

        Raises:
            BundleError: as `run_all`.
        """
        labels_HW, maps_Mhw = self.run_all(image_HWN)
        return labels_HW, maps_Mhw[: len(self.bundle.metadata.classes)]

    def run_all(self, image_HWN: Raster) -> tuple[Labels, Scores]:
        """As `run`; the scores are followed by the probabilities of borders, where the bundle separates objects:
        float32 [C + B, h, w].

        Raises:
            BundleError: the network cannot be run on it, for example for lack of memory; it would take more memory or
                time than any network needs; or its outputs are not labels and scores.
        """
        height, width = image_HWN.shape[:2]
        self.bundle.check_image(height, width)
        try:
            labels_HW, scores_Chw, borders_Bhw = self.runner(image_HWN)
            check_answer(image_HWN, labels_HW, scores_Chw, len(self.bundle.metadata.classes))
            if not self.bundle.metadata.separate:
                return labels_HW, scores_Chw
            check_borders(borders_Bhw, scores_Chw, len(self.bundle.metadata.separate))
            return labels_HW, np.concatenate([scores_Chw, borders_Bhw])
        except OperatorError as error:
            raise BundleError(f"{self.bundle.path}: {error}. {REMEDY}") from error
        except Exception as error:  # as above
            raise BundleError(
                f"{self.bundle.path}: {self.name} failed on an image of {width}×{height} pixels: {first_line(error)}. "
                "Try a smaller image; if every image fails, export the bundle again."
            ) from error

    def verify(self) -> None:
        """Run the golden image. Raises BundleError if the labels are not those recorded at export."""
        golden = self.bundle.golden
        labels_HW, scores_Chw = self.run(golden.image)
        different = clearly_different(labels_HW, golden.labels, scores_Chw)  # a tie may be decided either way
        agreement, required = 1 - different / labels_HW.size, ROUGHER.get(self.name, GOLDEN_AGREEMENT)
        if agreement < required:
            raise BundleError(
                f"{self.bundle.path}: labels of its golden image agree on {agreement:.1%} of the pixels with those "
                f"recorded at export; at least {required:.0%} is expected. The file was altered, or {self.name} "
                f"computes different results on this machine. {REMEDY}"
            )


def choose(name: str) -> str:
    """The engine of this name.

    "auto" never trades accuracy for speed: it is the GPU, in float32, if ONNX Runtime was built for one, and otherwise
    ONNX Runtime on the CPU, which starts fast and was verified at export. `benchmark` shows what is faster here, and
    how well labels agree.

    Raises:
        UsageError: no such engine.
    """
    if name == AUTO:
        return "cuda" if onnx_runtime.has_cuda() and NVIDIA.exists() else "onnxruntime"
    if name not in ENGINES:
        raise UsageError(f"no engine is named {name!r}. Choose one of: {', '.join((AUTO, *ENGINES))}.")
    return name


def usable_cores() -> int:
    """The cores that this process may use, by its affinity and the CPU limit of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):  # not Linux, or an old version
        return cores
    return cores if quota == "max" else max(1, min(cores, -(-int(quota) // int(period))))
