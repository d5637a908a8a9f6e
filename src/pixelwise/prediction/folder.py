"""The verb `predict`: files and folders of images → label PNGs, overlays, and what is in them as JSON.

Everything that can be refused is refused before the first image is labelled. After that one bad file costs one file.

Shapes: H, W an image's own size.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.data.files import shown, write_whole
from pixelwise.data.images import encode_label_png, read_image
from pixelwise.data.layouts import IMAGE_SUFFIXES
from pixelwise.errors import BundleError, DataError, OutputError, UsageError
from pixelwise.prediction.image import Model, load
from pixelwise.prediction.overlay import encode_overlay, overlay
from pixelwise.records import Pixels, Prediction
from pixelwise.tracing.recorder import Event, Listener, nobody
from pixelwise.tracing.stages import Stages

Progress = Callable[[int, int], None]  # images done, images in all
LISTED = 5  # examples in a message


def unwatched(_done: int, _total: int) -> None:
    """The progress of work that nobody watches."""


@dataclass(frozen=True)
class Job:
    """One image and where its results go."""

    image: Path
    base: Path  # the results are BASE.png, BASE.overlay.png and BASE.json

    @property
    def outputs(self) -> tuple[Path, Path, Path]:
        """Label PNG, overlay, JSON. The JSON is written last: where it is, the others are."""
        return with_ending(self.base, ".png"), with_ending(self.base, ".overlay.png"), with_ending(self.base, ".json")


@dataclass(frozen=True)
class Summary:
    """What became of the images."""

    done: int
    failed: tuple[tuple[Path, str], ...]  # the image and what is wrong with it
    seconds: float
    out: Path
    model: str  # digest

    @property
    def exit_code(self) -> int:
        """1 where any image failed: a script that goes on must not take a part for the whole."""
        return 1 if self.failed else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "done": self.done,
            "failed": [{"file": shown(path), "message": message} for path, message in self.failed],
            "seconds": self.seconds,
            "out": shown(self.out),
            "model": self.model,
        }

    def __str__(self) -> str:
        speed = f", {self.done / self.seconds:.1f} images/s" if self.done and self.seconds > 0 else ""
        text = f"{count(self.done, 'image')} labelled in {self.seconds:.1f} s{speed}; results in {shown(self.out)}"
        if self.failed:
            text += f"\n{count(len(self.failed), 'image')} could not be labelled:"
            text += "".join(f"\n  {message}" for _, message in self.failed)
        return text


def predict(
    model: Model | str | Path,
    images: Sequence[Path | str],
    out: Path | str,
    *,
    strict: bool = False,
    tell: Listener = nobody,
    progress: Progress = unwatched,
) -> Summary:
    """Label images and write, for each, NAME.png, NAME.overlay.png and NAME.json into `out`.

    Args:
        model: open, or what `load` takes.
        images: files and folders; folders are searched to the bottom, and `out` mirrors their sub-folders.
        strict: stop at the first image that cannot be labelled, instead of reporting it and going on.
        tell: hears the four `flow` events of every image. Where somebody listens the stages run one after the other, so
            that each can be timed; the labels are the same.
        progress: called with (images done, images in all).

    Raises:
        UsageError: no such file, no images, two images whose results would have one name, or results that would
            overwrite an image. Nothing was written.
        BundleError: the model is not sound. Nothing was written.
        OutputError: `out` cannot be written. What was written before is whole.
        ImageError: an unreadable image, with `strict`.
    """
    out = Path(out)
    jobs = plan([Path(image) for image in images], out)
    opened = model if isinstance(model, Model) else load(model)
    check_writable(out)
    stages = None if tell is nobody else Stages(opened)
    began = time.perf_counter()
    done, failed = 0, []
    for number, job in enumerate(jobs):
        progress(number, len(jobs))
        try:
            label_one(opened, job, stages, tell)
            done += 1
        except (DataError, BundleError) as error:
            if strict:
                raise
            failed.append((job.image, str(error)))
    progress(len(jobs), len(jobs))
    return Summary(done, tuple(failed), time.perf_counter() - began, out, opened.digest)


def label_one(model: Model, job: Job, stages: Stages | None, tell: Listener) -> None:
    """Read, label and write one image, whole or not at all."""
    began = time.perf_counter()
    image_HW3 = read_image(job.image)
    decoded = time.perf_counter()
    if stages is None:
        prediction = model.predict(image_HW3)
    else:
        prediction, events = run_stages(model, stages, image_HW3, (decoded - began) * 1e3)
        for event in events:
            tell({**event, "file": shown(job.image)})
    labelled = time.perf_counter()
    facts = {
        "file": shown(job.image),
        "width": image_HW3.shape[1],
        "height": image_HW3.shape[0],
        "shares": prediction.shares,
        "milliseconds": {
            "decode": round((decoded - began) * 1e3, 3),
            "model": round((labelled - decoded) * 1e3, 3),
        },
        "model": model.digest,
        "labels": job.outputs[0].name,
        "overlay": job.outputs[1].name,
    }
    results = (
        encode_label_png(prediction.labels, model.classes),
        encode_overlay(overlay(image_HW3, prediction.labels, model.classes)),
        (json.dumps(facts, ensure_ascii=False, indent=2) + "\n").encode(),
    )
    write_together(job.outputs, results)


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


def write_together(paths: Sequence[Path], contents: Sequence[bytes]) -> None:
    """Write files all or none: what was written of them is taken away again where one cannot be written."""
    try:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{shown(paths[0].parent)}: cannot be made ({error.strerror}). Choose another folder."
        ) from error
    written: list[Path] = []
    try:
        for path, content in zip(paths, contents, strict=True):
            new = not path.exists()
            write_whole(path, content)
            if new:
                written.append(path)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def plan(images: Sequence[Path], out: Path) -> list[Job]:
    """Every image that is meant, and where its results go.

    Raises:
        UsageError: see `predict`. All that is wrong is listed at once.
    """
    if not images:
        raise UsageError("no images were named. Name image files, or folders of them.")
    missing = [path for path in images if not path.exists()]
    if missing:
        raise UsageError(f"no such file or folder: {examples(missing)}. Check the path.")
    jobs: dict[Path, Job] = {}  # an image that is named twice is labelled once
    for path in images:
        found = list(images_below(path, out)) if path.is_dir() else [path]
        root = path if path.is_dir() else path.parent
        for image in found:
            jobs.setdefault(Path(os.path.realpath(image)), Job(image, out / image.relative_to(root).with_suffix("")))
    if not jobs:
        kinds = ", ".join(IMAGE_SUFFIXES)
        raise UsageError(f"no images in {examples(images)}. Files are taken for images by their endings: {kinds}.")
    refuse_collisions(list(jobs.values()))
    return list(jobs.values())


def images_below(folder: Path, out: Path) -> Iterator[Path]:
    """Image files in a folder and all folders in it, in a fixed order. Earlier results in `out` are no images."""
    results = os.path.realpath(out)
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and os.path.realpath(Path(place) / name) != results
        )
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES):
                yield Path(place) / name


def refuse_collisions(jobs: Sequence[Job]) -> None:
    """Raise UsageError where two images would write one file, or a result would overwrite an image."""
    writers: defaultdict[str, list[Path]] = defaultdict(list)
    for job in jobs:
        for output in job.outputs:
            writers[os.path.realpath(output)].append(job.image)
    sources = {os.path.realpath(job.image): job.image for job in jobs}
    overwritten = [image for path, image in sources.items() if path in writers]
    if overwritten:
        raise UsageError(
            f"the results would overwrite {count(len(overwritten), 'image')}: {examples(overwritten)}. "
            "Choose another folder for --out."
        )
    shared = {tuple(group): path for path, group in writers.items() if len(group) > 1}
    if shared:
        pairs = "; ".join(f"{examples(group)} → {Path(path).name}" for group, path in list(shared.items())[:LISTED])
        raise UsageError(
            f"images of one name would overwrite each other's results: {pairs}. Rename one of them, label them in "
            "separate calls with another --out, or name the folder above both, whose sub-folders are kept."
        )


def check_writable(out: Path) -> None:
    """Make the folder, and raise OutputError unless files can be written into it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{shown(out)}: this folder cannot be made ({error.strerror}). Choose one that you may write to."
        ) from error
    probe = out / f".pixelwise-{os.getpid()}.probe"
    write_whole(probe, b"")
    probe.unlink(missing_ok=True)


def with_ending(base: Path, ending: str) -> Path:
    """BASE + ending. Not Path.with_suffix, which would cut "frame.0001" short."""
    return base.with_name(base.name + ending)


def examples(paths: Sequence[Path]) -> str:
    listed = ", ".join(shown(path) for path in paths[:LISTED])
    return f"{listed} and {len(paths) - LISTED} more" if len(paths) > LISTED else listed


def count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"
