"""evaluate, compare, suggest, accept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared import (
    Classes,
    DataFolder,
    EngineName,
    JsonFile,
    Masks,
    ModelName,
    SkipBad,
    SplitName,
    Threads,
    Views,
    Void,
    app,
    console_of,
    give,
    values_from,
    write_json,
)


@app.command()
def evaluate(
    model: ModelName,
    data: DataFolder,
    split: SplitName = None,
    classes: Classes = None,
    void: Void = None,
    masks: Masks = None,
    skip_bad: SkipBad = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as one page: charts, tables, worst and best images.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a line for each image.")] = None,
    tta: Views = "",
    engine: EngineName = "auto",
    threads: Threads = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Measure a model on a labelled split, at each image's own size: scores with intervals, and where the errors are.

    Example: pixelwise evaluate my_run my_data --split test --html report.html
    """
    from pixelwise.evaluation.split import evaluate as run_evaluate
    from pixelwise.prediction.image import load
    from pixelwise.terminal import work_bar

    opened = load(model, threads, engine)
    with work_bar(console_of(json_file), "evaluating") as progress:
        report = run_evaluate(
            opened, data, split=split, skip_bad=skip_bad, html=html, csv=csv, tta=tta, progress=progress,
            **values_from(classes, void, masks),
        )  # fmt: skip
    give(report, json_file)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The model to compare with: a bundle (.onnx), a run directory or a built-in model.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The model that may be better.")],
    data: DataFolder,
    split: SplitName = None,
    fail_if_worse: Annotated[float | None, typer.Option(metavar="POINTS", min=0, help="Exit code 1 where B's mean IoU is more than so many percentage points below A's.")] = None,
    classes: Classes = None,
    void: Void = None,
    masks: Masks = None,
    skip_bad: SkipBad = False,
    engine: EngineName = "auto",
    threads: Threads = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Compare two models on the same images: is B better, where, and is it more than luck?

    Example: pixelwise compare old.onnx my_run my_data --fail-if-worse 0.5
    """
    from pixelwise.evaluation.compare import compare as run_compare
    from pixelwise.prediction.image import load
    from pixelwise.terminal import work_bar

    one, other = load(a, threads, engine), load(b, threads, engine)
    with work_bar(console_of(json_file), "comparing") as progress:
        found = run_compare(one, other, data, split=split, skip_bad=skip_bad, progress=progress,
                            **values_from(classes, void, masks))  # fmt: skip
    give(found, json_file)
    if fail_if_worse is not None and found.worse_by(fail_if_worse):
        points = -found.miou.difference * 100
        typer.echo(f"B's mean IoU is {points:.2f} points below A's; at most {fail_if_worse:g} are allowed.", err=True)
        raise typer.Exit(1)


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
    from pixelwise.evaluation.suggest import suggest as run_suggest
    from pixelwise.terminal import work_bar

    with work_bar(console_of(json_file), "looking") as progress:
        found = run_suggest(
            model, images, number=number, labelled=labelled, runs=runs or (), curve=curve, out=out, tasks=tasks,
            progress=progress,
        )  # fmt: skip
    give(found, json_file)


@app.command()
def accept(
    tasks: Annotated[Path, typer.Argument(metavar="TASKS", help="The folder that `pixelwise suggest --out` wrote.")],
    export_file: Annotated[Path, typer.Argument(metavar="EXPORT", help="What the tool exported: CVAT for images 1.1 (XML) or Label Studio's JSON.")],
    out: Annotated[Path, typer.Option(help="A new folder: a dataset of the corrected masks.")],
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Take masks back that were corrected in a labelling tool, and say what was changed.

    Example: pixelwise accept to_label annotations.xml --out more_data
    """
    from pixelwise.evaluation.accept import accept as run_accept

    found = run_accept(tasks, export_file, out)
    write_json(json_file, found.to_json())
    console_of(json_file).print(str(found), soft_wrap=True)
