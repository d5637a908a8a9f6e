"""What the Dockerfile promises, as far as it shows without Docker: the server runs where nothing can be written."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from pixelwise.cli import app

ROOT = Path(__file__).parents[1]
# In a mount namespace of its own: all that is not a device or a process becomes read-only, but for one small folder.
READ_ONLY = """
mount --make-rprivate /
awk '$2 !~ "^/(proc|sys|dev)(/|$)" { print $2 }' /proc/mounts | while read -r point; do
  mount -o remount,bind,ro "$point" || exit 96
done
mount -t tmpfs tmpfs "$TMPDIR" || exit 96
exec "$@"
"""


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, the rest), continued lines joined, comments left out."""
    lines = (line for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if line[:1] != "#")
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in whole.splitlines() if line)]


def last(instruction: str) -> str:
    return [rest for name, rest in instructions() if name == instruction][-1]


def command() -> list[str]:
    """What the container starts, without the program's own name."""
    assert json.loads(last("ENTRYPOINT")) == ["pixelwise"]
    arguments: list[str] = json.loads(last("CMD"))
    return arguments


def health_check(port: int) -> list[str]:
    """The container's health check, asked of another port."""
    words: list[str] = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    asked = [word.replace("8000", str(port)) for word in words]
    assert asked != words
    return [sys.executable, *asked[1:]]


def test_it_is_no_root_and_the_sources_it_copies_are_there() -> None:
    assert all(part.isdigit() and int(part) > 0 for part in last("USER").split(":"))
    copied = [
        name for kind, rest in instructions() if kind == "COPY" and "--" not in rest for name in rest.split()[:-1]
    ]
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"
    }
    assert set(copied) == allowed
    assert not [name for name in copied if not (ROOT / name).exists()]


def test_the_command_and_the_ones_in_its_comments_are_understood() -> None:
    head = re.sub(r"\\\n#\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    examples = re.findall(r"^#\s+docker run .* pixelwise( .*)?$", head, flags=re.MULTILINE)
    assert len(examples) == 2
    commands: Any = typer.main.get_command(app)
    for name, *arguments in (command(), *(shlex.split(example) for example in examples if example)):
        assert commands.commands[name].make_context(name, arguments).params["host"] == "0.0.0.0"


def test_it_serves_where_only_its_temporary_folder_can_be_written(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mount namespaces cannot be made here")
    (tmp_path / "tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")}
    environment = {**kept, "TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    fenced = [unshare, "-rm", "sh", "-c", READ_ONLY, "sh"]
    written = subprocess.run([*fenced, "touch", str(tmp_path / "a")], env=environment, capture_output=True, check=False)
    if written.returncode == 96:
        pytest.skip("file systems cannot be made read-only here")
    assert written.returncode == 1
    process = subprocess.Popen(
        [*fenced, sys.executable, "-m", "pixelwise", *command(), "--port", "0"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise AssertionError("".join(said))
        port = int(found[1])
        late = time.monotonic() + 60
        while subprocess.run(health_check(port), capture_output=True, check=False).returncode:
            assert time.monotonic() < late, "it is never healthy"
            time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert subprocess.run(health_check(port), capture_output=True, check=False).returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]
