"""A bundle on ONNX Runtime: opened, checked, and run. No torch, nor the onnx package: to import it takes longer.

Shapes: H, W the image's own size; C classes; h, w the size of the scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelwise.bundle.format import REMEDY, BundleFile, protobuf_fields
from pixelwise.errors import BundleError
from pixelwise.records import Labels, Pixels, Scores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

GOLDEN_AGREEMENT = 0.99  # share of the golden image's labels; the rest is rounding, which differs between processors

# Where a protobuf of onnx.proto holds messages in which tensors can hide: message → field number → message.
NESTED = {
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor", 6: "graph", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def open_session(model: bytes, threads: int | None = None) -> InferenceSession:
    """An ONNX Runtime session of a serialised model, on the CPU.

    Args:
        threads: that one run may use; None: one per physical core.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4  # what goes wrong is raised; its copy on stderr helps nobody
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Engine:
    """Runs a bundle. One engine may be used by several threads at a time."""

    def __init__(self, bundle: BundleFile, threads: int | None = None) -> None:
        """Open a bundle and verify that it labels its golden image as it did when it was written.

        Raises:
            BundleError: it names data outside itself, cannot be loaded or run, declares other inputs or outputs than a
                bundle has, or gives other labels than it should.
        """
        self.bundle, self.threads = bundle, threads
        refuse_outside_data(bundle)
        try:
            self.session = open_session(bundle.model, threads)
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise BundleError(f"{bundle.path}: ONNX Runtime cannot load it: {first_line(error)}. {REMEDY}") from error
        check_declarations(self.session, bundle)
        self.verify()

    def one_threaded(self) -> Engine:
        """A twin that labels each image in its caller's thread alone.

        As many callers as cores label more images a second than one that uses all cores for each: no core waits.
        """
        if self.threads == 1:
            return self
        twin = copy(self)
        twin.threads, twin.session = 1, open_session(self.bundle.model, 1)
        return twin

    def run(self, image_HW3: Pixels) -> tuple[Labels, Scores]:
        """Label one image.

        Args:
            image_HW3: uint8 RGB, contiguous.

        Returns:
            labels uint8 [H, W] and scores float32 [C, h, w].

        Raises:
            BundleError: the network cannot be run on it, for example for want of memory.
        """
        try:
            labels_HW, scores_Chw = self.session.run(["labels", "scores"], {"image": image_HW3})
        except Exception as error:  # as above
            height, width = image_HW3.shape[:2]
            raise BundleError(
                f"{self.bundle.path}: ONNX Runtime failed on an image of {width}×{height} pixels: {first_line(error)}. "
                "Try a smaller image; if every image fails, export the bundle again."
            ) from error
        return labels_HW, scores_Chw

    def verify(self) -> None:
        """Run the golden image and compare. Raises BundleError where the labels are not those that were recorded."""
        golden = self.bundle.golden
        labels_HW, scores_Chw = self.run(np.ascontiguousarray(golden.image))
        if labels_HW.shape != golden.labels.shape:
            raise BundleError(
                f"{self.bundle.path}: its golden image gives labels of {list(labels_HW.shape)}, "
                f"but {list(golden.labels.shape)} were recorded. {REMEDY}"
            )
        agreement = float((labels_HW == golden.labels).mean())
        if agreement < GOLDEN_AGREEMENT or not np.isfinite(scores_Chw).all():
            raise BundleError(
                f"{self.bundle.path}: labels of its golden image agree on {agreement:.1%} of the pixels with those "
                f"recorded at export; at least {GOLDEN_AGREEMENT:.0%} is expected. The file was altered, or this "
                f"version of ONNX Runtime computes something else. {REMEDY}"
            )


def check_declarations(session: InferenceSession, bundle: BundleFile) -> None:
    """Raise BundleError unless the graph declares what every bundle declares."""
    classes = len(bundle.metadata.classes)
    expected: dict[str, tuple[str, list[int | None]]] = {
        "input image": ("tensor(uint8)", [None, None, 3]),
        "output labels": ("tensor(uint8)", [None, None]),
        "output scores": ("tensor(float)", [classes, None, None]),
    }
    declared = {f"input {node.name}": node for node in session.get_inputs()}
    declared |= {f"output {node.name}": node for node in session.get_outputs()}
    for what, (dtype, shape) in expected.items():
        node = declared.get(what)
        if node is None or node.type != dtype or not fits(node.shape, shape):
            received = f"{node.type} {node.shape}" if node else f"only {', '.join(declared)}"
            wanted = ["any" if side is None else side for side in shape]
            raise BundleError(
                f"{bundle.path}: {what} should be {dtype} {wanted}, but the file declares {received}. {REMEDY}"
            )
    if extra := [what for what in declared if what.startswith("input ") and what not in expected]:
        raise BundleError(f"{bundle.path}: unexpected {', '.join(extra)}; a bundle takes one image. {REMEDY}")


def fits(declared: Sequence[Any], expected: Sequence[int | None]) -> bool:
    """Does a declared shape fit? A side must be free where None is expected; where a number is, it or free."""
    if len(declared) != len(expected):
        return False
    return all(
        want is None or side == want or not isinstance(side, int) for side, want in zip(declared, expected, strict=True)
    )


def refuse_outside_data(bundle: BundleFile) -> None:
    """Raise BundleError when a tensor's values are to be read from another file: a bundle holds all that it needs."""
    graphs = [value for number, value in protobuf_fields(bundle.model) if number == 7]
    try:
        tensors = [tensor for graph in graphs if isinstance(graph, memoryview) for tensor in tensors_in("graph", graph)]
        outside = any(number == 13 for tensor in tensors for number, _ in protobuf_fields(tensor))
    except (ValueError, IndexError, RecursionError) as error:
        raise BundleError(f"{bundle.path}: its graph is damaged ({error}). {REMEDY}") from error
    if outside:
        raise BundleError(
            f"{bundle.path}: part of its weights lies in another file, but a bundle is one file. {REMEDY}"
        )


def tensors_in(kind: str, message: memoryview) -> Iterator[memoryview]:
    """Every TensorProto below a message of onnx.proto."""
    if kind == "tensor":
        yield message
        return
    for number, value in protobuf_fields(message):
        inner = NESTED[kind].get(number)
        if inner and isinstance(value, memoryview):
            yield from tensors_in(inner, value)


def first_line(error: Exception) -> str:
    """What an exception of a library says, in one line of bearable length."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(". ")
