"""train --search: many trainings, the best recipe."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pixelwise.cli.shared_options import console_of, reports_how_to_resume, write_json
from pixelwise.cli.train_options import TrainOptions, first_recipe

if TYPE_CHECKING:
    from rich.table import Table

    from pixelwise.training.search.recipe_search import SearchResult
    from pixelwise.training.search.trials_report import TrialRow

SHOWN = 10  # trials in the terminal's table; the files have them all


def run_search(options: TrainOptions, trials: int) -> None:
    """`train --search`: run the trials, and show what the best one reached."""
    from pixelwise.cli.terminal import TrainingView
    from pixelwise.datasets.class_values import quoted
    from pixelwise.errors import UsageError
    from pixelwise.training.search.recipe_search import search
    from pixelwise.training.search.trials_report import ENOUGH

    out, resume = options.out, options.resume
    if options.start_from:
        raise UsageError("--start-from is for one training: leave out --search.")
    if resume and options.settings:
        raise UsageError("a search resumes with its own recipe: leave out every option that sets a part of it.")
    console = console_of(options.json_file)
    with reports_how_to_resume(), TrainingView(console) as view:
        done = search(
            options.data, out, options.recipe if resume else first_recipe(options), trials=trials,
            budget_s=options.budget_s or math.inf, fixed=tuple(options.settings), resume=resume, skip_bad=options.skip_bad,
            track=options.track, progress=view.progress, **options.values,
            tell_trial=lambda row: console.print(trial_line(row), soft_wrap=True),
        )  # fmt: skip
    write_json(options.json_file, {
        "best": str(done.best), "miou": done.miou, "recipe": vars(done.recipe), "seconds": done.seconds,
        "importances": done.importances, "trials": [row.to_json() for row in done.trials],
    })  # fmt: skip
    console.print(trials_table(done, console.width))
    if done.importances:
        hint = " (a rough guide: with so few trials, differences may be chance)" if len(done.trials) < ENOUGH else ""
        shares = ", ".join(f"{name} {share:.0%}" for name, share in done.importances.items())
        console.print(f"importance{hint}: {shares}")
    console.print(
        f"best: trial {done.best.resolve().name}, mIoU {done.miou:.3f} on the val split; "
        f"{len(done.trials)} trials in {done.seconds:.0f} s. The best of many trials looks better on val than it is: "
        f"evaluate it on another split.\n"
        f"{out}/search.html shows which settings mattered, {out}/recipe.toml is the best recipe\n"
        f"next: pixelwise evaluate {quoted(f'{out}/best')} {options.data_words} --split test    "
        f"pixelwise predict {quoted(f'{out}/best')} IMAGES --out DIR",
        soft_wrap=True,
    )


def trial_line(row: TrialRow) -> str:
    params = "  ".join(f"{name} {value:.3g}" for name, value in row.params.items())
    miou = "  –  " if math.isnan(row.miou) else f"{row.miou:.3f}"
    return f"trial {row.number:04d}  mIoU {miou}  {row.state} after {row.epochs} epochs, {row.seconds:.0f} s  {params}"


def trials_table(done: SearchResult, width: int) -> Table:
    """The best trials first, with as many parts of the recipe as `width` characters hold, those that mattered most."""
    from rich.table import Table

    ranked = sorted(done.trials, key=lambda row: (math.isnan(row.miou), row.state != "done", -row.miou))
    names = [*done.importances, *(name for name in ranked[0].params if name not in done.importances)]
    title = "trials, the best first" + (f" ({SHOWN} of {len(ranked)})" if len(ranked) > SHOWN else "")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    columns = {
        "trial": [f"{row.number:04d}" for row in ranked[:SHOWN]],
        "mIoU": ["–" if math.isnan(row.miou) else f"{row.miou:.3f}" for row in ranked[:SHOWN]],
        "state": [row.state for row in ranked[:SHOWN]],
        **{name: [f"{row.params[name]:.3g}" for row in ranked[:SHOWN]] for name in names},
    }
    room = width
    for name, values in list(columns.items()):
        room -= max(map(len, [name, *values])) + 2
        if room < -2:  # nothing stands behind the last one
            del columns[name]
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    if left_out := [name for name in names if name not in columns]:
        table.caption = f"the files have the others: {', '.join(left_out)}"
        table.caption_justify = "left"
    return table
