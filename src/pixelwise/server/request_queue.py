"""A bounded queue in front of the model: a few requests run, a few wait, all others are rejected with 503.

A request takes a place when it is admitted and frees it when its work has ended, not when its client disconnects: work
that has begun cannot be stopped, and freeing its place early would let disconnecting clients pile up work.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

from pixelwise.server.error_responses import RequestError, busy

Result = TypeVar("Result")
Image = TypeVar("Image")
LEAVER_POLL_S = 0.25


class ClientGone(Exception):
    """The client has disconnected; nobody will read an answer."""


class RequestQueue:
    """Runs `workers` requests at a time; at most `queue` wait. Work that takes many seconds has a thread of its own
    ("aside"); decoding has others, so that a slow image does not hold up the network."""

    def __init__(self, workers: int, queue: int, wait_s: float, decoders: int = 1) -> None:
        self.workers, self.places, self.wait_s = workers, workers + queue, wait_s
        self.taken = 0  # used on the event loop only
        self.seconds = 0.1  # running mean of the time that one request takes
        self.pool = ThreadPoolExecutor(workers, "pixelwise-work")
        self.decoding = ThreadPoolExecutor(decoders, "pixelwise-decode")
        self.aside = ThreadPoolExecutor(1, "pixelwise-aside")

    @property
    def is_full(self) -> bool:
        return self.taken >= self.places

    def refuse_when_full(self) -> None:
        if self.is_full:
            raise self.refusal()

    def refusal(self) -> RequestError:
        """The error when full, with the time after which the requests ahead should be done."""
        return busy(max(1, math.ceil(self.taken * self.seconds / self.workers)))

    async def run(self, request: Request, work: Callable[[], Result], *, aside: bool = False) -> Result:
        """The result of `work`, run on a thread.

        Args:
            aside: it takes many seconds; use the thread of its own.

        Raises:
            RequestError: 503 if full, or if it did not begin in time.
            Left: the client disconnected before it began.
        """
        self.refuse_when_full()
        self.taken += 1
        future = self.aside.submit(work) if aside else self.pool.submit(self.timed, work)
        return await self.last(request, future)

    async def run_decoded(
        self,
        request: Request,
        decode: Callable[[], Image],
        work: Callable[[Image], Result],
        aside: Callable[[Image], bool] = lambda _: False,
    ) -> Result:
        """As `run`, for work on an image that is decoded first. Both take one place together."""
        self.refuse_when_full()
        self.taken += 1
        first = self.decoding.submit(decode)
        try:
            image = await self.outcome(request, first)
        except BaseException:
            self.give_back_after(first)
            raise
        todo = partial(work, image)
        return await self.last(request, self.aside.submit(todo) if aside(image) else self.pool.submit(self.timed, todo))

    async def last(self, request: Request, future: Future[Result]) -> Result:
        self.give_back_after(future)
        return await self.outcome(request, future)

    async def outcome(self, request: Request, future: Future[Result]) -> Result:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.wait_s
        answer = asyncio.wrap_future(future)
        try:
            while True:
                done, _ = await asyncio.wait([answer], timeout=LEAVER_POLL_S)
                if done:
                    return answer.result()
                if await request.is_disconnected() and cancelled(future):
                    raise ClientGone
                if loop.time() > deadline and cancelled(future):
                    raise busy(max(1, math.ceil(self.seconds * self.places)))
        except asyncio.CancelledError:
            future.cancel()
            raise

    def timed(self, work: Callable[[], Result]) -> Result:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds += 0.1 * (time.perf_counter() - began - self.seconds)

    def give_back_after(self, future: Future[Any]) -> None:
        """Free the place when this has ended."""
        loop = asyncio.get_running_loop()

        def ended(_: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nothing is counted any more
                loop.call_soon_threadsafe(self.give_back)

        future.add_done_callback(ended)

    def give_back(self) -> None:
        self.taken -= 1

    def close(self) -> None:
        """Let running work end; cancel waiting work."""
        for pool in (self.pool, self.decoding, self.aside):
            pool.shutdown(wait=False, cancel_futures=True)


def cancelled(future: Future[Result]) -> bool:
    """Cancel it unless it has begun."""
    return future.cancel()
