"""Labelling over REST: classes, masks from elsewhere, exports and uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving import TAB, address_of, edit_body, labelling, make_photos, png, unpack

from conftest import picture
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.server.app import create_app
from pixelwise.server.server_settings import ServerSettings


@pytest.fixture
def label_client(served_model: Any, tmp_path: Path) -> Iterator[TestClient]:
    with labelling(served_model, make_photos(tmp_path / "photos"), tmp_path / "runs") as client:
        yield client


def names(client: TestClient) -> list[str]:
    return [row["name"] for row in client.get("/v1/label").json()["classes"]]


def change(client: TestClient, **body: Any) -> Any:
    return client.post("/v1/label/classes", json=body)


def test_classes_are_added_renamed_reordered_and_locked(label_client: TestClient) -> None:
    added = change(label_client, op="add", name="<b>kerb & co</b>", colour=[1, 2, 3]).json()
    assert added["classes"][2] == {"key": 2, "name": "<b>kerb & co</b>", "colour": [1, 2, 3], "locked": False}
    assert change(label_client, op="rename", key=0, name="way").status_code == 200
    assert change(label_client, op="recolour", key=1, colour=[9, 9, 9]).status_code == 200
    assert change(label_client, op="reorder", keys=[2, 0, 1]).status_code == 200
    assert names(label_client) == ["<b>kerb & co</b>", "way", "sky"]
    assert change(label_client, op="lock", key=0, locked=True).json()["classes"][1]["locked"] is True
    place = address_of(label_client, "a.png")
    label_client.post(f"{place}/open", json=TAB)
    label_client.post(f"{place}/edits", content=edit_body(np.zeros((3, 3))))
    assert (unpack(label_client.get(f"{place}/mask").content)[1][0] == 255).all()  # a locked class gains nothing


@pytest.mark.parametrize(
    "body",
    [
        {"op": "add"}, {"op": "add", "name": "road"}, {"op": "add", "name": " "}, {"op": "rename", "key": 0},
        {"op": "rename", "key": 7, "name": "x"}, {"op": "recolour", "key": 0, "colour": [1, 2, 300]},
        {"op": "merge", "key": 0, "into": 0}, {"op": "reorder", "keys": [0]}, {"op": "delete", "key": 254},
        {"op": "explode"},
    ],
)  # fmt: skip
def test_a_change_that_makes_no_sense_changes_nothing(label_client: TestClient, body: dict[str, Any]) -> None:
    refused = label_client.post("/v1/label/classes", json=body)
    assert refused.status_code == 422
    assert refused.json()["error"]["message"]
    assert names(label_client) == ["road", "sky"]


def test_what_a_merge_and_a_deletion_touch_is_counted(label_client: TestClient) -> None:
    place = address_of(label_client, "a.png")
    label_client.post(f"{place}/open", json=TAB)
    label_client.post(f"{place}/edits", content=edit_body(np.ones((3, 4)), key=1))
    assert label_client.get("/v1/label/classes/1/use").json() == {"images": 1, "pixels": 12}
    assert label_client.get("/v1/label/classes/7/use").status_code == 422
    merged = change(label_client, op="merge", key=1, into=0).json()
    assert (merged["images"], merged["pixels"], len(merged["classes"])) == (1, 12, 1)
    keys = unpack(label_client.get(f"{place}/mask").content)[1][0]
    assert (keys[:3, :4] == 0).all()
    deleted = change(label_client, op="delete", key=0).json()
    assert (deleted["images"], deleted["pixels"], deleted["classes"]) == (1, 12, [])
    assert (unpack(label_client.get(f"{place}/mask").content)[1][0] == 255).all()


def test_masks_are_taken_over_and_exported(label_client: TestClient, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for folder in ("images", "masks"):
        (other / folder / "yard").mkdir(parents=True)
    Image.fromarray(picture(1, 70, 110)).save(other / "images/a.png")
    Image.fromarray(picture(5, 70, 110)).save(other / "images/stranger.png")
    mask = np.arange(70 * 110).reshape(70, 110).astype(np.uint8) % 2
    for name in ("a", "stranger"):
        Image.fromarray(mask).save(other / f"masks/{name}.png")
    (other / "dataset.toml").write_text('[[classes]]\nname = "sky"\nid = 0\n[[classes]]\nname = "water"\nid = 1\n')
    found = label_client.post("/v1/label/import", json={"folder": str(other)})
    assert found.status_code == 200, found.text
    assert (found.json()["images"], found.json()["pixels"]) == (1, 70 * 110)
    assert any("stranger" in told for told in found.json()["skipped"])
    assert found.json()["new_classes"] == ["water"]
    keys = {row["name"]: row["key"] for row in label_client.get("/v1/label").json()["classes"]}
    taken = unpack(label_client.get(f"{address_of(label_client, 'a.png')}/mask").content)[1][0]
    assert np.array_equal(taken, np.where(mask == 0, keys["sky"], keys["water"]))
    written = label_client.post("/v1/label/export", json={"format": "coco", "out": str(tmp_path / "coco")})
    assert written.json() == {"written": 1}
    assert sum(map(len, open_dataset(tmp_path / "coco").splits.values())) == 1
    again = label_client.post("/v1/label/export", json={"format": "coco", "out": str(tmp_path / "coco")})
    assert again.status_code in (409, 422)
    assert (
        label_client.post("/v1/label/export", json={"format": "scroll", "out": str(tmp_path / "s")}).status_code == 422
    )
    assert label_client.post("/v1/label/import", json={"folder": "/no/such"}).status_code == 422


def test_a_dataset_brings_its_masks_and_stays_as_it_is(served_model: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for folder in ("images", "masks"):
        (data / folder).mkdir(parents=True)
    for i in range(3):
        Image.fromarray(picture(i, 40, 60)).save(data / f"images/{i}.png")
        Image.fromarray(np.full((40, 60), i % 2, np.uint8)).save(data / f"masks/{i}.png")
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    with labelling(served_model, data, tmp_path / "runs", ()) as client:
        assert client.get("/v1/label").json()["importing"] is None
        assert len(names(client)) == 2
        rows = client.get("/v1/label/images").json()["images"]
        assert [row["labelled"] for row in rows] == [1.0, 1.0, 1.0]
        assert {row["state"] for row in rows} == {"started"}
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


def test_photos_are_uploaded_into_a_new_folder(
    served_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ServerSettings(runs=tmp_path / "runs", token="sesame", wait_s=120.0)
    with TestClient(create_app(served_model, settings), base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = "Bearer sesame"
        photo = png(np.ascontiguousarray(picture(1, 70, 110)))
        first = client.post("/v1/label/upload?name=../../etc/x.png", content=photo)
        assert first.status_code == 200, first.text
        assert client.post("/v1/label/upload?name=y.png", content=b"no image").status_code == 422
        rows = client.get("/v1/label/images").json()["images"]
        assert [(row["id"], row["name"], row["width"]) for row in rows] == [(first.json()["id"], "x.png", 110)]
        assert client.post(f"/v1/label/images/{rows[0]['id']}/open", json=TAB).status_code == 200
    assert (tmp_path / "labels/photos/x.png").read_bytes() == photo


def test_photos_of_a_folder_are_not_uploaded_to(label_client: TestClient) -> None:
    refused = label_client.post("/v1/label/upload?name=x.png", content=png(np.zeros((4, 4, 3), np.uint8)))
    assert refused.status_code == 422
    assert "Put the file there" in refused.json()["error"]["message"]
