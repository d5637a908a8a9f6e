"""Runs the notebooks beside this file and keeps what they show: pip install nbclient ipykernel, then run this."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def refresh(path: Path, folder: str) -> None:
    """Run a notebook in `folder`, so that what it writes does not stay here."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, resources={"metadata": {"path": folder}}, record_timing=False, coalesce_streams=True
    )
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "image/jpeg" in output.get("data", ()):
                output.data.pop("image/png", None)  # the same picture, ten times as large
    notebook.metadata.pop("language_info", None)  # the version of Python would change with every run
    nbformat.write(notebook, path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(HERE, folder, dirs_exist_ok=True)
        for path in sorted(HERE.glob("*.ipynb")):
            refresh(path, folder)
