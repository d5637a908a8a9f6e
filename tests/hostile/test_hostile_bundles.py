"""Hostile bundles end with an error that names the file, or label images as they say: never in any other way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.prediction.built_in_models import models
from pixelwise.prediction.load_model import load

pytest.importorskip("onnx")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from bundles import GOLDEN, bundle, labels_of  # noqa: E402

CALLED_OFF_S = 250  # on a busy machine; alone it takes a tenth of that
MOST_MB = 1200
# Of the bundles that are made to be wrong, those that are right after all: what is odd in them changes nothing.
HARMLESS = ("stated: stages.1.tensor = 'float'",)


def attacked(seed: int, first: int, step: int, mutants: int, folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, str(HERE / "load_bundles.py"), *map(str, (seed, first, step, mutants)), str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=CALLED_OFF_S + mutants / 4, check=False)
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    last = lines[-1]["what"] if lines else "nothing"
    assert ended.returncode == 0, f"after {last!r}: exit code {ended.returncode}\n{ended.stderr[-2000:]}"
    return lines


def judge(lines: list[dict[str, Any]]) -> Counter[str]:
    faults = [line for line in lines if line["end"].startswith("fault")]
    assert not faults, "\n".join(f"{line['what']}: {line['end']}" for line in faults[:5])
    made = [line for line in lines if not line["what"].startswith("mutant")]
    let_in = [line["what"] for line in made if line["end"] != "refused" and line["what"] not in HARMLESS]
    assert not let_in
    assert max(line["mb"] for line in lines) < MOST_MB
    return Counter(line["end"].split(":")[0] for line in lines)


def test_the_small_bundle_is_right(tmp_path: Path) -> None:
    """Otherwise everything made from it would be refused for another reason than it should."""
    path = tmp_path / "small.onnx"
    path.write_bytes(bundle())
    for engine in ("onnxruntime", "openvino"):
        if engine == "openvino":
            pytest.importorskip("openvino")
        model = load(path, threads=1, engine=engine)
        for image in (GOLDEN, np.full((30, 50, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8)):
            assert (model.predict(image).labels == labels_of(image)).all()


@pytest.mark.parametrize("part", [0, 1])
def test_hostile_bundles_are_refused(part: int, tmp_path: Path) -> None:
    ends = judge(attacked(7, part, 2, 150, tmp_path))
    assert ends["refused"] > 200


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_hostile_bundles_are_refused(seed: int, tmp_path: Path) -> None:
    judge(attacked(seed, 0, 1, 1500, tmp_path))


def test_what_is_shipped_loads() -> None:
    assert {model.name for model in models()} >= {"street", "street-int8", "nuclei"}
    for model in models():
        assert load(model.name, threads=1).predict(GOLDEN).labels.shape == GOLDEN.shape[:2]
