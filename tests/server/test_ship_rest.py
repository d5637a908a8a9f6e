"""The Ship room over REST: jobs are processes of their own, and touch nothing but what the server was given."""

from __future__ import annotations

import io
import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from conftest import TOKEN, picture
from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.images.image_files import decode_mask_ids, write_png
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.web_export import BUILT
from pixelwise.server.app import create_app
from pixelwise.server.server_settings import ServerSettings


@pytest.fixture
def shipping(served_model: Model, tmp_path: Path) -> Iterator[TestClient]:
    """Asks a server that was started with a folder of two photos, one in a folder of its own."""
    (tmp_path / "photos/yard").mkdir(parents=True)
    for name in ("one.png", "yard/two.png"):
        write_png(tmp_path / "photos" / name, np.ascontiguousarray(picture(3, 60, 80)))
    settings = ServerSettings(runs=tmp_path / "runs", data=(tmp_path / "photos",), token=TOKEN)
    with TestClient(create_app(served_model, settings), base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield client


def ended(client: TestClient, number: str) -> dict[str, Any]:
    """A job once it has ended."""
    deadline = time.monotonic() + 240
    while (job := next(j for j in client.get("/v1/ship/jobs").json() if j["number"] == number))["state"] == "running":
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    return job


def test_a_folder_is_labelled_as_predict_labels_it(shipping: TestClient, served_model: Model, tmp_path: Path) -> None:
    new = {"work": "label", "data": "photos", "below": "yard"}
    job = shipping.post("/v1/ship/jobs", json=new)
    assert job.status_code == 201, job.text
    refused = shipping.post("/v1/ship/jobs", json=new)
    assert refused.status_code in (201, 409)  # the first may have ended
    done = ended(shipping, job.json()["number"])
    assert (done["state"], done["result"]["images"], done["shown"]) == ("finished", 1, "photos/yard"), done
    file = shipping.get(f"/v1/ship/jobs/{done['number']}/file")
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        labels = decode_mask_ids(archive.read("two.png"), "two.png")
    assert np.array_equal(labels, served_model.predict(tmp_path / "photos/yard/two.png").labels)
    assert not list((tmp_path / "photos").rglob("*.jsonl"))  # the photos' folder is only read


@pytest.mark.skipif(not (BUILT / "standalone.html").is_file(), reason="the page is not built: python hatch_build.py")
def test_a_web_page_is_made_downloaded_and_removed(shipping: TestClient, served_model: Model, tmp_path: Path) -> None:
    number = shipping.post("/v1/ship/jobs", json={"work": "web"}).json()["number"]
    done = ended(shipping, number)
    assert done["state"] == "finished", done
    with zipfile.ZipFile(io.BytesIO(shipping.get(f"/v1/ship/jobs/{number}/file").content)) as archive:
        assert {"index.html", "model.json", "model.onnx"} <= set(archive.namelist())
        assert archive.read("model.onnx") == served_model.path.read_bytes()
    assert shipping.post(f"/v1/ship/jobs/{number}/stop").status_code == 409
    assert shipping.post(f"/v1/ship/jobs/{number}/remove").status_code == 200
    assert shipping.get("/v1/ship").json()["jobs"] == []
    assert not list((tmp_path / "runs/.ship").iterdir())


def test_the_bundle_itself_is_sent_as_it_is(shipping: TestClient, served_model: Model) -> None:
    answer = shipping.get("/v1/ship/bundle")
    assert answer.content == served_model.path.read_bytes()
    assert ".onnx" in answer.headers["content-disposition"]


def test_what_cannot_be_made_says_why(shipping: TestClient) -> None:
    facts = shipping.get("/v1/ship").json()
    assert not facts["reducible"]
    refused = shipping.post("/v1/ship/jobs", json={"work": "export", "form": "int8"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (409, facts["why_not"])
    assert shipping.post("/v1/ship/jobs", json={"work": "export", "form": "int4"}).status_code == 422


@pytest.mark.parametrize("below", ["..", "../runs", "yard/../..", "/etc", "none"])
def test_no_folder_outside_of_those_given_is_labelled(shipping: TestClient, below: str, tmp_path: Path) -> None:
    refused = shipping.post("/v1/ship/jobs", json={"work": "label", "data": "photos", "below": below})
    assert refused.status_code == 404
    assert shipping.post("/v1/ship/jobs", json={"work": "label", "data": "other"}).status_code == 404
    assert not (tmp_path / "runs/.ship").exists()


def test_jobs_need_the_token(shipping: TestClient) -> None:
    del shipping.headers["Authorization"]
    for method, path in (("GET", "/v1/ship"), ("GET", "/v1/ship/bundle"), ("POST", "/v1/ship/jobs")):
        assert shipping.request(method, path).status_code == 401, path


def test_a_job_that_was_killed_is_told_as_such(shipping: TestClient, tmp_path: Path) -> None:
    folder = tmp_path / "runs/.ship/7"
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(json.dumps({"work": "benchmark", "model": "/m.onnx", "title": "m"}))
    (folder / "process.json").write_text(json.dumps({"pid": 1 << 22, "started": 1.0}))
    (job,) = shipping.get("/v1/ship/jobs").json()
    assert job["state"] == "failed"
    assert "its process was killed" in job["result"]["message"]
    assert "model" not in job  # its path stays here
    (folder / "result.json").write_text(json.dumps({"state": "finished", "file": "../../secret"}))
    assert shipping.get("/v1/ship/jobs/7/file").status_code == 404


def test_a_benchmark_times_the_engines_and_a_stopped_job_says_so(shipping: TestClient) -> None:
    number = shipping.post("/v1/ship/jobs", json={"work": "benchmark"}).json()["number"]
    done = ended(shipping, number)
    assert done["state"] == "finished", done
    rows = {row["engine"]: row for row in done["result"]["timed"]}
    assert rows["onnxruntime"]["agreement"] == 1
    number = shipping.post("/v1/ship/jobs", json={"work": "benchmark"}).json()["number"]
    shipping.post(f"/v1/ship/jobs/{number}/stop")  # it may have ended already
    assert ended(shipping, number)["state"] in ("stopped", "finished", "failed")


def test_a_card_is_written_into_the_file_that_is_sent(
    shipping: TestClient, served_model: Model, tmp_path: Path
) -> None:
    folder = tmp_path / "runs/kerbs"
    folder.mkdir(parents=True)
    (folder / "trace.jsonl").touch()
    shutil.copy(served_model.path, folder / "model.onnx")
    url = "/v1/ship/card?model=kerbs"
    before = shipping.get(url).json()
    assert before["editable"]
    assert set(before["card"].values()) == {""}
    new = {"card": {"summary": "<b>Kerbs</b>", "licence": "CC BY 4.0"}, "revision": before["revision"]}
    kept = shipping.put(url, json=new)
    assert kept.status_code == 200, kept.text
    assert shipping.get(url).json() == kept.json()
    assert kept.json()["card"]["summary"] == "<b>Kerbs</b>"
    assert kept.json()["digest"] == before["digest"]
    assert shipping.put(url, json=new).json() == kept.json()  # again: the answer was lost
    late = shipping.put(url, json={**new, "card": {"summary": "Kerbs"}})  # from a page that has not seen it
    assert (late.status_code, late.json()["error"]["kind"]) == (409, "card-changed")
    sent = tmp_path / "sent.onnx"
    sent.write_bytes(shipping.get("/v1/ship/bundle?model=kerbs").content)
    assert read_bundle(sent).metadata.card.licence == "CC BY 4.0"


@pytest.mark.parametrize("card", [{"summary": 3}, {"colour": "red"}, {"data": "a" * 20_001}, []])
def test_a_card_of_another_form_is_refused(shipping: TestClient, card: Any) -> None:
    assert shipping.put("/v1/ship/card", json={"card": card, "revision": ""}).status_code == 422


def test_the_card_of_a_built_in_model_stays(tmp_path: Path) -> None:
    model = load("street", threads=1)
    app = create_app(model, ServerSettings(runs=tmp_path, token=TOKEN), built_in="street")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        found = client.get("/v1/ship/card").json()
        assert (found["editable"], found["markdown"][:8]) == (False, "# street")
        refused = client.put("/v1/ship/card", json={"card": {}, "revision": found["revision"]})
        assert (refused.status_code, refused.json()["error"]["message"]) == (409, found["why_not"])
