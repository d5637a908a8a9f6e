"""train --find-lr: a learning rate range test."""

from __future__ import annotations

from pixelwise.cli.shared_options import console_of, reports_how_to_resume, write_json
from pixelwise.cli.train_options import TrainOptions, first_recipe


def run_find_rate(options: TrainOptions) -> None:
    """Try rising learning rates, print the suggestion, and write the plot."""
    from pixelwise.cli.terminal import TrainingView
    from pixelwise.errors import UsageError
    from pixelwise.training.distributed import is_first
    from pixelwise.training.find_learning_rate import find_rate

    if options.start_from:
        raise UsageError("--start-from is for one training: leave out --find-lr.")
    if options.budget_s or options.resume:
        raise UsageError("--find-lr trains no model: leave out --budget and --resume.")
    console = console_of(options.json_file, quiet=not is_first())
    with reports_how_to_resume(), TrainingView(console) as view:
        found = find_rate(
            options.data, options.out, first_recipe(options), skip_bad=options.skip_bad, device=options.device,
            tell=view.tell, progress=view.progress, **options.values,
        )  # fmt: skip
    write_json(options.json_file, {
        "suggestion": found.suggestion, "plot": str(found.plot),
        "rates": list(found.rates), "losses": list(found.losses),
    })  # fmt: skip
    console.print(
        f"tried {len(found.rates)} learning rates from {found.rates[0]:.1e} to {found.rates[-1]:.1e}; plot: {found.plot}\n"
        f"suggestion: --learning-rate {found.suggestion:.1e}    (the recipe has {found.own:.1e})",
        soft_wrap=True,
    )
