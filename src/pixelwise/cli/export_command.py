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
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory; with --deepness or --web alone also a bundle (.onnx) or a built-in model.")],
    out: Annotated[Path | None, typer.Option(help="Bundle to write (.onnx). Required unless --deepness or --web is given.")] = None,
    data_licence: Annotated[str, typer.Option(metavar="TEXT", help="Licence of the training data, recorded in the bundle.")] = "not recorded; see where the data came from",
    weights: Annotated[str, typer.Option(help="Weight storage: float32, float16 (half the file size) or int8 (a quarter). Computation stays float32, at the same speed.")] = "float32",
    int8: Annotated[bool, typer.Option("--int8", help="Quantise convolutions to int8, calibrated on training images: faster, a quarter of the file size.")] = False,
    max_drop: Annotated[float, typer.Option(metavar="POINTS", min=0, help="Largest accepted loss of mean IoU on the val split through --weights or --int8, in percentage points.")] = 0.5,
    deepness: Annotated[Path | None, typer.Option("--deepness", metavar="FILE", help="Write the model for QGIS's plugin Deepness (.onnx): of the bundle that --out writes, or without --out of RUN's own.")] = None,
    web: Annotated[Path | None, typer.Option("--web", metavar="FOLDER", help="Write a web page by itself, which labels photos in the visitor's browser: a new folder for any web host, with the bundle that --out writes, or without --out RUN's own.")] = None,
) -> None:  # fmt: skip
    """Export a run's best epoch as a bundle, checked against the PyTorch network on real images.

    Example: pixelwise export my_run --out street.onnx --int8
    """
    from pixelwise.errors import UsageError

    if web is not None:
        from pixelwise.datasets.new_folder import require_new

        require_new(web)  # before minutes of work
    if out is None:
        if deepness is None and web is None:
            raise UsageError("--out is missing: the bundle to write, such as --out street.onnx.")
        refuse_without_out(weights, int8)
    else:
        export_bundle(run, out, data_licence, weights, int8, max_drop)
    if deepness is not None:
        from pixelwise.prediction.deepness_export import export_deepness

        made = export_deepness(run if out is None else out, deepness, run=run)
        console_of(None).print(str(made), soft_wrap=True, markup=False)
    if web is not None:
        from pixelwise.prediction.web_export import export_web

        folder = export_web(run if out is None else out, web)
        console_of(None).print(str(folder), soft_wrap=True, markup=False, highlight=False)


def refuse_without_out(weights: str, int8: bool) -> None:
    from pixelwise.errors import UsageError

    if int8 or weights != "float32":
        raise UsageError(
            "--int8 and --weights change the bundle that --out writes, and --out is missing. Name it, such as "
            "--out small.onnx: --deepness and --web then take the same network."
        )


def export_bundle(run: Path, out: Path, data_licence: str, weights: str, int8: bool, max_drop: float) -> None:
    from pixelwise.cli.terminal import TrainingView, work_bar
    from pixelwise.training.export_run import export as run_export

    console = console_of(None)
    view = TrainingView(console)
    with work_bar(console, "calibrating") as progress:
        run_export(
            run, out, weights=cast("Storage", weights), int8=int8, max_drop=max_drop, data_licence=data_licence,
            tell=view.tell, progress=progress,
        )  # fmt: skip
