"""`predict` over files and folders: what is written, and what keeps it from writing."""

from __future__ import annotations

import hashlib
import json
import pickle
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import THREE, picture
from pixelwise.errors import ImageError, OutputError, UsageError
from pixelwise.images.image_files import read_image, read_mask, read_mask_ids, write_png
from pixelwise.prediction import manifest as manifest_module
from pixelwise.prediction import predict as folder_module
from pixelwise.prediction.find_images import jobs_of, survey
from pixelwise.prediction.label_file import Job, LabelOptions, label_file
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.outputs import STATE
from pixelwise.prediction.overlay import boundaries, overlay
from pixelwise.prediction.pixel_budget import PixelBudget
from pixelwise.prediction.predict import predict
from pixelwise.prediction.walk_folders import ignored
from pixelwise.trace_events import Event


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images, one in a sub-folder, and files that are no images."""
    (tmp_path / "photos" / "day 2").mkdir(parents=True)
    write_png(tmp_path / "photos" / "a.png", picture(1, 40, 50))
    write_png(tmp_path / "photos" / "day 2" / "frame.0001.png", picture(2, 30, 20))
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    (tmp_path / "photos" / ".hidden.png").write_text("no image either")
    return tmp_path / "photos"


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def results_in(folder: Path) -> list[str]:
    """Result files, without the manifest and what belongs to it."""
    kept = ("predictions.jsonl", "dataset.toml")
    return [name for name in files_in(folder) if not name.startswith(STATE) and name not in kept]


def records_in(out: Path) -> dict[str, Any]:
    """The manifest's lines by name; each name once."""
    lines = (out / "predictions.jsonl").read_text("utf-8").splitlines()
    records = {record["name"]: record for record in map(json.loads, lines)}
    assert len(records) == len(lines)
    return records


