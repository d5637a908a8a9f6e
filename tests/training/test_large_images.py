"""Large images in training: resized, labelled and scored in parts, with the results of doing so at once.

Shapes: C classes; H, W an image's own size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelwise.images.image_files import write_png
from pixelwise.metrics import confusion
from pixelwise.prediction.large import tile_plan
from pixelwise.records import VOID, ClassList, Sample
from pixelwise.training.loader import Pairs

torch = pytest.importorskip("torch")

from pixelwise.model import preprocess as preprocessing  # noqa: E402
from pixelwise.model.build_network import build  # noqa: E402
from pixelwise.model.network import ModelConfig  # noqa: E402
from pixelwise.model.preprocess import Preprocess, resize_image, resize_in_strips  # noqa: E402
from pixelwise.training import validate as validating  # noqa: E402
from pixelwise.training.calibration_images import PARITY_PX, compared_part, middle_of  # noqa: E402
from pixelwise.training.validate import Validation, labels_at_size, preview, validate  # noqa: E402

THREE = ClassList(("a", "b", "c"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))


@pytest.mark.parametrize("size", [(700, 500), (300, 2000), (91, 60)])
def test_an_image_is_resized_in_strips_as_at_once(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    monkeypatch.setattr(preprocessing, "STRIP_PIXELS", 20_000)
    image = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (1, *size, 3), np.uint8))
    assert torch.equal(resize_in_strips(image, (256, 320)), resize_image(image, (256, 320)))
    for policy in preprocessing.POLICIES:
        preprocess = Preprocess((128, 160), policy, (0.5,) * 3, (0.25,) * 3, even_exposure=True)
        whole = preprocess(image)
        with monkeypatch.context() as patched:
            patched.setattr(preprocessing, "LARGE_PIXELS", 100)
            assert torch.equal(preprocess.of_any_size(image), whole)


def test_pairs_are_counted_in_strips_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    true = rng.choice(np.array([0, 1, 2, VOID], np.uint8), (70, 90))
    predicted = rng.integers(0, 3, (70, 90), np.uint8)
    whole = confusion.count_pairs(predicted, true, 3)
    monkeypatch.setattr(confusion, "STRIP_PIXELS", 500)
    assert (confusion.count_pairs(predicted, true, 3) == whole).all()
    assert whole.sum() == (true != VOID).sum()


def test_labels_in_strips_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.randn(3, 20, 30, generator=torch.Generator().manual_seed(0))
    whole = labels_at_size(scores, (190, 310))
    monkeypatch.setattr(validating, "GRAPH_VALUES", 10)
    assert (labels_at_size(scores, (190, 310)) == whole).mean() > 0.999  # rounding decides the rest


@pytest.fixture(scope="module")
def validations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Validation]:
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(5)
    samples = []
    for number in range(3):
        image, mask = folder / f"{number}.png", folder / f"{number}-mask.png"
        write_png(image, rng.integers(0, 256, (600, 700, 3), np.uint8))
        write_png(mask, np.repeat(np.repeat(rng.integers(0, 3, (6, 7), np.uint8), 100, 0), 100, 1))
        samples.append(Sample(str(number), image, mask))
    pairs = Pairs(samples, {}, 3, 256)
    return {
        policy: Validation(pairs, Preprocess((64, 96), policy, (0.5,) * 3, (0.25,) * 3), THREE)
        for policy in preprocessing.POLICIES
    }


def test_a_validation_is_the_same_in_parts(
    validations: dict[str, Validation], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network = build(ModelConfig("fast", "lite0", 3, pretrained=False))
    whole = validate(network, validations["stretch"])
    monkeypatch.setattr(preprocessing, "LARGE_PIXELS", 100)
    monkeypatch.setattr(validating, "GRAPH_VALUES", 100)
    monkeypatch.setattr(validating, "BATCH_MASK_PIXELS", 100)
    monkeypatch.setattr(validating, "PREVIEW_PX", 100)
    parts = validate(network, validations["stretch"], tmp_path)
    assert np.abs(parts.matrix - whole.matrix).sum() <= 0.002 * whole.matrix.sum()
    assert parts.matrix.sum() == whole.matrix.sum()
    assert parts.loss == pytest.approx(whole.loss, rel=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png", "2.png"]
    assert preview(np.zeros((600, 700), np.uint8), THREE).shape == (100, 117, 3)


def test_what_is_seen_at_its_own_scale_is_validated_in_tiles(
    validations: dict[str, Validation], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build(ModelConfig("fast", "lite0", 3, pretrained=False))
    whole = validate(network, validations["native"])
    monkeypatch.setitem(tile_plan.WHOLE_PIXELS, "native", 100_000)
    cut = validate(network, validations["native"])
    assert cut.matrix.sum() == whole.matrix.sum()
    assert cut.loss == pytest.approx(whole.loss, rel=0.1)


def test_a_pair_that_takes_much_of_the_cache_is_not_kept(validations: dict[str, Validation]) -> None:
    old = validations["stretch"].pairs
    roomy, narrow = (Pairs(old.samples, {}, 3, cache_mb) for cache_mb in (64, 4))
    for pairs in (roomy, narrow):
        assert pairs[0][0].shape == (600, 700, 3)
    assert list(roomy.kept) == [0]
    assert not narrow.kept


def test_graph_and_network_are_compared_on_the_middle_of_a_large_image() -> None:
    small = np.zeros((90, 120, 3), np.uint8)
    assert (middle_of(small) == small).all()
    large = np.zeros((PARITY_PX + 10, PARITY_PX * 2, 3), np.uint8)
    large[5, PARITY_PX // 2] = 7
    cut = middle_of(large)
    assert cut.shape == (PARITY_PX, PARITY_PX, 3)
    assert (cut[0, 0] == 7).all()


def test_what_was_learnt_in_crops_of_reduced_images_is_compared_on_whole_ones() -> None:
    """Their middle, enlarged to the network's size, would be unlike anything the network has learnt."""
    large = np.zeros((3000, 4000, 3), np.uint8)
    assert compared_part(large, "fit", in_crops=True).shape == (1500, 2000, 3)
    middle = (PARITY_PX, PARITY_PX, 3)
    assert compared_part(large, "fit", in_crops=False).shape == middle
    assert compared_part(large, "stretch", in_crops=False).shape == middle
    assert compared_part(large, "native", in_crops=True).shape == middle
