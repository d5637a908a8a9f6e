"""NIfTI volumes, slice by slice: imagesTr/ and labelsTr/, as in the Medical Segmentation Decathlon and nnU-Net.

Needs nibabel (`pip install 'pixelwise[formats]'`). Slices run along the third axis. Image slices are scaled to 8-bit
grey from their volume's 0.5th to 99.5th percentile. Class names come from dataset.json. Masks are never rescaled.

Channels are the fourth axis, or separate volumes (_0000, _0001 …). Several channels are the bands of the image, with
the values of the file, named by dataset.json. The list `bands` of dataset.toml selects one of them, or three as red,
green and blue, in 8 bits. If dataset.json names the channels R, G and B, or a volume has NIfTI's RGB type, values are
not scaled. Images are written with channels R, G and B, which nnU-Net trains on.

All slices of a volume form one group. A compressed volume is unpacked once and cached.
Formats: nnU-Net's documentation/dataset_format.md; the NIfTI-1 standard.
"""

from __future__ import annotations

import gzip
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.dataset_toml import read_settings
from pixelwise.datasets.file_kinds import VOLUME_SUFFIXES
from pixelwise.datasets.formats.image_lookup import files_below
from pixelwise.datasets.formats.nnunet_json import channel_names, declared_labels
from pixelwise.datasets.formats.reader_errors import problems_of
from pixelwise.datasets.listing import Listing
from pixelwise.datasets.stacked_files import array_bytes, with_names
from pixelwise.errors import MissingExtraError
from pixelwise.images.band_facts import BandFacts
from pixelwise.images.banded_image import BandedImage, banded_image
from pixelwise.images.decode import MAX_PIXELS, MaskIds
from pixelwise.images.decoder_reasons import because
from pixelwise.images.files import MAX_BYTES, Refusal, shown
from pixelwise.images.image_files import encode_png
from pixelwise.images.numpy_bands import values_in_words
from pixelwise.records import RGB, Sample

ENDS = {"train": "Tr", "test": "Ts", "val": "Val"}
FOLDERS = {end: split for split, end in ENDS.items()}
COLOUR_CHANNELS = (("r", "g", "b"), ("red", "green", "blue"))
KEPT_BYTES = 1 << 28  # of unpacked volumes per process


def recognises(root: Path) -> bool:
    return any(
        files_below(root / f"labels{end}", VOLUME_SUFFIXES, depth=1)
        for end in FOLDERS
        if (root / f"labels{end}").is_dir()
    )


def list_pairs(root: Path) -> Listing:
    """Every slice of every volume that has labels."""
    listing = Listing(root)
    channels = _Channels(channel_names(root / "dataset.json"), read_settings(root).bands)
    for end, split in FOLDERS.items():
        images = _by_case(_volumes(root / f"images{end}"), listing)
        used: set[str] = set()
        for mask in _by_case(_volumes(root / f"labels{end}"), listing).values():
            files = _files_of(_case(mask), images)
            used |= {_case(path) for path in files}
            if not files:
                listing.error("image-missing", mask, "has no image volume of the same name.", "Add it.")
                continue
            with problems_of(listing, mask):
                part = channels.part_of(files)
                slices = _same_grid(files[0], mask, listing)
                case = f"images{end}/{shown(_case(mask))}"
                for i in range(slices):
                    name = case + (f"_slice{i:04}" if slices > 1 else "")
                    group = case if slices > 1 else ""
                    sample = Sample(name, files[0], mask, f"nifti:{i}{part}", f"nifti:{i}", group)
                    if part.startswith("/all") and len(channels.names) == int(part.partition("=")[2]):
                        sample = with_names(sample, channels.names)
                    listing.splits.setdefault(split, []).append(sample)
        alone = [case for case in images if case not in used]
        if alone and used:
            listing.notes.append(
                f"Left out: {len(alone):,} volumes of images{end}/ without labels, such as {alone[0]}."
            )
    listing.declared = declared_labels(root / "dataset.json")
    return listing


