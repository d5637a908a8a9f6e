"""Names come from other people: they are shown in the terminal, never obeyed by it, and read back as they were."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from pixelwise.cli.terminal import PlainConsole
from pixelwise.datasets.dataset_toml import FILE_NAME, dataset_toml, read_settings, splits_toml
from pixelwise.images.image_files import write_png
from pixelwise.records import ClassList

HOSTILE = ("[bold]road[/bold]", "[/]", "car\x1b[31m\x1b]0;owned\x07", "\x9b2J", "\u202egnp.exe", "\ud800", ":smile:")
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


def printed(*what: object) -> str:
    console = PlainConsole()
    console.file = io.StringIO()
    console.print(*what)
    return console.file.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_steers_the_terminal_or_is_taken_for_markup(name: str) -> None:
    table = Table("class")
    table.add_row(name)
    for text in (printed(name), printed(Text(name)), printed(table)):
        text.encode()
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e"}
        assert name.isprintable() is (name in text)


@given(st.lists(names, min_size=1, max_size=4, unique=True))
def test_class_names_of_any_characters_are_read_back_from_toml(found: list[str]) -> None:
    classes = ClassList(tuple(found), tuple((i, 0, 0) for i in range(len(found))))
    table = tomllib.loads(dataset_toml(classes, void=[254]) + splits_toml({"val": found}))
    assert [row["name"] for row in table["classes"]] == found
    assert table["splits"] == {"val": found}
    assert table["void"] == [254]


@pytest.mark.parametrize("name", ["\U0001f697", "\x7f", 'a"b\\c', "tab\there", "line\nend", "a\u2028b", "[bold]"])
def test_a_dataset_with_such_a_class_is_checked_and_reported(tmp_path: Path, name: str) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(4):
        write_png(tmp_path / "data" / "images" / f"{i}.png", rng.integers(0, 256, (20, 24, 3), np.uint8))
        write_png(tmp_path / "data" / "masks" / f"{i}.png", rng.integers(0, 2, (20, 24), np.uint8))
    (tmp_path / "data" / FILE_NAME).write_text(
        dataset_toml(ClassList(("other", name), ((0, 0, 0), (1, 2, 3)))), "utf-8"
    )
    settings = read_settings(tmp_path / "data")
    assert settings.classes is not None
    assert settings.classes.names == ("other", name)
    for more in ([], ["--json", "-"]):
        command = [sys.executable, "-m", "pixelwise", "check", str(tmp_path / "data"), *more]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)
        assert b"Traceback" not in done.stderr
        assert b"\x7f" not in done.stdout
        if more:
            assert [entry["name"] for entry in json.loads(done.stdout)["classes"]] == ["other", name]
