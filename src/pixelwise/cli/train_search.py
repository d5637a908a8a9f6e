"""train --search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.cli.shared_options import console_of, says_how_to_go_on, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from pixelwise.training.recipe import Recipe
    from pixelwise.training.search.recipe_search import SearchResult
    from pixelwise.training.search.trials_report import TrialRow

SHOWN = 10  # trials in the terminal's table; the files have them all


def run_search(
    data: Path,
    out: Path,
    recipe: Recipe | None,
    trials: int,
    budget_s: float | None,
    fixed: Sequence[str],
    resume: bool,
    skip_bad: bool,
    values: dict[str, Any],
    track: Sequence[str],
    json_file: Path | None,
) -> None:
    """Search, and show what it came to."""
    from pixelwise.cli.terminal import TrainingView
    from pixelwise.errors import UsageError
    from pixelwise.training.recipe import Recipe
    from pixelwise.training.search.recipe_search import search
    from pixelwise.training.search.trials_report import ENOUGH

    if resume and fixed:
        raise UsageError("a search is resumed as it began: leave out everything that sets a part of the recipe.")
    console = console_of(json_file)
    with says_how_to_go_on(), TrainingView(console) as view:
        done = search(
            data, out, recipe if resume else recipe or Recipe(), trials=trials, budget_s=budget_s or math.inf,
            fixed=fixed, resume=resume, skip_bad=skip_bad, track=track, progress=view.progress, **values,
            tell_trial=lambda row: console.print(trial_line(row), soft_wrap=True),
        )  # fmt: skip
    write_json(json_file, {
        "best": str(done.best), "miou": done.miou, "recipe": vars(done.recipe), "seconds": done.seconds,
        "importances": done.importances, "trials": [row.to_json() for row in done.trials],
    })  # fmt: skip
    console.print(trials_table(done, console.width))
    if done.importances:
        hint = " (a hint: so few trials differ by chance)" if len(done.trials) < ENOUGH else ""
        console.print(
            f"what mattered{hint}: " + ", ".join(f"{name} {share:.0%}" for name, share in done.importances.items())
        )
    console.print(
        f"best: trial {done.best.resolve().name}, mIoU {done.miou:.3f} on the val split; "
        f"{len(done.trials)} trials in {done.seconds:.0f} s. On val the best of many looks better than it is: evaluate it "
        f"on another split.\n{out}/search.html shows what mattered, {out}/recipe.toml is the best recipe\n"
        f"next: pixelwise evaluate {out}/best {data} --split test    pixelwise predict {out}/best IMAGES --out DIR",
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
