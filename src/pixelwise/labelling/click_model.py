"""Click → object by a network of the Segment Anything kind: a pair of ONNX files, an encoder and a decoder.

Recognised by the names, types and shapes of their inputs and outputs, as these programs export them:

- Segment Anything and MobileSAM: the decoder of `scripts/export_onnx_model.py` of either project; the encoder of
  samexporter, or any with one input [1, 3, side, side] (normalised, padded at the right and bottom) or [H, W, 3]
  (0–255), and one output.
- SAM 2 and 2.1: samexporter's pairs, and those of `convert_to_onnx.py` of ONNX Runtime.

Both files are checked before ONNX Runtime opens them: one file each, ONNX's own operators, no graphs inside operators.

Shapes: H, W the image's size; h, w that of the window; C, r channels and side of an embedding; P points; M masks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pixelwise.bundle.onnx_session import open_session
from pixelwise.bundle.protobuf_reader import Message, read_model
from pixelwise.bundle.trust import DOMAINS, MAX_NODES, NEWEST_OPSET, UNUSED_DOMAINS
from pixelwise.errors import BundleError, first_line
from pixelwise.images.false_colour import false_colour
from pixelwise.images.files import Refusal, read_bytes, shown
from pixelwise.labelling.click_points import Click, check_clicks
from pixelwise.labelling.patch import Mask, Region, Window
from pixelwise.prediction.engines.engine import usable_cores
from pixelwise.records import Bands, Pixels, Raster

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

OLDEST_OPSET = 11
MAX_SIDE = 4096  # of an encoder's input; Segment Anything has 1024
MAX_EMBEDDINGS = 1 << 26  # values of all of an encoder's outputs; SAM 2 has 4.2 million
KEPT = 8  # windows whose embeddings stay in memory
MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # of ImageNet, 0–255
STD = np.array([58.395, 57.12, 57.375], np.float32)
PADDING = -1.0  # label of a point that counts for nothing

# What a tensor is for → the names that exporters give it.
EMBEDDING = ("image_embeddings", "image_embedding", "image_embed", "embeddings")
DETAILS = (("high_res_feats_0", "image_features_0"), ("high_res_feats_1", "image_features_1"))
NAMES = {
    "points": ("point_coords",),
    "labels": ("point_labels",),
    "mask": ("mask_input", "input_masks"),
    "has mask": ("has_mask_input", "has_input_masks"),
    "size": ("orig_im_size", "original_image_size"),
}
NEEDED = ("points", "labels")
EXPECTED = (
    "expected the encoder and decoder of Segment Anything, MobileSAM or SAM 2: a decoder with the inputs "
    "image_embeddings (SAM 2: also high_res_feats_0 and high_res_feats_1), point_coords, point_labels, and the outputs "
    "masks and iou_predictions; an encoder with one image as its input and those embeddings as its outputs"
)

FLOATS = "tensor(float)"
TYPES = {FLOATS: np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(double)": np.float64}


@dataclass(frozen=True)
class Embedded:
    """A window as the encoder describes it."""

    values: Mapping[str, NDArray[Any]]  # decoder's input → its value
    height: int
    width: int
    scale_x: float  # from the window's pixels to the encoder's
    scale_y: float


class ClickModel:
    """An encoder and a decoder, opened at their first use. Thread-safe."""

    def __init__(self, encoder: Path, decoder: Path, threads: int | None = None) -> None:
        """Check both files.

        Args:
            encoder, decoder: ONNX files.
            threads: for one run; None: one per core that this process may use.

        Raises:
            BundleError: a file cannot be read, is unsafe to open, or is not such an encoder or decoder; the message
                names what was expected and what the file has.
        """
        self.threads = threads or usable_cores()
        self.encoder, self.decoder = (self._opened(path) for path in (encoder, decoder))
        self.paths = (encoder, decoder)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, Window], Embedded] = OrderedDict()
        self._check_encoder()
        self._check_decoder()

    def _opened(self, path: Path) -> InferenceSession:
        try:
            data = read_bytes(path)
        except Refusal as refusal:
            raise BundleError(f"{shown(path)}: {refusal}") from refusal
        try:
            check_safe(read_model(data)[0])
        except ValueError as error:
            raise BundleError(
                f"{shown(path)}: it cannot be used as a click model: {first_line(error)}. Export it again as one ONNX "
                f"file of at most 2 GiB with ONNX's own operators, opset {OLDEST_OPSET} to {NEWEST_OPSET}."
            ) from error
        try:
            return open_session(data, self.threads)
        except Exception as error:  # onnxruntime's exceptions have no common base class
            raise BundleError(
                f"{shown(path)}: ONNX Runtime cannot load it: {first_line(error)}. Export it again."
            ) from error

    def _check_encoder(self) -> None:
        inputs, outputs = self.encoder.get_inputs(), self.encoder.get_outputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        planar = len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3] and shape[0] in (1, "batch_size")
        if planar and not (isinstance(shape[2], int) and 32 <= shape[2] <= MAX_SIDE):
            planar = False
        rows = len(shape) == 3 and shape[2] == 3
        if not (planar or rows) or inputs[0].type not in (FLOATS, "tensor(uint8)") or len(outputs) not in (1, 3):
            raise self._other(self.paths[0], self.encoder)
        if any(one.type != FLOATS or len(one.shape) != 4 for one in outputs):
            raise self._other(self.paths[0], self.encoder)
        known = [side for one in outputs for side in [one.shape] if all(isinstance(part, int) for part in side)]
        if sum(int(np.prod(side, dtype=object)) for side in known) > MAX_EMBEDDINGS:
            raise self._other(self.paths[0], self.encoder)

    def _check_decoder(self) -> None:
        names = {one.name for one in self.decoder.get_inputs()}
        known = {one for group in (EMBEDDING, *DETAILS, *NAMES.values()) for one in group}
        missing = [role for role in NEEDED if not names & set(NAMES[role])]
        details = [bool(names & set(group)) for group in DETAILS]
        outputs = {one.name for one in self.decoder.get_outputs()}
        wrong = missing or names - known or not names & set(EMBEDDING) or details[0] != details[1]
        if wrong or not {"masks", "iou_predictions"} <= outputs or details[0] != (len(self.encoder.get_outputs()) == 3):
            raise self._other(self.paths[1], self.decoder)
        if any(one.type not in TYPES for one in self.decoder.get_inputs()):
            raise self._other(self.paths[1], self.decoder)
        self._matched()

    def _other(self, path: Path, session: InferenceSession) -> BundleError:
        inputs, outputs = (
            ", ".join(f"{one.name[:40]} {one.type[7:-1]} {one.shape}" for one in many[:9]) or "none"
            for many in (session.get_inputs(), session.get_outputs())
        )
        return BundleError(f"{shown(path)}: {EXPECTED}; this file has the inputs {inputs} and the outputs {outputs}.")

    @cached_property
    def second(self) -> bool:
        """Is it SAM 2? Its encoder takes an image stretched to a square, and gives two finer maps beside."""
        return len(self.encoder.get_outputs()) == 3

    @cached_property
    def side(self) -> int:
        """Of the encoder's input, and of the space of the decoder's points."""
        shape = self.encoder.get_inputs()[0].shape
        return int(shape[2]) if len(shape) == 4 else 1024

    def _matched(self) -> dict[str, str]:
        """Decoder's input → encoder's output that it takes: by name, and a single embedding whatever its name."""
        outputs = [one.name for one in self.encoder.get_outputs()]
        names = [one.name for one in self.decoder.get_inputs()]
        found = {}
        for group in (EMBEDDING, *DETAILS):
            taken = [name for name in names if name in group]
            given = outputs if len(outputs) == 1 else [name for name in outputs if name in group]
            if taken and not given:
                raise self._other(self.paths[0], self.encoder)
            if taken:
                found[taken[0]] = given[0]
        return found

    def click(
        self, image_id: str, image_HWN: Raster, bands: Bands, points: Sequence[Click], window: Window | None = None
    ) -> Region:
        """The object that clicks mean.

        Args:
            image_id: of the image; what the encoder finds in a window is kept under it.
            image_HWN: all of the image, [H, W, N].
            bands: its bands; three of them are shown to the network, as on the page.
            points: at least one positive; columns and rows of the image.
            window: the part that the network looks at; None: the whole image.

        Returns:
            One region, in the image's coordinates; of a single false pixel at the first click if the network finds
            nothing.

        Raises:
            UsageError: no positive point, or a point outside the window.
            BundleError: the network fails, or its answer is not that of such a model.
        """
        height, width = image_HWN.shape[:2]
        area = (window or Window.whole(height, width)).clipped(height, width)
        clicks = check_clicks(points, area)
        embedded = self._embedded(image_id, image_HWN, bands, area)
        inside = self._decoded(embedded, [Click(x - area.x, y - area.y, positive) for x, y, positive in clicks])
        found = Window.around(inside)
        if found is None:
            first = next(one for one in clicks if one.positive)
            return Region(first.x, first.y, np.zeros((1, 1), np.bool_))
        return Region(area.x + found.x, area.y + found.y, inside[found.slices].copy())

    def _embedded(self, image_id: str, image_HWN: Raster, bands: Bands, area: Window) -> Embedded:
        with self._lock:
            if (image_id, area) in self._kept:
                self._kept.move_to_end((image_id, area))
                return self._kept[image_id, area]
        picture = np.ascontiguousarray(false_colour(image_HWN[area.slices], bands))
        given, scale_x, scale_y = self._prepared(picture)
        entry = self.encoder.get_inputs()[0]
        names = [one.name for one in self.encoder.get_outputs()]
        given = given.astype(np.uint8) if entry.type == "tensor(uint8)" else given
        outputs = dict(zip(names, self._run(self.paths[0], self.encoder, names, {entry.name: given}), strict=True))
        values = {taken: outputs[found_in] for taken, found_in in self._matched().items()}
        found = Embedded(values, area.h, area.w, scale_x, scale_y)
        with self._lock:
            self._kept[image_id, area] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _prepared(self, picture: Pixels) -> tuple[NDArray[Any], float, float]:
        """The encoder's input, and the scale from the window's pixels to its own in x and y."""
        height, width = picture.shape[:2]
        side, rows = self.side, len(self.encoder.get_inputs()[0].shape) == 3
        if self.second:
            size = (side, side)
        else:
            scale = side / max(height, width)
            size = (max(int(width * scale + 0.5), 1), max(int(height * scale + 0.5), 1))
        method = cv2.INTER_AREA if size[0] < width else cv2.INTER_LINEAR
        values = np.asarray(cv2.resize(picture, size, interpolation=method), np.float32)
        if not rows:
            values = (values - MEAN) / STD
            values = np.pad(values, ((0, side - size[1]), (0, side - size[0]), (0, 0)))  # as the network was trained
            values = np.ascontiguousarray(values.transpose(2, 0, 1)[None])
        return values, size[0] / width, size[1] / height

    def _decoded(self, embedded: Embedded, clicks: Sequence[Click]) -> Mask:
        """The best mask of the window: bool [h, w]."""
        points = [((x + 0.5) * embedded.scale_x - 0.5, (y + 0.5) * embedded.scale_y - 0.5) for x, y, _ in clicks]
        labels = [float(positive) for *_, positive in clicks]
        if not self.second:  # SAM's decoder wants such a point wherever there is no box
            points.append((0.0, 0.0))
            labels.append(PADDING)
        coarse = self.side // 4
        values: dict[str, NDArray[Any]] = {
            "points": np.array([points]), "labels": np.array([labels]), "mask": np.zeros((1, 1, coarse, coarse)),
            "has mask": np.zeros(1), "size": np.array([embedded.height, embedded.width]),
        }  # fmt: skip
        given = dict(embedded.values)
        for one in self.decoder.get_inputs():
            for role, names in NAMES.items():
                if one.name in names:
                    given[one.name] = values[role].astype(TYPES[one.type])
        outputs = [one.name for one in self.decoder.get_outputs()]
        # SAM's own resizing to the image is fixed to one shape by some exporters; that of the coarse masks is not.
        wanted = "low_res_masks" if not self.second and "low_res_masks" in outputs else "masks"
        masks, scores = self._run(self.paths[1], self.decoder, [wanted, "iou_predictions"], given)
        return self._full_size(self._best(masks, scores), embedded, cut=wanted == "low_res_masks")

    def _best(self, masks: NDArray[Any], scores: NDArray[Any]) -> NDArray[np.float32]:
        """The mask of the highest predicted IoU: [r, r]."""
        if masks.ndim != 4 or scores.ndim != 2 or masks.shape[:2] != scores.shape or not masks.size or len(masks) != 1:
            raise BundleError(
                f"{shown(self.paths[1])}: expected masks [1, M, height, width] and iou_predictions [1, M]; it gave "
                f"{list(masks.shape)} and {list(scores.shape)}."
            )
        best = int(np.nan_to_num(scores[0], nan=-np.inf).argmax())
        chosen = masks[0, best]
        return np.where(chosen, 1.0, -1.0).astype(np.float32) if chosen.dtype == np.bool_ else chosen.astype(np.float32)

    def _full_size(self, mask: NDArray[np.float32], embedded: Embedded, *, cut: bool) -> Mask:
        """At the window's resolution. `cut`: the mask covers the encoder's padded square."""
        size = (embedded.width, embedded.height)
        if cut:
            mask = np.asarray(cv2.resize(mask, (self.side, self.side), interpolation=cv2.INTER_LINEAR))
            below, right = round(embedded.height * embedded.scale_y), round(embedded.width * embedded.scale_x)
            mask = mask[:below, :right]
        if mask.shape != size[::-1]:
            mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR))
        return np.asarray(mask > 0)

    def _run(
        self, path: Path, session: InferenceSession, names: Sequence[str], given: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        try:
            found = session.run(list(names), dict(given))
        except Exception as error:  # onnxruntime's exceptions have no common base class
            raise BundleError(
                f"{shown(path)}: ONNX Runtime cannot run it: {first_line(error)}. Are encoder and decoder of one model?"
            ) from error
        return [np.asarray(one) for one in found]


def check_safe(model: Message) -> None:
    """Raise ValueError unless every runtime reads the same in it, and nothing but a network of ONNX's operators."""
    imports = [(entry.get("domain", ""), entry.get("version", 0)) for entry in model.get("opset_import", ())]
    if foreign := sorted({domain for domain, _ in imports} - {*DOMAINS, *UNUSED_DOMAINS}):
        raise ValueError(f"it needs operators of {', '.join(foreign)[:200]}, which are not ONNX's own")
    own = [version for domain, version in imports if domain in DOMAINS]
    if len(own) != 1 or not OLDEST_OPSET <= own[0] <= NEWEST_OPSET:
        raise ValueError(f"ONNX opset {own[0] if own else 'not declared'}; expected {OLDEST_OPSET} to {NEWEST_OPSET}")
    nodes = model.get("graph", {}).get("node", ())
    if not nodes or len(nodes) > MAX_NODES:
        raise ValueError(f"{len(nodes)} operators; expected 1 to {MAX_NODES:,}")
    for node in nodes:
        if node.get("domain", "") not in DOMAINS:
            raise ValueError(f"it uses an operator of {node['domain'][:80]!r}, which is not ONNX's own")
