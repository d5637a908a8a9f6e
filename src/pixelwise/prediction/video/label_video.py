"""Video files, streams and cameras → an overlay video, a video of the labels, and a summary as JSON.

Frames keep their time stamps, also at a variable frame rate, and are turned upright as their file says.

    NAME.overlay.mp4   the frames under their labels, as H.264 (or what this PyAV can write), without sound
    NAME.masks.mkv     class ids as grey levels, lossless (FFV1); times to the millisecond
    NAME.json          frames, seconds, each class's share of all pixels, and any problem

Needs the extra `video` (PyAV). Shapes: H, W a frame's size; C classes; h, w the size of the scores.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from pixelwise.errors import ImageError, UsageError
from pixelwise.images.files import shown, utf8, write_whole
from pixelwise.images.read_as import in_words
from pixelwise.model.label_strips import labels_of_scores
from pixelwise.prediction.in_memory import run_bounded
from pixelwise.prediction.input_kinds import is_live, name_of
from pixelwise.prediction.load_model import Model
from pixelwise.prediction.manifest import locked, make_folder
from pixelwise.prediction.outputs import STATE
from pixelwise.prediction.overlay import overlay
from pixelwise.prediction.video.read_video import Frames, newest
from pixelwise.prediction.video.write_video import VideoFile, overlay_codec
from pixelwise.records import RGB, Bands, Labels, OnProgress, Pixels, Scores, no_progress

RESTART_S = 2.0  # after a gap this long, or a jump back, smoothing starts over


@dataclass(frozen=True)
class VideoSummary:
    """The outcome of labelling a video."""

    file: str
    frames: int
    dropped: int  # frames of a live source that arrived while others were labelled
    seconds: float  # of video
    took_s: float
    width: int
    height: int
    shares: dict[str, float]  # of all pixels of all frames, in class order
    smooth_s: float
    problem: str | None  # why the video is incomplete
    stopped: bool  # by Ctrl-C
    model: str
    overlay: str | None
    masks: str | None
    damaged: int = 0  # frames that are damaged, or could not be decoded
    damaged_at_s: tuple[float, ...] = ()  # times in the source of the first of them, if known

    @property
    def exit_code(self) -> int:
        """1 if part of the video is missing, 130 after Ctrl-C: a script must not take part of it for all."""
        return 130 if self.stopped else 1 if self.problem else 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        rate = f", {self.frames / self.took_s:.1f} frames/s" if self.took_s > 0 else ""
        text = (
            f"{self.file}: {self.frames:,} frames, {self.seconds:.1f} s of video, labelled in {self.took_s:.1f} s{rate}"
        )
        if self.dropped:
            text += f"; {self.dropped:,} frames that arrived while others were labelled were dropped"
        return f"{text}\n{self.file}: {self.problem}" if self.problem else text


def predict_video(
    model: Model,
    source: str | Path,
    out: Path | str,
    *,
    write: tuple[str, ...] = ("overlay", "masks"),
    smooth_s: float = 0.0,
    progress: OnProgress = no_progress,
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
        UsageError: unknown `write`, a negative or infinite `smooth_s`, or a model of other bands than RGB.
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
    refuse_other_bands(model.metadata.bands, str(source))
    began, source, stopped = time.perf_counter(), str(source), False
    frames, smoothing = Frames(source), Smoothing(smooth_s)
    with ExitStack() as open_files:
        open_files.callback(frames.close)
        pictures = newest(frames) if is_live(source) else frames.pictures()
        open_files.callback(pictures.close)  # first: FFmpeg crashes if a container is closed while it is read
        labelled = LabelledVideo(model, frames, source, Path(out), open_files)
        ctrl_c = open_files.enter_context(CtrlC())
        try:
            for image_HW3, pts, time_base in pictures:
                with ctrl_c.delayed():
                    if not labelled.frames:
                        labelled.open(write, image_HW3.shape[:2], time_base)
                    labels_HW, scores_Chw = run_bounded(model.engine, image_HW3)
                    labels_HW = smoothing.labels(labels_HW, scores_Chw, float(pts * time_base))
                    labelled.add(image_HW3, labels_HW, pts, time_base)
                    progress(labelled.frames, frames.expected)
        except KeyboardInterrupt:
            stopped = True
            frames.problem = "stopped by Ctrl-C; every labelled frame is kept."
        if not labelled.frames:
            raise ImageError(f"{shown(source)}: no frame can be decoded. {frames.problem or ''}".rstrip())
        if frames.problem is None:
            frames.check_end(labelled.first_s, labelled.last_s)
        ctrl_c.held = True  # until the files are closed
        for file in labelled.files.values():
            file.finish()
        stopped |= ctrl_c.pressed
    summary = labelled.summary(smooth_s, stopped, time.perf_counter() - began)
    facts = json.dumps(summary.to_json(), ensure_ascii=False, indent=2) + "\n"
    write_whole(labelled.base.with_name(f"{labelled.base.name}.json"), utf8(facts))
    return summary


def refuse_other_bands(bands: Bands, source: str) -> None:
    """Raise UsageError if a model takes other bands than a video has."""
    if bands != RGB:
        raise UsageError(
            f"{shown(source)}: a video has {in_words(RGB.names)}; the model takes {in_words(bands.names)} of "
            f"{bands.dtype}. Label images with these bands, or choose a model trained on RGB images."
        )


class LabelledVideo:
    """The results of a video: files that are being written, and counts."""

    def __init__(self, model: Model, source: Frames, name: str, out: Path, open_files: ExitStack) -> None:
        self.model, self.source, self.name, self.out, self.open_files = model, source, name, out, open_files
        self.base = out / name_of(name)
        self.files: dict[str, VideoFile] = {}
        self.counts = np.zeros(256, np.int64)
        self.frames, self.first_s, self.last_s = 0, 0.0, 0.0
        self.size = (0, 0)

    def open(self, write: tuple[str, ...], size: tuple[int, ...], time_base: Fraction) -> None:
        """Lock the folder and open the files. Raises OutputError, UsageError."""
        self.size = size[0], size[1]
        make_folder(self.out / STATE)
        self.open_files.enter_context(locked(self.out))
        for kind in write:
            codec, ending = overlay_codec() if kind == "overlay" else ("ffv1", "mkv")
            path = self.base.with_name(f"{self.base.name}.{kind}.{ending}")
            file = VideoFile(path, codec, self.size, self.source.rate, time_base, self.name)
            self.files[kind] = self.open_files.enter_context(file)

    def add(self, image_HW3: Pixels, labels_HW: Labels, pts: int, time_base: Fraction) -> None:
        """Write a frame whose time stamp is `pts` ticks of `time_base` seconds. Raises OutputError."""
        self.last_s = float(pts * time_base)
        if not self.frames:
            self.first_s = self.last_s
        self.frames += 1
        self.counts += np.bincount(labels_HW.ravel(), minlength=256)
        if "overlay" in self.files:
            self.files["overlay"].add(overlay(image_HW3, labels_HW, self.model.classes), pts)
        if "masks" in self.files:
            self.files["masks"].add(labels_HW, pts)

    def summary(self, smooth_s: float, stopped: bool, took_s: float) -> VideoSummary:
        total = max(int(self.counts.sum()), 1)
        written = {kind: file.path.name for kind, file in self.files.items()}
        return VideoSummary(
            file=shown(self.name),
            frames=self.frames,
            dropped=self.source.decoded - self.frames,
            seconds=round(self.last_s - self.first_s + 1 / self.source.rate, 3),
            took_s=round(took_s, 3),
            width=self.size[1],
            height=self.size[0],
            shares={name: int(self.counts[i]) / total for i, name in enumerate(self.model.classes.names)},
            smooth_s=smooth_s,
            problem=self.source.problem,
            stopped=stopped,
            model=self.model.digest,
            overlay=written.get("overlay"),
            masks=written.get("masks"),
            damaged=self.source.damaged,
            damaged_at_s=tuple(self.source.damaged_at_s),
        )


class CtrlC:
    """Ctrl-C while a video is labelled: immediate while waiting for a frame, delayed while a frame is written.

    In the middle of an encoder's work it would lose packets that later ones depend on.
    """

    def __init__(self) -> None:
        self.held = self.pressed = False
        self.before: Any = None

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if not self.held:
            raise KeyboardInterrupt
        self.pressed = True

    @contextmanager
    def delayed(self) -> Iterator[None]:
        """Delay Ctrl-C to the end of the block. Raises KeyboardInterrupt if it was pressed meanwhile."""
        self.held = True
        try:
            yield
        finally:
            self.held = False
        if self.pressed:
            self.pressed = False
            raise KeyboardInterrupt

    def __enter__(self) -> CtrlC:
        in_main = threading.current_thread() is threading.main_thread()  # only it receives signals
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # leave any other handler alone
            self.before = signal.signal(signal.SIGINT, self.on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)


class Smoothing:
    """An exponential mean of the scores over time, at the network's resolution."""

    def __init__(self, smooth_s: float) -> None:
        self.smooth_s = smooth_s
        self.mean_Chw: Scores | None = None
        self.at_s = 0.0

    def labels(self, labels_HW: Labels, scores_Chw: Scores, at_s: float) -> Labels:
        """The labels of a frame, from its scores and earlier ones.

        Args:
            at_s: time of the frame. The weight of earlier frames falls with the time since, so that smoothing does not
                depend on the frame rate.
        """
        if not self.smooth_s:
            return labels_HW
        passed_s = at_s - self.at_s
        self.at_s = at_s
        if self.mean_Chw is None or self.mean_Chw.shape != scores_Chw.shape or not 0 <= passed_s < RESTART_S:
            self.mean_Chw = scores_Chw
            return labels_HW
        kept = np.float32(math.exp(-passed_s / self.smooth_s))
        self.mean_Chw = kept * self.mean_Chw + (1 - kept) * scores_Chw
        height, width = labels_HW.shape
        return labels_of_scores(self.mean_Chw, (height, width))
