"""Inputs on the command line: images and folders, video files, streams and cameras. Does not need PyAV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pixelwise.errors import UsageError
from pixelwise.images.files import AVIF_BRANDS, HEIF_BRANDS, shown

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".ogv", ".flv", ".wmv",
    ".asf", ".3gp",
)  # fmt: skip
STILL_BRANDS = (*HEIF_BRANDS, *AVIF_BRANDS)  # images in the same container format as MP4
LIVE = ("rtsp", "rtsps", "rtp", "udp", "srt", "rtmp", "tcp")  # sources that do not wait for the reader


KINDS = {"overlay": ("overlay",), "masks": ("masks",), "both": ("overlay", "masks")}  # of a video's results


def parse_video(text: str) -> tuple[str, ...]:
    """Parse `--video`. Raises UsageError for anything but the names in KINDS."""
    if text not in KINDS:
        raise UsageError(f"--video {text}: expected {', '.join(KINDS)}.")
    return KINDS[text]


def refuse_unused(videos: Sequence[str], *, tta: str, smooth_s: float, video: str, cluster: bool) -> None:
    """Raise UsageError for options that have no effect on the inputs."""
    if videos and tta:
        raise UsageError("--tta works on images only, and the inputs include a video. Leave it out, or see --smooth.")
    if videos and cluster:
        raise UsageError(
            "--engine ray labels images only, and the inputs include a video. Label the video in a separate call."
        )
    if not videos and (smooth_s or video != "both"):
        raise UsageError(f"{'--smooth' if smooth_s else '--video'} works on videos only, and the inputs include none.")


def split_videos(sources: Sequence[str | Path]) -> tuple[list[str], list[Path]]:
    """Videos, streams and cameras, each once; and all other inputs, images and folders. Both in their order.

    Raises:
        UsageError: two videos whose results would have the same name.
    """
    videos = list(dict.fromkeys(str(source) for source in sources if is_video(str(source))))
    named = [name_of(video) for video in videos]
    if same := [video for video, name in zip(videos, named, strict=True) if named.count(name) > 1]:
        listed = ", ".join(shown(video) for video in same)
        raise UsageError(
            f"videos with the same name would overwrite each other's results: {listed}. Label them in separate calls, "
            "each with its own --out."
        )
    return videos, [Path(source) for source in sources if not is_video(str(source))]


def is_video(source: str) -> bool:
    """Whether this is a stream, a camera, or a file that is a video by its content or, if unclear, by its suffix."""
    if is_stream(source) or is_camera(source):
        return True
    path = Path(source)
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(400)
    except (OSError, ValueError):
        return False
    return has_video_content(head) or (path.suffix.lower() in VIDEO_SUFFIXES and not has_image_content(head))


def has_video_content(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return head[8:12] not in STILL_BRANDS
    return (
        head[:4] in (b"\x1aE\xdf\xa3", b"OggS", b"\x30\x26\xb2\x75", b"\x00\x00\x01\xba")
        or head[:3] == b"FLV"
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or (len(head) > 376 and head[0] == head[188] == head[376] == 0x47)  # MPEG transport stream
    )


def has_image_content(head: bytes) -> bool:
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")) or (
        head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    )


def is_stream(source: str) -> bool:
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", source) is not None


def is_camera(source: str) -> bool:
    return re.fullmatch(r"/dev/video\d+", source) is not None


def is_live(source: str) -> bool:
    """Whether frames arrive in real time, read or not."""
    return is_camera(source) or (is_stream(source) and source.partition("://")[0].lower() in LIVE)


def name_of(source: str) -> str:
    """The name of the results: a file's name without its suffix, or the last part of a stream's address."""
    if not is_stream(source):
        return Path(source).stem
    last = source.partition("://")[2].partition("?")[0].rstrip("/").rpartition("/")[2].rpartition("@")[2]
    ending = next((suffix for suffix in (*VIDEO_SUFFIXES, ".m3u8", ".sdp") if last.lower().endswith(suffix)), "")
    return re.sub(r"[^\w.-]", "_", last.removesuffix(last[len(last) - len(ending) :])).strip(".") or "stream"
