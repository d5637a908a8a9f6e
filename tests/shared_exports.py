"""Templates of graphs for tests: torch.onnx takes seconds for each, most of them for what another test has done before.

`use` names a folder for templates that all processes of a test session share. Everything after the template (the
weights, the comparison with torch on images, the metadata, the file) is made anew by each test.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Any


def use(folder: Path) -> None:
    """Share templates in a folder from now on, and parse torch.onnx's operators once in this process."""
    if "torch" in sys.modules:
        parse_operators_once()
        share_templates(folder)


def parse_operators_once() -> None:
    """torch.onnx reads the sources of its 500 operators again for each export."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]


def share_templates(folder: Path) -> None:
    """Trace a structure only if no process of this session has."""
    import onnx

    from pixelwise.bundle import graph_template

    real = graph_template.template_of

    @wraps(real)
    def template_of(trace: Any, module: Any, tensors: Sequence[str]) -> Any:
        path = folder / graph_template.structure_of(module, tensors)
        if not path.exists():
            template = real(trace, module, tensors)
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(b"" if template is None else template.SerializeToString())
            part.replace(path)
        return onnx.load_from_string(path.read_bytes()) if path.stat().st_size else None

    graph_template.template_of = template_of
