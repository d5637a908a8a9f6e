"""The process that decodes uploads, one after the other: `python -m pixelwise.server.upload_decoder`.

Image decoders are large C libraries that read what anyone sends. A decoder that hangs, takes all memory or crashes
harms nothing here: the server kills this process and starts another. It imports nothing of the server itself.

Requests come through standard input, answers go to standard output. Each message is the length of a JSON header as a
little-endian uint32, the header, and as many bytes as its `bytes` says.

    request  {"bytes", "content_type", "mask", "bands", "slice", "max_bytes", "max_pixels"} and the body of the upload
    answer   {"bytes", "shape", "dtype", "format", "size", "sha256", "pixel"} and the array
             {"bytes": 0, "refused": [status, kind, message, remedy]}
"""

from __future__ import annotations

import faulthandler
import hashlib
import io
import json
import os
import signal
import struct
import sys
import warnings
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pixelwise.errors import ImageError, MissingExtraError, OtherBandsError, UsageError
from pixelwise.heap import give_back
from pixelwise.images.declared_no_data import packed
from pixelwise.images.decode import mask_ids_of
from pixelwise.images.decoder_reasons import because
from pixelwise.images.files import Refusal
from pixelwise.images.input_image import InputImage
from pixelwise.images.nifti_bands import is_nifti
from pixelwise.images.pixel_size import PixelSize, pixel_size
from pixelwise.images.read_as import OTHER_BANDS_REMEDY
from pixelwise.images.tiff_pages import only_page, stack_pages
from pixelwise.records import Bands, Raster

MULTIPART = "multipart/form-data"
MOST_PARTS = 16
UPLOAD = "upload"  # its name in errors
UNSUPPORTED = ("not-an-image", "unread-kind", "missing-extra", "bands")  # refusals of files that are not damaged
PIECE_BYTES = 1 << 20
LARGE_BYTES = 1 << 20  # of an upload, after which the decoder's memory is returned to the system
MEMORY_BYTES = 3 << 30  # of address space, where the system can limit it; imports take a third of this
SLOWEST_S, SECONDS_A_MEGAPIXEL = 6.0, 0.3
SAVE = "Save it again as PNG or JPEG."
NO_SLICE = "Leave out the parameter `slice`."
NO_NIFTI = "Install it where the server runs."
NOWHERE = Path(os.devnull).open("w")  # noqa: SIM115 - open until this process ends


class UploadRefused(Exception):
    """An upload that is refused: status, kind, message, remedy."""


class Decoded(NamedTuple):
    """An upload that became an array."""

    array: NDArray[Any]  # [H, W, bands] as the model takes it, or a mask's ids [H, W]
    format: str  # of an image, such as "PNG" or "NumPy"; of a mask: ""
    size: int  # bytes as they were sent
    sha256: str  # of these bytes, so that a client can match an answer with its request
    pixel: PixelSize | None = None  # the size of a pixel, where the file states it
    absent: str = ""  # packed: where the file declares that it holds no data, and the array cannot say it


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes this input
    bound_memory()
    warnings.simplefilter("ignore")
    Image.init()
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    while (received := read_message(source)) is not None:
        write_message(answers, *answer_to(*received))
        faulthandler.cancel_dump_traceback_later()
        if len(received[1]) > LARGE_BYTES:
            give_back()
        del received


def bound_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):  # Windows, or a system without this limit: time is still limited
        return


def answer_to(ask: dict[str, Any], body: bytes) -> tuple[dict[str, Any], memoryview]:
    try:
        found = decoded(ask, body)
    except UploadRefused as no:
        return {"refused": no.args}, memoryview(b"")
    except MemoryError:
        return {"refused": (422, "image-damaged", "Decoding the image takes too much memory.", SAVE)}, memoryview(b"")
    except Exception as error:  # decoders raise many kinds of errors for input they do not expect
        message = because("The image cannot be decoded", error) + "."
        return {"refused": (422, "image-damaged", message, SAVE)}, memoryview(b"")
    array = np.ascontiguousarray(found.array)
    told_of: dict[str, Any] = {"shape": array.shape, "dtype": str(array.dtype)}
    told_of |= {"format": found.format, "size": found.size, "sha256": found.sha256, "pixel": found.pixel}
    told_of["absent"] = found.absent
    return told_of, array.data.cast("B")


