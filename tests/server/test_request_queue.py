"""The queue before the model: bounded, and a place comes free when the work has really ended."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any, cast

import pytest
from starlette.requests import Request

from pixelwise.server.app import create_app
from pixelwise.server.error_responses import RequestError
from pixelwise.server.request_queue import ClientGone, RequestQueue
from pixelwise.server.server_settings import ServerSettings


class Asker:
    """A request whose client stays until `gone` is set."""

    def __init__(self) -> None:
        self.gone = False

    async def is_disconnected(self) -> bool:
        return self.gone


def request(asker: Asker | None = None) -> Request:
    return cast("Request", asker or Asker())


async def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


def test_the_queue_is_bounded_and_says_when_to_come_back() -> None:
    async def story() -> None:
        queue, go = RequestQueue(workers=1, queue=2, wait_s=10), threading.Event()
        waiting = [asyncio.create_task(queue.run(request(), go.wait)) for _ in range(3)]
        await until(lambda: queue.is_full)
        with pytest.raises(RequestError) as refused:
            await queue.run(request(), lambda: True)
        assert refused.value.status == 503
        assert int(refused.value.response().headers["Retry-After"]) >= 1
        go.set()
        assert await asyncio.gather(*waiting) == [True] * 3
        await until(lambda: queue.taken == 0)
        queue.close()

    asyncio.run(story())


def test_a_leaver_in_the_queue_frees_its_place_at_once() -> None:
    async def story() -> None:
        queue, go, leaver = RequestQueue(workers=1, queue=1, wait_s=10), threading.Event(), Asker()
        first = asyncio.create_task(queue.run(request(), go.wait))
        await until(lambda: queue.taken == 1)
        second = asyncio.create_task(queue.run(request(leaver), lambda: pytest.fail("nobody waits for this")))
        await until(lambda: queue.taken == 2)
        leaver.gone = True
        with pytest.raises(ClientGone):
            await second
        await until(lambda: queue.taken == 1)
        go.set()
        assert await first
        queue.close()

    asyncio.run(story())


def test_a_leaver_whose_work_has_begun_keeps_its_place_until_the_work_ends() -> None:
    async def story() -> None:
        queue, go, begun, leaver = (
            RequestQueue(workers=1, queue=0, wait_s=10),
            threading.Event(),
            threading.Event(),
            Asker(),
        )

        def work() -> bool:
            begun.set()
            return go.wait()

        task = asyncio.create_task(queue.run(request(leaver), work))
        await asyncio.to_thread(begun.wait)
        leaver.gone = True
        await asyncio.sleep(0.6)
        assert queue.is_full
        task.cancel()
        await asyncio.sleep(0.05)
        assert queue.is_full
        go.set()
        await until(lambda: queue.taken == 0)
        queue.close()

    asyncio.run(story())


def test_waiting_has_an_end() -> None:
    async def story() -> None:
        queue, go = RequestQueue(workers=1, queue=1, wait_s=0.1), threading.Event()
        first = asyncio.create_task(queue.run(request(), go.wait))
        await until(lambda: queue.taken == 1)
        with pytest.raises(RequestError) as refused:
            await queue.run(request(), lambda: True)
        assert refused.value.status == 503
        go.set()
        await first
        queue.close()

    asyncio.run(story())


def test_what_is_quick_does_not_wait_for_what_is_long() -> None:
    async def story() -> None:
        queue, go = RequestQueue(workers=1, queue=4, wait_s=10), threading.Event()
        long = asyncio.create_task(queue.run(request(), go.wait, aside=True))
        await until(lambda: queue.taken == 1)
        assert await queue.run(request(), lambda: "quick") == "quick"
        assert not long.done()
        go.set()
        assert await long
        queue.close()

    asyncio.run(story())


def test_at_the_door_a_full_server_reads_nothing(served_model: Any, tmp_path: Any) -> None:
    """An upload is refused before a byte of its body is asked for; whoever may not come in is told that first."""
    app = create_app(served_model, ServerSettings(runs=tmp_path))
    state = app.state.pixelwise
    state.queue.taken = state.queue.places

    def told(path: str, host: bytes = b"127.0.0.1") -> tuple[int, dict[bytes, bytes], dict[str, Any]]:
        messages: list[Any] = []

        async def receive() -> Any:
            raise AssertionError("the body was asked for")

        async def send(message: Any) -> None:
            messages.append(message)

        headers = [(b"host", host), (b"content-length", b"100000")]
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1), "root_path": "",
        }  # fmt: skip
        asyncio.run(app(scope, receive, send))
        return messages[0]["status"], dict(messages[0]["headers"]), json.loads(messages[1]["body"])

    for path in ("/v1/predict", "/v1/trace", "/v1/pixel"):
        status, headers, answer = told(path)
        assert status == 503
        assert int(headers[b"retry-after"]) >= 1
        assert answer["error"]["kind"] == "busy"
        assert f'route="{path}",status="503"}} 1' in state.monitor.text(0)
    assert told("/v1/predict", host=b"evil.example")[0] == 421
    state.queue.taken = 0
    state.queue.close()
