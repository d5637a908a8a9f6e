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
    host: Annotated[str, typer.Option(help="Where to listen; other than this machine, every request needs the token. 0.0.0.0: on every address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    runs: Annotated[Path, typer.Option(help="Where trainings started from the page go.")] = Path("runs"),
    allow_host: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A further name under which the server may be called, such as that of a proxy before it; every request needs the token then. Can be repeated.")] = None,
    token: Annotated[str | None, typer.Option(envvar="PIXELWISE_TOKEN", help="Proof of who may use this machine: trainings, runs and folders need it, and every request from elsewhere. [default: made up; it is in the address printed]")] = None,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait; further ones are told to come back.")] = 8,
    engine: EngineName = "auto",
    threads: Threads = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:  # fmt: skip
    """Serve a model: the web page that shows every pixel, and a REST interface.

    Open the address as it is printed: the token in it lets this browser start trainings and name folders of this
    machine. Without it, on this machine, images can be labelled and the model looked at.

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
