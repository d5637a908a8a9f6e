"""`load(model).predict(image)`: one image → its labels.

Shapes: H, W the image's own size; N its bands; C classes; h, w the size of the scores.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixelwise.bundle.bundle_file import BundleFile, read_bundle
from pixelwise.bundle.metadata import Metadata
from pixelwise.bundle.onnx_session import open_session
from pixelwise.datasets.file_kinds import is_volume
from pixelwise.errors import ImageError, UsageError
from pixelwise.images.declared_no_data import Absent, absent_pixels, void_where
from pixelwise.images.files import Refusal, shown
from pixelwise.images.no_data import labels_with_data
from pixelwise.images.read_as import read_image_as
from pixelwise.prediction.built_in_models import models
from pixelwise.prediction.confidence_maps import RowsOfProbabilities, rows_of
from pixelwise.prediction.engines.engine import AUTO, Engine
from pixelwise.prediction.in_memory import prediction_of, run_bounded_all
from pixelwise.prediction.tta import predict_variants
from pixelwise.prediction.volume_slices import only_slice
from pixelwise.records import RGB, Bands, ClassList, Prediction, Raster

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BUNDLE_NAME = "model.onnx"  # in a run directory
NAMED = 12  # bands in a message
RUN_MARKS = ("recipe.toml", "trace.jsonl", "checkpoints")  # a folder with any of these is a run directory


class Model:
    """An open, verified bundle. Several threads may use it at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def predict(self, image: Raster | str | Path, *, tta: str = "") -> Prediction:
        """Label one image.

        An image of more than 32 megapixels, or 4 megapixels if the model takes images at their original scale, is cut
        into tiles, as the verb `predict` does: memory stays bounded.

        Args:
            image: uint8 [H, W, 3] RGB of any size; uint8 [H, W] grey; or the path of an image file. A model of other
                bands (`metadata.bands`) takes [H, W, N] in their order, the values as stored, NaN where there are none:
                any numbers, or uint8 if its bands are uint8.
            tta: test-time augmentation: variants whose predictions are averaged, such as "flip" or "flip,1.25". Each
                takes as long as a prediction. Default "": none.

        Returns:
            labels uint8 [H, W], 255 (void) where the image has no data in any band, and scores float32 [C, h, w] at the
            network's resolution.

        Raises:
            UsageError: an array of another type or shape or of other bands, or unknown variants.
            ImageError: a file that cannot be read.
            BundleError: the model cannot be run on it.

        Example:
            >>> import numpy as np, pixelwise as pw
            >>> pw.load("street").predict(np.zeros((240, 320, 3), np.uint8)).labels.shape
            (240, 320)
        """
        return self.predict_by_rows(image, tta=tta)[0]

    def predict_by_rows(self, image: Raster | str | Path, *, tta: str = "") -> tuple[Prediction, RowsOfProbabilities]:
        """As `predict`; also every class's probability at the image's size, by rows: with TTA the average over the
        variants, of which the labels are the argmax."""
        image_HWN, absent_HW = as_input(image, self.metadata.bands), absent_in(image, self.metadata.bands)
        if tta:
            prediction, by_rows = predict_variants(self.engine, image_HWN, tta)
            labels_HW = void_where(labels_with_data(image_HWN, prediction.labels), absent_HW)
            return replace(prediction, labels=labels_HW), by_rows
        labels_HW, maps_Mhw = run_bounded_all(self.engine, image_HWN)
        labels_HW = void_where(labels_with_data(image_HWN, labels_HW), absent_HW)
        prediction = prediction_of(self.metadata, labels_HW, maps_Mhw)
        return prediction, rows_of(prediction)

    @property
    def metadata(self) -> Metadata:
        return self.engine.bundle.metadata

    @property
    def classes(self) -> ClassList:
        return self.metadata.classes

    @property
    def path(self) -> Path:
        return self.engine.bundle.path

    @property
    def digest(self) -> str:
        """SHA-256 of the network, as hexadecimal digits."""
        return self.engine.bundle.digest

    @property
    def golden_image(self) -> Raster:
        """The small image [H, W, bands] in the bundle on which its network is tested: one like those of training."""
        return self.engine.bundle.golden.image

    @property
    def graph(self) -> bytes:
        """The serialised ONNX model, for a trace."""
        return self.engine.bundle.model

    def open_session(self, model: bytes) -> InferenceSession:
        """An ONNX Runtime session of a part of this model, with this model's threads, for a trace. Several of them are
        open at a time, so they keep no memory between runs."""
        return open_session(model, self.engine.threads, keeps_memory=False)

    def __repr__(self) -> str:
        height, width = self.metadata.size
        return f"Model({shown(self.path)!r}, {len(self.classes)} classes, {self.metadata.policy} {height}×{width})"


def load(model: str | Path, threads: int | None = None, engine: str = AUTO) -> Model:
    """Open a model and verify it.

    Args:
        model: a bundle (.onnx), a run directory, or the name of a built-in model.
        threads: CPU threads per prediction. None: one per core that this process may use. Divide the cores among
            several models that run at the same time.
        engine: "onnxruntime", "openvino", "openvino-bf16", "cuda", or "auto": cuda if ONNX Runtime has it, otherwise
            onnxruntime. The openvino engines need the extra `openvino`.

    Returns:
        Model: open; several threads may use it at the same time.

    Raises:
        UsageError: no such model, a run without a bundle, or an engine that this machine cannot run.
        MissingExtraError: the engine is not installed.
        BundleError: the bundle is corrupt, foreign or altered, or does not compute what it should.

    Example:
        >>> import pixelwise as pw
        >>> model = pw.load("street")
        >>> prediction = model.predict("photo.jpg")
        >>> prediction.labels.shape, prediction.labels.dtype.name
        ((64, 96), 'uint8')
    """
    return opened(read_bundle(find_bundle(model)), threads, engine)


