"""demo: everything once, on built-in street scenes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.shared_options import (
    app,
    console_of,
    says_how_to_go_on,
)

if TYPE_CHECKING:
    pass


@app.command()
def demo(
    out: Annotated[Path | None, typer.Option(help="Where everything goes. [default: demo, then demo-2 …]")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    seed: Annotated[int, typer.Option()] = 0,
    open_page: Annotated[bool, typer.Option("--open", help="Then serve the model and open its page.")] = False,
) -> None:
    """Everything on built-in street scenes: render, train, evaluate, trace.

    Example: pixelwise demo
    """
    from pixelwise.cli.terminal import TrainingView
    from pixelwise.training.demo import demo as run_demo

    console = console_of(None)
    with says_how_to_go_on(), TrainingView(console) as view:
        done = run_demo(out, epochs=epochs, seed=seed, tell=view.tell, progress=view.progress)
    from pixelwise.tracing.trace import trace as run_trace

    console.print(done.report.to_rich())
    console.print(run_trace(done.model, done.image).to_rich())
    out = done.trained.run.parent
    console.print(
        f"\n{done.seconds:.0f} s in all. Where to look next:\n"
        f"  {out}/run/previews            the same street, labelled after every epoch\n"
        f"  pixelwise trace {out}/run {done.image} --pixel 240,300      one pixel's story\n"
        f"  pixelwise serve {out}/run --open                            the web page: ask any pixel why\n"
        f"  pixelwise predict {out}/run YOUR_PHOTO.jpg --out labelled   your own image\n"
        f"  pixelwise train YOUR_DATA --out YOUR_RUN                    your own data",
        soft_wrap=True,
    )
    if open_page:
        from pixelwise.cli.serve_command import serve

        serve(str(out / "run"), port=0, runs=out / "page_runs", open_page=True)
