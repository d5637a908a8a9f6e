"""Decoding of uploads in processes that can be killed: the server's side of `upload_decoder`."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import struct
import subprocess
import sys
import threading
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.images.pixel_size import PixelSize
from pixelwise.records import RGB, Bands
from pixelwise.server.error_responses import RequestError
from pixelwise.server.server_settings import ServerSettings
from pixelwise.server.upload_decoder import Decoded, seconds_for, write_message

COMMAND = (sys.executable, "-P", "-m", "pixelwise.server.upload_decoder")
START_S = 60.0  # extra time for the first image of a process, which is still starting


class DecoderPool:
    """A fixed number of processes, each decoding one image at a time. Thread-safe."""

    def __init__(self, count: int, settings: ServerSettings) -> None:
        self.settings = settings
        self.every: list[DecoderProcess] = [DecoderProcess() for _ in range(count)]
        self.idle: queue.LifoQueue[DecoderProcess] = queue.LifoQueue()
        for one in self.every:
            self.idle.put(one)

    def start(self) -> None:
        """Start one process now, so that the first upload does not wait; others start when they are needed."""
        self.every[-1].start()

    def decode(
        self, body: bytes, content_type: str, *, mask: bool = False, bands: Bands = RGB, slice_number: int | None = None
    ) -> Decoded:
        """The body of an upload → its array, of these bands. Waits for an idle process.

        `slice_number`: of a volume, from 0; None: the middle one.

        Raises:
            RequestError: not an image of a supported format, of other bands, too large, damaged, or too slow to decode.
        """
        one = self.idle.get()
        try:
            wanted = {"mask": mask, "bands": bands.to_json(), "slice": slice_number}
            return one.decode(body, content_type, wanted, self.settings)
        finally:
            self.idle.put(one)

    def kill(self) -> None:
        """End every process at once."""
        for one in self.every:
            one.kill()


class DecoderProcess:
    """One process, started on first use and again after it was killed."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.is_over = False  # the server is stopping: start nothing more
        self.has_answered = False

    def start(self) -> subprocess.Popen[bytes]:
        if self.process is None or self.process.poll() is not None:
            self.kill_process()
            if self.is_over:
                raise RequestError(503, "stopping", "The server is stopping.", "Try again later.")
            self.has_answered = False
            self.process = subprocess.Popen(
                COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
            )
        return self.process

    def decode(self, body: bytes, content_type: str, wanted: dict[str, Any], settings: ServerSettings) -> Decoded:
        """As `DecoderPool.decode`. `wanted`: whether it is a mask, and the bands and slice of an image."""
        process = self.start()
        limit_s = seconds_for(0) + seconds_for(settings.max_pixels)  # if it does not end by itself before
        late = threading.Timer(limit_s + (0.0 if self.has_answered else START_S), process.kill)
        late.daemon = True
        late.start()
        ask = {
            "content_type": content_type[:1000], **wanted, "max_bytes": settings.max_bytes,
            "max_pixels": settings.max_pixels,
        }  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            write_message(process.stdin, ask, memoryview(body))
            process.stdin.flush()
            header, array = read_answer(process.stdout)
        except (OSError, EOFError, ValueError) as error:  # it was killed, or it crashed
            self.kill_process()
            raise undecodable() from error
        except BaseException:  # part of an answer may be left in the pipe
            self.kill_process()
            raise
        finally:
            late.cancel()
        self.has_answered = True
        if refused := header.get("refused"):
            status, kind, message, remedy = refused
            raise RequestError(status, kind, message, remedy)
        pixel = None if header["pixel"] is None else PixelSize(*header["pixel"])
        return Decoded(array, header["format"], header["size"], header["sha256"], pixel, header["absent"])

    def kill(self) -> None:
        self.is_over = True
        if self.process is not None:
            self.process.kill()

    def kill_process(self) -> None:
        if self.process is not None:
            self.process.kill()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # closing flushes, and nobody reads
                        pipe.close()
            self.process.wait()
            self.process = None


def environment() -> dict[str, str]:
    """One thread per process: the processes run in parallel already."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def read_answer(source: IO[bytes]) -> tuple[dict[str, Any], NDArray[Any]]:
    """Raises EOFError if the process ended before it answered."""
    text = whole(source, struct.unpack("<I", whole(source, 4))[0])
    header: dict[str, Any] = json.loads(text)
    if "refused" in header:
        return header, np.empty(0, np.uint8)
    array = np.empty(header["shape"], np.dtype(header["dtype"]))
    target, filled = array.data.cast("B") if array.size else memoryview(bytearray()), 0
    while filled < len(target):
        got = source.readinto(target[filled:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        filled += got
    return header, array


def whole(source: IO[bytes], size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise EOFError
    return data


def undecodable() -> RequestError:
    message = "The image cannot be decoded: the decoder crashed or took too long."
    return RequestError(422, "image-undecodable", message, "Save it again as PNG or JPEG.")
