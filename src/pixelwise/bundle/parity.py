"""Does a bundle say what its network says? Asked on real images, before the file is written.

Labels alone cannot tell: where a network is of two minds, the least rounding decides. So labels may differ where the
scores of the two classes lie closely together, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime

from pixelwise.bundle.score_margins import clearly_different
from pixelwise.errors import BundleError
from pixelwise.records import Labels, Pixels, Scores

TOLERATED = 1e-3  # share of pixels that may differ clearly: a pixel of the input that is rounded the other way
HOPELESS = 0.05  # share beyond which the graph is another network


@dataclass(frozen=True)
class Parity:
    """How far a graph and its network agree, over all images that were compared."""

    differ: float  # share of the pixels with another label
    differ_clearly: float  # of them, those where the scores are not close; 0–1 of all pixels
    pixels: int

    @property
    def doubt(self) -> str | None:
        """What is to be said where they agree less than rounding explains; None where they agree."""
        if self.differ_clearly <= TOLERATED:
            return None
        return (
            f"the exported graph differs from the network on {self.differ:.2%} of {self.pixels} pixels, on "
            f"{self.differ_clearly:.2%} of all clearly; at most {TOLERATED:.1%} is rounding. The bundle was written: "
            "evaluate it before you rely on it, and please report this with the versions of torch and onnx."
        )


def check_parity(model: bytes, network: Callable[[Pixels], tuple[Labels, Scores]], images: Sequence[Pixels]) -> Parity:
    """Compare labels pixel by pixel, on `images` and on odd-sized cuts of them.

    Args:
        network: gives labels [H, W] and scores [C, h, w] of an image.

    Raises:
        BundleError: more than HOPELESS of the pixels differ clearly, in all: it is not the same network. Or the network
            gives no numbers.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    different = clearly = pixels = 0
    for image in [*images, *(odd_cut(image) for image in images)]:
        (labels,) = session.run(["labels"], {"image": image})
        expected, scores_Chw = network(image)
        if not np.isfinite(scores_Chw).all():
            raise BundleError(
                "the network gives scores that are infinite or not a number, so that no bundle can be made of it. What "
                "was trained is kept in the run's checkpoints. Train again with a lower learning rate."
            )
        different += int((labels != expected).sum())
        clearly += clearly_different(labels, expected, scores_Chw)
        pixels += labels.size
    parity = Parity(different / pixels, clearly / pixels, pixels)
    if parity.differ_clearly > HOPELESS:
        raise BundleError(
            f"the exported graph is not the trained network: it clearly differs on {parity.differ_clearly:.1%} of "
            f"{pixels} pixels. No bundle was written; what was trained is kept in the run's checkpoints. Install other "
            "versions of torch and onnx, then write it with `pixelwise export RUN` or `pixelwise train --resume`, and "
            "please report this with the versions."
        )
    return parity


def odd_cut(image: Pixels) -> Pixels:
    """A cut of odd size, which shows errors in the handling of shapes."""
    height, width = image.shape[0] * 2 // 3 | 1, image.shape[1] // 2 | 1
    return np.ascontiguousarray(image[:height, :width])
