"""Python imports this by itself in each process that a test starts: exports there share the session's templates too.

conftest.py puts this folder in PYTHONPATH and names the folder of templates. Nothing heavy is imported here, and
nothing more until the process exports a bundle.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

EXPORTS = "pixelwise.bundle.graph_template"


class SharedExports:
    """Follows the first import of `EXPORTS` with shared_exports.py."""

    def __init__(self, graphs: Path) -> None:
        self.graphs = graphs

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name != EXPORTS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            share(self.graphs)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def share(graphs: Path) -> None:
    path = Path(__file__).parents[1] / "shared_exports.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    shared_exports = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shared_exports)
    shared_exports.share_templates(graphs)


if "PIXELWISE_TEST_GRAPHS" in os.environ:
    sys.meta_path.insert(0, SharedExports(Path(os.environ["PIXELWISE_TEST_GRAPHS"])))
