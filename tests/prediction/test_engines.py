"""Every engine gives the labels of the bundle, or says why it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import make_bundle, picture
from pixelwise.__main__ import main
from pixelwise.errors import BundleError, MissingExtraError, UsageError
from pixelwise.images.image_files import write_png
from pixelwise.prediction.benchmark_engines import benchmark
from pixelwise.prediction.engines import engine as engines
from pixelwise.prediction.engines import onnx_runtime, openvino
from pixelwise.prediction.engines.engine import ENGINES, choose, usable_cores
from pixelwise.prediction.load_model import load


@pytest.fixture(scope="module")
def bundle(fast_bundle: tuple[Path, Any]) -> Path:
    return fast_bundle[0]


def has_bfloat16() -> bool:
    pytest.importorskip("openvino", reason="OpenVINO is not installed; install pixelwise[openvino]")
    return openvino.has_bfloat16(openvino.core())


@pytest.mark.parametrize("size", [(75, 111), (64, 96), (30, 200)])
def test_openvino_labels_as_onnx_runtime_does(bundle: Path, size: tuple[int, int]) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed; install pixelwise[openvino]")
    image = picture(5, *size)
    reference = load(bundle, 1, "onnxruntime").predict(image)
    other = load(bundle, 1, "openvino").predict(image)
    assert (other.labels == reference.labels).mean() >= 0.999
    assert np.allclose(other.scores, reference.scores, atol=1e-3)


@pytest.mark.long
def test_openvino_runs_images_of_any_size_where_the_network_does(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed; install pixelwise[openvino]")
    make_bundle(tmp_path / "fit.onnx", "unet", policy="fit")
    reference, other = (load(tmp_path / "fit.onnx", 1, name) for name in ("onnxruntime", "openvino"))
    for size in ((100, 70), (64, 96), (33, 200)):
        image = picture(6, *size)
        assert (other.predict(image).labels == reference.predict(image).labels).mean() >= 0.999


def test_bfloat16_rounds_or_is_refused(bundle: Path) -> None:
    if not has_bfloat16():
        with pytest.raises(UsageError, match="does not support bfloat16"):
            load(bundle, 1, "openvino-bf16")
        return
    image = picture(5, 75, 111)
    scores = load(bundle, 1, "onnxruntime").predict(image).scores
    rough = load(bundle, 1, "openvino-bf16").predict(image).scores
    assert 0 < np.abs(scores - rough).max() < 0.1 * np.abs(scores).max()


def test_one_engine_serves_many_threads(bundle: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed; install pixelwise[openvino]")
    model = load(bundle, 1, "openvino")
    images = [picture(seed, 60, 80) for seed in range(8)]
    alone = [model.predict(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(model.predict, images * 3))
    for number, prediction in enumerate(together):
        assert np.array_equal(prediction.labels, alone[number % 8].labels)
        assert np.array_equal(prediction.scores, alone[number % 8].scores)


def test_auto_is_never_a_rougher_engine(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "has_cuda", lambda: False)
    assert choose("auto") == "onnxruntime"
    assert load(bundle, 1).engine.name == "onnxruntime"
    monkeypatch.setattr(onnx_runtime, "has_cuda", lambda: True)
    monkeypatch.setattr(engines, "NVIDIA", Path("/"))
    assert choose("auto") == "cuda"
    monkeypatch.setattr(engines, "NVIDIA", Path("/nowhere"))  # built for it, but there is none
    assert choose("auto") == "onnxruntime"


def test_engines_that_cannot_be_used_say_what_to_do(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"no engine is named 'tensorrt'.*auto, onnxruntime, openvino"):
        load(bundle, 1, "tensorrt")
    if not onnx_runtime.has_cuda():
        with pytest.raises(UsageError, match="pip install onnxruntime-gpu"):
            load(bundle, 1, "cuda")
    monkeypatch.setattr(onnx_runtime, "has_cuda", lambda: True)
    monkeypatch.setattr(onnx_runtime, "CUDA", "CUDAExecutionProvider is not here")
    with pytest.raises((UsageError, BundleError), match=r"cuda|CUDA"):  # never the CPU instead, silently
        load(bundle, 1, "cuda")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(openvino, "core", openvino.core.__wrapped__)  # as before any engine was opened
    with pytest.raises(MissingExtraError, match=r"pixelwise\[openvino\]"):
        load(bundle, 1, "openvino")


def test_threads_are_those_that_the_process_may_use(bundle: Path) -> None:
    assert load(bundle).engine.threads == usable_cores() >= 1
    assert load(bundle, threads=3).engine.threads == 3
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from pixelwise.prediction.engines.engine import usable_cores; print(usable_cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_benchmark_names_every_engine_once(bundle: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(0, 60, 80))
    found = benchmark(bundle, [tmp_path / "a.png"], threads=1)
    assert {row.engine for row in found.timed} | set(found.missing) == set(ENGINES)
    assert not {row.engine for row in found.timed} & set(found.missing)
    rows = {row.engine: row for row in found.timed}
    assert rows["onnxruntime"].agreement == 1.0
    assert [row.milliseconds for row in found.timed] == sorted(row.milliseconds for row in found.timed)
    assert all(row.fastest <= row.milliseconds for row in found.timed)
    with pytest.raises(UsageError, match="no image"):
        benchmark(bundle, [])


def test_the_command_line_takes_engine_and_threads(bundle: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(0, 60, 80))

    def predict(*options: object) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "pixelwise",
            "predict",
            str(bundle),
            str(tmp_path / "a.png"),
            *map(str, options),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = predict("--benchmark", "--threads", 1, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["threads"] == 1
    done = predict("--out", tmp_path / "out", "--engine", "onnxruntime", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "a.png").is_file()
    wrong = predict("--out", tmp_path / "other", "--engine", "abacus")
    assert (wrong.returncode, (tmp_path / "other").exists()) == (2, False)
    assert "abacus" in wrong.stderr
    assert predict().returncode == 2


def ctrl_c_while_loading(*_: object) -> Any:
    """As compiled modules say it."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        raise ImportError("initialization failed") from error


