"""One NIfTI volume → label volumes on the same grid: each slice is labelled and written before the next is read.

    labels, index   NAME.nii.gz: class ids, uint8, 255 void
    confidence      NAME.confidence.nii.gz: float32 0–1, of the most probable class
    entropy         NAME.entropy.nii.gz: float32 0–1
    numpy           NAME.npy: class ids, uint8 [slices, H, W]

The header keeps what places the volume in space: affine, voxel size and units.

Shapes: H, W a slice's size.
"""

from __future__ import annotations

import gzip
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike

from pixelwise.datasets.formats import nifti
from pixelwise.errors import ImageError, OutputError
from pixelwise.images.files import shown, writing_whole
from pixelwise.prediction.confidence_maps import RowsOfProbabilities
from pixelwise.prediction.outputs import WholeImage
from pixelwise.prediction.volume_slices import VolumeSlices
from pixelwise.records import VOID, ClassList, OnProgress, Prediction, Raster

ENDINGS = {
    "labels": ".nii.gz",
    "index": ".nii.gz",
    "numpy": ".npy",
    "confidence": ".confidence.nii.gz",
    "entropy": ".entropy.nii.gz",
}
SHARES = ("confidence", "entropy")
Predict = Callable[[Raster, float], tuple[Prediction, RowsOfProbabilities | None]]  # a slice, and ms of reading it


def refuse_outputs(path: Path, save: Sequence[str], *, tiled: bool) -> None:
    """Raise ImageError for outputs that a volume does not have, and for tiles."""
    if others := [key for key in save if key not in ENDINGS]:
        what = f"is a volume, and {', '.join(others)} can only be made from an image"
        raise ImageError(f"{shown(path)}: {what}. Possible for volumes: {', '.join(ENDINGS)}.")
    if tiled:
        raise ImageError(f"{shown(path)}: slices of volumes are cut only where they are large. Leave out --tile.")


def label_volume(
    volume: VolumeSlices,
    classes: ClassList,
    predict: Predict,
    results: Mapping[str, Path],
    turn: AbstractContextManager[object],
    progress: OnProgress,
) -> dict[str, Any]:
    """Label all slices. Returns the facts for the record: size, slices, shares and milliseconds.

    Args:
        predict: labels a slice.
        results: key of ENDINGS → file; all are written, or none.
        turn: entered while the network runs.
        progress: called with (slices done, slices).

    Raises:
        Refusal, ImageError: a slice cannot be read.
        OutputError: a result cannot be written.
    """
    began = time.perf_counter()
    counts, spent_ms = np.zeros(256, np.int64), {"decode": 0.0, "model": 0.0, "write": 0.0}
    with written(volume, results) as files:
        for number in range(volume.count):
            start = time.perf_counter()
            image_HWN, absent_HW = volume.read(number), volume.without_numbers(number)
            decoded = time.perf_counter()
            with turn:
                model_start = time.perf_counter()
                prediction, by_rows = predict(image_HWN, (decoded - start) * 1e3)
                labelled = time.perf_counter()
            if absent_HW is not None:
                prediction = replace(prediction, labels=np.where(absent_HW, np.uint8(VOID), prediction.labels))
            whole = WholeImage(image_HWN, prediction, volume.path.name, volume.bands, None, by_rows)
            for key, file in files.items():
                file.write(values_of(key, whole))
            counts += np.bincount(prediction.labels.ravel(), minlength=256)
            for part, seconds in zip(
                spent_ms, (decoded - start, labelled - model_start, time.perf_counter() - labelled), strict=True
            ):
                spent_ms[part] += seconds * 1e3
            progress(number + 1, volume.count)
    labelled_pixels = max(int(counts[:VOID].sum()), 1)
    return {
        "width": volume.width,
        "height": volume.height,
        "slices": volume.count,
        "shares": {name: round(int(counts[i]) / labelled_pixels, 6) for i, name in enumerate(classes.names)},
        "milliseconds": {
            **{part: round(value, 3) for part, value in spent_ms.items()},
            "all": round((time.perf_counter() - began) * 1e3, 3),
        },
    }


def values_of(key: str, whole: WholeImage) -> bytes:
    """The values of one slice, in the order of the file: NIfTI's x runs fastest, as columns do."""
    if key not in SHARES:
        return whole.prediction.labels.tobytes()
    share = whole.confidence if key == "confidence" else whole.entropy
    return share(slice(0, whole.size[0]), slice(0, whole.size[1])).astype("<f4").tobytes()


@contextmanager
def written(volume: VolumeSlices, results: Mapping[str, Path]) -> Iterator[dict[str, IO[bytes]]]:
    """The files of a volume, open behind their headers: all are written, or none that is new. Raises OutputError."""
    new = [path for path in results.values() if not os.path.lexists(path)]
    try:
        with ExitStack() as stack:
            files: dict[str, IO[bytes]] = {}
            for key, path in results.items():
                make_parent(path)
                file: Any = stack.enter_context(writing_whole(path))
                if path.suffix == ".gz":
                    file = stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
                file.write(head_of(volume, key))
                files[key] = file
            yield files
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise


def make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot be created ({error.strerror}). Choose another folder."
        raise OutputError(f"{shown(path.parent)}: {reason}") from error


def head_of(volume: VolumeSlices, key: str) -> bytes:
    """What stands before the values in a file."""
    if key == "numpy":
        head = io.BytesIO()
        shape = (volume.count, volume.height, volume.width)
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return head.getvalue()
    return nifti_head(volume.path, np.float32 if key in SHARES else np.uint8)


def nifti_head(path: Path, dtype: DTypeLike) -> bytes:
    """The header of a volume of one channel of these values, on the grid of another volume."""
    header: Any = nifti.header_of(path).header.as_byteswapped("<")
    header.set_data_shape(nifti.shape_of(path)[:3])
    header.set_data_dtype(dtype)
    header.set_slope_inter(1, 0)
    header.set_intent("none")
    header["cal_min"] = header["cal_max"] = 0
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    return bytes(header.binaryblock) + bytes(header.single_vox_offset - len(header.binaryblock))
