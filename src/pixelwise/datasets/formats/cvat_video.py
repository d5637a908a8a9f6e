"""CVAT for video 1.1: annotations.xml with one `track` per object and one shape per frame, next to the frames.

CVAT writes every frame on which a track is visible. If a file holds keyframes only, a shape stays until the next one
that is outside, or to the end, and boxes are interpolated between keyframes. Frames between keyframes of other shapes
are skipped, because only CVAT can interpolate them, as are frames without a visible shape. Notes report all of this.

The last number in an image's name is its frame: `frame_000000.png`. If there are as many images as video frames and
they start at 1, image 1 is frame 0. A file without frames next to it is reported, with instructions to export them.

Format: docs.cvat.ai/docs/dataset_management/formats/format-cvat, "Video".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from xml.etree.ElementTree import Element

from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES
from pixelwise.datasets.formats.annotated_shapes import OBJECT, AnnotatedImage, DrawnShape, Place, Size
from pixelwise.datasets.formats.annotation_files import (
    files_that,
    list_pictures,
    picture_mask,
    picture_objects,
    read_or_none,
)
from pixelwise.datasets.formats.cvat import declared_labels, figure_of, is_cvat_file, tree_of
from pixelwise.datasets.formats.field_checks import number_text, whole_text
from pixelwise.datasets.formats.image_lookup import files_below
from pixelwise.datasets.listing import Listing
from pixelwise.images.files import Refusal, shown

LAST_NUMBER = re.compile(r"(\d{1,9})\D*$")
SIDES = ("xtl", "ytl", "xbr", "ybr")
SHAPES = ("polygon", "box", "ellipse", "mask", "polyline", "points", "cuboid", "skeleton")
SEARCHED = 1 << 26  # bytes searched for the first track or image
FRAMES = "Or put the video's frames next to it: ffmpeg -i FILM -start_number 0 frame_%06d.png."


@dataclass(frozen=True)
class _Track:
    """One object's shapes by frame."""

    label: str
    frames: list[int]
    shapes: list[Element]


@dataclass
class _Film:
    """A file's tracks, its frames, and how missing ones were handled."""

    tracks: list[_Track]
    size: Size | None
    images: dict[int, Path]
    pictures: dict[Place, AnnotatedImage] = field(default_factory=dict)
    empty: list[int] = field(default_factory=list)  # frames without a visible shape
    between: list[int] = field(default_factory=list)  # frames between keyframes of shapes other than boxes
    missing: list[int] = field(default_factory=list)  # frames with a shape but no image
    moved: int = 0  # boxes interpolated between keyframes


def annotation_files(root: Path) -> list[Path]:
    """CVAT files with tracks and no images."""
    return [path for path in files_that(root, (".xml",), is_cvat_file, depth=3) if _has_tracks(path)]


def recognises(root: Path) -> bool:
    return bool(annotation_files(root))


def list_pairs(root: Path) -> Listing:
    """Every existing frame with a visible track."""
    paths = annotation_files(root)
    declared = [name for path in paths for name in declared_labels(path)]
    listing = list_pictures("cvat-video", root, paths, read, "CVAT's labels", declared)
    for split, samples in listing.splits.items():  # frames of one video stay in one split
        grouped = [replace(sample, group=listing.where(sample.mask or sample.image)) for sample in samples]
        listing.splits[split] = grouped
    for path in paths:
        film = read_or_none(lambda path: _film(path, path.stat().st_mtime_ns), path)
        if film is None:
            continue
        if film.missing:
            message = f"draws on {_several(film.missing)} without an image next to the file."
            listing.warn("image-missing", path, message, "Add the frames, or leave them out.")
        parts = [f"{len(film.pictures):,} of {len(film.images):,} frames drawn"]
        parts += [f"left out, as no track is visible: {_several(film.empty)}"] if film.empty else []
        between = "left out, as they lie between keyframes of shapes that only CVAT can interpolate (export all frames)"
        parts += [f"{between}: {_several(film.between)}"] if film.between else []
        parts += [f"{film.moved:,} boxes interpolated between keyframes"] if film.moved else []
        listing.notes.append(f"{listing.where(path)}: {'; '.join(parts)}.")
    return listing


def _has_tracks(path: Path) -> bool:
    """Whether the first element is a track, not an image."""
    with path.open("rb") as file:
        data = file.read(SEARCHED)
    first = re.search(rb"<(track|image)[\s>]", data)
    return first is not None and first[1] == b"track"


def _several(frames: list[int]) -> str:
    return f"{len(frames):,} frames, such as {frames[0]}" if len(frames) > 1 else f"frame {frames[0]}"


def read(path: Path) -> dict[Place, AnnotatedImage]:
    """The pictures of a video, by frame number. Raises Refusal."""
    return _film(path, path.stat().st_mtime_ns).pictures


mask_ids = partial(picture_mask, read)
object_ids = partial(picture_objects, read)