def test_ctrl_c_while_an_engine_is_loaded_is_no_fault_of_the_bundle(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines.ENGINES, "onnxruntime", ctrl_c_while_loading)
    with pytest.raises(KeyboardInterrupt):
        load(bundle, 1, "onnxruntime")


def test_ctrl_c_while_a_compiled_module_is_loaded_ends_the_command_line_as_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pixelwise.__main__.run", ctrl_c_while_loading)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "pixelwise: stopped.\n"
    monkeypatch.setattr("pixelwise.__main__.run", lambda: import_module("no_such_module"))
    with pytest.raises(ModuleNotFoundError):
        main()


LET_GO = """
import gc, signal, sys, threading
import numpy as np
from pixelwise.prediction.load_model import load

signal.signal(signal.SIGINT, lambda *_: print("heard"))
engines = sys.argv[2:]
models = [load(sys.argv[1], 1, engine) for engine in engines]
image = np.zeros((40, 50, 3), np.uint8)
for model in models:
    model.predict(image)

def let_go():
    global model
    del model
    while models:
        models.pop(0)
    gc.collect()

thread = threading.Thread(target=let_go)
thread.start()
thread.join()
signal.raise_signal(signal.SIGINT)
print("alive")
"""


def test_ctrl_c_after_models_were_let_go(bundle: Path) -> None:
    """OpenVINO changes the stack on which a thread takes signals; it must not be gone when one comes."""
    engines = ["openvino", "openvino-bf16" if has_bfloat16() else "openvino"]
    done = subprocess.run(
        [sys.executable, "-c", LET_GO, str(bundle), *engines], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["heard", "alive"]), done.stderr
