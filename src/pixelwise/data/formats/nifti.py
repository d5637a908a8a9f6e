"""NIfTI volumes, slice by slice: imagesTr/ and labelsTr/, as the Medical Segmentation Decathlon and nnU-Net have them.

Needs nibabel (`pip install 'pixelwise[formats]'`). Slices run along the third axis; an image slice becomes 8-bit grey
by its volume's 0.5th to 99.5th percentile. Class names are dataset.json's. Masks are read as stored, never rescaled.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.decode import MaskIds
from pixelwise.data.files import Refusal
from pixelwise.data.formats.drawing import files_below, read_json
from pixelwise.data.images import encode_png
from pixelwise.data.layouts import Declared, Listing
from pixelwise.errors import MissingExtraError
from pixelwise.records import Sample

SUFFIXES = (".nii", ".nii.gz")
FOLDERS = {"Tr": "train", "Ts": "test", "Val": "val"}
MAX_VOXELS = 2**30


def is_nifti(root: Path) -> bool:
    return any(
        files_below(root / f"labels{end}", SUFFIXES, depth=1) for end in FOLDERS if (root / f"labels{end}").is_dir()
    )


def list_nifti(root: Path) -> Listing:
    """Every slice of every volume that has labels. Slices of one volume stay in one split when train is divided."""
    listing = Listing(root)
    for end, split in FOLDERS.items():
        images = {_case(path): path for path in _volumes(root / f"images{end}")}
        for mask in _volumes(root / f"labels{end}"):
            image = images.get(_case(mask))
            if image is None:
                listing.error("image-missing", mask, "has no image volume of the same name.", "Add it.")
                continue
            try:
                slices, other = _depth(image), _depth(mask)
            except Refusal as refusal:
                listing.error("truncated", mask, refusal.what, refusal.remedy)
                continue
            if slices != other:
                message = f"has {other} slices, its image {slices}."
                listing.error("size-mismatch", mask, message, "Export both on the same grid, or drop the pair.")
                continue
            for i in range(slices):
                name = f"images{end}/{_case(image)}_slice{i:04}"
                listing.splits.setdefault(split, []).append(Sample(name, image, mask, f"nifti:{i}", f"nifti:{i}"))
    listing.declared = _declared(root / "dataset.json")
    return listing


def image_bytes(path: Path, entry: str) -> bytes:
    """One slice as the bytes of a grey PNG."""
    low, high = _range(path, path.stat().st_mtime_ns)
    values = _slice(path, entry).astype(np.float64)
    grey = np.clip((values - low) / max(high - low, 1e-12) * 255, 0, 255)
    return encode_png(np.rint(np.nan_to_num(grey)).astype(np.uint8))


def mask_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """One slice of a label volume, as stored."""
    del size
    values: NDArray[np.float64] = np.asarray(_slice(path, entry), np.float64)
    whole = np.rint(values)
    if not np.isfinite(values).all() or np.abs(values - whole).max(initial=0) > 1e-3:
        raise Refusal("float-mask", "holds values that are no whole numbers.", "Save labels as integers.")
    ids = whole.astype(np.int32)
    return ids.astype(np.uint8) if ids.min() >= 0 and ids.max() < 256 else ids


def _slice(path: Path, entry: str) -> NDArray[Any]:
    volume = _volume(path, path.stat().st_mtime_ns)
    return np.ascontiguousarray(volume[:, :, int(entry)].T)  # x runs along the first axis


@lru_cache(maxsize=4)
def _volume(path: Path, _changed_ns: int) -> NDArray[Any]:
    try:
        image = _library().load(path)
        shape = image.shape
        if len(shape) not in (2, 3, 4) or int(np.prod(shape)) > MAX_VOXELS:
            raise Refusal("unread-kind", f"is of shape {shape}; expected a volume.", "Export it as a 3D volume.")
        values = np.asarray(image.dataobj)
    except (Refusal, MissingExtraError):
        raise
    except Exception as error:  # zlib, EOF, header errors: the library's are of many kinds
        raise Refusal(
            "truncated", f"the volume cannot be read ({str(error)[:100]}).", "Copy the file again."
        ) from error
    return values[..., 0] if values.ndim == 4 else values[:, :, None] if values.ndim == 2 else values


@lru_cache(maxsize=64)
def _range(path: Path, changed_ns: int) -> tuple[float, float]:
    values = _volume(path, changed_ns)
    low, high = np.percentile(values.ravel()[:: max(values.size // 10**6, 1)], [0.5, 99.5])
    return float(low), float(high)


def _depth(path: Path) -> int:
    try:
        shape = _library().load(path).shape
    except MissingExtraError:
        raise
    except Exception as error:
        raise Refusal("truncated", f"{path.name} cannot be read ({str(error)[:100]}).", "Copy it again.") from error
    return int(shape[2]) if len(shape) > 2 else 1


def _volumes(folder: Path) -> list[Path]:
    return files_below(folder, SUFFIXES, depth=1) if folder.is_dir() else []


def _case(path: Path) -> str:
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    return name.removesuffix("_0000")  # nnU-Net numbers the channels; the first is taken


def _declared(path: Path) -> Declared | None:
    try:
        labels = read_json(path)["labels"]
        rows = (
            {int(k): str(v) for k, v in labels.items()}
            if all(str(k).isdigit() for k in labels)
            else {int(v): str(k) for k, v in labels.items() if isinstance(v, int)}
        )
    except (Refusal, KeyError, TypeError, ValueError, AttributeError):
        return None
    ids = tuple(sorted(rows))
    return Declared(tuple(rows[i] for i in ids), ids, (None,) * len(ids), frozenset({255}), "dataset.json's labels")


def _library() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtraError("nibabel, which reads NIfTI volumes,", "formats") from error
    return nibabel
