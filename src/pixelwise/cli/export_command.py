"""export: the bundle of a finished run, in other forms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pixelwise.cli.shared_options import (
    app,
    console_of,
)

if TYPE_CHECKING:
    from pixelwise.bundle.weight_storage import Storage


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    out: Annotated[Path, typer.Option(help="The bundle to write.")],
    data_licence: Annotated[str, typer.Option(metavar="TEXT", help="Of the training data; noted in the bundle.")] = "not recorded; see where the data came from",
    weights: Annotated[str, typer.Option(help="How weights are stored: float32, float16 (half the file) or int8 (a quarter); the network computes in float32, as fast.")] = "float32",
    int8: Annotated[bool, typer.Option("--int8", help="Convolutions compute in int8, by ranges seen on training images: faster, a quarter of the file.")] = False,
    max_drop: Annotated[float, typer.Option(metavar="POINTS", min=0, help="Percentage points of mean IoU that --weights or --int8 may lose on the val split.")] = 0.5,
) -> None:  # fmt: skip
    """Write the bundle of a run's best epoch, checked against the network on real images.

    Example: pixelwise export my_run --out street.onnx --int8
    """
    from pixelwise.cli.terminal import TrainingView, work_bar
    from pixelwise.training.export_run import export as run_export

    console = console_of(None)
    view = TrainingView(console)
    with work_bar(console, "watching ranges") as progress:
        run_export(
            run, out, weights=cast("Storage", weights), int8=int8, max_drop=max_drop, data_licence=data_licence,
            tell=view.tell, progress=progress,
        )  # fmt: skip
