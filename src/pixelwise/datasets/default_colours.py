"""Colours for classes that have none: distinct in every kind of colour vision, and in lightness.

Shapes: N colours, K colours already chosen, V = 4 kinds of vision, 3 channels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pixelwise.records import Colour

# Okabe and Ito, "Color Universal Design", 2008, without black, because void is black.
OKABE_ITO: tuple[Colour, ...] = (
    (86, 180, 233),
    (213, 94, 0),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (0, 114, 178),
    (230, 159, 0),
)

# Full dichromacy on linear RGB: Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color
# vision deficiency", 2009, severity 1.0. The first is normal vision.
VISIONS_V33 = np.array(
    [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
XYZ_OF_RGB_33 = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE_XYZ = np.array([0.95047, 1.0, 1.08883])


@lru_cache
def default_colours(n: int) -> tuple[Colour, ...]:
    """`n` colours, deterministic; the list for a smaller n is a prefix.

    The first seven are Okabe and Ito's. Each further one is the candidate farthest from all earlier colours and from
    void's black, in the vision that separates it least.
    """
    chosen = list(OKABE_ITO[:n])
    steps = (0, 36, 73, 109, 146, 182, 219, 255)
    candidates = [(r, g, b) for r in steps for g in steps for b in steps]
    candidates_lab_VN3 = seen_lab(candidates)
    nearest_N = separation(candidates_lab_VN3, seen_lab([(0, 0, 0), *chosen]))
    while len(chosen) < n:
        best = int(nearest_N.argmax())
        chosen.append(candidates[best])
        nearest_N = np.minimum(nearest_N, separation(candidates_lab_VN3, candidates_lab_VN3[:, best : best + 1]))
    return tuple(chosen)


def seen_lab(colours: list[Colour]) -> NDArray[np.float64]:
    """CIE L*a*b* of colours as each kind of vision sees them: normal, protan, deutan, tritan. Returns [V, N, 3]."""
    srgb_N3 = np.array(colours, np.float64) / 255
    linear_N3 = np.where(srgb_N3 <= 0.04045, srgb_N3 / 12.92, ((srgb_N3 + 0.055) / 1.055) ** 2.4)
    seen_VN3 = np.clip(np.einsum("vij,nj->vni", VISIONS_V33, linear_N3), 0, 1)
    ratio_VN3 = seen_VN3 @ XYZ_OF_RGB_33.T / WHITE_XYZ
    f_VN3 = np.where(ratio_VN3 > 216 / 24389, np.cbrt(ratio_VN3), (24389 / 27 * ratio_VN3 + 16) / 116)
    x, y, z = np.moveaxis(f_VN3, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def separation(lab_VN3: NDArray[np.float64], others_VK3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance (ΔE 1976) [N] of N colours to the nearest of K others, in the vision that separates them least."""
    difference_VNK = np.linalg.norm(lab_VN3[:, :, None] - others_VK3[:, None], axis=-1)
    return np.asarray(difference_VNK.min(axis=(0, 2)))
