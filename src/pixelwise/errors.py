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
│   ├── OutOfMemoryError       a step needs more memory than there is; says which batch fits
│   ├── WorkerError            processes that prepare batches die again and again
│   └── RunLockedError         another training is using this run directory
├── OutputError                a result cannot be written
├── ClusterError               a cluster cannot be reached, or its machines do not fit together
└── MissingExtraError          an optional dependency is not installed

StoppedError                   a person or the system asked to stop; a KeyboardInterrupt, so that no `except Exception`
                               takes it for a failure (exit code 130 for Ctrl-C, 143 for SIGTERM)
"""

from __future__ import annotations

import signal
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


class OutOfMemoryError(TrainingError):
    """A training step needs more memory than this machine, or this process's limit, has."""


class WorkerError(TrainingError):
    """Loader workers were replaced and died again."""


class RunLockedError(TrainingError):
    """Another process trains in this run directory."""


class OutputError(PixelwiseError):
    """A result cannot be written."""


class StoppedError(KeyboardInterrupt):
    """A signal asked to stop. `at_once`: in the middle of something, so that nothing could be saved first."""

    def __init__(self, number: int, message: str = "", at_once: bool = False) -> None:
        self.number, self.at_once = number, at_once
        self.exit_code = 128 + number  # as a shell says it: 130 for SIGINT, 143 for SIGTERM
        super().__init__(message or f"stopped by {signal_name(number)}.")


def signal_name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def of_ctrl_c(error: BaseException | None) -> bool:
    """Whether an error came of Ctrl-C: pressed while a compiled module is loaded, it becomes an ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


class ClusterError(PixelwiseError):
    """A cluster cannot be reached, or its machines do not fit together."""


class MissingExtraError(PixelwiseError):
    """An optional dependency is needed and not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed. Install it with: pip install 'pixelwise[{extra}]'")


EXTRAS = {  # module → the extra that brings it
    "torch": "train",
    "safetensors": "train",
    "onnxscript": "train",
    "tensorboard": "tracking",
    "mlflow": "tracking",
    "optuna": "search",
    "timm": "zoo",
    "segmentation_models_pytorch": "zoo",
    "tifffile": "tiff",
    "imagecodecs": "tiff",
    "av": "video",
}


def as_missing_extra(error: ModuleNotFoundError) -> PixelwiseError | None:
    """The error that names the extra to install, where a module is missing that an extra brings."""
    module = (error.name or "").partition(".")[0]
    return MissingExtraError(f"the package {module}", EXTRAS[module]) if module in EXTRAS else None
