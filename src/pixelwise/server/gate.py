"""A bounded queue before the model: so many at work, so many waiting, and a clear no to the rest.

A place is taken when a request is let in and given back when its work has really ended, not when its client has left:
work that has begun cannot be stopped, and giving its place away would let a crowd of leavers pile work up.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import Request

from pixelwise.server.refusals import Refused, busy

Result = TypeVar("Result")
LEAVER_POLL_S = 0.25


class Left(Exception):
    """The client has gone; nobody will read an answer."""


class Gate:
    """`workers` at a time, at most `queue` waiting. What takes many seconds has one thread of its own, aside."""

    def __init__(self, workers: int, queue: int, wait_s: float) -> None:
        self.workers, self.places, self.wait_s = workers, workers + queue, wait_s
        self.taken = 0  # only ever touched on the event loop
        self.seconds = 0.1  # a running mean of how long one piece of work takes
        self.pool = ThreadPoolExecutor(workers, "pixelwise-work")
        self.aside = ThreadPoolExecutor(1, "pixelwise-aside")

    @property
    def is_full(self) -> bool:
        return self.taken >= self.places

    def refuse_when_full(self) -> None:
        if self.is_full:
            raise self.refusal()

    def refusal(self) -> Refused:
        """A no, with the time after which those who are before it should be done."""
        return busy(max(1, math.ceil(self.taken * self.seconds / self.workers)))

    async def run(self, request: Request, work: Callable[[], Result], *, aside: bool = False) -> Result:
        """The result of `work`, done on a thread.

        Args:
            aside: it takes many seconds; what is quick need not wait for it.

        Raises:
            Refused: 503 when full, or when it did not begin in time.
            Left: the client went away before it began.
        """
        self.refuse_when_full()
        self.taken += 1
        loop = asyncio.get_running_loop()
        future = self.aside.submit(work) if aside else self.pool.submit(self.timed, work)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self.give_back))
        deadline = loop.time() + self.wait_s
        answer = asyncio.wrap_future(future)
        try:
            while True:
                done, _ = await asyncio.wait([answer], timeout=LEAVER_POLL_S)
                if done:
                    return answer.result()
                if await request.is_disconnected() and cancelled(future):
                    raise Left
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

    def give_back(self) -> None:
        self.taken -= 1

    def close(self) -> None:
        """Let what has begun end; forget what has not."""
        for pool in (self.pool, self.aside):
            pool.shutdown(wait=True, cancel_futures=True)


class Readers:
    """How many uploads may arrive at a time, so that slow ones cannot fill the memory."""

    def __init__(self, most: int) -> None:
        self.most, self.now = most, 0

    def __enter__(self) -> None:
        if self.now >= self.most:
            raise Refused(503, "busy", "Too many uploads at a time.", "Try again in 1 s.", 1)
        self.now += 1

    def __exit__(self, *_: object) -> None:
        self.now -= 1


def cancelled(future: Future[Result]) -> bool:
    """Stop it unless it has begun."""
    return future.cancel()
