"""The models of a server: the one that it was started with, and those of finished runs."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

from pixelwise.errors import PixelwiseError
from pixelwise.prediction.load_model import BUNDLE_NAME, Model, load
from pixelwise.prediction.stages import Stages
from pixelwise.server.error_responses import RequestError
from pixelwise.server.held_out_scores import held_out_scores
from pixelwise.server.run_list import Runs
from pixelwise.server.sample_images import Samples
from pixelwise.tracing.activations import InspectedModel

OPEN_AT_A_TIME = 3
MAIN = "main"


class CachedModel:
    """A model and what is computed from it, each part on first use."""

    def __init__(self, name: str, model: Model, run: Path | None, log: Path | None = None) -> None:
        self.name, self.model, self.run, self.log = name, model, run, log  # log: of a built-in model's training
        self.lock = RLock()
        self._judged: tuple[dict[str, Any] | None] | None = None

    @cached_property
    def inspected(self) -> InspectedModel:
        return InspectedModel(self.model)

    @cached_property
    def stages(self) -> Stages:
        return Stages(self.model)

    @cached_property
    def samples(self) -> Samples:
        return Samples(self.model, self.run, self.log)

    def judged(self) -> dict[str, Any] | None:
        """Its scores on images that it was not trained on; computed once."""
        with self.lock:
            if self._judged is None:
                self._judged = (held_out_scores(self.model, self.samples),)
            return self._judged[0]


class ModelCache:
    """Models by name. Thread-safe."""

    def __init__(self, model: Model, built_in: str | None, runs: Runs) -> None:
        self.runs, self.built_in = runs, built_in
        run = model.path.parent if (model.path.parent / "data.json").is_file() else None
        self.main = CachedModel(MAIN, model, run, None if run else runs.own)
        self.others: OrderedDict[str, CachedModel] = OrderedDict()
        self.lock = RLock()

    def forget_runs(self) -> None:
        """Close the models of runs: the folder of runs is another one."""
        with self.lock:
            self.others.clear()

    def names(self) -> list[dict[str, str]]:
        finished = [name for name in self.runs.names() if self.bundle_of(name) is not None]
        path = self.main.model.path
        rows = [{"name": MAIN, "title": self.built_in or (path.parent.name if self.main.run else path.stem)}]
        rows += [{"name": name, "title": f"run {name}"} for name in finished if self.bundle_of(name) != path]
        return rows

    def title_of(self, name: str) -> str:
        return next((row["title"] for row in self.names() if row["name"] == name), name)

    def opens(self, name: str) -> str:
        """The MODEL argument of the command line: a built-in name, a run directory or a file, without its folder."""
        if name != MAIN:
            return f"{self.runs.root.name}/{name}"
        path = self.main.model.path
        return self.built_in or (path.parent.name if self.main.run else path.name)

    def has_training_log(self, name: str) -> bool:
        """Whether the epochs of its training are known: from its run, or from the log of a built-in model."""
        return name == MAIN and self.runs.own is not None

    def bundle_of(self, name: str) -> Path | None:
        bundle = self.runs.folder(name) / BUNDLE_NAME
        return bundle if bundle.is_file() else None

    def get(self, name: str) -> CachedModel:
        """Raises RequestError if there is no such model, or it cannot be loaded."""
        if name in ("", MAIN):
            return self.main
        with self.lock:
            if name not in self.others:
                bundle = self.bundle_of(name)
                if bundle is None:
                    raise RequestError(
                        404, "model-unknown", "This model does not exist.", "GET /v1/models lists the models."
                    )
                try:
                    self.others[name] = CachedModel(name, load(bundle), bundle.parent)
                except PixelwiseError as error:
                    raise RequestError(
                        500, "model-broken", "The model of this run cannot be loaded.", "Train it again."
                    ) from error
                while len(self.others) > OPEN_AT_A_TIME - 1:
                    self.others.popitem(last=False)
            self.others.move_to_end(name)
            return self.others[name]
