"""Video files, streams and cameras → a video under its labels, a video of the labels, and what is in them as JSON.

Frames keep their time stamps, whatever the frame rate does. Frames are turned upright as their file says.

    NAME.overlay.mp4   the frames under their labels, as H.264 (or what this PyAV can write), without sound
    NAME.masks.mkv     class ids as grey levels, without loss (FFV1); times to the millisecond
    NAME.json          frames, seconds, each class's share of all pixels, and what was wrong

Needs the extra `video` (PyAV). Shapes: H, W a frame's size; C classes; h, w the size of the scores.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import numpy as np

from pixelwise.errors import ImageError, UsageError
from pixelwise.images.files import shown, utf8, write_whole
from pixelwise.prediction.in_memory import run_bounded
from pixelwise.prediction.input_kinds import is_live, name_of
from pixelwise.prediction.load_model import Model
from pixelwise.prediction.manifest import locked, make_folder
from pixelwise.prediction.outputs import STATE
from pixelwise.prediction.overlay import overlay
from pixelwise.prediction.video.read_video import Frames, newest
from pixelwise.prediction.video.write_video import VideoFile, overlay_codec
from pixelwise.records import Labels, Scores

FORGOTTEN_S = 2.0  # after a gap so long, or a jump back, smoothing starts over


@dataclass(frozen=True)
class VideoSummary:
    """What became of a video."""

    file: str
    frames: int
    dropped: int  # frames of a live source that came while others were labelled
    seconds: float  # of video
    took_s: float
    width: int
    height: int
    shares: dict[str, float]  # of all pixels of all frames, in class order
    smooth_s: float
    problem: str | None  # why not all of it was labelled
    stopped: bool  # by Ctrl-C
    model: str
    overlay: str | None
    masks: str | None
    damaged: int = 0  # frames that are damaged, or could not be decoded
    damaged_at_s: tuple[float, ...] = ()  # times in the source of the first of them, as far as they are known

    @property
    def exit_code(self) -> int:
        """1 where part is missing, 130 after Ctrl-C: a script that goes on must not take a part for the whole."""
        return 130 if self.stopped else 1 if self.problem else 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        rate = f", {self.frames / self.took_s:.1f} frames/s" if self.took_s > 0 else ""
        text = (
            f"{self.file}: {self.frames:,} frames, {self.seconds:.1f} s of video, labelled in {self.took_s:.1f} s{rate}"
        )
        if self.dropped:
            text += f"; {self.dropped:,} frames came while others were labelled and were left out"
        return f"{text}\n{self.file}: {self.problem}" if self.problem else text


def predict_video(
    model: Model,
    source: str | Path,
    out: Path | str,
    *,
    write: tuple[str, ...] = ("overlay", "masks"),
    smooth_s: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> VideoSummary:
    """Label a video: write an overlay video, a mask video, and a JSON summary into `out`.

    Ctrl-C ends it early; all frames labelled so far are kept. Two processes cannot write to one `out`.

    Args:
        model: an open model.
        source: a file, a stream URL (rtsp://, http:// …) or a camera (/dev/video0). Of a live source, the newest frame
            is labelled and the frames in between are dropped.
        out: folder for the results, created if it does not exist.
        write: what to write: "overlay", "masks" or both.
        smooth_s: time constant in seconds of an exponential moving average of the scores. 0: off.
        progress: called with (frames done, total, or 0 if the total is unknown).

    Returns:
        VideoSummary: frames, seconds, each class's share of all pixels (0–1), and what kept it from being complete.

    Raises:
        UsageError: unknown `write`, or a negative or infinite `smooth_s`.
        ImageError: not one frame can be decoded. Nothing was written.
        OutputError: a result cannot be written, or another process writes to `out`.
        BundleError: the model cannot be run.

    Example:
        >>> import pixelwise as pw
        >>> summary = pw.predict_video(pw.load("street"), "clip.mp4", "labelled")
        >>> summary.frames, summary.masks
        (5, 'clip.masks.mkv')
    """
    if not write or not set(write) <= {"overlay", "masks"}:
        raise UsageError(f"write is {write!r}; expected overlay, masks or both.")
    if not 0 <= smooth_s < math.inf:
        raise UsageError(f"smooth is {smooth_s} s; expected 0 or more.")
    source, out = str(source), Path(out)
    began = time.perf_counter()
    frames = Frames(source)
    base = out / name_of(source)
    counts = np.zeros(256, np.int64)
    smoothed = Smoothing(smooth_s)
    done, first_s, last_s = 0, 0.0, 0.0
    size, stopped = (0, 0), False
    with ExitStack() as open_files:
        open_files.callback(frames.close)
        pictures = newest(frames) if is_live(source) else frames.pictures()
        open_files.callback(pictures.close)  # first: FFmpeg crashes where a container goes while it is being read
        files: dict[str, VideoFile] = {}
        ctrl_c = open_files.enter_context(CtrlC())
        try:
            for image_HW3, pts, time_base in pictures:
                with ctrl_c.waiting():
                    at_s = float(pts * time_base)
                    if not done:
                        first_s, size = at_s, image_HW3.shape[:2]
                        make_folder(out / STATE)
                        open_files.enter_context(locked(out))
                        files = video_files(source, base, write, size, frames.rate, time_base)
                        for file in files.values():
                            open_files.enter_context(file)
                    labels_HW, scores_Chw = run_bounded(model.engine, image_HW3)
                    labels_HW = smoothed.labels(labels_HW, scores_Chw, at_s)
                    counts += np.bincount(labels_HW.ravel(), minlength=256)
                    if "overlay" in files:
                        files["overlay"].add(overlay(image_HW3, labels_HW, model.classes), pts)
                    if "masks" in files:
                        files["masks"].add(labels_HW, pts)
                    done, last_s = done + 1, at_s
                    progress(done, frames.expected)
        except KeyboardInterrupt:
            stopped = True
            frames.problem = "stopped by Ctrl-C; what was labelled until then is written."
        if not done:
            raise ImageError(f"{shown(source)}: no frame of it can be decoded. {frames.problem or ''}".rstrip())
        if frames.problem is None:
            frames.check_end(first_s, last_s)
        ctrl_c.held = True  # for the moment that is left
        for file in files.values():
            file.finish()
        stopped |= ctrl_c.pressed
    total = max(int(counts.sum()), 1)
    summary = VideoSummary(
        file=shown(source), frames=done, dropped=frames.decoded - done,
        seconds=round(last_s - first_s + 1 / frames.rate, 3), took_s=round(time.perf_counter() - began, 3),
        width=size[1], height=size[0],
        shares={name: int(counts[i]) / total for i, name in enumerate(model.classes.names)},
        smooth_s=smooth_s, problem=frames.problem, stopped=stopped, model=model.digest,
        overlay=files["overlay"].path.name if "overlay" in files else None,
        masks=files["masks"].path.name if "masks" in files else None,
        damaged=frames.damaged, damaged_at_s=tuple(frames.damaged_at_s),
    )  # fmt: skip
    facts = json.dumps(summary.to_json(), ensure_ascii=False, indent=2) + "\n"
    write_whole(base.with_name(f"{base.name}.json"), utf8(facts))
    return summary


def video_files(
    source: str, base: Path, write: Sequence[str], size: tuple[int, int], rate: Fraction, time_base: Fraction
) -> dict[str, VideoFile]:
    """The videos to write, not opened yet, by what is in them: "overlay", "masks"."""
    files: dict[str, VideoFile] = {}
    for kind in write:
        codec, ending = overlay_codec() if kind == "overlay" else ("ffv1", "mkv")
        path = base.with_name(f"{base.name}.{kind}.{ending}")
        files[kind] = VideoFile(path, codec, size, rate, time_base, source)
    return files


class CtrlC:
    """Ctrl-C while a video is labelled: at once where a frame is waited for, after a frame where it is being written.

    In the middle of an encoder's work it would lose packets that later ones build on.
    """

    def __init__(self) -> None:
        self.held = self.pressed = False
        self.before: Any = None

    def heard(self, _number: int, _frame: FrameType | None) -> None:
        if not self.held:
            raise KeyboardInterrupt
        self.pressed = True

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Hold Ctrl-C back until this is done. Raises KeyboardInterrupt where it was pressed meanwhile."""
        self.held = True
        try:
            yield
        finally:
            self.held = False
        if self.pressed:
            self.pressed = False
            raise KeyboardInterrupt

    def __enter__(self) -> CtrlC:
        main = threading.current_thread() is threading.main_thread()  # no other receives signals
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not one that is ignored
            self.before = signal.signal(signal.SIGINT, self.heard)
        return self

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)


