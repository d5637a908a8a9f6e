"""Exports for tests: torch.onnx takes seconds for each, most of them for what it has done before.

`use` names a folder for graphs that all processes of a test session share; within `shared`, a network that was exported
with the same weights, settings and stages before is taken from there. Everything after the graph (its comparison with
torch on images, the metadata, the file) is made anew. Trainings and the tests of exporting itself share nothing.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

_folder: Path | None = None


def use(folder: Path) -> None:
    """Share graphs in a folder from now on, and parse torch.onnx's operators once in this process."""
    global _folder
    _folder = folder
    if "torch" in sys.modules:
        parse_operators_once()


def parse_operators_once() -> None:
    """torch.onnx reads the sources of its 500 operators again for each export."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]


@contextmanager
def shared() -> Iterator[None]:
    """Export a graph only if no process of this session has exported the same one."""
    from pixelwise.bundle import export

    real = export.to_onnx

    def to_onnx(graph: Any, tensors: Sequence[str]) -> Any:
        import onnx

        if _folder is None:
            return real(graph, tensors)
        path = _folder / digest_of(graph, tensors)
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(real(graph, tensors).SerializeToString())
            part.replace(path)
        return onnx.load_from_string(path.read_bytes())

    with patch.object(export, "to_onnx", to_onnx):
        yield


def digest_of(graph: Any, tensors: Sequence[str]) -> str:
    """Of all that a graph is made from: modules with their settings, weights, and the names of the stages."""
    found = hashlib.sha256(repr((graph, list(tensors))).encode())
    for name, module in graph.named_modules():
        settings = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        found.update(repr((name, type(module), settings)).encode())
    for name, tensor in (*graph.named_parameters(), *graph.named_buffers()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.detach().numpy().tobytes())
    return found.hexdigest()