def decoded(ask: dict[str, Any], body: bytes) -> Decoded:
    """Raises UploadRefused."""
    end_by_itself(0)
    data = first_file(body, ask["content_type"])
    if not data:
        raise UploadRefused(
            400, "image-missing", "The uploaded file is empty (0 bytes).",
            "Choose another file. Over REST, send the image as the body or as the file of a multipart form.",
        )  # fmt: skip
    if len(data) > ask["max_bytes"]:
        limit = f"{ask['max_bytes'] // 2**20} MB"
        raise UploadRefused(413, "too-large", f"The upload is over the limit of {limit}.", "Send a smaller image.")
    digest = hashlib.sha256(data).hexdigest()
    if ask["mask"]:
        end_by_itself(ask["max_pixels"])
        try:
            with Image.open(io.BytesIO(data)) as header:
                refuse_large(header.size, ask["max_pixels"])
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
            pass  # `mask_ids_of` reports what is wrong
        try:
            return Decoded(mask_ids_of(data), "", len(data), digest)
        except Refusal as refusal:
            raise UploadRefused(422, "mask-unreadable", f"The mask: {refusal}", "Send a PNG of class ids.") from refusal
    try:
        if is_nifti(data):
            return Decoded(*slice_within(data, ask), len(data), digest, pixel_size(data))
        bands = Bands.from_json(ask["bands"])
        page, name = page_within(data, bands, ask.get("slice"))
        encoded = encoded_within(page, bands, ask["max_pixels"])
        array, absent = encoded.decode()[0], packed(encoded.absent())
        return Decoded(array, name or encoded.format, len(data), digest, pixel_size(data), absent)
    except OtherBandsError as error:
        message = str(error).removeprefix(f"{UPLOAD}: ").removesuffix(OTHER_BANDS_REMEDY).strip()
        raise UploadRefused(422, "other-bands", f"The image {message}", OTHER_BANDS_REMEDY) from error
    except Refusal as refusal:
        raise unusable(refusal) from refusal


def page_within(data: bytes, bands: Bands, number: int | None) -> tuple[bytes, str]:
    """The page of a TIFF's stack that is asked for, by default the first, as a file; and its name as a format. An image
    as it is, and "".

    Raises:
        UploadRefused: there is no such page.
    """
    places = stack_pages(data, bands)
    if not places and number is not None:
        raise UploadRefused(422, "no-volume", "A slice is asked for, but the upload is no volume.", NO_SLICE)
    if not places:
        return data, ""
    chosen = number or 0
    if chosen >= len(places):
        what = f"The volume has no slice {chosen}; its slices are 0 to {len(places) - 1}."
        raise UploadRefused(422, "no-slice", what, "Choose one of its slices.")
    return only_page(data, places[chosen]), f"TIFF, slice {chosen} of 0 to {len(places) - 1}"


def slice_within(data: bytes, ask: dict[str, Any]) -> tuple[Raster, str]:
    """The slice of a NIfTI volume that is asked for, and its name as a format.

    Raises:
        Refusal, OtherBandsError, UploadRefused: as `encoded_within`; or the volume has no such slice.
    """
    from pixelwise.prediction.volume_slices import read_sent_slice  # which loads the readers of datasets

    end_by_itself(ask["max_pixels"])
    try:
        bands = Bands.from_json(ask["bands"])
        array, name = read_sent_slice(data, bands, UPLOAD, ask.get("slice"), ask["max_pixels"])
    except OtherBandsError:
        raise
    except MissingExtraError as error:
        raise UploadRefused(415, "image-unreadable", f"The upload is a NIfTI volume: {error}", NO_NIFTI) from error
    except UsageError as error:
        message = str(error).removeprefix(f"{UPLOAD}: ")
        raise UploadRefused(422, "no-slice", f"The volume {message}", "Choose one of its slices.") from error
    except ImageError as error:
        if isinstance(error.__cause__, Refusal):
            raise error.__cause__ from error
        raise
    return array, name.replace(UPLOAD, "NIfTI", 1)


def encoded_within(data: bytes, bands: Bands, max_pixels: int) -> InputImage:
    """An image that has no more pixels than allowed, not yet decoded; mostly, only its header is read.

    Raises:
        Refusal, OtherBandsError: as `InputImage`.
        UploadRefused: it is too large.
    """
    encoded = InputImage(data, bands, UPLOAD)
    refuse_large((encoded.width, encoded.height), max_pixels)
    if encoded.stored_pixels > max_pixels:
        has = (
            f"The image has {encoded.width}×{encoded.height} pixels of many bands, as much as {encoded.stored_pixels:,}"
        )
        raise UploadRefused(
            413, "too-large", f"{has} pixels of three; the limit is {max_pixels:,}.", "Send a smaller image."
        )
    end_by_itself(encoded.stored_pixels)
    return encoded


