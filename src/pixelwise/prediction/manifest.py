"""OUT/predictions.jsonl: the outcome of every image, written as it comes, so that a killed run can resume.

One line per image, as `label_file.label_file` describes. It is written after the image's results, and each result is
whole or absent. So after a kill, images with a line are done, and the next run labels the others. OUT/.predictions
contains the settings that all results share, and a lock.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from pixelwise.errors import ImageError, OutputError, UsageError
from pixelwise.images.files import Refusal, read_bytes, shown, utf8, write_whole, writing_whole
from pixelwise.locks import hold, release
from pixelwise.maps.map_polygons import PolygonOptions
from pixelwise.prediction.channel_groups import source_digest, source_stat
from pixelwise.prediction.label_file import Job, LabelOptions, Record
from pixelwise.prediction.outputs import OBJECT_FILES, STATE
from pixelwise.prediction.probability_maps import PROBABILITY_FILES
from pixelwise.trace_events import finite

FILE_NAME = "predictions.jsonl"
VERSION = 2  # version 1 stored COCO's pieces in another form
KEY_BYTES = 16  # of hashes that identify images: even among 10¹² a collision is unlikely
Settings = dict[str, Any]


def settings_of(model_digest: str, classes: list[dict[str, Any]], options: LabelOptions) -> Settings:
    """What all results in one folder must share, as JSON types."""
    settings = {"version": VERSION, "model": model_digest, "classes": classes, **asdict(options)}
    if PROBABILITY_FILES.keys().isdisjoint(options.save):
        del settings["probabilities"]  # which an earlier version did not write
    if options.polygons == PolygonOptions():  # as folders have it that were written before there were such options
        del settings["polygons"]
    if OBJECT_FILES.keys().isdisjoint(options.save):
        del settings["objects"]
    return dict(json.loads(json.dumps(settings)))


@contextmanager
def open_manifest(out: Path, settings: Settings, *, fresh: bool = False) -> Iterator[Manifest]:
    """Create or open OUT, lock it, and find out what is done.

    Args:
        fresh: start over: remove the results of an earlier run instead of resuming it.

    Raises:
        UsageError: an earlier run had other settings, without `fresh`. Nothing was changed.
        OutputError: another process writes here, or the folder cannot be written.
    """
    make_folder(out / STATE)
    with locked(out):
        if fresh:
            clear(out)
        else:
            refuse_other_settings(out, settings)
        done = tidied(out)
        write_whole(out / STATE / "settings.json", (json.dumps(settings, indent=1) + "\n").encode())
        try:
            file = (out / FILE_NAME).open("ab", buffering=0)
        except OSError as error:
            raise unwritable(out / FILE_NAME, error) from error
        with file:
            manifest = Manifest(out, done, file)
            yield manifest
            manifest.sync()
        if manifest.superseded:
            tidied(out, keep_failed=True)


class Manifest:
    """The manifest of a run that has locked the folder."""

    def __init__(self, out: Path, done: dict[bytes, bytes], file: IO[bytes]) -> None:
        self.out, self.done, self.file = out, done, file
        self.superseded = 0  # images with an earlier line, whose file has changed since

    def is_done(self, job: Job) -> bool:
        """Whether this image's results exist and were made from the file as it is now.

        Raises:
            ImageError: the results under its name belong to another image.
        """
        entry = self.done.get(key_of(os.fsencode(job.name)))
        if entry is None:
            return False
        path = key_of(os.fsencode(absolute(job.image)))
        try:
            if entry[: 2 * KEY_BYTES] == path + stamp(*source_stat(job.image, job.channels)):
                return True
            same = entry[2 * KEY_BYTES :] == source_digest(job.image, job.channels)
        except (OSError, Refusal, ImageError):
            return False  # unreadable: reported when it is read
        if not same and entry[:KEY_BYTES] != path:
            raise ImageError(
                f"{shown(job.image)}: {shown(job.out / job.name)} belongs to another image of this name. Choose "
                "another --out, or start over with --fresh and these images only."
            )
        self.superseded += not same
        return same

    def append(self, record: Record) -> None:
        """Write one line, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        line = utf8(json.dumps(finite(record), ensure_ascii=False) + "\n")
        before = self.file.seek(0, os.SEEK_END)
        try:
            if self.file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.file.truncate(before)
            raise unwritable(self.out / FILE_NAME, error) from error

    def sync(self) -> None:
        """Flush to disk. Raises OutputError."""
        try:
            os.fsync(self.file.fileno())
        except OSError as error:
            raise unwritable(self.out / FILE_NAME, error) from error


def read_records(out: Path) -> Iterator[Record]:
    """The lines of a manifest, oldest first, without one that a kill truncated."""
    return (record for _, record in numbered_records(out / FILE_NAME) if record)


