"""serve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared_options import EngineName, ModelName, Threads, app, console_of


@app.command()
def serve(
    model: ModelName,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all. On any address but 127.0.0.1, every request needs the token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 8000,
    runs: Annotated[Path, typer.Option(help="Folder for the run directories of trainings started from the page.")] = Path("runs"),
    allow_host: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Accept this host name too, such as a reverse proxy's; every request then needs the token. Can be repeated.")] = None,
    token: Annotated[str | None, typer.Option(envvar="PIXELWISE_TOKEN", help="Access token: needed to train, to read runs and folders, and for every request from another machine. [default: random; part of the printed address]")] = None,
    queue: Annotated[int, typer.Option(min=0, help="Largest number of waiting requests; further ones get status 503.")] = 8,
    engine: EngineName = "auto",
    threads: Threads = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the web page in a browser.")] = False,
) -> None:  # fmt: skip
    """Serve a model: a web page that explains every pixel, and a REST API.

    Open the printed address: its token allows this browser to start trainings and to read folders of this machine.
    Without the token, a browser on this machine can label images and inspect the model.

    Example: pixelwise serve my_run --open
    """
    from pixelwise.server.serve import serve as run_serve
    from pixelwise.server.server_settings import ServerSettings

    console = console_of(None)

    def ready(addresses: Sequence[str]) -> None:
        first, *others = addresses
        lines = [f"Pixelwise is ready: {first}", *(f"   from other machines: {other}" for other in others)]
        lines.append(f"REST: {first.partition('?')[0]}docs   Stop: Ctrl-C")
        console.print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
        if open_page:
            import webbrowser

            webbrowser.open(first)

    settings = ServerSettings(
        host=host, port=port, runs=runs, token=token, queue=queue, allowed_hosts=tuple(allow_host or ())
    )  # fmt: skip
    run_serve(model, settings, threads=threads, engine=engine, ready=ready)
