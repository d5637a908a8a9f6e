"""train --find-lr: which learning rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.cli.shared_options import (
    says_how_to_go_on,
    write_json,
)

if TYPE_CHECKING:
    from rich.console import Console

    from pixelwise.training.recipe import Recipe


def find_learning_rate(
    data: Path, out: Path, recipe: Recipe | None, skip_bad: bool, values: dict[str, Any], device: str, console: Console,
    json_file: Path | None,
) -> None:  # fmt: skip
    """`train --find-lr`: try, suggest, plot."""
    from pixelwise.cli.terminal import TrainingView
    from pixelwise.training.find_learning_rate import find_rate

    with says_how_to_go_on(), TrainingView(console) as view:
        found = find_rate(data, out, recipe, skip_bad=skip_bad, device=device, tell=view.tell, progress=view.progress,
                          **values)  # fmt: skip
    write_json(json_file, {"suggestion": found.suggestion, "plot": str(found.plot),
                           "rates": list(found.rates), "losses": list(found.losses)})  # fmt: skip
    console.print(
        f"{len(found.rates)} learning rates from {found.rates[0]:.1e} to {found.rates[-1]:.1e} tried; plot: {found.plot}\n"
        f"suggestion: --learning-rate {found.suggestion:.1e}    (the recipe's: {found.own:.1e})",
        soft_wrap=True,
    )
