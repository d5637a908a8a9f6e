"""A bundle says what its network says, on the very pixels that training shows it, or it is not written."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from conftest import picture
from pixelwise.bundle import parity
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.bundle.parity import check_parity
from pixelwise.bundle.score_margins import clearly_different
from pixelwise.errors import BundleError
from pixelwise.images.image_files import read_image
from pixelwise.model.preprocess import Preprocess, labels_from_scores, resize_image
from pixelwise.prediction.load_model import load
from pixelwise.records import Labels, Pixels, Scores
from pixelwise.scenes.render_scene import render_scene
from pixelwise.training.loader import Augmentation, augment

CAMVID = Path(__file__).parents[3] / "shared/data/camvid/val"


def agreement(bundle: Path, network: Any, images: list[Pixels]) -> float:
    """Share of pixels on which the bundle differs from the network fed as training feeds it."""
    model = load(bundle)
    preprocess = Preprocess(model.metadata.size, "stretch", network.mean, network.std, even_exposure=True)
    different = pixels = 0
    for image in images:
        # As a training view without augmentation: cut, resized, kept as uint8, normalised.
        seen = resize_image(torch.from_numpy(image)[None], model.metadata.size).to(torch.uint8)
        with torch.inference_mode():
            labels = labels_from_scores(network(preprocess.normalise(seen)), image.shape[:2])[0].numpy()
        different += int((labels != model.predict(image).labels).sum())
        pixels += labels.size
    return different / pixels


def test_training_and_bundle_see_the_same_rendered_scenes(fast_bundle: tuple[Path, Any]) -> None:
    images = [render_scene(3, index, height, width)[0] for index, (height, width) in enumerate([(120, 160), (97, 211)])]
    assert agreement(*fast_bundle, images) <= 1e-3


@pytest.mark.skipif(not CAMVID.is_dir(), reason="real CamVid is not at ../shared/data/camvid beside the repository")
def test_training_and_bundle_see_the_same_real_photos(fast_bundle: tuple[Path, Any]) -> None:
    images = [read_image(path) for path in sorted(CAMVID.glob("*.png"))[::20]]
    assert agreement(*fast_bundle, images) <= 1e-3


def test_a_whole_training_view_is_what_the_bundle_preprocesses(fast_bundle: tuple[Path, Any]) -> None:
    path, network = fast_bundle
    image = picture(4, 64, 96)
    bundle = read_bundle(path)
    proto = onnx.load_model_from_string(bundle.model)
    proto.graph.output.append(onnx.ValueInfoProto(name="stage/input"))
    ((inside,),) = load(path).open_session(proto.SerializeToString()).run(["stage/input"], {"image": image})
    how = Augmentation(bundle.metadata.size, "stretch", (1.0, 1.0), False, 0.0, 0)
    for index in range(200):  # until a view is drawn that is hardly bent
        seen, labels = augment(image, np.zeros((64, 96), np.uint8), how, 0, index)
        if (labels == 0).mean() > 0.99:
            break
    preprocess = Preprocess(bundle.metadata.size, "stretch", network.mean, network.std, even_exposure=True)
    ours = preprocess.normalise(torch.from_numpy(seen)[None].permute(0, 3, 1, 2))[0].numpy()
    assert np.abs(ours - inside)[:, 2:-2, 2:-2].mean() < 0.05


def test_a_bundle_that_disagrees_is_refused(tiny_bundle: Path) -> None:
    model = read_bundle(tiny_bundle).model
    opened = load(tiny_bundle)
    image = picture(1, 80, 70)
    assert check_parity(model, opened.engine.run, [image]).differ == 0

    def turned(pixels: Pixels) -> tuple[Labels, Scores]:
        labels, scores = opened.engine.run(pixels)
        return 2 - labels, scores[::-1]

    with pytest.raises(BundleError, match=r"is not the trained network.*train --resume"):
        check_parity(model, turned, [image])
    with pytest.raises(BundleError, match="infinite or NaN"):
        check_parity(
            model, lambda pixels: (opened.engine.run(pixels)[0], np.full((3, 4, 4), np.nan, np.float32)), [image]
        )


@pytest.mark.parametrize("range_of_scores", [1.0, 1e-3, 1e-7])
def test_labels_may_differ_where_the_scores_hardly_do(tiny_bundle: Path, range_of_scores: float) -> None:
    """A network that is of two minds everywhere: the least rounding turns half of its labels, and none is wrong."""
    model = load(tiny_bundle)
    image = picture(1, 80, 70)

    def undecided(pixels: Pixels) -> tuple[Labels, Scores]:
        labels, scores = model.engine.run(pixels)
        closer = scores * 1e-3
        closer[0, 0, 0] += 10 * np.ptp(scores)  # one place that is certain: the range of scores is as ever
        labels = labels.copy()
        labels[40:] = 2 - labels[40:]
        return labels, closer * range_of_scores

    parity = check_parity(read_bundle(tiny_bundle).model, undecided, [image])
    assert parity.differ > 0.1
    assert parity.differ_clearly < 0.01


def test_a_clear_difference_is_counted_whatever_the_scale_of_the_scores() -> None:
    scores = np.zeros((3, 4, 4), np.float32)
    scores[1, :, :2], scores[2, :, 2:] = 1, 1
    for scale in (1e3, 1.0, 1e-2):
        labels = np.repeat(np.array([[1] * 8 + [2] * 8], np.uint8), 16, axis=0)
        other = labels.copy()
        other[:, 7:9] = 3 - other[:, 7:9]  # the boundary, where both are nearly as high
        assert clearly_different(labels, other, scores * scale) <= 32
        other[0, 0] = 2
        other[1, 0] = 77  # not a class at all
        assert (
            clearly_different(labels, other, scores * scale)
            - clearly_different(labels, np.where(np.arange(16) > 2, other, labels).astype(np.uint8), scores * scale)
            == 2
        )


def test_a_doubtful_bundle_is_written_and_the_doubt_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from conftest import make_bundle

    monkeypatch.setattr(parity, "TOLERATED", -1.0)
    make_bundle(tmp_path / "m.onnx", "unet")
    assert load(tmp_path / "m.onnx").classes.names == ("sky", "road", "car")
    assert "evaluate it before you rely on it" in str(parity.Parity(0.01, 0.002, 1000).doubt)


def test_nothing_is_written_when_the_check_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from conftest import make_bundle

    monkeypatch.setattr(parity, "HOPELESS", -1.0)
    with pytest.raises(BundleError):
        make_bundle(tmp_path / "m.onnx", "unet")
    assert list(tmp_path.iterdir()) == []


def test_the_file_names_no_place_of_the_machine_that_wrote_it(tiny_bundle: Path) -> None:
    content = tiny_bundle.read_bytes()
    for path in (Path.home(), Path(__file__).parents[2], Path(torch.__file__).parent):
        assert str(path).encode() not in content


def test_the_golden_image_gives_the_golden_labels_in_any_runtime(tiny_bundle: Path) -> None:
    import onnxruntime

    bundle = read_bundle(tiny_bundle)
    session = onnxruntime.InferenceSession(str(tiny_bundle))
    (labels,) = session.run(["labels"], {"image": bundle.golden.image})
    assert (labels != bundle.golden.labels).mean() <= 1e-3  # a tie may be rounded the other way
