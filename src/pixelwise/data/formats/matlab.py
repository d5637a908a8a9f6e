"""MATLAB: masks in `.mat` files of their images' names, beside them or in a folder of their own.

A file's mask is its one matrix of whole numbers of the image's size. Where there are several, one whose name says so
(`type_map`, `labels`, `mask`) is; objects by number with a class each (`inst_map` and `inst_type` of HoVer-Net,
`GTinst` of SBD) become their classes; a field Segmentation of a struct (`GTcls`) is taken. Several segmentations of one
image (BSDS: five people, numbering regions) are no classes and refused by name.

Needs SciPy (`pip install 'pixelwise[formats]'`). It reads MAT files up to version 7; 7.3 is HDF5 and refused with the
line that saves it anew. Nothing is unpacked before its size is known and fits the image, and structs are not followed
to any depth, because SciPy would. Shapes: H, W of the mask; N objects.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.decode import MaskIds
from pixelwise.data.files import Refusal, read_bytes, shown
from pixelwise.data.folder_roles import IMAGE_WORDS, MASK_WORDS
from pixelwise.data.formats.drawing import files_below, split_of
from pixelwise.data.formats.figures import Size, stated_size
from pixelwise.data.layouts import IMAGE_SUFFIXES, Listing
from pixelwise.data.pairing import WORD
from pixelwise.errors import MissingExtraError
from pixelwise.records import Sample

SUFFIXES = (".mat",)
HALF = 0.5  # of the .mat files must have an image of their name for them to be masks
ENDING = re.compile(r"[-_ ]?(masks?|labels?|gt|ground_?truth|seg(mentation)?|manual|ann(ot(ation)?)?)$", re.IGNORECASE)
OF_HDF5 = b"MATLAB 7.3 MAT-file"
NUMBERS = ("double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
BEST = (  # names of matrices that are the classes, best first
    "type_map", "class_map", "classmap", "labelmap", "label_map", "labels", "label", "classes", "mask", "masks",
    "groundtruth", "ground_truth", "gt", "segmentation", "seg", "s", "annotation", "annot", "gtcls",
)  # fmt: skip
OBJECTS = (("inst_map", "inst_type"), ("inst_map", "class"), ("instance_map", "instance_type"))
BEST_FOLDERS = ("cls", "class", "classes", "labels", "masks")
SPARE_BYTES = 1 << 26  # of a file beyond 64 bytes a pixel: boxes, centres, outlines
DEEPEST = 8  # structs in structs
COMPRESSED, MATRIX = 15, 14  # MAT's data types
CELL, STRUCT = 1, 2  # MAT's classes of matrices
SAVE_MASK = "Save the mask alone, as one matrix of class numbers: save(file, 'mask'), or imwrite(uint8(mask), 'a.png')."


def is_matlab(root: Path) -> bool:
    """Whether most .mat files are of an image's name, and no masks of pixels are there under those names."""
    mats = files_below(root, SUFFIXES)
    if not mats:
        return False
    images = _images(root)
    found = [images.get(_stem(path, images), []) for path in mats]
    masks = any(_says(path, MASK_WORDS) for paths in found for path in paths)
    return not masks and sum(map(bool, found)) >= HALF * len(mats) and not any(map(_beside, found))


def list_matlab(root: Path) -> Listing:
    """Every image with a .mat file of its name; what the first file of a folder holds says how all are read."""
    listing, images = Listing(root), _images(root)
    folders: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in files_below(root, SUFFIXES):
        folders[path.parent].append(path)
    taken: dict[Path, Path] = {}
    for folder in sorted(folders, key=lambda path: (path.name.lower() not in BEST_FOLDERS, path)):
        pairs = [(path, _nearest(path, images.get(_stem(path, images), []))) for path in folders[folder]]
        alone = [path for path, image in pairs if image is None]
        again = [path for path, image in pairs if image in taken]
        for paths, why in ((alone, "have no image of their name"), (again, "belong to images with a mask already")):
            if paths:
                first = listing.where(paths[0])
                listing.warn("unread-kind", folder, f"{len(paths):,} .mat files {why}, such as {first}.", "Left out.")
        own = [(path, image) for path, image in pairs if image is not None and image not in taken]
        taken |= {image: path for path, image in own}
        if own and _says_how(*own[0], len(own), listing):
            for path, image in own:
                split = next((s for f in (folder, image.parent) if (s := split_of(f, root)) != "all"), "all")
                sample = Sample(listing.where(image.with_suffix("")), image, path, mask_part="matlab:")
                listing.splits.setdefault(split, []).append(sample)
    return listing


