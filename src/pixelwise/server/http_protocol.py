"""Limits on connections: how much a client may send before its request is complete, and how slowly it may read.

uvicorn has no such limits: an endless header grows in memory, an incomplete request keeps its connection forever, an
unread answer stays. Here every connection has limits in bytes and in time, and there is always room for one more: when
all connections are taken, the one whose request has been incomplete for longest is closed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MOST_HEADER_BYTES = 64 * 1024  # of one request: request line and all headers
MOST_HEADERS = 100
MOST_URL_BYTES = 16 * 1024
MOST_WAITING = 16  # pipelined requests before the first is answered
MOST_FRAMING_BYTES = 64 * 1024  # chunk sizes, extensions and trailers, in addition to the size of the body
PIECE_BYTES = 16 * 1024  # given to the parser at a time; limits are checked in between

HEADERS_S = 10.0  # from a request's first byte to the end of its headers
IDLE_S = 15.0  # between requests, and before the first
BODY_S = 60.0  # from the end of the headers to the end of the body, on any route
DRAIN_S = 5.0  # for the rest of a body after the answer was sent
STALL_S = 10.0  # within which a client must read some of its answer
SLOWEST_READER = 8 * 1024  # bytes per second that it reads on average
MOST_UNREAD_BYTES = 256 * 2**20  # of all answers that clients have not read

Reading = Literal["nothing", "headers", "body"]


class CountingTransport:
    """A transport that counts the bytes written, to tell whether a client still reads."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport, self.written = transport, 0

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self.transport.write(data)

    @property
    def unread(self) -> int:
        return self.transport.get_write_buffer_size()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


class LimitExceeded(Exception):
    """Raised in a callback of the parser, which then stops."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits. `most` is the number of connections in total."""

    most = 400

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.wire = CountingTransport(transport)
        self.reading: Reading = "nothing"
        self.since = self.loop.time()  # when `reading` last changed
        self.sent_bytes = 0  # of headers, before they are parsed
        self.named = 0  # bytes of parsed headers
        self.of_body = self.body_bytes = self.framing_bytes = 0
        self.refusal = (400, "Invalid HTTP request received.")
        self.read_so_far: tuple[float, int] | None = None  # (when, bytes taken by the client)
        super().connection_made(cast("asyncio.Transport", self.wire))
        if len(self.connections) > self.most and not make_room(
            cast("Iterable[BoundedProtocol]", self.connections), self
        ):
            self.turn_away(503, "The server has too many connections. Try again in 1 s.", b"retry-after: 1\r\n")

    # ── reading ──

    def data_received(self, data: bytes) -> None:
        for begin in range(0, len(data), PIECE_BYTES):
            if self.transport.is_closing():
                return
            piece = data[begin : begin + PIECE_BYTES]
            self.of_body = 0
            if self.reading == "headers":
                self.sent_bytes += len(piece)
            super().data_received(piece)
            if self.reading == "body":
                self.framing_bytes += max(len(piece) - self.of_body, 0)
                if self.framing_bytes > MOST_FRAMING_BYTES + self.body_bytes:
                    self.turn_away(400, "The chunks of the body are too small.")
            elif self.reading == "headers" and self.sent_bytes > MOST_HEADER_BYTES:
                self.turn_away(431, f"The headers are over {MOST_HEADER_BYTES // 1024} kB.")

    def now_reading(self, what: Reading) -> None:
        self.reading, self.since = what, self.loop.time()
        self.sent_bytes = self.body_bytes = self.framing_bytes = 0

    def on_message_begin(self) -> None:
        self.now_reading("headers")
        self.named = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if len(self.url) + len(url) > MOST_URL_BYTES:
            self.refusal = 414, f"The address is over {MOST_URL_BYTES // 1024} kB."
            raise LimitExceeded
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.named += len(name) + len(value)  # trailers are included
        if len(self.headers) >= MOST_HEADERS or self.named > MOST_HEADER_BYTES:
            self.refusal = (
                431,
                f"Over {MOST_HEADERS} headers, or headers over {MOST_HEADER_BYTES // 1024} kB.",
            )
            raise LimitExceeded
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MOST_WAITING:
            self.refusal = 400, f"The client sent over {MOST_WAITING} requests before the first was answered."
            raise LimitExceeded
        self.now_reading("body")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.of_body += len(body)
        self.body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.now_reading("nothing")
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    # ── ending ──

    @property
    def is_working(self) -> bool:
        """A request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def owes(self) -> bool:
        """The client has not sent a complete request, or is idle after an answer."""
        return self.reading != "nothing" or not self.is_working

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn has one message for all faults
        self.turn_away(*self.refusal)

    def turn_away(self, status: int, message: str, header: bytes = b"") -> None:
        """Send an error, unless an answer has begun, and close."""
        if self.transport.is_closing():
            return
        if not (self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete):
            head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n" + header
            body = message.encode()
            self.transport.write(STATUS_LINE[status] + head + b"content-length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()

    def shutdown(self) -> None:
        """The server stops: running requests may end, waiting connections are closed."""
        if not self.is_working and self.wire.unread:
            self.transport.close()  # an answer is still being sent
        elif not self.is_working:
            self.transport.abort()
        else:
            super().shutdown()

    def cut_off_when_late(self, now: float) -> None:
        """Close a connection that takes too long. Called twice a second."""
        waited = now - self.since
        if self.reading == "headers" and waited > HEADERS_S:
            self.turn_away(408, f"The headers took longer than {HEADERS_S:.0f} s.")
        elif self.reading == "body" and waited > (BODY_S if self.is_working else DRAIN_S):
            self.transport.abort()
        elif self.reading == "nothing" and not self.is_working and waited > IDLE_S and not self.wire.unread:
            self.transport.close()
        elif self.has_stalled(now):
            self.transport.abort()

    def has_stalled(self, now: float) -> bool:
        """Has the client stopped reading its answer?"""
        unread = self.wire.unread
        if not unread:
            self.read_so_far = None
            return False
        taken = self.wire.written - unread
        if self.read_so_far is None:
            self.read_so_far = now, taken
        when, before = self.read_so_far
        if now - when < STALL_S:
            return False
        self.read_so_far = now, taken
        return taken - before < SLOWEST_READER * (now - when)


def make_room(connections: Iterable[BoundedProtocol], newcomer: BoundedProtocol) -> bool:
    """Close one connection without a complete request. False if there is none.

    Addresses with many such connections come first; of their connections, the oldest.
    """
    owing = [one for one in connections if one is not newcomer and one.owes and not one.transport.is_closing()]
    if not owing:
        return False
    of_address = Counter(one.client and one.client[0] for one in owing)
    first = min(owing, key=lambda one: (-of_address[one.client and one.client[0]], one.since))
    first.transport.abort()
    return True


def sweep(connections: Iterable[BoundedProtocol], now: float) -> None:
    """Close connections that take too long; if too much is unread in total, also those with the most unread bytes."""
    everyone = list(connections)
    for one in everyone:
        if not one.transport.is_closing():
            one.cut_off_when_late(now)
        elif one.has_stalled(now):  # closed, but its answer is not being read
            one.transport.abort()
    unread = sum(one.wire.unread for one in everyone)
    for one in sorted(everyone, key=lambda one: one.wire.unread, reverse=True):
        if unread <= MOST_UNREAD_BYTES:
            break
        unread -= one.wire.unread
        one.transport.abort()


def most_connections() -> int:
    """The number of connections that leaves enough file descriptors for everything else."""
    try:
        import resource

        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except ImportError:  # Windows has no such limit
        return 400
    return 400 if files == resource.RLIM_INFINITY else max(32, min(400, files // 2))
