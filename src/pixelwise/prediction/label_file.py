"""One image file → its results, whole or not at all, and a record of what was done.

`label_file` knows no other image and no order, and its arguments and its record can be sent to another process: a
folder's threads and a cluster's workers call the same function.

Shapes: H, W an image's own size.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pixelwise.errors import BundleError, ImageError, OutputError, UsageError, as_missing_extra
from pixelwise.images.decode import MAX_PIXELS, open_image, pixels_and_dropped
from pixelwise.images.dropped_content import DroppedContent
from pixelwise.images.files import Refusal, read_bytes, shown, write_whole
from pixelwise.images.image_files import count_ids
from pixelwise.prediction.large.tile_plan import Tiles, is_cut, is_large, is_large_tiff
from pixelwise.prediction.load_model import Model
from pixelwise.prediction.outputs import DEFAULT, OUTPUTS
from pixelwise.records import Pixels, Prediction

if TYPE_CHECKING:
    from pixelwise.images.tiff import TiffImage

# What keeps one result from being written and not the next: its name is too long, not allowed, or a folder has it.
OF_ONE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)
Record = dict[str, Any]  # one line of the manifest, see `label_file`
Label = Callable[[Pixels, float], Prediction]  # the image, and the milliseconds that decoding it took
Room = Callable[[int], AbstractContextManager[None]]  # waits until an image of so many pixels may be held


Progress = Callable[[int, int], None]  # what is done of what there is


def unwatched(_done: int, _total: int) -> None:
    """The progress of work that nobody watches."""


class Job(NamedTuple):
    """One image and where its results go: OUT/NAME and an ending each."""

    image: Path
    out: Path
    name: str  # the image's path below the folder that was named, without suffix: "day 2/frame.0001"


@dataclass(frozen=True)
class LabelOptions:
    """What is saved for each image and how its labels come about: with the model, all that decides the results."""

    save: tuple[str, ...] = DEFAULT  # keys of outputs.OUTPUTS
    tta: str = ""  # views to average, as `tta.views_of` reads them; "": the image as it is
    tiles: Tiles = Tiles()  # noqa: RUF009 (frozen) – how images too large to be labelled at once are cut


def label_file(
    model: Model,
    job: Job,
    wanted: LabelOptions,
    *,
    label: Label | None = None,
    room: Room | None = None,
    turn: AbstractContextManager[object] | None = None,
    tile_progress: Progress = unwatched,
) -> Record:
    """Read, label and write one image, whole or not at all.

    What is wrong with the image itself, or keeps the model from running on it, is reported in the record: one bad file
    costs one file.

    Args:
        label: makes the prediction; None: the model does.
        room: held while the image is; None: nothing is waited for.
        turn: held while the network runs, so that no more of them run than there are cores.
        tile_progress: called with (tiles done, tiles in all) of an image that is cut.

    Returns:
        file (absolute path), name, sha256, bytes and modified_ns of the image file; width, height; shares of the
        classes, 0–1; milliseconds of decode, model and write, and of all with waiting; saved, the files below OUT;
        notes, what of the file is not used; error, None where it went well. A path that is not UTF-8 is there as
        hexadecimal bytes too, under raw.

    Raises:
        OutputError: a result cannot be written. Nothing of this image is left.
    """
    record: Record = {**named(job), "notes": [], "error": None}
    try:
        read_and_label(record, model, job, wanted, label, room or (lambda _pixels: nullcontext()),
                       turn or nullcontext(), tile_progress)  # fmt: skip
    except Refusal as refusal:
        return failed(record, f"{shown(job.image)}: {refusal}")
    except (ImageError, BundleError, UsageError) as error:
        return failed(record, f"{shown(job.image)}: {error}" if shown(job.image) not in str(error) else str(error))
    except OutputError as error:
        if errno_of(error) not in OF_ONE_NAME:
            raise
        return failed(record, str(error))
    except MemoryError:
        return failed(record, f"{shown(job.image)}: not enough memory for it. Make it smaller, or cut it into tiles.")
    except Exception as error:  # whatever it is, it is this file's, and the others are labelled
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return failed(record, f"{shown(job.image)}: could not be labelled ({reason}). Convert it to PNG, or remove it.")
    return record


def read_and_label(
    record: Record,
    model: Model,
    job: Job,
    wanted: LabelOptions,
    label: Label | None,
    room: Room,
    turn: AbstractContextManager[object],
    tile_progress: Progress,
) -> None:
    """Fill `record` as the work goes on, so that it says what is known where the work fails."""
    began = time.perf_counter()
    status = stat_of(job.image)  # before its content: what is written later has another time
    if is_large_tiff(job.image, wanted.tiles):
        with room(MAX_PIXELS), turn:
            record |= {"sha256": digest_of(job.image), "bytes": job.image.stat().st_size, "modified_ns": status}
            record |= label_cut(model, job, wanted, None, tile_progress)
        return
    data = read_bytes(job.image)
    record |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "modified_ns": status}
    opened = open_image(data)
    width, height = opened.image.size
    with room(width * height):
        waited = time.perf_counter()
        pixels, dropped = pixels_and_dropped(data, opened)
        image_HW3 = np.ascontiguousarray(pixels)
        record["notes"] = noted(dropped)
        del data, opened, pixels
        decode_ms = (time.perf_counter() - waited) * 1e3
        if is_large((height, width), wanted.tiles):
            with turn:
                record |= label_cut(model, job, wanted, image_HW3, tile_progress)
            return
        if label and is_cut((height, width), model.metadata.policy):
            raise ImageError(
                f"{shown(job.image)}: has {width}×{height} pixels, and the four stages are those of an image that "
                "is labelled at once. Leave out --flow, or make it smaller."
            )
        with turn:
            started = time.perf_counter()
            prediction = label(image_HW3, decode_ms) if label else model.predict(image_HW3, tta=wanted.tta)
        labelled = time.perf_counter()
        write_results(job, wanted.save, image_HW3, prediction)
    written = time.perf_counter()
    record |= {
        "width": image_HW3.shape[1],
        "height": image_HW3.shape[0],
        "shares": shares_of(prediction),
        "milliseconds": {
            "decode": round(decode_ms, 3),
            "model": round((labelled - started) * 1e3, 3),
            "write": round((written - labelled) * 1e3, 3),
            "all": round((written - began) * 1e3, 3),
        },
        "saved": [utf8(os.path.relpath(path, job.out)) for path in paths_of(job, wanted.save)],
    }


def label_cut(model: Model, job: Job, wanted: LabelOptions, image_HW3: Pixels | None, progress: Progress) -> Record:
    """Label an image tile by tile: a TIFF as it is read, or pixels that are decoded already. Returns its record's part.

    Raises:
        ImageError: it cannot be read or cut, or something is wanted that is only made of whole images.
    """
    from pixelwise.prediction.large.label_large import ArrayImage, ending, label_large
    from pixelwise.prediction.large.large_outputs import LARGE_OUTPUTS

    if others := [key for key in wanted.save if key not in (*LARGE_OUTPUTS, "overlay")]:
        raise ImageError(
            f"{shown(job.image)}: it is cut into tiles, and {', '.join(others)} can only be made of a whole image. "
            f"Of this one there can be: {', '.join((*LARGE_OUTPUTS, 'overlay'))}."
        )
    if wanted.tta:
        raise ImageError(
            f"{shown(job.image)}: views are not averaged of an image that is cut into tiles; leave out --tta."
        )
    base = job.out / job.name
    results = {key: path for key, path in zip(wanted.save, paths_of(job, wanted.save), strict=True) if key != "overlay"}
    if image_HW3 is None and "labels" in results:
        results["labels"] = ending(base, ".tif")  # which can keep its place on the earth
    if os.path.realpath(job.image) in map(os.path.realpath, results.values()):
        raise ImageError(f"{shown(job.image)}: its labels would overwrite it. Choose another folder for --out.")
    image = opened_tiff(job.image) if image_HW3 is None else ArrayImage(image_HW3)
    name = name_of_image(job)
    facts = label_large(model.engine, job.image, image, base, results, wanted.tiles, name=name, progress=progress)
    saved = [*results.values(), ending(base, ".overlay.png"), ending(base, ".json")]
    return {
        "width": facts["width"],
        "height": facts["height"],
        "shares": {name: round(share, 6) for name, share in facts["shares"].items()},
        "milliseconds": {"all": round(facts["seconds"] * 1e3, 3)},
        "tiles": facts["tiles"],
        "saved": [utf8(os.path.relpath(path, job.out)) for path in saved],
        **({"notes": noted(image.dropped)} if image_HW3 is None else {}),
    }


def noted(dropped: Sequence[DroppedContent]) -> list[dict[str, str]]:
    """What of an image's file is not used, as JSON."""
    return [{"kind": one.kind, "message": one.sentence("labelled")} for one in dropped]


