"""check: examine a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared_options import (
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


@app.command()
def check(
    data: DataFolder,
    fix: Annotated[Path | None, typer.Option(metavar="OUT", help="Write a repaired native copy here; every change is listed in OUT/repairs.jsonl.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as one HTML page with thumbnails.")] = None,
    model: Annotated[str | None, typer.Option(help="A bundle or run directory: look for suspected label errors with it.")] = None,
    classes: Classes = None,
    void: Void = None,
    binary_foreground: Annotated[str | None, typer.Option(hidden=True, help="As --class NAME=VALUE, of masks of two values.")] = None,
    background: Annotated[str | None, typer.Option(hidden=True, help="As --class NAME=0.")] = None,
    void_value: Annotated[list[str] | None, typer.Option(hidden=True, help="As --void.")] = None,
    class_value: Annotated[list[str] | None, typer.Option(hidden=True, help="As --class NAME=VALUE, under a name made from the value.")] = None,
    turn: Annotated[str | None, typer.Option(help="Masks that lie on their side: left, right or transpose.")] = None,
    stretch_masks: Annotated[bool, typer.Option("--stretch-masks", help="Masks of another shape cover the same view.")] = False,
    grouped_split: Annotated[bool, typer.Option("--grouped-split", help="Divide anew by the suggested groups.")] = False,
    drop_copies: Annotated[bool, typer.Option("--drop-copies", help="Leave out images that are copies of another split's.")] = False,
    commonest: Annotated[int | None, typer.Option(metavar="N", help="Keep the N classes with the most pixels; the others become void.")] = None,
    keep_class: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Keep the class of this name, and others only if they are named too; can be repeated.")] = None,
    masks: Masks = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Examine a dataset: what is wrong, where, and the remedy. Never changes it.

    Exit code 1 where an error is found; with --fix, where one is left or a pair had to be left out.

    Example: pixelwise check my_data --class vessel=255 --html report.html --fix my_data_repaired
    """
    from pixelwise.cli.terminal import work_bar
    from pixelwise.doctor.check import check as run_check
    from pixelwise.doctor.check_page import write_check_page
    from pixelwise.doctor.fix import Decisions

    decisions = Decisions(
        binary_foreground, tuple(void_value or ()), tuple(class_value or ()), background,
        turn, stretch_masks, grouped_split, drop_copies, commonest, masks, tuple(keep_class or ()),
    )  # fmt: skip
    loaded = None
    if model:
        from pixelwise.prediction.load_model import load

        loaded = load(model)
    console = console_of(json_file)
    with work_bar(console, "checking") as progress:
        report = run_check(
            data, fix=fix, decisions=decisions, model=loaded, progress=lambda what, done, total: progress(done, total),
            **values_from(classes, void),
        )  # fmt: skip
    write_json(json_file, report.to_json())
    if html:
        write_check_page(report, html)
    console.print(report)
    if not report.all_well:
        raise typer.Exit(1)