def unusable(refusal: Refusal) -> UploadRefused:
    """The answer to a file that the image decoders refuse."""
    what = refusal.what
    if what.startswith("the file "):
        message = f"T{what[1:]}"
    elif what.startswith(("is ", "holds ")):
        message = f"The file {what}"
    else:
        message = f"The file cannot be decoded: {what}"
    if refusal.kind == "too-large":
        return UploadRefused(413, "too-large", message, "Send a smaller image.")
    if refusal.kind in UNSUPPORTED:
        remedy = refusal.remedy if refusal.kind in ("missing-extra", "bands") else "Convert it to PNG or JPEG."
        return UploadRefused(415, "image-unreadable", message, remedy)
    return UploadRefused(422, "image-damaged", message, SAVE)


def refuse_large(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        has = f"The image has {width}×{height} = {width * height:,} pixels"
        raise UploadRefused(413, "too-large", f"{has}; the limit is {max_pixels:,} pixels.", "Send a smaller image.")


def end_by_itself(pixels: int) -> None:
    """End this process when decoding so many pixels takes too long, even if a decoder never returns."""
    faulthandler.dump_traceback_later(seconds_for(pixels), exit=True, file=NOWHERE)


def first_file(body: bytes, content_type: str) -> bytes:
    """The first file of a multipart form, b"" if it has none; any other body as it is. Raises UploadRefused."""
    if not content_type.startswith(MULTIPART):
        return body
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    _, options = parse_options_header(content_type)
    form = Form()
    try:
        parser = MultipartParser(options.get(b"boundary", b""), form.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise UploadRefused(
            400, "form-damaged", "The multipart form cannot be read.", "Send the image as the body."
        ) from error
    if not form.is_whole:
        raise UploadRefused(400, "form-damaged", "The multipart form is incomplete.", "Send the image as the body.")
    return b"".join(form.file or ())


class Form:
    """Collects the first part that has a file name."""

    def __init__(self) -> None:
        self.file: list[bytes] | None = None
        self.head, self.parts, self.is_whole = b"", 0, False
        self.taking = False

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self.begin,
            "on_header_field": self.field,
            "on_header_value": self.field,
            "on_headers_finished": self.headed,
            "on_part_data": self.data,
            "on_end": self.end,
        }

    def begin(self) -> None:
        self.parts, self.head, self.taking = self.parts + 1, b"", False
        if self.parts > MOST_PARTS:
            raise UploadRefused(
                400, "form-damaged", f"The form has over {MOST_PARTS} parts.", "Send the image as the body."
            )

    def field(self, data: bytes, start: int, end: int) -> None:
        self.head += data[start:end]
        if len(self.head) > 16_384:
            raise UploadRefused(
                400, "form-damaged", "A part of the form has headers that are too long.", "Send the image as the body."
            )

    def headed(self) -> None:
        self.taking = self.file is None and b"filename" in self.head
        if self.taking:
            self.file = []

    def data(self, data: bytes, start: int, end: int) -> None:
        if self.taking and self.file is not None:
            self.file.append(data[start:end])

    def end(self) -> None:
        self.is_whole = True


# ── messages ──


def seconds_for(pixels: int) -> float:
    """How long decoding an image of so many pixels may take."""
    return SLOWEST_S + SECONDS_A_MEGAPIXEL * pixels / 1e6


def read_message(source: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """A header and its bytes; None at the end of the input."""
    length = source.read(4)
    if len(length) < 4:
        return None
    text = source.read(struct.unpack("<I", length)[0])
    header: dict[str, Any] = json.loads(text)
    return header, source.read(header["bytes"])


def write_message(target: IO[bytes], header: dict[str, Any], data: memoryview) -> None:
    text = json.dumps({**header, "bytes": len(data)}).encode()
    write_all(target, memoryview(struct.pack("<I", len(text)) + text))
    write_all(target, data)


def write_all(target: IO[bytes], data: memoryview) -> None:
    while len(data):
        data = data[target.write(data[:PIECE_BYTES]) :]


if __name__ == "__main__":
    main()
