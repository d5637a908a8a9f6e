"""A bundle says what its network says, on the very pixels that training shows it, or it is not written."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from conftest import picture
from pixelwise.bundle import parity
from pixelwise.bundle.format import read_bundle
from pixelwise.bundle.parity import check_parity
from pixelwise.data.images import read_image
from pixelwise.data.loader import Augmentation, augment
from pixelwise.data.scenes import render_scene
from pixelwise.errors import BundleError
from pixelwise.model.preprocess import Preprocess, labels_from_scores, resize_image
from pixelwise.prediction.image import load
from pixelwise.records import Pixels

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
    labels = load(tiny_bundle)
    image = picture(1, 80, 70)
    assert check_parity(model, lambda pixels: labels.predict(pixels).labels, [image]) == 0
    with pytest.raises(BundleError, match="disagrees with the network"):
        check_parity(model, lambda pixels: 2 - labels.predict(pixels).labels, [image])


def test_nothing_is_written_when_the_check_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from conftest import make_bundle

    monkeypatch.setattr(parity, "TOLERATED", -1.0)
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
