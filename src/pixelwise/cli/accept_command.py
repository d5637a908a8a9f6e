"""accept: take corrected masks back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared_options import (
    JsonFile,
    app,
    console_of,
    write_json,
)


@app.command()
def accept(
    tasks: Annotated[Path, typer.Argument(metavar="TASKS", help="Task folder that `pixelwise suggest --out` wrote.")],
    export_file: Annotated[Path, typer.Argument(metavar="EXPORT", help="Export of the labelling tool: CVAT for images 1.1 (XML) or Label Studio JSON.")],
    out: Annotated[Path, typer.Option(help="New folder for the dataset of corrected masks.")],
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Import masks corrected in a labelling tool, and report what changed.

    Example: pixelwise accept to_label annotations.xml --out more_data
    """
    from pixelwise.labelling.accept import accept as run_accept

    found = run_accept(tasks, export_file, out)
    write_json(json_file, found.to_json())
    console_of(json_file).print(str(found), soft_wrap=True)
