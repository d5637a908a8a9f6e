"""One image file → its results, whole or not at all, and a record of what was done.

`label_file` depends on no other image and on no order, and its arguments and its record can be sent to another process:
the threads of a folder and the workers of a cluster call the same function.

Shapes: H, W an image's size; N its bands.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from pixelwise.bundle.metadata import Metadata
from pixelwise.datasets.file_kinds import is_volume
from pixelwise.errors import ImageError, OutputError, PixelwiseError
from pixelwise.images.declared_no_data import Absent, void_where
from pixelwise.images.decode import MAX_PIXELS
from pixelwise.images.dropped_content import DroppedContent
from pixelwise.images.files import Refusal, shown
from pixelwise.images.input_image import InputImage
from pixelwise.maps.grid import Grid
from pixelwise.maps.map_polygons import PolygonOptions
from pixelwise.maps.mosaic import is_mosaic
from pixelwise.objects.object_options import ObjectOptions
from pixelwise.prediction.channel_groups import (
    absent_in_source,
    digest_of,
    modified_at,
    source_bytes,
    source_digest,
    source_stat,
)
from pixelwise.prediction.confidence_maps import RowsOfProbabilities
from pixelwise.prediction.label_volume import ENDINGS, label_volume, refuse_outputs
from pixelwise.prediction.large.tile_plan import Tiles, is_cut, is_large, is_read_by_rows, loses_scale, tile_size
from pixelwise.prediction.load_model import Model
from pixelwise.prediction.map_outputs import map_files, note, place_of
from pixelwise.prediction.objects_once import ObjectsOnce
from pixelwise.prediction.outputs import DEFAULT, LARGE_OUTPUTS, OUTPUTS, STATE, WholeImage
from pixelwise.prediction.probability_maps import PROBABILITY_FILES, ProbabilityOptions
from pixelwise.prediction.result_files import ResultFile, refuse_overwriting, write_results
from pixelwise.prediction.volume_slices import VolumeSlices
from pixelwise.records import OnProgress, Prediction, Raster, no_progress

# Why one result cannot be written although others can: its name is too long or not allowed, or a folder has it.
OF_ONE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)
Record = dict[str, Any]  # one line of the manifest, see `label_file`
Label = Callable[[Raster, float], Prediction]  # the image, and the milliseconds that decoding it took
Room = Callable[[int], AbstractContextManager[None]]  # waits until an image of so many pixels may be in memory


class Job(NamedTuple):
    """One image and where its results go: OUT/NAME and a file extension each."""

    image: Path
    out: Path
    name: str  # the image's path below the folder that was named, without suffix: "day 2/frame.0001"
    channels: tuple[Path, ...] = ()  # the file of each band, where these are several; `image` is the first


@dataclass(frozen=True)
class LabelOptions:
    """With the model, everything that determines an image's results."""

    save: tuple[str, ...] = DEFAULT  # keys of outputs.OUTPUTS
    tta: str = ""  # TTA variants to average, as `tta.variants_of` reads them; "": none
    tiles: Tiles = Tiles()  # noqa: RUF009 (frozen) – how large images are cut
    probabilities: ProbabilityOptions = ProbabilityOptions()  # noqa: RUF009 (frozen)
    polygons: PolygonOptions = PolygonOptions()  # noqa: RUF009 (frozen) – in map coordinates
    objects: ObjectOptions = ObjectOptions()  # noqa: RUF009 (frozen)

    def is_cut(self, size: tuple[int, int], metadata: Metadata) -> bool:
        """Whether an image of this size (H, W) is labelled and written piece by piece.

        So is one whose probabilities are saved if the network labels it in tiles: put together in memory, its scores
        may have a lower resolution than the labels were made from. TTA averages such scores, and its labels are theirs.
        """
        if is_large(size, self.tiles, metadata.bands):
            return True
        has_probabilities = not PROBABILITY_FILES.keys().isdisjoint(self.save)
        return has_probabilities and not self.tta and is_cut(size, metadata.policy, metadata.bands)

    def suits_tiles(self) -> bool:
        """Whether all of this can be made tile by tile."""
        return not self.tta and {*self.save} <= {*LARGE_OUTPUTS, *PROBABILITY_FILES, "overlay"}


