"""The labels that a model proposes for photos nobody has labelled yet: a file each, derived, to look at and accept.

A file holds a line of JSON (the size, where they come from, how the model sees the photo) and zlib of the keys and of
the confidence. The line alone is enough to rank photos.

Shapes: H, W of the photo; F features.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.images.files import shown, write_whole
from pixelwise.labelling.edit_log import deflated, inflated
from pixelwise.labelling.patch import Keys

MOST_PIXELS = 1 << 30
MOST_FACTS = 1 << 20  # bytes of the first line


@dataclass(frozen=True)
class PhotoFacts:
    """How a model sees a photo, to rank it."""

    model: str  # which
    uncertainty: float  # mean entropy, 0–1
    description_F: NDArray[np.float64]  # length 1

    def to_json(self) -> dict[str, Any]:
        text = base64.b64encode(self.description_F.astype("<f4").tobytes()).decode()
        return {"model": self.model, "uncertainty": self.uncertainty, "description": text}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> PhotoFacts:
        """Raises KeyError, TypeError, ValueError: not what `to_json` makes."""
        description_F = np.frombuffer(base64.b64decode(row["description"]), "<f4").astype(np.float64)
        return cls(str(row["model"]), float(row["uncertainty"]), description_F)


@dataclass(frozen=True)
class StoredProposal:
    """What a model proposes for a whole photo."""

    keys_HW: Keys  # 255 where nothing is proposed
    confidence_HW: NDArray[np.uint8]  # 0–255
    model: str  # which, such as the digest of its bundle
    facts: PhotoFacts | None = None  # how it sees the photo


def write_proposal(path: Path, proposal: StoredProposal) -> None:
    """Raises OutputError."""
    seen = proposal.facts.to_json() if proposal.facts else {}
    facts = {**seen, "size": list(proposal.keys_HW.shape), "model": proposal.model}
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
        raise DataError(f"{shown(path)}: cannot be read ({error}). Remove it; the model then makes another.") from error


def read_facts(path: Path) -> PhotoFacts | None:
    """How the model sees the photo, from the first line alone. None where that is not known: it is then found again."""
    try:
        with path.open("rb") as file:
            return PhotoFacts.from_json(json.loads(file.readline(MOST_FACTS)))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
