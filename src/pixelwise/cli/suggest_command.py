"""suggest: which images to label next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared_options import (
    JsonFile,
    ModelName,
    app,
    console_of,
    give,
)


@app.command()
def suggest(
    model: ModelName,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES…", help="Unlabelled images: files or folders.")],
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Number of images to suggest.")] = 20,
    labelled: Annotated[Path | None, typer.Option(metavar="DATA", help="Dataset that is already labelled; similar images are ranked lower.")] = None,
    runs: Annotated[list[Path] | None, typer.Option("--run", metavar="RUN", help="Run directory of a training on fewer images, for the learning curve; can be repeated.")] = None,
    curve: Annotated[Path | None, typer.Option(metavar="FILE", help="CSV with the columns images and miou, for the learning curve.")] = None,
    out: Annotated[Path | None, typer.Option(help="New folder of tasks for a labelling tool, pre-labelled by the model.")] = None,
    tasks: Annotated[str, typer.Option(help="Labelling tool of the tasks: cvat or labelstudio.")] = "cvat",
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Suggest which images to label next, and estimate the gain in mIoU.

    Example: pixelwise suggest my_run unlabelled/ -n 20 --labelled my_data --out to_label --tasks cvat
    """
    from pixelwise.cli.terminal import work_bar
    from pixelwise.labelling.suggest import suggest as run_suggest

    with work_bar(console_of(json_file), "scoring images") as progress:
        found = run_suggest(
            model, images, number=number, labelled=labelled, runs=runs or (), curve=curve, out=out, tasks=tasks,
            progress=progress,
        )  # fmt: skip
    give(found, json_file)
