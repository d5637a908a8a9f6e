"""What became of the images of a run of `predict`: counted as it goes, and summed up at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pixelwise.errors import ImageError
from pixelwise.images.dropped_content import CHANNELS, DEPTH, LEFT_OVER, PAGES
from pixelwise.images.files import shown
from pixelwise.prediction.find_images import CLASH_REMEDY, Survey, count, other_files
from pixelwise.prediction.label_file import Job, Record, failed, names_of
from pixelwise.prediction.manifest import FILE_NAME, Manifest
from pixelwise.prediction.map_outputs import PLACE, SCALE
from pixelwise.prediction.masks_left_out import masks_in_words
from pixelwise.records import OnProgress

UNUSED = {
    CHANNELS: "channels that vary and are not used",
    PAGES: "more than one page or frame, of which the first is labelled",
    DEPTH: "more than 8 bits, reduced to 8",
    LEFT_OVER: "extra bytes after the pixels, so that the image may be damaged",
    PLACE: "a place on the earth that the results do not have",
    SCALE: "a scale and offset of the bands that are not applied: stored values are used",
}
LISTED_FAILURES = 20  # in a summary; all are in the manifest


class UnusedContent(NamedTuple):
    """Content of one or more images' files that is not used."""

    kind: str  # a `kind` of `images.dropped_content`
    images: int
    file: Path  # the first of them
    message: str  # about that one

    def __str__(self) -> str:
        if self.images == 1:
            return f"{shown(self.file)}: {self.message}"
        return f"{self.images:,} images: {UNUSED[self.kind]}. The first: {shown(self.file)}: {self.message}"


@dataclass(frozen=True)
class Summary:
    """The outcome of a run of `predict`."""

    done: int  # by this run
    before: int  # labelled by an earlier run
    failures: int
    vanished: int  # found when the images were counted, and missing later
    failed: tuple[tuple[Path, str], ...]  # the first LISTED_FAILURES: image and error
    seconds: float
    out: Path
    model: str  # digest
    notes: tuple[UnusedContent, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)  # other files in the folders, by file extension
    masks_left_out: Mapping[str, int] = field(default_factory=dict)  # folder, or first file, of masks not labelled
    verb: str = "labelled"  # what was done to the images

    @property
    def exit_code(self) -> int:
        """1 if any image failed or vanished: a script must not take part of the results for all of them."""
        return 1 if self.failures or self.vanished else 0

    def to_json(self) -> dict[str, Any]:
        return {
            **{name: value for name, value in asdict(self).items() if name != "verb"},
            "failed": [{"file": shown(path), "message": message} for path, message in self.failed],
            "out": shown(self.out),
            "manifest": shown(self.out / FILE_NAME),
            "notes": [note._asdict() | {"file": shown(note.file)} for note in self.notes],
        }

    def __str__(self) -> str:
        speed = f", {self.done / self.seconds:.1f} images/s" if self.done and self.seconds > 0 else ""
        text = f"{count(self.done, 'image')} {self.verb} in {self.seconds:.1f} s{speed}; results in {shown(self.out)}"
        if self.before:
            text += f"\n{count(self.before, 'image')} already {self.verb} by an earlier run"
        if self.passed_over:
            text += f"\n{other_files(self.passed_over)} skipped"
        text += "".join(f"\n{note}" for note in self.notes)
        text += f"\n{masks_in_words(self.masks_left_out)}" if self.masks_left_out else ""
        if self.vanished:
            text += f"\n{count(self.vanished, 'image')} disappeared during the run"
        if self.failures:
            text += f"\n{count(self.failures, 'image')} could not be {self.verb}:"
            text += "".join(f"\n  {message}" for _, message in self.failed)
            if self.failures > len(self.failed):
                text += f"\n  and {self.failures - len(self.failed):,} more, see {shown(self.out / FILE_NAME)}"
        return text


class RunTally:
    """Counts what becomes of the images."""

    def __init__(self, manifest: Manifest, total: int, strict: bool, progress: OnProgress) -> None:
        self.manifest, self.total, self.strict, self.progress = manifest, total, strict, progress
        self.done = self.before = self.failures = 0
        self.failed: list[tuple[Path, str]] = []
        self.notes: dict[str, UnusedContent] = {}
        progress(0, total)

    @property
    def counted(self) -> int:
        return self.done + self.before + self.failures

    def summary(self, found: Survey, seconds: float, model: str, verb: str = "labelled") -> Summary:
        return Summary(
            done=self.done,
            before=self.before,
            failures=self.failures,
            vanished=max(found.total - self.counted, 0),
            failed=tuple(self.failed),
            seconds=seconds,
            out=self.manifest.out,
            model=model,
            notes=tuple(self.notes.values()),
            passed_over=dict(found.passed_over),
            masks_left_out=dict(found.masks.counts) if found.masks else {},
            verb=verb,
        )

    def add(self, record: Record) -> None:
        """Count one record. Raises ImageError for one that failed if the run is `strict`."""
        error = record["error"]
        if error is None:
            self.done += 1
            for note in record.get("notes", ()):
                new = UnusedContent(note["kind"], 0, Path(record["file"]), note["message"])
                first = self.notes.get(new.kind, new)
                self.notes[new.kind] = first._replace(images=first.images + 1)
        else:
            self.failures += 1
            if len(self.failed) < LISTED_FAILURES:
                self.failed.append((Path(record["file"]), error))
        self.progress(min(self.counted, self.total), self.total)
        if self.strict and error is not None:
            raise ImageError(error)

    def pending(self, jobs: Iterator[Job]) -> Iterator[Job]:
        """The jobs without results."""
        for job in jobs:
            try:
                done = self.manifest.is_done(job)
            except ImageError as error:
                self.fail(job, str(error))
                continue
            if done:
                self.before += 1
                self.progress(min(self.counted, self.total), self.total)
            else:
                yield job

    def unlisted(self, folder: Path, reason: str) -> None:
        """A folder that cannot be listed counts as a failure: its images are unknown."""
        message = f"{shown(folder)}: cannot be listed ({reason}). Check the folder's permissions."
        self.fail(Job(folder, self.manifest.out, str(folder)), message)

    def clashing(self, job: Job, other: Path) -> None:
        """Two images with the same results: neither is labelled."""
        self.fail(job, f"{shown(job.image)}: its results would overwrite those of {shown(other)}. {CLASH_REMEDY}")

    def fail(self, job: Job, error: str) -> None:
        record = failed(names_of(job), error)
        self.manifest.append(record)
        self.add(record)
