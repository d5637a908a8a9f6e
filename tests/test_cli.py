"""The command line as its user calls it: real processes, exit codes, one clear message."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise import __version__
from pixelwise.scenes.render_scene import write_scenes

COMMANDS = (
    "demo", "train", "export", "check", "convert", "chips", "evaluate", "compare", "predict", "suggest", "accept",
    "label", "trace", "serve", "objects",
)  # fmt: skip


def pixelwise(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pixelwise", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scenes and a run trained on them, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("work")
    write_scenes(folder / "scenes", {"train": 4, "val": 2, "test": 2}, height_px=64, width_px=96)
    done = pixelwise(
        "train", folder / "scenes", "--out", folder / "run", "--epochs", 1, "--size", "64x96", "--model", "unet",
        "--batch", 2, "--set", "light=0.5", "--json", folder / "train.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_train_prints_the_classes_the_stages_and_the_epochs(work: Path) -> None:
    result = json.loads((work / "train.json").read_text())
    assert result["best_epoch"] == 1
    assert Path(result["bundle"]).is_file()
    recipe = (work / "run" / "recipe.toml").read_text()
    assert "light = 0.5" in recipe
    assert "size = [64, 96]" in recipe


def test_evaluate_text_and_json(work: Path) -> None:
    text = pixelwise("evaluate", work / "run", work / "scenes")
    assert text.returncode == 0, text.stderr
    assert "mIoU" in text.stdout
    printed = pixelwise("evaluate", work / "run", work / "scenes", "--split", "val", "--json", "-")
    report = json.loads(printed.stdout)
    assert 0 <= report["miou"] <= 1


def test_evaluate_writes_a_page_and_a_table(work: Path, tmp_path: Path) -> None:
    page, table = tmp_path / "r.html", tmp_path / "r.csv"
    done = pixelwise("evaluate", work / "run", work / "scenes", "--html", page, "--csv", table)
    assert done.returncode == 0, done.stderr
    assert page.read_text().startswith("<!doctype html>")
    assert len(table.read_text().splitlines()) == 3


def test_compare_is_a_gate(work: Path) -> None:
    same = pixelwise("compare", work / "run", work / "run", work / "scenes", "--fail-if-worse", 0, "--json", "-")
    assert same.returncode == 0, same.stderr
    found = json.loads(same.stdout)
    assert found["whole"][0]["difference"] == 0
    assert found["whole"][0]["p"] == 1


def test_suggest_writes_tasks_that_accept_takes_back(work: Path, tmp_path: Path) -> None:
    images, tasks = work / "scenes" / "test" / "images", tmp_path / "tasks"
    done = pixelwise("suggest", work / "run", images, "-n", 2, "--out", tasks, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["suggestions"]) == 2
    back = pixelwise("accept", tasks, tasks / "annotations.xml", "--out", tmp_path / "data")
    assert back.returncode == 0, back.stderr
    assert len(list((tmp_path / "data" / "masks").iterdir())) == 2


def test_predict_writes_what_is_asked_for_and_goes_on(work: Path, tmp_path: Path) -> None:
    images = work / "scenes" / "test" / "images"
    command = ("predict", work / "run", images, "--out", tmp_path / "out", "--save", "labels,overlay")
    done = pixelwise(*command, "--flow")
    assert done.returncode == 0, done.stderr
    assert "pixel-wise classification" in done.stdout
    name = sorted(images.iterdir())[0].stem
    labels = np.asarray(Image.open(tmp_path / "out" / f"{name}.png"))
    assert labels.shape == (64, 96)
    assert (tmp_path / "out" / f"{name}.overlay.png").is_file()
    records = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert sum(records[0]["shares"].values()) == pytest.approx(1)
    again = pixelwise(*command, "--json", "-")
    assert again.returncode == 0, again.stderr
    assert (json.loads(again.stdout)["done"], json.loads(again.stdout)["before"]) == (0, len(records))
    other = pixelwise(*command, "--tta", "flip")
    assert other.returncode == 2
    assert "--fresh" in other.stderr


def test_trace_tells_stages_layers_and_a_pixel(work: Path) -> None:
    image = next((work / "scenes" / "test" / "images").iterdir())
    done = pixelwise("trace", work / "run", image, "--pixel", "10,20", "--json", "-")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["flow"]) == 4
    assert {layer["group"] for layer in told["layers"]} == {
        "input", "convolutional", "upsampling", "pixel-wise classification",
    }  # fmt: skip
    text = pixelwise("trace", work / "run", image, "--html", work / "story.html")
    assert "Every pixel of this image" in (work / "story.html").read_text()
    assert text.returncode == 0, text.stderr


def test_check_is_quiet_about_good_data_and_fails_on_bad(work: Path, tmp_path: Path) -> None:
    good = pixelwise("check", work / "scenes")
    assert good.returncode == 0, good.stderr
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for name, size in (("a", 8), ("b", 8), ("c", 14)):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(np.zeros((8, size), np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    bad = pixelwise("check", tmp_path)
    assert bad.returncode == 1
    assert "c.png" in bad.stdout


def test_export_writes_a_bundle(work: Path, tmp_path: Path) -> None:
    done = pixelwise("export", work / "run", "--out", tmp_path / "m.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.onnx").is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = pixelwise(command, "--help")
    assert done.returncode == 0
    assert "Example: pixelwise" in done.stdout


WRONG_CALLS = {
    "no such data": (("train", "nowhere", "--out", "run"), 2, "nowhere"),
    "no such model": (("predict", "nowhere.onnx", "photo.png", "--out", "out"), 2, "nowhere.onnx"),
    "bad size": (("train", ".", "--out", "run", "--size", "big"), 2, "256x256"),
    "size not a multiple of 32": (("train", ".", "--out", "run", "--size", "100x100"), 2, "multiples of 32"),
    "bad pixel": (("trace", "m.onnx", "photo.png", "--pixel", "here"), 2, "X,Y"),
    "unknown setting": (("train", ".", "--out", "run", "--set", "speed=9"), 2, "not a field of a recipe"),
    "unknown model": (("train", ".", "--out", "run", "--model", "huge"), 2, "fast, unet"),
    "unknown command": (("segment",), 2, "segment"),
    "missing option": (("train", "."), 2, "--out"),
    "foreign onnx": (("predict", "foreign.onnx", "photo.png", "--out", "out"), 1, "foreign.onnx"),
    "empty folder": (("train", "empty", "--out", "run"), 1, "empty"),
    "nothing to resume": (("train", "empty", "--out", "run", "--resume"), 2, "no checkpoint"),
}


@pytest.mark.parametrize("case", WRONG_CALLS)
def test_a_wrong_call_ends_with_one_clear_message(case: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign.onnx").write_bytes(b"not a model at all")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photo.png")
    before = sorted(tmp_path.rglob("*"))
    arguments, code, says = WRONG_CALLS[case]
    done = pixelwise(*arguments, cwd=tmp_path, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before  # nothing half-written


def test_output_through_a_closed_pipe_is_no_error(work: Path) -> None:
    command = f"{sys.executable} -m pixelwise check {work / 'scenes'} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


def test_the_version_is_printed() -> None:
    done = pixelwise("--version")
    assert done.stdout == f"pixelwise {__version__}\n"
