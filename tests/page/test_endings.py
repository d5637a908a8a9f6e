"""How a training ended, in words, and how to go on: stopped, ended by the system, failed, killed, never begun."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import new_page, open_room

from conftest import started_server
from pixelwise.trace_events import to_file

EPOCH = {
    "event": "epoch", "epoch": 1, "loss": 1.0, "val_loss": 1.0, "accuracy": 0.5, "miou": 0.4, "learning_rate": 1e-3,
    "seconds": 1.0, "images_per_second": 9.0, "best": True, "observation": "first pass", "iou": {}, "true": {},
    "predicted": {},
}  # fmt: skip
START = {"event": "start", "run": "/home/me/runs/older", "epoch": 12, "sha256": "0" * 64, "anew": ["classifier"]}
MESSAGE = "memory ran out in /home/me/data/train. Keep fewer decoded images."
KILLED = (
    "ended unexpectedly: its process was killed, perhaps for lack of memory, or the machine went down; "
    "the last checkpoint is kept"
)
# name → events after one epoch, whether a checkpoint is there, what the page says, whether it can go on
ENDINGS: dict[str, tuple[list[dict[str, Any]], bool, str, bool]] = {
    "ctrl-c": ([{"event": "stop", "reason": "KeyboardInterrupt", "epoch": 1}], True,
               "stopped after 1 complete epoch; the last checkpoint is kept", True),
    "system": ([{"event": "stop", "reason": "SIGTERM", "epoch": 1, "message": "Stopped by SIGTERM in epoch 2"}], True,
               "stopped after 1 complete epoch by the system or its scheduler (SIGTERM); the last checkpoint is "
               "kept", True),
    "early": ([{"event": "stop", "reason": "SIGTERM", "epoch": 0}], False,
              "stopped by the system or its scheduler (SIGTERM); no checkpoint was written yet, so start over", False),
    "error": ([{"event": "stop", "reason": "OutOfMemoryError", "epoch": 1, "message": MESSAGE}], True,
              "failed after 1 complete epoch; the last checkpoint is kept: memory ran out in train. Keep "
              "fewer decoded images.", True),
    "killed": ([], True, KILLED, True),
    "resumed": ([{"event": "stop", "reason": "SIGTERM", "epoch": 1}, {**EPOCH, "epoch": 2}], True, KILLED, True),
}  # fmt: skip


@pytest.fixture(scope="module")
def project(browser: Any, fast_bundle: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The Train room of a server whose folder holds a run for every ending, and one of a future version."""
    runs = tmp_path_factory.mktemp("endings")
    for name, (events, kept, _, _) in ENDINGS.items():
        (runs / name).mkdir()
        tell = to_file(runs / name / "trace.jsonl")
        for event in (EPOCH, *events):
            tell(event)
        if kept:
            (runs / name / "checkpoints").mkdir()
            (runs / name / "checkpoints/step-00000004.safetensors").touch()
    (runs / "from-another").mkdir()
    tell = to_file(runs / "from-another" / "trace.jsonl")
    for event in (
        START,
        {"event": "not-known-yet", "epoch": 99, "loss": 7},
        EPOCH,
        {"event": "stop", "reason": "finished"},
    ):
        tell(event)
    shutil.copy(fast_bundle[0], runs / "from-another/model.onnx")
    with (
        started_server(fast_bundle[0], runs) as (address, _),
        new_page(browser, address, viewport={"width": 1280, "height": 900}) as page,
    ):
        open_room(page, "train")
        yield page


@pytest.mark.parametrize("name", ENDINGS)
def test_an_ending_is_told_with_the_way_on(project: Any, name: str) -> None:
    _, _, says, goes_on = ENDINGS[name]
    project.click(f"[aria-label=Runs] button:has-text('{name}')")
    project.wait_for_selector(f"section[aria-label='Run {name}'] [data-testid=ending] >> text=/^{escaped(says)}$/")
    assert project.locator(f"section[aria-label='Run {name}'] button:has-text('Resume')").count() == goes_on


def test_a_training_that_began_with_other_weights_says_so_and_unknown_events_are_passed_over(project: Any) -> None:
    project.click("[aria-label=Runs] button:has-text('from-another')")
    live = project.locator("[data-testid=live]")
    live.locator(
        "text=Initialised with the weights of the run older after epoch 12; trained from scratch: classifier."
    ).wait_for()
    assert live.locator("[data-testid=epoch]").inner_text() == "epoch 1 of 1"
    told = json.dumps(project.evaluate("fetch('/v1/runs/from-another/events').then((answer) => answer.text())"))
    assert "/home/me" not in told


def escaped(text: str) -> str:
    """For a regular expression of JavaScript."""
    return "".join(f"\\{letter}" if letter in "().?" else letter for letter in text)
