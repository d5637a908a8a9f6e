"""`pixelwise label` as people run it: a process that is killed, and started again where it was."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import TAB, edit_body, make_photos, unpack

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask


class Asker:
    """Requests to a server that was started as a process."""

    def __init__(self, address: str, token: str) -> None:
        self.address, self.token = address, token

    def __call__(self, path: str, body: bytes | dict[str, Any] | None = None) -> bytes:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def json(self, path: str, body: bytes | dict[str, Any] | None = None) -> Any:
        return json.loads(self(path, body))


@contextmanager
def labelling_process(*arguments: object, cwd: Path) -> Iterator[tuple[Asker, subprocess.Popen[str], list[str]]]:
    """`pixelwise label`, killed at the end as by a power cut."""
    command = [sys.executable, "-m", "pixelwise", "label", *map(str, arguments), "--port", "0", "--threads", "1"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=cwd
    )
    try:
        assert process.stdout is not None
        lines: Sequence[str] = [process.stdout.readline(), process.stdout.readline()]
        found = re.search(r"(http://127.0.0.1:\d+)/label\?token=(\S+)", lines[0])
        assert found, lines
        yield Asker(found[1], found[2]), process, list(lines)
    finally:
        process.kill()
        process.wait()


def test_a_killed_server_has_lost_nothing_that_was_durable(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos")
    with labelling_process("photos", "--classes", "road, sky", "--user", "kim", cwd=tmp_path) as (ask, _, lines):
        assert re.fullmatch(r"REST: http://127.0.0.1:\d+/docs   Stop: Ctrl-C\n", lines[1])
        state = ask.json("/v1/label")
        assert (state["user"], [row["name"] for row in state["classes"]]) == ("kim", ["road", "sky"])
        photo = next(row for row in ask.json("/v1/label/images")["images"] if row["name"] == "a.png")["id"]
        place = f"/v1/label/images/{photo}"
        ask(f"{place}/open", TAB)
        ask(f"{place}/edits", edit_body(np.ones((5, 6)), 3, 4, key=1))
        while unpack(ask(f"{place}/mask"))[0]["durable"] < 1:
            pass
    with labelling_process("photos", cwd=tmp_path) as (ask, _, _lines):
        header, (keys, _) = unpack(ask(f"{place}/mask"))
        assert (keys[4:9, 3:9] == 1).all()
        assert header["undo"] == 1
        dataset = open_dataset(tmp_path / "photos-labels")
        samples = [sample for part in dataset.splits.values() for sample in part]
        mask = read_sample_mask(samples[0], dataset.mask_ids, len(dataset.classes), (70, 110))
        assert (mask != 255).sum() == 30
    lines_written = [json.loads(line) for line in (tmp_path / "photos-labels/labels.jsonl").read_text().splitlines()]
    assert [(row["user"], row["class"], row["pixels"]) for row in lines_written] == [("kim", "sky", 30)]
    assert sorted(path.name for path in photos.rglob("*.*")) == ["a.png", "b.jpg", "broken.png"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere",), "nowhere"),
        (("photos", "--out", "photos/inside"), "inside"),
        (("photos", "--model", "nowhere.onnx"), "nowhere.onnx"),
    ],
)
def test_what_cannot_be_opened_is_said_at_once(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    make_photos(tmp_path / "photos")
    command = [sys.executable, "-m", "pixelwise", "label", *arguments, "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_with_nothing_named_the_page_asks(tmp_path: Path) -> None:
    with labelling_process(cwd=tmp_path) as (ask, _, _lines):
        assert ask.json("/v1/label")["open"] is False
        make_photos(tmp_path / "photos")
        assert ask.json("/v1/label/open", {"folder": str(tmp_path / "photos")})["open"] is True
        assert [run["name"] for run in ask.json("/v1/runs")["runs"]] == [
            "this-model"
        ]  # the built-in one's own training
    assert not (tmp_path / "runs").exists()
