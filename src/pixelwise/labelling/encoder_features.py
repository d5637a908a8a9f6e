"""What each place of an image is: the maps of an ImageNet encoder at strides 2 to 16, through ONNX Runtime.

Shapes: H, W the image's size; h, w that of a map; C its channels.
"""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pixelwise.bundle.onnx_session import open_session
from pixelwise.errors import BundleError, first_line
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.labelling.pixel_features import FeatureMap
from pixelwise.prediction.engines.engine import usable_cores
from pixelwise.prediction.engines.onnx_runtime import releasing_memory
from pixelwise.records import Pixels

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BUILT_IN = Path(__file__).parents[1] / "built_in" / "features" / "lite0.onnx"
MULTIPLE = 16  # of the graph's input sides


class FeatureSession:
    """The features graph, opened at its first use. Several threads may use it at a time."""

    def __init__(self, path: Path = BUILT_IN, threads: int | None = None) -> None:
        """Choose a graph.

        Args:
            path: an ONNX file: input `image` uint8 [H, W, 3] with sides that are multiples of 16, outputs `stride2` …,
                float32 [h, w, C].
            threads: for one run; None: one per core that this process may use.
        """
        self.path, self.threads = path, threads or usable_cores()
        self.lock = threading.Lock()

    @cached_property
    def session(self) -> InferenceSession:
        """Raises BundleError: it cannot be read or loaded."""
        return opened(self.path, "features graph", self.threads)

    def maps(self, image_HW3: Pixels) -> list[FeatureMap]:
        """The maps of an image of any size, the coarsest first."""
        height, width = image_HW3.shape[:2]
        below, right = -height % MULTIPLE, -width % MULTIPLE
        padded = cv2.copyMakeBorder(image_HW3, 0, below, 0, right, cv2.BORDER_REPLICATE)
        with self.lock:
            session = self.session
        names = sorted((output.name for output in session.get_outputs()), key=stride_of, reverse=True)
        found = session.run(names, {"image": padded}, releasing_memory())
        # Padded as TensorFlow pads, a stride of s puts the middle of the first cell at pixel s − 1.
        return [
            FeatureMap(np.asarray(values, np.float32), stride_of(name), stride_of(name) - 1.0)
            for name, values in zip(names, found, strict=True)
        ]


def stride_of(name: str) -> int:
    return int(name.removeprefix("stride"))


def opened(path: Path, what: str, threads: int) -> InferenceSession:
    """A graph that comes with Pixelwise. Raises BundleError: it cannot be read or loaded."""
    try:
        data = read_bytes(path)
    except Refusal as refusal:
        raise BundleError(f"{shown(path)}: {refusal} Reinstall Pixelwise.") from refusal
    try:
        return open_session(data, threads)
    except Exception as error:  # onnxruntime's exceptions have no common base class
        raise BundleError(
            f"{shown(path)}: ONNX Runtime cannot load the {what}: {first_line(error)}. Reinstall Pixelwise."
        ) from error