def opened(bundle: BundleFile, threads: int | None, engine: str) -> Model:
    """As `load`, of a bundle that was read."""
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}; expected 1 or more, or None for all cores.")
    return Model(Engine(bundle, threads, engine))


def find_bundle(model: str | Path) -> Path:
    """The bundle file of MODEL.

    Raises:
        UsageError: no such model, or a run that has no bundle yet.
    """
    path = Path(model)
    if path.is_dir():
        bundle = path / BUNDLE_NAME
        if bundle.is_file():
            return bundle
        if any((path / mark).exists() for mark in RUN_MARKS):
            raise UsageError(
                f"{shown(path)}: this run has no {BUNDLE_NAME} yet, which is written when training has finished. "
                f"Let it finish, or write one from its best checkpoint: pixelwise export {shown(path)} --out M.onnx"
            )
    elif path.exists() or path.is_symlink():
        return path
    if path.name == str(model) and (known := {built_in.name: built_in for built_in in models()}.get(path.name)):
        return known.path  # also where a folder of its results, say, has the same name
    if path.is_dir():
        raise UsageError(
            f"{shown(path)}: a folder without {BUNDLE_NAME}, so not a run directory. {what_model_can_be()}"
        )
    raise UsageError(f"{shown(path)}: no such model. {what_model_can_be()}")


def what_model_can_be() -> str:
    names = ", ".join(model.name for model in models())
    return (
        f"MODEL can be a bundle file (M.onnx), a run directory (as written by `pixelwise train --out RUN`), or a "
        f"built-in model ({names})."
    )


def as_input(image: Raster | str | Path, bands: Bands) -> Raster:
    """An image as a bundle of these bands takes it: [H, W, N], contiguous.

    Raises as `Model.predict`.
    """
    if isinstance(image, (str, Path)):
        path = Path(image)
        return only_slice(path, bands) if is_volume(path) else contiguous(read_image_as(path, bands))
    array: Any = image
    wanted = described(bands)
    if not isinstance(array, np.ndarray):
        kind = f"{type(array).__module__}.{type(array).__qualname__}"
        remedy = 'Convert it: numpy.asarray(image.convert("RGB")).' if hasattr(array, "convert") else "Pass an array."
        raise UsageError(f"the image is a {kind}; expected {wanted}, or a path. {remedy}")
    if array.ndim == 2 and array.size:
        array = np.repeat(array[:, :, None], 3, axis=2) if bands == RGB else array[:, :, None]
    takes_any_number = bands.dtype == "float32" and array.dtype.kind in "iuf"
    if not (takes_any_number or array.dtype == bands.dtype) or array.shape[2:] != (len(bands),) or not array.size:
        received = f"{array.dtype} {list(array.shape)}"
        raise UsageError(f"the image is {received}; expected {wanted}. {hint(array, bands)}".strip())
    return contiguous(array.astype(bands.dtype, copy=False))


def absent_in(image: Raster | str | Path, bands: Bands) -> Absent | None:
    """Where the file of an image that is read as 8-bit pixels declares that it holds no data, [H, W]; None: nowhere.

    Raises ImageError.
    """
    if not isinstance(image, (str, Path)) or bands.dtype != "uint8":
        return None
    try:
        return absent_pixels(Path(image), bands)
    except Refusal as refusal:
        raise ImageError(f"{shown(image)}: {refusal}") from refusal


def contiguous(image: Raster) -> Raster:
    return image if image.flags.c_contiguous else image.copy()


def described(bands: Bands) -> str:
    """The array that a model of these bands takes, in words."""
    if bands == RGB:
        return "uint8 [H, W, 3], RGB, 0–255"
    names = ", ".join(bands.names[:NAMED]) + (" …" if len(bands) > NAMED else "")
    return f"{bands.dtype} [H, W, {len(bands)}], the values as stored in the file, bands: {names}"


def hint(array: np.ndarray[Any, Any], bands: Bands) -> str:
    """The likely remedy for an array that is not an image of these bands."""
    if array.dtype != np.uint8 and bands.dtype == "uint8":
        if array.dtype.kind == "f" and array.size and float(np.nanmax(array)) <= 1.0:
            return "Convert values of 0–1 with (image * 255).round().astype('uint8')."
        return "Scale it to 0–255 and convert it: image.astype('uint8')."
    if array.ndim == 3 and array.shape[2] == 4 and bands == RGB:
        return "Drop the alpha channel: image[:, :, :3]."
    if array.ndim == 3 and array.shape[0] == len(bands):
        return "Channels come last: image.transpose(1, 2, 0)."
    if array.ndim == 4:
        return "Pass one image at a time."
    if array.ndim == 3 and array.shape[2] > len(bands) and bands != RGB:
        return "Select the model's bands, in their order: image[:, :, [0, 2, …]]."
    return ""