def opened_tiff(path: Path) -> TiffImage:
    """A TIFF of any size. Raises ImageError: it cannot be read, or the extra `tiff` is missing."""
    try:
        from pixelwise.images.tiff import TiffImage
    except ModuleNotFoundError as error:
        missing = as_missing_extra(error)
        if missing is None:
            raise
        raise ImageError(f"{shown(path)}: is a TIFF that is to be read piece by piece, for which {missing}") from error
    return TiffImage(path)


def name_of_image(job: Job) -> str:
    """The image's file below the folder that was named, with its ending."""
    return str(PurePath(job.name).with_name(job.image.name))


def digest_of(path: Path) -> str:
    """SHA-256 of a file that may be too large for memory. Raises ImageError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{shown(path)}: cannot be read ({error.strerror}).") from error


def errno_of(error: OutputError) -> int | None:
    return error.__cause__.errno if isinstance(error.__cause__, OSError) else None


def failed(record: Record, error: str) -> Record:
    return record | {"saved": [], "error": error}


def named(job: Job) -> Record:
    """The names in a record. JSON holds text only, so bytes that are no text are there twice."""
    path = os.path.abspath(job.image)  # noqa: PTH100 – resolve() would follow a link and lose the name that was given
    names: Record = {"file": utf8(path), "name": utf8(job.name)}
    if names["file"] != path:
        names["raw"] = {"file": os.fsencode(path).hex(), "name": os.fsencode(job.name).hex()}
    return names


def utf8(path: str) -> str:
    """A path as text that any reader of JSON takes; control characters stay, JSON escapes them."""
    return os.fsencode(path).decode("utf-8", "replace")


def stat_of(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # reading it reports what is wrong
        return None


def shares_of(prediction: Prediction) -> dict[str, float]:
    """Each class's share of the pixels, rounded to what a person or a chart can tell apart: 1 in a million."""
    counts = count_ids(prediction.labels)
    names = prediction.classes.names
    return {name: round(counts.get(i, 0) / prediction.labels.size, 6) for i, name in enumerate(names)}


def paths_of(job: Job, save: Sequence[str]) -> list[Path]:
    """Where an image's results go."""
    return [job.out / OUTPUTS[key].folder / (job.name + OUTPUTS[key].ending) for key in save]


def write_results(job: Job, save: Sequence[str], image_HW3: Pixels, prediction: Prediction) -> None:
    """Write files all or none: what was written of them is taken away again where one cannot be written.

    Raises:
        OutputError: one cannot be written.
    """
    name = name_of_image(job)
    written: list[Path] = []
    with cleared(written):
        for key, path in zip(save, paths_of(job, save), strict=True):
            content = OUTPUTS[key].encode(image_HW3, prediction, name)
            new = not os.path.lexists(path)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = f"cannot be made ({error.strerror}). Choose another folder."
                raise OutputError(f"{shown(path.parent)}: {reason}") from error
            write_whole(path, content)
            if new:
                written.append(path)


@contextmanager
def cleared(written: list[Path]) -> Iterator[None]:
    """Take these files away again where the work ends early."""
    try:
        yield
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
