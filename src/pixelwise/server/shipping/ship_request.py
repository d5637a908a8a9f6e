"""A job of the Ship room as the two processes pass it: request, progress and result are files of the job's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pixelwise.images.files import write_whole

Form = Literal["float16", "int8-weights", "int8"]
Work = Literal["export", "web", "benchmark", "label"]
REQUEST, PROGRESS, RESULT = "request.json", "progress.json", "result.json"


@dataclass(frozen=True)
class ShipRequest:
    """What a job does."""

    work: Work
    model: str  # MODEL as `load` takes it, or for "export" the run directory
    title: str  # of the model, for people and for names of files
    form: Form = "float16"  # of "export"
    max_drop: float = 0.5  # of "export": largest accepted loss of mean IoU, in percentage points
    folder: str = ""  # of "label": its images
    shown: str = ""  # of "label": the folder as the page names it

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_file(cls, folder: Path) -> ShipRequest:
        return cls(**json.loads((folder / REQUEST).read_text(encoding="utf-8")))


def write_json(path: Path, value: dict[str, Any]) -> None:
    write_whole(path, json.dumps(value, ensure_ascii=False).encode())
