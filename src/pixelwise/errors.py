"""Every error a user can meet. Each says what was expected, what came, where, and the remedy.

PixelwiseError                 exit code 1
├── UsageError                 the call itself is wrong: no such path, unknown option value (exit code 2)
├── DataError                  something in the data is wrong
│   ├── ImageError             one image cannot be decoded
│   ├── MaskError              one mask cannot be decoded, or holds what a mask must not hold
│   └── DatasetError           a dataset as a whole; carries every problem found, not just the first
├── BundleError                a model file is corrupt, foreign, altered, or disagrees with its network
├── TrainingError              training cannot start or go on
│   ├── DivergedError          the loss became NaN or infinite; the last good checkpoint is kept
│   └── RunLockedError         another training is using this run directory
├── OutputError                a result cannot be written
└── MissingExtraError          an optional dependency is not installed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixelwise.records import Problem


class PixelwiseError(Exception):
    """Base of all errors that Pixelwise raises on purpose."""

    exit_code = 1


class UsageError(PixelwiseError):
    """The call is wrong; nothing was tried."""

    exit_code = 2


class DataError(PixelwiseError):
    """Something in the data is wrong."""


class ImageError(DataError):
    """One image file cannot be decoded."""


class MaskError(DataError):
    """One mask file cannot be decoded, or does not hold class ids."""


class DatasetError(DataError):
    """A dataset cannot be used. `problems` holds every problem that was found."""

    def __init__(self, summary: str, problems: Sequence[Problem] = ()) -> None:
        self.summary = summary
        self.problems = tuple(problems)
        super().__init__("\n".join([summary, *(f"  {problem}" for problem in self.problems)]))


class BundleError(PixelwiseError):
    """A model file cannot be trusted or used."""


class TrainingError(PixelwiseError):
    """Training cannot start or go on."""


class DivergedError(TrainingError):
    """The loss is no longer a finite number."""


class RunLockedError(TrainingError):
    """Another process trains in this run directory."""


class OutputError(PixelwiseError):
    """A result cannot be written."""


class MissingExtraError(PixelwiseError):
    """An optional dependency is needed and not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed. Install it with: pip install 'pixelwise[{extra}]'")


EXTRAS = {"torch": "train", "safetensors": "train", "onnxscript": "train"}  # module → the extra that brings it


def as_missing_extra(error: ModuleNotFoundError) -> PixelwiseError | None:
    """The error that names the extra to install, where a module is missing that an extra brings."""
    module = (error.name or "").partition(".")[0]
    return MissingExtraError(f"the package {module}", EXTRAS[module]) if module in EXTRAS else None
