"""demo: every step once, on built-in street scenes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.shared_options import (
    app,
    console_of,
    reports_how_to_resume,
)

if TYPE_CHECKING:
    pass


@app.command()
def demo(
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for data, run and results. [default: demo, or demo-2, demo-3 … if it exists]"),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    seed: Annotated[int, typer.Option(help="Random seed of the scenes and the training.")] = 0,
    open_page: Annotated[
        bool, typer.Option("--open", help="Afterwards, serve the model and open the web page.")
    ] = False,
) -> None:
    """Try everything on built-in street scenes: render, train, evaluate, trace.

    Example: pixelwise demo
    """
    from pixelwise.cli.terminal import TrainingView
    from pixelwise.training.demo import demo as run_demo

    console = console_of(None)
    with reports_how_to_resume(), TrainingView(console) as view:
        done = run_demo(out, epochs=epochs, seed=seed, tell=view.tell, progress=view.progress)
    from pixelwise.tracing.trace import trace as run_trace

    console.print(done.report.to_rich())
    console.print(run_trace(done.model, done.image).to_rich())
    out = done.trained.run.parent
    console.print(
        f"\n{done.seconds:.0f} s in total. Next:\n"
        f"  {out}/run/previews            the same street, labelled after every epoch\n"
        f"  pixelwise trace {out}/run {done.image} --pixel 240,300      why one pixel got its label\n"
        f"  pixelwise serve {out}/run --open                            the web page: click any pixel\n"
        f"  pixelwise predict {out}/run YOUR_PHOTO.jpg --out labelled   your own image\n"
        f"  pixelwise train YOUR_DATA --out YOUR_RUN                    your own data",
        soft_wrap=True,
    )
    if open_page:
        from pixelwise.cli.serve_command import serve

        serve(str(out / "run"), port=0, runs=out / "page_runs", open_page=True)