def label_file(
    model: Model,
    job: Job,
    options: LabelOptions,
    *,
    label: Label | None = None,
    room: Room = nullcontext,  # type: ignore[assignment]
    turn: AbstractContextManager[object] | None = None,
    tile_progress: OnProgress = no_progress,
) -> Record:
    """Read, label and write one image, whole or not at all. An error of this image alone is returned in its record.

    Args:
        label: predicts; None: `model.predict`.
        room: entered while the image is in memory.
        turn: entered while the network runs, so that no more networks run than there are cores.
        tile_progress: called with (tiles done, tiles in all) of an image that is cut.

    Returns:
        file (absolute path; with one file a channel, the first, and channels has all), name, sha256, bytes and
        modified_ns of the image file; width, height; shares of the classes, 0–1; milliseconds of decode, model,
        write, and of all including waiting; saved, the files below OUT; notes, content of the file that is not used;
        error, or None. A path that is not UTF-8 is also in raw, as hexadecimal bytes.

    Raises:
        OutputError: results cannot be written. Nothing of this image is left.
    """
    record: Record = {**names_of(job), "notes": [], "error": None}
    try:
        if is_volume(job.image):
            return record | label_slices_of(model, job, options, label, room, turn or nullcontext(), tile_progress)
        return label_into(record, model, job, options, label, room, turn or nullcontext(), tile_progress)
    except OutputError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in OF_ONE_NAME:
            raise
        return failed(record, str(error))
    except Exception as error:  # one bad file costs one file
        return failed(record, error_message(job.image, error))


def label_into(
    record: Record,
    model: Model,
    job: Job,
    options: LabelOptions,
    label: Label | None,
    room: Room,
    turn: AbstractContextManager[object],
    tile_progress: OnProgress,
) -> Record:
    """Label an image. `record` is filled as facts about the file become known; returns it with the results."""
    began, bands = time.perf_counter(), model.metadata.bands
    modified_ns = modified_at(job.image, job.channels)  # first: a file that changes meanwhile has another time
    if not job.channels and (is_mosaic(job.image) or is_read_by_rows(job.image, options.tiles, bands)):
        with room(MAX_PIXELS), turn:
            record |= {"sha256": digest_of(job.image), "bytes": job.image.stat().st_size, "modified_ns": modified_ns}
            return record | label_tiles_of(model, job, options, None, None, tile_progress)
    data = source_bytes(job.image, job.channels)
    stored = source_stat(job.image, job.channels)[0] if job.channels else len(data)
    record |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": stored, "modified_ns": modified_ns}
    encoded = InputImage(data, bands, shown(job.image))
    size = encoded.height, encoded.width
    with room(encoded.stored_pixels):
        start = time.perf_counter()
        (image_HWN, dropped), absent_HW = encoded.decode(), absent_in_source(encoded, job.channels)
        record["notes"] = notes_of(dropped)
        del data, encoded
        decode_ms = (time.perf_counter() - start) * 1e3
        in_one_scale = notes_of_scale(model.metadata, job, options, size)
        if in_one_scale or options.is_cut(size, model.metadata):
            with turn:
                notes = record["notes"] + in_one_scale
                return record | label_tiles_of(model, job, options, image_HWN, absent_HW, tile_progress, notes)
        with turn:
            start = time.perf_counter()
            by_rows = None
            if label:
                prediction = label(image_HWN, decode_ms)
            else:
                prediction, by_rows = model.predict_by_rows(image_HWN, tta=options.tta)
            prediction = replace(prediction, labels=void_where(prediction.labels, absent_HW))
        labelled, (grid, lost) = time.perf_counter(), place_of(job.image, options.save)
        record["notes"] += lost
        files, name = files_of(job, options, grid), name_of_image(job)
        with objects_once(model, options, job) as objects:
            whole = WholeImage(image_HWN, prediction, name, bands, job.image, by_rows, options.probabilities, objects)
            write_results(files, whole, job.image)
    ended = time.perf_counter()
    return record | {
        "width": image_HWN.shape[1],
        "height": image_HWN.shape[0],
        "shares": rounded(shares_of(prediction)),
        "milliseconds": {
            "decode": round(decode_ms, 3),
            "model": round((labelled - start) * 1e3, 3),
            "write": round((ended - labelled) * 1e3, 3),
            "all": round((ended - began) * 1e3, 3),
        },
        "saved": [as_text(os.path.relpath(file.path, job.out)) for file in files],
        **objects.record,
    }


