"""Rights follow the token, never the address that a request seems to come from; and printed addresses can be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from serving import png

from conftest import TOKEN, started_server
from pixelwise.server.app import create_app
from pixelwise.server.server_settings import ServerSettings, own_addresses

PROOF = {"Authorization": f"Bearer {TOKEN}"}
FOLDERS = (
    ("GET", "/v1/runs"),
    ("POST", "/v1/runs"),
    ("GET", "/v1/runs/one"),
    ("GET", "/v1/runs/one/events"),
    ("GET", "/v1/runs/one/images/0"),
    ("POST", "/v1/runs/one/stop"),
    ("POST", "/v1/runs/one/resume"),
    ("GET", "/v1/%72uns"),
    ("GET", "/v1/runs/"),
    ("GET", "/v1/ship"),
    ("POST", "/v1/ship/jobs"),
    ("GET", "/v1/ship/bundle"),
    ("GET", "/v1/model?model=one"),
    ("GET", "/v1/samples/held-out-0/image"),
)


@contextmanager
def asked(model: Any, settings: ServerSettings, base: str = "http://127.0.0.1") -> Iterator[TestClient]:
    with TestClient(create_app(model, settings), base_url=base) as client:
        yield client


def test_on_this_machine_images_are_labelled_without_token_and_folders_are_not_touched(
    served_model: Any, tmp_path: Path, photo: np.ndarray[Any, Any]
) -> None:
    with asked(served_model, ServerSettings(runs=tmp_path, token=TOKEN)) as client:
        assert client.post("/v1/predict", content=png(photo)).status_code == 200
        assert client.get("/v1/model").status_code == 200
        for method, path in FOLDERS:
            for headers in ({}, {"Authorization": "Bearer other"}, {"Cookie": "pixelwise_token_8000=1"}):
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 401, (method, path)
                assert "token" in answer.json()["error"]["message"]
            assert client.request(method, path, headers=PROOF).status_code != 401, (method, path)


def test_a_server_without_a_token_of_its_own_makes_one_up(served_model: Any, tmp_path: Path) -> None:
    with asked(served_model, ServerSettings(runs=tmp_path)) as client:
        assert client.get("/v1/runs").status_code == 401
        assert client.get("/v1/runs", headers={"Authorization": "Bearer "}).status_code == 401
        assert client.get("/v1/runs?token=").status_code == 401


def test_behind_a_proxy_everything_needs_the_token_and_with_it_folders_may_be_named(
    served_model: Any, tmp_path: Path, photo: np.ndarray[Any, Any]
) -> None:
    """All requests come from 127.0.0.1 then, whoever sent them."""
    settings = ServerSettings(runs=tmp_path, token=TOKEN, allowed_hosts=("labels.example",))
    with asked(served_model, settings, "http://labels.example") as client:
        assert client.post("/v1/predict", content=png(photo)).status_code == 401
        assert client.post("/v1/runs", json={"name": "a", "folder": "/etc"}).status_code == 401
        assert client.get("/v1/models", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401
        assert client.get("/healthz").status_code == 200
        assert client.post("/v1/predict", content=png(photo), headers=PROOF).status_code == 200
        missing = client.post("/v1/runs", json={"name": "a", "folder": str(tmp_path / "none")}, headers=PROOF)
        assert missing.json()["error"]["kind"] == "folder-missing"


@pytest.mark.parametrize(("forwarded", "secure"), [({}, False), ({"X-Forwarded-Proto": "https"}, True)])
def test_the_cookie_is_for_this_server_alone_and_secure_behind_tls(
    served_model: Any, tmp_path: Path, forwarded: dict[str, str], secure: bool
) -> None:
    with asked(served_model, ServerSettings(runs=tmp_path, token=TOKEN, port=8123)) as client:
        answer = client.get(f"/?token={TOKEN}", headers=forwarded, follow_redirects=False)
        cookie = answer.headers["set-cookie"]
        assert answer.headers["location"] == "/"
        assert cookie.startswith("pixelwise_token_8123=")
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert ("Secure" in cookie) is secure
        assert TOKEN not in cookie
        value = cookie.partition(";")[0]
        client.cookies.clear()
        assert client.get("/v1/runs", headers={"Cookie": f"other=1; {value}"}).status_code == 200
        assert client.get("/v1/runs", headers={"Cookie": f"{value}0"}).status_code == 401
        away = client.get(f"//evil.example/?token={TOKEN}", follow_redirects=False)
        assert urlsplit(away.headers["location"]).netloc == ""


def test_every_address_that_is_printed_works_as_it_stands(fast_bundle: tuple[Path, Any], tmp_path: Path) -> None:
    others = [address for address in own_addresses() if ":" not in address]
    if not others:
        pytest.skip("this machine has no other address than 127.0.0.1")
    with started_server(fast_bundle[0], tmp_path, options=("--host", "0.0.0.0")) as (address, process):
        port = urlsplit(address).port
        assert process.stdout is not None
        printed = [f"{address}/?token={TOKEN}"]
        while "REST" not in (line := process.stdout.readline()):
            printed.append(line.split()[-1])
        assert {f"http://{other}:{port}/?token={TOKEN}" for other in others} <= set(printed)
        assert not [one for one in printed if "0.0.0.0" in one]
        for one in printed[:-1]:  # the last is this machine's name, which not every network knows
            with httpx.Client(follow_redirects=True, timeout=30) as browser:
                browser.get(one)
                host = f"http://{urlsplit(one).netloc}"
                assert browser.get(f"{host}/v1/runs").status_code == 200
                assert browser.get(f"{host}/v1/runs", headers={"Host": "evil.example"}).status_code == 421
                assert browser.get(f"{host}/v1/runs", headers={"Host": "192.0.2.77"}).status_code == 421
            assert httpx.get(f"{host}/v1/models", timeout=30).status_code == 401
        name = urlsplit(printed[-1]).netloc
        assert httpx.get(f"{address}/v1/models", headers={"Host": name, **PROOF}, timeout=30).status_code == 200
