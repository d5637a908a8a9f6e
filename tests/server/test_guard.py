"""What must not come in does not come in, and no refusal tells about the inside."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from serving import png

from pixelwise.server.app import create_app
from pixelwise.server.security import host_name
from pixelwise.server.server_settings import ServerSettings

Picture = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:8000", "[::2]"])
def test_other_names_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/v1/models", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]:9", "LOCALHOST"])
def test_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/v1/models", headers={"Host": host}).status_code == 200


def test_host_names() -> None:
    assert [host_name(h) for h in ("a:1", "[::1]:2", "b", "[fe80::1]")] == ["a", "::1", "b", "fe80::1"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_posts_from_other_sites_are_refused(client: TestClient, photo: Picture, headers: dict[str, str]) -> None:
    assert client.post("/v1/predict", content=png(photo), headers=headers).status_code == 403


def test_a_post_from_the_page_itself_passes(client: TestClient, photo: Picture) -> None:
    headers = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/v1/predict", content=png(photo), headers=headers).status_code == 200


def test_a_token_is_asked_for_and_becomes_a_cookie(served_model: Any, tmp_path: Path) -> None:
    app = create_app(served_model, ServerSettings(host="192.0.2.1", token="sesame", runs=tmp_path))
    with TestClient(app, base_url="http://192.0.2.1") as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/models", headers={"Authorization": "Bearer sesam"}).status_code == 401
        assert client.get("/v1/models", headers={"Authorization": "Bearer sesame"}).status_code == 200
        answer = client.get("/?token=sesame", follow_redirects=False)
        assert answer.status_code == 303
        assert "token" not in answer.headers["location"]
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert client.get("/v1/models").status_code == 200  # by the cookie


def test_every_answer_is_fenced_in(client: TestClient) -> None:
    for path in ("/", "/healthz", "/v1/nothing"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def huge_png(width: int, height: int) -> bytes:
    """A PNG that says it is huge and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"not an image", 415),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (huge_png(60_000, 60_000), 413),
        (huge_png(501, 500), 413),
        (huge_png(100, 100), 422),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 300_000, 413),
        (png(np.zeros((40, 40, 3), np.uint8))[:-30], 422),
    ],
)
def test_uploads_are_refused_in_words(client: TestClient, body: bytes, status: int) -> None:
    answer = client.post("/v1/predict", content=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["message"]
    assert set(error) == {"kind", "message", "remedy"}
    assert "/" not in error["message"].replace("w/", "")


def test_what_is_wrong_with_a_file_is_said(client: TestClient) -> None:
    def message(**body: Any) -> str:
        told: str = client.post("/v1/predict", **body).json()["error"]["message"]
        return told

    assert message(content=b"") == "The uploaded file is empty (0 bytes)."
    assert message(files={"image": ("photo.jpg", b"")}) == "The uploaded file is empty (0 bytes)."
    assert message(content=b"hello").startswith("The file is not an image; JPEG, PNG,")
    assert message(content=b"8BPS" + bytes(50)).startswith("The file is a Photoshop document; JPEG, PNG,")
    assert message(content=png(np.zeros((40, 40, 3), np.uint8))[:-30]).startswith("The file is truncated or damaged: ")


def test_an_upload_without_a_length_is_cut_off(client: TestClient) -> None:
    def endless() -> Any:
        for _ in range(100):
            yield b"0" * 10_000

    assert client.post("/v1/predict", content=endless()).status_code == 413


@pytest.mark.parametrize("name", ["..", "../x", "%2e%2e", "a/b", "A", ".hidden", "a" * 60, "scenes_64"])
def test_run_names_never_become_paths(client: TestClient, name: str) -> None:
    assert client.get(f"/v1/runs/{name}").status_code == 404
    assert client.post("/v1/runs", json={"name": name}).status_code == 422


@pytest.mark.parametrize("path", ["/assets/../../app.py", "/assets/%2e%2e%2fapp.py", "/assets/..%5capp.py"])
def test_files_outside_the_page_are_not_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (404, 405)


def test_a_failure_inside_tells_nothing(served_model: Any, tmp_path: Path, photo: Picture, monkeypatch: Any) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("/secret/path is gone")

    monkeypatch.setattr("pixelwise.server.routes.predict_routes.look", broken)
    app = create_app(served_model, ServerSettings(runs=tmp_path))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        answer = client.post("/v1/predict", content=png(photo))
    assert answer.status_code == 500
    assert "secret" not in answer.text
