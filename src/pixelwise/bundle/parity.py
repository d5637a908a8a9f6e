"""Parity: an exported graph must return its network's labels on real images before the bundle is written.

Where two classes have nearly equal scores, rounding decides between them. So labels may differ where the scores of the
two classes are close, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.bundle.onnx_session import open_session
from pixelwise.bundle.score_margins import clearly_different
from pixelwise.errors import BundleError
from pixelwise.records import Labels, Raster, Scores

TOLERATED = 1e-3  # share of pixels that may differ clearly, due to rounding of input pixels
HOPELESS = 0.05  # above this share the graph is not the same network


@dataclass(frozen=True)
class Parity:
    """The agreement of a graph with its network over all compared images."""

    differ: float  # share of the pixels with another label
    differ_clearly: float  # share of all pixels that differ and whose scores are not close
    pixels: int

    @property
    def doubt(self) -> str | None:
        """A warning if the labels differ more than rounding explains; otherwise None."""
        if self.differ_clearly <= TOLERATED:
            return None
        return (
            f"the exported graph differs from the network on {self.differ:.2%} of {self.pixels} pixels, on "
            f"{self.differ_clearly:.2%} of all clearly; at most {TOLERATED:.1%} is rounding. The bundle was written: "
            "evaluate it before you rely on it, and please report this with the versions of torch and onnx."
        )


def check_parity(model: bytes, network: Callable[[Raster], tuple[Labels, Scores]], images: Sequence[Raster]) -> Parity:
    """Compare labels pixel by pixel, on `images` and on odd-sized crops of them.

    Args:
        network: returns labels [H, W] and scores [C, h, w] for an image.

    Raises:
        BundleError: more than HOPELESS of all pixels differ clearly, so it is not the same network, or scores are not
            finite.
    """
    session = open_session(model)
    different = clearly = pixels = 0
    for image in [*images, *(odd_cut(image) for image in images)]:
        (labels,) = session.run(["labels"], {"image": image})
        expected, scores_Chw = network(image)
        if not np.isfinite(scores_Chw).all():
            raise BundleError(
                "the network gives scores that are infinite or NaN, so that it cannot be exported. The run's "
                "checkpoints are kept. Train again with a lower learning rate."
            )
        different += int((labels != expected).sum())
        clearly += clearly_different(labels, expected, scores_Chw)
        pixels += labels.size
    parity = Parity(different / pixels, clearly / pixels, pixels)
    if parity.differ_clearly > HOPELESS:
        raise BundleError(
            f"the exported graph is not the trained network: it clearly differs on {parity.differ_clearly:.1%} of "
            f"{pixels} pixels. No bundle was written; the run's checkpoints are kept. Install other "
            "versions of torch and onnx, then export with `pixelwise export RUN` or `pixelwise train --resume`, and "
            "please report this with the versions."
        )
    return parity


def odd_cut(image: Raster) -> Raster:
    """A crop of odd size, which reveals errors in shape handling."""
    height, width = image.shape[0] * 2 // 3 | 1, image.shape[1] // 2 | 1
    return image[:height, :width].copy()
