"""Threads that wait leave the processor to others: torch's, and those of every ONNX Runtime session."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pixelwise as pw

SOURCE = Path(pw.__file__).parent
SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.mark.parametrize(
    ("set_by_user", "expected"),
    [({}, "300 None"), ({"GOMP_SPINCOUNT": "7"}, "7 None"), ({"OMP_WAIT_POLICY": "passive"}, "None passive")],
)
def test_training_shortens_how_long_threads_stay_busy_while_they_wait(
    set_by_user: dict[str, str], expected: str
) -> None:
    code = f"import os, pixelwise.training; print(*(os.environ.get(name) for name in {SETTINGS}))"
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment | set_by_user, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected.split()


def test_importing_pixelwise_changes_no_setting_of_openmp() -> None:
    code = f"import os, pixelwise as pw; pw.load, pw.predict; print(*(os.environ.get(name) for name in {SETTINGS}))"
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "None"]


def test_sessions_are_opened_in_one_place_whose_threads_sleep() -> None:
    session = pw.load("street").open_session(pw.load("street").graph)
    assert session.get_session_options().get_session_config_entry("session.intra_op.allow_spinning") == "0"
    opened = [path.name for path in SOURCE.rglob("*.py") if re.search(r"\bInferenceSession\(", path.read_text("utf-8"))]
    assert opened == ["onnx_session.py"]