def drawn_ids(path: Path, _entry: str, size: Size) -> MaskIds:
    """The mask [H, W] of a .mat file. Raises Refusal, and MissingExtraError without SciPy."""
    if path.stat().st_size > 64 * size[0] * size[1] + SPARE_BYTES:
        raise Refusal("too-large", f"is too large for a mask of {size[1]}×{size[0]} pixels.", SAVE_MASK)
    return _Mat(read_bytes(path), size).mask(_chosen(path, size)[0])


def _images(root: Path) -> dict[str, list[Path]]:
    """Images by their names without suffix; of several, those in folders that say so (Images/, not Overlay/)."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in files_below(root, IMAGE_SUFFIXES):
        found[path.stem].append(path)
    for stem, paths in found.items():
        if len(paths) > 1 and not any(_says(path, MASK_WORDS) for path in paths):
            found[stem] = [path for path in paths if _says(path, IMAGE_WORDS)] or paths
    return found


def _says(path: Path, words: frozenset[str]) -> bool:
    """Whether the name of a file's folder holds one of these words."""
    return not words.isdisjoint(word.lower() for word in WORD.findall(path.parent.name))


def _stem(path: Path, images: dict[str, list[Path]]) -> str:
    """The name of a .mat file's image: its own, or without a word such as "_mask"."""
    return path.stem if path.stem in images else ENDING.sub("", path.stem)


def _nearest(path: Path, images: list[Path]) -> Path | None:
    """Of images of one name in several folders, the one whose folders agree most with the file's."""
    parts = set(path.parts)
    return max(images, key=lambda image: (len(parts & set(image.parts[:-1])), image), default=None)


def _beside(paths: list[Path]) -> bool:
    """Whether two files of one name lie in one folder, as a photo and its mask of pixels do."""
    return len({path.parent for path in paths}) < len(paths)


def _says_how(path: Path, image: Path, count: int, listing: Listing) -> bool:
    """Note how the files of a folder are read, as the first is; False where none of them can be."""
    size = stated_size(image)
    if size is None:
        return True  # the image is damaged, which is reported where it is read
    try:
        how, others = _chosen(path, size)
    except Refusal as refusal:
        if refusal.kind not in ("matlab-regions", "matlab-73"):
            return True  # of this file alone, as far as is known: reported where it is read
        which = f"{count:,} .mat files, such as {shown(path.name)}: each " if count > 1 else f"{shown(path.name)} "
        listing.error(refusal.kind, path.parent, which + refusal.what, refusal.remedy)
        return False
    rest = f"; not used: {', '.join(map(shown, others[:8]))}" if others else ""
    listing.notes.append(f"Masks are {' by '.join(how)} of the .mat files in {listing.where(path.parent)}/{rest}.")
    return True


