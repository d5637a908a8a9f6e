"""Does a bundle say what its network says? Asked on real images, before the file is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime

from pixelwise.errors import BundleError
from pixelwise.records import Labels, Pixels

TOLERATED = 1e-3  # share of pixels: rounding decides ties on a boundary one way here and the other way there


def check_parity(model: bytes, network: Callable[[Pixels], Labels], images: Sequence[Pixels]) -> float:
    """Compare labels pixel by pixel, on `images` and on odd-sized cuts of them. Returns the share that differs.

    Raises:
        BundleError: more than TOLERATED of the pixels differ, in all.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    different = pixels = 0
    for image in [*images, *(odd_cut(image) for image in images)]:
        (labels,) = session.run(["labels"], {"image": image})
        different += int((labels != network(image)).sum())
        pixels += labels.size
    share = different / pixels
    if share > TOLERATED:
        raise BundleError(
            f"the exported graph disagrees with the network on {share:.2%} of {pixels} pixels; at most "
            f"{TOLERATED:.1%} is rounding. Nothing was written. Please report this with the versions of torch and onnx."
        )
    return share


def odd_cut(image: Pixels) -> Pixels:
    """A cut of odd size, which shows errors in the handling of shapes."""
    height, width = image.shape[0] * 2 // 3 | 1, image.shape[1] // 2 | 1
    return np.ascontiguousarray(image[:height, :width])
