"""evaluate: measure a model on a labelled split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared_options import (
    BandNames,
    Classes,
    DataFolder,
    EngineName,
    JsonFile,
    Masks,
    ModelName,
    ObjectClasses,
    SkipBad,
    SplitName,
    Threads,
    Views,
    Void,
    app,
    console_of,
    give,
    values_from,
)


@app.command()
def evaluate(
    model: ModelName,
    data: DataFolder,
    split: SplitName = None,
    classes: Classes = None,
    void: Void = None,
    masks: Masks = None,
    bands: BandNames = None,
    skip_bad: SkipBad = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as one HTML file: charts, tables, worst and best images.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the scores of every image as CSV.")] = None,
    tta: Views = "",
    objects: ObjectClasses = None,
    engine: EngineName = "auto",
    threads: Threads = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Evaluate a model on a labelled split, at full image resolution: scores with confidence intervals, and an error breakdown.

    Example: pixelwise evaluate my_run my_data --split test --html report.html
    """
    from pixelwise.cli.terminal import work_bar
    from pixelwise.evaluation.evaluate import evaluate as run_evaluate
    from pixelwise.prediction.load_model import load

    opened = load(model, threads, engine)
    with work_bar(console_of(json_file), "evaluating") as progress:
        report = run_evaluate(
            opened, data, split=split, skip_bad=skip_bad, html=html, csv=csv, tta=tta,
            objects=objects, progress=progress,
            **values_from(classes, void, masks, bands),
        )  # fmt: skip
    give(report, json_file)