def _chosen(path: Path, size: Size) -> tuple[tuple[str, ...], list[str]]:
    """The variables that are the mask: one, or objects by number and their classes; and the others. Raises Refusal."""
    data = read_bytes(path)
    if data.startswith(OF_HDF5):
        remedy = "In MATLAB: s = load(file); save(file, '-struct', 's', '-v7')."
        raise Refusal("matlab-73", "is of MAT version 7.3 (HDF5), which is not read.", remedy)
    variables = _variables(data)
    names = [name for name, _, _ in variables]
    fitting = [name for name, shape, kind in variables if tuple(shape) == size and kind in NUMBERS]
    ranked = sorted((name for name in fitting if name.lower() in BEST), key=lambda name: BEST.index(name.lower()))
    for numbered, kinds in OBJECTS:
        if numbered in fitting and kinds in names and "type_map" not in fitting:
            return (numbered, kinds), [name for name in names if name not in (numbered, kinds)]
    if len(fitting) == 1 or ranked:
        best = ranked[0] if ranked else fitting[0]
        return (best,), [name for name in names if name != best]
    if fitting:
        what = f"holds {len(fitting)} matrices of the image's size ({', '.join(map(shown, fitting[:6]))})."
        raise Refusal("matlab-several", what, SAVE_MASK)
    nested = [(name, shape, kind) for name, shape, kind in variables if kind in ("struct", "cell")]
    several = next(((name, shape) for name, shape, _ in nested if int(np.prod(shape, dtype=object)) > 1), None)
    if several and several[0].lower() == "groundtruth":
        number = int(np.prod(several[1], dtype=object))
        what = f"holds {number} segmentations by as many people (groundTruth), which number regions, not classes."
        raise Refusal("matlab-regions", what, "Say which class each region is, and save that as one matrix.")
    inner = [name for name, shape, _ in nested if int(np.prod(shape, dtype=object)) == 1]
    if len(inner) == 1:
        return (inner[0],), [name for name in names if name != inner[0]]
    there = ", ".join(f"{shown(name)} {'×'.join(map(str, shape))} {kind}" for name, shape, kind in variables[:6])
    what = f"holds no matrix of the image's size, {size[0]}×{size[1]} (rows × columns), but {there or 'nothing'}."
    raise Refusal("matlab-none", what, SAVE_MASK)


def _variables(data: bytes) -> list[tuple[str, tuple[int, ...], str]]:
    """(name, shape, class) of a file's variables, from their headers. Raises Refusal."""
    try:
        found: list[tuple[str, tuple[int, ...], str]] = _library().whosmat(io.BytesIO(data))
    except MissingExtraError:
        raise
    except Exception as error:  # the library's are of many kinds
        raise _damaged(error) from error
    return found


class _Mat:
    """A file whose chosen variables are read, within the limits of an image of `size`."""

    def __init__(self, data: bytes, size: Size) -> None:
        self.data = data
        self.size = size

    def mask(self, chosen: tuple[str, ...]) -> MaskIds:
        """The ids [H, W] of one variable, or of objects by number and their classes. Raises Refusal."""
        self._check()
        try:
            table = _library().loadmat(io.BytesIO(self.data), variable_names=list(chosen), squeeze_me=True)
            values = [table[name] for name in chosen]
        except MissingExtraError:
            raise
        except Exception as error:  # the library's are of many kinds
            raise _damaged(error) from error
        if len(values) == 2:
            return self._classes_of(_whole(values[0]), values[1])
        value = np.asarray(values[0])
        if value.dtype.names is None and value.dtype != object:
            return self._sized(_whole(value))
        return self._of_struct(value)

    def _of_struct(self, value: NDArray[Any]) -> MaskIds:
        """The field Segmentation of a struct, or its one matrix of the image's size."""
        value = value.item() if value.dtype == object and value.size == 1 else value
        fields = getattr(getattr(value, "dtype", None), "names", None) or ()
        matrices = {
            name: np.asarray(value[name].item() if value[name].dtype == object else value[name]) for name in fields
        }
        fitting = [
            name for name, matrix in matrices.items() if matrix.shape == self.size and matrix.dtype.kind in "biuf"
        ]
        best = "Segmentation" if "Segmentation" in fitting else fitting[0] if len(fitting) == 1 else ""
        if not best:
            what = f"holds a struct of {', '.join(map(shown, fields[:8])) or 'nothing'}; no one matrix fits the image."
            raise Refusal("matlab-none", what, SAVE_MASK)
        own = self._sized(_whole(matrices[best]))
        return self._classes_of(own, matrices["Categories"]) if "Categories" in fields else own

    def _classes_of(self, numbered: MaskIds, kinds: Any) -> MaskIds:
        """Objects by number [H, W], from 1, and the class of each [N] → classes."""
        own, classes = self._sized(numbered), np.atleast_1d(_whole(np.asarray(kinds))).ravel()
        if int(own.max()) > len(classes):
            what = f"numbers {int(own.max())} objects, but has classes for {len(classes)}."
            raise Refusal("matlab-none", what, SAVE_MASK)
        return np.concatenate([[0], classes]).astype(classes.dtype)[own]

    def _sized(self, ids: MaskIds) -> MaskIds:
        if ids.shape != self.size:
            what = f"holds a matrix of {'×'.join(map(str, ids.shape))}, not {self.size[0]}×{self.size[1]}."
            raise Refusal("size-mismatch", what, SAVE_MASK)
        return ids

    def _check(self) -> None:
        """Raise Refusal where variables unpack to more than an image of this size needs, or lie too deep."""
        room = 64 * self.size[0] * self.size[1] + SPARE_BYTES
        for kind, body in _elements(self.data, 128, len(self.data), _order(self.data)):
            if kind == COMPRESSED:
                unpack = zlib.decompressobj()
                try:
                    body = unpack.decompress(body, room + 1)
                except zlib.error as error:
                    raise _damaged(error) from error
                room -= len(body)
                if room < 0:
                    raise Refusal("too-large", "unpacks to far more than its image has pixels.", SAVE_MASK)
            if kind == COMPRESSED:
                for inner, matrix in _elements(body, 0, len(body), _order(self.data)):
                    _check_depth(inner, matrix, _order(self.data), 0)
            else:
                _check_depth(kind, body, _order(self.data), 0)


