"""One client an image: of this process, of another one on the same folder, and until it gives no sign of life."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from test_workspace import stroke

from pixelwise.errors import LabelLockedError
from pixelwise.labelling import image_locks
from pixelwise.labelling.image_locks import ImageLocks
from pixelwise.labelling.workspace import Workspace

OTHER = """
import sys
from pathlib import Path
from pixelwise.labelling.workspace import Workspace
from test_workspace import stroke
workspace = Workspace.open(Path(sys.argv[1]))
workspace.user = "Ada"
image = workspace.opened(workspace.photos()[0].id)
for line in sys.stdin:
    kind, *rest = line.split()
    if kind == "acquire":
        workspace.locks.acquire(image.id, "page", "Ada")
    elif kind == "edit":
        image.apply(stroke(rest[0], 0, int(rest[1]), 0, 5, 5))
        workspace.flush()
    elif kind == "rename":
        workspace.rename_class(0, "renamed")
    elif kind == "close":
        workspace.locks.let_go(image.id, "page")
        workspace.close()
    print("done", flush=True)
"""


class OtherProgram:
    """A second program on the same labelling folder."""

    def __init__(self, photos: Path) -> None:
        arguments = [sys.executable, "-c", OTHER, str(photos)]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent
        )

    def do(self, line: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30), (90, 120, 30)).save(folder / name)
    return folder


def test_two_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(image_locks.time, "monotonic", lambda: now[0])
    locks = ImageLocks(tmp_path)
    assert locks.acquire("a", "page 1", "Ada")
    assert not locks.acquire("a", "page 1", "Ada")  # a sign of life
    with pytest.raises(LabelLockedError, match="being labelled by Ada") as refused:
        locks.acquire("a", "page 2", "Bea")
    assert refused.value.holder == "Ada"
    assert (locks.holder("a"), locks.holder("b")) == ("Ada", None)
    now[0] += image_locks.LAPSE_S - 1
    locks.require("a", "page 1")
    now[0] += image_locks.LAPSE_S - 1
    with pytest.raises(LabelLockedError, match="Ada"):
        locks.require("a", "page 2")
    now[0] += 2
    assert locks.holder("a") is None
    assert locks.lapsed() == ["a"]
    with pytest.raises(LabelLockedError, match="Open it again"):
        locks.require("a", "page 1")
    locks.acquire("a", "page 2", "Bea")
    locks.let_go("a", "page 1")  # it holds nothing any more
    assert locks.holder("a") == "Bea"
    locks.let_go("a", "page 2")
    assert locks.holder("a") is None
    locks.release_all()


def test_a_page_that_has_left_opens_nothing_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last requests may arrive in any order: the one that opens an image after the one that says that it left."""
    now = [100.0]
    monkeypatch.setattr(image_locks.time, "monotonic", lambda: now[0])
    locks = ImageLocks(tmp_path)
    for image in ("a", "b"):
        locks.acquire(image, "page 1", "Ada")
    locks.acquire("c", "page 2", "Bea")
    locks.leave("page 1")
    assert [locks.holder(image) for image in "abc"] == [None, None, "Bea"]
    for image in ("a", "c", "d"):
        with pytest.raises(LabelLockedError, match="not open for this page any more"):
            locks.acquire(image, "page 1", "Ada")
        assert locks.holder(image) in (None, "Bea")
    now[0] += image_locks.LAPSE_S + 1
    locks.leave("page 2")
    locks.acquire("a", "page 1", "Ada")  # no request takes that long: the name is forgotten
    locks.release_all()


def test_what_may_be_leaving_is_soon_free_unless_it_gives_a_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(image_locks.time, "monotonic", lambda: now[0])
    locks = ImageLocks(tmp_path)
    for image, client in (("a", "page 1"), ("b", "page 2"), ("c", "page 3")):
        locks.acquire(image, client, "Ada")
    locks.may_leave("page 1")
    locks.may_leave("page 2")
    locks.require("b", "page 2")  # an edit
    assert locks.holder("a") == "Ada"  # not yet
    now[0] += image_locks.LEAVING_S + 1
    assert [locks.holder(image) for image in "abc"] == [None, "Ada", "Ada"]
    assert locks.acquire("a", "page 1", "Ada") is False  # it stayed after all: the process still has the file
    now[0] += image_locks.LEAVING_S + 1
    assert locks.holder("a") == "Ada"
    locks.release_all()


def test_two_programs(photos: Path) -> None:
    with Workspace.open(photos, classes=("sky",)) as workspace:
        image_id, free_id = (photo.id for photo in workspace.photos())
        image = workspace.opened(image_id)
        image.apply(stroke("mine", 0, 20, 20, 5, 5))
        workspace.flush()
        workspace.locks.release_file(image_id)
        other = OtherProgram(photos)
        try:
            other.do("acquire")
            assert workspace.locks.holder(image_id) == "Ada"
            for refused in (
                lambda: image.apply(stroke("2", 0, 0, 0, 5, 5)),
                image.undo,
                lambda: workspace.locks.acquire(image_id, "page", "Bea"),
            ):
                with pytest.raises(LabelLockedError, match="being labelled by Ada"):
                    refused()
            workspace.opened(free_id).apply(stroke("1", 0, 0, 0, 5, 5))
            other.do("edit theirs 0")
            other.do("rename")
            time.sleep(1.1)  # looked for about once a second
            assert workspace.opened(image_id).labelled == 50
            assert [one.name for one in workspace.classes.classes] == ["renamed"]
            other.do("edit theirs-2 10")
        finally:
            other.kill()
        assert workspace.locks.holder(image_id) is None  # it ended with its program
        image.apply(stroke("2", 0, 30, 20, 5, 5))
        assert (image.labelled, image.version) == (4 * 25, 4)
        workspace.flush()
        lines = (workspace.out / "labels.jsonl").read_text().splitlines()
        assert len(lines) == 5
    with Workspace.open(photos) as workspace:
        assert workspace.opened(image_id).labelled == 100
        assert workspace.notes == []
        assert len((workspace.out / "labels.jsonl").read_text().splitlines()) == 5


def test_a_lock_without_a_client_is_freed(photos: Path) -> None:
    with Workspace.open(photos, classes=("sky",)) as workspace:
        image_id = workspace.photos()[0].id
        workspace.locks.acquire(image_id, "page", "Ada")
        workspace.opened(image_id).apply(stroke("1", 0, 0, 0, 5, 5))
        workspace.locks.let_go(image_id, "page")
        end = time.monotonic() + 120
        while workspace.locks.holds_file(image_id):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert workspace.opened(image_id).durable == 1
