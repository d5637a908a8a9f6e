"""Bundles for images of other bands than red, green and blue: float32 with missing values, uint8, a single band."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from conftest import make_bundle, picture

torch = pytest.importorskip("torch", reason="bundles are made with torch; install pixelwise[train]")

from pixelwise.bundle.bundle_file import read_bundle  # noqa: E402
from pixelwise.bundle.golden_image import MOST_VALUES, shrink  # noqa: E402
from pixelwise.errors import BundleError, UsageError  # noqa: E402
from pixelwise.model.preprocess import Preprocess, labels_from_scores, scaled  # noqa: E402
from pixelwise.prediction.load_model import load  # noqa: E402
from pixelwise.records import RGB, Bands, Raster  # noqa: E402

FIVE = Bands(
    ("blue", "green", "red", "nir", "swir"), "float32", (-0.1, 0.0, 0.0, 100.0, -1e4), (0.4, 0.5, 0.6, 4000.0, 1e4)
)
FOUR = Bands(("red", "green", "blue", "nir"), "uint8", (0.0,) * 4, (255.0,) * 4)
GREY = Bands(("band 1",), "float32", (310.0,), (41_000.0,))


def image_of(bands: Bands, seed: int, height: int, width: int) -> Raster:
    """A smooth image across the bands' ranges; float32 with a hole without data, and infinite pixels."""
    coarse = np.random.default_rng(seed).random((5, 6, len(bands))).astype(np.float32)
    unit = np.dstack([cv2.resize(coarse[:, :, band], (width, height)) for band in range(len(bands))])
    low, high = np.array(bands.low), np.array(bands.high)
    values = low + unit * (high - low) * 1.4 - 0.2 * (high - low)
    if bands.dtype == "uint8":
        return values.clip(0, 255).astype(np.uint8)
    if bands == GREY:  # 16 bits
        return values.clip(0, 65535).round().astype(np.float32)
    values[height // 3 : height // 2, : width // 4, seed % len(bands)] = np.nan
    values[0, 0], values[0, 1], values[0, 2] = np.inf, -np.inf, 3e38
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def banded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any, Bands]]:
    """Bundles of the three kinds, and their torch networks."""
    made = {}
    for name, bands, network, policy in (
        ("five", FIVE, "unet", "stretch"), ("four", FOUR, "unet", "fit"), ("grey", GREY, "unet", "native"),
    ):  # fmt: skip
        path = tmp_path_factory.mktemp("banded") / f"{name}.onnx"
        images = [image_of(bands, seed, 90, 120) for seed in range(2)]
        made[name] = path, make_bundle(path, network, policy=policy, bands=bands, images=images), bands
    return made


@pytest.mark.parametrize("name", ["five", "four", "grey"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_bundle_labels_images_of_its_bands_as_torch_does(
    banded: dict[str, tuple[Path, Any, Bands]], name: str, engine: str
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino", reason="install pixelwise[openvino]")
    path, network, bands = banded[name]
    model = load(path, engine=engine)
    assert model.metadata.bands == bands
    policy: Any = model.metadata.policy
    preprocess = Preprocess(model.metadata.size, policy, network.mean, network.std, True, bands)
    for seed, (height, width) in enumerate([(90, 120), (61, 143)]):
        image = image_of(bands, seed, height, width)
        with torch.inference_mode():
            scores = network(preprocess(torch.from_numpy(image)[None]))
            expected = labels_from_scores(scores, (height, width))[0].numpy()
        prediction = model.predict(image)
        assert (prediction.labels != expected).mean() <= 2e-3
        assert len(np.unique(expected)) > 1
        assert np.isfinite(prediction.scores).all()


def test_a_model_takes_integers_of_any_depth_as_their_values(banded: dict[str, tuple[Path, Any, Bands]]) -> None:
    path, _, bands = banded["grey"]
    model, image = load(path), image_of(bands, 3, 50, 70)
    expected = model.predict(image).labels
    assert (model.predict(image.astype(np.uint16)).labels == expected).all()
    assert (model.predict(image[:, :, 0].astype(np.uint16)).labels == expected).all()


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("five", np.zeros((9, 9, 3), np.uint8), r"uint8 \[9, 9, 3\]; expected float32 \[H, W, 5\].*blue, green"),
        ("five", np.zeros((5, 9, 9), np.float32), r"Channels come last"),
        ("five", np.zeros((9, 9, 7), np.float32), r"Select the model's bands"),
        ("five", np.zeros((9, 9, 5), complex), r"complex128"),
        ("four", np.zeros((9, 9, 4), np.uint16), r"uint16 \[9, 9, 4\]; expected uint8 \[H, W, 4\]"),
    ],
)  # fmt: skip
def test_an_array_of_other_bands_is_an_error_that_names_both(
    banded: dict[str, tuple[Path, Any, Bands]], name: str, image: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load(banded[name][0]).predict(image)


def test_only_bundles_of_other_bands_have_the_newer_format(
    banded: dict[str, tuple[Path, Any, Bands]], tiny_bundle: Path
) -> None:
    for path, written, entry in ((tiny_bundle, "1", False), (banded["four"][0], "2", True)):
        props = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
        assert props["pixelwise.format"] == written
        assert ("pixelwise.bands" in props) == entry
    assert read_bundle(tiny_bundle).metadata.bands == RGB


def test_the_golden_image_keeps_every_value(banded: dict[str, tuple[Path, Any, Bands]]) -> None:
    path, _, bands = banded["five"]
    golden = read_bundle(path).golden.image
    assert golden.dtype == np.float32
    assert np.isnan(golden).any()
    assert np.array_equal(golden, image_of(bands, 0, 90, 120), equal_nan=True)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"names": ["a", "b", "a", "d", "e"]}, r"bands.names\[2\] is 'a'; expected a name that no other band has"),
        ({"names": ["a"]}, r"bands.low is .* expected a list of 1"),
        ({"names": []}, "bands.names is"),
        ({"dtype": "float64"}, "bands.dtype is 'float64'; expected uint8 or float32"),
        ({"dtype": "uint8"}, "input image should be uint8"),
        ({"low": [0, 0, 0, 0, "x"]}, r"bands.low\[4\] is 'x'"),
        ({"high": [0.4, 0.5, 0.6, 100.0, 1e4]}, r"bands.high\[3\] is 100.0; expected more than its low value"),
        ({"high": [0.4, 0.5, 0.6, 1e31, 1e4]}, r"bands.high\[3\] is 1e\+31"),
        (None, "pixelwise.bands is missing"),
    ],
)
def test_a_damaged_entry_of_bands_is_an_error(
    banded: dict[str, tuple[Path, Any, Bands]], tmp_path: Path, entry: Any, message: str
) -> None:
    changed = with_bands(banded["five"][0], tmp_path, None if entry is None else {**FIVE.to_json(), **entry})
    with pytest.raises(BundleError, match=message):
        read_bundle(changed)


