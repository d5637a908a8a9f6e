"""train --folds: a cross-validation, and one bundle of its networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.cli.shared_options import console_of, reports_how_to_resume, write_json
from pixelwise.cli.train_options import TrainOptions

if TYPE_CHECKING:
    from rich.console import Console

    from pixelwise.cli.terminal import TrainingView

SHOWN_SUSPECTS = 5


def folds_to_resume(out: Path) -> int | None:
    """The number of folds of the cross-validation in `out`; None if there is none."""
    try:
        return int(json.loads((out / "folds.json").read_text(encoding="utf-8"))["folds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run_folds(options: TrainOptions, folds: int) -> None:
    """`train --folds`: run the folds, and show the out-of-fold scores."""
    from pixelwise.cli.terminal import TrainingView, number
    from pixelwise.datasets.class_values import quoted
    from pixelwise.training.cross_validation import cross_validate
    from pixelwise.training.ensemble_bundle import unscored

    out, console = options.out, console_of(options.json_file)
    with reports_how_to_resume(), TrainingView(console) as view:
        done = cross_validate(
            options.data, out, options.recipe, folds=folds, settings=options.settings, start_from=options.start_from,
            budget_s=options.budget_s, resume=options.resume, skip_bad=options.skip_bad, device=options.device,
            track=options.track, tell=lambda event: show(event, view, console), progress=view.progress,
            began=options.began, **options.values,
        )  # fmt: skip
    report = done.report
    write_json(options.json_file, {
        "bundle": str(done.bundle), "folds": list(done.folds), "seconds": done.seconds, "out_of_fold": report.to_json(),
        "scores_are_of": unscored(folds),
    })  # fmt: skip
    console.print(report.whole_table())
    suspects = report.analysis.suspects
    if suspects:
        console.print(f"suspected label errors, out of fold: {report.analysis.suspects_in_all:,}, the largest first")
    for name, suspect in suspects[:SHOWN_SUSPECTS]:
        says = report.classes.names
        console.print(
            f"  {name}: {suspect.pixels:,} px at x {suspect.x}, y {suspect.y} are labelled {says[suspect.true]}, "
            f"predicted {says[suspect.predicted]} ({suspect.confidence:.0%})", soft_wrap=True,
        )  # fmt: skip
    miou, low, high = (number(float(value), ".3f") for value in (report.miou, *report.analysis.intervals["miou"]))
    evaluate = f"pixelwise evaluate {quoted(str(out))} {options.data_words} --split test"
    measured = f"{evaluate} (the bundle's own score)    " if done.has_test else ""
    console.print(
        f"{folds} folds: mIoU {miou} ({low} to {high}) on {report.images} images, each scored by the network that "
        f"was not trained on it; {done.seconds:.0f} s in total\n{unscored(folds)}\n"
        f"{done.bundle} averages the {folds} networks: a prediction takes about {folds} times as long as with one\n"
        f"report: {out}/out-of-fold.html\n"
        f"next: {measured}pixelwise predict {quoted(str(out))} IMAGES --out DIR",
        soft_wrap=True,
    )


def show(event: dict[str, Any], view: TrainingView, console: Console) -> None:
    """Show a trace event; of the later folds only what differs from the first."""
    kind, fold = event["event"], event.get("fold", 0)
    if kind == "fold":
        view.epochs.clear()
        miou = "–" if event["miou"] is None else f"{event['miou']:.3f}"
        epochs = f"{event['epochs']} epoch{'s' if event['epochs'] != 1 else ''}"
        console.print(
            f"fold {fold} of {event['folds']}: mIoU {miou} on the {event['held_out']} images that it held out; "
            f"{epochs}, {event['seconds']:.0f} s", soft_wrap=True,
        )  # fmt: skip
    elif kind == "data" and fold > 1:
        for warning in event["warnings"]:
            view.tell({"event": "warning", "message": f"fold {fold}: {warning}"})
    elif kind == "flow" and fold > 1:
        return
    elif kind != "export" or not fold:  # a fold's own bundle is only a part
        view.tell(event)
