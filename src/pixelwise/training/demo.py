"""demo: every step once, on built-in street scenes: render, train, evaluate, trace."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from pixelwise.errors import UsageError
from pixelwise.evaluation.evaluate import EvaluationReport, evaluate
from pixelwise.images.files import write_whole
from pixelwise.images.image_files import encode_png
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import Pixels
from pixelwise.scenes.render_scene import render_scene, write_scenes
from pixelwise.trace_events import Listener, nobody
from pixelwise.training.data_summary import Progress
from pixelwise.training.recipe import Recipe
from pixelwise.training.train import Trained, train

COUNTS = {"train": 96, "val": 24, "test": 24}
SIZE_PX = 256
SHOWN = 7  # index of the scene that is traced; no split holds it


@dataclass(frozen=True)
class Demonstrated:
    """What a demo produced."""

    scenes: Path
    trained: Trained
    model: Model
    report: EvaluationReport  # on the test split
    image: Path  # a scene that the model has never seen, ready to be traced
    seconds: float


def demo(
    out: Path | str | None = None,
    *,
    epochs: int = 20,
    seed: int = 0,
    tell: Listener = nobody,
    progress: Progress = lambda what, done, total: None,
) -> Demonstrated:
    """Render street scenes, train on them, evaluate on the test split, and pick an unseen scene to trace.

    Args:
        out: new folder for everything. None: "demo" in the current folder, or "demo-2" and so on if it exists.
        epochs: passes over the training images.
        seed: random seed of the scenes and the training.
        tell: called with every trace event (a dict) of the training.
        progress: called with (what is being done, done, total).

    Returns:
        Demonstrated: the scenes' folder, the training, the open model, its test report, and the scene to trace.

    Raises:
        UsageError: `out` holds an earlier demo.
        PixelwiseError: whatever `train` raises.

    Example:
        >>> import pixelwise as pw
        >>> done = pw.demo("demo", epochs=1)
        >>> done.model.classes.names[:2]
        ('sky', 'building')
    """
    began = time.perf_counter()
    out = Path(out) if out is not None else unused_folder(Path("demo"))
    if (out / "run").exists():
        raise UsageError(f"{out}: holds an earlier demo. Delete it, or choose another --out.")
    scenes = out / "scenes"
    (out / "scenes").mkdir(parents=True, exist_ok=True)
    write_scenes(
        scenes, COUNTS, seed=seed, height_px=SIZE_PX, width_px=SIZE_PX,
        progress=lambda done, total: progress("rendering street scenes", done, total),
    )  # fmt: skip
    recipe = Recipe(epochs=epochs, seed=seed, size=(SIZE_PX, SIZE_PX))
    trained = train(scenes, out / "run", recipe, tell=tell, progress=progress)
    model = load(trained.bundle)
    report = evaluate(model, scenes, split="test", progress=lambda done, total: progress("evaluating", done, total))
    image = out / "scene.png"
    write_whole(image, encode_png(unseen_scene(seed)))
    return Demonstrated(scenes, trained, model, report, image, time.perf_counter() - began)


def unused_folder(first: Path) -> Path:
    """`first`, or the first of first-2, first-3 … that holds no demo."""
    number, folder = 1, first
    while (folder / "run").exists():
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder


def unseen_scene(seed: int) -> Pixels:
    """A scene of another seed, which no split contains."""
    pixels, _ = render_scene(seed + 1, SHOWN, 360, 480)
    return pixels
