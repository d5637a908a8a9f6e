"""The demonstration, with fewer scenes than people see."""

from pathlib import Path

import pytest

from pixelwise.errors import UsageError
from pixelwise.training import demo as module
from pixelwise.training.demo import demo, unused_folder


def test_the_demonstration_does_the_whole_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNTS", {"train": 4, "val": 2, "test": 2})
    events = []
    done = demo(tmp_path / "demo", epochs=1, tell=events.append)
    assert {event["event"] for event in events} >= {"data", "flow", "epoch", "export"}
    assert done.trained.bundle.is_file()
    assert done.report.split == "test"
    assert 0 < done.report.accuracy <= 1
    assert done.model.predict(done.image).labels.shape == (360, 480)
    with pytest.raises(UsageError, match="earlier demo"):
        demo(tmp_path / "demo")


def test_a_second_demonstration_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    assert unused_folder(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo" / "run").mkdir(parents=True)
    (tmp_path / "demo-2" / "run").mkdir(parents=True)
    assert unused_folder(tmp_path / "demo") == tmp_path / "demo-3"
