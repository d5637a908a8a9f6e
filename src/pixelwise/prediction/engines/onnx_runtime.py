"""The engine of every installation: ONNX Runtime, on the CPU or, if built for it, on an NVIDIA GPU.

Shapes: H, W the image's own size; N its bands; C classes; h, w the size of the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

from pixelwise.bundle.bundle_file import BundleFile
from pixelwise.bundle.onnx_session import open_session
from pixelwise.bundle.trust import check_declarations
from pixelwise.errors import UsageError
from pixelwise.model.label_strips import GRAPH_VALUES, labels_of_scores
from pixelwise.records import Labels, Raster, Scores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, RunOptions


class Answer(NamedTuple):
    """What a bundle gives for one image."""

    labels: Labels  # [H, W]
    scores: Scores  # [C, h, w]
    borders: Scores | None = None  # [B, h, w], where it separates objects


Run = Callable[[Raster], Answer]
CUDA = "CUDAExecutionProvider"
KEPT_PIXELS = 1_000_000  # ONNX Runtime keeps the memory of smaller images for the next one
SAME_LABELS = 0.99  # share of the golden image's labels


def on_cpu(bundle: BundleFile, threads: int) -> Run:
    opened = partial(open_session, threads=threads)
    return runner(opened, opened(bundle.model), bundle)


def on_cuda(bundle: BundleFile, threads: int) -> Run:
    """Raises UsageError if ONNX Runtime cannot use a GPU: it would silently fall back to the CPU."""
    if not has_cuda():
        raise UsageError(
            "engine cuda: this ONNX Runtime was built without CUDA. Replace it with the CUDA build: "
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu. Or choose --engine onnxruntime."
        )
    # TensorFloat-32 has 10-bit mantissas: faster, but with other labels than on a CPU.
    opened = partial(open_session, threads=threads, providers=((CUDA, {"use_tf32": "0"}), "CPUExecutionProvider"))
    session = opened(bundle.model)
    if CUDA not in session.get_providers():
        raise UsageError(
            "engine cuda: ONNX Runtime could not start CUDA: no NVIDIA GPU or driver, or versions of CUDA and cuDNN "
            "other than those it was built for. See onnxruntime.ai/docs/execution-providers, or choose "
            "--engine onnxruntime."
        )
    return runner(opened, session, bundle)


def has_cuda() -> bool:
    """Whether this ONNX Runtime was built for NVIDIA GPUs."""
    import onnxruntime

    return CUDA in onnxruntime.get_available_providers()


def runner(opened: Callable[[bytes], InferenceSession], session: InferenceSession, bundle: BundleFile) -> Run:
    """Runs a bundle in `session`, and large images in a second session, opened by `opened`, without the labels."""
    classes, separate = len(bundle.metadata.classes), bundle.metadata.separate
    check_declarations(session, classes, bundle.metadata.bands, len(separate))
    maps = ["scores", "borders"] if separate else ["scores"]

    @cache
    def without_labels() -> InferenceSession | None:
        """The graph up to its scores; None if, on the golden image, its labels are not those of its scores."""
        from pixelwise.bundle.onnx_graph import extract, parse

        golden_HWN = bundle.golden.image
        network = opened(extract(parse(bundle.model), [], maps)[0])
        # The first run is small: ONNX Runtime keeps its memory for good.
        (scores_Chw,) = network.run(["scores"], {"image": golden_HWN})
        (labels_HW,) = session.run(["labels"], {"image": golden_HWN})
        same = labels_of_scores(scores_Chw, golden_HWN.shape[:2]) == labels_HW
        return network if same.mean() >= SAME_LABELS else None

    def run(image_HWN: Raster) -> Answer:
        pixels = image_HWN.shape[0] * image_HWN.shape[1]
        run_options = releasing_memory() if pixels > KEPT_PIXELS else None
        if pixels * classes > GRAPH_VALUES and (network := without_labels()) is not None:
            scores_Chw, *borders = network.run(maps, {"image": image_HWN}, run_options)
            return Answer(labels_of_scores(scores_Chw, image_HWN.shape[:2]), scores_Chw, *borders)
        return Answer(*session.run(["labels", *maps], {"image": image_HWN}, run_options))

    return run


def releasing_memory() -> RunOptions:
    """For large images: release the memory after the run."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4  # as for a session
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options
