"""A folder of bad files: each is told, none stops the rest, nothing hangs and nothing is half-written."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import picture
from pixelwise.errors import OutputError
from pixelwise.images import input_image
from pixelwise.images.files import shown
from pixelwise.images.image_files import read_mask_ids, write_png
from pixelwise.prediction import channel_groups, result_files
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.manifest import read_records
from pixelwise.prediction.outputs import STATE
from pixelwise.prediction.predict import Summary, predict


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    write_png(tmp_path / "photos" / "good.png", picture(1, 40, 50))
    write_png(tmp_path / "photos" / "late.png", picture(2, 40, 50))
    return tmp_path / "photos"


def alone_is_bad(model: Model, photos: Path, bad: Path, said: str) -> Summary:
    """Label the folder; exactly one file fails, with these words, and the others are done."""
    out = photos.parent / "out"
    summary = predict(model, [photos], out)
    assert summary.failures == 1
    assert said in summary.failed[0][1]
    assert shown(bad) in summary.failed[0][1]
    assert "\n" not in summary.failed[0][1]
    good = len([path for path in photos.iterdir() if path != bad and path.suffix == ".png"])
    assert summary.done == good
    left = [path for path in out.rglob("*") if path.suffix == ".part" or path.stem == bad.stem]
    assert left == []
    again = predict(model, [photos], out)  # the bad one is tried again, the others are not
    assert (again.done, again.before, again.failures) == (0, good, 1)
    return summary


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def tiff(bands: int, bits: int = 16, size: tuple[int, int] = (6, 8)) -> bytes:
    """A TIFF of any number of bands, uncompressed."""
    height, width = size
    pixels = bytes(height * width * bands * bits // 8)
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, bands, 0), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, 1, 0), (277, 3, 1, bands), (278, 4, 1, height), (279, 4, 1, len(pixels))]  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    values = {258: start if bands > 2 else bits << 16 | bits, 273: start + 2 * bands}
    entries = b"".join(struct.pack("<HHII", tag, kind, n, values.get(tag, value)) for tag, kind, n, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head + struct.pack(f"<{bands}H", *[bits] * bands) + pixels


def test_a_bomb_is_refused_by_its_header(model: Model, photos: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(2_000_000), 9)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    assert len(bomb) < 10_000
    (photos / "bomb.png").write_bytes(bomb)
    alone_is_bad(model, photos, photos / "bomb.png", "3,600,000,000 pixels; the limit is 100,000,000")


@pytest.mark.parametrize("compression", [None, "tiff_deflate", "tiff_lzw"])
def test_a_truncated_tiff_is_told(model: Model, photos: Path, compression: str | None) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 70, 3), np.uint8)
    whole = photos / "whole.tif"
    Image.fromarray(noise).save(whole, compression=compression)
    data = whole.read_bytes()
    whole.unlink()
    at = data.index(noise[30].tobytes()) if compression is None else len(data) // 2
    cut = photos / "cut.tif"
    cut.write_bytes(data[:at])
    alone_is_bad(model, photos, cut, "truncated or damaged")


@pytest.mark.parametrize("bands", [2, 5, 13])
def test_an_odd_number_of_bands_is_told(model: Model, photos: Path, bands: int) -> None:
    (photos / "bands.tif").write_bytes(tiff(bands))
    alone_is_bad(model, photos, photos / "bands.tif", f"has {bands} bands (band 1")


def test_a_bigtiff_that_points_past_its_end_is_told(model: Model, photos: Path) -> None:
    (photos / "bad.tif").write_bytes(b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63))
    alone_is_bad(model, photos, photos / "bad.tif", "its TIFF header cannot be read")


def test_whatever_a_reader_raises_is_that_files_error(model: Model, photos: Path, monkeypatch: Any) -> None:
    (photos / "odd.bmp").write_bytes(b"BM")
    decode = input_image.open_image

    def failing(data: bytes) -> Any:
        if data == b"BM":
            raise LookupError("nobody thought of this")
        return decode(data)

    monkeypatch.setattr(input_image, "open_image", failing)
    alone_is_bad(model, photos, photos / "odd.bmp", "could not be labelled (LookupError: nobody thought of this)")


def test_what_of_an_image_is_not_used_is_noted(model: Model, photos: Path, tmp_path: Path) -> None:
    pages = [Image.fromarray(picture(i, 40, 50)) for i in range(3)]
    pages[0].save(photos / "pages.tif", save_all=True, append_images=pages[1:])
    heat = np.dstack([picture(1, 40, 50), picture(2, 40, 50)[:, :, 0]])
    for name in ("a.png", "b.png"):
        Image.fromarray(heat).save(photos / name)
    summary = predict(model, [photos], tmp_path / "out")
    notes = {record["name"]: record["notes"] for record in read_records(tmp_path / "out")}
    assert notes["pages"] == [{"kind": "more-pages", "message": "3 pages, the first is labelled."}]
    assert [note["kind"] for note in notes["a"]] == ["unused-channels"]
    assert notes["good"] == []
    assert "pages.tif: 3 pages, the first is labelled." in str(summary)
    assert "2 images: channels that vary and are not used. The first: " in str(summary)


def test_a_pipe_in_the_folder_does_not_block(model: Model, photos: Path) -> None:
    os.mkfifo(photos / "pipe.jpg")
    alone_is_bad(model, photos, photos / "pipe.jpg", "is a pipe")


def test_a_link_that_goes_round_in_a_circle(model: Model, photos: Path) -> None:
    (photos / "round.jpg").symlink_to("round.jpg")
    (photos / "again").symlink_to(photos)
    (photos / "sub").mkdir()
    (photos / "sub" / "up").symlink_to("../..")
    alone_is_bad(model, photos, photos / "round.jpg", "round.jpg")


def test_a_linked_folder_is_entered_once(model: Model, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write_png(tmp_path / "elsewhere" / "far.png", picture(3, 30, 30))
    (photos / "one").symlink_to(tmp_path / "elsewhere")
    (photos / "two").symlink_to(tmp_path / "elsewhere")
    assert predict(model, [photos], tmp_path / "out").done == 3
    assert (tmp_path / "out" / "one" / "far.png").is_file()


@pytest.mark.parametrize("name", [b"two\nlines.png", b"not \xff text.png", b"\x1b[31mred.png", "ü – 😀.png".encode()])
def test_names_of_any_bytes_are_labelled_and_found_again(
    model: Model, photos: Path, tmp_path: Path, name: bytes
) -> None:
    odd = photos / os.fsdecode(name)
    write_png(odd, picture(4, 30, 30))
    out = tmp_path / "out"
    assert predict(model, [photos], out, save=["labels", "coco"]).done == 3
    assert (read_mask_ids(out / odd.name) == model.predict(odd).labels).all()
    text = (out / "predictions.jsonl").read_bytes().decode("utf-8")  # as any reader of JSON lines takes it
    records = [json.loads(line) for line in text.split("\n") if line]
    assert len(records) == 3
    again = predict(model, [photos], out, save=["labels", "coco"])
    assert (again.done, again.before) == (0, 3)
    assert predict(model, [photos], out, fresh=True).done == 3
    odd.write_bytes(b"now no image")
    message = predict(model, [photos], tmp_path / "other").failed[0][1]
    assert message.isprintable()


def test_two_names_that_look_alike_are_two_images(model: Model, photos: Path, tmp_path: Path) -> None:
    for name in (b"\xff.png", b"\xfe.png"):  # both are shown as the replacement character
        write_png(photos / os.fsdecode(name), picture(name[0], 30, 30))
    for done in (4, 0):
        assert predict(model, [photos], tmp_path / "out").done == done
    (tmp_path / "out" / os.fsdecode(b"\xfe.png")).unlink()
    assert predict(model, [photos], tmp_path / "out").done == 1


def test_a_name_too_long_for_a_result_costs_one_image(model: Model, photos: Path, tmp_path: Path) -> None:
    long = photos / ("n" * 250 + ".png")
    write_png(long, picture(5, 20, 20))
    summary = predict(model, [photos], tmp_path / "out", save=["labels", "overlay"])
    assert (summary.done, summary.failures) == (2, 1)
    assert "File name too long" in summary.failed[0][1]
    assert not (tmp_path / "out" / long.name).exists()
    assert predict(model, [photos], tmp_path / "labels alone").done == 3


def test_a_file_that_vanishes_after_it_was_listed(model: Model, photos: Path, tmp_path: Path, monkeypatch: Any) -> None:
    original = channel_groups.read_bytes

    def vanishing(path: Path) -> bytes:
        if path.name == "late.png":
            path.unlink(missing_ok=True)
        return original(path)

    monkeypatch.setattr(channel_groups, "read_bytes", vanishing)
    summary = predict(model, [photos], tmp_path / "out")
    assert (summary.done, summary.failures) == (1, 1)
    assert "late.png: no such file" in summary.failed[0][1]


def test_a_file_that_vanishes_before_its_folder_is_listed_again(model: Model, photos: Path, tmp_path: Path) -> None:
    summary = predict(
        model, [photos], tmp_path / "out", progress=lambda *_: (photos / "late.png").unlink(missing_ok=True)
    )
    assert (summary.done, summary.vanished, summary.exit_code) == (1, 1, 1)
    assert "1 image disappeared" in str(summary)


def test_a_folder_that_cannot_be_listed_is_told(model: Model, photos: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (photos / "closed").mkdir()
    original = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(os, "scandir", refusing)
    summary = predict(model, [photos], tmp_path / "out")
    assert (summary.done, summary.failures) == (2, 1)
    assert "closed: cannot be listed (Permission denied)" in summary.failed[0][1]


def test_a_disk_that_fills_leaves_whole_results_only(
    model: Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = result_files.writing_whole

    def filling(path: Path) -> Any:
        if path.name == "late.overlay.png":
            raise OutputError(f"{path}: cannot be written") from OSError(28, "No space left on device")
        return whole(path)

    save = ["labels", "overlay"]
    monkeypatch.setattr(result_files, "writing_whole", filling)
    with pytest.raises(OutputError, match=r"late\.overlay\.png"):
        predict(model, [photos], tmp_path / "out", save=save)
    done = {record["name"] for record in read_records(tmp_path / "out")}
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {
        f"{n}{e}" for n in done for e in (".png", ".overlay.png")
    }
    monkeypatch.undo()
    rest = predict(model, [photos], tmp_path / "out", save=save)
    assert (rest.done, rest.before) == (2 - len(done), len(done))


FILLING = """
import resource, sys
from pixelwise.prediction.predict import predict
from pixelwise.prediction.load_model import load

model = load(sys.argv[1], threads=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
predict(model, [sys.argv[2]], sys.argv[3])
"""


def test_a_manifest_that_cannot_grow_ends_with_a_whole_line(tiny_bundle: Path, model: Model, tmp_path: Path) -> None:
    """A true limit of the operating system, which cuts a write short as a full disk does."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for i in range(12):
        write_png(photos / f"{i:02}.png", picture(i, 20, 20))
    limit = 3000  # of bytes a file: no label PNG is as long, the manifest becomes so
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    command = [sys.executable, "-c", FILLING, str(tiny_bundle), str(photos), str(out), str(limit)]
    stopped = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "run the same command again" in stopped.stderr
    content = (out / "predictions.jsonl").read_bytes()
    assert content.endswith(b"}\n")
    noted = len(content.splitlines())
    assert 0 < noted < 12
    summary = predict(model, [photos], out)
    assert (summary.before, summary.done) == (noted, 12 - noted)
    assert len(list(out.glob("*.png"))) == 12
    assert not [path for path in (out / STATE).iterdir() if path.suffix == ".part"]
