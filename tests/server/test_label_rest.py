"""Labelling over REST: a folder is opened, a photo is drawn on, and everything comes back as it was drawn."""

from __future__ import annotations

import errno
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving import OTHER_TAB, TAB, address_of, edit_body, labelling, make_photos, unpack
from test_rest import agrees, outline

from conftest import picture
from pixelwise.errors import OutputError
from pixelwise.server.app import create_app
from pixelwise.server.server_settings import ServerSettings


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos")


@pytest.fixture
def label_client(served_model: Any, tmp_path: Path, photos: Path) -> Iterator[TestClient]:
    with labelling(served_model, photos, tmp_path / "runs") as client:
        yield client


def test_everything_below_label_needs_the_token(served_model: Any, tmp_path: Path) -> None:
    with TestClient(create_app(served_model, ServerSettings(runs=tmp_path)), base_url="http://127.0.0.1") as client:
        for path, methods in client.get("/v1/openapi.json").json()["paths"].items():
            for method in methods if path.startswith("/v1/label") else ():
                place = path.format(image="0" * 12, level=0, column=0, row=0, key=0)
                assert client.request(method, place).status_code == 401, (method, path)


def test_nothing_is_open_at_first(client: TestClient) -> None:
    found = client.get("/v1/label").json()
    assert found["open"] is False
    assert found["photos"] is None
    refused = client.get("/v1/label/images")
    assert refused.status_code == 409
    assert refused.json()["error"]["kind"] == "label-nothing-open"
    missing = client.post("/v1/label/open", json={"folder": "/no/such/folder"})
    assert missing.status_code == 422
    assert "no such folder" in missing.json()["error"]["message"]


def test_photos_are_listed_and_a_broken_one_says_so(label_client: TestClient) -> None:
    found = label_client.get("/v1/label/images").json()
    assert found["total"] == 3
    rows = {row["name"]: row for row in found["images"]}
    assert list(rows) == ["a.png", "broken.png", "yard/b.jpg"]
    assert (rows["a.png"]["width"], rows["a.png"]["height"], rows["a.png"]["error"]) == (110, 70, None)
    assert rows["broken.png"]["width"] is None
    assert "broken.png" in rows["broken.png"]["error"]
    broken = f"/v1/label/images/{rows['broken.png']['id']}"
    for refused in (label_client.get(f"{broken}/thumbnail"), label_client.post(f"{broken}/open", json=TAB)):
        assert refused.status_code == 422
        assert refused.json()["error"]["kind"] == "photo-unreadable"
    assert label_client.get("/v1/label/images?search=YARD").json()["total"] == 1
    assert label_client.get("/v1/label/images?state=done").json()["total"] == 0
    assert len(label_client.get("/v1/label/images?limit=1&offset=1").json()["images"]) == 1
    assert label_client.get(f"/v1/label/images/{'0' * 12}/thumbnail").status_code == 404


def test_a_thumbnail_is_small_and_kept(label_client: TestClient) -> None:
    for name in ("a.png", "yard/b.jpg"):
        found = label_client.get(f"{address_of(label_client, name)}/thumbnail")
        assert found.headers["content-type"] == "image/jpeg"
        again = label_client.get(
            f"{address_of(label_client, name)}/thumbnail", headers={"If-None-Match": found.headers["etag"]}
        )
        assert again.status_code == 304
        assert again.content == b""


