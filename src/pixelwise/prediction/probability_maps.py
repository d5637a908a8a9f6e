"""Probability maps on disk: the probability of every chosen class at every pixel of an image, as TIFF, npz or Zarr.

A map is the softmax, with the model's temperature, of the scores of which labels are the argmax, at the image's size.
The maps are cut into squares, deflated one by one, so that those of a large image never lie in memory.

Shapes: H, W the image's size; C classes; R rows and Q columns of pixels; S = SQUARE_PX.
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import MissingExtraError, UsageError
from pixelwise.images.band_names import GDAL_METADATA, GDAL_NO_DATA
from pixelwise.prediction.confidence_maps import Probabilities
from pixelwise.prediction.squares import SQUARE_PX, inflated_square

CLASSIC_BYTES = 2**32 - 2**25  # a larger TIFF becomes a BigTIFF
STEPS = 254  # of a probability of 8 bits: 0–254 are 0–1
FINEST = np.float32(4096)  # steps of one in 16 bits: the noise of finer ones would more than double the files
NO_DATA_8 = 255  # of 8 bits, where the image has no data; of 16 bits it is NaN
TYPES = {"float16": "<f2", "uint8": "|u1"}

Stored = NDArray[np.float16] | NDArray[np.uint8]


@dataclass(frozen=True)
class ProbabilityOptions:
    """How probabilities are stored, and of which classes."""

    dtype: str = "float16"  # a key of TYPES
    classes: tuple[str, ...] = ()  # (): all

    def check(self, outputs: Collection[str], names: Sequence[str]) -> None:
        """Check the options of a run that saves these outputs, for a model with classes of these names.

        Raises:
            UsageError: as `ids`; or no output has probabilities.
            MissingExtraError: Zarr is asked for and not installed.
        """
        self.ids(names)
        if self != ProbabilityOptions() and PROBABILITY_FILES.keys().isdisjoint(outputs):
            raise UsageError("a type or classes of probabilities are given, but --save names no probabilities.")
        if "probabilities-zarr" in outputs and importlib.util.find_spec("zarr") is None:
            raise MissingExtraError("the package zarr", "zarr")

    def ids(self, names: Sequence[str]) -> tuple[int, ...]:
        """The chosen of a model's classes, in the order of the options.

        Raises:
            UsageError: an unknown type, or a class that the model does not have or that is named twice.
        """
        if self.dtype not in TYPES:
            raise UsageError(f"{self.dtype!r} is no type of probabilities; known: {', '.join(TYPES)}.")
        unknown = [name for name in self.classes if name not in names]
        if unknown:
            raise UsageError(f"the model has no class {unknown[0]!r}; its classes: {', '.join(names)}.")
        if len(set(self.classes)) != len(self.classes):
            raise UsageError(f"a class is named twice: {', '.join(self.classes)}.")
        return tuple(names.index(name) for name in self.classes or names)


class ProbabilityMaps(NamedTuple):
    """The maps of one image, in squares."""

    size: tuple[int, int]  # H, W
    classes: tuple[str, ...]  # one map each
    dtype: str  # a value of TYPES
    square: Callable[[int, int, int], bytes]  # map, row and column of squares → deflated, [S, S]
    stored_bytes: int  # of all squares
    place: Mapping[int, tuple[int, int, Any]]  # GeoTIFF tags of the image as number → (type, count, value)
    resolution: tuple[Any, Any, int] | None  # pixels per unit across and down, and the unit

    @property
    def squares(self) -> tuple[int, int]:
        """Squares down and across."""
        return -(-self.size[0] // SQUARE_PX), -(-self.size[1] // SQUARE_PX)

    @property
    def scale(self) -> float:
        """Times a stored value is the probability."""
        return 1 / STEPS if self.dtype == TYPES["uint8"] else 1.0

    @property
    def no_data(self) -> float:
        """The stored value where the image has no data."""
        return NO_DATA_8 if self.dtype == TYPES["uint8"] else float("nan")

    def rows(self, number: int) -> Iterator[Stored]:
        """One map in strips of rows from the top, [R, W]."""
        down, across = self.squares
        for row in range(down):
            parts = [inflated_square(self.square(number, row, column), self.dtype) for column in range(across)]
            strip: Any = np.concatenate(parts, axis=1)
            yield strip[: min(SQUARE_PX, self.size[0] - row * SQUARE_PX), : self.size[1]]


def stored_values(probability_CRQ: Probabilities, is_void_RQ: NDArray[np.bool_], dtype: str) -> Stored:
    """Probabilities as they are stored: [C, R, Q] of a type of TYPES."""
    if dtype == TYPES["uint8"]:
        steps_CRQ = (probability_CRQ * STEPS + 0.5).astype(np.uint8)
        steps_CRQ[:, is_void_RQ] = NO_DATA_8
        return steps_CRQ
    halves_CRQ: NDArray[np.float16] = (np.rint(probability_CRQ * FINEST) / FINEST).astype(np.float16)
    halves_CRQ[:, is_void_RQ] = np.nan
    return halves_CRQ


def write_probability_tiff(maps: ProbabilityMaps, file: IO[bytes]) -> None:
    """A tiled, deflated TIFF of one band a class, named as the class, at the place of the image on the earth."""
    import tifffile

    down, across = maps.squares
    numbers = range(len(maps.classes))
    tags: list[Any] = [(code, *value, True) for code, value in maps.place.items()]
    no_data = "nan" if np.isnan(maps.no_data) else f"{maps.no_data:g}"
    tags += [(GDAL_METADATA, 2, 0, gdal_metadata(maps), True), (GDAL_NO_DATA, 2, 0, no_data, True)]
    options: dict[str, Any] = {"extratags": tags}
    if maps.resolution is not None:
        options |= {"resolution": maps.resolution[:2], "resolutionunit": maps.resolution[2]}
    if len(numbers) > 1:
        options["planarconfig"] = "separate"
    about_squares = 16 * len(numbers) * down * across
    with tifffile.TiffWriter(file, bigtiff=maps.stored_bytes + about_squares > CLASSIC_BYTES) as writer:
        writer.write(
            (maps.square(number, row, column) for number in numbers for row in range(down) for column in range(across)),
            shape=(len(numbers), *maps.size) if len(numbers) > 1 else maps.size,
            dtype=np.dtype(maps.dtype),
            tile=(SQUARE_PX, SQUARE_PX),
            compression="deflate",
            photometric="minisblack",
            software="pixelwise",
            metadata=None,
            **options,
        )


def gdal_metadata(maps: ProbabilityMaps) -> str:
    """The names of the bands and what a stored value means, as GDAL writes them."""
    items = []
    for number, name in enumerate(maps.classes):
        items.append(f'<Item name="DESCRIPTION" sample="{number}" role="description">{escape(name)}</Item>')
        if maps.scale != 1:
            items.append(f'<Item name="OFFSET" sample="{number}" role="offset">0</Item>')
            items.append(f'<Item name="SCALE" sample="{number}" role="scale">{maps.scale!r}</Item>')
    text = "\n".join(["<GDALMetadata>", *items, "</GDALMetadata>"])
    return text.encode("ascii", "xmlcharrefreplace").decode()  # a text tag holds ASCII


def write_probability_npz(maps: ProbabilityMaps, file: IO[bytes]) -> None:
    """NumPy's archive: `probabilities` [C, H, W]; `classes`, their names; `scale`, times a value is the probability."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("probabilities.npy", "w", force_zip64=True) as entry:
            shape = (len(maps.classes), *maps.size)
            header = {"descr": maps.dtype, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(entry, header)
            for number in range(len(maps.classes)):
                for strip in maps.rows(number):
                    entry.write(strip.tobytes())
        for name, value in (("classes", np.array(maps.classes)), ("scale", np.array(maps.scale))):
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, value, allow_pickle=False)


def write_probability_zarr(maps: ProbabilityMaps, file: IO[bytes]) -> None:
    """A zipped Zarr group with the array `probabilities` [C, H, W], whose chunks are the squares of one map."""
    import zarr
    from zarr.storage import ZipStore

    with ZipStore(file.name, mode="w") as store:
        array = zarr.create_group(store).create_array(
            "probabilities",
            shape=(len(maps.classes), *maps.size),
            chunks=(1, SQUARE_PX, SQUARE_PX),
            dtype=np.dtype(maps.dtype),
            fill_value=maps.no_data if maps.scale != 1 else float("nan"),
            dimension_names=("class", "y", "x"),
            attributes={"classes": list(maps.classes), "scale_factor": maps.scale},
        )
        for number in range(len(maps.classes)):
            top = 0
            for strip in maps.rows(number):
                array[number, top : top + len(strip)] = strip
                top += len(strip)


PROBABILITY_FILES: dict[str, Callable[[ProbabilityMaps, IO[bytes]], None]] = {
    "probabilities": write_probability_tiff,
    "probabilities-npz": write_probability_npz,
    "probabilities-zarr": write_probability_zarr,
}
