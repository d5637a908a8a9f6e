"""Limits on the size and duration of request bodies, on every route, with or without Content-Length.

Bodies are read here, before any route: uploads as they arrive, all others completely, within small limits. No route can
be made to hold more, and an incomplete request holds nothing but its own bytes.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixelwise.server.error_responses import RequestError, too_large, too_slow
from pixelwise.server.server_settings import ServerSettings

SMALL_BYTES = 64 * 1024  # of bodies that are not images: JSON, parsed on the event loop
SMALL_S = 10.0
MULTIPART_BYTES = 64 * 1024  # of a form, in addition to the image
UPLOADS = ("/v1/predict", "/v1/trace", "/v1/pixel", "/v1/objects")  # routes that take an image
BODY = "pixelwise.body"  # in an upload's scope: its unread body
IMAGES = "/v1/images/"  # …/truth and …/mask-values take a mask
LABELLED = "/v1/label/images/"  # …/edits takes a part of a mask
PHOTO = "/v1/label/upload"


def is_upload(scope: Scope) -> bool:
    """Whether the body is an image, a mask or a part of one, and may be large."""
    path: str = scope["path"].rstrip("/")
    ends = (path.startswith(IMAGES) and path.endswith(("/truth", "/mask-values"))) or is_edit(path)
    return scope["method"] == "POST" and (path in UPLOADS or path == PHOTO or ends)


def is_edit(path: str) -> bool:
    return path.startswith(LABELLED) and path.endswith("/edits")


class Limits:
    """ASGI middleware that limits bodies."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, arriving: ArrivingBodies) -> None:
        self.app, self.settings, self.arriving = app, settings, arriving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        upload = is_upload(scope)
        most = self.settings.max_bytes + MULTIPART_BYTES if upload else SMALL_BYTES
        headers = Headers(scope=scope)
        try:
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > most:
                raise self.over(upload)
            if upload:
                scope[BODY] = Body(receive, most, self.settings.read_s, self.arriving, self.over(True))
            elif length != "0" or "transfer-encoding" in headers:
                body = await Body(receive, most, SMALL_S, self.arriving, self.over(False)).read()
                receive = Replay(body, receive)
        except RequestError as refused:
            await refused.response()(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def over(self, upload: bool) -> RequestError:
        if upload:
            return too_large("The upload is too large", f"{self.settings.max_bytes // 2**20} MB")
        return RequestError(
            413, "too-large", f"The body is over {SMALL_BYTES // 1024} kB.", "See /docs for what this route takes."
        )


class Replay:
    """Replays a body that was read already, then reports whether the client is still connected."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.body: bytes | None = body
        self.receive = receive

    async def __call__(self) -> Message:
        if self.body is None:
            return await self.receive()
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}


@dataclass
class Body:
    """A body that is still arriving."""

    receive: Receive
    most: int  # bytes
    within_s: float
    arriving: ArrivingBodies
    over: RequestError  # the error if it is larger
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    began: float = 0.0
    task: asyncio.Task[object] | None = None
    is_given_up: bool = False

    async def read(self) -> bytes:
        """All of it.

        Raises:
            RequestError: too large, too slow, dropped to make room, or the client disconnected.
        """
        self.began, self.task = time.monotonic(), asyncio.current_task()
        with self.arriving.one_more(self):
            try:
                async with asyncio.timeout(self.within_s):
                    while await self.read_part():
                        pass
            except TimeoutError as error:
                raise too_slow(self.within_s) from error
            return b"".join(self.parts)

    async def read_part(self) -> bool:
        """Read one chunk. False if it was the last."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise RequestError(400, "left", "The client disconnected.")
        part = message.get("body", b"")
        if self.size + len(part) > self.most:
            raise self.over
        self.arriving.make_room(self, len(part))
        self.parts.append(part)
        return bool(message.get("more_body", False))


class ArrivingBodies:
    """The bodies that are arriving now, with a limit on their total bytes. Beyond it, the slowest is dropped: an
    incomplete upload never blocks a complete one."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self.bodies: dict[int, Body] = {}

    def one_more(self, body: Body) -> BodyCounter:
        return BodyCounter(self, body)

    def make_room(self, newest: Body, size: int) -> None:
        """Count `size` more bytes. Raises RequestError if no other body can be dropped for them."""
        self.bytes += size
        newest.size += size
        while self.bytes > self.most_bytes:
            others = [body for body in self.bodies.values() if body is not newest and body.size]
            if not others:
                raise RequestError(503, "busy", "Too many uploads at the same time.", "Try again in 1 s.", 1)
            now = time.monotonic()
            self.give_up(min(others, key=lambda body: body.size / (now - body.began + 0.1)))

    def give_up(self, body: Body) -> None:
        self.let_go(body)
        body.is_given_up = True
        body.parts.clear()
        if body.task is not None:
            body.task.cancel()

    def let_go(self, body: Body) -> None:
        if self.bodies.pop(id(body), None) is not None:
            self.bytes -= body.size


class BodyCounter:
    """Counts a body while it arrives; a dropped one ends with an error."""

    def __init__(self, arriving: ArrivingBodies, body: Body) -> None:
        self.arriving, self.body = arriving, body

    def __enter__(self) -> None:
        self.arriving.bodies[id(self.body)] = self.body

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.arriving.let_go(self.body)
        if self.body.is_given_up and isinstance(error, asyncio.CancelledError):
            if self.body.task is not None:
                self.body.task.uncancel()
            raise RequestError(503, "busy", "Too many uploads at the same time.", "Try again in 1 s.", 1)
