"""Labelling over REST: proposals, superpixels, paths, a model that labels in advance, trainings and their curve."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving import TAB, address_of, edit_body, labelling, make_photos, unpack

from conftest import THREE
from pixelwise.labelling.stored_proposals import PhotoFacts
from pixelwise.prediction.load_model import Model
from pixelwise.server.labelling.image_worth import worth_of
from pixelwise.server.labelling.label_curve import forecast_of
from pixelwise.server.labelling.prelabel_images import differing
from pixelwise.server.run_list import Runs


@pytest.fixture
def label_client(served_model: Any, tmp_path: Path) -> Iterator[TestClient]:
    with labelling(served_model, make_photos(tmp_path / "photos"), tmp_path / "runs", THREE.names) as client:
        yield client


def wait_until(is_so: Callable[[], bool]) -> None:
    """Until it is so; the test's own time limit ends it otherwise."""
    while not is_so():
        time.sleep(0.05)


def finished_run(client: TestClient, bundle: Path, name: str = "labels-1", images: int = 10, miou: float = 0.5) -> None:
    """A run as if a training on the labels had ended."""
    run = Path(client.app.state.pixelwise.runs.root) / name  # type: ignore[attr-defined]
    run.mkdir(parents=True)
    shutil.copy(bundle, run / "model.onnx")
    events = [{"event": "data", "pairs": {"train": images}}, {"event": "epoch", "epoch": 1, "miou": miou}]
    (run / "trace.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    folder = client.get("/v1/label").json()["out"]
    labels = {"images": images, "seconds": 60.0 * images, "keys": {name: key for key, name in enumerate(THREE.names)}}
    (run / "page.json").write_text(json.dumps({"request": {"folder": str(Path(folder).resolve()), "labels": labels}}))


def test_strokes_become_a_proposal_that_leaves_them_alone(label_client: TestClient) -> None:
    place = address_of(label_client, "a.png")
    label_client.post(f"{place}/open", json=TAB)
    window = {"x": 10, "y": 5, "w": 64, "h": 48}
    header, (labels, confidence) = unpack(label_client.post(f"{place}/propose", json={**TAB, "window": window}).content)
    assert header["window"] == window
    assert (labels == 255).all()  # nothing is drawn, and there is no model
    label_client.post(f"{place}/edits", content=edit_body(np.zeros((4, 8)), 12, 8, edit_id="a"))
    label_client.post(f"{place}/edits", content=edit_body(np.ones((4, 8)), 50, 40, edit_id="b", key=1))
    header, (labels, confidence) = unpack(label_client.post(f"{place}/propose", json={**TAB, "window": window}).content)
    assert labels.shape == confidence.shape == (48, 64)
    assert header["source"] == "assistant"
    assert header["version"] == 2
    assert (labels[3:7, 2:10] == 255).all()
    assert set(np.unique(labels)) <= {0, 1, 255}
    assert (labels != 255).sum() > 2000
    least = header["least_sure"]
    assert 10 <= least["x"] <= least["x"] + least["w"] <= 74
    label_client.post("/v1/label/classes", json={"op": "lock", "key": 1, "locked": True})
    _, (labels, _) = unpack(label_client.post(f"{place}/propose", json={**TAB, "window": window}).content)
    assert set(np.unique(labels)) == {0, 255}
    outside = {"x": 500, "y": 0, "w": 9, "h": 9}
    assert label_client.post(f"{place}/propose", json={**TAB, "window": outside}).status_code == 422


def test_a_newer_request_replaces_one_that_waits(label_client: TestClient) -> None:
    assistant = label_client.app.state.pixelwise.labelling.assistant  # type: ignore[attr-defined]
    first, other = assistant.ticket("a", "tab-1"), assistant.ticket("a", "tab-2")
    second = assistant.ticket("a", "tab-1")
    with pytest.raises(Exception, match="newer"):
        first()
    other()
    second()


def test_superpixels_and_paths(label_client: TestClient) -> None:
    place = address_of(label_client, "a.png")
    window = {"x": 8, "y": 4, "w": 50, "h": 40}
    answer = label_client.post(f"{place}/superpixels", json={**TAB, "window": window, "size": 10})
    header, (numbers,) = unpack(answer.content)
    assert header["window"] == window
    assert numbers.shape == (40, 50)
    assert numbers.dtype == np.uint16
    assert len(np.unique(numbers)) > 5
    found = label_client.post(f"{place}/path", json={**TAB, "anchor": {"x": 5, "y": 9}, "target": {"x": 90, "y": 40}})
    points = found.json()["points"]
    assert points[0] == [5, 9]
    assert points[-1] == [90, 40]
    outside = label_client.post(f"{place}/path", json={**TAB, "anchor": {"x": 5, "y": 9}, "target": {"x": 900, "y": 4}})
    assert outside.status_code == 422


def test_a_model_labels_in_advance_and_is_compared(
    label_client: TestClient, fast_bundle: tuple[Path, Any], served_model: Model
) -> None:
    finished_run(label_client, fast_bundle[0])
    place = address_of(label_client, "a.png")
    label_client.post(f"{place}/open", json=TAB)
    label_client.post(f"{place}/edits", content=edit_body(np.full((10, 10), 1), key=1))
    chosen = label_client.post("/v1/label/assistant", json={"model": "labels-1"})
    assert chosen.json()["assistant"]["model"] == "labels-1", chosen.text
    wait_until(lambda: label_client.get("/v1/label").json()["assistant"]["waiting"] == 0)
    found = label_client.get("/v1/label").json()
    assert [told for told in found["assistant"]["failed"] if "broken.png" in told]
    assert found["counts"] == {"untouched": 1, "started": 1, "done": 0, "model": 1}
    rows = {row["name"]: row for row in label_client.get("/v1/label/images?order=worth").json()["images"]}
    assert next(iter(rows)) == "yard/b.jpg"
    assert rows["yard/b.jpg"]["worth"] > 0
    assert rows["a.png"]["worth"] is None  # labelled already
    labels = unpack(label_client.get(f"{place}/mask").content)[1][0]
    pixels = np.asarray(Image.open(photo_path(label_client, "a.png")))
    predicted = served_model.predict(pixels).labels
    expected = float((predicted[labels != 255] != 1).mean())
    assert rows["a.png"]["disagreement"] == pytest.approx(expected)
    other = address_of(label_client, "yard/b.jpg")
    header, (proposed, confidence) = unpack(label_client.post(f"{other}/propose", json=TAB).content)
    assert header["source"] == "model"
    assert confidence.min() > 255 // 4
    photo = label_client.app.state.pixelwise.labelling.opened.raster(other.rpartition("/")[2])  # type: ignore[attr-defined]
    assert np.array_equal(proposed, served_model.predict(photo).labels)
    none = label_client.post("/v1/label/assistant", json={"model": ""}).json()
    assert none["assistant"]["model"] == ""
    assert label_client.post("/v1/label/assistant", json={"model": "nowhere"}).status_code == 404


def photo_path(client: TestClient, name: str) -> Path:
    return Path(client.get("/v1/label").json()["photos"]) / name


def test_a_model_of_other_classes_does_not_assist(
    served_model: Any, fast_bundle: tuple[Path, Any], tmp_path: Path
) -> None:
    with labelling(served_model, make_photos(tmp_path / "more"), tmp_path / "runs2", ("moss",)) as client:
        finished_run(client, fast_bundle[0])
        run = Path(client.app.state.pixelwise.runs.root) / "labels-1"  # type: ignore[attr-defined]
        (run / "page.json").unlink()
        refused = client.post("/v1/label/assistant", json={"model": "labels-1"})
        assert refused.status_code == 422
        assert "moss" in refused.json()["error"]["message"]


def test_the_model_that_assisted_does_so_again(label_client: TestClient, fast_bundle: tuple[Path, Any]) -> None:
    finished_run(label_client, fast_bundle[0])
    label_client.post("/v1/label/assistant", json={"model": "labels-1"})
    folder = label_client.get("/v1/label").json()["out"]
    again = label_client.post("/v1/label/open", json={"folder": folder}).json()
    assert again["assistant"]["model"] == "labels-1"
    (Path(label_client.app.state.pixelwise.runs.root) / "labels-1/model.onnx").unlink()  # type: ignore[attr-defined]
    label_client.app.state.pixelwise.models.forget_runs()  # type: ignore[attr-defined]
    without = label_client.post("/v1/label/open", json={"folder": folder}).json()
    assert without["assistant"]["model"] == ""
    assert any("labels-1" in note for note in without["notes"])


def test_the_encoder_ranks_where_there_is_no_model(label_client: TestClient) -> None:
    wait_until(lambda: label_client.get("/v1/label/images?order=worth").json()["images"][0]["worth"] is not None)


def test_worth_prefers_what_is_unlike_the_labelled() -> None:
    far, near = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    facts = {
        "done": PhotoFacts("m", 1.0, near), "alike": PhotoFacts("m", 0.9, near), "other": PhotoFacts("m", 0.5, far),
        "of another model": PhotoFacts("n", 0.5, np.ones(3)),
    }  # fmt: skip
    found = worth_of(facts, {"done"})
    assert set(found) == {"alike", "other"}
    assert found["other"] > found["alike"]
    assert worth_of({}, set()) == {}


def test_disagreement_counts_only_what_a_person_drew() -> None:
    keys, drawn = np.array([[0, 1, 255, 1]], np.uint8), np.array([[1, 1, 0, 2]], np.uint8)
    assert differing(np.array([[0, 0, 0, 0]], np.uint8), keys, drawn) == 0.5
    assert differing(keys, np.full_like(keys, 255), drawn) is None


def test_a_training_needs_labels_and_becomes_a_run(label_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(Runs, "launch", lambda _, name, request: launched.append((name, request)))
    monkeypatch.setattr(Runs, "require_free", lambda _: None)
    few = label_client.post("/v1/label/train", json={"budget": "10m"})
    assert few.status_code == 409
    assert few.json()["error"]["kind"] == "label-too-few"
    for key, name in enumerate(("a.png", "yard/b.jpg")):
        place = address_of(label_client, name)
        label_client.post(f"{place}/open", json=TAB)
        label_client.post(f"{place}/edits", content=edit_body(np.full((9, 9), key), key=key))
    assert label_client.post("/v1/label/train", json={"budget": "a while"}).status_code == 422
    assert label_client.post("/v1/label/train", json={"budget": "10m"}).json() == {"run": "labels-1"}
    name, request = launched[0]
    assert name == "labels-1"
    assert request["budget"] == "10m"
    assert request["folder"] == label_client.get("/v1/label").json()["out"]
    assert request["labels"]["images"] == 2
    assert request["labels"]["seconds"] == 3.0
    masks = Path(request["folder"]) / "masks"
    assert {path.name for path in masks.rglob("*.png")} == {"a.png", "b.png"}  # on disk before it begins


def test_the_curve_grows_with_the_labels(label_client: TestClient, fast_bundle: tuple[Path, Any]) -> None:
    assert label_client.get("/v1/label/curve").json() == {"points": [], "forecast": None}
    for number, images in enumerate((10, 20, 40), 1):
        finished_run(label_client, fast_bundle[0], f"labels-{number}", images, 0.4 + images / 200)
    found = label_client.get("/v1/label/curve").json()
    assert [(point["images"], point["minutes"]) for point in found["points"]] == [(10, 10), (20, 20), (40, 40)]
    assert [point["miou"] for point in found["points"]] == pytest.approx([0.45, 0.5, 0.6])
    forecast = found["forecast"]
    assert forecast["images"] == 50
    assert forecast["low"] <= forecast["miou"] <= forecast["high"]
    assert forecast_of([(10, 0.4), (20, 0.5)]) is None


def test_strokes_of_a_labelled_photo_help_with_the_others_after_a_restart(label_client: TestClient) -> None:
    place = address_of(label_client, "a.png")
    label_client.post(f"{place}/open", json=TAB)
    label_client.post(f"{place}/edits", content=edit_body(np.zeros((4, 8)), 12, 8, edit_id="a"))
    label_client.post(f"{place}/edits", content=edit_body(np.ones((4, 8)), 50, 40, edit_id="b", key=1))
    label_client.post("/v1/label/open", json={"folder": label_client.get("/v1/label").json()["out"]})
    assistant = label_client.app.state.pixelwise.labelling.assistant  # type: ignore[attr-defined]
    wait_until(lambda: assistant.background.progress.waiting == 0)
    assert list(assistant.plain.memory.kept) == [place.rpartition("/")[2]]
    other = address_of(label_client, "yard/b.jpg")
    _, (labels, _) = unpack(label_client.post(f"{other}/propose", json=TAB).content)
    assert (labels != 255).all()


def test_a_click_finds_an_object_and_a_second_one_keeps_to_it(label_client: TestClient) -> None:
    photos = Path(label_client.get("/v1/label").json()["photos"])
    image = np.full((120, 160, 3), 60, np.uint8)
    image[40:80, 50:110] = (200, 180, 40)
    Image.fromarray(image).save(photos / "object.png")
    label_client.post("/v1/label/open", json={"folder": str(photos)})
    place = address_of(label_client, "object.png")
    assert label_client.get("/v1/label").json()["assistant"]["click_model"] is False
    points = [{"x": 80, "y": 60, "positive": True}]
    header, (mask,) = unpack(label_client.post(f"{place}/click", json={**TAB, "points": points}).content)
    found = np.zeros((120, 160), bool)
    found[header["y"] : header["y"] + header["h"], header["x"] : header["x"] + header["w"]] = mask
    expected = np.zeros((120, 160), bool)
    expected[40:80, 50:110] = True
    assert (found & expected).sum() / (found | expected).sum() > 0.8
    points.append({"x": 5, "y": 5, "positive": False})
    header, (mask,) = unpack(label_client.post(f"{place}/click", json={**TAB, "points": points}).content)
    assert mask[60 - header["y"], 80 - header["x"]] == 1
    for wrong in ([{"x": 5, "y": 5, "positive": False}], [{"x": 500, "y": 5}]):
        assert label_client.post(f"{place}/click", json={**TAB, "points": wrong}).status_code == 422