def test_folders_are_mirrored(model: Model, photos: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    out = tmp_path / "out"
    summary = predict(model, [photos], out, progress=lambda done, total: seen.append((done, total)))
    assert (summary.done, summary.failed, summary.exit_code) == (2, (), 0)
    assert results_in(out) == ["a.png", "day 2/frame.0001.png"]
    assert seen[0] == (0, 2)
    assert seen[-1] == (2, 2)
    assert seen == sorted(seen)
    prediction = model.predict(photos / "a.png")
    assert (read_mask(out / "a.png", {}, 3) == prediction.labels).all()
    assert (read_image(out / "a.png") == THREE.palette()[prediction.labels]).all()


def test_the_manifest_says_what_was_done(model: Model, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"no image")
    out = tmp_path / "out"
    predict(model, [photos], out, save=["labels", "overlay"])
    records = records_in(out)
    assert set(records) == {"a", "bad", "day 2/frame.0001"}
    told, content = records["a"], (photos / "a.png").read_bytes()
    assert told["file"] == str(photos / "a.png")
    assert told["sha256"] == hashlib.sha256(content).hexdigest()
    assert (told["bytes"], told["width"], told["height"]) == (len(content), 50, 40)
    assert told["saved"] == ["a.png", "a.overlay.png"]
    assert told["error"] is None
    assert set(told["milliseconds"]) == {"decode", "model", "write", "all"}
    shares = model.predict(photos / "a.png").shares
    assert told["shares"] == pytest.approx(shares, abs=1e-6)
    assert read_image(out / "a.overlay.png").shape == (40, 50, 3)
    assert "bad.png" in records["bad"]["error"]
    assert records["bad"]["saved"] == []


def test_earlier_results_in_the_folder_are_not_images(model: Model, photos: Path) -> None:
    for _ in range(2):
        assert predict(model, [photos], photos / "labelled", fresh=True).done == 2


def test_one_bad_file_costs_one_file(model: Model, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    (photos / "empty.png").touch()
    summary = predict(model, [photos], tmp_path / "out")
    assert summary.done == 2
    assert sorted(path.name for path, _ in summary.failed) == ["broken.jpg", "empty.png"]
    assert summary.exit_code == 1
    assert "broken.jpg" in str(summary)
    assert not [name for name in files_in(tmp_path / "out") if "broken" in name or "empty" in name]
    assert set(records_in(tmp_path / "out")) == {"a", "broken", "day 2/frame.0001", "empty"}
    assert json.loads(json.dumps(summary.to_json()))["failures"] == 2


def test_strict_stops_at_the_first_bad_file(
    model: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "usable_cores", lambda: 2)  # with 64 all would have been begun
    (photos / "b.png").write_bytes(b"no image")
    for i in range(30):
        write_png(photos / f"c{i}.png", picture(i, 20, 20))
    with pytest.raises(ImageError, match=r"b\.png"):
        predict(model, [photos], tmp_path / "out", strict=True)
    records = records_in(tmp_path / "out")
    assert "b" in records
    assert len(records) < 20  # what had been begun is ended, and no more begun
    good = {f"{name}.png" for name, record in records.items() if record["error"] is None}
    assert good == set(results_in(tmp_path / "out"))


def test_what_is_missing_is_listed_before_anything_is_done(model: Model, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one\.png, .*two") as caught:
        predict(model, [photos, tmp_path / "one.png", tmp_path / "two"], tmp_path / "out")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_nothing_to_label_is_said(model: Model, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="no images in"):
        predict(model, [tmp_path / "none"], tmp_path / "out")
    with pytest.raises(UsageError, match="no images were named"):
        predict(model, [], tmp_path / "out")


def test_images_of_one_stem_keep_their_endings(model: Model, photos: Path, tmp_path: Path) -> None:
    (photos / "a.bmp").write_bytes((photos / "a.png").read_bytes())
    (photos / "a.bmp.png").write_bytes((photos / "a.png").read_bytes())  # whose results would be those of a.bmp
    summary = predict(model, [photos], tmp_path / "out")
    assert not summary.failures
    assert {"a.bmp.png", "a.png.png", "a.bmp.png.png"} <= {path.name for path in (tmp_path / "out").iterdir()}
    again = predict(model, [photos], tmp_path / "out")
    assert (again.done, again.before) == (0, summary.done)


def test_a_clash_of_names_costs_those_images_alone(model: Model, photos: Path, tmp_path: Path) -> None:
    write_png(photos / "day 2" / "a.png", picture(3, 9, 9))
    write_png(photos / "day 2" / "other.png", picture(3, 9, 9))
    summary = predict(model, [photos / "a.png", photos / "day 2"], tmp_path / "out")
    assert (summary.failures, summary.exit_code) == (2, 1)
    assert summary.done >= 1
    assert (tmp_path / "out" / "other.png").exists()
    assert "would overwrite those of" in summary.failed[0][1]
    assert str(photos / "day 2" / "a.png") in str(summary)
    with pytest.raises(UsageError, match="overwrite each other's results"):  # nothing is left to label
        predict(model, [photos / "a.png", photos / "day 2" / "a.png"], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_files_of_other_kinds_are_counted(model: Model, photos: Path, tmp_path: Path) -> None:
    for name in ("a.xyz", "b.xyz", "README"):
        (photos / name).write_text("no image")
    summary = predict(model, [photos], tmp_path / "out")
    assert dict(summary.passed_over) == {".xyz": 2, "no ending": 1, ".txt": 1}
    assert "4 files of other kinds (2 .xyz, .txt, no ending) skipped" in str(summary)
    with pytest.raises(UsageError, match=r"2 files of other kinds \(\.xyz\)"):
        predict(model, [photos / "*.xyz"], tmp_path / "none")


def test_an_image_is_never_overwritten(model: Model, photos: Path) -> None:
    before = (photos / "a.png").read_bytes()
    with pytest.raises(UsageError, match=r"would overwrite .*a\.png.*--out"):
        predict(model, [photos / "a.png"], photos)
    assert (photos / "a.png").read_bytes() == before


def test_an_image_named_twice_is_labelled_once(model: Model, photos: Path, tmp_path: Path) -> None:
    assert predict(model, [photos / "a.png", photos / "a.png"], tmp_path / "out").done == 1


def test_output_that_cannot_be_written_is_said_before_work_starts(
    model: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "label_file", lambda *_, **__: pytest.fail("work was started"))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be created"):
        predict(model, [photos], tmp_path / "file" / "out")
    monkeypatch.setattr(manifest_module, "write_whole", read_only)
    with pytest.raises(OutputError, match="Read-only file system"):
        predict(model, [photos], tmp_path / "out")


def read_only(path: Path, _data: bytes) -> None:
    raise OutputError(f"{path}: cannot be written (Read-only file system). Choose a folder that you may write to.")


def test_globs_find_what_a_shell_would(model: Model, photos: Path, tmp_path: Path) -> None:
    predict(model, [photos / "*"], tmp_path / "one")
    assert results_in(tmp_path / "one") == ["a.png", "day 2/frame.0001.png"]
    predict(model, [photos / "**" / "frame*"], tmp_path / "two")
    assert results_in(tmp_path / "two") == ["day 2/frame.0001.png"]
    write_png(photos / "odd [1].png", picture(5, 20, 20))  # a file of that name, not a pattern
    predict(model, [photos / "odd [1].png"], tmp_path / "three")
    assert results_in(tmp_path / "three") == ["odd [1].png"]
    with pytest.raises(UsageError, match="no images in"):
        predict(model, [photos / "*.tif"], tmp_path / "four")


def test_a_folder_of_images_is_not_the_folder_of_results(model: Model, photos: Path) -> None:
    with pytest.raises(UsageError, match="would take the results for images"):
        predict(model, [photos], photos)
    for _ in range(2):  # patterns do not find earlier results either
        summary = predict(model, [photos / "**" / "*"], photos / "labelled")
        assert summary.done + summary.before == 2


def test_one_image_needs_no_folder_around_it(model: Model, photos: Path, tmp_path: Path) -> None:
    """What goes to a worker and comes back from it can be sent: the job, what is wanted, the record."""
    job = Job(photos / "a.png", tmp_path / "out", "deep/er/a")
    job, wanted = pickle.loads(pickle.dumps((job, LabelOptions(("index", "confidence")))))  # noqa: S301 – our own
    record = json.loads(json.dumps(label_file(model, job, wanted)))
    assert record["error"] is None
    assert files_in(tmp_path / "out") == sorted(record["saved"]) == ["deep/er/a.confidence.png", "deep/er/a.png"]
    assert (read_mask_ids(tmp_path / "out/deep/er/a.png") == model.predict(photos / "a.png").labels).all()
    gone = label_file(model, Job(photos / "gone.png", tmp_path / "out", "gone"), wanted)
    assert "gone.png: no such file" in gone["error"]
    assert (gone["name"], gone["saved"]) == ("gone", [])


@pytest.mark.parametrize("together", [False, True])
def test_ctrl_c_keeps_what_is_done(
    model: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    monkeypatch.setattr(folder_module, "usable_cores", lambda: 2)
    if together:  # several images are done before anybody looks
        monkeypatch.setattr(folder_module, "wait", lambda futures, **_: wait(futures))
    for i in range(20):
        write_png(photos / f"{i:02}.png", picture(i, 20, 20))

    def interrupted(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(model, [photos], tmp_path / "out", progress=interrupted)
    noted = records_in(tmp_path / "out")
    assert 2 <= len(noted) < 22
    assert {f"{name}.png" for name in noted} == set(results_in(tmp_path / "out"))
    summary = predict(model, [photos], tmp_path / "out")
    assert (summary.before, summary.done) == (len(noted), 22 - len(noted))


def test_large_images_wait_for_each_other() -> None:
    room, held, most = PixelBudget(100), [0], [0]
    look = threading.Lock()

    def work(pixels: int) -> None:
        with room.hold(pixels):
            with look:
                held[0] += pixels
                most[0] = max(most[0], held[0])
                assert held[0] <= 100 or pixels > 100
            with look:
                held[0] -= pixels

    with ThreadPoolExecutor(8) as pool:
        for ended in [pool.submit(work, pixels) for pixels in [10, 60, 70, 100, 500, 5] * 40]:
            ended.result()
    assert held == [0]
    assert room.free == 100


def test_memory_of_a_walk_does_not_hold_every_path(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for i in range(3000):
        (tmp_path / "many" / f"{i:04}.png").touch()
    one = [tmp_path / "many" / "0000.png"]  # imports what is needed
    list(jobs_of(one, tmp_path / "out", survey(one, tmp_path / "out", ("labels",)), ignored, lambda job, other: None))
    tracemalloc.start()
    found = survey([tmp_path / "many"], tmp_path / "out", ("labels",))
    for _ in jobs_of([tmp_path / "many"], tmp_path / "out", found, ignored, lambda job, other: None):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.total == 3000
    assert peak / 3000 < 400  # a name and two hashes; the paths of a job alone take a kilobyte


def test_who_listens_hears_four_stages_and_gets_the_same_labels(model: Model, photos: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    predict(model, [photos / "a.png"], tmp_path / "out", tell=events.append)
    assert [event["stage"] for event in events] == [
        "input image",
        "preprocess",
        "model",
        "pixel-wise classification",
    ]
    assert [event["shape"] for event in events] == [[40, 50, 3], [64, 96, 3], [64, 96, 3], [40, 50]]
    assert all(event["milliseconds"] > 0 for event in events)
    json.dumps(events)
    assert (read_mask(tmp_path / "out" / "a.png", {}, 3) == model.predict(photos / "a.png").labels).all()


def test_boundaries_are_drawn_between_classes() -> None:
    labels: Any = np.zeros((10, 12), np.uint8)
    labels[:, 6:] = 1
    edges = boundaries(labels)
    assert edges[:, 5].all()
    assert edges.sum() == 10
    image = np.full((10, 12, 3), 100, np.uint8)
    drawn = overlay(image, labels, THREE)
    assert (drawn[:, 5] == 255).all()
    assert (drawn[0, 0] == np.round((np.array([70, 130, 180]) + 100) / 2)).all()
