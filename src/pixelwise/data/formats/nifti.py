"""NIfTI volumes, slice by slice: imagesTr/ and labelsTr/, as the Medical Segmentation Decathlon and nnU-Net have them.

Needs nibabel (`pip install 'pixelwise[formats]'`). Slices run along the third axis; an image slice becomes 8-bit grey
by its volume's 0.5th to 99.5th percentile. Class names are dataset.json's. Masks are read as stored, never rescaled.

Colour: where dataset.json names the channels R, G and B, an image is three volumes (_0000, _0001, _0002), whose values
are taken as they are; so is a volume of NIfTI's RGB type. Images are written in the first way, which nnU-Net trains on.
Formats: nnU-Net's documentation/dataset_format.md; the NIfTI-1 standard.
"""

from __future__ import annotations

import gzip
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
from pixelwise.data.palettes import VOID_NAMES
from pixelwise.errors import MissingExtraError
from pixelwise.records import VOID, ClassList, Sample

SUFFIXES = (".nii", ".nii.gz")
ENDS = {"train": "Tr", "test": "Ts", "val": "Val"}
FOLDERS = {end: split for split, end in ENDS.items()}
CHANNELS = {"0": "R", "1": "G", "2": "B"}
COLOUR_CHANNELS = (("r", "g", "b"), ("red", "green", "blue"))
MAX_VOXELS = 2**30


def is_nifti(root: Path) -> bool:
    return any(
        files_below(root / f"labels{end}", SUFFIXES, depth=1) for end in FOLDERS if (root / f"labels{end}").is_dir()
    )


def list_nifti(root: Path) -> Listing:
    """Every slice of every volume that has labels. Slices of one volume stay in one split when train is divided."""
    listing = Listing(root)
    colour = _of_colour(root / "dataset.json")
    for end, split in FOLDERS.items():
        images = {_case(path): path for path in _volumes(root / f"images{end}")}
        for mask in _volumes(root / f"labels{end}"):
            image = images.get(f"{_case(mask)}_0000", images.get(_case(mask)))  # nnU-Net numbers channels: the first
            if image is None:
                listing.error("image-missing", mask, "has no image volume of the same name.", "Add it.")
                continue
            if colour and (missing := [path for path in _channels(image) if not path.is_file()]):
                message = f"dataset.json names the channels R, G and B, but {missing[0].name} is not there."
                listing.error("image-missing", image, message, "Add the channel's volume.")
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
                name = f"images{end}/{_case(mask)}" + (f"_slice{i:04}" if slices > 1 else "")
                part = f"nifti:{i}/rgb" if colour else f"nifti:{i}"
                listing.splits.setdefault(split, []).append(Sample(name, image, mask, part, f"nifti:{i}"))
    listing.declared = _declared(root / "dataset.json")
    return listing


def image_bytes(path: Path, entry: str) -> bytes:
    """One slice as the bytes of a PNG. `entry`: its number; and "/rgb" where three volumes are one image."""
    number, _, colour = entry.partition("/")
    planes = [_slice(channel, number) for channel in (_channels(path) if colour else [path])]
    if planes[0].dtype.names:  # NIfTI's RGB24
        planes = [planes[0][name] for name in planes[0].dtype.names[:3]]
    if len(planes) == 3:
        if any(plane.shape != planes[0].shape for plane in planes):
            raise Refusal("size-mismatch", "its channels are of different sizes.", "Export them on the same grid.")
        return encode_png(np.stack([_whole_levels(plane) for plane in planes], axis=-1))
    low, high = _range(path, path.stat().st_mtime_ns)
    grey = np.clip((planes[0].astype(np.float64) - low) / max(high - low, 1e-12) * 255, 0, 255)
    return encode_png(np.rint(np.nan_to_num(grey)).astype(np.uint8))


def _whole_levels(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """A colour channel as uint8. Raises Refusal where its values are no levels from 0 to 255."""
    levels = np.rint(np.asarray(plane, np.float64))
    if not np.isfinite(levels).all() or levels.min() < 0 or levels.max() > 255:
        what = "holds values outside 0 to 255 in a channel of colour."
        raise Refusal("unread-kind", what, "Export it in 8 bits; or do not call the channels R, G and B.")
    return levels.astype(np.uint8)


def dataset_json(classes: ClassList) -> dict[str, Any]:
    """nnU-Net's dataset.json but the number of cases: colour channels; background 0, classes from 1, then "ignore"."""
    labels = {"background": 0}
    labels |= {name: i for i, name in enumerate((n for n in classes.names if n != "background"), start=1)}
    return {"channel_names": CHANNELS, "labels": {**labels, "ignore": len(labels)}, "file_ending": ".nii.gz"}


def volume_bytes(values_HW: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """A .nii.gz file of one slice, the same bytes whenever it is written; y runs down, as ITK writes images."""
    stored = values_HW.astype(np.uint8) if values_HW.max(initial=0) < 256 else values_HW
    volume = _library().Nifti1Image(np.ascontiguousarray(stored.T[:, :, None]), np.diag([-1.0, -1.0, 1.0, 1.0]))
    return gzip.compress(volume.to_bytes(), 6, mtime=0)


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
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _channels(first: Path) -> list[Path]:
    """The volumes of red, green and blue, by the name of the first."""
    case, end = _case(first), first.name[len(_case(first)) :]
    return [first.with_name(f"{case.removesuffix('_0000')}_{channel:04}{end}") for channel in range(3)]


def _of_colour(path: Path) -> bool:
    """Whether dataset.json names the channels red, green and blue."""
    try:
        table = read_json(path)
        names = table.get("channel_names") or table["modality"]
        return tuple(str(names[str(i)]).lower() for i in range(len(names))) in COLOUR_CHANNELS
    except (Refusal, KeyError, TypeError, AttributeError):
        return False


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
    void = {i for i, name in rows.items() if name.lower() in VOID_NAMES}
    ids = tuple(sorted(rows.keys() - void))
    names = tuple(rows[i] for i in ids)
    return Declared(names, ids, (None,) * len(ids), frozenset({VOID, *void} - set(ids)), "dataset.json's labels")


def _library() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtraError("nibabel, which reads NIfTI volumes,", "formats") from error
    return nibabel
