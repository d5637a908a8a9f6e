"""Labels in any format that `convert` writes; the labelling folder itself is the native one."""

from __future__ import annotations

from pathlib import Path

from pixelwise.datasets.convert import convert
from pixelwise.errors import UsageError
from pixelwise.images.files import shown
from pixelwise.labelling.workspace import Workspace


def export_labels(workspace: Workspace, to: str, out: Path) -> int:
    """Write all labelled images and their masks into a new folder. Returns how many.

    Args:
        to: the format, as of `convert`.
        out: a new folder outside the labelling folder.

    Raises:
        UsageError: nothing is labelled yet, or there is no such format.
        OutputError: `out` exists already, is inside the labelling folder, or cannot be written.
        DatasetError: the format cannot hold the classes.
        ImageError, MaskError: a file of the labelling folder was damaged.
    """
    workspace.flush()
    if not any(workspace.status(photo.id).labelled for photo in workspace.photos()):
        raise UsageError(f"{shown(workspace.out)}: no pixel is labelled yet. Label an image first.")
    dataset = convert(workspace.out, out, to)
    return sum(len(part) for part in dataset.splits.values())
