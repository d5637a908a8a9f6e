"""The notebooks in examples/ run from top to bottom, offline, and what they show is small and free of this machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
MOST_BYTES = 500_000
# Cells of plain Python need no Jupyter: each is run as it stands, and named where it fails.
RUN = """
import json, sys
space = {"__name__": "__main__"}
for number, cell in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), space)
"""


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["one_pixel", "own_data"]


@pytest.mark.long
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    if notebook.stem == "own_data":
        pytest.importorskip("torch", reason="this notebook trains; install pixelwise[train]")
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder)
    command = [sys.executable, "-c", RUN, notebook.name]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_shows(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES, "python examples/refresh.py leaves out pictures that are there twice"
    code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code), "python examples/refresh.py runs all cells"
    outputs = [output for cell in code for output in cell["outputs"]]
    assert any("image/jpeg" in output.get("data", ()) for output in outputs)
    assert not [output for output in outputs if output["output_type"] == "error"]
    shown = [output.get("text", output.get("data", {}).get("text/plain", "")) for output in outputs]
    assert not re.search(r"(^|[\s'\"])/[a-z]+/", "\n".join("".join(lines) for lines in shown)), "a path of one machine"
