"""label: from photos to masks to a model, on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.server_options import AllowedHosts, Host, OpenPage, Port, QueueLength, Token, announcing
from pixelwise.cli.shared_options import EngineName, Threads, app


@app.command()
def label(
    photos: Annotated[Path | None, typer.Argument(metavar="[PHOTOS]", help="Folder of images, or a dataset whose masks are taken as first labels; never changed. [default: the page asks]")] = None,
    out: Annotated[Path | None, typer.Option(metavar="LABELS", help="Folder for masks and copies of labelled images: a dataset for `pixelwise train`. Opened again if it exists. [default: PHOTOS-labels, beside PHOTOS]")] = None,
    classes: Annotated[str | None, typer.Option(metavar="NAME[,NAME…]", help="Classes of a new labelling folder. [default: those of PHOTOS if it is a dataset; the page adds others]")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Model that assists and labels photos in advance: a bundle (.onnx), a run directory, or a built-in model. [default: the last one chosen on the page]")] = None,
    click_model: Annotated[tuple[Path, Path] | None, typer.Option(metavar="ENCODER DECODER", help="Segment Anything model that finds the object at a click: two ONNX files. [default: none]")] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Name in labels.jsonl, and for others who label in the same folder. [default: this account's]")] = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    runs: Annotated[Path | None, typer.Option(help="Folder for the run directories of trainings. [default: LABELS/.labelling/runs]")] = None,
    allow_host: AllowedHosts = None,
    token: Token = None,
    queue: QueueLength = 8,
    engine: EngineName = "auto",
    threads: Threads = None,
    open_page: OpenPage = False,
) -> None:  # fmt: skip
    """Label images on a web page: from photos to masks to a model.

    Each stroke is saved within a second to LABELS, a dataset that `check` and `train` read.

    Example: pixelwise label my_photos --classes road,sky --open
    """
    from pixelwise.server.labelling.labelling_state import LabellingOptions
    from pixelwise.server.serve import serve
    from pixelwise.server.server_settings import ServerSettings

    settings = ServerSettings(
        host=host, port=port, token=token, queue=queue, allowed_hosts=tuple(allow_host or ()),
        runs=runs or ServerSettings().runs,
    )  # fmt: skip
    names = tuple(name.strip() for name in (classes or "").split(",") if name.strip())
    options = LabellingOptions(photos, out, names, model is not None, click_model, user, keeps_runs=runs is None)
    serve(model or "street", settings, threads=threads, engine=engine, ready=announcing(open_page), labels=options)
