"""The labelling assistant: strokes become labels for every pixel, and what a person drew is never covered."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pixelwise.errors import UsageError
from pixelwise.labelling.assistant import Assistant
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.labelling.patch import Window
from pixelwise.records import RGB, VOID, Bands

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def assistant() -> Assistant:
    return Assistant(FeatureSession(threads=1))


def discs(height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Bright noisy discs on a dark noisy ground, and the truth: 0 ground, 1 disc."""
    rows, columns = np.mgrid[:height, :width]
    truth = np.zeros((height, width), np.uint8)
    for y, x, r in ((30, 40, 16), (80, 110, 24), (90, 30, 12), (25, 120, 14)):
        truth[(rows - y) ** 2 + (columns - x) ** 2 < r * r] = 1
    grey = np.where(truth == 1, 150, 90) + np.random.default_rng(1).normal(0, 12, truth.shape)
    return np.clip(np.repeat(grey[:, :, None], 3, 2), 0, 255).astype(np.uint8), truth


def strokes_in(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One stroke in a disc and one on the ground: keys and who drew them."""
    keys = np.full(truth.shape, VOID, np.uint8)
    keys[78:82, 100:120] = 1
    keys[55:59, 40:70] = 0
    assert (keys == truth)[keys != VOID].all()
    return keys, (keys != VOID).astype(np.uint8)


def test_two_strokes_label_the_image(assistant: Assistant) -> None:
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    found = assistant.propose("discs", image, RGB, keys, drawn, [0, 1])
    result = np.where(keys != VOID, keys, found.labels_hw)
    overlap = np.count_nonzero((result == 1) & (truth == 1)) / np.count_nonzero((result == 1) | (truth == 1))
    assert overlap > 0.8
    assert found.window == Window(0, 0, 160, 120)
    assert found.source == "assistant"


def test_drawn_pixels_are_never_covered(assistant: Assistant) -> None:
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    found = assistant.propose("discs", image, RGB, keys, drawn, [0, 1])
    assert (found.labels_hw[drawn == 1] == VOID).all()
    assert (found.labels_hw[drawn == 0] != VOID).all()


def test_nothing_drawn_proposes_nothing(assistant: Assistant) -> None:
    image, truth = discs()
    blank = np.full(truth.shape, VOID, np.uint8)
    found = assistant.propose("none", image, RGB, blank, np.zeros_like(blank), [0, 1])
    assert (found.labels_hw == VOID).all()
    assert (found.confidence_hw == 0).all()


def test_accepted_labels_do_not_train(assistant: Assistant) -> None:
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    plain = assistant.propose("accepted", image, RGB, keys, drawn, [0, 1])
    wrong = np.where(drawn == 1, keys, 1 - truth).astype(np.uint8)
    accepted = assistant.propose("accepted", image, RGB, wrong, np.where(drawn == 1, 1, 2).astype(np.uint8), [0, 1])
    np.testing.assert_array_equal(plain.labels_hw, accepted.labels_hw)


def test_one_class_drawn_is_proposed_everywhere(assistant: Assistant) -> None:
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    keys[keys == 1], drawn[keys == VOID] = VOID, 0
    found = assistant.propose("one", image, RGB, keys, drawn, [0, 1])
    assert set(np.unique(found.labels_hw)) == {0, VOID}


def test_the_least_sure_window_touches_no_drawn_pixel(assistant: Assistant) -> None:
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    place = assistant.propose("discs", image, RGB, keys, drawn, [0, 1]).least_sure
    assert (place.w, place.h) == (20, 15)
    assert not drawn[place.slices].any()


@pytest.mark.parametrize("count", [1, 5, 13])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_any_bands(assistant: Assistant, count: int, dtype: str) -> None:
    """Bands of 16 bits and with NaN; only the last band shows the discs."""
    image, truth = discs()
    bands = np.random.default_rng(2).normal(2000, 50, (*truth.shape, count))
    bands[:, :, -1] = image[:, :, 0] * 20.0
    values = bands.astype(dtype)
    if dtype == "float32":
        values[:5] = np.nan
        values[60, 60, 0] = np.nan
    described = Bands(tuple(f"b{i}" for i in range(count)), "float32", (0.0,) * count, (5000.0,) * count)
    keys, drawn = strokes_in(truth)
    found = assistant.propose(f"bands {count} {dtype}", values, described, keys, drawn, [0, 1])
    result = np.where(keys != VOID, keys, found.labels_hw)
    overlap = np.count_nonzero((result == 1) & (truth == 1)) / np.count_nonzero((result == 1) | (truth == 1))
    assert overlap > 0.6


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 50)])
def test_tiny_images(assistant: Assistant, size: tuple[int, int]) -> None:
    keys = np.full(size, VOID, np.uint8)
    keys[0, 0] = 7
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    found = assistant.propose(f"tiny {size}", image, RGB, keys, (keys != VOID).astype(np.uint8), [7, 9])
    assert found.labels_hw[0, 0] == VOID
    assert (found.labels_hw[keys == VOID] == 7).all()


def test_a_window_of_an_image(assistant: Assistant) -> None:
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    window = Window(60, 40, 80, 70)
    found = assistant.propose("part", image, RGB, keys, drawn, [0, 1], window)
    assert found.labels_hw.shape == (70, 80)
    assert found.window == window
    assert found.least_sure.x >= 60
    assert found.least_sure.y >= 40


def test_maps_of_another_size_are_refused(assistant: Assistant) -> None:
    image, truth = discs()
    with pytest.raises(UsageError, match="160×120 pixels, but its labels are 160×119"):
        assistant.propose("size", image, RGB, truth[1:], truth, [0, 1])


def test_threads_agree(assistant: Assistant) -> None:
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    alone = assistant.propose("threads", image, RGB, keys, drawn, [0, 1]).labels_hw
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: assistant.propose(f"t{i % 3}", image, RGB, keys, drawn, [0, 1]), range(12)))
    for one in found:
        np.testing.assert_array_equal(one.labels_hw, alone)


def test_it_needs_no_torch() -> None:
    code = (
        "import sys, numpy as np; from pixelwise.labelling.assistant import Assistant; "
        "from pixelwise.records import RGB; "
        "k = np.full((20, 20), 255, np.uint8); k[3:5] = 1; k[9:11] = 0; "
        "Assistant().propose('a', np.zeros((20, 20, 3), np.uint8), RGB, k, (k < 255).astype(np.uint8), [0, 1]); "
        "sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
