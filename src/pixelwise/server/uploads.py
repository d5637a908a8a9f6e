"""An upload, from its first byte to pixels: its body is bounded by `limits`, its pixels by `decoder`.

The name that a client gives a file is never used for anything.
"""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request

from pixelwise.server.body_limits import BODY, Body
from pixelwise.server.server_state import State


class Upload(NamedTuple):
    """A request's body as it was sent: an image, or a multipart form that holds one."""

    body: bytes
    content_type: str


async def read_upload(request: Request, state: State) -> Upload:
    """The body of the request.

    Raises:
        Refused: the server is full; nothing there; too large, or too slow.
    """
    state.gate.refuse_when_full()  # before anything is read: saying no must stay cheap
    body: Body = request.scope[BODY]
    return Upload(await body.read(), request.headers.get("content-type", ""))