def test_bands_in_a_bundle_of_the_first_format_are_an_error(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"bands is .* expected none in format 1"):
        read_bundle(with_bands(tiny_bundle, tmp_path, FOUR.to_json()))


def packed(size: int) -> str:
    return base64.b64encode(zlib.compress(bytes(size))).decode()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"image_shape": [2000, 1, 5]}, r"golden.image_shape\[0\] is 2000; expected a whole number, 1 … 1024"),
        ({"image_shape": [90, 120, 4]}, "golden.image_shape is .* expected 5 bands"),
        ({"image_shape": None}, "golden.image_shape is missing; expected a list of 3"),
        ({"image_zlib": packed(10**8)}, "golden.image_zlib is '216001 bytes or more'; expected 216000 bytes"),
        ({"image_zlib": packed(100)}, "golden.image_zlib is '100 bytes'; expected 216000 bytes"),
        ({"image_zlib": "AAAA"}, "golden.image_zlib cannot be decompressed"),
        ({"image_zlib": "ä"}, "golden.image_zlib is not base64"),
        ({"image_shape": [9, 9, 5], "image_zlib": packed(1620)}, "golden.labels_png is"),
    ],
)
def test_a_damaged_golden_image_is_an_error(
    banded: dict[str, tuple[Path, Any, Bands]], tmp_path: Path, entries: dict[str, Any], message: str
) -> None:
    model = onnx.load(banded["five"][0])
    props = {prop.key: prop.value for prop in model.metadata_props}
    golden = {**json.loads(props["pixelwise.golden"]), **entries}
    onnx.helper.set_model_props(model, {**props, "pixelwise.golden": json.dumps(golden)})
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(BundleError, match=message):
        read_bundle(tmp_path / "changed.onnx")


def test_the_golden_image_of_many_bands_stays_small() -> None:
    shrunk = shrink(np.zeros((127, 127, 400), np.float32))
    assert shrunk.size <= MOST_VALUES
    assert shrunk.shape[2] == 400


def with_bands(bundle: Path, folder: Path, entry: Any) -> Path:
    """A copy of a bundle with another entry of bands, or without one."""
    model = onnx.load(bundle)
    kept = {prop.key: prop.value for prop in model.metadata_props if prop.key != "pixelwise.bands"}
    if entry is not None:
        kept["pixelwise.bands"] = json.dumps(entry)
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, folder / "changed.onnx")
    return folder / "changed.onnx"


def test_values_are_scaled_by_their_bands_range_and_missing_ones_lie_in_its_middle() -> None:
    bands = Bands(("a", "b"), "float32", (100.0, -1.0), (300.0, 1.0))
    values = torch.tensor([[[100.0, -1.0], [300.0, 1.0], [200.0, 0.0], [float("nan"), float("inf")], [1e38, -1e38]]])
    expected = [[[0.0, 0.0], [255.0, 255.0], [127.5, 127.5], [127.5, 127.5], [383.0, -128.0]]]
    assert scaled(values, bands).tolist() == expected
    assert scaled(torch.tensor([[[200, 0]]], dtype=torch.uint16), bands).tolist() == [[[127.5, 127.5]]]


def test_rgb_is_scaled_by_nothing() -> None:
    image = torch.from_numpy(picture(1, 8, 9))
    assert scaled(image, RGB) is image
