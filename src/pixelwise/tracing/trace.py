"""The verb `trace`: one image followed through the model.

Shapes: H, W the image's own size; N its bands; h, w the input size of the network; C classes; hs, ws the size of the
scores.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.bundle.onnx_graph import Traceable
from pixelwise.datasets.file_kinds import is_volume
from pixelwise.errors import UsageError
from pixelwise.images.declared_no_data import Absent, void_where
from pixelwise.images.false_colour import false_colour
from pixelwise.images.files import shown
from pixelwise.images.image_files import encode_label_png
from pixelwise.images.no_data import labels_with_data
from pixelwise.prediction.load_model import absent_in, as_input
from pixelwise.prediction.stages import HOW_TIMED, RUNS, Stages
from pixelwise.prediction.volume_slices import read_slice
from pixelwise.records import Pixels, Prediction, Raster
from pixelwise.trace_events import VERSION, Event, finite
from pixelwise.tracing.network_layers import Layer, layers
from pixelwise.tracing.pixel_story import PixelStory, tell_pixel
from pixelwise.tracing.prediction_checks import PredictionWarning, check_prediction

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Trace:
    """One image followed through a model: stages, layers, one pixel, warnings."""

    file: str | None  # None for an array
    digest: str  # of the model
    image: Raster  # [H, W, N] as the model takes it
    picture: Pixels  # [H, W, 3] of it, for display
    prediction: Prediction
    flow: tuple[Event, ...]  # the four stages
    layers: tuple[Layer, ...]
    pixel: PixelStory
    confidence: float  # mean probability of the most probable class, 0–1
    findings: tuple[PredictionWarning, ...]  # what looks wrong; often empty

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON, except the pixels: the flow has thumbnails of them."""
        height, width = self.prediction.labels.shape
        whole: dict[str, Any] = finite(
            {
                "version": VERSION,
                "file": self.file,
                "width": width,
                "height": height,
                "model": self.digest,
                "classes": self.prediction.classes.to_json(),
                "shares": self.prediction.shares,
                "confidence": self.confidence,
                "timing": f"{HOW_TIMED}; median of {RUNS} runs",
                "flow": list(self.flow),
                "layers": [layer.to_json() for layer in self.layers],
                "pixel": self.pixel.to_json(),
                "findings": [finding.to_json() for finding in self.findings],
            }
        )
        return whole

    def to_rich(self) -> RenderableType:
        """For printing with rich: colours and pictures in a terminal, plain text elsewhere."""
        from pixelwise.tracing.trace_text import show_trace  # rich is needed only for printing

        return show_trace(
            self.file, self.digest, self.picture, self.prediction, self.flow, self.layers, self.pixel, self.findings
        )

    def labels_png(self) -> bytes:
        """The labels as a palette PNG, see `encode_label_png`."""
        return encode_label_png(self.prediction.labels, self.prediction.classes)


def trace(
    model: Traceable,
    image: Raster | str | Path,
    pixel: tuple[int, int] | None = None,
    *,
    slice_number: int | None = None,
) -> Trace:
    """Trace an image through a model: the four stages, every layer, and why one pixel got its label.

    Args:
        model: an open model, as `load` returns it.
        image: what `Model.predict` takes: uint8 [H, W, 3] RGB, or [H, W, N] of the model's bands; or the path of an
            image file.
        pixel: (x, y) from the top left, in pixels. None: the pixel of which the model is least sure.
        slice_number: of a NIfTI volume, from 0. None: the middle one.

    Returns:
        Trace: the prediction, stages and layers with shapes, value ranges and times, and the pixel's explanation.

    Raises:
        ImageError: the file cannot be read.
        UsageError: an array of another shape or type, a pixel outside the image, or a slice that is not there.
        BundleError: the bundle lacks tensors that its metadata names.

    Example:
        >>> import pixelwise as pw
        >>> trace = pw.trace(pw.load("street"), "photo.jpg", pixel=(40, 20))
        >>> len(trace.flow), trace.pixel.x
        (4, 40)
    """
    began = time.perf_counter()
    file = shown(image) if isinstance(image, (str, Path)) else None
    if isinstance(image, (str, Path)) and is_volume(Path(image)):
        pixels_HWN, file = read_slice(Path(image), model.metadata.bands, slice_number)
    elif slice_number is not None:
        raise UsageError("a slice is chosen, but the image is no volume (.nii, .nii.gz). Leave the slice out.")
    else:
        pixels_HWN = as_input(image, model.metadata.bands)
    decode_ms = (time.perf_counter() - began) * 1e3 if file else 0.0
    place = None if pixel is None else (int(pixel[0]), int(pixel[1]))
    absent_HW = absent_in(image, model.metadata.bands)
    return trace_pixels(model, pixels_HWN, place, file=file, decode_ms=decode_ms, absent_HW=absent_HW)


def trace_pixels(
    model: Traceable,
    image_HWN: Raster,
    pixel: tuple[int, int] | None,
    *,
    file: str | None = None,
    decode_ms: float = 0.0,
    prediction: Prediction | None = None,
    absent_HW: Absent | None = None,
) -> Trace:
    """As `trace`, for an image that is decoded already.

    Args:
        decode_ms: how long decoding took.
        prediction: what the model predicted for this image; None: taken from the traced run.
        absent_HW: where its file declares that it holds no data, [H, W]; None: nowhere.
    """
    stages = Stages(model)
    passed = stages.run(image_HWN, decode_ms, RUNS)
    if prediction is None:
        labels_HW = void_where(labels_with_data(image_HWN, passed.labels), absent_HW)
        prediction = Prediction(labels_HW, passed.scores, model.classes, model.metadata.temperature)
    rows, activations = layers(model, image_HWN)
    bands = model.metadata.bands
    return Trace(
        file=file,
        digest=model.digest,
        image=image_HWN,
        picture=false_colour(image_HWN, bands),
        prediction=prediction,
        flow=tuple(stages.events(passed)),
        layers=rows,
        pixel=tell_pixel(image_HWN, bands, prediction, activations, pixel),
        confidence=prediction.confidence,
        findings=tuple(check_prediction(image_HWN, prediction, model.metadata, rows, model.golden_image)),
    )
