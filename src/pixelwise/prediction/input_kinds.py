"""What a name on the command line is: an image or folder, a video file, a stream or a camera. No PyAV."""

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
STILL_BRANDS = (*HEIF_BRANDS, *AVIF_BRANDS)  # images in the same wrapping as MP4
LIVE = ("rtsp", "rtsps", "rtp", "udp", "srt", "rtmp", "tcp")  # sources that do not wait for their reader


KINDS = {"overlay": ("overlay",), "masks": ("masks",), "both": ("overlay", "masks")}  # of a video's results


def parse_video(text: str) -> tuple[str, ...]:
    """What `--video` means. Raises UsageError for anything but the names in KINDS."""
    if text not in KINDS:
        raise UsageError(f"--video {text}: expected {', '.join(KINDS)}.")
    return KINDS[text]


def refuse_unused(videos: Sequence[str], *, tta: str, smooth_s: float, video: str, cluster: bool) -> None:
    """Raise UsageError for options that would do nothing with what was named."""
    if videos and tta:
        raise UsageError(
            "--tta: views are averaged of images only, and a video was named. Leave it out, or see --smooth."
        )
    if videos and cluster:
        raise UsageError(
            "--engine ray labels images only, and a video was named. Label the video in a call of its own."
        )
    if not videos and (smooth_s or video != "both"):
        raise UsageError(f"{'--smooth' if smooth_s else '--video'} is about videos, and none was named.")


def split_videos(sources: Sequence[str | Path]) -> tuple[list[str], list[Path]]:
    """Videos, streams and cameras, each once; and the rest, which is images and folders. Both in their order.

    Raises:
        UsageError: two videos whose results would have one name.
    """
    videos = list(dict.fromkeys(str(source) for source in sources if is_video(str(source))))
    named = [name_of(video) for video in videos]
    if same := [video for video, name in zip(videos, named, strict=True) if named.count(name) > 1]:
        listed = ", ".join(shown(video) for video in same)
        raise UsageError(
            f"videos of one name would overwrite each other's results: {listed}. Label them in separate calls with "
            "another --out."
        )
    return videos, [Path(source) for source in sources if not is_video(str(source))]


def is_video(source: str) -> bool:
    """Is this a stream, a camera, or a file that is a video by its content or, where that says nothing, its ending?"""
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
    """Does the source go on whether it is read or not?"""
    return is_camera(source) or (is_stream(source) and source.partition("://")[0].lower() in LIVE)


def name_of(source: str) -> str:
    """The name of the results: of a file without its ending; of a stream, the last part of its address."""
    if not is_stream(source):
        return Path(source).stem
    last = source.partition("://")[2].partition("?")[0].rstrip("/").rpartition("/")[2].rpartition("@")[2]
    ending = next((suffix for suffix in (*VIDEO_SUFFIXES, ".m3u8", ".sdp") if last.lower().endswith(suffix)), "")
    return re.sub(r"[^\w.-]", "_", last.removesuffix(last[len(last) - len(ending) :])).strip(".") or "stream"
