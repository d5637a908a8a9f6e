"""One video file in progress: written under a temporary name until it is whole."""

from __future__ import annotations

import os
import secrets
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from pixelwise.errors import OutputError, UsageError
from pixelwise.images.files import remedy_for, shown
from pixelwise.records import Labels, Pixels

# In order of preference: H.264 plays everywhere. PyAV's wheels contain it as libx264.
OVERLAY_CODECS = (("libx264", "mp4"), ("libopenh264", "mp4"), ("libsvtav1", "mp4"), ("mpeg4", "mp4"))
OPTIONS = {
    "libx264": {"crf": "20", "preset": "veryfast"},
    "libsvtav1": {"crf": "30", "preset": "10"},
    "mpeg4": {"qscale": "3"},
    "ffv1": {"level": "3", "slices": "4"},
}


@cache
def overlay_codec() -> tuple[str, str]:
    """The encoder of the overlay, and its file extension: the first of OVERLAY_CODECS that this PyAV contains."""
    return next((name, ending) for name, ending in OVERLAY_CODECS if name in av.codecs_available)


class VideoFile:
    """A video that is being written. Without `finish` it is removed."""

    def __init__(
        self, path: Path, codec: str, size: tuple[int, int], rate: Fraction, time_base: Fraction, source: str
    ) -> None:
        """Open the file.

        Args:
            codec: "ffv1" for labels, any other for pictures.
            size: height and width of a frame.
            time_base: seconds per tick of the time stamps.
            source: the video that must not be overwritten.

        Raises:
            OutputError: the file cannot be written.
            UsageError: it would overwrite the source.
        """
        if os.path.realpath(path) == os.path.realpath(source):
            raise UsageError(f"{shown(path)}: the result would overwrite the video. Choose another folder for --out.")
        self.path, self.is_labels, self.time_base = path, codec == "ffv1", time_base
        self.part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        self.last_pts: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.container: Any = av.open(str(self.part), "w", format="matroska" if path.suffix == ".mkv" else "mp4")
            stream: Any = self.container.add_stream(codec, rate=rate, options=OPTIONS.get(codec, {}))
            # H.264 halves the resolution of colours, so sides must be even: odd ones repeat their last line.
            stream.height, stream.width = size if self.is_labels else ((side + 1) // 2 * 2 for side in size)
            stream.pix_fmt = "gray" if self.is_labels else "yuv420p"
            stream.codec_context.time_base = time_base
            stream.time_base = time_base
            self.stream = stream
        except OSError as error:
            raise self.unwritable(error) from error

    def add(self, picture: Pixels | Labels, pts: int) -> None:
        """One frame: uint8 [H, W, 3] RGB, or labels [H, W]. `pts`: its time, in ticks. Raises OutputError."""
        if not self.is_labels and (self.stream.height, self.stream.width) != picture.shape[:2]:
            down, right = self.stream.height - picture.shape[0], self.stream.width - picture.shape[1]
            picture = np.asarray(cv2.copyMakeBorder(picture, 0, down, 0, right, cv2.BORDER_REPLICATE), np.uint8)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "gray" if self.is_labels else "rgb24")
        frame.pts, frame.time_base = pts, self.time_base
        self.write(frame)

    def write(self, frame: Any) -> None:
        try:
            for packet in self.stream.encode(frame):
                self.container.mux(packet)
        except OSError as error:
            raise self.unwritable(error) from error

    def finish(self) -> None:
        """Flush the encoder and give the file its name. Raises OutputError."""
        self.write(None)
        try:
            self.container.close()
            with self.part.open("rb+") as file:
                os.fsync(file.fileno())
            self.part.replace(self.path)
        except OSError as error:
            raise self.unwritable(error) from error

    def unwritable(self, error: OSError) -> OutputError:
        reason = error.strerror or str(error)
        return OutputError(f"{shown(self.path)}: cannot be written ({reason}). {remedy_for(error, self.path)}")

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self.part.exists():
            self.stream = None
            self.part.unlink()
