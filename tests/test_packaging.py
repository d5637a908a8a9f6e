"""What people install holds the built page, made from a source archive, with Node at hand or without."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import pixelwise
from pixelwise.prediction.web_export import BUILT
from pixelwise.server.page_files import STATIC

ROOT = Path(__file__).parents[1]
PAGES = {"pixelwise/server/static/": STATIC, "pixelwise/prediction/web_page/": BUILT}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive of this tree."""
    pytest.importorskip("hatchling", reason="hatchling is not installed; install pixelwise[dev]")
    if not (STATIC / "index.html").is_file():
        pytest.skip("the page is not built: python hatch_build.py")
    out = tmp_path_factory.mktemp("sdist")
    run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(out)], ROOT, dict(os.environ))
    (found,) = out.glob("*.tar.gz")
    return found


def run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def without_node() -> str:
    """A PATH on which neither node nor npm is found."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(one for one in folders if not any(shutil.which(name, path=one) for name in ("node", "npm")))


@pytest.mark.slow
@pytest.mark.parametrize("node", [True, False])
def test_a_wheel_from_the_source_archive_holds_the_built_page(archive: Path, tmp_path: Path, node: bool) -> None:
    if node and shutil.which("node") is None:
        pytest.skip("there is no Node here")
    environment = {**os.environ, "PATH": os.environ["PATH"] if node else without_node()}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    run([*command, str(archive)], tmp_path, environment)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        for place, folder in PAGES.items():
            page = {name.removeprefix(place): opened.read(name) for name in opened.namelist() if name.startswith(place)}
            files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
            assert page == {name: path.read_bytes() for name, path in files.items()}


@pytest.mark.slow
def test_the_source_archive_is_the_whole_source(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"web/src/App.svelte", "web/package-lock.json", "web/.npmrc", "hatch_build.py", "LICENSE"} <= names
    assert not [name for name in names if "node_modules" in name or name.endswith(".pyc")]
    models = {name for name in names if name.endswith(".onnx")}
    names = ("street", "street-int8", "nuclei", "features/lite0", "features/clicks")
    assert models == {f"src/pixelwise/built_in/{name}.onnx" for name in names}


def test_the_citation_names_this_version() -> None:
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {pixelwise.__version__}\n" in cited


def test_the_workflow_runs_pinned_actions_and_may_only_read() -> None:
    workflow = (ROOT / ".github/workflows/check.yml").read_text(encoding="utf-8")
    used = re.findall(r"uses: (\S+)", workflow)
    assert used
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in used)
    assert "\npermissions:\n  contents: read\n" in workflow
    assert "run: make check\n" in workflow
    named = [ROOT / name for name in re.findall(r"\b(?:tests|docs)/\S+", workflow)]
    assert named
    assert all(path.exists() for path in named)
