"""All errors that Pixelwise raises. Each message names what was expected, what was found, where, and the remedy.

PixelwiseError                 exit code 1
├── UsageError                 wrong arguments: no such path, unknown option value (exit code 2)
├── DataError                  something in the data is wrong
│   ├── ImageError             one image cannot be decoded
│   ├── MaskError              one mask cannot be decoded, or has invalid content
│   └── DatasetError           a dataset as a whole; lists every problem, not just the first
├── BundleError                a model file is corrupt, foreign, altered, or differs from its network
├── TrainingError              training cannot start or continue
│   ├── DivergedError          the loss became NaN or infinite; the last good checkpoint is kept
│   ├── OutOfMemoryError       a step needs more memory than there is; names a batch size that fits
│   ├── WorkerError            data loading processes die repeatedly
│   └── RunLockedError         another training is using this run directory
├── OutputError                a result cannot be written
├── LabelLockedError           another person or page is labelling this image
├── ClusterError               a cluster cannot be reached, or its machines do not match
└── MissingExtraError          an optional dependency is not installed

StoppedError                   a signal asked to stop; a KeyboardInterrupt, so that no `except Exception`
                               catches it (exit code 130 for Ctrl-C, 143 for SIGTERM)
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixelwise.records import Problem


class PixelwiseError(Exception):
    """Base class of all errors that Pixelwise raises."""

    exit_code = 1


class UsageError(PixelwiseError):
    """Wrong arguments; nothing was done."""

    exit_code = 2


class DataError(PixelwiseError):
    """Something in the data is wrong."""


class ImageError(DataError):
    """One image file cannot be decoded."""


class OtherBandsError(ImageError):
    """An image has other bands than the model or dataset takes; the message names both."""


class MaskError(DataError):
    """One mask file cannot be decoded, or does not hold class ids."""


class DatasetError(DataError):
    """A dataset cannot be used. `problems` lists every problem."""

    def __init__(self, summary: str, problems: Sequence[Problem] = ()) -> None:
        self.summary = summary
        self.problems = tuple(problems)
        super().__init__("\n".join([summary, *(f"  {problem}" for problem in self.problems)]))


class BundleError(PixelwiseError):
    """A model file cannot be trusted or used."""


class TrainingError(PixelwiseError):
    """Training cannot start or continue."""


class DivergedError(TrainingError):
    """The loss is no longer a finite number."""


class OutOfMemoryError(TrainingError):
    """A training step needs more memory than the machine or the process's limit allows."""


class WorkerError(TrainingError):
    """Data loading processes were restarted and died again."""


class RunLockedError(TrainingError):
    """Another process is training in this run directory."""


class OutputError(PixelwiseError):
    """A result cannot be written."""


class LabelLockedError(PixelwiseError):
    """Another person or page is labelling this image. `holder`: who; "" if it is free again."""

    def __init__(self, message: str, holder: str) -> None:
        self.holder = holder
        super().__init__(message)


class StoppedError(KeyboardInterrupt):
    """A signal asked to stop. `at_once`: immediately, without saving first."""

    def __init__(self, number: int, message: str = "", at_once: bool = False) -> None:
        self.number, self.at_once = number, at_once
        self.exit_code = 128 + number  # the convention of shells: 130 for SIGINT, 143 for SIGTERM
        super().__init__(message or f"stopped by {signal_name(number)}.")


def signal_name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def of_ctrl_c(error: BaseException | None) -> bool:
    """Was this error caused by Ctrl-C? During the import of a compiled module, that raises an ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


class ClusterError(PixelwiseError):
    """A cluster cannot be reached, or its machines do not match."""


class MissingExtraError(PixelwiseError):
    """An optional dependency is not installed."""

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
    "imagecodecs": "tiff",
    "av": "video",
    "rasterio": "geo",
    "pyogrio": "geo",
    "shapely": "geo",
    "pyproj": "geo",
}


def as_missing_extra(error: ModuleNotFoundError) -> PixelwiseError | None:
    """The error that names the extra to install, if an extra provides the missing module."""
    module = (error.name or "").partition(".")[0]
    return MissingExtraError(f"the package {module}", EXTRAS[module]) if module in EXTRAS else None


def first_line(error: Exception) -> str:
    """The message of a library's exception, as one line of at most 200 characters without its full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(". ")