def _order(data: bytes) -> str:
    return ">" if data[126:128] == b"MI" else "<"


def _elements(data: bytes, at: int, end: int, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, content) of MAT version 5's elements, one after the other; stops at what is cut short."""
    while at + 8 <= end:
        kind, count = struct.unpack_from(order + "II", data, at)
        if kind >> 16:  # a small element: its size and content are in the first eight bytes
            yield kind & 0xFFFF, data[at + 4 : at + 8]
            at += 8
            continue
        yield kind, data[at + 8 : min(at + 8 + count, end)]
        at += 8 + count + (-count % 8 if kind != COMPRESSED else 0)


def _check_depth(kind: int, body: bytes, order: str, depth: int) -> None:
    """Raise Refusal where cells and structs hold others more than DEEPEST deep."""
    if kind != MATRIX or len(body) < 16:
        return
    flags = struct.unpack_from(order + "I", body, 8)[0] & 0xFF
    if flags not in (CELL, STRUCT, 3):
        return
    if depth >= DEEPEST:
        raise Refusal("annotations", f"holds structs more than {DEEPEST} deep.", SAVE_MASK)
    for inner, matrix in _elements(body, 0, len(body), order):
        _check_depth(inner, matrix, order, depth + 1)


def _whole(values: NDArray[Any]) -> MaskIds:
    """Numbers as ids: MATLAB's are double unless someone said otherwise. Raises Refusal."""
    if values.dtype.kind not in "biuf" or (values.dtype.kind == "f" and not (values == np.floor(values)).all()):
        raise Refusal("matlab-none", f"holds {values.dtype} numbers that are not whole.", SAVE_MASK)
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if not 0 <= low <= high < 2**16:
        raise Refusal("matlab-none", f"holds numbers from {low} to {high}; expected 0 to 65535.", SAVE_MASK)
    return values.astype(np.uint8) if high < 256 else values.astype(np.uint16)


def _damaged(error: Exception) -> Refusal:
    what = f"cannot be read as a MAT file ({shown(str(error)[:80])})."
    return Refusal("truncated", what, "Copy the file again, or save it anew with save(file, '-v7').")


def _library() -> Any:
    try:
        import scipy.io
    except ImportError as error:
        raise MissingExtraError("SciPy, which reads MATLAB's files,", "formats") from error
    return scipy.io
