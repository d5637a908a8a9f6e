"""Light augmentation for images of other bands than red, green and blue: what `augment.relight` is for RGB.

Values are floats on the scale of `preprocess.scaled`: 0 at a band's low value, 255 at its high one; some lie beyond.

Shapes: h, w the size of a crop; N bands.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.model.preprocess import OUTSIDE

PATCH_PX = 64  # side of the patch of noise that is repeated as grain


def relight_bands(rng: np.random.Generator, image_hwN: NDArray[np.float32], strength: float) -> NDArray[np.float32]:
    """Simulate other light and sensors: exposure, contrast, gamma, gain and offset of each band, blur, grain.

    The strength is drawn for each crop between 0 and `strength`, so that unchanged light occurs too. Bands change less
    against each other than together: their ratios are what tells materials apart.
    """
    if strength == 0:
        return image_hwN
    strength *= rng.random()
    bands = image_hwN.shape[2]
    contrast = np.exp(rng.uniform(-0.3, 0.3) * strength)
    gamma = np.exp(rng.uniform(-0.3, 0.3) * strength)
    exposure = np.exp(rng.uniform(-0.3, 0.3) * strength)
    gain_N = np.exp(rng.uniform(-0.1, 0.1, bands) * strength)
    offset_N = rng.uniform(-0.05, 0.05, bands) * strength

    unit_hwN = image_hwN / np.float32(255)
    inside_hwN = unit_hwN.clip(0, 1)
    unit_hwN += inside_hwN ** np.float32(gamma) - inside_hwN  # values beyond the range keep their distance from it
    factor_N = gain_N * (exposure * contrast)
    summand_N = offset_N + 0.5 - 0.5 * contrast
    out_hwN = unit_hwN * (255 * factor_N).astype(np.float32) + (255 * summand_N).astype(np.float32)
    if rng.random() < 0.2 * strength:
        sigma = rng.uniform(0.3, 1.0)
        out_hwN = np.dstack([cv2.GaussianBlur(out_hwN[:, :, band], (3, 3), sigma) for band in range(bands)])
    if rng.random() < 0.3 * strength:
        patch = rng.normal(0, rng.uniform(2, 10), (PATCH_PX, PATCH_PX, bands)).astype(np.float32)
        repeats = (-(-out_hwN.shape[0] // PATCH_PX), -(-out_hwN.shape[1] // PATCH_PX), 1)
        out_hwN = out_hwN + np.tile(patch, repeats)[: out_hwN.shape[0], : out_hwN.shape[1]]
    return np.asarray(out_hwN.clip(*OUTSIDE), np.float32)
