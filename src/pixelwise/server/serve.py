"""`pixelwise serve`: open a model, listen, and say where."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import uvicorn

from pixelwise.errors import UsageError
from pixelwise.prediction.engine import AUTO
from pixelwise.prediction.image import load
from pixelwise.server.app import create_app
from pixelwise.server.settings import Settings

GRACE_S = 10  # for answers that are under way when the server is told to stop


def serve(
    model: str | Path,
    settings: Settings | None = None,
    *,
    threads: int | None = None,
    engine: str = AUTO,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve a model until told to stop (Ctrl-C, SIGTERM). Trainings that were started from the page go on.

    Args:
        model: a bundle file, a run directory, or the name of a built-in model.
        settings: where to listen, and the limits. Port 0 takes a free one.
        threads: that one prediction may use; None: one for each core that this process may use.
        engine: as `load` takes it.
        ready: called with the address to open once the server listens.

    Raises:
        UsageError: no such model, or the address cannot be used.
        BundleError: the model cannot be trusted or used.
    """
    asked = settings or Settings()
    listening = listen(asked)
    token = asked.token or (None if asked.is_local else secrets.token_urlsafe(24))
    final = replace(asked, token=token, port=listening.getsockname()[1])
    built_in = None if Path(model).exists() else str(model)
    app = create_app(load(model, threads, engine), final, built_in)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready(address(final))

        def handle_exit(self, sig: int, frame: object) -> None:
            app.state.pixelwise.stopping.set()  # live streams end, so that stopping need not wait for them
            super().handle_exit(sig, frame)  # type: ignore[arg-type]

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=15, limit_concurrency=256,
    )  # fmt: skip
    with listening:
        Server(config).run(sockets=[listening])


def listen(settings: Settings) -> socket.socket:
    """A bound socket. Raises UsageError where the address cannot be used."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise UsageError(
            f"{settings.host}:{settings.port} cannot be used: {error.strerror}. "
            "Name another --port; 0 takes a free one."
        ) from error
    return listening


def address(settings: Settings) -> str:
    """What to open in a browser."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    if settings.host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    token = f"/?token={settings.token}" if settings.token else "/"
    return f"http://{host}:{settings.port}{token}"