@lru_cache(maxsize=4)
def _film(path: Path, changed_ns: int) -> _Film:
    """A file's frames and their shapes. Raises Refusal."""
    root = tree_of(path, changed_ns)
    elements = root.findall("track")
    tasks = {element.get("task_id") for element in elements}
    count = "1 track" if len(elements) == 1 else f"{len(elements):,} tracks"
    if len(tasks) > 1:
        what = f"is CVAT for video ({count}) of {len(tasks)} tasks, whose frames have the same numbers."
        raise Refusal("unread-format", what, "Export each task, as CVAT for images 1.1 with its images.")
    tracks = [_track(element) for element in elements]
    images = _frames(path, root, {frame for track in tracks for frame in track.frames})
    if not images:
        what = f"is CVAT for video ({count}), and its frames are not next to it."
        raise Refusal("unread-format", what, f"Export as CVAT for images 1.1 with images. {FRAMES}")
    sides = [root.findtext(f"meta/{at}original_size/{side}") for at in ("", "task/") for side in ("height", "width")]
    known = [whole_text(side, "size of the film", 1) for side in sides if side]
    film = _Film(tracks, (known[0], known[1]) if len(known) >= 2 else None, images)
    _draw_film(film)
    return film


def _track(element: Element) -> _Track:
    shapes = [(whole_text(s.get("frame"), "frame"), i, s) for i, s in enumerate(element) if s.tag in SHAPES]
    shapes.sort(key=lambda shape: shape[:2])
    frames = [frame for frame, _, _ in shapes]
    if len(set(frames)) < len(frames):
        raise Refusal("annotations", "has two shapes of one track on one frame.", "Export it again.")
    return _Track(element.get("label") or OBJECT, frames, [shape for _, _, shape in shapes])


def _frames(path: Path, root: Element, drawn: set[int]) -> dict[int, Path]:
    """A file's images by frame, from the folder with most of the annotated frames; {} if there are none."""
    folders: defaultdict[Path, dict[int, Path]] = defaultdict(dict)
    for image in files_below(path.parent, IMAGE_SUFFIXES, depth=3):
        if number := LAST_NUMBER.search(image.stem):
            folders[image.parent][int(number[1])] = image
    length = next((text for at in ("task", "job") if (text := root.findtext(f"meta/{at}/size"))), "")
    best: tuple[int, bool, dict[int, Path]] = (0, False, {})
    for folder, images in folders.items():
        count = len(images)
        from_one = min(images) == 1 and max(images) == count and (length == str(count) or (not length and 0 in drawn))
        placed = {number - from_one: image for number, image in images.items()}
        score = (len(drawn & placed.keys()), folder.name == path.stem)
        if score == best[:2] and score[0]:
            others = f"{shown(folder.name)}/ and {shown(next(iter(best[2].values())).parent.name)}/"
            raise Refusal("unread-format", f"has frames in {others}.", f"Name the folder {shown(path.stem)}/.")
        best = max(best, (*score, placed), key=lambda one: one[:2])
    return best[2]


def _draw_film(film: _Film) -> None:
    """Fill in a video's pictures, and its frames without one, by reason."""
    figures: defaultdict[int, list[DrawnShape]] = defaultdict(list)  # in track order
    between: set[int] = set()
    missing: set[int] = set()
    order = sorted(film.images)
    sparse = any(_gaps(track) for track in film.tracks)
    for track in film.tracks:
        for i, (frame, shape) in enumerate(zip(track.frames, track.shapes, strict=True)):
            if shape.get("outside") == "1":
                continue
            figure = figure_of(shape, track.label, f"frame {frame}:")
            if frame in film.images:
                figures[frame].append(figure)
            else:
                missing.add(frame)
            if not sparse:
                continue
            following = track.shapes[i + 1] if i + 1 < len(track.frames) else None
            stop = len(order) if following is None else bisect_right(order, track.frames[i + 1] - 1)
            stays = following is None or following.get("outside") == "1"
            for later in order[bisect_right(order, frame) : stop]:
                if stays:
                    figures[later].append(figure)
                elif following is not None and shape.tag == following.tag == "box":
                    film.moved += 1
                    figures[later].append(_moved(track, i, later, figure.z))
                else:
                    between.add(later)
    film.missing, film.between = sorted(missing), sorted(between)
    film.empty = [frame for frame in order if frame not in figures and frame not in between]
    for frame in order:
        if frame in figures and frame not in between:
            at = film.images[frame]
            film.pictures[str(frame)] = AnnotatedImage(at.name, tuple(figures[frame]), film.size, at)


def _gaps(track: _Track) -> bool:
    """Whether a track holds keyframes only, with visible frames between them."""
    pairs = zip(track.frames, track.frames[1:], track.shapes, strict=False)
    keys = all(shape.get("keyframe", "1") == "1" for shape in track.shapes)
    return keys and any(after > frame + 1 and shape.get("outside") != "1" for frame, after, shape in pairs)


def _moved(track: _Track, i: int, frame: int, z: int) -> DrawnShape:
    """The box interpolated between shape i and the next."""
    share = (frame - track.frames[i]) / (track.frames[i + 1] - track.frames[i])
    ends = [
        [number_text(shape.get(key) or "0", key) for key in (*SIDES, "rotation")] for shape in track.shapes[i : i + 2]
    ]
    *sides, turned = (a + share * (b - a) for a, b in zip(*ends, strict=True))
    return DrawnShape.rectangle(track.label, "box", *sides, turned=turned, z=z)
