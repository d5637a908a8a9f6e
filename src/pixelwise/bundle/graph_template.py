"""Graphs traced once for all weights: torch.onnx takes ten seconds for each, whatever the weights are.

A network is traced with weights drawn at random. Where each of them came back unchanged under its name, the graph is a
template: the next export of the same structure (the folds of a cross-validation, the export after its rehearsal) only
fills in its own weights. What is exported is compared with PyTorch's answers on real images in either case.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

Trace = Callable[[nn.Module, Sequence[str]], onnx.ModelProto]


@dataclass(frozen=True)
class Template:
    """A graph into which weights are filled, if its structure has one, and how long it took to find out."""

    model: onnx.ModelProto | None
    seconds: float


_newest: dict[str, Template] = {}  # structure → its template


def filled_template(trace: Trace, module: nn.Module, tensors: Sequence[str]) -> onnx.ModelProto:
    """What `trace(module, tensors)` returns, traced only if the newest template is of another structure."""
    if not only_convolutions(module):
        return trace(module, tensors)
    structure = structure_of(module, tensors)
    template = _newest.get(structure)
    if template is None:
        began = time.perf_counter()
        template = Template(template_of(trace, module, tensors), time.perf_counter() - began)
        _newest.clear()
        _newest[structure] = template
    return trace(module, tensors) if template.model is None else filled(template.model, module)


def seconds_to_trace() -> float:
    """How long the newest template took, which the exports after it did not take again; 0 if there is none."""
    return sum(template.seconds for template in _newest.values() if template.model is not None)


def only_convolutions(module: nn.Module) -> bool:
    """Do all weights belong to convolutions? The exporter keeps those; others it may fold into what is next to them."""
    owners = [part for part in module.modules() if next(part.parameters(recurse=False), None) is not None]
    return all(isinstance(part, nn.Conv2d) for part in owners)


def structure_of(module: nn.Module, tensors: Sequence[str]) -> str:
    """A digest of everything but the weights: modules and their settings, constants, names of tensors."""
    found = hashlib.sha256(repr((module, list(tensors))).encode())
    for name, part in module.named_modules():
        settings = {key: value for key, value in vars(part).items() if not key.startswith("_") and key != "training"}
        found.update(repr((name, type(part), settings)).encode())
    for name, weight in module.named_parameters():
        found.update(repr((name, weight.dtype, tuple(weight.shape))).encode())
    for name, constant in module.named_buffers():
        found.update(repr((name, constant.dtype, tuple(constant.shape))).encode() + constant.cpu().numpy().tobytes())
    return found.hexdigest()


def template_of(trace: Trace, module: nn.Module, tensors: Sequence[str]) -> onnx.ModelProto | None:
    """The graph with random weights; None if a weight is not in it as it is, under its name."""
    module, random = copy.deepcopy(module), torch.Generator().manual_seed(0)
    for weight in module.parameters():
        weight.data = torch.rand(weight.shape, generator=random) + 0.5  # no zeros, which exporters leave out
    template = trace(module, tensors)
    stored = {constant.name: constant for constant in template.graph.initializer}
    for name, weight in module.named_parameters():
        if name not in stored or not np.array_equal(numpy_helper.to_array(stored[name]), weight.detach().numpy()):
            return None
    return template


def filled(template: onnx.ModelProto, module: nn.Module) -> onnx.ModelProto:
    """The template with the weights of `module`."""
    model = onnx.ModelProto()
    model.CopyFrom(template)
    weights = dict(module.named_parameters())
    for constant in model.graph.initializer:
        if constant.name in weights:
            values = np.ascontiguousarray(weights[constant.name].detach().cpu().numpy())
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    return model
