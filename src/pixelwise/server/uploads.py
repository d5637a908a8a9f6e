"""The body of an upload: its size is limited by `body_limits`, its pixels by `upload_decoder`.

The file name that a client sends is never used.
"""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request

from pixelwise.server.body_limits import BODY, Body
from pixelwise.server.server_state import State


class Upload(NamedTuple):
    """The body of a request as sent: an image, or a multipart form that contains one."""

    body: bytes
    content_type: str


async def read_upload(request: Request, state: State) -> Upload:
    """The body of the request.

    Raises:
        RequestError: the server is full, or the body is too large or too slow.
    """
    state.queue.refuse_when_full()  # before anything is read: rejecting must stay cheap
    body: Body = request.scope[BODY]
    return Upload(await body.read(), request.headers.get("content-type", ""))
