"""The labels that a model proposes for photos nobody has labelled yet: a file each, derived, to look at and accept.

A file holds a line of JSON (the size, where they come from) and zlib of the keys and of the confidence.

Shapes: H, W of the photo.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.images.files import shown, write_whole
from pixelwise.labelling.edit_log import deflated, inflated
from pixelwise.labelling.patch import Keys

MOST_PIXELS = 1 << 30


@dataclass(frozen=True)
class StoredProposal:
    """What a model proposes for a whole photo."""

    keys_HW: Keys  # 255 where nothing is proposed
    confidence_HW: NDArray[np.uint8]  # 0–255
    model: str  # which, such as the digest of its bundle


def write_proposal(path: Path, proposal: StoredProposal) -> None:
    """Raises OutputError."""
    facts = {"size": list(proposal.keys_HW.shape), "model": proposal.model}
    planes = np.ascontiguousarray(proposal.keys_HW).tobytes() + np.ascontiguousarray(proposal.confidence_HW).tobytes()
    write_whole(path, json.dumps(facts).encode() + b"\n" + deflated(planes))


def read_proposal(path: Path) -> StoredProposal | None:
    """None where there is none. Raises DataError: it is damaged; it can be made again."""
    try:
        first, _, rest = path.read_bytes().partition(b"\n")
        facts = json.loads(first)
        height, width = (int(side) for side in facts["size"])
        if not 0 < height * width <= MOST_PIXELS:
            raise ValueError(f"{width}×{height} pixels")
        planes = np.frombuffer(inflated(rest, 2 * height * width), np.uint8).reshape(2, height, width)
        return StoredProposal(planes[0].copy(), planes[1].copy(), str(facts["model"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, DataError) as error:
        raise DataError(f"{shown(path)}: cannot be read ({error}). Remove it; the model makes it again.") from error
