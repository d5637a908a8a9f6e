"""The labelling assistant: strokes become labels for every pixel, and what a person drew is never covered."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.errors import UsageError
from pixelwise.labelling.assistant import Assistant
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.labelling.patch import Window
from pixelwise.records import RGB, VOID, Bands

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def session() -> FeatureSession:
    return FeatureSession(threads=1)


@pytest.fixture
def assistant(session: FeatureSession) -> Assistant:
    return Assistant(session)


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
        found = list(pool.map(lambda _: assistant.propose("threads", image, RGB, keys, drawn, [0, 1]), range(12)))
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


def test_earlier_images_label_one_without_strokes(assistant: Assistant) -> None:
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    assistant.propose("first", image, RGB, keys, drawn, [0, 1])
    blank = np.full(truth.shape, VOID, np.uint8)
    found = assistant.propose("second", image[:, ::-1].copy(), RGB, blank, np.zeros_like(blank), [0, 1])
    mirrored = truth[:, ::-1]
    assert np.count_nonzero(found.labels_hw == mirrored) / truth.size > 0.9
    gone = assistant.propose("second", image[:, ::-1].copy(), RGB, blank, np.zeros_like(blank), [5, 6])
    assert (gone.labels_hw == VOID).all()  # both classes were deleted


def test_strokes_outside_the_window_count(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an image too large to be worked on whole."""
    monkeypatch.setattr("pixelwise.labelling.assistant.WHOLE_PIXELS", 5000)
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    assistant.propose("large", image, RGB, keys, drawn, [0, 1], Window(0, 0, 160, 120))
    window = Window(10, 0, 60, 50)  # holds no stroke
    found = assistant.propose("large", image, RGB, keys, drawn, [0, 1], window)
    assert np.count_nonzero(found.labels_hw == truth[window.slices]) / found.labels_hw.size > 0.85
    erased = np.full(truth.shape, VOID, np.uint8)
    nothing = assistant.propose("large", image, RGB, erased, np.zeros_like(erased), [0, 1], window)
    assert (nothing.labels_hw == VOID).all()


def test_a_large_window_is_worked_on_at_a_smaller_scale(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.labelling.window_view.MOST_PIXELS", 6000)
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    found = assistant.propose("scaled", image, RGB, keys, drawn, [0, 1])
    assert found.labels_hw.shape == truth.shape
    wrong = np.count_nonzero((found.labels_hw != truth) & (drawn == 0))
    assert wrong / truth.size < 0.08


def test_the_cache_is_bounded(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.labelling.assistant.MOST_BYTES", 30_000_000)
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    for number in range(6):
        assistant.propose(f"image {number}", image, RGB, keys, drawn, [0, 1])
    assert 1 <= len(assistant.views) < 6
    assert sum(view.nbytes for view in assistant.views.values()) <= 30_000_000
    assert ("image 5", Window(0, 0, 160, 120)) in assistant.views


def test_thousands_of_strokes(assistant: Assistant) -> None:
    image, truth = discs()
    drawn = (np.add.outer(np.arange(120), np.arange(160)) % 2 == 0) & (np.arange(160) % 3 > 0)
    keys = np.where(drawn, truth, VOID).astype(np.uint8)
    found = assistant.propose("many", image, RGB, keys, drawn.astype(np.uint8), [0, 1])
    assert np.count_nonzero(found.labels_hw[~drawn] == truth[~drawn]) / np.count_nonzero(~drawn) > 0.9


def test_where_no_band_has_data_nothing_is_proposed(assistant: Assistant) -> None:
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    values = image[:, :, :2].astype(np.float32)
    values[:, 140:] = np.nan
    bands = Bands(("a", "b"), "float32", (0.0, 0.0), (255.0, 255.0))
    found = assistant.propose("no data", values, bands, keys, drawn, [0, 1])
    assert (found.labels_hw[:, 140:] == VOID).all()
    assert (found.labels_hw[:, :140][drawn[:, :140] == 0] != VOID).all()


def test_clicks_give_one_object(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    image, truth = discs()
    found = assistant.click("clicked", image, RGB, [(110, 80, True), (40, 60, False)])
    inside = np.zeros(truth.shape, bool)
    inside[found.window.slices] = found.mask_hw
    disc = (truth == 1) & (np.add.outer((np.arange(120) - 80) ** 2, (np.arange(160) - 110) ** 2) < 24**2)
    assert np.count_nonzero(inside & disc) / np.count_nonzero(inside | disc) > 0.7
    monkeypatch.setattr("pixelwise.labelling.assistant.WHOLE_PIXELS", 5000)
    part = assistant.click("large", image, RGB, [(110, 80, True)], Window(70, 40, 80, 80))
    assert part.x >= 70
    assert part.y >= 40
    assert part.mask_hw[80 - part.y, 110 - part.x]
    with pytest.raises(UsageError, match="outside the window"):
        assistant.click("large", image, RGB, [(10, 10, True)], Window(70, 40, 80, 80))


# ── on a model's labels ──


@pytest.fixture(scope="module")
def model() -> pw.Model:
    return pw.load("nuclei", threads=1)


def test_without_strokes_it_is_the_model(session: FeatureSession, model: pw.Model) -> None:
    image, truth = discs()
    blank = np.full(truth.shape, VOID, np.uint8)
    found = Assistant(session, model).propose("a", image, RGB, blank, np.zeros_like(blank), [4, 9])
    np.testing.assert_array_equal(found.labels_hw, np.array([4, 9], np.uint8)[model.predict(image).labels])
    assert found.source == "model"


def test_a_correction_spreads_to_alike_places_and_keeps_what_is_drawn(session: FeatureSession, model: pw.Model) -> None:
    """The model's classes are swapped, so that it is wrong nearly everywhere."""
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    assistant = Assistant(session, model)
    blank = np.full(truth.shape, VOID, np.uint8)
    before = assistant.propose("a", image, RGB, blank, np.zeros_like(blank), [0, 1], None, [1, 0]).labels_hw
    found = assistant.propose("a", image, RGB, keys, drawn, [0, 1], None, [1, 0])
    assert np.mean(before == truth) < 0.3
    assert np.mean((found.labels_hw == truth) | (drawn == 1)) > np.mean(before == truth) + 0.3
    assert (found.labels_hw[drawn == 1] == VOID).all()


def test_a_class_the_model_lacks_can_be_drawn(session: FeatureSession, model: pw.Model) -> None:
    image, truth = discs()
    keys, drawn = strokes_in(truth)
    keys[keys == 1] = 8
    found = Assistant(session, model).propose("a", image, RGB, keys, drawn, [0, 8], None, [0, VOID])
    assert np.mean(found.labels_hw[truth == 1] != 0) > 0.8


def test_strokes_that_agree_with_the_model_leave_its_labels(session: FeatureSession, model: pw.Model) -> None:
    image, truth = discs()
    blank = np.full(truth.shape, VOID, np.uint8)
    before = Assistant(session, model).propose("a", image, RGB, blank, np.zeros_like(blank), [0, 1]).labels_hw
    for key in (0, 1):  # strokes of one class alone do not spread to the other
        keys, drawn = strokes_in(truth)
        keys[keys != key], drawn[keys != key] = VOID, 0
        found = Assistant(session, model).propose("a", image, RGB, keys, drawn, [0, 1]).labels_hw
        assert np.mean((found == before) | (drawn == 1)) > 0.95
