"""How much of a request's body is read, and for how long, on any route, whether it says its size or not.

Bodies are read here, before any route: those of uploads as they arrive, all others whole, within small bounds. So no
route can be made to hold more, and a request that is not whole holds nothing but its own bytes.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixelwise.server.error_responses import RequestError, too_large, too_slow
from pixelwise.server.server_settings import ServerSettings

SMALL_BYTES = 64 * 1024  # of what is not an image: JSON, which is read on the event loop
SMALL_S = 10.0
MULTIPART_BYTES = 64 * 1024  # of a form's own lines, beside the image
UPLOADS = ("/v1/predict", "/v1/trace", "/v1/pixel")  # routes that work on an image at once
BODY = "pixelwise.body"  # in an upload's scope: what is yet to be read
IMAGES = "/v1/images/"  # …/truth takes a mask


def is_upload(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["method"] == "POST" and (
        path in UPLOADS or (path.startswith(IMAGES) and path.rstrip("/").endswith("/truth"))
    )


class Limits:
    """ASGI middleware that bounds bodies."""

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
            return too_large("The upload is larger", f"{self.settings.max_bytes // 2**20} MB")
        return RequestError(
            413, "too-large", f"The body is over {SMALL_BYTES // 1024} kB.", "Send what /docs says for this route."
        )


class Replay:
    """What was read already, once more; then whether the client is still there."""

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
    """A body that has yet to arrive."""

    receive: Receive
    most: int  # bytes
    within_s: float
    arriving: ArrivingBodies
    over: RequestError  # what is said where it is larger
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    began: float = 0.0
    task: asyncio.Task[object] | None = None
    is_given_up: bool = False

    async def read(self) -> bytes:
        """All of it.

        Raises:
            Refused: too large, too slow, given up for want of room, or the client went away.
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
        """One piece. False when it was the last."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise RequestError(400, "left", "The client went away.")
        part = message.get("body", b"")
        if self.size + len(part) > self.most:
            raise self.over
        self.arriving.make_room(self, len(part))
        self.parts.append(part)
        return bool(message.get("more_body", False))


class ArrivingBodies:
    """The bodies that are arriving now. They may hold so many bytes in all; where more come, the one that arrives
    slowest is given up: half an upload never keeps a whole one out."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self.bodies: dict[int, Body] = {}

    def one_more(self, body: Body) -> BodyCounter:
        return BodyCounter(self, body)

    def make_room(self, newest: Body, size: int) -> None:
        """Count `size` bytes more. Raises Refused where nobody else could be given up for them."""
        self.bytes += size
        newest.size += size
        while self.bytes > self.most_bytes:
            others = [body for body in self.bodies.values() if body is not newest and body.size]
            if not others:
                raise RequestError(503, "busy", "Too many uploads at a time.", "Try again in 1 s.", 1)
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
    """While a body arrives it is counted; one that was given up ends with a refusal."""

    def __init__(self, arriving: ArrivingBodies, body: Body) -> None:
        self.arriving, self.body = arriving, body

    def __enter__(self) -> None:
        self.arriving.bodies[id(self.body)] = self.body

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.arriving.let_go(self.body)
        if self.body.is_given_up and isinstance(error, asyncio.CancelledError):
            if self.body.task is not None:
                self.body.task.uncancel()
            raise RequestError(503, "busy", "Too many uploads at a time.", "Try again in 1 s.", 1)