class _Channels:
    """Which channels of the volumes are used, and how."""

    def __init__(self, names: tuple[str, ...], wanted: tuple[str | int, ...]) -> None:
        self.names = names
        self.wanted = wanted

    def part_of(self, files: list[Path]) -> str:
        """The suffix of the slice number in `Sample.image_part`. Raises Refusal: a channel is missing."""
        own = shape_of(files[0])
        where, number = ("files", len(files)) if len(files) > 1 else ("axis", own[3] if len(own) > 3 else 1)
        if tuple(name.lower() for name in self.names) in COLOUR_CHANNELS and not self.wanted:
            if (where == "files" and number != 3) or (where == "axis" and number not in (1, 3)):
                what = f"has {number} of the channels {', '.join(self.names)} that dataset.json names."
                raise Refusal("image-missing", what, "Add the missing channels' volumes.")
            if where == "axis" and number == 1 and files[0].name.removesuffix(".gz").endswith("_0000.nii"):
                raise Refusal(
                    "image-missing", "its image has no volumes of green and blue (_0001, _0002).", "Add them."
                )
            return "" if where == "axis" and number == 1 else "/rgb" if where == "files" else "/levels=0,1,2"
        if self.wanted:
            chosen = [self._number(band, number) for band in self.wanted]
            return f"/{where}={','.join(map(str, chosen))}" if number > 1 else ""
        return f"/all-{where}={number}" if number > 1 else ""

    def _number(self, band: str | int, number: int) -> int:
        lowered = [name.lower() for name in self.names]
        place = lowered.index(band.lower()) if isinstance(band, str) and band.lower() in lowered else band
        if not isinstance(place, int) or not 0 <= place < number:
            known = f"{', '.join(self.names)}, or " if self.names else ""
            what = f"has no channel {band!r}, which dataset.toml's `bands` names; expected {known}0 to {number - 1}."
            raise Refusal("bands", what, "Correct `bands`.")
        return place


def _same_grid(image: Path, mask: Path, listing: Listing) -> int:
    """The number of slices. Raises Refusal: the mask has a different number, or several channels."""
    own, other = shape_of(image), shape_of(mask)
    slices, theirs = (shape[2] if len(shape) > 2 else 1 for shape in (own, other))
    if slices != theirs:
        remedy = "Export both on the same grid, or drop the pair."
        raise Refusal("size-mismatch", f"has {theirs} slices, its image {slices}.", remedy)
    if len(other) > 3 and other[3] > 1:
        raise Refusal("unread-kind", f"has {other[3]} channels; expected one of labels.", "Save one volume of labels.")
    if own[:2] == other[:2] and not np.allclose(header_of(image).affine, header_of(mask).affine, rtol=1e-2, atol=0.5):
        what = "has another position or direction in space than its image: they may not lie on each other."
        listing.warn("grid-mismatch", mask, what, "Look at both in a viewer; export both on the same grid.")
    return slices


def image_bytes(path: Path, entry: str) -> bytes:
    """One slice as the bytes of a PNG.

    `entry`: its number; then "/rgb" if three volumes form one colour image, "/levels=0,1,2" if three channels do,
    "/axis=2" or "/files=2,0,1" if channels are selected, each scaled by its own range; "/all-axis=4" or "/all-files=4"
    if all channels are bands: then a .npy file.
    """
    if "/all-" in entry:
        return array_bytes(bands(path, entry).pixels)
    number, kind, places = _places(path, entry)
    planes = _planes(places, number)
    if planes[0].dtype.names:  # NIfTI's RGB24
        planes = [planes[0][name] for name in planes[0].dtype.names[:3]]
        kind = "rgb"
    if kind in ("rgb", "levels"):
        return encode_png(np.stack([_whole_levels(plane) for plane in planes], axis=-1))
    ranges = [_range(file, file.stat().st_mtime_ns, channel) for file, channel in places]
    grey = [_grey(plane, *limits) for plane, limits in zip(planes, ranges, strict=True)]
    return encode_png(grey[0] if len(grey) == 1 else np.stack(grey, axis=-1))


def _places(path: Path, entry: str) -> tuple[int, str, list[tuple[Path, int]]]:
    """The number of a slice, how its channels are read, and the file and place of each, where they are not all."""
    number, _, how = entry.partition("/")
    kind, _, chosen = how.partition("=")
    numbers = [int(n) for n in chosen.split(",")] if chosen else []
    if kind in ("rgb", "files"):
        return int(number), kind, [(channel, 0) for channel in _channels(path, numbers or [0, 1, 2])]
    return int(number), kind, [(path, channel) for channel in numbers or [0]]


def without_numbers(path: Path, entry: str) -> NDArray[np.bool_] | None:
    """Where a slice is NaN or infinite in every channel that `image_bytes` makes 8-bit of, [H, W]; None: nowhere.

    Bands with the values of the file keep their NaN, and whole numbers have none.
    """
    if "/all-" in entry or header_of(path).dataobj.dtype.kind != "f":
        return None
    number, _, places = _places(path, entry)
    absent_HW = ~np.isfinite(np.stack(_planes(places, number))).any(axis=0)
    return absent_HW if absent_HW.any() else None


