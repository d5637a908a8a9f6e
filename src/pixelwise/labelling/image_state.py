"""What is known of each image without opening its log: done or not, pixels and seconds of each class.

A file each, in `.labelling/states`, written after the image's mask: where it is older than the log, the mask is too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.images.files import utf8, write_whole


@dataclass(frozen=True)
class ImageState:
    """The state of one image, as its mask on disk is."""

    done: bool = False  # the person said so
    version: int = 0  # records of the log that the mask has
    log_bytes: int = 0  # the log's size then
    lines: int = 0  # records of the log that labels.jsonl has
    size: tuple[int, int] = (0, 0)  # (H, W) of the photo; zeros where it was never opened
    pixels: Mapping[int, int] = field(default_factory=dict)  # key → labelled pixels
    seconds: Mapping[int, float] = field(default_factory=dict)  # key → seconds of its edits

    @property
    def labelled(self) -> int:
        return sum(self.pixels.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "done": self.done,
            "version": self.version,
            "log_bytes": self.log_bytes,
            "lines": self.lines,
            "size": list(self.size),
            "pixels": {str(key): number for key, number in self.pixels.items()},
            "seconds": {str(key): round(number, 3) for key, number in self.seconds.items()},
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ImageState:
        """Raises KeyError, TypeError, ValueError, AttributeError: not what `to_json` makes."""
        height, width = row["size"]
        return cls(
            bool(row["done"]),
            int(row["version"]),
            int(row["log_bytes"]),
            int(row["lines"]),
            (int(height), int(width)),
            {int(key): int(number) for key, number in row["pixels"].items()},
            {int(key): float(number) for key, number in row["seconds"].items()},
        )


def read_state(path: Path) -> ImageState:
    """The state in a file; that of an image whose mask is to be written again where the file cannot be read."""
    try:
        return ImageState.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ImageState()


def write_state(path: Path, state: ImageState) -> None:
    """Raises OutputError."""
    write_whole(path, utf8(json.dumps(state.to_json()) + "\n"))