def test_what_is_drawn_comes_back_and_can_be_undone(label_client: TestClient, photos: Path) -> None:
    place = address_of(label_client, "a.png")
    label_client.post(f"{place}/open", json=TAB)
    values = np.arange(12).reshape(3, 4) % 2
    body = edit_body(values, 5, 6)
    first = label_client.post(f"{place}/edits", content=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    assert first.json()["undo"] == 1
    assert label_client.post(f"{place}/edits", content=body).json()["version"] == first.json()["version"]
    expected = np.full((70, 110), 255)
    expected[6:9, 5:9] = values
    header, (keys, drawn) = unpack(label_client.get(f"{place}/mask").content)
    assert header["version"] == first.json()["version"]
    assert np.array_equal(keys, expected)
    assert np.array_equal(drawn, expected != 255)
    header, (back, changed, drawn) = unpack(label_client.post(f"{place}/undo", json=TAB).content)
    assert [header[name] for name in ("x", "y", "w", "h", "undo", "redo")] == [5, 6, 4, 3, 0, 1]
    assert (back == 255).all()
    assert changed.all()
    assert not drawn.any()
    assert unpack(label_client.post(f"{place}/undo", json=TAB).content)[0]["w"] == 0
    header, (again, _, _) = unpack(label_client.post(f"{place}/redo", json=TAB).content)
    assert np.array_equal(again, values)
    assert label_client.post(f"{place}/state", json={**TAB, "state": "done"}).json() == {"state": "done"}
    label = label_client.get("/v1/label").json()
    assert label["counts"] == {"untouched": 2, "started": 0, "done": 1, "model": 0}
    assert label["seconds"] == 1.5
    assert label_client.post("/v1/label/open", json={"folder": str(photos)}).status_code == 200  # open again
    assert np.array_equal(unpack(label_client.get(f"{place}/mask").content)[1][0], expected)


def test_tiles_are_the_photo_at_every_scale(label_client: TestClient, photos: Path) -> None:
    large = picture(3, 1030, 515)
    Image.fromarray(large).save(photos / "c.png")
    label_client.post("/v1/label/open", json={"folder": str(photos)})
    place = address_of(label_client, "c.png")
    opened = label_client.post(f"{place}/open", json=TAB).json()
    assert (opened["levels"], opened["tile"]) == (3, 512)
    tiles = {
        (level, column, row): label_client.get(f"{place}/tiles/{level}/{column}/{row}")
        for level in range(3)
        for column in range(2)
        for row in range(3)
    }
    assert {key for key, tile in tiles.items() if tile.status_code == 200} == {
        *((0, column, row) for column in range(2) for row in range(3)), (1, 0, 0), (1, 0, 1), (2, 0, 0),
    }  # fmt: skip
    shown = np.asarray(Image.open(io.BytesIO(tiles[0, 0, 1].content))).astype(int)
    assert np.abs(shown - large[512:1024, :512]).mean() < 6
    assert Image.open(io.BytesIO(tiles[2, 0, 0].content)).size == (129, 258)
    grey = label_client.get(f"{place}/tiles/0/0/0?bands=1,1,1&low=0&high=128")
    assert grey.status_code == 200
    assert label_client.get(f"{place}/tiles/0/0/0?bands=0,1,7").status_code == 422


def test_a_photo_is_locked_for_others(label_client: TestClient) -> None:
    place = address_of(label_client, "a.png")
    assert label_client.post(f"{place}/open", json=TAB).status_code == 200
    assert label_client.post(f"{place}/open", json=TAB).status_code == 200  # a sign of life
    for path, body in (("open", OTHER_TAB), ("undo", OTHER_TAB), ("state", {**OTHER_TAB, "state": "done"})):
        refused = label_client.post(f"{place}/{path}", json=body)
        assert refused.status_code == 409
        assert refused.json()["error"]["kind"] == "label-locked"
    assert label_client.post(f"{place}/edits", content=edit_body(np.zeros((1, 1)), client="tab-2")).status_code == 409
    row = label_client.get("/v1/label/images?search=a.png").json()["images"][0]
    assert row["locked_by"] == label_client.get("/v1/label").json()["user"]
    label_client.post(f"{place}/close", json=TAB)
    assert label_client.post(f"{place}/open", json=OTHER_TAB).status_code == 200
    assert label_client.post(f"{place}/undo", json=TAB).status_code == 409  # no longer
    label_client.post(f"{place}/close", json={**OTHER_TAB, "perhaps": True})
    assert label_client.post(f"{place}/open", json=TAB).status_code == 409  # not yet
    label_client.post(f"{place}/close", json={**OTHER_TAB, "leaving": True})
    assert label_client.post(f"{place}/open", json=OTHER_TAB).status_code == 409  # sent before, but it came later
    assert label_client.get("/v1/label/images?search=a.png").json()["images"][0]["locked_by"] is None


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 422, "0 bytes"),
        (b"\xff\xff\xff\xff{}", 422, "header"),
        (edit_body(np.zeros((2, 2)))[:-1], 422, "but it has"),
        (edit_body(np.zeros((2, 2)), w=40_000, h=40_000), 413, "limit"),
        (edit_body(np.zeros((2, 2)), w=10**12), 413, "limit"),
        (edit_body(np.zeros((2, 2)), seconds=float("inf")), 422, "seconds"),
        (edit_body(np.zeros((2, 2)), x=-1), 422, "x"),
        (edit_body(np.zeros((2, 2)), x=109), 422, "image"),
        (edit_body(np.full((2, 2), 7)), 422, "key 7"),
        (edit_body(np.zeros((2, 2)), source="imported"), 422, "source"),
        (edit_body(np.zeros((1, 1)))[:-1] + b"\2", 422, "0 and 1"),
    ],
)
def test_a_damaged_edit_changes_nothing(label_client: TestClient, body: bytes, status: int, told: str) -> None:
    place = address_of(label_client, "a.png")
    label_client.post(f"{place}/open", json=TAB)
    refused = label_client.post(f"{place}/edits", content=body)
    assert refused.status_code == status, refused.text
    assert told in refused.json()["error"]["message"]
    assert (unpack(label_client.get(f"{place}/mask").content)[1][0] == 255).all()


def test_a_gzip_bomb_is_refused(label_client: TestClient) -> None:
    place = address_of(label_client, "a.png")
    label_client.post(f"{place}/open", json=TAB)
    bomb = gzip.compress(bytes(200_000_000), 9)
    refused = label_client.post(f"{place}/edits", content=bomb, headers={"Content-Encoding": "gzip"})
    assert refused.status_code == 413
    for damaged in (bomb[:1000], b"no gzip"):
        refused = label_client.post(f"{place}/edits", content=damaged, headers={"Content-Encoding": "gzip"})
        assert refused.status_code in (413, 422)
    assert label_client.post(f"{place}/edits", content=b"x", headers={"Content-Encoding": "br"}).status_code == 415