class Smoothing:
    """An exponential mean over time of the scores, at the network's own resolution."""

    def __init__(self, smooth_s: float) -> None:
        self.smooth_s = smooth_s
        self.mean_Chw: Scores | None = None
        self.at_s = 0.0

    def labels(self, labels_HW: Labels, scores_Chw: Scores, at_s: float) -> Labels:
        """The labels of a frame, from its scores and those before it.

        Args:
            at_s: its time. The weight of what was before falls with the time that has passed, so that smoothing is the
                same at every frame rate and where the rate varies.
        """
        if not self.smooth_s:
            return labels_HW
        passed_s = at_s - self.at_s
        self.at_s = at_s
        if self.mean_Chw is None or self.mean_Chw.shape != scores_Chw.shape or not 0 <= passed_s < FORGOTTEN_S:
            self.mean_Chw = scores_Chw
            return labels_HW
        kept = np.float32(math.exp(-passed_s / self.smooth_s))
        self.mean_Chw = kept * self.mean_Chw + (1 - kept) * scores_Chw
        return labels_of_scores(self.mean_Chw, labels_HW.shape)


def labels_of_scores(scores_Chw: Scores, size: tuple[int, ...]) -> Labels:
    """The class of the highest score where scores are enlarged to `size`, one class at a time: uint8 [H, W]."""
    height, width = size
    labels_HW = np.zeros((height, width), np.uint8)
    highest_HW = cv2.resize(scores_Chw[0], (width, height), interpolation=cv2.INTER_LINEAR)
    for label in range(1, len(scores_Chw)):
        score_HW = cv2.resize(scores_Chw[label], (width, height), interpolation=cv2.INTER_LINEAR)
        labels_HW[score_HW > highest_HW] = label
        highest_HW = np.maximum(highest_HW, score_HW)
    return labels_HW
