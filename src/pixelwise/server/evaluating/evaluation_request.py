"""What is evaluated: models, a split, and how it is named for good."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EvaluationRequest:
    """One model on one split, or two that are compared."""

    folder: str  # of the data, as the server reads it
    split: str
    models: tuple[str, ...]  # names from GET /v1/models: one, or A and B
    digests: tuple[str, ...]  # of these models: one that was trained again is another model
    skip_bad: bool = False

    @property
    def id(self) -> str:
        """The same for the same request, so that a result is found again."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def kind(self) -> str:
        return "evaluation" if len(self.models) == 1 else "comparison"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> EvaluationRequest:
        """Raises KeyError, TypeError: not what `to_json` gives."""
        models, digests = (tuple(str(one) for one in value[name]) for name in ("models", "digests"))
        if not 1 <= len(models) == len(digests) <= 2:
            raise TypeError(f"{len(models)} models, {len(digests)} digests")
        return cls(str(value["folder"]), str(value["split"]), models, digests, bool(value["skip_bad"]))
