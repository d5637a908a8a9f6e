"""compare: two models on the same images."""

from __future__ import annotations

from typing import Annotated

import typer

from pixelwise.cli.shared_options import (
    BandNames,
    Classes,
    DataFolder,
    EngineName,
    JsonFile,
    Masks,
    ObjectClasses,
    SkipBad,
    SplitName,
    Threads,
    Void,
    app,
    console_of,
    give,
    values_from,
)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Baseline model: a bundle (.onnx), a run directory, or a built-in model.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Model to compare with the baseline.")],
    data: DataFolder,
    split: SplitName = None,
    fail_if_worse: Annotated[float | None, typer.Option(metavar="POINTS", min=0, help="Exit code 1 if B's mean IoU is more than POINTS percentage points below A's.")] = None,
    classes: Classes = None,
    void: Void = None,
    masks: Masks = None,
    bands: BandNames = None,
    objects: ObjectClasses = None,
    skip_bad: SkipBad = False,
    engine: EngineName = "auto",
    threads: Threads = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Compare two models on the same images: differences per class and image, with confidence intervals.

    Example: pixelwise compare old.onnx my_run my_data --fail-if-worse 0.5
    """
    from pixelwise.cli.terminal import work_bar
    from pixelwise.evaluation.compare import compare as run_compare
    from pixelwise.prediction.load_model import load

    one, other = load(a, threads, engine), load(b, threads, engine)
    with work_bar(console_of(json_file), "comparing") as progress:
        found = run_compare(one, other, data, split=split, skip_bad=skip_bad, objects=objects or (), progress=progress,
                            **values_from(classes, void, masks, bands))  # fmt: skip
    give(found, json_file)
    if fail_if_worse is not None and found.worse_by(fail_if_worse):
        points = -found.miou.difference * 100
        typer.echo(f"B's mean IoU is {points:.2f} points below A's; at most {fail_if_worse:g} are allowed.", err=True)
        raise typer.Exit(1)