def label_slices_of(
    model: Model, job: Job, options: LabelOptions, label: Label | None, room: Room,
    turn: AbstractContextManager[object], progress: OnProgress,
) -> Record:  # fmt: skip
    """Label a volume slice by slice. Returns its part of the record. Raises as `label_volume`."""
    modified_ns = modified_at(job.image, job.channels)  # before it is read, as in `label_into`
    digest = source_digest(job.image, job.channels).hex()
    refuse_outputs(job.image, options.save, tiled=options.tiles != Tiles())
    volume = VolumeSlices(job.channels or (job.image,), model.metadata.bands, shown(job.image))
    results = dict(zip(options.save, paths_of(job, options.save), strict=True))
    refuse_overwriting(job.image, results.values())

    def predict(image_HWN: Raster, decode_ms: float) -> tuple[Prediction, RowsOfProbabilities | None]:
        return (label(image_HWN, decode_ms), None) if label else model.predict_by_rows(image_HWN, tta=options.tta)

    with room(volume.pixels_in_memory):
        facts = label_volume(volume, model.classes, predict, results, turn, progress)
    file = {"sha256": digest, "bytes": source_stat(job.image, job.channels)[0], "modified_ns": modified_ns}
    return {**file, **facts, "saved": [as_text(os.path.relpath(path, job.out)) for path in results.values()]}


def notes_of_scale(metadata: Metadata, job: Job, options: LabelOptions, size: tuple[int, int]) -> list[dict[str, str]]:
    """The note of an image that is cut although it is not large, to keep the scale of its map; [] if it is not cut."""
    if not options.suits_tiles() or not loses_scale(metadata, size) or place_of(job.image, DEFAULT)[0] is None:
        return []
    height, width = tile_size(metadata)[0]
    what = f"labelled in tiles of {height}×{width} pixels, the size of the training images, at the map's scale"
    return [note(f"{what}; --tile chooses another.")]


def objects_once(model: Model, options: LabelOptions, job: Job) -> ObjectsOnce:
    """What finds the objects of an image, if an output asks for them."""
    return ObjectsOnce(options.objects, model.metadata, job.image)


def shares_of(prediction: Prediction) -> dict[str, float]:
    """Each class's share of the pixels that have a label, 0–1."""
    shares = prediction.shares
    labelled = sum(shares.values())
    return {name: share / labelled for name, share in shares.items()} if 0 < labelled < 1 - 1e-9 else shares


def error_message(image: Path, error: Exception) -> str:
    """What is wrong with an image, for its record."""
    name = shown(image)
    if isinstance(error, (Refusal, PixelwiseError)):
        return str(error) if name in str(error) else f"{name}: {error}"
    if isinstance(error, MemoryError):
        return f"{name}: not enough memory. Make the image smaller, or cut it into tiles."
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"{name}: could not be labelled ({reason}). Convert it to PNG, or remove it."


