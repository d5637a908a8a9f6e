"""A server of a model of five bands: uploads of TIFF and NumPy files, and what the page asks about them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from serving import png

from banded import FIVE, five_image, write_tiff
from conftest import TOKEN, picture
from pixelwise.images.false_colour import false_colour
from pixelwise.prediction.load_model import Model
from pixelwise.records import VOID, Sample
from pixelwise.server.app import create_app
from pixelwise.server.responses import from_run_lengths, ranges_of
from pixelwise.server.sample_images import read_held_out
from pixelwise.server.server_settings import ServerSettings


@pytest.fixture(scope="module")
def bands_client(five_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = ServerSettings(
        runs=tmp_path_factory.mktemp("runs"), max_bytes=1_000_000, max_pixels=60_000, token=TOKEN, wait_s=120.0
    )
    with TestClient(create_app(five_model, settings), base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield client


def npy(pixels: NDArray[Any]) -> bytes:
    written = io.BytesIO()
    np.save(written, pixels)
    return written.getvalue()


def sent(client: TestClient, pixels: NDArray[Any]) -> str:
    """The name of an image that the server remembers."""
    answer = client.post("/v1/predict?answer=page", content=npy(pixels))
    assert answer.status_code == 200, answer.text
    text = answer.content[4 : 4 + int.from_bytes(answer.content[:4], "little")]
    name: str = json_of(text)["image"]
    return name


def json_of(text: bytes) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(text)
    return found


def test_tiff_and_numpy_uploads(bands_client: TestClient, five_model: Model, tmp_path: Path) -> None:
    image = five_image(3, 70, 110, missing=True)
    order = [4, 2, 0, 1, 3]
    path = write_tiff(tmp_path / "a.tif", image[:, :, order].copy(), tuple(FIVE.names[band] for band in order))
    expected = five_model.predict(image).labels
    for body in (npy(image), path.read_bytes(), npy(image.transpose(2, 0, 1))):
        answer = bands_client.post("/v1/predict", content=body)
        assert answer.status_code == 200, answer.text
        row = answer.json()
        assert np.array_equal(from_run_lengths(row["rle"], row["height"], row["width"]), expected)
    form = bands_client.post("/v1/predict", files={"image": ("a.npy", npy(image), "application/octet-stream")})
    assert form.json()["rle"] == row["rle"]


def test_pixels_without_data_are_void_everywhere(bands_client: TestClient, five_model: Model) -> None:
    image = five_image(4, 40, 60)
    image[10:20, 30:50] = np.nan
    image[0, 0, :4] = np.nan  # one band is left
    found = five_model.predict(image)
    assert (found.labels[10:20, 30:50] == VOID).all()
    assert (found.labels == VOID).sum() == 200
    assert (five_model.predict(image, tta="flip").labels == VOID).sum() == 200

    answer = bands_client.post("/v1/predict?answer=both", content=npy(image)).json()
    assert np.array_equal(from_run_lengths(answer["rle"], 40, 60), found.labels)
    with Image.open(io.BytesIO(base64.b64decode(answer["mask_png"]))) as mask:
        assert np.array_equal(np.asarray(mask), found.labels)
    here = bands_client.post("/v1/pixel?x=40&y=15", content=npy(image)).json()
    assert here["label"] is None
    assert "no data in any band" in here["sentences"][0]
    assert bands_client.post("/v1/pixel?x=0&y=0", content=npy(image)).json()["label"] in five_model.classes.names

    name = sent(bands_client, image)
    refused = bands_client.get(f"/v1/images/{name}/influence?x=40&y=15&grid=4&row=0")
    assert (refused.status_code, refused.json()["error"]["kind"]) == (422, "no-data")
    truth = np.zeros((40, 60), np.uint8)
    answer = bands_client.post(f"/v1/images/{name}/truth", content=png(truth))
    assert answer.status_code == 200, answer.text
    header = json_of(answer.content[4 : 4 + int.from_bytes(answer.content[:4], "little")])
    assert header["void_share"] == pytest.approx(200 / 2400)


def test_images_of_other_bands_are_refused_and_both_are_named(
    bands_client: TestClient, client: TestClient, tmp_path: Path
) -> None:
    answer = bands_client.post("/v1/predict", content=png(np.ascontiguousarray(picture(1, 20, 30))))
    error = answer.json()["error"]
    assert (answer.status_code, error["kind"]) == (422, "other-bands")
    assert "3 bands (red, green, blue) of uint8" in error["message"]
    assert "5 bands (blue, green, red, nir, swir) of float32" in error["message"]
    assert error["remedy"] == "Give an image with these bands, or train a model on such images."
    for body in (npy(five_image(1, 20, 30)), write_tiff(tmp_path / "a.tif", five_image(1, 20, 30)).read_bytes()):
        answer = client.post("/v1/predict", content=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["kind"]) == (422, "other-bands"), answer.text
        assert "5 bands" in error["message"]
        assert "3 bands (red, green, blue) of uint8" in error["message"]


def test_hostile_arrays_are_refused_before_they_are_decoded(bands_client: TestClient) -> None:
    objects = io.BytesIO()
    np.save(objects, np.array([[[{}] * 5]], object), allow_pickle=True)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f4", "fortran_order": False, "shape": (60_000, 60_000, 5)})
    wide = npy(np.zeros((200, 250, 5), np.uint8))  # fewer pixels than the limit, but 20 bytes each
    cases = [
        (objects.getvalue(), 415, "image-unreadable"),
        (huge.getvalue(), 413, "too-large"),
        (wide, 413, "too-large"),
        (npy(five_image(1, 20, 30))[:-7], 422, "image-damaged"),
        (b"\x93NUMPY\x01\x00\xff\xff{", 422, "image-damaged"),
        (npy(np.zeros((2, 3, 4, 5), np.float32)), 415, "image-unreadable"),
    ]
    for body, status, kind in cases:
        answer = bands_client.post("/v1/predict", content=body)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (status, kind), answer.text


def test_the_model_lists_its_bands(bands_client: TestClient, client: TestClient) -> None:
    bands = bands_client.get("/v1/model").json()["bands"]
    assert bands["names"] == list(FIVE.names)
    assert (bands["dtype"], bands["rgb"], bands["shown"]) == ("float32", False, [2, 1, 0])
    assert (bands["low"], bands["high"]) == (list(FIVE.low), list(FIVE.high))
    assert client.get("/v1/model").json()["bands"]["rgb"] is True
    content = bands_client.get("/v1/openapi.json").json()["paths"]["/v1/predict"]["post"]["requestBody"]
    assert "application/octet-stream" in content["content"]
    assert ".npy" in content["description"]


def test_pictures_of_chosen_bands_and_a_window(bands_client: TestClient) -> None:
    image = five_image(4, 60, 90, missing=True)
    name = sent(bands_client, image)

    def shown(query: str = "") -> NDArray[Any]:
        answer = bands_client.get(f"/v1/images/{name}/picture{query}")
        assert answer.status_code == 200, answer.text
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    assert np.array_equal(shown(), false_colour(image, FIVE))
    assert np.array_equal(shown("?bands=3,4,4"), false_colour(image, FIVE, (3, 4, 4)))
    assert np.array_equal(shown("?bands=3,2,1&low=0.1&high=0.3"), false_colour(image, FIVE, (3, 2, 1), (0.1, 0.3)))
    for query in ("bands=0,1,5", "bands=1,2", "low=1&high=1", "low=0", "low=nan&high=1", "bands=0,1,-1"):
        answer = bands_client.get(f"/v1/images/{name}/picture?{query}")
        assert answer.status_code == 422, query


def test_the_page_gets_the_range_of_each_band(bands_client: TestClient) -> None:
    image = five_image(4, 60, 90, missing=True)
    answer = bands_client.post("/v1/predict?answer=page", content=npy(image))
    header = json_of(answer.content[4 : 4 + int.from_bytes(answer.content[:4], "little")])
    low, high = header["ranges"][3]
    known = image[:, :, 3][np.isfinite(image[:, :, 3])]
    assert (low, high) == pytest.approx(np.percentile(known, (2, 98)), rel=1e-6)
    assert ranges_of(np.full((3, 3, 1), np.nan, np.float32)) == [[0.0, 1.0]]


def test_everything_about_an_image(bands_client: TestClient, five_model: Model) -> None:
    image = five_image(5, 60, 90, missing=True)
    name = sent(bands_client, image)
    flow = bands_client.get(f"/v1/images/{name}/flow").json()
    assert flow[0]["shape"] == [60, 90, 5]
    assert flow[1]["shape"] == [64, 96, 5]
    assert flow[0]["minimum"] == pytest.approx(float(np.nanmin(image)))
    pixel = bands_client.get(f"/v1/images/{name}/pixel?x=3&y=2").json()
    assert pixel["values"] == dict.fromkeys(FIVE.names)  # no data there
    assert pixel["sentences"][-1].startswith("Its values: blue no data, green no data")
    there = bands_client.get(f"/v1/images/{name}/pixel?x=80&y=50").json()
    assert there["values"]["nir"] == pytest.approx(float(image[50, 80, 3]))
    kinds = [row["kind"] for row in bands_client.get(f"/v1/images/{name}/diagnosis").json()]
    assert "no-data" in kinds
    assert len(bands_client.get(f"/v1/images/{name}/layers").json()) == len(five_model.metadata.stages)
    assert 0 <= bands_client.get(f"/v1/images/{name}/wrong-scale").json()["changed_share"] <= 1
    drops = bands_client.get(f"/v1/images/{name}/influence?x=80&y=50&row=3").json()["drop"]
    assert all(isinstance(drop, float) for drop in drops)
    report = bands_client.get(f"/v1/images/{name}/report?x=80&y=50")
    assert report.status_code == 200
    assert "<html" in report.text
    traced = bands_client.post("/v1/trace", content=npy(image))
    assert traced.json()["flow"][0]["shape"] == [60, 90, 5]


def test_samples_can_be_seen_and_sent_back(bands_client: TestClient, five_model: Model) -> None:
    samples = bands_client.get("/v1/samples").json()
    assert [row["name"] for row in samples] == ["golden"]  # street scenes have other bands
    golden = five_model.engine.bundle.golden.image
    seen = bands_client.get("/v1/samples/golden/image")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(seen.content))), false_colour(golden, FIVE))
    array = bands_client.get("/v1/samples/golden/image?answer=npy")
    assert np.array_equal(np.load(io.BytesIO(array.content)), golden, equal_nan=True)
    answer = bands_client.post("/v1/predict", content=array.content).json()
    labels = from_run_lengths(answer["rle"], answer["height"], answer["width"])
    assert np.array_equal(labels, five_model.predict(golden).labels)
    assert bands_client.get("/v1/judged").json() is None


def test_photos_are_answered_as_before(client: TestClient, photo: NDArray[Any]) -> None:
    answer = client.post("/v1/predict?answer=page", content=png(photo))
    header = json_of(answer.content[4 : 4 + int.from_bytes(answer.content[:4], "little")])
    assert header["ranges"] == []
    shown = client.get(f"/v1/images/{header['image']}/picture")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown.content))), photo)
    assert client.get(f"/v1/images/{header['image']}/pixel?x=1&y=1").json()["values"] == {}


def test_held_out_images_are_void_where_they_have_no_data(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", five_image(1, 40, 60, missing=True))
    (tmp_path / "a.png").write_bytes(png(np.zeros((40, 60), np.uint8)))
    sample = Sample("a", tmp_path / "a.tif", tmp_path / "a.png")
    pixels, labels = read_held_out(sample, FIVE, {}, 3)
    assert pixels.shape == (40, 60, 5)
    assert (labels[:10, :30] == VOID).all()
    assert int((labels == VOID).sum()) == 300
