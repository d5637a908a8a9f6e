"""A disk that fills, a folder that is read-only or vanishes: an error says so, and no edit is lost in silence."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from test_workspace import stroke

from pixelwise.errors import DataError, ImageError, OutputError
from pixelwise.labelling.label_classes import LabelClasses
from pixelwise.labelling.labelling_folder import read_classes
from pixelwise.labelling.workspace import Workspace


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30), (90, 120, 30)).save(folder / name)
    return folder


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int, below: str = "") -> list[bool]:
    """A function of os fails while the list that is returned holds True, on files whose path contains `below`."""
    real, on = getattr(os, name), [True]

    def call(first: object, *more: object, **named: object) -> object:
        path = str(Path(f"/proc/self/fd/{first}").readlink()) if isinstance(first, int) else os.fsdecode(first)  # type: ignore[arg-type]
        if on[0] and below in path:
            raise OSError(number, os.strerror(number))
        return real(first, *more, **named)

    monkeypatch.setattr(os, name, call)
    return on


proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds a file's name in /proc")


@proc
@pytest.mark.parametrize("function", ["write", "fsync"])
def test_a_full_disk_keeps_edits_until_there_is_room(
    photos: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    with Workspace.open(photos, classes=("sky", "road")) as workspace:
        image = workspace.opened(workspace.photos()[0].id)
        image.apply(stroke("1", 0, 0, 0, 9, 9))
        workspace.flush()
        log = workspace.inside / "edits" / f"{image.id}.log"
        size = log.stat().st_size
        full = failing(monkeypatch, function, errno.ENOSPC, "/edits/")
        image.apply(stroke("2", 1, 20, 0, 9, 9))
        with pytest.raises(OutputError, match=r"No space left.*Free disk space"):
            workspace.flush()
        assert log.stat().st_size == size  # no part of a record is left
        assert (image.version, image.durable) == (2, 1)
        assert "No space" in workspace.failure
        for refused in (lambda: image.apply(stroke("3", 1, 0, 20, 9, 9)), image.undo, image.redo):
            with pytest.raises(OutputError, match="No space left"):
                refused()
        with pytest.raises(OutputError, match="No space left"):
            workspace.add_class("car")
        full[0] = False
        until(lambda: not workspace.failure)
        image.apply(stroke("3", 1, 0, 20, 9, 9))
        workspace.flush()
        assert image.durable == 3
        image_id = image.id
    with Workspace.open(photos) as workspace:
        assert workspace.opened(image_id).labelled == 3 * 81
        assert workspace.notes == []


@proc
def test_masks_that_cannot_be_written_do_not_stop_edits(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workspace.open(photos, classes=("sky",)) as workspace:
        full = failing(monkeypatch, "fsync", errno.ENOSPC, "/masks/")
        one, two = (workspace.opened(photo.id) for photo in workspace.photos())
        one.apply(stroke("1", 0, 0, 0, 9, 9))
        with pytest.raises(OutputError, match="masks"):
            workspace.flush()
        one.apply(stroke("2", 0, 20, 0, 9, 9))
        two.apply(stroke("1", 0, 0, 0, 9, 9))
        until(lambda: one.durable == 2 and two.durable == 1)
        assert "masks" in workspace.failure
        full[0] = False
        until(lambda: not workspace.failure)
        workspace.flush()
        assert sorted(path.name for path in (workspace.out / "masks").iterdir()) == ["a.png", "b.png"]


def test_a_folder_that_vanishes_and_comes_back(photos: Path, tmp_path: Path) -> None:
    with Workspace.open(photos, classes=("sky",)) as workspace:
        image = workspace.opened(workspace.photos()[0].id)
        workspace.locks.acquire(image.id, "page", "Ada")
        image.apply(stroke("1", 0, 0, 0, 9, 9))
        workspace.flush()
        away = tmp_path / "away"
        workspace.out.rename(away)
        image.apply(stroke("2", 0, 20, 0, 9, 9))
        with pytest.raises(OutputError, match=r"labels: the labelling folder is gone\. Bring it back"):
            workspace.flush()
        with pytest.raises(OutputError, match=r"labels: the labelling folder is gone\. Bring it back"):
            image.apply(stroke("3", 0, 0, 20, 9, 9))
        assert not workspace.out.exists()  # nothing is begun again in its place
        away.rename(workspace.out)
        until(lambda: not workspace.failure)
        image.apply(stroke("3", 0, 0, 20, 9, 9))
    with Workspace.open(photos) as workspace:
        assert workspace.opened(workspace.photos()[0].id).labelled == 3 * 81


def test_closing_says_what_was_not_saved(photos: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(photos, classes=("sky",))
    image = workspace.opened(workspace.photos()[0].id)
    workspace.locks.acquire(image.id, "page", "Ada")
    image.apply(stroke("1", 0, 0, 0, 9, 9))
    workspace.flush()
    workspace.out.rename(tmp_path / "away")
    with pytest.raises(OutputError, match="is gone"):
        workspace.locks.acquire(workspace.photos()[1].id, "page", "Ada")
    image.apply(stroke("2", 0, 20, 0, 9, 9))
    with pytest.raises(OutputError, match=r"labels: the labelling folder is gone\. Bring it back"):
        workspace.close()


def test_another_program_writes_the_log(photos: Path) -> None:
    with Workspace.open(photos, classes=("sky",)) as workspace:
        image = workspace.opened(workspace.photos()[0].id)
        image.apply(stroke("1", 0, 0, 0, 9, 9))
        workspace.flush()
        log = workspace.inside / "edits" / f"{image.id}.log"
        whole = log.read_bytes()
        log.write_bytes(whole + b"more")
        workspace.locks.hold_file(image.id, "me")
        image.apply(stroke("2", 0, 20, 0, 9, 9))
        with pytest.raises(OutputError, match="another program changed it"):
            workspace.flush()
        log.write_bytes(whole)
        until(lambda: not workspace.failure)


@proc
def test_read_only(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workspace.open(photos, classes=("sky",)) as workspace:
        workspace.opened(workspace.photos()[0].id).apply(stroke("1", 0, 0, 0, 9, 9))
    before = {path: path.stat().st_mtime_ns for path in workspace.out.rglob("*")}
    read = Path.open

    def opened(path: Path, mode: str = "r", *more: object, **named: object) -> object:
        if set(mode) & set("wax+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return read(path, mode, *more, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", opened)
    with Workspace.open(photos) as workspace:
        assert workspace.read_only
        assert any("looked at, not changed" in note for note in workspace.notes)
        image = workspace.opened(workspace.photos()[0].id)
        assert image.labelled == 81
        for refused in (
            lambda: image.apply(stroke("2", 0, 20, 0, 9, 9)),
            image.undo,
            lambda: workspace.add_class("x"),
            lambda: workspace.set_done(image.id, done=True),
        ):
            with pytest.raises(OutputError, match="read-only"):
                refused()
    assert {path: path.stat().st_mtime_ns for path in workspace.out.rglob("*")} == before


def test_a_photo_that_vanishes_before_its_first_edit(photos: Path) -> None:
    with Workspace.open(photos, classes=("sky",)) as workspace:
        image = workspace.opened(workspace.photos()[0].id)
        data = (photos / "a.png").read_bytes()
        (photos / "a.png").unlink()
        image.apply(stroke("1", 0, 0, 0, 9, 9))
        with pytest.raises(ImageError, match=r"a\.png: cannot be copied"):
            workspace.flush()
        assert image.durable == 1
        (photos / "a.png").write_bytes(data)
        until(lambda: not workspace.failure)
        assert (workspace.out / "images" / "a.png").read_bytes() == data


def test_photos_that_are_gone_are_named_and_labelled_ones_shown_from_their_copy(photos: Path, tmp_path: Path) -> None:
    with Workspace.open(photos, classes=("sky",)) as workspace:
        image = workspace.opened(workspace.photos()[0].id)
        image.apply(stroke("1", 0, 0, 0, 9, 9))
    photos.rename(tmp_path / "moved")
    with Workspace.open(workspace.out) as again:
        assert [photo.name for photo in again.photos()] == ["a.png"]
        assert any("copies are shown: a.png" in note for note in again.notes)
        assert any("have no labels: b.png" in note for note in again.notes)
        assert again.pixels(image.id).pixels.shape == (30, 40, 3)
        again.opened(image.id).undo()
        again.flush()
        assert (again.out / "images" / "a.png").exists()  # the only copy that there is
        again.opened(image.id).redo()
    with Workspace.open(tmp_path / "moved", workspace.out) as again:
        assert [photo.name for photo in again.photos()] == ["a.png", "b.png"]
        assert again.opened(image.id).labelled == 81
        assert again.notes == []


def test_damage_inside_a_log_is_kept_beside(photos: Path) -> None:
    with Workspace.open(photos, classes=("sky",)) as workspace:
        image = workspace.opened(workspace.photos()[0].id)
        for number in range(4):
            image.apply(stroke(str(number), 0, 10 * number, 0, 9, 9))
            workspace.flush()
        log, entry = image.log.path, image.log.entries[2]
    data = bytearray(log.read_bytes())
    data[entry.offset + entry.length - 2] ^= 255
    log.write_bytes(data)
    with Workspace.open(photos) as workspace:
        assert workspace.opened(image.id).labelled == 2 * 81
        assert any("damaged" in note and "backup" in note for note in workspace.notes)
        assert log.with_suffix(".damaged").read_bytes() == bytes(data[entry.offset :])
    log.write_bytes(b"no log")
    with Workspace.open(photos) as workspace, pytest.raises(DataError, match="no log of edits"):
        workspace.opened(image.id)


def test_damaged_lists_are_refused_by_name(photos: Path) -> None:
    with Workspace.open(photos, classes=("sky",)) as workspace:
        inside = workspace.inside
    assert read_classes(workspace.out) == workspace.classes != LabelClasses()
    for name in ("classes.json", "photos.json"):
        whole = (inside / name).read_bytes()
        (inside / name).write_bytes(whole[:20])
        with pytest.raises(DataError, match=name):
            Workspace.open(photos)
        (inside / name).write_bytes(whole)


def test_a_photo_of_another_size(photos: Path) -> None:
    with Workspace.open(photos, classes=("sky",)) as workspace:
        image = workspace.opened(workspace.photos()[0].id)
        image.apply(stroke("1", 0, 0, 0, 9, 9))
    Image.new("RGB", (20, 20)).save(photos / "a.png")
    with Workspace.open(photos) as workspace, pytest.raises(DataError, match="it was labelled at 40×30"):
        workspace.opened(image.id)