def test_classes_grow_and_labels_are_copied(label_client: TestClient) -> None:
    first, second = address_of(label_client, "a.png"), address_of(label_client, "yard/b.jpg")
    label_client.post(f"{first}/open", json=TAB)
    label_client.post(f"{first}/edits", content=edit_body(np.ones((4, 4)), 10, 10, key=1))
    grown = label_client.post(f"{first}/morph", json={**TAB, "operation": "grow", "key": 1, "amount": 2})
    header, (values, changed, drawn) = unpack(grown.content)
    assert header["undo"] == 2
    assert (values[changed == 1] == 1).all()
    assert (drawn[changed == 1] == 1).all()
    label_client.post(f"{second}/open", json=TAB)
    copied = label_client.post(f"{second}/copy-from", json={**TAB, "from": first.rpartition("/")[2]})
    assert copied.status_code == 200, copied.text
    of_first, of_second = (unpack(label_client.get(f"{place}/mask").content)[1][0] for place in (first, second))
    assert np.array_equal(of_first, of_second)
    assert label_client.post(f"{second}/copy-from", json={**TAB, "from": "0" * 12}).status_code == 404


def test_examples_are_what_is_answered(label_client: TestClient) -> None:
    place = address_of(label_client, "a.png")
    bodies = {"open": TAB, "state": {**TAB, "state": "done"}, "close": TAB}
    examples = {
        (method, path): content["application/json"]["example"]
        for path, methods in label_client.get("/v1/openapi.json").json()["paths"].items()
        for method, facts in methods.items()
        if path.startswith("/v1/label") and "application/json" in (content := facts["responses"]["200"]["content"])
    }
    for end in ("open", "state"):
        real = label_client.post(f"{place}/{end}", json=bodies[end])
        agrees(outline(examples["post", f"/v1/label/images/{{image}}/{end}"]), outline(real.json()), end)
    real = label_client.post(f"{place}/edits", content=edit_body(np.zeros((1, 1))))
    agrees(outline(examples["post", "/v1/label/images/{image}/edits"]), outline(real.json()), "edits")
    for path in ("/v1/label", "/v1/label/images"):
        agrees(outline(examples["get", path]), outline(label_client.get(path).json()), path)


def test_a_photo_that_cannot_be_read_is_not_locked_and_opens_once_it_is_mended(
    label_client: TestClient, photos: Path
) -> None:
    place = address_of(label_client, "broken.png")
    assert label_client.post(f"{place}/open", json=TAB).status_code == 422
    Image.fromarray(picture(4, 70, 110)).save(photos / "broken.png")
    assert label_client.post(f"{place}/open", json=OTHER_TAB).status_code == 200


@pytest.mark.parametrize(
    ("number", "status", "kind"),
    [
        (errno.ENOSPC, 507, "label-disk-full"), (errno.ENOENT, 409, "label-gone"),
        (errno.EROFS, 409, "label-read-only"), (errno.EACCES, 409, "label-read-only"),
    ],
)  # fmt: skip
def test_what_the_disk_refuses_has_an_answer_of_its_own(
    label_client: TestClient, monkeypatch: pytest.MonkeyPatch, number: int, status: int, kind: str
) -> None:
    def fails(*_: Any) -> None:
        raise OutputError("LABELS: cannot be written.") from OSError(number, "why")

    place = address_of(label_client, "a.png")
    label_client.post(f"{place}/open", json=TAB)
    monkeypatch.setattr("pixelwise.labelling.workspace.Workspace.require_folder", fails)
    refused = label_client.post(f"{place}/edits", content=edit_body(np.zeros((2, 2))))
    assert (refused.status_code, refused.json()["error"]["kind"]) == (status, kind)
    assert refused.json()["error"]["remedy"]


def test_tiles_of_other_images_are_in_false_colour(label_client: TestClient, photos: Path) -> None:
    deep = np.linspace(100, 900, 70 * 110).reshape(70, 110).astype(np.uint16)
    Image.fromarray(deep).save(photos / "deep.png")
    label_client.post("/v1/label/open", json={"folder": str(photos)})
    place = address_of(label_client, "deep.png")
    opened = label_client.post(f"{place}/open", json=TAB).json()
    assert opened["bands"]["rgb"] is False
    assert opened["bands"]["shown"] == [0, 0, 0]
    assert 100 < opened["bands"]["low"][0] < opened["bands"]["high"][0] < 900
    tile = np.asarray(Image.open(io.BytesIO(label_client.get(f"{place}/tiles/0/0/0").content)).convert("L"))
    assert tile[0, 0] < 10  # most of its values are seen: the range is its own
    assert tile[-1, -1] > 245
    windowed = label_client.get(f"{place}/tiles/0/0/0?low=800&high=900").content
    assert np.asarray(Image.open(io.BytesIO(windowed)).convert("L"))[:35].max() < 10
