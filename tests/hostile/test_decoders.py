"""Bombs and damaged files through every door of the decoders: refused or read, in bounded time and memory, in silence.

They run in a process of their own, which tells its peak and can be killed: a decoder's crash is a finding, not the end
of the tests. A mutant is repeated by its kind and number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

HERE = Path(__file__).parent
SEED, MUTANTS = 13, 220  # of each kind
HANG_S = 20  # on a busy machine; the slowest takes one
GROWTH_BYTES = 500 << 20  # of a process that decodes all of them


def doors(data: bytes, path: Path) -> dict[str, str]:
    """What became of the bytes behind each door. Whatever is no refusal goes through."""
    from pixelwise.datasets.masks.raw_mask import raw_mask_of
    from pixelwise.errors import ImageError, MaskError
    from pixelwise.images.band_facts import band_facts
    from pixelwise.images.banded_image import read_bands
    from pixelwise.images.files import Refusal
    from pixelwise.images.image_files import decode_image, decode_mask_ids
    from pixelwise.images.tiff_header import tiff_size

    path.write_bytes(data)
    found = {"size": str(tiff_size(path))}
    for name, read, refusal in (
        ("image", lambda: decode_image(data, "x").shape, ImageError),
        ("mask", lambda: decode_mask_ids(data, "x").shape, MaskError),
        ("raw", lambda: raw_mask_of(data).size, Refusal),
        ("rows", lambda: rows_of(path), ImageError),
        ("bands", lambda: read_bands(data, "x").pixels.shape, ImageError),
        ("facts", lambda: band_facts(path), ImageError),
    ):
        try:
            found[name] = str(read())
        except refusal as error:
            found[name] = f"refused: {error}"
    return found


def rows_of(path: Path) -> Any:
    """The first rows of a TIFF, read as `predict` reads a large one."""
    try:
        from pixelwise.images.tiff import TiffImage
    except ModuleNotFoundError:  # the extra `tiff` is missing
        return None
    if path.read_bytes()[:2] not in (b"II", b"MM"):
        return None
    with TiffImage(path) as image:
        return image.rows(0, min(image.height, 32)).shape if image.width < 1 << 20 else None


def main(what: str) -> None:
    """Run all bombs, or mutants of all kinds; a line of JSON each, and last the growth of the peak."""
    from bombs import BOMBS, valid_files, zeros
    from fuzz import resident_peak
    from mutate import mutated_bytes

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tif")
        doors(valid_files()["TIFF"][0], path)  # all libraries are loaded
        zeros()  # which takes memory to make
        before = resident_peak()
        if what == "bombs":
            for name, build in BOMBS.items():
                data = build()
                began = time.perf_counter()
                told = {"name": name, "bytes": len(data), "doors": doors(data, path)}
                tell({**told, "seconds": time.perf_counter() - began})
        else:
            for kind, valid in valid_files().items():
                for number in range(MUTANTS):
                    rng = Random(f"{SEED} {kind} {number}")
                    data = mutated_bytes(rng.choice(valid), rng, valid)
                    tell({"name": f"{kind} {number}"})
                    doors(data, path)
        tell({"growth": resident_peak() - before})


def tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def run(what: str) -> list[dict[str, Any]]:
    """What the process said. Fails where it died, hung, or printed to stderr."""
    pytest.importorskip("resource", reason="peaks are measured on POSIX")
    done = subprocess.run(
        [sys.executable, __file__, what],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr[-3000:])
    assert done.stderr == ""  # what libtiff, libpng and Pillow mind names no file
    return lines


def test_bombs_cost_little() -> None:
    *bombs, last = run("bombs")
    assert len(bombs) >= 50
    for bomb in bombs:
        assert bomb["seconds"] < HANG_S, bomb
        for said in bomb["doors"].values():
            assert "\n" not in said
            assert "Error" not in said, bomb  # a foreign exception's name
    assert last["growth"] < GROWTH_BYTES
    by_name = {bomb["name"]: bomb["doors"]["image"] for bomb in bombs}
    for name, words in (
        ("JPEG: 20,000 scans", "JPEG of 20,006 scans; at its size the limit is"),
        ("PNG: 300,000 chunks", "more than 10,000 chunks"),
        ("TIFF: a million strips", "1,000,000 strips or tiles; the limit is 65,536"),
        ("TIFF: one strip of many", "1 of its 7,813 strips"),
        ("BMP: a run-length coded row of 100 million", "100,000,000 pixels; the limit is"),
        ("JPEG 2000: a tile a pixel", "packets; the limit is"),
        ("JPEG: 60,000 pixels a side", "3,600,000,000 pixels; the limit is 100,000,000"),
    ):
        assert words in by_name[name], by_name[name]
    for name in ("PNG: a text that unpacks to 200 MB", "PPM: a comment of 5 MB", "TIFF: pages in a circle"):
        assert by_name[name] == "(64, 64, 3)" or by_name[name] == "(8, 8, 3)"  # sound pixels beside a bomb are read


def test_damaged_files_are_read_or_refused() -> None:
    *mutants, last = run("mutants")
    assert len(mutants) >= 10 * MUTANTS
    assert last["growth"] < GROWTH_BYTES


if __name__ == "__main__":
    main(sys.argv[1])
