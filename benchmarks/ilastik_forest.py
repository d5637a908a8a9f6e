"""ilastik's pixel classification as published (Berg et al., Nature Methods, 2019).

A random forest of 100 trees on, for each channel and each σ of 0.3, 0.7, 1, 1.6, 3.5, 5 and 10: Gaussian, Laplacian of
Gaussian, gradient magnitude, difference of Gaussians (σ and 0.66 σ), and the eigenvalues of the structure tensor (outer
scale σ / 2) and of the Hessian. It is trained again on all drawn pixels after every stroke.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier

SIGMAS = (0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
VOID = 255


def forest_features(image_HWN: NDArray[np.generic]) -> NDArray[np.float32]:
    """All features of every pixel: float32 [H · W, 56 · N]."""
    maps = []
    for channel in np.moveaxis(image_HWN.astype(np.float32), 2, 0):
        for sigma in SIGMAS:
            smooth = ndimage.gaussian_filter(channel, sigma)
            maps += [smooth, ndimage.gaussian_laplace(channel, sigma),
                     ndimage.gaussian_gradient_magnitude(channel, sigma),
                     smooth - ndimage.gaussian_filter(channel, 0.66 * sigma)]  # fmt: skip
            dy, dx = (ndimage.gaussian_filter(channel, sigma, order=order) for order in ((1, 0), (0, 1)))
            maps += eigenvalues(*(ndimage.gaussian_filter(a * b, sigma / 2) for a, b in ((dy, dy), (dy, dx), (dx, dx))))
            maps += eigenvalues(*(ndimage.gaussian_filter(channel, sigma, order=o) for o in ((2, 0), (1, 1), (0, 2))))
    return np.stack([one.ravel() for one in maps], axis=1)


def eigenvalues(yy: NDArray[np.float32], yx: NDArray[np.float32], xx: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Of the symmetric matrices [[yy, yx], [yx, xx]]: the larger and the smaller."""
    middle, half = (yy + xx) / 2, np.sqrt(((yy - xx) / 2) ** 2 + yx**2)
    return [middle + half, middle - half]


class Forest:
    """The class of every pixel from strokes."""

    def __init__(self, image_HWN: NDArray[np.generic]) -> None:
        self.features = forest_features(image_HWN)

    def __call__(self, drawn_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
        known = drawn_HW.ravel() != VOID
        forest = RandomForestClassifier(100, random_state=0)  # √features at every split, as ilastik's
        forest.fit(self.features[known], drawn_HW.ravel()[known])
        result = forest.predict(self.features).astype(np.uint8)
        result[known] = drawn_HW.ravel()[known]
        return result.reshape(drawn_HW.shape)
