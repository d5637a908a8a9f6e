"""dataset.toml and recipes that nobody should have written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pixelwise.datasets.dataset_toml import FILE_NAME, parse_toml, read_settings
from pixelwise.errors import DatasetError, UsageError
from pixelwise.training.recipe import Recipe


def test_a_file_that_never_ends_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    if not hasattr(os, "mkfifo") or not Path("/dev/zero").exists():
        pytest.skip("there are no pipes here")
    os.mkfifo(path)
    with pytest.raises(DatasetError, match="a pipe, socket or device"):
        read_settings(tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(DatasetError, match="a pipe, socket or device"):
        read_settings(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DatasetError, match="a folder"):
        read_settings(tmp_path)
    path.rmdir()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="links to a file that does not exist"):
        read_settings(tmp_path)


@pytest.mark.parametrize("text", ["void = " + "[" * 20_000, "a." * 20_000 + "b = 1", "x = " + "{a = " * 20_000])
def test_deep_nesting_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text, "utf-8")
    with pytest.raises(DatasetError, match=r"nested too deeply|not valid TOML|unknown key"):
        read_settings(tmp_path)
    with pytest.raises(UsageError):
        Recipe.from_toml(text)


@pytest.mark.parametrize("key", ["a", '"a.b\\""', "'a\\'"])
@pytest.mark.parametrize("form", ["{} = 1", "[{}]", "[[{}]]", "void = {{ {} = 1 }}"])
def test_keys_of_endless_parts_are_refused(key: str, form: str) -> None:
    """tomllib alone would read each of these, and take many seconds for most."""
    parse_toml(form.format(" . ".join([key] * 64)))
    for parts in (65, 20_000):
        with pytest.raises(ValueError, match="a key of more than 64 parts"):
            parse_toml("void = []\n" + form.format(" . ".join([key] * parts)))
    assert parse_toml(f"[splits]\nval = ['{'.'.join(['1234'] * 64)}']  # names of files have dots too")


@pytest.mark.parametrize("value", ["1" + "0" * 400, "nan", "inf", "-inf"])
def test_numbers_that_no_setting_can_have_are_refused(value: str) -> None:
    with pytest.raises(UsageError):
        Recipe.from_toml(f"learning_rate = {value}")
