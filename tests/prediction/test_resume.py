"""A run that was killed goes on where it was; nothing is mixed, nothing done twice, no two runs in one folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import make_bundle, picture
from pixelwise.errors import OutputError, UsageError
from pixelwise.images.image_files import read_mask_ids, write_png
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.manifest import locked, make_folder, read_records
from pixelwise.prediction.outputs import STATE
from pixelwise.prediction.predict import predict

IMAGES = 14
PATIENCE_S = 120  # for another process to get somewhere on a busy machine


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for i in range(IMAGES):
        place = folder / ("day 2" if i % 3 else "day 1") / f"{i:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_png(place, picture(i, 30, 40))
    return folder


STUCK = """
import sys, time
from pixelwise.prediction import predict
from pixelwise.prediction.load_model import load

original, begun = predict.label_file, []

def stuck(model, job, wanted, **more):
    begun.append(job)
    if len(begun) > int(sys.argv[4]):
        time.sleep(1e6)
    return original(model, job, wanted, **more)

predict.label_file = stuck
predict.predict(load(sys.argv[1], threads=1), [sys.argv[2]], sys.argv[3], save=["labels", "numpy"])
"""


def started(bundle: Path, photos: Path, out: Path, images: int) -> subprocess.Popen[bytes]:
    """A run in a process of its own that has noted so many images and gets no further."""
    process = subprocess.Popen([sys.executable, "-c", STUCK, str(bundle), str(photos), str(out), str(images)])
    until = time.monotonic() + PATIENCE_S
    while len(list(read_records(out))) < images:
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < until, "it did not get there"
        time.sleep(0.05)
    return process


def test_a_killed_run_goes_on(tiny_bundle: Path, model: Model, photos: Path, tmp_path: Path) -> None:
    out, save = tmp_path / "out", ["labels", "numpy"]
    process = started(tiny_bundle, photos, out, 5)
    with pytest.raises(OutputError, match="another `pixelwise predict` is writing here"):
        predict(model, [photos], out, save=save)
    process.kill()  # SIGKILL: it cannot tidy up
    process.wait()
    with (out / "predictions.jsonl").open("ab") as file:
        file.write(b'{"file": "cut sho')  # as a kill in the midst of a write would leave it
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.npy")}
    assert len(before) >= 5
    summary = predict(model, [photos], out, save=save)
    assert (summary.before, summary.done, summary.failures) == (5, IMAGES - 5, 0)
    records = list(read_records(out))
    assert len({record["name"] for record in records}) == len(records) == IMAGES
    assert len((out / "predictions.jsonl").read_bytes().splitlines()) == IMAGES
    noted = {out / f"{record['name']}.npy" for record in records[:5]}
    assert all(path.stat().st_mtime_ns == before[path] for path in noted)
    for image in photos.rglob("*.png"):
        result = out / image.relative_to(photos)
        assert (read_mask_ids(result) == model.predict(image).labels).all()


def test_what_is_done_is_not_done_again(model: Model, photos: Path, tmp_path: Path, monkeypatch: Any) -> None:
    out = tmp_path / "out"
    predict(model, [photos], out)
    manifest = (out / "predictions.jsonl").read_bytes()
    monkeypatch.chdir(tmp_path)
    summary = predict(model, ["photos"], "out")  # the same files by another path
    assert (summary.done, summary.before, summary.exit_code) == (0, IMAGES, 0)
    assert (out / "predictions.jsonl").read_bytes() == manifest


def test_lost_results_and_changed_images_are_done_again(model: Model, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(model, [photos], out)
    (out / "day 1" / "00.png").unlink()
    write_png(photos / "day 2" / "01.png", picture(99, 30, 40))
    content = (photos / "day 2" / "02.png").read_bytes()
    (photos / "day 2" / "02.png").write_bytes(content)  # another time, the same content
    (photos / "day 2" / "new.png").write_bytes(content)
    summary = predict(model, [photos], out)
    assert (summary.done, summary.before) == (3, IMAGES - 2)
    assert (read_mask_ids(out / "day 2" / "01.png") == model.predict(photos / "day 2" / "01.png").labels).all()
    records = list(read_records(out))
    assert len({record["name"] for record in records}) == len(records) == IMAGES + 1


def test_images_that_failed_are_tried_again(model: Model, photos: Path, tmp_path: Path) -> None:
    out, bad = tmp_path / "out", photos / "day 1" / "bad.png"
    bad.write_bytes(b"no image")
    assert predict(model, [photos], out).failures == 1
    write_png(bad, picture(7, 20, 20))
    summary = predict(model, [photos], out)
    assert (summary.done, summary.before, summary.failures) == (1, IMAGES, 0)
    assert [record["error"] for record in read_records(out)] == [None] * (IMAGES + 1)


def test_images_of_another_folder_with_the_same_names_are_refused(model: Model, photos: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    predict(model, [photos], out)
    (other / "day 1").mkdir(parents=True)
    write_png(other / "day 1" / "00.png", picture(50, 30, 40))
    (other / "day 1" / "03.png").write_bytes((photos / "day 1" / "03.png").read_bytes())
    before = (out / "day 1" / "00.png").read_bytes()
    summary = predict(model, [other], out)
    assert (summary.done, summary.before, summary.failures) == (0, 1, 1)  # a copy counts as done
    assert "belongs to another image of this name" in summary.failed[0][1]
    assert (out / "day 1" / "00.png").read_bytes() == before
    assert predict(model, [photos], out).before == IMAGES


def test_other_settings_are_refused_or_begun_afresh(model: Model, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(model, [photos], out, save=["labels", "overlay"])
    (out / "notes.txt").write_text("not ours")
    before = sorted(out.rglob("*"))
    with pytest.raises(UsageError, match=r"--save was labels,overlay, now labels.*--fresh"):
        predict(model, [photos], out)
    with pytest.raises(UsageError, match=r"--tta was none, now flip.*--fresh"):
        predict(model, [photos], out, save=["labels", "overlay"], tta="flip")
    make_bundle(tmp_path / "other.onnx", "unet", size=(32, 32))
    with pytest.raises(UsageError, match=r"model was [0-9a-f]{12}, now [0-9a-f]{12}.*--fresh"):
        predict(tmp_path / "other.onnx", [photos], out, save=["labels", "overlay"])
    assert sorted(out.rglob("*")) == before
    summary = predict(model, [photos], out, fresh=True)
    assert (summary.done, summary.before) == (IMAGES, 0)
    assert not list(out.rglob("*.overlay.png"))  # nothing of the earlier run is left among the new
    assert (out / "notes.txt").read_text() == "not ours"


def test_a_damaged_state_is_refused(model: Model, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(model, [photos], out)
    (out / STATE / "settings.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        predict(model, [photos], out)
    (out / STATE / "settings.json").unlink()
    with pytest.raises(UsageError, match="not its settings"):
        predict(model, [photos], out)


def test_begun_afresh_takes_nothing_away_outside(model: Model, photos: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "precious.png"
    other.write_bytes(b"precious")
    predict(model, [photos], out)
    record = next(read_records(out)) | {"saved": ["../precious.png", str(other)]}
    with (out / "predictions.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n[1]\n\xff\n")
    predict(model, [photos], out, fresh=True)
    assert other.read_bytes() == b"precious"


def test_a_lock_ends_with_the_work(tmp_path: Path) -> None:
    make_folder(tmp_path / STATE)
    with locked(tmp_path), pytest.raises(OutputError, match="Wait until it ends"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