def bands(path: Path, entry: str) -> BandedImage:
    """One slice with all its channels as float32, NaN where they are not finite; others as `image_bytes`."""
    if "/all-" not in entry:
        return banded_image(image_bytes(path, entry))
    number, kind, count = re.split(r"/all-|=", entry)
    files = _channels(path, list(range(int(count)))) if kind == "files" else [path] * int(count)
    places = [(file, 0 if kind == "files" else channel) for channel, file in enumerate(files)]
    values = np.stack(_planes(places, int(number)), axis=-1).astype(np.float32)
    values[~np.isfinite(values)] = np.nan
    return BandedImage(values)


def _planes(places: list[tuple[Path, int]], number: int) -> list[NDArray[Any]]:
    """One slice of each (volume, channel), all of one size."""
    planes = [_slice(path, number, channel) for path, channel in places]
    if any(plane.shape != planes[0].shape for plane in planes):
        raise Refusal("size-mismatch", "its channels are of different sizes.", "Export them on the same grid.")
    return planes


def facts(path: Path, entry: str) -> BandFacts:
    """The bands of one slice, as `bands` returns them."""
    width, height = shape_of(path)[:2]
    _, _, how = entry.partition("/")
    kind, _, chosen = how.partition("=")
    if kind.startswith("all-"):
        return BandFacts(height, width, int(chosen), "float32", stored="float32")
    coloured = kind in ("rgb", "levels") or "," in chosen or header_of(path).dataobj.dtype.names
    return BandFacts(height, width, 3, "uint8", RGB.names) if coloured else BandFacts(height, width, 1, "uint8")


