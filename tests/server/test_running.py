"""The server as people run it: the documented examples as they are written, and the way it ends."""

from __future__ import annotations

import fcntl
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from conftest import TOKEN, picture, started_server
from pixelwise.images.image_files import read_mask
from pixelwise.prediction.load_model import Model

DOCS = (Path(__file__).parents[2] / "docs/reference/rest.md").read_text(encoding="utf-8")
WRITTEN = "http://127.0.0.1:8000"
PROOF = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def address(fast_bundle: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started_server(fast_bundle[0], tmp_path_factory.mktemp("runs")) as (found, _):
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the photo that the examples send."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture(4, 180, 240))).save(buffer, "JPEG", quality=95)
    (tmp_path / "photo.jpg").write_bytes(buffer.getvalue())
    return tmp_path


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


def test_the_curl_lines_work_as_they_are_written(address: str, folder: Path, served_model: Model) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("curl ")]
    assert len(lines) >= 10
    answers = {}
    for line in lines:
        command = line.replace(WRITTEN, address).replace("curl ", "curl --silent --show-error --fail ", 1)
        done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, (line, done.stderr.decode())
        answers[line.split(WRITTEN)[1].split("'")[0].split(" ")[0]] = done.stdout
    expected = served_model.predict(folder / "photo.jpg")
    assert np.array_equal(read_mask(folder / "mask.png", {}, 3), expected.labels)
    told = json.loads(answers["/v1/predict"])
    labels = np.repeat(told["rle"][0::2], told["rle"][1::2]).reshape(told["height"], told["width"])
    assert np.array_equal(labels, expected.labels)
    assert json.loads(answers["/v1/pixel?x=212&y=140"])["probabilities"].keys() == expected.shares.keys()
    assert len(json.loads(answers["/v1/trace"])["flow"]) == 4
    assert json.loads(answers["/healthz"]) == {"status": "ok"}
    assert b"pixelwise_predict_seconds_count" in answers["/metrics"]


def test_the_python_client_works_as_it_is_written(address: str, folder: Path, served_model: Model) -> None:
    (source,) = blocks("python")
    names: dict[str, Any] = {}
    exec(compile(source.replace(WRITTEN, address), "docs/reference/rest.md", "exec"), names)
    labels, classes = names["label"](folder / "photo.jpg")
    assert np.array_equal(labels, served_model.predict(folder / "photo.jpg").labels)
    assert list(classes.values()) == list(served_model.classes.names)


def test_every_route_is_in_the_documentation(address: str) -> None:
    paths = httpx.get(f"{address}/v1/openapi.json", timeout=60).json()["paths"]
    for path in paths:
        last = [part for part in path.split("/") if not part.startswith("{")][-1]
        assert last in DOCS, path
    for method, path in re.findall(r"`(GET|POST) (/[^`?…]*)", DOCS):
        known = {re.sub(r"\{\w+\}", "NAME", one): set(facts) for one, facts in paths.items()}
        path = re.sub(r"\{\w+\}", "NAME", path.replace("/3", "/NAME"))
        assert path == "/v1/images/NAME/" or method.lower() in known[path], path


def test_told_to_stop_it_ends_what_has_begun_and_takes_nothing_new(
    fast_bundle: tuple[Path, Any], folder: Path, served_model: Model
) -> None:
    body = (folder / "photo.jpg").read_bytes()
    with started_server(fast_bundle[0], folder / "runs") as (address, process):
        host, port = str(urlsplit(address).hostname), int(urlsplit(address).port or 0)
        with socket.create_connection((host, port), timeout=60) as begun:
            head = f"POST /v1/predict HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
            begun.sendall(head.encode() + body[:100])
            httpx.get(f"{address}/healthz", timeout=60).raise_for_status()  # it has read what came before
            process.send_signal(signal.SIGTERM)
            wait_until_refused(host, port)
            begun.sendall(body[100:])
            answer = b"".join(iter(lambda: begun.recv(65536), b""))
        status, _, told = answer.partition(b"\r\n")
        assert b"200" in status
        runs = json.loads(told.partition(b"\r\n\r\n")[2])["rle"]
        assert sum(runs[1::2]) == served_model.predict(folder / "photo.jpg").labels.size
        assert process.wait(60) in (0, -signal.SIGTERM)


def wait_until_refused(host: str, port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection((host, port), timeout=5).close()
        except OSError:
            return
        time.sleep(0.02)
    raise AssertionError("new connections are still taken")


def test_ctrl_c_ends_a_live_stream(fast_bundle: tuple[Path, Any], tmp_path: Path) -> None:
    """Someone watches a training: stopping the server must not wait for that to end."""
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "trace.jsonl").write_text('{"event": "epoch", "epoch": 1}\n')
    with (run / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a training holds it while it lives
        with started_server(fast_bundle[0], tmp_path / "runs") as (address, process):
            with httpx.stream("GET", f"{address}/v1/runs/one/events", headers=PROOF, timeout=60) as stream:
                lines = stream.iter_lines()
                assert next(line for line in lines if line.startswith("data: "))
                process.send_signal(signal.SIGINT)
                assert not [line for line in lines if line.startswith("event: end")]
            assert process.wait(60) in (0, 130, -signal.SIGINT)


def post(served: str, body: bytes, sent: int | None = None) -> socket.socket:
    """A request of which so many bytes of the body have been sent."""
    host, port = str(urlsplit(served).hostname), int(urlsplit(served).port or 0)
    one = socket.create_connection((host, port), timeout=60)
    one.sendall(f"POST /v1/predict HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    one.sendall(body[:sent])
    return one


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("state", ["half-open", "decoding"])
def test_told_to_stop_it_is_gone_within_ten_seconds_whatever_hangs(
    fast_bundle: tuple[Path, Any], folder: Path, state: str, times: int
) -> None:
    body = (folder / "photo.jpg").read_bytes()
    with started_server(fast_bundle[0], folder / "runs") as (address, process):
        httpx.post(f"{address}/v1/predict", content=body, timeout=60).raise_for_status()
        decoders = [one for one in psutil.Process(process.pid).children() if "decoder" in " ".join(one.cmdline())]
        assert decoders
        if state == "decoding":
            for one in decoders:
                one.suspend()  # as one that never ends
        held = [post(address, body, None if state == "decoding" else 10 * i) for i in range(3)]
        httpx.get(f"{address}/healthz", timeout=60).raise_for_status()
        time.sleep(0.5)
        for _ in range(times):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        process.wait(10)
        for one in held:
            one.close()
        psutil.wait_procs(decoders, timeout=30)
        assert not [one for one in decoders if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
