"""A new folder is there whole or not at all, with the folders above it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.datasets.new_folder import new_folder
from pixelwise.errors import OutputError


def write(out: Path, error: BaseException | None) -> None:
    with new_folder(out, None) as part:
        (part / "file").write_text("half")
        if error is not None:
            raise error


def test_nothing_stays_of_a_folder_that_was_not_finished(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for error in (ValueError(), KeyboardInterrupt(), OSError(28, "No space left on device")):
        with pytest.raises((ValueError, KeyboardInterrupt, OutputError)):
            write(tmp_path / "there/a/b/out", error)
        assert list((tmp_path / "there").iterdir()) == []
    write(tmp_path / "there/a/b/out", None)
    assert [path.name for path in (tmp_path / "there/a/b").iterdir()] == ["out"]
    assert (tmp_path / "there/a/b/out/file").read_text() == "half"
