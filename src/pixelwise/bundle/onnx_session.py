"""Open a graph in ONNX Runtime: the one place where its settings are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ALL_CORES = 0


def open_session(
    model: bytes,
    threads: int = ALL_CORES,
    providers: tuple[Any, ...] = ("CPUExecutionProvider",),
    *,
    keeps_memory: bool = True,
) -> InferenceSession:
    """An ONNX Runtime session of a serialised model.

    Args:
        threads: for one run.
        keeps_memory: keep the memory of a run for the next one, which is faster; otherwise release it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Idle threads sleep: spinning ones would take the cores from other sessions, in this process and in others, and
    # make everything many times slower as soon as two share a machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = keeps_memory
    options.log_severity_level = 4  # errors are raised; a copy on stderr is useless
    return onnxruntime.InferenceSession(model, options, providers=list(providers))
