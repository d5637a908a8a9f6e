"""The fastest engine on many CPUs: OpenVINO, in float32, or in bfloat16 if the CPU supports it.

OpenVINO runs the network. Resizing of the image before it and of the labels after it stays with ONNX Runtime, which
resizes exactly as in training; OpenVINO's antialiasing is different.

Shapes: H, W the image's own size; N its bands; C classes; h, w the network's input, hs, ws the size of the scores.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

from pixelwise.bundle.bundle_file import BundleFile
from pixelwise.bundle.onnx_session import open_session
from pixelwise.bundle.trust import check_declarations
from pixelwise.errors import MissingExtraError, UsageError
from pixelwise.prediction.engines.onnx_runtime import Answer, Run
from pixelwise.records import Raster

if TYPE_CHECKING:
    from openvino import CompiledModel, Core

DEVICE = "CPU"


def in_float32(bundle: BundleFile, threads: int) -> Run:
    return runner(bundle, threads, "f32")


def in_bfloat16(bundle: BundleFile, threads: int) -> Run:
    """Raises UsageError if the CPU does not support bfloat16: emulation is slow."""
    if not has_bfloat16(core()):
        raise UsageError(
            "engine openvino-bf16: this CPU does not support bfloat16 (AVX-512 BF16 or AMX). Choose "
            "--engine openvino or onnxruntime."
        )
    return runner(bundle, threads, "bf16")


@cache
def core() -> Core:
    """OpenVINO, loaded once in this process and never released.

    Its CPU plugin gives the thread that loads it another signal stack, and unmaps it with the last user of its core. If
    there were two cores, or the last user ended in another thread, the thread kept a stack that no longer existed, and
    the next signal, such as Ctrl-C, ended the process.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingExtraError("OpenVINO", "openvino") from error
    return openvino.Core()


def has_bfloat16(openvino_core: Core) -> bool:
    return "BF16" in openvino_core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")


def runner(bundle: BundleFile, threads: int, precision: str) -> Run:
    from pixelwise.bundle.onnx_graph import batched, extract, parse

    opened = core()
    graph = parse(bundle.model)
    stages, separate = bundle.metadata.stages, bundle.metadata.separate
    input_name, scores = batched(graph, stages[0].tensor), batched(graph, stages[-1].tensor)
    # Resizing consists of many small steps: to wake a second thread for each costs more than it saves.
    before = open_session(extract(graph, [], [input_name])[0], 1)
    maps = [scores, batched(graph, "borders")] if separate else [scores]
    network, read = extract(graph, [input_name], maps)  # of the image it reads at most the size
    labelling, needed = extract(graph, [input_name, scores], ["labels"])
    after = open_session(labelling, 1)
    check_declarations(
        open_session(bundle.model, 1), len(bundle.metadata.classes), bundle.metadata.bands, len(separate)
    )
    compiled = compile_network(opened, network, read.index(input_name), bundle, threads, precision)
    idle: deque[Any] = deque()  # unused requests; each serves one caller at a time

    def run(image_HWN: Raster) -> Answer:
        (input_1Nhw,) = before.run([input_name], {"image": image_HWN})
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        try:
            values = {"image": image_HWN, input_name: input_1Nhw}
            # The result is a copy: the next run overwrites the request's memory.
            found = request.infer({place: values[name] for place, name in enumerate(read)}, share_inputs=True)
            scores_1Chw, *borders_1 = (found[place] for place in range(len(maps)))
        finally:
            idle.append(request)
        values[scores] = scores_1Chw
        (labels_HW,) = after.run(["labels"], {name: values[name] for name in needed})
        return Answer(labels_HW, scores_1Chw[0], *(borders_1Bhw[0] for borders_1Bhw in borders_1))

    return run


def compile_network(
    openvino_core: Core, network: bytes, place: int, bundle: BundleFile, threads: int, precision: str
) -> CompiledModel:
    """The part between image and scores, whose input number `place` is the network's, [1, N, h, w]."""
    model = openvino_core.read_model(network)
    height, width = bundle.metadata.size if bundle.metadata.policy == "stretch" else (-1, -1)
    model.reshape({model.input(place): [1, len(bundle.metadata.bands), height, width]})
    return openvino_core.compile_model(
        model,
        DEVICE,
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "ENABLE_CPU_PINNING": False,  # it would pin several processes to the same first cores
        },
    )
