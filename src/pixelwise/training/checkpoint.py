"""Checkpoints: tensors as safetensors, everything else as JSON, both in one file; no pickle.

A checkpoint is written atomically: under a temporary name, flushed to disk, renamed, and the folder flushed too. The
last two are kept, so that one unreadable file does not end a run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pixelwise.errors import OutputError, TrainingError
from pixelwise.images.files import shown, write_whole

KEPT = 2


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Write `folder/step-0000123.safetensors` and drop all but the last two.

    Args:
        tensors: flat names → tensors.
        state: anything that JSON holds.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    path = folder / f"step-{step:07d}.safetensors"
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(contiguous, metadata={"state": json.dumps(state)}))
    for old in checkpoints(folder)[:-KEPT]:
        try:
            old.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{shown(old)}: cannot be removed ({error.strerror}). Allow writing to the folder."
            ) from error
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint: (tensors, state).

    Raises:
        TrainingError: the file is truncated or not a checkpoint.
    """
    try:
        data = path.read_bytes()  # not through the library, which cannot open paths that are not UTF-8
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return tensors, json.loads(header["__metadata__"]["state"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        what = f"not a complete checkpoint ({error})"
        raise TrainingError(f"{shown(path)}: {what}. Delete it to resume from the previous one.") from error


def flatten(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def unflatten(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def save_weights(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write weights only, such as those of the best epoch."""
    write_whole(
        path, save({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, {"state": json.dumps(state)})
    )
