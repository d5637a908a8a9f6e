"""One page of a TIFF as stored, of any depth and number of samples: only the tiles or strips needed are decoded.

Shapes: H, W height and width in pixels; S samples a pixel; T, U height and width of a tile or strip.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.images.files import AGAIN, Refusal, truncated
from pixelwise.images.image_header import refusing
from pixelwise.images.tiff_codecs import (
    BYTES_ONLY,
    JPEG,
    JPEG_2000,
    NAMES,
    PLAIN,
    WEBP,
    decompressed,
    jpeg_part,
    needs_extra,
    packing_in_words,
    undo_float_predictor,
)

MAX_PART_BYTES = 1 << 30  # decoded size of one tile or strip
CHEAP_PART_BYTES = 1 << 24  # of a tile or strip that is decoded for a few of its rows
MOST_SAMPLES = 4096
YCBCR = 6
ReadBytes = Callable[[int, int], bytes]  # (offset, length) → bytes, fewer at the end of the file


class TiffTiles:
    """The tiles or strips of a page. `page` is tifffile's; `read` reads the file's bytes."""

    def __init__(self, page: Any, read: ReadBytes, size: int) -> None:
        """Check the page's tags.

        Raises:
            Refusal: it is truncated, or of a kind that is not read.
        """
        self.page, self.read = page, read
        self.kept_bytes = 0  # of decoded tiles or strips, for further windows
        self._decoded_parts: dict[int, NDArray[Any]] = {}
        self.height, self.width, self.samples = int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel)
        if self.height < 1 or self.width < 1 or not 1 <= self.samples <= MOST_SAMPLES:
            raise truncated(f"its header states {self.width}×{self.height} pixels of {self.samples} samples")
        self.compression = int(page.compression)
        self._refuse_unread_kinds()
        self.dtype = np.dtype(page.dtype).newbyteorder("=")
        rows = min(int(page.rowsperstrip) or self.height, self.height) if not page.is_tiled else 0
        self.part = (int(page.tilelength), int(page.tilewidth)) if page.is_tiled else (rows, self.width)
        if min(self.part) < 1:
            raise truncated(f"its header states tiles of {self.part[1]}×{self.part[0]} pixels")
        self.grid = (math.ceil(self.height / self.part[0]), math.ceil(self.width / self.part[1]))
        self.planes = self.samples if page.planarconfig == 2 else 1
        self.stored = self.samples // self.planes  # samples in a part
        self.part_bytes = math.prod(self.part) * self.stored * self.dtype.itemsize
        if self.part_bytes > MAX_PART_BYTES and not self.is_plain:
            what = f"a tile or strip of {self.part[1]}×{self.part[0]} pixels takes {self.part_bytes:,} bytes in memory"
            remedy = "Save it with smaller tiles, for example: gdal_translate -of COG IN OUT"
            raise Refusal("too-large", f"{what}; the limit is {MAX_PART_BYTES:,}.", remedy)
        self.offsets, self.sizes = np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64)
        expected = self.grid[0] * self.grid[1] * self.planes
        if not len(self.offsets) == len(self.sizes) == expected:
            raise truncated(f"it lists {len(self.offsets)} of its {expected} tiles or strips")
        if (self.offsets < 0).any() or (self.sizes < 0).any() or (self.sizes > size - self.offsets).any():
            raise truncated(f"its pixels reach to byte {int((self.offsets + self.sizes).max())}, the file has {size}")
        self.absent = (self.sizes == 0).reshape(self.planes, *self.grid)
        self._jpeg_tables = page.jpegtables if self.compression == JPEG else None
        if self.compression in BYTES_ONLY and page.predictor in (1, 2):
            page.compression = PLAIN  # tifffile's `decode` undoes what is left: predictor, bits, byte order

    @property
    def is_plain(self) -> bool:
        """Whether strips are stored uncompressed, so that each row can be read on its own."""
        page = self.page
        return bool(self.compression == PLAIN and not page.is_tiled and page.bitspersample == 8 * self.dtype.itemsize
                    and page.predictor == 1 and page.fillorder == 1)  # fmt: skip

    @property
    def windows_are_cheap(self) -> bool:
        """Whether a small window costs far less than the whole page."""
        small = self.part_bytes <= min(
            CHEAP_PART_BYTES, self.height * self.width * self.stored * self.dtype.itemsize // 4
        )
        return self.is_plain or small

    def _refuse_unread_kinds(self) -> None:
        page = self.page
        convert = (
            "Export it as 8- or 16-bit whole numbers or 32-bit floats, for example with gdal_translate -ot Float32."
        )
        bits = page.bitspersample
        if page.dtype is None or np.dtype(page.dtype).kind not in "biuf":
            kind = "complex" if page.sampleformat in (5, 6) else f"{bits}-bit" if isinstance(bits, int) else "mixed"
            raise Refusal("unread-kind", f"holds {kind} values; expected whole or floating-point numbers.", convert)
        if page.imagedepth != 1:
            raise Refusal("unread-kind", f"is a volume of {page.imagedepth} slices; expected a picture.", convert)
        if self.compression not in NAMES:
            raise Refusal("unread-kind", f"its compression is {packing_in_words(page.compression)}.", convert)
        if page.predictor not in (1, 2, 3) or (page.predictor == 3 and page.dtype.kind != "f"):
            raise Refusal("unread-kind", f"its predictor is number {int(page.predictor)}; expected 1 to 3.", convert)
        if page.subsampling not in (None, (1, 1)) and self.compression != JPEG:
            raise Refusal("unread-kind", "its colours are stored at a lower resolution than its brightness.", convert)

    def window(self, top: int, left: int, height: int, width: int, samples: int = 0) -> NDArray[Any]:
        """Stored values [height, width, S] in native byte order; tiles that the file leaves out are 0.

        `samples`: only the first so many; of samples in planes of their own, the others are not read.

        Raises:
            Refusal: a tile or strip that cannot be decoded.
        """
        out = np.zeros((height, width, samples or self.samples), self.dtype)
        tall, wide = self.part
        for row in range(top // tall, -(-(top + height) // tall)):
            for column in range(left // wide, -(-(left + width) // wide)):
                # What the window has of this tile or strip, in pixels of the page.
                y0, y1 = max(row * tall, top), min((row + 1) * tall, top + height)
                x0, x1 = max(column * wide, left), min((column + 1) * wide, left + width)
                here = out[y0 - top : y1 - top, x0 - left : x1 - left]
                rows, columns = slice(y0 - row * tall, y1 - row * tall), slice(x0 - column * wide, x1 - column * wide)
                for plane in range(out.shape[2] if self.planes > 1 else 1):
                    index = (plane * self.grid[0] + row) * self.grid[1] + column
                    if self.sizes[index]:
                        first = plane if self.planes > 1 else 0
                        here[:, :, first : first + self.stored] = self._cut(index, rows, columns)[:, :, : out.shape[2]]
        return out

    def absent_in(self, top: int, left: int, height: int, width: int) -> NDArray[np.bool_] | None:
        """The pixels of a window that the file leaves out, [height, width]; None if it holds all of them."""
        absent = self.absent.all(axis=0)
        if not absent.any():
            return None
        rows = np.arange(top, top + height) // self.part[0]
        columns = np.arange(left, left + width) // self.part[1]
        return np.asarray(absent[np.ix_(rows, columns)])

    def _cut(self, index: int, rows: slice, columns: slice) -> NDArray[Any]:
        """Rows and columns of one tile or strip as stored, [rows, columns, S]."""
        if not self.is_plain:
            return self._kept(index)[rows, columns]
        height, width, pixel = rows.stop - rows.start, columns.stop - columns.start, self.stored * self.dtype.itemsize
        row_bytes = self.width * pixel
        begin = int(self.offsets[index]) + rows.start * row_bytes
        if rows.stop * row_bytes > self.sizes[index]:
            raise truncated(f"its strip {index} holds {self.sizes[index]} bytes, too few")
        stored = self.dtype.newbyteorder(self.page.parent.byteorder)
        if width * 4 < self.width:  # few columns of many: row by row
            starts = range(begin + columns.start * pixel, begin + columns.start * pixel + height * row_bytes, row_bytes)
            data = b"".join(self._bytes(at, width * pixel) for at in starts)
            return np.frombuffer(data, stored).reshape(height, width, self.stored)
        values = np.frombuffer(self._bytes(begin, height * row_bytes), stored)
        return values.reshape(height, self.width, self.stored)[:, columns]

    def _kept(self, index: int) -> NDArray[Any]:
        """A decoded tile or strip; the latest are kept, up to `kept_bytes`."""
        found = self._decoded_parts.pop(index, None)
        if found is None:
            found = self.decoded(index)
        if self.kept_bytes >= found.nbytes:
            self._decoded_parts[index] = found  # the last is the latest
            while sum(part.nbytes for part in self._decoded_parts.values()) > self.kept_bytes:
                self._decoded_parts.pop(next(iter(self._decoded_parts)))
        return found

    def decoded(self, index: int) -> NDArray[Any]:
        """One tile or strip as stored, [T or fewer, U, S]. Raises Refusal."""
        data = self._bytes(int(self.offsets[index]), int(self.sizes[index]))
        row = index // self.grid[1] % self.grid[0]
        rows = self.part[0] if self.page.is_tiled else min(self.part[0], self.height - row * self.part[0])
        shape = (rows, self.part[1], self.stored)
        with refusing(f"its tile or strip {index} cannot be decoded"):
            if self.compression in BYTES_ONLY:
                bits = self.part[1] * self.stored * int(self.page.bitspersample)
                data = decompressed(data, self.compression, rows * -(-bits // 8))
                if self.page.predictor == 3:
                    return undo_float_predictor(data, shape, self.dtype)
            else:
                self._check_inner_size(data, index)
            if self.compression == JPEG and self.page.bitspersample == 8 and self.stored in (1, 3):
                return self._of_jpeg(data, shape)
            try:
                found, _, inner = self.page.decode(data, index, jpegtables=self._jpeg_tables)
            except NotImplementedError as error:  # tifffile without imagecodecs
                raise needs_extra(NAMES[self.compression]) from error
            except ValueError as error:
                if "imagecodecs" in str(error):
                    raise needs_extra(NAMES[self.compression]) from error
                raise
            values = np.asarray(found).reshape(-1, found.shape[-2], inner[-1])
        height = min(shape[0], self.height - row * self.part[0])
        width = min(shape[1], self.width - index % self.grid[1] * self.part[1])
        if values.shape[0] < height or values.shape[1] < width or values.shape[2] != self.stored:
            found_size, stated = (f"{wide}×{tall} pixels of {deep}" for tall, wide, deep in (values.shape, shape))
            raise truncated(f"its tile or strip {index} holds {found_size} values; expected {stated}")
        return values

    def _of_jpeg(self, data: bytes, shape: tuple[int, int, int]) -> NDArray[Any]:
        subsampling: tuple[int, int] | None = None
        if self.page.photometric == YCBCR and self.stored == 3:
            across, down = self.page.tags.valueof(530, (2, 2))
            subsampling = int(across), int(down)
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as inner:
            shape = (inner.height, inner.width, shape[2])  # a last strip may be shorter than its header states
        return np.asarray(jpeg_part(data, self._jpeg_tables or b"", shape, subsampling))

    def _check_inner_size(self, data: bytes, index: int) -> None:
        """A JPEG, WebP or JPEG 2000 tile has a header with a size: a decoder would trust it and fill the memory."""
        if self.compression in (JPEG, WEBP, *JPEG_2000):
            with Image.open(io.BytesIO(data), formats=("JPEG", "WEBP", "JPEG2000")) as inner:
                if inner.width > self.part[1] or inner.height > self.part[0]:
                    raise truncated(f"tile {index} claims to hold {inner.width}×{inner.height} pixels")

    def _bytes(self, offset: int, size: int) -> bytes:
        try:
            data = self.read(offset, size)
        except OSError as error:
            raise Refusal("unreadable", f"cannot be read ({error.strerror}).", AGAIN) from error
        if len(data) != size:
            raise truncated(f"it ends inside its pixels, at byte {offset + len(data)}")
        return data
