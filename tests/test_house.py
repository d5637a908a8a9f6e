"""The house rules that a program can check: sizes of functions and files, one meaning a name, documented public calls.

An exception stands here with its reason. One that is no longer needed must go: the tests compare for equality.
"""

from __future__ import annotations

import ast
import doctest
import functools
import importlib.util
import inspect
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

import pixelwise as pw
from conftest import LONGEST
from pixelwise import errors
from pixelwise.prediction.video.write_video import VideoFile, overlay_codec
from pixelwise.scenes.render_scene import render_scene, write_scenes

SOURCE = Path(pw.__file__).parent
MOST_LINES, MOST_PARAMETERS, MOST_FILE_LINES = 60, 8, 400

OPTIONS = "each option of the command line is a parameter: typer reads them from the signature"
VERB = "a public verb: its keyword-only parameters mirror the options of the command"
TORCH = "the parameters of torch.nn.functional.conv2d, which it stands in for"
LONG_FUNCTIONS: dict[str, str] = {}
MANY_PARAMETERS = {
    "cli/check_command.py: check": OPTIONS,
    "cli/chips_command.py: chips": OPTIONS,
    "cli/compare_command.py: compare": OPTIONS,
    "cli/evaluate_command.py: evaluate": OPTIONS,
    "cli/label_command.py: label": OPTIONS,
    "cli/objects_command.py: objects": OPTIONS,
    "cli/plan_command.py: plan": OPTIONS,
    "cli/predict_command.py: predict": OPTIONS,
    "cli/serve_command.py: serve": OPTIONS,
    "cli/suggest_command.py: suggest": OPTIONS,
    "cli/train_command.py: train": OPTIONS,
    "evaluation/compare.py: compare": VERB,
    "evaluation/evaluate.py: evaluate": VERB,
    "labelling/suggest.py: suggest": VERB,
    "model/convolution.py: forward": TORCH,
    "prediction/count_objects.py: count_objects": VERB,
    "prediction/predict.py: predict": VERB,
    "training/cross_validation.py: cross_validate": VERB,
    "training/export_run.py: export": VERB,
    "training/find_learning_rate.py: find_rate": VERB,
    "training/search/recipe_search.py: search": VERB,
    "training/train.py: train": VERB,
}
LONG_FILES: dict[str, str] = {}


@functools.cache
def files() -> list[tuple[str, ast.Module, int]]:
    texts = {path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")}
    return [(name, ast.parse(text), len(text.splitlines())) for name, text in sorted(texts.items())]


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, tree, _ in files():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{name}: {node.name}", node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code: from `def` to the end, without the docstring."""
    first = function.body[0]
    docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if docstring else 0)


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_functions_do_one_thing() -> None:
    long = {where for where, function in functions() if lines_of(function) > MOST_LINES}
    assert long == set(LONG_FUNCTIONS)


def test_functions_take_few_parameters() -> None:
    many = {where for where, function in functions() if parameters_of(function) > MOST_PARAMETERS}
    assert many == set(MANY_PARAMETERS)


def test_files_hold_one_idea() -> None:
    assert {name for name, _, lines in files() if lines > MOST_FILE_LINES} == set(LONG_FILES)


def test_a_basename_tells_what_is_inside_without_its_folder() -> None:
    where = defaultdict(list)
    for name, *_ in files():
        if not name.endswith("__init__.py"):
            where[Path(name).name].append(name)
    assert {name: there for name, there in where.items() if len(there) > 1} == {}


def test_files_of_tests_that_begin_first_are_there() -> None:
    assert [name for name in LONGEST if not (Path(__file__).parent / f"{name}.py").is_file()] == []


def test_a_class_name_has_one_meaning() -> None:
    where = defaultdict(list)
    for name, tree, _ in files():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(name)
    assert {name: there for name, there in where.items() if len(there) > 1} == {}


# ── the public API's documentation ──


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


PUBLIC = [name for name in pw.__all__ if inspect.isfunction(getattr(pw, name))]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_are_documented(name: str) -> None:
    """A summary, every parameter, what is returned, what is raised, and an example."""
    function = getattr(pw, name)
    text = inspect.getdoc(function) or ""
    sections = dict(re.findall(r"^(Args|Returns|Raises|Example):\n((?:    .*\n?|\n)+)", text, re.MULTILINE))
    expected = parameters(function)
    assert list(sections) == [*(["Args"] if expected else []), "Returns", "Raises", "Example"]
    assert re.findall(r"^    (\w+):", sections.get("Args", ""), re.MULTILINE) == expected
    for error in re.findall(r"^    (\w+):", sections["Raises"], re.MULTILINE):
        assert issubclass(getattr(errors, error), BaseException)


def run_example(name: str) -> None:
    """Run the example of a docstring in the current folder; what it prints must be what is written there."""
    text = inspect.getdoc(getattr(pw, name)) or ""
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    report: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=report.append)
    assert tried > 1
    assert not failed, "".join(report)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples name: my_data, photo.jpg, unlabelled/, clip.mp4, and my_run, which `train`'s own makes."""
    pytest.importorskip("torch", reason="the examples train; install pixelwise[train]")
    folder = tmp_path_factory.mktemp("examples")
    write_scenes(folder / "my_data", {"train": 4, "val": 2, "test": 2}, height_px=64, width_px=96)
    (folder / "unlabelled").mkdir()
    pixels = [render_scene(7, index, 64, 96)[0] for index in range(5)]
    Image.fromarray(pixels[0]).save(folder / "photo.jpg")
    for index in (1, 2):
        Image.fromarray(pixels[index]).save(folder / "unlabelled" / f"{index}.png")
    if importlib.util.find_spec("av"):
        video = VideoFile(folder / "clip.mp4", overlay_codec()[0], (64, 96), Fraction(5), Fraction(1, 5), "made here")
        with video:
            for index, image in enumerate(pixels):
                video.add(image, index)
            video.finish()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pixelwise.model.unet.WIDTH", 4)
        patched.chdir(folder)
        run_example("train")
    shutil.copytree(folder / "my_run", folder / "other_run")
    return folder


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "train"])
def test_examples_run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if needed := {"search": "optuna", "predict_video": "av"}.get(name):
        pytest.importorskip(needed)
    monkeypatch.chdir(folder)
    # Nobody waits for the examples in full: fewer scenes, a narrower network, fewer steps.
    monkeypatch.setattr("pixelwise.training.demo.COUNTS", {"train": 4, "val": 2, "test": 2})
    monkeypatch.setattr("pixelwise.model.unet.WIDTH", 4)
    monkeypatch.setattr("pixelwise.training.find_learning_rate.STEPS", 12)
    run_example(name)
