"""The engine that every installation has: ONNX Runtime, on the CPU or, where it was built for it, on an NVIDIA GPU.

Shapes: H, W the image's own size; C classes; h, w the size of the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pixelwise.bundle.format import BundleFile
from pixelwise.bundle.trust import check_declarations
from pixelwise.errors import UsageError
from pixelwise.records import Labels, Pixels, Scores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Run = Callable[[Pixels], tuple[Labels, Scores]]
CUDA = "CUDAExecutionProvider"


def open_session(
    model: bytes, threads: int, providers: tuple[Any, ...] = ("CPUExecutionProvider",)
) -> InferenceSession:
    """An ONNX Runtime session of a serialised model.

    Args:
        threads: that one run may use.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that wait for work do so asleep: awake they take the cores from other sessions, in this process and in
    # others, and everything becomes many times slower as soon as two share a machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised; its copy on stderr helps nobody
    return onnxruntime.InferenceSession(model, options, providers=list(providers))


def on_cpu(bundle: BundleFile, threads: int) -> Run:
    return runner(open_session(bundle.model, threads), bundle)


def on_cuda(bundle: BundleFile, threads: int) -> Run:
    """Raises UsageError where ONNX Runtime cannot use a GPU: it would go on, on the CPU, and say nothing."""
    if not has_cuda():
        raise UsageError(
            "engine cuda: this ONNX Runtime was built without CUDA. Replace it by the one that has it: "
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu. Or choose --engine onnxruntime."
        )
    # TensorFloat-32 keeps 10 bits of a product's factors: faster, but other labels than those of a CPU.
    session = open_session(bundle.model, threads, ((CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"))
    if CUDA not in session.get_providers():
        raise UsageError(
            "engine cuda: ONNX Runtime has CUDA, but could not start it: no NVIDIA GPU or driver, or CUDA and cuDNN "
            "are not of the versions that it was built for. See onnxruntime.ai/docs/execution-providers, or choose "
            "--engine onnxruntime."
        )
    return runner(session, bundle)


def has_cuda() -> bool:
    """Was this ONNX Runtime built for NVIDIA GPUs?"""
    import onnxruntime

    return CUDA in onnxruntime.get_available_providers()


def runner(session: InferenceSession, bundle: BundleFile) -> Run:
    check_declarations(session, bundle)

    def run(image_HW3: Pixels) -> tuple[Labels, Scores]:
        labels_HW, scores_Chw = session.run(["labels", "scores"], {"image": image_HW3})
        return labels_HW, scores_Chw

    return run
