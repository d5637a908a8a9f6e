"""Videos: every frame labelled at its own time, the results whole whatever becomes of the source.

Shapes: H, W a frame's size.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import picture
from pixelwise.errors import ImageError, OutputError, UsageError
from pixelwise.images.image_files import write_png
from pixelwise.prediction.input_kinds import is_live, is_video, name_of, refuse_unused, split_videos
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.manifest import locked, make_folder
from pixelwise.prediction.outputs import STATE
from pixelwise.prediction.video.label_video import CtrlC, Smoothing, predict_video
from pixelwise.prediction.video.read_video import newest
from pixelwise.prediction.video.write_video import overlay_codec

av: Any = pytest.importorskip("av", reason="videos need PyAV; install pixelwise[video]")

MILLISECONDS = Fraction(1, 1000)
STEADY = [40 * number for number in range(20)]  # 25 frames a second
UNSTEADY = [0, 33, 67, 180, 200, 233, 500, 900, 933, 1000]


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


def clip(path: Path, times_ms: list[int], size: tuple[int, int] = (72, 96), *, turn: int = 0,
         options: dict[str, str] | None = None, codec: str = "mpeg4") -> Path:  # fmt: skip
    """A short video of pictures that move."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        tick = Fraction(1, 25) if path.suffix == ".avi" else MILLISECONDS  # AVI has a frame for every tick
        stream.codec_context.time_base = tick
        stream.codec_context.gop_size = 1  # frames of one size: a file cut at half its length holds half of them
        if turn:
            stream.set_display_rotation(turn)
        for number, at in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(np.roll(picture(1, *size), 5 * number, axis=1), "rgb24")
            frame.pts, frame.time_base = int(at * MILLISECONDS / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frames_of(path: Path, form: str) -> list[tuple[int, Any]]:
    """(milliseconds, pixels) of every frame."""
    with av.open(str(path)) as container:
        return [
            (round(float(frame.pts * frame.time_base) * 1000), frame.to_ndarray(format=form))
            for frame in container.decode(video=0)
        ]


def results(folder: Path) -> list[str]:
    """Names of the results; what every run writes about the folder is left out."""
    about = (".predictions", "dataset.toml", "predictions.jsonl")
    return sorted(path.name for path in folder.iterdir() if path.name not in about)


@pytest.mark.parametrize("times", [STEADY, UNSTEADY])
def test_every_frame_is_labelled_at_its_own_time(model: Model, tmp_path: Path, times: list[int]) -> None:
    source = clip(tmp_path / "clip.mp4", times)
    seen: list[tuple[int, int]] = []
    summary = predict_video(model, source, tmp_path / "out", progress=lambda *done: seen.append(done))
    assert results(tmp_path / "out") == ["clip.json", "clip.masks.mkv", "clip.overlay.mp4"]
    assert (summary.frames, summary.problem, summary.exit_code, summary.dropped) == (len(times), None, 0, 0)
    assert seen[-1] == (len(times), len(times))
    stored = frames_of(source, "rgb24")
    masks = frames_of(tmp_path / "out" / "clip.masks.mkv", "gray")
    assert [at for at, _ in masks] == [at for at, _ in stored] == times
    assert [at for at, _ in frames_of(tmp_path / "out" / "clip.overlay.mp4", "rgb24")] == times
    for (_, image), (_, mask) in zip(stored, masks, strict=True):
        assert (mask == model.predict(image).labels).all()
    facts = json.loads((tmp_path / "out" / "clip.json").read_text())
    assert facts["shares"]["road"] == pytest.approx(np.mean([(mask == 1).mean() for _, mask in masks]))
    assert facts["masks"] == "clip.masks.mkv"
    assert "frames/s" in str(summary)


def test_sides_may_be_odd_and_what_is_written_can_be_chosen(model: Model, tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mkv", STEADY[:3], (71, 95), codec="ffv1")
    predict_video(model, source, tmp_path / "overlay", write=("overlay",))
    predict_video(model, source, tmp_path / "masks", write=("masks",))
    assert results(tmp_path / "overlay") == ["clip.json", "clip.overlay.mp4"]
    assert results(tmp_path / "masks") == ["clip.json", "clip.masks.mkv"]
    assert frames_of(tmp_path / "overlay" / "clip.overlay.mp4", "rgb24")[0][1].shape == (72, 96, 3)
    assert frames_of(tmp_path / "masks" / "clip.masks.mkv", "gray")[0][1].shape == (71, 95)
    for wrong in ((), ("sound",)):
        with pytest.raises(UsageError, match="expected overlay, masks or both"):
            predict_video(model, source, tmp_path, write=wrong)
    with pytest.raises(UsageError, match="smooth is -1"):
        predict_video(model, source, tmp_path, smooth_s=-1)


@pytest.mark.parametrize("turn", [90, -90, 180])
def test_frames_are_turned_upright(model: Model, tmp_path: Path, turn: int) -> None:
    source = clip(tmp_path / "clip.mov", STEADY[:2], turn=turn)
    predict_video(model, source, tmp_path / "out", write=("masks",))
    upright = np.rot90(frames_of(source, "rgb24")[0][1], turn // 90)
    mask = frames_of(tmp_path / "out" / "clip.masks.mkv", "gray")[0][1]
    assert (mask == model.predict(np.ascontiguousarray(upright)).labels).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [("clip.mp4", {"movflags": "faststart"}), ("clip.mkv", {}), ("clip.avi", {}), ("clip.ts", {})],
)
def test_a_file_that_ends_in_the_middle_of_a_frame(
    model: Model, tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    source = clip(tmp_path / name, STEADY, options=options)
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 6 // 10])
    summary = predict_video(model, source, tmp_path / "out")
    assert 3 < summary.frames < 20
    assert summary.exit_code == 1
    assert summary.problem is not None
    assert "very decoded frame is kept" in summary.problem
    assert summary.problem in str(summary)
    assert len(frames_of(tmp_path / "out" / "clip.masks.mkv", "gray")) == summary.frames
    assert len(frames_of(tmp_path / "out" / "clip.overlay.mp4", "rgb24")) == summary.frames
    assert json.loads((tmp_path / "out" / "clip.json").read_text())["problem"] == summary.problem


def test_a_file_of_which_nothing_can_be_decoded_leaves_nothing(model: Model, tmp_path: Path) -> None:
    whole = clip(tmp_path / "clip.mp4", STEADY).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # its index lies at its end
    with pytest.raises(ImageError, match=r"cut\.mp4: cannot be opened as video"):
        predict_video(model, tmp_path / "cut.mp4", tmp_path / "out")
    with pytest.raises(ImageError, match="cannot be opened as video"):
        predict_video(model, tmp_path / "none.mp4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_playlist_in_a_videos_name_reaches_nothing(model: Model, tmp_path: Path) -> None:
    clip(tmp_path / "secret.ts", STEADY)
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(ImageError, match="cannot be opened as video"):
        predict_video(model, tmp_path / "list.mp4", tmp_path / "out")


def test_a_video_is_never_overwritten(model: Model, tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4", STEADY[:3])
    (tmp_path / "clip.overlay.mp4").symlink_to(source)
    before = source.read_bytes()
    with pytest.raises(UsageError, match="would overwrite the video"):
        predict_video(model, source, tmp_path)
    assert source.read_bytes() == before


PRESSED = """
import signal, sys
from pixelwise.prediction.load_model import load
from pixelwise.prediction.video.label_video import predict_video
signal.signal(signal.SIGINT, signal.default_int_handler)
press = lambda done, total: signal.raise_signal(signal.SIGINT) if done == 4 else None
summary = predict_video(load(sys.argv[1], threads=1), sys.argv[2], sys.argv[3], progress=press)
print(summary.frames, summary.problem)
"""


def test_ctrl_c_writes_what_was_labelled(tiny_bundle: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4", STEADY)
    done = subprocess.run(
        [sys.executable, "-c", PRESSED, tiny_bundle, source, tmp_path / "out"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 ")
    assert "Ctrl-C" in done.stdout
    facts = json.loads((tmp_path / "out" / "clip.json").read_text())
    assert facts["stopped"]
    assert len(frames_of(tmp_path / "out" / "clip.masks.mkv", "gray")) == 4


def test_ctrl_c_waits_while_a_frame_is_written() -> None:
    before = signal.getsignal(signal.SIGINT)
    after: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)  # whatever runs the tests
        with CtrlC() as ctrl_c:
            with pytest.raises(KeyboardInterrupt), ctrl_c.delayed():  # noqa: PT012
                signal.raise_signal(signal.SIGINT)
                after.append("the frame is written")
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    assert after == ["the frame is written"]
    signal.signal(signal.SIGINT, before)


def test_two_runs_do_not_write_videos_into_one_folder(model: Model, tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4", STEADY[:3])
    make_folder(tmp_path / "out" / STATE)
    with locked(tmp_path / "out"), pytest.raises(OutputError, match="another `pixelwise predict` is writing here"):
        predict_video(model, source, tmp_path / "out")
    assert results(tmp_path / "out") == []
    assert predict_video(model, source, tmp_path / "out").frames == 3


def test_options_that_would_do_nothing_are_refused() -> None:
    def check(videos: list[str], **options: Any) -> None:
        refuse_unused(videos, **{"tta": "", "smooth_s": 0.0, "video": "both", "cluster": False, **options})

    check(["a.mp4"], smooth_s=0.2, video="masks")
    check([], tta="flip", cluster=True)
    for videos, options, says in (
        (["a.mp4"], {"tta": "flip"}, "--tta works on images only"),
        (["a.mp4"], {"cluster": True}, "--engine ray labels images only"),
        ([], {"smooth_s": 0.1}, "--smooth works on videos only"),
        ([], {"video": "masks"}, "--video works on videos only"),
    ):
        with pytest.raises(UsageError, match=says):
            check(videos, **options)


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # no file may become larger: as on a disk that fills
from pixelwise.__main__ import main
main()
"""


def test_a_disk_that_fills_leaves_no_half_video(tiny_bundle: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4", STEADY)
    done = subprocess.run(
        [sys.executable, "-c", FULL, "predict", tiny_bundle, source, "--out", tmp_path / "out"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot be written (File too large)" in done.stderr
    assert results(tmp_path / "out") == []


def test_the_command_labels_images_large_images_and_videos_in_one_call(tiny_bundle: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4", STEADY[:3])
    write_png(tmp_path / "photo.png", picture(2, 200, 300))
    command = [sys.executable, "-m", "pixelwise", "predict", str(tiny_bundle), str(tmp_path / "photo.png"), str(source)]
    options = ["--tile", "128x192", "--overlap", "20", "--video", "masks", "--smooth", "0.1", "--json", "-"]
    done = subprocess.run(
        [*command, *options, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["done"], said["videos"][0]["frames"]) == (1, 3)
    assert results(tmp_path / "out") == [
        "clip.json", "clip.masks.mkv", "photo.json", "photo.overlay.png", "photo.png",
    ]  # fmt: skip
    wrong = subprocess.run(
        [*command, "--video", "sound", "--out", str(tmp_path / "no")], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert "--video sound: expected overlay, masks, both." in wrong.stderr


# ── streams ──


@contextlib.contextmanager
def web_server(data: bytes, cut_at: int) -> Iterator[str]:
    """Serves a video, and goes away in the middle of it."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:cut_at])

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/live/street.ts?key=1"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("share", [1.0, 0.55])
def test_a_stream_from_a_server_is_labelled_as_far_as_it_comes(model: Model, tmp_path: Path, share: float) -> None:
    data = clip(tmp_path / "clip.ts", STEADY * 1, (144, 192)).read_bytes()
    with web_server(data, int(len(data) * share)) as address:
        summary = predict_video(model, address, tmp_path / "out")
    assert results(tmp_path / "out") == ["street.json", "street.masks.mkv", "street.overlay.mp4"]
    assert summary.frames == 20 if share == 1 else 3 < summary.frames < 20
    assert (summary.problem is None) == (share == 1)
    assert len(frames_of(tmp_path / "out" / "street.masks.mkv", "gray")) == summary.frames


def test_a_live_stream_is_labelled_until_it_ends(model: Model, tmp_path: Path) -> None:
    data = clip(tmp_path / "clip.ts", STEADY, (144, 192)).read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(data)

        sender = threading.Thread(target=send)
        sender.start()
        summary = predict_video(model, f"tcp://127.0.0.1:{server.getsockname()[1]}", tmp_path / "out")
        sender.join()
    assert 1 <= summary.frames <= 20
    assert summary.frames + summary.dropped == 20
    assert len(frames_of(tmp_path / "out" / f"{name_of(summary.file)}.masks.mkv", "gray")) == summary.frames


def test_a_server_that_is_not_there_is_named(model: Model, tmp_path: Path) -> None:
    with pytest.raises(
        ImageError, match=r"http://127\.0\.0\.1:9/a\.mp4: cannot be opened as video .*Check the address"
    ):
        predict_video(model, "http://127.0.0.1:9/a.mp4", tmp_path / "out")


def test_of_a_source_that_does_not_wait_the_newest_frame_is_taken() -> None:
    more = threading.Event()

    class Source:
        problem: str | None = None

        def pictures(self) -> Iterator[int]:
            yield 0
            assert more.wait(60)
            yield from range(1, 100)
            done.set()
            raise OSError("unplugged")

    done = threading.Event()
    source = Source()
    frames: Iterator[Any] = newest(source)  # type: ignore[arg-type]
    assert next(frames) == 0
    more.set()
    assert done.wait(60)
    assert list(frames) == [99]
    assert "unplugged" in str(source.problem)


# ── smoothing ──


def scores_of(label: int, height: int = 5, width: int = 7) -> Any:
    scores = np.zeros((3, height, width), np.float32)
    scores[label] = 1
    return scores


def smoothed(at_s: list[float], labels: list[int], smooth_s: float) -> list[int]:
    smoothing = Smoothing(smooth_s)
    return [
        int(smoothing.labels(np.full((10, 14), label, np.uint8), scores_of(label), at)[3, 3])
        for at, label in zip(at_s, labels, strict=True)
    ]


def test_smoothing_takes_out_a_flicker_and_follows_a_change() -> None:
    steady = [number * 0.04 for number in range(9)]
    flicker = [0, 0, 1, 0, 0, 2, 2, 2, 2]
    assert smoothed(steady, flicker, 0) == flicker
    assert smoothed(steady, flicker, 0.1) == [0, 0, 0, 0, 0, 0, 2, 2, 2]
    assert smoothed([0, 0.04, 5, 0.1], [0, 0, 1, 2], 0.1) == [0, 0, 1, 2]  # a gap, and a jump back, begin anew


def test_smoothing_is_the_same_at_every_frame_rate() -> None:
    def weight_after(second: float, frames: int) -> float:
        smoothing = Smoothing(0.5)
        smoothing.labels(np.zeros((10, 14), np.uint8), scores_of(0), 0)
        for number in range(1, frames + 1):
            smoothing.labels(np.ones((10, 14), np.uint8), scores_of(1), second * number / frames)
        assert smoothing.mean_Chw is not None
        return float(smoothing.mean_Chw[0, 0, 0])

    for frames in (1, 7, 30):
        assert weight_after(0.8, frames) == pytest.approx(math.exp(-0.8 / 0.5), rel=1e-4)


def test_a_smoothed_video_is_written(model: Model, tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4", STEADY[:6])
    summary = predict_video(model, source, tmp_path / "out", smooth_s=0.2)
    assert (summary.frames, summary.smooth_s) == (6, 0.2)
    first = frames_of(tmp_path / "out" / "clip.masks.mkv", "gray")[0][1]
    assert (first == model.predict(frames_of(source, "rgb24")[0][1]).labels).all()


# ── what is a video ──


def test_videos_are_known_by_content_then_by_ending(tmp_path: Path) -> None:
    for name, kind in (("a.mp4", "mp4"), ("b.mkv", "mkv"), ("c.avi", "avi"), ("d.ts", "ts")):
        path = clip(tmp_path / name, STEADY[:3])
        assert is_video(str(path))
        renamed = path.rename(tmp_path / f"no ending {kind}")
        assert is_video(str(renamed))
    write_png(tmp_path / "image.mp4", picture(0, 9, 9))
    (tmp_path / "empty.mov").touch()
    (tmp_path / "text.txt").write_text("no video")
    assert not is_video(str(tmp_path / "image.mp4"))
    assert is_video(str(tmp_path / "empty.mov"))  # which then says what is wrong with it
    assert not is_video(str(tmp_path / "text.txt"))
    assert not is_video(str(tmp_path))
    assert not is_video(str(tmp_path / "none.mp4"))
    os.mkfifo(tmp_path / "pipe.mp4")
    assert not is_video(str(tmp_path / "pipe.mp4"))  # to look into it would wait for ever
    with pytest.raises(UsageError, match="rtsp://one/x, rtsp://two/x"):
        split_videos(["rtsp://one/x", "rtsp://two/x"])
    assert split_videos(["rtsp://host/x", "a.png", "/dev/video0", "rtsp://host/x"]) == (
        ["rtsp://host/x", "/dev/video0"],
        [Path("a.png")],
    )


@pytest.mark.parametrize(
    ("source", "name", "live"),
    [
        ("rtsp://user:secret@camera.local:554/street/1?x=2", "1", True),
        ("rtsp://user:secret@camera.local", "camera.local", True),
        ("https://host/clips/a b.mp4", "a_b", False),
        ("udp://0.0.0.0:1234", "0.0.0.0_1234", True),
        ("/dev/video0", "video0", True),
        ("clips/day.1.mp4", "day.1", False),
    ],
)
def test_results_are_named_after_their_source(source: str, name: str, live: bool) -> None:
    assert name_of(source) == name
    assert is_live(source) == live


def test_the_encoder_is_one_that_is_here() -> None:
    codec, _ = overlay_codec()
    assert av.Codec(codec, "w").is_encoder


@pytest.mark.parametrize(("codec", "ending"), [("mpeg4", "mp4"), ("mpeg4", "mkv")])
def test_damaged_frames_are_counted_and_named_by_their_time(
    model: Model, tmp_path: Path, codec: str, ending: str
) -> None:
    path = clip(tmp_path / f"clip.{ending}", STEADY, codec=codec)
    with av.open(str(path)) as container:
        packet = next(
            p for p in container.demux(video=0) if p.size and p.pts * p.time_base >= Fraction(2, 5) + start(p)
        )
        at, size, time_s = packet.pos, packet.size, float(packet.pts * packet.time_base)
    data = bytearray(path.read_bytes())
    for place in range(at + size // 3, at + size // 2):
        data[place] ^= 0x5A
    path.write_bytes(data)
    summary = predict_video(model, path, tmp_path / "out", write=("masks",))
    assert summary.damaged >= 1
    assert summary.exit_code == 1
    assert time_s in [pytest.approx(at_s, abs=0.05) for at_s in summary.damaged_at_s]
    assert "damaged" in str(summary)
    assert f"{summary.damaged_at_s[0]:.2f}" in str(summary)
    told = json.loads((tmp_path / "out" / "clip.json").read_text())
    assert told["damaged"] == summary.damaged
    assert told["damaged_at_s"] == list(summary.damaged_at_s)


def start(packet: Any) -> Fraction:
    return Fraction(packet.stream.start_time or 0) * packet.stream.time_base
