"""The folders of data that a server was started with: what is listed, and that nothing outside them is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pixelwise.server.app import create_app
from pixelwise.server.data_folders import DataFolders
from pixelwise.server.error_responses import RequestError
from pixelwise.server.security import is_proven_path
from pixelwise.server.server_settings import ServerSettings


def folders(tmp_path: Path) -> DataFolders:
    for name in ("a/Cells", "b/Cells", "labels", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a/Cells/train").mkdir()
    (tmp_path / "a/Cells/.git").mkdir()
    (tmp_path / "a/Cells/notes.txt").touch()
    run = tmp_path / "run"
    run.mkdir()
    (run / "data.json").write_text(json.dumps({"root": str(tmp_path / "b/Cells")}))
    return DataFolders([tmp_path / "a/Cells", tmp_path / "a/Cells"], run, lambda: tmp_path / "labels")


def test_each_folder_is_listed_once_under_a_key_of_its_own(tmp_path: Path) -> None:
    found = folders(tmp_path).all()
    assert [(one.key, one.origin) for one in found] == [("cells", "data"), ("cells-2", "run"), ("labels", "labels")]
    assert found[1].path == (tmp_path / "b/Cells").resolve()


def test_a_folder_that_is_gone_is_not_listed(tmp_path: Path) -> None:
    data = folders(tmp_path)
    (tmp_path / "labels").rmdir()
    assert [one.key for one in data.all()] == ["cells", "cells-2"]


def test_folders_below_are_listed_without_hidden_ones(tmp_path: Path) -> None:
    data = folders(tmp_path)
    assert data.below("cells") == ["train"]
    assert data.folder("cells", "train") == (tmp_path / "a/Cells/train").resolve()


@pytest.mark.parametrize("below", ["..", "../../secret", "/etc", "train/../../../secret", "a\0b", "x" * 5000, "gone"])
def test_nothing_outside_is_reached(tmp_path: Path, below: str) -> None:
    with pytest.raises(RequestError) as refused:
        folders(tmp_path).folder("cells", below)
    assert refused.value.status == 404


def test_a_link_that_leads_outside_is_neither_listed_nor_followed(tmp_path: Path) -> None:
    data = folders(tmp_path)
    try:
        (tmp_path / "a/Cells/link").symlink_to(tmp_path / "secret")
    except OSError:
        pytest.skip("links cannot be made here")
    assert data.below("cells") == ["train"]
    with pytest.raises(RequestError):
        data.folder("cells", "link")


def test_they_need_the_token(served_model: Any, tmp_path: Path) -> None:
    assert is_proven_path("/v1/data/cells/folders")
    (tmp_path / "Cells/val").mkdir(parents=True)
    settings = ServerSettings(runs=tmp_path / "runs", token="sesame", data=(tmp_path / "Cells",))
    with TestClient(create_app(served_model, settings), base_url="http://127.0.0.1") as client:
        assert client.get("/v1/data").status_code == 401
        client.headers["Authorization"] = "Bearer sesame"
        assert [row["key"] for row in client.get("/v1/data").json()] == ["cells"]
        assert client.get("/v1/data/cells/folders").json() == ["val"]
        assert client.get("/v1/data/cells/folders", params={"below": "../.."}).status_code == 404