def _grey(plane: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    values = np.clip((plane.astype(np.float64) - low) / max(high - low, 1e-12) * 255, 0, 255)
    return np.rint(np.nan_to_num(values)).astype(np.uint8)


def _whole_levels(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """A colour channel as uint8. Raises Refusal: values are not levels from 0 to 255."""
    levels = np.rint(np.asarray(plane, np.float64))
    if not np.isfinite(levels).all() or levels.min() < 0 or levels.max() > 255:
        what = "holds values outside 0 to 255 in a channel of colour."
        raise Refusal("unread-kind", what, "Export it in 8 bits; or do not call the channels R, G and B.")
    return levels.astype(np.uint8)


def volume_bytes(values_HW: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """A .nii.gz file of one slice, byte-identical on every write; y runs down, as ITK writes images."""
    stored = values_HW.astype(np.uint8) if values_HW.max(initial=0) < 256 else values_HW
    volume = _library().Nifti1Image(np.ascontiguousarray(stored.T[:, :, None]), np.diag([-1.0, -1.0, 1.0, 1.0]))
    return gzip.compress(volume.to_bytes(), 6, mtime=0)


def mask_ids(path: Path, entry: str, size: tuple[int, int]) -> MaskIds:
    """One slice of a label volume, as stored."""
    del size
    values: NDArray[np.float64] = np.asarray(_slice(path, int(entry)), np.float64)
    whole = np.rint(values)
    if not np.isfinite(values).all() or np.abs(values - whole).max(initial=0) > 1e-3:
        raise Refusal("float-mask", "holds values that are not integers.", "Save labels as integers.")
    if np.abs(whole).max(initial=0) >= 2**31:
        raise Refusal("float-mask", "holds values that are too large for ids.", "Save labels from 0 to 254.")
    ids = whole.astype(np.int32)
    return ids.astype(np.uint8) if ids.min() >= 0 and ids.max() < 256 else ids


def _slice(path: Path, number: int, channel: int = 0) -> NDArray[Any]:
    """One slice [H, W] of one channel, scaled as the header declares."""
    changed = path.stat().st_mtime_ns
    shape = shape_of(path)
    place = (slice(None), slice(None), number, channel)[: max(len(shape), 2)]
    with READING, _damaged(path):
        proxy = _opened(path, changed).dataobj
        if path.name.lower().endswith(".gz"):
            raw = UNPACKED.get(path, changed)[place]
            if raw.dtype.names:
                return np.ascontiguousarray(raw.T)
            own = raw if (proxy.slope, proxy.inter) == (1, 0) else raw * proxy.slope + proxy.inter
        else:
            own = np.asarray(proxy[place])
    return np.ascontiguousarray(own.T)  # x runs along the first axis


class _Unpacked:
    """A cache of the stored values of the latest compressed volumes, within a memory limit."""

    def __init__(self) -> None:
        self.kept: OrderedDict[tuple[Path, int], NDArray[Any]] = OrderedDict()

    def get(self, path: Path, changed_ns: int) -> NDArray[Any]:
        """The volume [x, y, z, channels]; unpacked once while it is cached."""
        key = (path, changed_ns)
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        proxy = _opened(path, changed_ns).dataobj
        needed = math.prod(proxy.shape) * proxy.dtype.itemsize
        if needed > MAX_BYTES:
            what = f"its {math.prod(proxy.shape):,} voxels need {needed / 2**30:.1f} GiB."
            raise Refusal("too-large", what, "Save it as .nii, which is read slice by slice, or cut it.")
        while self.kept and needed + sum(volume.nbytes for volume in self.kept.values()) > KEPT_BYTES:
            self.kept.popitem(last=False)
        self.kept[key] = proxy.get_unscaled()
        return self.kept[key]


UNPACKED = _Unpacked()
READING = threading.RLock()  # guards the cached volumes across threads


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """Convert the library's many kinds of error (zlib, EOF, headers) to Refusal."""
    try:
        yield
    except (Refusal, MissingExtraError):
        raise
    except Exception as error:
        what = because(f"the volume {shown(path.name)} cannot be read", error)
        raise Refusal("truncated", f"{what}.", "Copy the file again.") from error


@lru_cache(maxsize=64)
def _opened(path: Path, _changed_ns: int) -> Any:
    """The volume's header and access to its values. Raises Refusal: damaged, or not a numeric volume."""
    with _damaged(path):
        image = _library().load(path)
        shape, dtype = image.shape, image.dataobj.dtype
    if len(shape) == 5 and 1 in shape[3:]:  # a time axis of length 1 before the channels
        image = image.__class__(image.dataobj.reshape((*shape[:3], max(shape[3:]))), image.affine, image.header)
        shape = image.shape
    if len(shape) not in (2, 3, 4) or min(shape) < 1 or shape[0] * shape[1] > MAX_PIXELS:
        size = " × ".join(map(str, shape)) or "nothing"
        raise Refusal("unread-kind", f"states a size of {size}; expected a volume.", "Export it as a 3D volume.")
    if dtype.kind not in "biuf" and not dtype.names:
        what = f"holds {values_in_words(dtype)}; expected numbers."
        raise Refusal("unread-kind", what, "Export its magnitude, or its labels.")
    return image


def header_of(path: Path) -> Any:
    return _opened(path, path.stat().st_mtime_ns)


def shape_of(path: Path) -> tuple[int, ...]:
    return tuple(int(side) for side in header_of(path).shape)


@lru_cache(maxsize=1024)
def _range(path: Path, changed_ns: int, channel: int) -> tuple[float, float]:
    """The 0.5th and 99.5th percentile of a channel. Raises Refusal: no finite value."""
    with READING, _damaged(path):
        proxy = _opened(path, changed_ns).dataobj
        raw = UNPACKED.get(path, changed_ns) if path.name.lower().endswith(".gz") else proxy.get_unscaled()
        own = (raw[..., channel] if raw.ndim == 4 else raw).ravel(order="K")  # in file order: no copy
        sampled = own[:: max(own.size // 10**6, 1)] * float(proxy.slope) + float(proxy.inter)
    finite = sampled[np.isfinite(sampled)]
    if not finite.size:
        raise Refusal("float-image", "holds no finite value.", "Export it again.")
    low, high = np.percentile(finite, [0.5, 99.5])
    return float(low), float(high)


def _volumes(folder: Path) -> list[Path]:
    return files_below(folder, VOLUME_SUFFIXES, depth=1) if folder.is_dir() else []


def _case(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _by_case(volumes: list[Path], listing: Listing) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in volumes:
        if found.setdefault(_case(path), path) is not path:
            message = f"is there as {shown(found[_case(path)].name)} too; that one is used."
            listing.error("duplicate-stem", path, message, "Keep one of them.")
    return found


def _files_of(case: str, images: dict[str, Path]) -> list[Path]:
    """The image volumes of a case: one, or one per channel in nnU-Net's numbering, from the first without gaps."""
    if f"{case}_0000" not in images:
        return [images[case]] if case in images else []
    return [images[name] for name in takewhile(images.__contains__, (f"{case}_{i:04}" for i in count()))]


def _channels(first: Path, numbers: list[int]) -> list[Path]:
    """The volumes of these channels, from the name of the first. Raises Refusal: one is missing."""
    case, end = _case(first), first.name[len(_case(first)) :]
    paths = [first.with_name(f"{case.removesuffix('_0000')}_{number:04}{end}") for number in numbers]
    for path in paths:
        if not path.is_file():
            raise Refusal("image-missing", f"its channel {shown(path.name)} is not there.", "Add the channel's volume.")
    return paths


def _library() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtraError("nibabel, which reads NIfTI volumes,", "formats") from error
    return nibabel
