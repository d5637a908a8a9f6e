"""The frames of a video file, stream or camera, upright and with their time stamps.

Shapes: H, W a frame's size.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from typing import Any

import av
import numpy as np

from pixelwise.errors import ImageError, first_line
from pixelwise.images.decode import MAX_PIXELS, oriented
from pixelwise.images.files import shown
from pixelwise.prediction.input_kinds import is_camera, is_live, is_stream
from pixelwise.records import Pixels

# Of local files. Playlists and scripts are not among them: they name other files and servers.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,ogg,flv,asf,mjpeg,h264,hevc,ivf,m4v,nut"
TIMEOUT_S = 20.0  # of a stream that sends nothing
KEPT_TIMES, LISTED_TIMES = 1000, 8  # of damaged frames: in the summary, and in its message
USUAL_RATE = Fraction(25)  # if a source does not state its own
TURNS = {0: 1, 90: 8, -90: 6, 180: 3, -180: 3}  # degrees counterclockwise → EXIF orientation
Frame = tuple[Pixels, int, Fraction]  # uint8 [H, W, 3] RGB; time stamp in ticks; seconds per tick


class Frames:
    """The frames of a source, in order. Close it."""

    def __init__(self, source: str) -> None:
        """Open a source.

        Raises:
            ImageError: it cannot be opened, holds no video, or its frames are over the pixel limit.
        """
        self.name = shown(source)
        self.decoded = 0
        self.damaged = 0
        self.damaged_at_s: list[float] = []  # of the first KEPT_TIMES, if known
        self.problem: str | None = None  # why the rest of the source is missing
        options = {}
        if not is_stream(source) and not is_camera(source):
            options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
        try:
            self.container: Any = av.open(
                source,
                format="v4l2" if is_camera(source) else None,
                container_options=options,
                timeout=TIMEOUT_S if is_stream(source) else None,
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            remedy = "Check the address." if is_stream(source) else "Copy it again, or convert it with ffmpeg."
            raise ImageError(f"{self.name}: cannot be opened as video ({reason_of(error)}). {remedy}") from error
        streams = self.container.streams.video
        if not streams:
            self.close()
            raise ImageError(f"{self.name}: contains no video.")
        self.stream: Any = streams[0]
        if not hasattr(self.stream, "width"):  # a stream without a decoder
            self.close()
            raise ImageError(f"{self.name}: this PyAV does not know its codec. Convert it to H.264 with ffmpeg.")
        if self.stream.width * self.stream.height > MAX_PIXELS:
            size = f"{self.stream.width}×{self.stream.height}"
            self.close()
            raise ImageError(f"{self.name}: its frames of {size} pixels are over the limit of {MAX_PIXELS:,}.")
        self.stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # in case they grow later
        self.stream.thread_type = "SLICE" if is_live(source) else "AUTO"
        self.rate: Fraction = Fraction(self.stream.average_rate or self.stream.guessed_rate or USUAL_RATE)
        self.expected = int(self.stream.frames or round(self.seconds_stated() * self.rate))  # 0: unknown

    def seconds_stated(self) -> float:
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        return float(self.container.duration or 0) / av.time_base

    def pictures(self) -> Generator[Frame]:
        """Frames until the source ends; `problem` then says why, unless it ended properly."""
        with closing(self.readable()) as readable:
            yield from self.timed(readable)

    def timed(self, readable: Iterator[Any]) -> Iterator[Frame]:
        """Each as an upright image, with its time."""
        last: int | None = None
        size: tuple[int, int] | None = None
        for frame in readable:
            time_base = Fraction(frame.time_base or self.stream.time_base or 1 / self.rate)
            pts = frame.pts
            if pts is None:  # as in a bare H.264 stream: numbered at the usual rate
                pts = 0 if last is None else last + round(1 / (self.rate * time_base))
            if last is not None and pts <= last:
                pts = last + 1  # a file must not go back in time
            last = pts
            if size is not None and (frame.height, frame.width) != size:
                frame = frame.reformat(width=size[1], height=size[0])  # the result's size is that of the first frame
            size = frame.height, frame.width
            image_HW3 = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
            turn = TURNS.get(frame.rotation, 1)
            self.decoded += 1
            yield oriented(image_HW3, turn) if turn != 1 else image_HW3, pts, time_base

    def readable(self) -> Generator[Any]:
        """The frames that can be decoded."""
        cut_off = False
        try:
            with closing(self.container.demux(self.stream)) as packets:
                for packet in packets:
                    cut_off |= packet.is_corrupt
                    try:
                        frames = packet.decode()
                    except (av.InvalidDataError, av.error.PatchWelcomeError):
                        self.note_damage(packet.pts, packet.time_base)
                        continue
                    for frame in frames:
                        if frame.is_corrupt:
                            self.note_damage(frame.pts, frame.time_base)
                        yield frame
        except (av.FFmpegError, OSError) as error:
            self.problem = ended_early(error)
            return
        if cut_off and not self.damaged:
            self.damaged = 1

    def note_damage(self, pts: int | None, time_base: Fraction | None) -> None:
        """Count a frame that is damaged or could not be decoded, and keep its time in seconds."""
        self.damaged += 1
        base = time_base or self.stream.time_base
        if pts is not None and base and len(self.damaged_at_s) < KEPT_TIMES:
            self.damaged_at_s.append(round(float(pts * base), 3))

    def damage_message(self) -> str:
        """ "3 of its frames are damaged or truncated, at 0.80, 1.20 and 1.24 s"."""
        number = "1 of its frames is" if self.damaged == 1 else f"{self.damaged:,} of its frames are"
        times = [f"{at_s:.2f}" for at_s in self.damaged_at_s[:LISTED_TIMES]]
        at = f", at {', '.join(times)}{' …' if self.damaged > len(times) else ''} s" if times else ""
        return f"{number} damaged or truncated{at}"

    def check_end(self, first_s: float, last_s: float) -> None:
        """Set `problem` if the source ended before its stated duration, or frames could not be decoded."""
        stated_s, seen_s = self.seconds_stated(), last_s - first_s + float(1 / self.rate)
        if stated_s - seen_s > max(2 / float(self.rate), 0.02 * stated_s):
            self.problem = (
                f"ended after {seen_s:.2f} of the {stated_s:.2f} s that it states. The video is truncated; every "
                "decoded frame is kept."
            )
            if self.damaged:
                self.problem = f"{self.damage_message()}. It {self.problem}"
        elif self.damaged:
            self.problem = f"{self.damage_message()}. Every decoded frame is kept."

    def close(self) -> None:
        self.container.close()


def newest(frames: Frames) -> Generator[Frame]:
    """Of a live source, the newest frame whenever the caller is ready for one. Others are dropped."""
    changed = threading.Condition()
    waiting: list[Frame] = []
    ended = stopped = False

    def read() -> None:
        nonlocal ended
        try:
            for frame in frames.pictures():
                with changed:
                    waiting[:] = [frame]
                    changed.notify()
                    if stopped:
                        break
        except Exception as error:  # whatever it is, the caller must not wait forever
            frames.problem = ended_early(error)
        finally:
            with changed:
                ended = True
                changed.notify()

    reader = threading.Thread(target=read, name="pixelwise-frames", daemon=True)
    reader.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: waiting or ended)
                if not waiting:
                    return
                frame = waiting.pop()
            yield frame
    finally:
        stopped = True
        reader.join(TIMEOUT_S + 5)  # longer than a read can take


def ended_early(error: Exception) -> str:
    return f"ended early: {reason_of(error)}. The video is truncated; every decoded frame is kept."


def reason_of(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or first_line(error))
