"""serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared import EngineName, ModelName, Threads, app, console_of


@app.command()
def serve(
    model: ModelName,
    host: Annotated[str, typer.Option(help="Where to listen; other than this machine, a token is asked for.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    runs: Annotated[Path, typer.Option(help="Where trainings started from the page go.")] = Path("runs"),
    allow_host: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A further name under which the server may be called; can be repeated.")] = None,
    token: Annotated[str | None, typer.Option(envvar="PIXELWISE_TOKEN", help="To ask for on every request. [default: made up unless on 127.0.0.1]")] = None,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait; further ones are told to come back.")] = 8,
    engine: EngineName = "auto",
    threads: Threads = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:  # fmt: skip
    """Serve a model: the web page that shows every pixel, and a REST interface.

    Example: pixelwise serve my_run --open
    """
    from pixelwise.server.serve import serve as run_serve
    from pixelwise.server.settings import Settings

    console = console_of(None)

    def ready(address: str) -> None:
        console.print(
            f"Pixelwise is ready: {address}\nREST: {address.partition('?')[0]}docs   Stop: Ctrl-C", soft_wrap=True
        )
        if open_page:
            import webbrowser

            webbrowser.open(address)

    settings = Settings(
        host=host, port=port, runs=runs, token=token, queue=queue, allowed_hosts=tuple(allow_host or ())
    )  # fmt: skip
    run_serve(model, settings, threads=threads, engine=engine, ready=ready)
