"""plan: what `train` would do with a dataset, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared_options import (
    BandNames,
    Classes,
    DataFolder,
    JsonFile,
    Masks,
    Void,
    app,
    console_of,
    values_from,
    write_json,
)
from pixelwise.cli.train_options import recipe_values


@app.command()
def plan(
    data: DataFolder,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Also write the recipe to this file, for `train --recipe`. [default: none]")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Keep this field of the recipe as given, such as batch=8; can be repeated. The others are planned around it.")] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="As in train: network input size. [default: planned]")] = None,
    classes: Classes = None,
    void: Void = None,
    masks: Masks = None,
    bands: BandNames = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Measure a dataset and show the training that suits it: each choice with its reason. Trains nothing.

    `train` without --recipe does exactly this first.

    Example: pixelwise plan my_data
    """
    from pixelwise.cli.terminal import measures_table, plan_table, work_bar
    from pixelwise.datasets.class_values import quoted, values_of
    from pixelwise.images.files import write_whole
    from pixelwise.training.plan import plan as plan_data

    console = console_of(json_file)
    values = values_from(classes, void, masks, bands)
    with work_bar(console, "measuring the data") as progress:
        planned = plan_data(
            data,
            recipe_values(settings or [], {"size": size}),
            progress=progress,
            **values,
        )
    if out is not None:
        write_whole(out, planned.recipe.to_toml().encode())
    write_json(json_file, {
        "fingerprint": planned.fingerprint.to_json(), **planned.to_json(), "recipe": vars(planned.recipe),
    })  # fmt: skip
    console.print(measures_table(planned.fingerprint.to_json()))
    console.print()
    console.print(plan_table(planned.event()))
    for warning in planned.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    parts = [
        "pixelwise train",
        quoted(str(data)),
        values_of(**values).options(),
        f"--recipe {quoted(str(out))}" if out else "",
        "--out RUN",
    ]
    written = " ".join(part for part in parts if part)
    console.print(f"next: {written}", soft_wrap=True)
