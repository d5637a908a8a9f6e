"""The images of a folder on the server: rows and filters, pictures, findings, label errors, repaired copies."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import planted
from conftest import TOKEN
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.doctor.check import check
from pixelwise.doctor.fix import Decisions
from pixelwise.doctor.label_errors import SuspectedLabel
from pixelwise.errors import UsageError
from pixelwise.images.image_files import read_mask_ids, write_png
from pixelwise.server import gallery_examples
from pixelwise.server.app import create_app
from pixelwise.server.gallery.folder_job import FolderJob, JobStopped
from pixelwise.server.gallery.galleries import Galleries
from pixelwise.server.server_settings import ServerSettings

BASE = "/v1/data/scenes/gallery"


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A sound dataset with one copy in both splits, and a label error in the fourth mask."""
    root = planted.sound(tmp_path / "scenes")
    planted.FAULTS["a copy in val"][1](root)
    return root


@pytest.fixture
def asked(scenes: Path, served_model: Any, tmp_path: Path) -> Iterator[TestClient]:
    """Asks a server that was started with the dataset."""
    settings = ServerSettings(runs=tmp_path / "runs", data=(scenes,), token=TOKEN, wait_s=120.0)
    app = create_app(served_model, settings)
    with TestClient(app, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client


def until_ended(client: TestClient, kind: str) -> dict[str, Any]:
    """Wait for work."""
    while (job := client.get(BASE).json()["jobs"][kind])["state"] == "running":
        time.sleep(0.02)
    return dict(job)


def checked(client: TestClient) -> None:
    assert client.post(f"{BASE}/check").status_code == 202
    assert until_ended(client, "check")["state"] == "finished"


def rows(client: TestClient, **query: Any) -> list[dict[str, Any]]:
    return list(client.get(f"{BASE}/images", params=query).json()["images"])


def size_of(body: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(body)).size


def plant_label_errors(root: Path) -> Path:
    """Two patches of one mask, the larger first."""
    path = planted.masks(root)[3]
    mask = np.asarray(read_mask_ids(path), np.uint8).copy()
    for patch in ((slice(20, 40), slice(30, 60)), (slice(56, 70), slice(4, 20))):
        mask[patch] = (mask[patch] + 1) % 6
    write_png(path, mask)
    return path


def with_oracle(client: TestClient, oracle: planted.Oracle) -> None:
    """The served model is one that knows the sound masks."""
    client.app.state.pixelwise.galleries.models = SimpleNamespace(  # type: ignore[attr-defined]
        get=lambda name: SimpleNamespace(name="main", model=oracle), title_of=lambda name: "oracle"
    )


def test_images_are_listed_and_shown_before_they_are_checked(asked: TestClient) -> None:
    facts = asked.get(BASE).json()
    total = planted.TRAIN + planted.VAL + 1
    assert facts["total"] == total
    assert facts["counts"]["splits"] == {"train": planted.TRAIN, "val": planted.VAL + 1}
    assert not facts["checked"]
    assert [row["place"] for row in rows(asked, limit=5, offset=3)] == [3, 4, 5, 6, 7]
    assert all(row["split"] == "val" for row in rows(asked, split="val"))
    name = rows(asked)[0]["name"]
    assert rows(asked, search=name.upper()) == [rows(asked)[0]]
    for view in ("both", "image", "mask"):
        answer = asked.get(f"{BASE}/images/0/thumbnail", params={"view": view})
        assert size_of(answer.content) == (96, 72)
    same = asked.get(
        f"{BASE}/images/0/thumbnail", headers={"If-None-Match": answer.headers["etag"]}, params={"view": view}
    )
    assert same.status_code == 304
    assert asked.get(f"{BASE}/images/{total}/thumbnail").status_code == 404
    assert asked.get(f"{BASE}/findings").json()["error"]["kind"] == "check-first"


def test_nothing_outside_of_the_folder_is_read(asked: TestClient) -> None:
    assert asked.get("/v1/data/other/gallery").status_code == 404
    assert asked.get(BASE, params={"below": "../.."}).status_code == 404
    del asked.headers["Authorization"]
    assert asked.get(BASE).status_code == 401


def test_a_check_finds_what_the_command_finds_and_filters_follow(asked: TestClient, scenes: Path) -> None:
    checked(asked)
    report = check(scenes)
    found = asked.get(f"{BASE}/findings").json()
    assert [(group["kind"], group["count"]) for group in found["groups"]] == [
        (group.kind, len(group.problems)) for group in report.groups()
    ]
    assert found["sound"] == report.sound
    [kind] = {group["kind"] for group in found["groups"]}
    marked = rows(asked, finding=kind)
    assert [row["place"] for row in marked] == found["groups"][0]["places"]
    assert len(marked) + len(rows(asked, finding="none")) == asked.get(BASE).json()["total"]
    counts = asked.get(BASE).json()["counts"]
    assert counts["findings"] == {kind: len(marked)}
    assert counts["sizes"] == {"96x72": planted.TRAIN + planted.VAL + 1}
    assert len(rows(asked, size="96x72")) == counts["sizes"]["96x72"]
    assert len(rows(asked, class_id=2)) == counts["classes"]["2"]
    one = asked.get(f"{BASE}/images/0").json()
    assert abs(sum(share["share"] for share in one["shares"]) - 1) < 1e-9
    assert size_of(asked.get(f"{BASE}/images/0/pair").content)[0] > 96


def test_label_errors_are_decided_one_by_one_and_the_copy_follows(
    asked: TestClient, scenes: Path, tmp_path: Path
) -> None:
    oracle = planted.Oracle(scenes)
    path = plant_label_errors(scenes)
    wrong = np.asarray(read_mask_ids(path), np.uint8)
    with_oracle(asked, oracle)
    checked(asked)
    assert asked.post(f"{BASE}/score").status_code == 202
    until_ended(asked, "score")
    worst = rows(asked, order="worst")
    assert worst[0]["name"].endswith(path.stem)
    assert worst[0]["score"] < 1.0
    assert worst[-1]["score"] == 1.0
    assert rows(asked, score_below=worst[0]["score"] + 1e-6) == worst[:1]
    listed = asked.get(f"{BASE}/suspects").json()["suspects"]
    assert {row["place"] for row in listed} == {worst[0]["place"]}
    for view in ("image", "mask", "model"):
        assert max(size_of(asked.get(f"{BASE}/suspects/0/picture", params={"view": view}).content)) == 480
    relabelled = {"what": "relabel", "to": listed[0]["predicted"]}
    kept = asked.put(f"{BASE}/suspects/0", json=relabelled).json()
    assert kept["suspects"][0]["decision"] == relabelled
    last = len(listed) - 1
    assert last >= 1
    assert asked.put(f"{BASE}/suspects/{last}", json={"what": "keep"}).json()["decided"] == 2
    assert asked.put(f"{BASE}/suspects/{last}", json={"what": None}).json()["decided"] == 1
    asked.put(f"{BASE}/suspects/{last}", json={"what": "void"})
    assert asked.put(f"{BASE}/suspects/0", json={"what": "relabel", "to": "nothing"}).status_code == 422
    assert np.array_equal(read_mask_ids(path), wrong)  # the data stay as they are

    form = asked.get(f"{BASE}/repair").json()
    assert form["decisions"] == 2
    assert asked.post(f"{BASE}/repair", json={"answers": {"turn": "left"}}).status_code == 422
    assert asked.post(f"{BASE}/repair", json={"answers": {"drop_copies": True}}).status_code == 202
    job = until_ended(asked, "repair")
    assert job["state"] == "finished", job
    copy = tmp_path / "runs" / job["result"]["name"]
    [masks] = [p for p in (copy / "train/masks").iterdir() if p.stem == path.stem]
    mended = np.asarray(read_mask_ids(masks), np.uint8)
    true = next(labels for labels in oracle.by_pixels.values() if (labels != wrong).any() and (
        (labels == wrong).mean() > 0.8))  # fmt: skip
    x, y, width, height = listed[0]["box"]
    changed = mended != wrong
    assert changed.any()
    assert changed[y : y + height, x : x + width].any()
    assert (mended[changed] == np.where(mended[changed] == 255, 255, true[changed])).all()
    assert not [p for p in check(copy).findings.problems if p.kind == "copy-across-splits"]
    again = check(scenes, fix=tmp_path / "again", decisions=Decisions(label_decisions=kept["file"]))
    assert np.array_equal(read_mask_ids(tmp_path / "again/train/masks" / masks.name), mended)
    assert again.left_out == 0


def test_decisions_on_other_data_are_an_error(scenes: Path, tmp_path: Path) -> None:
    file = tmp_path / "decisions.jsonl"
    row = {"sample": "nowhere", "box": [0, 0, 2, 1], "labelled": "class 0", "what": "void", "to": "", "runs": [0, 2]}
    file.write_text(json.dumps(row))
    with pytest.raises(UsageError, match="no image of these data"):
        check(scenes, fix=tmp_path / "copy", decisions=Decisions(label_decisions=str(file)))
    file.write_text(json.dumps({**row, "runs": [0, 3]}))
    with pytest.raises(UsageError, match="add up"):
        check(scenes, fix=tmp_path / "copy", decisions=Decisions(label_decisions=str(file)))
    with pytest.raises(UsageError, match="only to a repaired copy"):
        check(scenes, decisions=Decisions(label_decisions=str(file)))


def test_a_person_names_the_values_of_the_masks(asked: TestClient, scenes: Path, tmp_path: Path) -> None:
    planted.rewrite(scenes, lambda mask: np.where(mask > 2, 255, 0).astype(np.uint8))
    checked(asked)
    [values] = [one for one in asked.get(f"{BASE}/repair").json()["questions"] if one["key"] == "values"]
    assert [row["value"] for row in values["values"]] == ["0", "255"]
    asked.post(f"{BASE}/repair", json={"answers": {"values": {"0": "glass", "255": "crack"}}})
    name = until_ended(asked, "repair")["result"]["name"]
    assert open_dataset(tmp_path / "runs" / name).classes.names == ("glass", "crack")
    assert asked.post(f"{BASE}/repair", json={"answers": {"values": {"0": "glass"}}}).status_code == 422


def test_photos_without_masks_are_shown(served_model: Any, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    write_png(tmp_path / "photos/a.png", np.zeros((30, 40, 3), np.uint8))
    settings = ServerSettings(runs=tmp_path / "runs", data=(tmp_path / "photos",), token=TOKEN, wait_s=120.0)
    with TestClient(
        create_app(served_model, settings), base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as client:
        facts = client.get("/v1/data/photos/gallery").json()
        assert (facts["stage"], facts["total"]) == ("photos", 1)
        assert size_of(client.get("/v1/data/photos/gallery/images/0/thumbnail").content) == (40, 30)


def test_work_stops_when_asked_to_and_says_what_went_wrong() -> None:
    def endless(job: FolderJob) -> dict[str, Any]:
        done = 0
        while True:
            done += 1
            job.progress("counting", done, 10)
            job.stop()

    job = FolderJob("check", endless, lambda: False)
    job.run()
    assert (job.state, job.done) == ("stopped", 2)

    def failing(_: FolderJob) -> dict[str, Any]:
        raise UsageError("no such class")

    failed = FolderJob("score", failing, lambda: False)
    failed.run()
    assert failed.to_json() | {"step": ""} == failed.to_json()
    assert (failed.state, failed.failure) == ("failed", "no such class")
    with pytest.raises(JobStopped):
        job.progress("counting", 3, 10)


def test_the_documented_examples_have_the_keys_of_real_answers(asked: TestClient) -> None:
    checked(asked)
    for path in ("", "/images", "/images/3", "/findings", "/suspects", "/repair"):
        documented = gallery_examples.JSON["get", gallery_examples.GALLERY + path.replace("/3", "/{place}")]
        real = asked.get(BASE + path).json()
        assert documented.keys() == real.keys(), path
        for name, value in documented.items():
            if value and real[name] and isinstance(value, list) and isinstance(value[0], dict):
                assert value[0].keys() == real[name][0].keys(), (path, name)
    known = {one.name for one in fields(SuspectedLabel)} | {"number", "place", "decision"}
    assert gallery_examples.SUSPECTS["suspects"][0].keys() == known
    assert gallery_examples.JOB.keys() == asked.get(BASE).json()["jobs"]["check"].keys()


def test_long_work_waits_while_pictures_are_asked_for(tmp_path: Path) -> None:
    galleries = Galleries(lambda: tmp_path, SimpleNamespace(), lambda: False)  # type: ignore[arg-type]
    assert not galleries.is_wanted()
    galleries.expect_pictures()
    assert galleries.is_wanted()
    looks: list[int] = []

    def is_busy() -> bool:
        looks.append(len(looks))
        return len(looks) < 4

    job = FolderJob("check", lambda _: {"looks": len(looks)}, is_busy)
    job.start()
    job.thread.join()
    assert (job.state, job.result) == ("finished", {"looks": 4})
