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
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES…", help="Unlabelled images: files and folders.")],
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many to suggest.")] = 20,
    labelled: Annotated[Path | None, typer.Option(metavar="DATA", help="What is labelled already: images like these teach little.")] = None,
    runs: Annotated[list[Path] | None, typer.Option("--run", metavar="RUN", help="A run with fewer images, for the learning curve; repeat it.")] = None,
    curve: Annotated[Path | None, typer.Option(metavar="FILE", help="A CSV with the columns images and miou, for the same.")] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder of tasks for a labelling tool, with the model's masks to correct.")] = None,
    tasks: Annotated[str, typer.Option(help="cvat or labelstudio.")] = "cvat",
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Which images to label next, where to look in them, and what so many more should bring.

    Example: pixelwise suggest my_run unlabelled/ -n 20 --labelled my_data --out to_label --tasks cvat
    """
    from pixelwise.cli.terminal import work_bar
    from pixelwise.labelling.suggest import suggest as run_suggest

    with work_bar(console_of(json_file), "looking") as progress:
        found = run_suggest(
            model, images, number=number, labelled=labelled, runs=runs or (), curve=curve, out=out, tasks=tasks,
            progress=progress,
        )  # fmt: skip
    give(found, json_file)
