"""What `serve` and `label` share: the options of the server, and how its addresses are printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from pixelwise.cli.shared_options import console_of

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all. On any address but 127.0.0.1, every request needs the token.")]  # fmt: skip
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")]
AllowedHosts = Annotated[list[str] | None, typer.Option("--allow-host", metavar="NAME", help="Accept this host name too, such as a reverse proxy's; every request then needs the token. Can be repeated.")]  # fmt: skip
Token = Annotated[str | None, typer.Option(envvar="PIXELWISE_TOKEN", help="Access token: needed to train, to label, to read runs and folders, and for every request from another machine. [default: random; part of the printed address]")]  # fmt: skip
QueueLength = Annotated[int, typer.Option("--queue", min=0, help="Largest number of waiting requests; further ones get status 503.")]  # fmt: skip
OpenPage = Annotated[bool, typer.Option("--open", help="Open the web page in a browser.")]


def announcing(open_page: bool) -> Callable[[Sequence[str]], None]:
    """A function that prints the addresses of a server that is ready, and opens the first one if asked to."""
    console = console_of(None)

    def ready(addresses: Sequence[str]) -> None:
        first, *others = addresses
        lines = [f"Pixelwise is ready: {first}", *(f"   from other machines: {other}" for other in others)]
        server = "/".join(first.split("/")[:3])
        lines.append(f"REST: {server}/docs   Stop: Ctrl-C")
        console.print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)
        if open_page:
            import webbrowser

            webbrowser.open(first)

    return ready
