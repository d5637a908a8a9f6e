"""The label page shows where a photo's file declares no data, and nothing is proposed there."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from serving import TAB, address_of, edit_body, labelling, unpack
from test_label_assistant import finished_run, wait_until

from conftest import THREE, picture
from pixelwise.images.false_colour import NO_DATA
from pixelwise.prediction.load_model import Model

tifffile: Any = pytest.importorskip("tifffile")
HEIGHT, WIDTH = 72, 112
KINDS = ["rgb", "grey", "16 bits", "four bands", "channels"]


def empty() -> NDArray[np.bool_]:
    absent = np.zeros((HEIGHT, WIDTH), np.bool_)
    absent[:, :32] = absent[48:, 80:] = True
    return absent


def write(path: Path, pixels: NDArray[Any]) -> None:
    several = pixels.ndim > 2
    how: dict[str, Any] = {"planarconfig": "contig"} if several else {}
    shown = "rgb" if several and pixels.shape[2] == 3 and pixels.dtype == np.uint8 else "minisblack"
    tifffile.imwrite(path, pixels, photometric=shown, metadata=None, extratags=[(42113, 2, 0, "0", True)], **how)


def photos_of(kind: str, folder: Path) -> Path:
    """A folder with one photo of a kind, a.tif or what it is called."""
    pixels: Any = picture(1, HEIGHT, WIDTH).clip(1)
    pixels[empty()] = 0
    pixels[60:64, 40:60, 0] = 0  # a band alone
    folder.mkdir()
    if kind == "channels":
        (folder / "masks").mkdir()
        for number in range(3):
            for place, band in enumerate(("red", "green", "blue")):
                (folder / "images" / band).mkdir(parents=True, exist_ok=True)
                write(folder / "images" / band / f"s{number}.tif", pixels[:, :, place])
            mask = np.full((HEIGHT, WIDTH), 255, np.uint8)  # sparse labels
            mask[20:24, 44:48], mask[20:24, 54:58] = 0, 1
            Image.fromarray(mask).save(folder / "masks" / f"s{number}.png")
        return folder
    kinds = {
        "rgb": pixels,
        "grey": pixels[:, :, 1],
        "16 bits": pixels[:, :, 1].astype(np.uint16) * 200,
        "four bands": np.concatenate([pixels, pixels[:, :, 1:2]], axis=2),
    }
    write(folder / "a.tif", kinds[kind])
    return folder


@pytest.fixture(params=KINDS)
def client(request: Any, served_model: Model, tmp_path: Path) -> Iterator[TestClient]:
    photos = photos_of(request.param, tmp_path / "photos")
    with labelling(served_model, photos, tmp_path / "runs", THREE.names) as opened:
        yield opened


def first_place(client: TestClient) -> str:
    return f"/v1/label/images/{client.get('/v1/label/images').json()['images'][0]['id']}"


def test_it_is_striped_and_other_pixels_look_as_they_are(client: TestClient) -> None:
    place = first_place(client)
    client.post(f"{place}/open", json=TAB)
    answer = client.get(f"{place}/tiles/0/0/0")
    assert answer.status_code == 200, answer.text
    shown = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), np.int16)
    striped = np.asarray(NO_DATA, np.int16)[np.arange(WIDTH) // 4 % 2]
    off = np.abs(shown - striped[None, :, None]).max(axis=2)
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[8:-8, 8:24] = True  # away from edges, where a JPEG rings
    assert off[inside].max() < 16
    assert np.ptp(shown[8:-8, 40:72].reshape(-1, 3), axis=0).max() > 60  # a picture
    small = Image.open(io.BytesIO(client.get(f"{place}/thumbnail").content)).convert("RGB")
    assert np.abs(np.asarray(small, np.int16)[8:-8, 8:24] - striped[None, 8:24, None]).max() < 24


def test_no_proposal_and_no_object_covers_it(client: TestClient) -> None:
    place = first_place(client)
    client.post(f"{place}/open", json=TAB)
    client.post(f"{place}/edits", content=edit_body(np.zeros((6, 12)), 36, 8, edit_id="a"))
    client.post(f"{place}/edits", content=edit_body(np.ones((6, 12)), 60, 40, edit_id="b", key=1))
    header, (labels, _) = unpack(client.post(f"{place}/propose", json=TAB).content)
    assert (labels[empty()] == 255).all()
    assert (labels[~empty()] != 255).sum() > 1000
    least = header["least_sure"]
    assert not empty()[least["y"] : least["y"] + least["h"], least["x"] : least["x"] + least["w"]].any()
    for x, y in ((60, 20), (90, 60)):
        points = [{"x": x, "y": y, "positive": True}]
        header, (mask,) = unpack(client.post(f"{place}/click", json={**TAB, "points": points}).content)
        y, x, (h, w) = header["y"], header["x"], mask.shape
        assert not (empty()[y : y + h, x : x + w] & mask.astype(bool)).any()


def test_a_model_labels_nothing_there_in_advance(
    served_model: Model, fast_bundle: tuple[Path, Any], tmp_path: Path
) -> None:
    photos = photos_of("rgb", tmp_path / "photos")
    with labelling(served_model, photos, tmp_path / "runs", served_model.classes.names) as client:
        finished_run(client, fast_bundle[0])
        place = address_of(client, "a.tif")
        client.post(f"{place}/open", json=TAB)
        pixels = np.ascontiguousarray(tifffile.imread(photos / "a.tif"))
        expected = served_model.predict(pixels).labels
        chosen = client.post("/v1/label/assistant", json={"model": "labels-1"})
        assert chosen.status_code == 200, chosen.text
        wait_until(lambda: client.get("/v1/label").json()["assistant"]["waiting"] == 0)
        header, (labels, _) = unpack(client.post(f"{place}/propose", json=TAB).content)
        assert header["source"] == "model"
        assert np.array_equal(labels == 255, empty())
        assert np.array_equal(labels[~empty()], expected[~empty()])