def numbered_records(path: Path) -> Iterator[tuple[bytes, Record | None]]:
    """Every line and its record; None for a damaged line."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                record = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                record = None
            yield line, record if isinstance(record, dict) and "name" in record else None


def tidied(out: Path, *, keep_failed: bool = False) -> dict[bytes, bytes]:
    """Keep one line per image in the manifest: the last of those with results or, if `keep_failed`, an error.

    Returns the entries of finished images by the hash of their names, for `Manifest.is_done`.

    Raises:
        OutputError: the manifest cannot be rewritten.
    """
    path = out / FILE_NAME
    done: dict[bytes, bytes] = {}
    last: dict[bytes, int] = {}  # number of the line to keep for a name
    lines = 0
    try:
        for lines, (_, record) in enumerate(numbered_records(path), start=1):
            if record is not None and is_whole(record, out):
                key = key_of(raw_name(record))
                last[key], done[key] = lines, entry_of(record)
            elif record is not None and keep_failed and record.get("error"):
                key = key_of(raw_name(record))
                last[key] = lines
                done.pop(key, None)
        if len(last) < lines:
            with writing_whole(path) as file:
                for number, (line, record) in enumerate(numbered_records(path), start=1):
                    if record is not None and last.get(key_of(raw_name(record))) == number:
                        file.write(line)
    except OSError as error:
        raise unwritable(path, error) from error
    return done


def is_whole(record: Record, out: Path) -> bool:
    """Whether a record has no error and its results exist."""
    try:
        return not record["error"] and all(path.exists() for path in results_of(record, out))
    except (KeyError, TypeError, ValueError, OSError):
        return False


def results_of(record: Record, out: Path) -> list[Path]:
    """The files of a record, only those in OUT: Pixelwise writes no others."""
    ends = [os.fsencode(saved) for saved in record["saved"]]
    if "raw" in record:  # the name in the paths is not valid: replace it
        name, text = raw_name(record), os.fsencode(record["name"])
        ends = [end.replace(text, name, 1) for end in ends]
    paths = [out / os.fsdecode(end) for end in ends]
    return [path for path in paths if ".." not in path.parts and path.is_relative_to(out)]


def raw_name(record: Record) -> bytes:
    raw = record.get("raw")
    return bytes.fromhex(raw["name"]) if isinstance(raw, dict) else os.fsencode(str(record["name"]))


def entry_of(record: Record) -> bytes:
    """What identifies an image's file: path, size and time, or if these differ, its content."""
    raw = record.get("raw")
    path = bytes.fromhex(raw["file"]) if isinstance(raw, dict) else os.fsencode(str(record["file"]))
    return key_of(path) + stamp(record["bytes"], record["modified_ns"]) + bytes.fromhex(record["sha256"])


def stamp(size: int, modified_ns: int) -> bytes:
    return key_of(f"{size} {modified_ns}".encode())


def key_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=KEY_BYTES).digest()


def absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 – resolve() would follow a link and lose the name that was given


def refuse_other_settings(out: Path, settings: Settings) -> None:
    """Raise UsageError if the results in OUT come from another model or other options."""
    path = out / STATE / "settings.json"
    if not path.exists():
        if (out / FILE_NAME).exists():
            raise UsageError(f"{shown(out)}: contains {FILE_NAME}, but not its settings. {REMEDY}")
        return
    try:
        earlier = json.loads(read_bytes(path))
    except (Refusal, ValueError) as error:
        raise UsageError(f"{shown(path)}: is damaged. {REMEDY}") from error
    if earlier == settings:
        return
    known = earlier if isinstance(earlier, dict) else {}
    differences = [
        f"{OPTIONS.get(key, key)} was {as_words(known.get(key))}, now {as_words(settings.get(key))}"
        for key in {**settings, **known}
        if known.get(key) != settings.get(key)
    ]
    raise UsageError(f"{shown(out)}: contains results with other settings: {'; '.join(differences)}. {REMEDY}")


OPTIONS = {"save": "--save", "tta": "--tta"}  # names of settings on the command line
REMEDY = "Choose another --out, or start over with --fresh, which removes the earlier results."


def as_words(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(item.get("name") if isinstance(item, dict) else item) for item in value)
    return (value[:12] if isinstance(value, str) else str(value)) or "none"


def clear(out: Path) -> None:
    """Remove the results that the manifest names, and the manifest."""
    try:
        for record in read_records(out):
            if not record.get("error"):
                for path in results_of(record, out):
                    path.unlink(missing_ok=True)
        (out / FILE_NAME).unlink(missing_ok=True)
        (out / STATE / "settings.json").unlink(missing_ok=True)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise OutputError(
            f"{shown(out)}: earlier results cannot be removed ({error}). Choose another --out."
        ) from error


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{shown(folder)}: this folder cannot be created ({error.strerror}). Choose one that you may write to."
        ) from error


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Lock OUT for this process; the lock ends with the process, however it ends.

    Raises:
        OutputError: another process has locked it, or the file system cannot lock.
    """
    try:
        file = hold(out / STATE / "lock")
    except OSError as error:
        raise OutputError(
            f"{shown(out)}: cannot be written or locked ({error.strerror}). Choose a folder on another disk."
        ) from error
    if file is None:
        raise OutputError(
            f"{shown(out)}: another `pixelwise predict` is writing here. Wait until it ends, or choose another --out."
        )
    try:
        yield
    finally:
        release(file)


def unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{shown(path)}: cannot be written ({error.strerror}). Free disk space, or correct the folder's permissions; "
        "then run the same command again to resume."
    )
