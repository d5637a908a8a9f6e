"""Predictions as answers: JSON with run lengths, a palette PNG, or packed arrays.

Shapes: H, W the image's own size; C classes; h, w the size of the scores.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from fastapi.responses import JSONResponse, Response, StreamingResponse
from numpy.typing import NDArray

from pixelwise.bundle.metadata import Metadata
from pixelwise.images.image_files import encode_label_png
from pixelwise.prediction.confidence_maps import rows_of
from pixelwise.prediction.large.tile_plan import is_cut
from pixelwise.prediction.probability_maps import ProbabilityOptions
from pixelwise.prediction.spooled_maps import probability_file
from pixelwise.records import RGB, ClassList, Labels, Prediction, Raster
from pixelwise.server.error_responses import RequestError
from pixelwise.server.image_memory import RememberedImage

BLOCK_PIXELS = 1 << 17  # encoded at a time
SAMPLED_PIXELS = 1 << 18  # for the range of values
OF_VOLUME = re.compile(r"\w+, (slice (\d+) of 0 to (\d+))")  # the format of a slice: NIfTI, or a TIFF of pages
PROBABILITY_PIXELS = 8_000_000  # of an image whose probabilities are sent: they are held whole
AT_ONCE_PIXELS = 1 << 20  # labels of a larger image are streamed


def run_lengths(labels_HW: Labels) -> list[int]:
    """Row by row from the top left: class id, length, class id, length … The inverse is `from_run_lengths`."""
    flat = labels_HW.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size))
    runs: list[int] = np.stack([flat[starts], lengths], axis=1).ravel().tolist()
    return runs


def run_length_blocks(labels_HW: Labels) -> Iterator[str]:
    """The run lengths as comma-separated text, part by part: for a noise image, the numbers take many times the memory
    of its labels."""
    flat = labels_HW.ravel()
    label, length, comma = int(flat[0]), 0, ""
    for begin in range(0, flat.size, BLOCK_PIXELS):
        part = flat[begin : begin + BLOCK_PIXELS]
        starts = np.concatenate([[0], np.flatnonzero(part[1:] != part[:-1]) + 1])
        lengths = np.diff(np.append(starts, part.size))
        pairs = np.stack([part[starts], lengths], axis=1).tolist()
        if pairs[0][0] == label:  # the last run of the previous part continues
            pairs[0][1] += length
        else:
            pairs.insert(0, [label, length])
        label, length = pairs.pop()
        if pairs:
            yield comma + ",".join(f"{one},{many}" for one, many in pairs)
            comma = ","
    yield f"{comma}{label},{length}"


def from_run_lengths(runs: list[int], height: int, width: int) -> Labels:
    pairs = np.array(runs).reshape(-1, 2)
    return np.repeat(pairs[:, 0].astype(np.uint8), pairs[:, 1]).reshape(height, width)


def as_json(seen: RememberedImage, *, with_png: bool, headers: Mapping[str, str] | None = None) -> Response:
    """The answer of /v1/predict: `described`, and `rle`, which is streamed for a large image."""
    facts = described(seen, with_png=with_png)
    if seen.prediction.labels.size <= AT_ONCE_PIXELS:
        return JSONResponse({**facts, "rle": run_lengths(seen.prediction.labels)}, headers=headers)
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))

    def parts() -> Iterator[bytes]:
        yield text[:-1].encode() + b',"rle":['
        for block in run_length_blocks(seen.prediction.labels):
            yield block.encode()
        yield b"]}"

    return StreamingResponse(parts(), headers=headers, media_type="application/json")


def described(seen: RememberedImage, *, with_png: bool) -> dict[str, Any]:
    """Everything except the labels, or with the labels as a PNG."""
    prediction = seen.prediction
    height, width = prediction.labels.shape
    answer: dict[str, Any] = {
        "width": width,
        "height": height,
        "classes": class_rows(prediction),
        "sha256": seen.sha256,
        "milliseconds": {"decode": round(seen.decode_ms, 2), "predict": round(seen.predict_ms, 2)},
    }
    if of_volume := OF_VOLUME.fullmatch(seen.format):
        answer["slice"] = of_volume[1]
    if with_png:
        answer["mask_png"] = base64.b64encode(as_png(prediction)).decode()
    return answer


def slice_header(seen: RememberedImage) -> dict[str, str]:
    """Which slice of a volume was labelled, as a header; none for an image."""
    of_volume = OF_VOLUME.fullmatch(seen.format)
    return {"X-Slice": of_volume[1]} if of_volume else {}


def class_rows(prediction: Prediction) -> list[dict[str, Any]]:
    classes = prediction.classes
    shares = prediction.shares
    return [
        {"id": i, "name": name, "colour": list(colour), "share": shares[name]}
        for i, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True))
    ]


def as_png(prediction: Prediction) -> bytes:
    return encode_label_png(prediction.labels, prediction.classes)


def png_answer(png: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """A PNG as an answer, marked as not to be compressed: it is already, and gzip would only take time."""
    return Response(png, headers={**(headers or {}), "Content-Encoding": "identity"}, media_type="image/png")


def probability_answer(seen: RememberedImage, metadata: Metadata) -> Response:
    """A TIFF of one band a class, float16. Raises RequestError: the image is too large to hold its probabilities."""
    labels_HW = seen.prediction.labels
    height, width = labels_HW.shape
    if labels_HW.size > PROBABILITY_PIXELS or is_cut((height, width), metadata.policy, metadata.bands):
        raise RequestError(
            413,
            "too-large-for-probabilities",
            f"{width}×{height} pixels: the server gives probabilities of images that the network labels at once, up to "
            f"{PROBABILITY_PIXELS:,} pixels.",
            "Send a smaller image, or run: pixelwise predict MODEL IMAGE --out OUT --save probabilities",
        )
    maps_of, options = rows_of(seen.prediction), ProbabilityOptions()
    parts = probability_file("probabilities", maps_of, labels_HW, seen.prediction.classes, options, None)
    headers = {"X-Image-SHA256": seen.sha256, "Content-Disposition": 'attachment; filename="probabilities.tif"'}
    return Response(b"".join(parts), headers=headers, media_type="image/tiff")


def pack(header: dict[str, Any], *arrays: NDArray[Any]) -> bytes:
    """A JSON header and arrays in one body.

    uint32 length of the header, the header as UTF-8, then each array's bytes, little-endian, starting at multiples of
    4. The header gets "arrays": [{"dtype", "shape", "offset"}], offsets counted from the end of the header's padding.
    """
    described, parts, offset = [], [], 0
    for array in arrays:
        array = np.ascontiguousarray(array)
        described.append({"dtype": str(array.dtype), "shape": list(array.shape), "offset": offset})
        padding = -array.nbytes % 4
        parts += [array.data.cast("B") if array.size else b"", b"\0" * padding]
        offset += array.nbytes + padding
    text = json.dumps({**header, "arrays": described}, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 4)
    return b"".join([struct.pack("<I", len(text)), text, *parts])


def packed(header: dict[str, Any], *arrays: NDArray[Any]) -> Response:
    """The same as an answer, not to be compressed: compressing megabytes takes longer than sending them locally."""
    return Response(
        pack(header, *arrays), headers={"Content-Encoding": "identity"}, media_type="application/octet-stream"
    )


def for_page(name: str, seen: RememberedImage) -> Response:
    """Everything that the page needs of one image: labels and scores, packed."""
    prediction = seen.prediction
    of_volume = OF_VOLUME.fullmatch(seen.format)
    header = {
        "image": name,
        "slices": {"number": int(of_volume[2]), "count": int(of_volume[3]) + 1} if of_volume else None,
        **described(seen, with_png=False),
        "temperature": prediction.temperature,
        "format": seen.format,
        "bytes": seen.bytes,
        "ranges": [] if seen.bands == RGB else ranges_of(seen.pixels),
    }
    return packed(header, prediction.labels, prediction.scores)


def ranges_of(pixels_HWN: Raster) -> list[list[float]]:
    """For each band, the values below which 2 % and 98 % of a sample of its finite values lie; 0 and 1 without any."""
    step = max(int((pixels_HWN.shape[0] * pixels_HWN.shape[1] / SAMPLED_PIXELS) ** 0.5), 1)
    found = []
    for band in range(pixels_HWN.shape[2]):
        values = pixels_HWN[::step, ::step, band]
        known = values[np.isfinite(values)]
        low, high = np.percentile(known, (2, 98)) if known.size else (0.0, 1.0)
        found.append([float(low), float(high)])
    return found


def mapped(labels_HW: Labels, classes: ClassList, onto: ClassList) -> Labels:
    """Labels in one list of classes as labels in another, by name; void where the other lacks the class."""
    table = np.full(256, 255, np.uint8)
    for i, name in enumerate(classes.names):
        if name in onto.names:
            table[i] = onto.names.index(name)
    return table[labels_HW]
