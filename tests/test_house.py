"""The house rules that a program can check: sizes of functions and files, one meaning a name, documented public calls.

An exception stands here with its reason. One that is no longer needed must go: the tests compare for equality.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import pixelwise as pw

SOURCE = Path(pw.__file__).parent
MOST_LINES, MOST_PARAMETERS, MOST_FILE_LINES = 60, 8, 400

OPTIONS = "each option of the command line is a parameter: typer reads them from the signature"
VERB = "a public verb: its keyword-only parameters mirror the options of the command"
LONG_FUNCTIONS: dict[str, str] = {}
MANY_PARAMETERS: dict[str, str] = {}
LONG_FILES: dict[str, str] = {}


def files() -> Iterator[tuple[str, ast.Module, int]]:
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        yield str(path.relative_to(SOURCE)), ast.parse(text), len(text.splitlines())


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


def test_a_class_name_has_one_meaning() -> None:
    where = defaultdict(list)
    for name, tree, _ in files():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(name)
    assert {name: there for name, there in where.items() if len(there) > 1} == {}


def public_functions() -> list[str]:
    return [name for name in pw.__all__ if inspect.isfunction(getattr(pw, name))]


@pytest.mark.parametrize("name", public_functions())
def test_public_functions_are_documented(name: str) -> None:
    """A summary, every parameter that is not plain from its name and type, what comes back, errors, an example."""
    function = getattr(pw, name)
    text = inspect.getdoc(function) or ""
    sections = dict(re.findall(r"^(Args|Returns|Raises|Example):\n((?:    .*\n?|\n)+)", text, re.MULTILINE))
    assert set(sections) >= {"Args", "Returns", "Raises", "Example"} - ({"Args"} if not parameters(function) else set())
    described = {
        part.strip() for names in re.findall(r"^    (\w[\w, ]*):", sections.get("Args", ""), re.MULTILINE)
        for part in names.split(",")
    }  # fmt: skip
    assert described == set(parameters(function))


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]
