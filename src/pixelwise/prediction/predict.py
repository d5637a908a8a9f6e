"""The verb `predict`: files, folders and globs of images → labels in the forms that are wanted, and a manifest.

Everything that can be refused is refused before the first image is labelled. After that one bad file costs one file.
Some threads each take an image from its file to its results, so that reading one, running the network on another and
writing a third overlap; ONNX Runtime and the codecs let go of Python's lock. What waits is bounded, so memory does not
grow with the folder.

Shapes: H, W an image's own size.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pixelwise.errors import BundleError, ImageError, UsageError
from pixelwise.images.decode import MAX_PIXELS
from pixelwise.images.dropped_content import CHANNELS, DEPTH, LEFT_OVER, PAGES
from pixelwise.images.files import shown
from pixelwise.prediction.cluster import records_of as records_of_cluster
from pixelwise.prediction.engines.engine import AUTO, usable_cores
from pixelwise.prediction.find_images import CLASH_REMEDY, count, images_below, jobs_of, survey, told_passed_over
from pixelwise.prediction.joined_outputs import write_joined
from pixelwise.prediction.label_file import (
    Job,
    Label,
    LabelOptions,
    Progress,
    Record,
    failed,
    label_file,
    named,
    unwatched,
)
from pixelwise.prediction.large.tile_plan import Tiles
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.manifest import FILE_NAME, Manifest, open_manifest, settings_of
from pixelwise.prediction.outputs import DEFAULT, chosen
from pixelwise.prediction.stages import Stages
from pixelwise.prediction.tta import variants_of
from pixelwise.records import Pixels, Prediction
from pixelwise.trace_events import Event, Listener, nobody

__all__ = ["Summary", "images_below", "predict"]

FEW = 4  # images for which one session with all cores is the faster: the network is opened for them sooner, too
WAITING = 2  # threads that read and write while the others run the network
TOLD_OF_MANY = {
    CHANNELS: "channels that vary and are not used",
    PAGES: "more than one page or frame, of which the first is labelled",
    DEPTH: "more than 8 bits, reduced to 8",
    LEFT_OVER: "bytes left over after the pixels, so that they may be damaged",
}
TOLD = 20  # failures that a summary tells; all are in the manifest


class UnusedContent(NamedTuple):
    """Something that the files of some images hold and that is not used."""

    kind: str  # as `data.dropped` names it
    images: int
    file: Path  # the first of them
    message: str  # about that one

    def __str__(self) -> str:
        if self.images == 1:
            return f"{shown(self.file)}: {self.message}"
        return f"{self.images:,} images: {TOLD_OF_MANY[self.kind]}. The first: {shown(self.file)}: {self.message}"


@dataclass(frozen=True)
class Summary:
    """What became of the images."""

    done: int  # by this run
    before: int  # done by an earlier run, whose results are there
    failures: int
    vanished: int  # found when the images were counted, and not when their turn came
    failed: tuple[tuple[Path, str], ...]  # the first TOLD: the image and what is wrong with it
    seconds: float
    out: Path
    model: str  # digest
    notes: tuple[UnusedContent, ...] = ()  # what of the images' files is not used
    passed_over: Mapping[str, int] = field(default_factory=dict)  # files in the folders that are no images, by ending

    @property
    def exit_code(self) -> int:
        """1 where any image failed or vanished: a script that goes on must not take a part for the whole."""
        return 1 if self.failures or self.vanished else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "done": self.done,
            "before": self.before,
            "failures": self.failures,
            "vanished": self.vanished,
            "failed": [{"file": shown(path), "message": message} for path, message in self.failed],
            "seconds": self.seconds,
            "out": shown(self.out),
            "manifest": shown(self.out / FILE_NAME),
            "model": self.model,
            "notes": [note._asdict() | {"file": shown(note.file)} for note in self.notes],
            "passed_over": dict(self.passed_over),
        }

    def __str__(self) -> str:
        speed = f", {self.done / self.seconds:.1f} images/s" if self.done and self.seconds > 0 else ""
        text = f"{count(self.done, 'image')} labelled in {self.seconds:.1f} s{speed}; results in {shown(self.out)}"
        if self.before:
            text += f"\n{count(self.before, 'image')} had been labelled before"
        if self.passed_over:
            text += f"\n{told_passed_over(self.passed_over)} passed over"
        text += "".join(f"\n{note}" for note in self.notes)
        if self.vanished:
            text += f"\n{count(self.vanished, 'image')} had gone when its turn came"
        if self.failures:
            text += f"\n{count(self.failures, 'image')} could not be labelled:"
            text += "".join(f"\n  {message}" for _, message in self.failed)
            if self.failures > len(self.failed):
                text += f"\n  and {self.failures - len(self.failed):,} more, see {shown(self.out / FILE_NAME)}"
        return text


def predict(
    model: Model | str | Path,
    images: Sequence[Path | str],
    out: Path | str,
    *,
    save: Sequence[str] = DEFAULT,
    tta: str = "",
    engine: str = AUTO,
    threads: int | None = None,
    strict: bool = False,
    fresh: bool = False,
    cluster: str | None = None,
    tell: Listener = nobody,
    tiles: Tiles = Tiles(),  # noqa: B008 (frozen)
    progress: Progress = unwatched,
    tile_progress: Progress = unwatched,
) -> Summary:
    """Label images, write the results into `out`, and record each image in OUT/predictions.jsonl.

    An interrupted run resumes when it is called again: finished images are skipped, failed ones are tried again.

    Args:
        model: an open model, or what `load` takes.
        images: files, folders and globs. Folders are searched recursively, and `out` mirrors their sub-folders.
        out: folder for the results, created if it does not exist.
        save: outputs: "labels", "index", "overlay", "numpy", "coco", "labelme", "geojson", "confidence", "entropy".
        tta: test-time augmentation, as `Model.predict` takes it. "": none.
        engine: inference engine, as `load` takes it, if `model` is not open yet.
        threads: CPU threads per prediction, likewise. None: all cores, one image per core if there are many images.
        strict: raise at the first image that cannot be labelled, instead of reporting it and continuing.
        fresh: start over: delete what an earlier run wrote to `out`.
        cluster: address of a Ray cluster that does the work: "auto" (the one running here), "HOST:PORT", or "local"
            (processes on this machine). All machines must see images, model and `out` under the same paths. None: none.
        tell: called with the four "flow" events (dicts) of every image. The stages then run one after the other, so
            that each can be timed; the labels are the same.
        tiles: how large images are tiled. Default: images over 32 megapixels, in tiles that suit the model. Tiled TIFFs
            give NAME.tif, NAME.overlay.png and NAME.json.
        progress: called with (images done, total).
        tile_progress: called with (tiles done, total) of a tiled image, from another thread.

    Returns:
        Summary: numbers of labelled and failed images, the failures, and seconds.

    Raises:
        UsageError: no such file, no images, images with equal names, results that would overwrite an image, unknown
            `save` or `tta`, or an earlier run in `out` with another model or options. Nothing was written.
        BundleError: the model is corrupt or cannot be run. Nothing was written.
        OutputError: `out` cannot be written, or another process writes there. Earlier results are complete.
        ImageError: with `strict`, an image that cannot be labelled.
        ClusterError: the cluster cannot be reached, or its machines do not match.

    Example:
        >>> import pixelwise as pw
        >>> summary = pw.predict("street", ["photo.jpg", "unlabelled"], "labelled", save=["labels", "overlay"])
        >>> summary.done, summary.failures
        (3, 0)
    """
    out, paths = Path(out), [Path(image) for image in images]
    wanted = LabelOptions(chosen(save), tta, tiles)
    if tta:
        variants_of(tta)
        if tell is not nobody:
            raise UsageError("the four stages are those of one view: leave out --flow or --tta.")
    if cluster is not None and tell is not nobody:
        raise UsageError("the four stages are those of one process: leave out --flow or --engine ray.")
    found = survey(paths, out, wanted.save)
    at_once = found.total > FEW or cluster is not None
    opened = model if isinstance(model, Model) else load(model, threads or (1 if at_once else None), engine)
    began = time.perf_counter()
    tally = RunCounts(found.total, strict, progress)
    settings = settings_of(opened.digest, opened.classes.to_json(), wanted)
    with open_manifest(out, settings, fresh=fresh) as manifest:
        jobs = tally.still_to_do(
            manifest, jobs_of(paths, out, found, partial(tally.unlisted, manifest), partial(tally.clashing, manifest))
        )
        stages = None if tell is nobody else Stages(opened)
        label = staged(opened, stages, tell) if stages else None
        if cluster is None:
            labelled = records_of(opened, jobs, wanted, manifest, label, tile_progress)
        else:
            labelled = records_of_cluster(opened, jobs, wanted, manifest, cluster)
        with closing(labelled) as records:
            for record in records:
                tally.add(record)
        write_joined(out, opened.classes, wanted.save)
    progress(found.total, found.total)
    seconds = time.perf_counter() - began
    told, vanished = tuple(tally.failed), max(found.total - tally.seen, 0)
    return Summary(
        tally.done,
        tally.before,
        tally.failures,
        vanished,
        told,
        seconds,
        out,
        opened.digest,
        tuple(tally.notes.values()),
        found.passed_over,
    )


class RunCounts:
    """What became of the images so far."""

    def __init__(self, total: int, strict: bool, progress: Progress) -> None:
        self.total, self.strict, self.progress = total, strict, progress
        self.done = self.before = self.failures = 0
        self.failed: list[tuple[Path, str]] = []
        self.notes: dict[str, UnusedContent] = {}
        progress(0, total)

    @property
    def seen(self) -> int:
        return self.done + self.before + self.failures

    def add(self, record: Record) -> None:
        """Count one record. Raises ImageError for one that failed, where that is to stop the run."""
        if record["error"] is None:
            self.done += 1
            for note in record.get("notes", ()):
                first = self.notes.setdefault(
                    note["kind"], UnusedContent(note["kind"], 0, Path(record["file"]), note["message"])
                )
                self.notes[note["kind"]] = first._replace(images=first.images + 1)
        else:
            self.failures += 1
            if len(self.failed) < TOLD:
                self.failed.append((Path(record["file"]), record["error"]))
        self.progress(min(self.seen, self.total), self.total)
        if self.strict and record["error"] is not None:
            raise ImageError(record["error"])

    def still_to_do(self, manifest: Manifest, jobs: Iterator[Job]) -> Iterator[Job]:
        """The jobs whose results are not there."""
        for job in jobs:
            try:
                done = manifest.is_done(job)
            except ImageError as error:
                self.report(manifest, job, str(error))
                continue
            if done:
                self.before += 1
                self.progress(min(self.seen, self.total), self.total)
            else:
                yield job

    def unlisted(self, manifest: Manifest, folder: Path, reason: str) -> None:
        """A folder that cannot be listed counts as a failure: nobody knows what was in it."""
        message = f"{shown(folder)}: cannot be listed ({reason}). Check the folder's permissions."
        self.report(manifest, Job(folder, manifest.out, str(folder)), message)

    def clashing(self, manifest: Manifest, job: Job, other: Path) -> None:
        """An image whose results would be those of another: neither is labelled, the others are."""
        message = f"{shown(job.image)}: its results would overwrite those of {shown(other)}. {CLASH_REMEDY}"
        self.report(manifest, job, message)

    def report(self, manifest: Manifest, job: Job, error: str) -> None:
        record = failed(named(job), error)
        manifest.append(record)
        self.add(record)


def records_of(
    model: Model,
    jobs: Iterator[Job],
    wanted: LabelOptions,
    manifest: Manifest,
    label: Callable[[Job], Label] | None,
    tile_progress: Progress,
) -> Generator[Record]:
    """Label images in threads; yields each one's record once it is in the manifest, in the order of completion.

    When it is left early, what has been begun is ended and noted, so that it need not be done again.

    Args:
        label: makes the prediction of a job, one at a time; None: the model does, several at a time.
    """
    at_once = 1 if label else networks_at_once(model)
    turn, room = threading.BoundedSemaphore(at_once), PixelBudget(MAX_PIXELS)

    def work(job: Job) -> Record:
        return label_file(
            model,
            job,
            wanted,
            label=label(job) if label else None,
            room=room.hold,
            turn=turn,
            tile_progress=tile_progress,
        )

    threads = at_once if label else at_once + WAITING
    waiting, ended = set[Future[Record]](), set[Future[Record]]()
    with ThreadPoolExecutor(threads, "predict") as pool:
        try:
            more = True
            while more or waiting:
                while more and len(waiting) < threads + 1:
                    job = next(jobs, None)
                    if job is None:
                        more = False
                    else:
                        waiting.add(pool.submit(work, job))
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED) if waiting else (set(), waiting)
                while ended:
                    record = ended.pop().result()
                    manifest.append(record)
                    yield record
        finally:
            begun = [*ended, *(future for future in waiting if not future.cancel())]
            for future in wait(begun).done:
                if future.exception() is None:
                    manifest.append(future.result())


def networks_at_once(model: Model) -> int:
    """How many images the network is run on at a time: all cores are used, none twice."""
    cores = usable_cores()
    return max(cores // (model.engine.threads or cores), 1)


class PixelBudget:
    """Bounds how many pixels are held at a time: large images are labelled one by one, small ones side by side."""

    def __init__(self, pixels: int) -> None:
        self.free = self.all = pixels
        self.changed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until there is room. What is larger than all of it is held alone."""
        pixels = min(pixels, self.all)
        with self.changed:
            self.changed.wait_for(lambda: self.free >= pixels)
            self.free -= pixels
        try:
            yield
        finally:
            with self.changed:
                self.free += pixels
                self.changed.notify_all()


def staged(model: Model, stages: Stages, tell: Listener) -> Callable[[Job], Label]:
    """Labels an image stage by stage and tells what passed them."""

    def label(job: Job, image_HW3: Pixels, decode_ms: float) -> Prediction:
        prediction, events = run_stages(model, stages, image_HW3, decode_ms)
        for event in events:
            tell({**event, "file": shown(job.image)})
        return prediction

    return lambda job: partial(label, job)


def run_stages(model: Model, stages: Stages, image_HW3: Pixels, decode_ms: float) -> tuple[Prediction, list[Event]]:
    """As `model.predict`, the stages in turn, with what passed them.

    Raises:
        BundleError: the model cannot be run on it.
    """
    try:
        passed = stages.run(image_HW3, decode_ms)
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        model.engine.run(image_HW3)  # says what is wrong, if it is wrong there too
        raise BundleError(f"{shown(model.path)}: a stage could not be run alone: {error}") from error
    prediction = Prediction(passed.labels, passed.scores, model.classes, model.metadata.temperature)
    return prediction, stages.events(passed)
