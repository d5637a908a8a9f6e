"""Damaged files of every kind that is read: each is read or refused, and no message speaks of the program's insides.

Cut short at many places, single bits flipped, numbers overwritten: a mutant is repeated by its kind and number.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from bombs import valid_files
from mutate import mutated_bytes

from pixelwise.datasets.formats.reader_errors import refusals
from pixelwise.errors import PixelwiseError, UsageError
from pixelwise.images.decoder_reasons import reason_in_words, text_reason, unread_kind
from pixelwise.images.files import Refusal
from pixelwise.training.recipe import Recipe

REFUSED = (PixelwiseError, Refusal)
MUTANTS, CUTS = 24, 16  # of each kind
INTERNALS = re.compile(
    r"\bstruct\b|unpack_from|a buffer|out of range|NoneType|\bNone\b|codec|object at|<_io|<class"
    r"|[a-z](?:Error|Exception)\b|argument|operand|instances of|reshape|broadcast|\bdtype|u?int(?:8|16|32|64)\b"
    r"|\bfloat(?:16|32|64)\b|\bb['\"]|\\x|[<>|][uifVSU]\d|literal|\bdescr\b|fortran|malformed|Errno|tuple"
    r"|C long|0x[0-9a-f]{5}|error -\d|\(\d+,|\(\)"
    r"|returned NULL"
)
KINDS = ("PNG", "JPEG", "WebP", "BMP", "TIFF", "PNM", "GIF", "AVIF", "JPEG 2000", "NumPy", "NIfTI", "TGA")
BANDED = ("tiled", "striped", "big", "deflate", "LZMA", "floats", "OME", "ImageJ", "palette", "no data")


def banded_tiffs() -> dict[str, bytes]:
    """TIFFs of several bands, as programs for science write them."""
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(2).integers(0, 256, (40, 48, 5), np.uint8)
    bands_first, grey = np.ascontiguousarray(values.transpose(2, 0, 1)), values[:, :, 0]
    shown: dict[str, Any] = {"photometric": "minisblack"}
    wanted: dict[str, tuple[Any, dict[str, Any]]] = {
        "tiled": (values.astype(np.uint16), {"tile": (16, 16), **shown}),
        "striped": (values, {"rowsperstrip": 8, **shown}),
        "big": (values.astype(np.int16), {"bigtiff": True, **shown}),
        "deflate": (values.astype(np.uint16), {"compression": "zlib", "predictor": True, "tile": (16, 16), **shown}),
        "LZMA": (grey.astype(np.float32), {"compression": "lzma"}),
        "floats": (values.astype(np.float32), {"compression": "zlib", "predictor": 3, **shown}),
        "OME": (bands_first, {"ome": True, "metadata": {"axes": "CYX"}, **shown}),
        "ImageJ": (bands_first, {"imagej": True}),
        "palette": (grey, {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}),
        "no data": (values, {"extratags": [(42113, 2, 0, "7", True)], **shown}),
    }
    found = {}
    for name, (array, options) in wanted.items():
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, **options)
        found[name] = buffer.getvalue()
    return found


def damaged(valid: list[bytes], kind: str) -> Iterator[bytes]:
    """Cut short at places that lie close at the beginning, where headers are; and mutants."""
    for data in valid:
        places = {int(len(data) ** (step / CUTS)) for step in range(1, CUTS)}
        yield from (data[:place] for place in sorted(places))
    for number in range(MUTANTS * len(valid) // 2):
        rng = Random(f"{kind} {number}")
        yield mutated_bytes(rng.choice(valid), rng, valid)


def doors(path: Path) -> tuple[Callable[[bytes], object], ...]:
    """The readers of images and masks, of bytes and of files."""
    from pixelwise.datasets.masks.raw_mask import raw_mask_of
    from pixelwise.images.band_facts import band_facts
    from pixelwise.images.banded_image import read_bands, read_bands_window
    from pixelwise.images.image_files import decode_image, decode_mask_ids
    from pixelwise.images.pixel_size import pixel_size
    from pixelwise.images.tiff import TiffImage

    def streamed(data: bytes) -> object:
        path.write_bytes(data)
        if data[:2] not in (b"II", b"MM"):
            return None
        with TiffImage(path) as image:
            few = image.rows(0, min(image.height, 32)) if image.width < 1 << 20 else None
            return image.place, image.resolution, few

    def window(data: bytes) -> object:
        path.write_bytes(data)
        return read_bands_window(path, 0, 0, 1, 1)

    return (
        lambda data: decode_image(data, "a file"),
        lambda data: decode_mask_ids(data, "a file"),
        raw_mask_of,
        lambda data: band_facts(data, "a file"),
        lambda data: read_bands(data, "a file"),
        pixel_size,
        streamed,
        window,
    )


def messages(valid: list[bytes], kind: str, path: Path) -> set[str]:
    """What the readers say of damaged files; any other exception goes through."""
    said = set()
    for data in damaged(valid, kind):
        for read in doors(path):
            try:
                read(data)
            except REFUSED as error:
                said.add(str(error).replace(str(path), "a file"))
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pictures_are_refused_in_words(kind: str, tmp_path: Path) -> None:
    found = valid_files()
    said = messages(found[kind] + found["TIFF of bands"] if kind == "TIFF" else found[kind], kind, tmp_path / "a.tif")
    assert said
    assert not [message for message in said if INTERNALS.search(message)]
    assert all(message.endswith((".", "'", "OUT", "pillow>=11.3'")) for message in said)  # it ends with a remedy


@pytest.mark.parametrize("kind", BANDED)
def test_damaged_tiffs_of_bands_are_refused_in_words(kind: str, tmp_path: Path) -> None:
    said = messages([banded_tiffs()[kind]], kind, tmp_path / "a.tif")
    assert said
    assert not [message for message in said if INTERNALS.search(message)]


def test_damaged_volumes_are_refused_in_words(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    from pixelwise.datasets.formats import nifti

    values = np.random.default_rng(3).integers(0, 200, (9, 8, 4), np.uint8)
    plain = nibabel.Nifti1Image(values, np.eye(4)).to_bytes()
    said = set()
    for packed, suffix in ((False, ".nii"), (True, ".nii.gz")):
        valid = [gzip.compress(plain, mtime=0) if packed else plain]
        for number, data in enumerate(damaged(valid, suffix)):
            path = tmp_path / f"{number}{suffix}"
            path.write_bytes(data)
            try:
                with refusals():
                    nifti.bands(path, "0/all-axis=1")
                    nifti.image_bytes(path, "3")
            except REFUSED as error:
                said.add(str(error).replace(str(tmp_path), ""))
    assert said
    assert not [message for message in said if INTERNALS.search(message)]


def raised(action: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 – of many kinds
        action()
    assert isinstance(caught.value, Exception)
    return caught.value


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda: struct.unpack("<I", b"12"), "it ends too early"),
        (lambda: struct.unpack_from("<I", b"12345", 4), "it ends too early"),
        (lambda: np.frombuffer(b"123", np.uint32), ""),
        (lambda: np.frombuffer(b"1234", np.uint8, 9), "it ends too early"),
        (lambda: zlib.decompress(b"no stream"), "its compressed data is damaged"),
        (lambda: (1, 2)[5], ""),
        (lambda: {}["key"], ""),
        (lambda: None + 1, ""),  # type: ignore[operator]
        (lambda: b"\xff".decode(), ""),
        (lambda: int("x"), ""),
        (lambda: np.zeros((2, 3)).reshape(4, 5), ""),
        (lambda: Path("/").read_bytes(), "Is a directory"),
    ],
)
def test_exceptions_of_decoders_are_translated_or_left_out(action: Callable[[], object], words: str) -> None:
    error = raised(action)
    if not isinstance(error, OSError) or words != "Is a directory":  # whose words are the system's
        assert reason_in_words(error) == words
    assert not INTERNALS.search(reason_in_words(error))
    assert unread_kind(error) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("Unsupported BMP compression (4)"), "unsupported BMP compression (4)"),
        (NotImplementedError("any"), ""),
        (TypeError("'<' not supported between instances of 'int' and 'bytes'"), None),
        (ValueError("broken data stream"), None),
    ],
)
def test_kinds_that_are_not_read_are_told_from_damage(error: Exception, kind: str | None) -> None:
    assert unread_kind(error) == kind


@pytest.mark.parametrize("text", [b"[1, \xff]", b"[1, ", b'{"a": }', b"[" * 100_000, b"[" + b"9" * 5000 + b"]"])
def test_texts_that_cannot_be_parsed_are_refused_in_words(text: bytes) -> None:
    said = text_reason(raised(lambda: json.loads(text)))
    assert said
    assert not INTERNALS.search(said)


def test_a_recipe_that_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b'size = "\xff\xfe"')
    with pytest.raises(UsageError, match="its byte 8 is not UTF-8 text"):
        Recipe.from_file(path)
