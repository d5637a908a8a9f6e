"""The rule by which weights made for red, green and blue take N bands.

A band called red, green or blue takes the filter of that colour; every other band takes the mean of the three, which is
the filter for a grey image. All are multiplied by 3 / N, so that the sum over the bands stays as large as it was.

Shapes: N bands; O filters of k × k.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pixelwise.records import RGB


def filters_for(filters_O3kk: Tensor, names: Sequence[str]) -> Tensor:
    """Filters [O, 3, k, k] for red, green and blue → [O, N, k, k] for bands of these names."""
    if tuple(names) == RGB.names:
        return filters_O3kk
    mean_Okk = filters_O3kk.mean(1)
    parts = [mean_Okk if place is None else filters_O3kk[:, place] for place in map(colour_of, names)]
    return torch.stack(parts, 1) * (len(RGB) / len(names))


def colour_of(name: str) -> int | None:
    """0, 1 or 2 for a band called red, green or blue, in any case; None for others."""
    word = name.strip().lower()
    return RGB.names.index(word) if word in RGB.names else None
