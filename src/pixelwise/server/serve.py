"""The verb `serve`: load a model, listen, and stop within seconds when asked to."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import uvicorn

from pixelwise.errors import UsageError
from pixelwise.heap import give_back, keep_little
from pixelwise.prediction.engines.engine import AUTO
from pixelwise.prediction.load_model import load
from pixelwise.server.app import create_app
from pixelwise.server.http_protocol import BoundedProtocol, most_connections, sweep
from pixelwise.server.labelling.labelling_state import LabellingOptions
from pixelwise.server.server_settings import ServerSettings, own_addresses, own_names
from pixelwise.server.server_state import State

GRACE_S = 7  # for answers in progress when the server stops
ARRIVE_S = 3.0  # of these, for requests that are still arriving
GONE_S = 9.0  # after which the process ends, whatever hangs
IMAGES_ROOM = "#room=images"  # opened first where the server was given images
IMPATIENT_S = 1.0  # the same after a second Ctrl-C
SWEEP_TICKS, TRIM_TICKS = 5, 20  # of a tenth of a second


class Server(uvicorn.Server):
    """uvicorn's server, which also closes slow connections, and stops in time."""

    def __init__(self, config: uvicorn.Config, state: State, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.state, self.ready = state, ready
        self.ending = ForcedExit(state)
        self.answered = 0  # requests answered when memory was last returned to the system
        self.trimming: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready()

    async def on_tick(self, counter: int) -> bool:
        if counter % SWEEP_TICKS == 0:
            sweep(cast("Iterable[BoundedProtocol]", self.server_state.connections), asyncio.get_running_loop().time())
        if counter % TRIM_TICKS == 0 and (answered := self.state.monitor.answers) != self.answered:
            self.answered = answered
            self.trimming = asyncio.create_task(asyncio.to_thread(give_back))
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        late = asyncio.get_running_loop().call_later(ARRIVE_S, self.cut_off_arriving)
        await super().shutdown(sockets)
        late.cancel()

    def cut_off_arriving(self) -> None:
        for one in list(cast("Iterable[BoundedProtocol]", self.server_state.connections)):
            if one.reading != "nothing":
                one.transport.abort()

    def handle_exit(self, sig: int, frame: object) -> None:
        self.state.stopping.set()  # live streams end, so that the server need not wait for them
        self.ending.within(IMPATIENT_S if self.should_exit and sig == signal.SIGINT else GONE_S, sig)
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


class ForcedExit:
    """Ensures that the process ends: a thread inside the network cannot be stopped, only abandoned."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.deadline, self.signal = float("inf"), 0
        self.watching = False

    def within(self, seconds: float, sig: int) -> None:
        """Called from a signal handler: does not wait, takes no lock."""
        self.deadline, self.signal = min(self.deadline, time.monotonic() + seconds), sig
        if not self.watching:
            self.watching = True
            threading.Thread(target=self.watch, name="pixelwise-ending", daemon=True).start()

    def watch(self) -> None:
        while time.monotonic() < self.deadline:
            time.sleep(0.05)
        self.state.decoders.kill()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):  # closed, or nobody reads it
                continue
        os._exit(128 + self.signal)


def serve(
    model: str | Path,
    settings: ServerSettings | None = None,
    *,
    threads: int | None = None,
    engine: str = AUTO,
    ready: Callable[[Sequence[str]], None] = lambda addresses: None,
    labels: LabellingOptions | None = None,
) -> None:
    """Serve a model until Ctrl-C or SIGTERM; the server then stops within 10 seconds. Trainings started from the page
    continue.

    Args:
        model: a bundle file, a run directory, or the name of a built-in model.
        settings: address and limits. Port 0 takes a free port.
        threads: of one prediction; None: one per core that this process may use.
        engine: as `load` takes it.
        ready: called with the addresses to open, that of this machine first, once the server listens.
        labels: what is labelled; the addresses are then those of the page that labels. None: nothing at first.

    Raises:
        UsageError: no such model or folder, or the address cannot be used.
        BundleError: the model is damaged or cannot be used.
        DataError, OutputError: the labelling folder is damaged, or cannot be created.
    """
    settings = settings or ServerSettings()
    keep_little()
    listening = listen(settings)
    final = replace(settings, token=settings.token or secrets.token_urlsafe(24), port=listening.getsockname()[1])
    built_in = None if Path(model).exists() else str(model)
    app = create_app(load(model, threads, engine), final, built_in, labels)
    BoundedProtocol.most = most_connections()
    config = uvicorn.Config(
        app, http=BoundedProtocol, ws="none", log_level="error", access_log=False, server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S, timeout_keep_alive=15,
    )  # fmt: skip
    state: State = app.state.pixelwise
    page = "/label" if labels is not None else "/"
    room = IMAGES_ROOM if labels is None and settings.data else ""
    with listening:
        state.labelling.start()
        for folder in state.data.all() if settings.data else []:
            if folder.origin == "data":
                state.galleries.open_ahead(folder.key, folder.path)
                break  # the one that the page shows first
        Server(config, state, lambda: ready(addresses(final, page, room))).run(sockets=[listening])


def listen(settings: ServerSettings) -> socket.socket:
    """A bound socket. Raises UsageError if the address cannot be used."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if settings.host == "::":  # also IPv4, which some systems exclude
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise UsageError(
            f"{settings.host}:{settings.port} cannot be used: {error.strerror}. "
            "Choose another --port; 0 takes a free port."
        ) from error
    return listening


def addresses(settings: ServerSettings, page: str = "/", room: str = "") -> list[str]:
    """The addresses of a page, and a room of it, to open in a browser; if the server listens on all, that of this
    machine comes first."""
    hosts = [settings.host]
    if settings.is_everywhere:
        seen = [one for one in own_addresses() if ":" not in one or settings.host == "::"]
        hosts = ["127.0.0.1", *seen, own_names()[0]]
    token = f"{page}?token={settings.token}" if settings.token else page
    return [f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{token}{room}" for host in hosts]