def label_tiles_of(
    model: Model,
    job: Job,
    options: LabelOptions,
    image_HWN: Raster | None,
    absent_HW: Absent | None,
    progress: OnProgress,
    notes: Sequence[dict[str, str]] = (),
) -> Record:
    """Label an image tile by tile: pixels, or None for a file read as it is labelled. Returns its part of the record.

    `absent_HW`: where the pixels' file holds no data; `notes`: of the pixels. Those of a file are found as it is read.

    Raises:
        ImageError: it cannot be read or cut, or an option does not work with tiles.
    """
    from pixelwise.prediction.large.banded_rows import open_rows  # which loads tifffile
    from pixelwise.prediction.large.label_large import LargeResults, label_large, with_ending
    from pixelwise.prediction.large.rows_of_image import ArrayImage

    possible = (*LARGE_OUTPUTS, *PROBABILITY_FILES, "overlay")
    if others := [key for key in options.save if key not in possible]:
        raise ImageError(
            f"{shown(job.image)}: the image is cut into tiles, and {', '.join(others)} can only be made from a whole "
            f"image. Possible with tiles: {', '.join(possible)}."
        )
    if options.tta:
        raise ImageError(
            f"{shown(job.image)}: test-time augmentation does not work with tiles, and the image is cut into tiles. "
            "Leave out --tta."
        )
    base = job.out / job.name
    grid, lost = place_of(job.image, options.save)
    files = [file for file in files_of(job, options, grid) if file.key != "overlay"]
    results = {file.key: file.path for file in files}
    writers = {file.key: file.parts for file in files if file.on_map}
    if image_HWN is None and results.keys() - writers.keys() >= {"labels"}:
        results["labels"] = with_ending(base, ".tif")  # with the image's tags, whatever they say
    refuse_overwriting(job.image, results.values())
    if image_HWN is None:
        image = open_rows(job.image, model.metadata.bands)
    else:
        image = ArrayImage(image_HWN, job.image, absent_HW)
    with objects_once(model, options, job) as objects:
        written = LargeResults(base, results, name_of_image(job), options.probabilities, writers, objects)
        facts = label_large(model.engine, job.image, image, written, options.tiles, progress=progress)
    saved = [*results.values(), with_ending(base, ".overlay.png"), with_ending(base, ".json")]
    return {
        "width": facts["width"],
        "height": facts["height"],
        "shares": rounded(facts["shares"]),
        "milliseconds": {"all": round(facts["seconds"] * 1e3, 3)},
        "tiles": facts["tiles"],
        "saved": [as_text(os.path.relpath(path, job.out)) for path in saved],
        "notes": [*(notes_of(image.dropped) if image_HWN is None else notes), *lost],
        **objects.record,
    }


def rounded(shares: dict[str, float]) -> dict[str, float]:
    """To 1 in a million, below what a person or a chart can distinguish."""
    return {name: round(share, 6) for name, share in shares.items()}


def notes_of(dropped: Sequence[DroppedContent]) -> list[dict[str, str]]:
    """Content of an image's file that is not used, as JSON."""
    return [{"kind": one.kind, "message": one.sentence("labelled")} for one in dropped]


def name_of_image(job: Job) -> str:
    """The path of the image's file below the folder that was named, with its suffix. A mosaic has its labels'."""
    if is_mosaic(job.image):
        return f"{job.name}.tif"
    return str(PurePath(job.name).with_name(job.image.name))


def failed(record: Record, error: str) -> Record:
    return record | {"saved": [], "error": error}


def names_of(job: Job) -> Record:
    """The paths in a record. JSON holds text only, so bytes that are not UTF-8 are added as hexadecimal digits."""
    path = os.path.abspath(job.image)  # noqa: PTH100 – resolve() would follow a link and lose the name that was given
    names: Record = {"file": as_text(path), "name": as_text(job.name)}
    if job.channels:
        names["channels"] = [as_text(os.path.abspath(one)) for one in job.channels]  # noqa: PTH100
    if names["file"] != path:
        names["raw"] = {"file": os.fsencode(path).hex(), "name": os.fsencode(job.name).hex()}
    return names


def as_text(path: str) -> str:
    """A path as valid Unicode. Control characters stay: JSON escapes them."""
    return os.fsencode(path).decode("utf-8", "replace")


def paths_of(job: Job, save: Sequence[str]) -> list[Path]:
    """Where an image's results go."""
    own = ENDINGS if is_volume(job.image) else {}
    return [job.out / OUTPUTS[key].folder / (job.name + own.get(key, OUTPUTS[key].ending)) for key in save]


def files_of(job: Job, options: LabelOptions, grid: Grid | None) -> list[ResultFile]:
    """The files of an image's results. `grid`: its place on the earth, if it has one."""
    placed = [] if grid is None else map_files(options.save, grid, options.polygons, job.out / STATE)
    on_map = [ResultFile(one.key, job.out / (job.name + one.ending), one.parts, on_map=True) for one in placed]
    others = [key for key in options.save if key not in {one.key for one in placed}]
    plain = [
        ResultFile(key, path, OUTPUTS[key].parts, on_map=False)
        for key, path in zip(others, paths_of(job, others), strict=True)
    ]
    return on_map + plain
