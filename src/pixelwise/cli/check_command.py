"""check: examine a dataset."""

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


@app.command()
def check(
    data: DataFolder,
    fix: Annotated[Path | None, typer.Option(metavar="OUT", help="Write a repaired copy of the dataset to this new folder; every change is listed in OUT/repairs.jsonl.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as one HTML file with thumbnails.")] = None,
    model: Annotated[str | None, typer.Option(help="Bundle, run directory or built-in model to find suspected label errors with.")] = None,
    classes: Classes = None,
    void: Void = None,
    binary_foreground: Annotated[str | None, typer.Option(hidden=True, help="As --class NAME=VALUE, of masks of two values.")] = None,
    background: Annotated[str | None, typer.Option(hidden=True, help="As --class NAME=0.")] = None,
    void_value: Annotated[list[str] | None, typer.Option(hidden=True, help="As --void.")] = None,
    class_value: Annotated[list[str] | None, typer.Option(hidden=True, help="As --class NAME=VALUE, under a name made from the value.")] = None,
    turn: Annotated[str | None, typer.Option(help="Rotate masks that lie on their side: left or right by 90°, or transpose. [default: no rotation]")] = None,
    stretch_masks: Annotated[bool, typer.Option("--stretch-masks", help="Resize masks whose aspect ratio differs from their image's.")] = False,
    grouped_split: Annotated[bool, typer.Option("--grouped-split", help="Split again so that images of one suggested group stay in one split.")] = False,
    drop_copies: Annotated[bool, typer.Option("--drop-copies", help="Leave out images that also occur in another split.")] = False,
    commonest: Annotated[int | None, typer.Option(metavar="N", help="Keep only the N classes with the most pixels; the others become void.")] = None,
    keep_class: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Keep only this class; can be repeated. The others become void.")] = None,
    label_decisions: Annotated[Path | None, typer.Option("--label-decisions", metavar="FILE", help="Apply decisions on suspected label errors to the copy: the file that the page's Images room saves.")] = None,
    masks: Masks = None,
    bands: BandNames = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Check a dataset and list every problem, where it is, and how to fix it. The dataset is never changed.

    Exit code 1 if there are errors; with --fix, if errors remain or a pair had to be left out.

    Example: pixelwise check my_data --class vessel=255 --html report.html --fix my_data_repaired
    """
    from pixelwise.cli.terminal import work_bar
    from pixelwise.doctor.check import check as run_check
    from pixelwise.doctor.check_page import write_check_page
    from pixelwise.doctor.fix import Decisions

    decisions = Decisions(
        binary_foreground, tuple(void_value or ()), tuple(class_value or ()), background,
        turn, stretch_masks, grouped_split, drop_copies, commonest, masks, tuple(keep_class or ()),
        str(label_decisions) if label_decisions else None,
    )  # fmt: skip
    loaded = None
    if model:
        from pixelwise.prediction.load_model import load

        loaded = load(model)
    console = console_of(json_file)
    with work_bar(console, "checking") as progress:
        report = run_check(
            data, fix=fix, decisions=decisions, model=loaded, progress=lambda what, done, total: progress(done, total),
            **values_from(classes, void, None, bands),
        )  # fmt: skip
    write_json(json_file, report.to_json())
    if html:
        write_check_page(report, html)
    console.print(report)
    if not report.all_well:
        raise typer.Exit(1)
