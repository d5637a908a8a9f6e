"""Who is cut off when places or time run out: whoever owes the rest of a request for longest."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pixelwise.server.body_limits import ArrivingBodies, Body
from pixelwise.server.error_responses import RequestError, too_large
from pixelwise.server.http_protocol import BoundedProtocol, make_room


@dataclass
class Line:
    """A connection, as far as `make_room` looks at it."""

    since: float
    address: str = "192.0.2.1"
    owes: bool = True
    closed: list[str] = field(default_factory=list)

    @property
    def client(self) -> tuple[str, int]:
        return self.address, 1

    @property
    def transport(self) -> Line:
        return self

    def is_closing(self) -> bool:
        return bool(self.closed)

    def abort(self) -> None:
        self.closed.append("abort")


def cut_off(lines: list[Line]) -> Line | None:
    newcomer = Line(99.0)
    found = make_room(cast("list[BoundedProtocol]", [*lines, newcomer]), cast("BoundedProtocol", newcomer))
    gone = [line for line in lines if line.closed]
    assert not newcomer.closed
    assert found is bool(gone)
    return gone[0] if gone else None


def test_the_oldest_half_request_makes_room_and_no_request_that_is_being_answered_does() -> None:
    working, old, young = Line(0.0, owes=False), Line(1.0), Line(2.0)
    assert cut_off([working, young, old]) is old
    assert cut_off([Line(0.0, owes=False)]) is None


def test_an_address_with_many_half_requests_makes_room_before_one_with_few() -> None:
    patient = Line(0.0, "192.0.2.9")
    many = [Line(5.0 + i) for i in range(3)]
    assert cut_off([patient, *many]) is many[0]


def test_half_an_upload_never_keeps_a_whole_one_out() -> None:
    """Uploads may hold so much in all; the one that arrives slowest is given up, with a refusal."""

    async def story() -> None:
        arriving, over = ArrivingBodies(1000), too_large("It is larger", "2 kB")
        first, go = asyncio.Event(), asyncio.Event()

        async def slow() -> Any:
            if first.is_set():
                await go.wait()
            first.set()
            return {"type": "http.request", "body": b"0" * 600, "more_body": True}

        async def quick() -> Any:
            return {"type": "http.request", "body": b"0" * 900, "more_body": False}

        waiting = asyncio.create_task(Body(slow, 2000, 30, arriving, over).read())
        await first.wait()
        await asyncio.sleep(0.05)
        assert len(await Body(quick, 2000, 30, arriving, over).read()) == 900
        with pytest.raises(RequestError) as refused:
            await waiting
        assert refused.value.status == 503
        assert arriving.bytes == 0
        with pytest.raises(RequestError) as larger:
            await Body(quick, 800, 30, arriving, over).read()
        assert larger.value.status == 413
        assert arriving.bytes == 0
        first.clear()
        with pytest.raises(RequestError) as late:
            await Body(slow, 2000, 0.1, arriving, over).read()
        assert late.value.status == 408
        assert arriving.bytes == 0

    asyncio.run(story())
