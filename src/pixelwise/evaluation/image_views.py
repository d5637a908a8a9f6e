"""One image of a split as a picture: photo, true mask, prediction, wrong pixels, or those of a cell of the confusion
matrix.

Shapes: H, W the image's own size; h, w that of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.evaluation.example_images import errors_over
from pixelwise.prediction.overlay import overlay
from pixelwise.records import VOID, ClassList, Labels, Pixels
from pixelwise.reports.pictures import scaled

VIEWS = ("photo", "truth", "model", "errors", "cell")


@dataclass(frozen=True)
class ComparedImage:
    """What `example_images.again` gives: photo, truth and prediction in the classes of the comparison."""

    photo_HW3: Pixels
    true_HW: Labels
    predicted_HW: Labels
    classes: ClassList

    def view(self, name: str, longest_px: int, cell: tuple[int, int] = (0, 0)) -> Pixels:
        """One of VIEWS, no side longer than `longest_px`; never enlarged.

        Args:
            cell: true and predicted class whose pixels "cell" marks.
        """
        if name == "truth":
            return self.shrunk(overlay(self.photo_HW3, self.true_HW, self.classes), longest_px)
        if name == "model":
            return self.shrunk(overlay(self.photo_HW3, self.predicted_HW, self.classes), longest_px)
        small_hw3 = self.shrunk(self.photo_HW3, longest_px)
        if name == "photo":
            return small_hw3
        return errors_over(small_hw3, any_within(self.marked(name, cell), small_hw3.shape[:2]))

    def marked(self, name: str, cell: tuple[int, int]) -> NDArray[np.bool_]:
        """The pixels that "errors" and "cell" mark. Void is never marked."""
        if name == "errors":
            return np.asarray((self.predicted_HW != self.true_HW) & (self.true_HW != VOID))
        true, predicted = cell
        return np.asarray((self.true_HW == true) & (self.predicted_HW == predicted))

    def shrunk(self, picture_HW3: Pixels, longest_px: int) -> Pixels:
        return scaled(picture_HW3, min(longest_px / max(picture_HW3.shape[:2]), 1.0))


def any_within(marked_HW: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """The marks at a smaller size [h, w]: a pixel is marked if any that it stands for is, so that no mark is lost."""
    height, width = size
    share_hw = cv2.resize(marked_HW.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(share_hw > 0)
