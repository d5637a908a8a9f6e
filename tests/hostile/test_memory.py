"""What one large image may take of memory: each case in a process of its own, whose peak is measured.

The limit is for the whole process, libraries included. benchmarks/memory.py measures every verb and kind of image.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are read as Linux states them")

LIMIT_MB = 1200
BEGINNING = """
import json, sys
from pathlib import Path
import numpy as np
def stated_mb(what): return int(next(l for l in open("/proc/self/status") if l.startswith(what)).split()[1]) / 1024
def peak_mb(): return stated_mb("VmHWM")  # getrusage's includes the process that started this one
def held_mb(): return stated_mb("VmRSS")
"""


def measured(code: str, *arguments: Path | str) -> dict[str, float]:
    """What a program, given as its text, prints last as JSON."""
    program = BEGINNING + textwrap.dedent(code)
    command = [sys.executable, "-c", program, *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    result: dict[str, float] = json.loads(found.stdout.strip().splitlines()[-1])
    return result


def png(path: Path, pixels: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return path


LABELLED = """
    from pixelwise.prediction.load_model import load
    model = load(sys.argv[1], threads=1)
    height, width = int(sys.argv[2]), int(sys.argv[3])
    model.predict(np.zeros((64, 64, 3), np.uint8))
    before = held_mb()
    image = np.full((height, width, 3), 0, np.uint8)  # written to, unlike zeros
    if sys.argv[4] == "checkerboard":
        image[::2, ::2] = image[1::2, 1::2] = 255
    shape = model.predict(image).labels.shape
    assert shape == (height, width)
    del image
    model.predict(np.zeros((64, 64, 3), np.uint8))
    print(json.dumps({"peak": peak_mb(), "before": before, "after": held_mb()}))
"""


@pytest.mark.parametrize("kind", ["black", pytest.param("checkerboard", marks=pytest.mark.slow)])
def test_a_large_image_that_leaves_all_pixels_undecided(kind: str) -> None:
    """Nearly 32 megapixels and 11 classes, labelled at once: each class's scores at that size would take 1.4 GB."""
    found = measured(LABELLED, "street", "4800", "6600", kind)
    assert found["peak"] <= LIMIT_MB
    assert found["after"] <= found["before"] + 150, found


def test_a_large_image_at_its_own_scale_is_labelled_in_tiles() -> None:
    found = measured(LABELLED, "nuclei", "2100", "2100", "black")
    assert found["peak"] <= LIMIT_MB / 2
    assert found["after"] <= found["before"] + 150, found


@pytest.mark.slow
def test_the_largest_image_of_a_server() -> None:
    found = measured(LABELLED, "nuclei", "5380", "7380", "black")
    assert found["peak"] <= LIMIT_MB


CHECKED = """
    from pixelwise.doctor.check import check
    check(Path(sys.argv[1]))
    print(json.dumps({"peak": peak_mb()}))
"""


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        ("colours", 3000),
        pytest.param("noise", 6300, marks=pytest.mark.slow),
        pytest.param("wide", 3000, marks=pytest.mark.slow),
    ],
)
def test_a_large_mask_is_checked(tmp_path: Path, kind: str, side: int) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    rng = np.random.default_rng(0)
    for number in range(2 if kind == "noise" else 1):
        if kind == "noise":
            mask = rng.integers(0, 256, (side, side, 3), np.uint8)
        elif kind == "wide":
            mask = rng.integers(0, 60000, (side, side), np.uint16)
        else:
            mask = rng.integers(0, 256, (side // 40, side // 40, 3), np.uint8).repeat(40, 0).repeat(40, 1)
        png(tmp_path / "images" / f"{number}.png", np.full((side, side, 3), number * 90, np.uint8))
        png(tmp_path / "masks" / f"{number}.png", mask)
    found = measured(CHECKED, tmp_path)
    assert found["peak"] <= (LIMIT_MB if kind == "noise" else LIMIT_MB / 2)


EVALUATED = """
    from pixelwise.evaluation.evaluate import evaluate
    report = evaluate(sys.argv[1], Path(sys.argv[2]), split="val")
    print(json.dumps({"peak": peak_mb(), "pixels": report.scores.pixels}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["halves", "checkerboard"])
def test_a_large_image_is_evaluated(tmp_path: Path, kind: str) -> None:
    """39.7 megapixels of which half are wrong: one region of 20 million wrong pixels, or 20 million regions."""
    height, width = 5380, 7380
    rows, columns = np.arange(height)[:, None], np.arange(width)
    mask = ((rows + columns) % 2 if kind == "checkerboard" else (rows * 2 // height) | (columns < 0)).astype(np.uint8)
    for part, pixels in (("images", np.full((height, width, 3), 90, np.uint8)), ("masks", mask)):
        (tmp_path / "val" / part).mkdir(parents=True)
        png(tmp_path / "val" / part / "0.png", pixels)
    found = measured(EVALUATED, "nuclei", tmp_path)
    assert found["pixels"] == height * width
    assert found["peak"] <= LIMIT_MB


VALIDATED = """
    import torch
    from pixelwise.model.build_network import build
    from pixelwise.model.network import ModelConfig
    from pixelwise.model.preprocess import Preprocess
    from pixelwise.records import ClassList
    from pixelwise.training.validate import Validation, validate
    class Large:
        def __len__(self): return 1
        def __getitem__(self, index):
            side = int(sys.argv[1])
            return np.full((side, side, 3), 7, np.uint8), np.full((side, side), 7, np.uint8)
    classes = ClassList(tuple("abcdefghijk"), tuple((20 * i, 0, 0) for i in range(11)))
    network = build(ModelConfig("fast", "lite0", 11, pretrained=False))
    before = held_mb()
    seen = Preprocess((128, 160), "stretch", (0.5,) * 3, (0.25,) * 3)
    validated = validate(network, Validation(Large(), seen, classes), Path(sys.argv[2]))
    print(json.dumps({"peak": peak_mb(), "before": before, "pixels": validated.scores.pixels}))
"""


@pytest.mark.parametrize("side", [6300, pytest.param(9950, marks=pytest.mark.slow)])
def test_a_large_image_is_validated(tmp_path: Path, side: int) -> None:
    """99 megapixels with 11 classes took 7.5 GB."""
    pytest.importorskip("torch")
    found = measured(VALIDATED, str(side), tmp_path / "previews")
    assert found["pixels"] == side * side
    assert found["peak"] <= LIMIT_MB
