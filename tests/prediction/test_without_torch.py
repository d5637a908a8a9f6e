"""Prediction, evaluation and tracing never import torch; prediction not even the onnx package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from conftest import picture
from pixelwise.images.image_files import write_png

BLOCKED = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is not installed here")

sys.meta_path.insert(0, Refuse())
"""


def run(code: str, blocked: set[str], *arguments: object) -> str:
    program = BLOCKED.format(blocked=blocked) + code
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_predict_needs_neither_torch_nor_onnx(tiny_bundle: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(0, 30, 40))
    code = """
from pixelwise.prediction.predict import predict
print(predict(sys.argv[1], [sys.argv[2]], sys.argv[3]).done)
"""
    assert run(code, {"torch", "onnx", "onnxscript"}, tiny_bundle, tmp_path / "a.png", tmp_path / "out") == "1\n"


def test_trace_and_evaluate_need_no_torch(tiny_bundle: Path, tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / "data" / "test" / part).mkdir(parents=True)
    write_png(tmp_path / "data/test/images/a.png", picture(0, 30, 40))
    write_png(tmp_path / "data/test/masks/a.png", np.indices((30, 40))[0].astype(np.uint8) % 3)
    code = """
import json
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.prediction.load_model import load
from pixelwise.tracing.trace import trace
model = load(sys.argv[1])
report = evaluate(model, sys.argv[2])
traced = trace(model, sys.argv[2] + "/test/images/a.png")
print(json.dumps([report.images, len(traced.to_json()["layers"])]))
"""
    images, layers = json.loads(run(code, {"torch", "onnxscript"}, tiny_bundle, tmp_path / "data"))
    assert images == 1
    assert layers > 5
