"""serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.server_options import AllowedHosts, Host, OpenPage, Port, QueueLength, Token, announcing
from pixelwise.cli.shared_options import EngineName, ModelName, Threads, app


@app.command()
def serve(
    model: ModelName,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    runs: Annotated[Path, typer.Option(help="Folder for the run directories of trainings started from the page.")] = Path("runs"),
    data: Annotated[list[Path] | None, typer.Option("--data", metavar="FOLDER", exists=True, file_okay=False, help="Folder of images, with or without masks, that the rooms of the page may read; can be repeated. [default: the data that MODEL was trained on]")] = None,
    allow_host: AllowedHosts = None,
    token: Token = None,
    queue: QueueLength = 8,
    engine: EngineName = "auto",
    threads: Threads = None,
    open_page: OpenPage = False,
) -> None:  # fmt: skip
    """Serve a model: a web page that explains every pixel, and a REST API.

    Open the printed address: its token allows this browser to start trainings and to read folders of this machine.
    Without the token, a browser on this machine can label images and inspect the model.

    With --data, the page opens at its images, and trains, evaluates and labels on them.

    Example: pixelwise serve my_run --open
    """
    from pixelwise.server.serve import serve as run_serve
    from pixelwise.server.server_settings import ServerSettings

    settings = ServerSettings(
        host=host, port=port, runs=runs, token=token, queue=queue, allowed_hosts=tuple(allow_host or ()),
        data=tuple(data or ()),
    )  # fmt: skip
    run_serve(model, settings, threads=threads, engine=engine, ready=announcing(open_page))
