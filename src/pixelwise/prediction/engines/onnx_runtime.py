"""The engine that every installation has: ONNX Runtime, on the CPU or, where it was built for it, on an NVIDIA GPU.

Shapes: H, W the image's own size; C classes; h, w the size of the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelwise.bundle.bundle_file import BundleFile
from pixelwise.bundle.trust import check_declarations
from pixelwise.errors import UsageError
from pixelwise.model.label_strips import GRAPH_VALUES, labels_of_scores
from pixelwise.records import Labels, Pixels, Scores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, RunOptions

Run = Callable[[Pixels], tuple[Labels, Scores]]
CUDA = "CUDAExecutionProvider"
KEPT_PIXELS = 2_100_000  # of an image, up to which ONNX Runtime keeps the memory for the next one
SAME_LABELS = 0.99  # share of the golden image's labels


def open_session(
    model: bytes, threads: int, providers: tuple[Any, ...] = ("CPUExecutionProvider",), *, keeps_memory: bool = True
) -> InferenceSession:
    """An ONNX Runtime session of a serialised model.

    Args:
        threads: that one run may use.
        keeps_memory: what a run took is kept for the next one, which is faster; otherwise it is given back.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that wait for work do so asleep: awake they take the cores from other sessions, in this process and in
    # others, and everything becomes many times slower as soon as two share a machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = keeps_memory
    options.log_severity_level = 4  # what goes wrong is raised; its copy on stderr helps nobody
    return onnxruntime.InferenceSession(model, options, providers=list(providers))


def on_cpu(bundle: BundleFile, threads: int) -> Run:
    opened = partial(open_session, threads=threads)
    return runner(opened, opened(bundle.model), bundle)


def on_cuda(bundle: BundleFile, threads: int) -> Run:
    """Raises UsageError where ONNX Runtime cannot use a GPU: it would go on, on the CPU, and say nothing."""
    if not has_cuda():
        raise UsageError(
            "engine cuda: this ONNX Runtime was built without CUDA. Replace it by the one that has it: "
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu. Or choose --engine onnxruntime."
        )
    # TensorFloat-32 keeps 10 bits of a product's factors: faster, but other labels than those of a CPU.
    opened = partial(open_session, threads=threads, providers=((CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"))
    session = opened(bundle.model)
    if CUDA not in session.get_providers():
        raise UsageError(
            "engine cuda: ONNX Runtime has CUDA, but could not start it: no NVIDIA GPU or driver, or CUDA and cuDNN "
            "are not of the versions that it was built for. See onnxruntime.ai/docs/execution-providers, or choose "
            "--engine onnxruntime."
        )
    return runner(opened, session, bundle)


def has_cuda() -> bool:
    """Was this ONNX Runtime built for NVIDIA GPUs?"""
    import onnxruntime

    return CUDA in onnxruntime.get_available_providers()


def runner(opened: Callable[[bytes], InferenceSession], session: InferenceSession, bundle: BundleFile) -> Run:
    """Runs a bundle in `session`, which `opened` made of it, and images that are large for it in a second one."""
    check_declarations(session, len(bundle.metadata.classes))
    classes = len(bundle.metadata.classes)

    @cache
    def without_labels() -> InferenceSession | None:
        """The graph up to its scores; None where its labels are not those of its scores, as the golden image tells."""
        from pixelwise.bundle.onnx_graph import extract, parse

        golden_HW3 = np.ascontiguousarray(bundle.golden.image)
        network = opened(extract(parse(bundle.model), [], ["scores"])[0])
        # The first run is a small one: what ONNX Runtime takes for it, it keeps for good.
        (scores_Chw,) = network.run(["scores"], {"image": golden_HW3})
        (labels_HW,) = session.run(["labels"], {"image": golden_HW3})
        same = labels_of_scores(scores_Chw, golden_HW3.shape[:2]) == labels_HW
        return network if same.mean() >= SAME_LABELS else None

    def run(image_HW3: Pixels) -> tuple[Labels, Scores]:
        pixels = image_HW3.shape[0] * image_HW3.shape[1]
        how = thrifty() if pixels > KEPT_PIXELS else None
        if pixels * classes > GRAPH_VALUES and (network := without_labels()) is not None:
            (scores_Chw,) = network.run(["scores"], {"image": image_HW3}, how)
            return labels_of_scores(scores_Chw, image_HW3.shape[:2]), scores_Chw
        labels_HW, scores_Chw = session.run(["labels", "scores"], {"image": image_HW3}, how)
        return labels_HW, scores_Chw

    return run


def thrifty() -> RunOptions:
    """How a large image is run: the memory that it took is given back."""
    import onnxruntime

    how = onnxruntime.RunOptions()
    how.log_severity_level = 4  # as a session's
    how.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return how
