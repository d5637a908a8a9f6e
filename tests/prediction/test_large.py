"""Images that are cut into tiles: written whole, gone on with after a kill, kept within memory, refused with a reason.

Shapes: H, W the image's own size.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from conftest import THREE, picture
from pixelwise.bundle.metadata import Metadata
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.errors import ImageError, OutputError, UsageError
from pixelwise.images.image_files import read_image, read_mask, write_png
from pixelwise.prediction import outputs
from pixelwise.prediction.large import large_outputs
from pixelwise.prediction.large.label_large import refuse_long_png
from pixelwise.prediction.large.label_store import LabelStore
from pixelwise.prediction.large.tile_plan import Tiles, is_large, parse_tiles, tile_size
from pixelwise.prediction.load_model import Model, load
from pixelwise.prediction.outputs import OUTPUTS, WholeImage
from pixelwise.prediction.predict import predict
from pixelwise.records import Pixels, Prediction

GEO = [
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 400000.0, 5800000.0, 0.0), True),
    (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
    (34737, 2, 0, "WGS 84|", True),
]


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=1)


def tiff(path: Path, pixels: Pixels, **options: Any) -> Path:
    settings = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "metadata": None, **options}
    tifffile.imwrite(path, pixels, **settings)
    return path


def results(folder: Path) -> list[str]:
    """Names of the results; what every run writes about the folder is left out."""
    about = (".predictions", "dataset.toml", "predictions.jsonl")
    return sorted(path.name for path in folder.iterdir() if path.name not in about)


def labels_of(path: Path) -> Any:
    return tifffile.imread(path)


CUT = Tiles((64, 96), 16, always=True)


def test_a_large_image_gives_a_label_tiff_an_overlay_and_its_facts(model: Model, tmp_path: Path) -> None:
    pixels = picture(1, 600, 700)
    source = tiff(tmp_path / "scan.tif", pixels, extratags=GEO, resolution=((300, 1), (300, 1)), resolutionunit=2)
    seen: list[tuple[int, int]] = []
    summary = predict(model, [source], tmp_path / "out", tiles=CUT, tile_progress=lambda *done: seen.append(done))
    assert (summary.done, summary.exit_code) == (1, 0)
    beside = ["scan.qml", "scan.tif", "scan.tif.aux.xml"]
    assert results(tmp_path / "out") == ["scan.json", "scan.overlay.png", *beside]
    record = json.loads((tmp_path / "out" / "predictions.jsonl").read_text())
    assert sorted(record["saved"]) == results(tmp_path / "out")
    assert (record["width"], record["height"], record["tiles"]["tile"]) == (700, 600, [64, 96])
    again = predict(model, [source], tmp_path / "out", tiles=CUT)
    assert (again.done, again.before) == (0, 1)
    labels = labels_of(tmp_path / "out" / "scan.tif")
    assert labels.shape == (600, 700)
    facts = json.loads((tmp_path / "out" / "scan.json").read_text())
    assert facts["shares"] == {name: float((labels == i).mean()) for i, name in enumerate(THREE.names)}
    assert facts["tiles"]["tile"] == [64, 96]
    assert seen[-1] == (facts["tiles"]["count"],) * 2
    assert len(seen) == facts["tiles"]["count"]
    assert (read_mask(tmp_path / "out" / "scan.tif", {}, 3) == labels).all()  # evaluate and check read it
    assert (read_image(tmp_path / "out" / "scan.tif") == THREE.palette()[labels]).all()
    assert read_image(tmp_path / "out" / "scan.overlay.png").shape == (600, 700, 3)
    with tifffile.TiffFile(tmp_path / "out" / "scan.tif") as file:
        tags = file.pages[0].tags  # type: ignore[union-attr]
        for code, _, _, value, _ in GEO:
            assert tags[code].value == value
        assert (tags[282].value, tags[296].value, tags[42113].value) == ((300, 1), 2, "255")
        assert file.pages[0].is_tiled  # type: ignore[union-attr]
    # In the middle of the first tile nothing is blended: there the labels are those of the tile alone.
    alone = model.predict(np.ascontiguousarray(pixels[:64, :96])).labels
    assert (labels[:40, :70] == alone[:40, :70]).all()


def test_any_image_can_be_cut_and_small_ones_are_mirrored_to_a_tile(model: Model, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(2, 50, 300))
    write_png(tmp_path / "b.png", picture(2, 9, 7))
    predict(model, [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out", tiles=CUT)
    assert results(tmp_path / "out") == [
        "a.json", "a.overlay.png", "a.png", "b.json", "b.overlay.png", "b.png",
    ]  # fmt: skip
    assert read_mask(tmp_path / "out" / "a.png", {}, 3).shape == (50, 300)
    assert read_mask(tmp_path / "out" / "b.png", {}, 3).shape == (9, 7)


def test_how_an_image_is_stored_changes_no_label(model: Model, tmp_path: Path) -> None:
    pixels = picture(3, 200, 310)
    write_png(tmp_path / "png.png", pixels)
    tiff(tmp_path / "tiles.tif", pixels)
    tiff(tmp_path / "strips.tif", pixels, tile=None, rowsperstrip=11, bigtiff=True, compression="lzw")
    tiff(tmp_path / "plain.tif", pixels, tile=None, compression=None)
    assert predict(model, [tmp_path], tmp_path / "out", tiles=CUT).done == 4
    kinds = {labels_of(tmp_path / "out" / f"{name}.tif").tobytes() for name in ("tiles", "strips", "plain")}
    assert kinds == {read_mask(tmp_path / "out" / "png.png", {}, 3).tobytes()}


def test_pixels_that_a_sparse_file_does_not_hold_are_void(model: Model, tmp_path: Path) -> None:
    import zlib

    tile = zlib.compress(np.ascontiguousarray(picture(4, 128, 128)).tobytes())
    tiles = [b"", tile, b"", b"", b"", b""]
    tifffile.imwrite(tmp_path / "a.tif", iter(tiles), shape=(256, 384, 3), dtype=np.uint8, tile=(128, 128),
                     photometric="rgb", compression="zlib", metadata=None)  # fmt: skip
    predict(model, [tmp_path / "a.tif"], tmp_path / "out", tiles=CUT)
    labels = labels_of(tmp_path / "out" / "a.tif")
    assert (labels[:128, 128:256] < 3).all()
    assert (labels == 255).sum() == 256 * 384 - 128 * 128
    facts = json.loads((tmp_path / "out" / "a.json").read_text())
    assert facts["void"] == 256 * 384 - 128 * 128
    assert sum(facts["shares"].values()) == pytest.approx(1)


def test_when_an_image_is_large_and_how_it_is_cut() -> None:
    assert not is_large((5000, 6000), Tiles())
    assert is_large((6000, 6000), Tiles())
    assert is_large((10, 10), Tiles((64, 64), always=True))
    assert parse_tiles("360x480", 30) == Tiles((360, 480), 30, always=True)
    assert parse_tiles("512", None) == Tiles((512, 512), None, always=True)
    assert parse_tiles(None, None) == Tiles()
    for wrong in ("0", "x", "20", "1x2x3", "99999", "-5", "512px"):
        with pytest.raises(UsageError, match=f"--tile {wrong}: expected PX or HEIGHTxWIDTH"):
            parse_tiles(wrong, None)
    with pytest.raises(UsageError, match="--overlap 200: expected 0 to 180"):
        parse_tiles("360x480", 200)


@pytest.mark.parametrize(
    ("policy", "provenance", "size", "says"),
    [
        ("native", {}, (512, 640), "original scale"),
        ("stretch", {"data": {"image_size": [360, 480]}}, (360, 480), "trained on"),
        ("fit", {"data": {"image_size": [20, 90_000]}}, (32, 8192), "trained on"),
        ("stretch", {}, (256, 320), "--tile"),
        ("stretch", {"data": {"image_size": "large"}}, (256, 320), "--tile"),
    ],
)
def test_a_tile_is_what_would_have_been_an_image_in_training(
    policy: str, provenance: dict[str, Any], size: tuple[int, int], says: str
) -> None:
    metadata = Metadata(THREE, (256, 320), policy, 2, (0.5,) * 3, (0.5,) * 3, 1.0, (), provenance=provenance)
    chosen, why = tile_size(metadata)
    assert chosen == size
    assert says in why


def test_a_tile_whose_exposure_is_normalised_is_as_large_as_the_training_images() -> None:
    provenance = {"data": {"image_size": [1080, 4000]}}
    metadata = Metadata(THREE, (256, 320), "native", 2, (0.5,) * 3, (0.5,) * 3, 1.0, (), True, provenance=provenance)
    assert tile_size(metadata)[0] == (1080, 2048)
    assert tile_size(replace(metadata, provenance={"data": {"image_size": [300, 300]}}))[0] == (512, 640)


def test_a_large_png_is_refused_with_the_remedy(model: Model, tmp_path: Path) -> None:
    Image.new("1", (12_000, 11_000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 100_000
    summary = predict(model, [tmp_path / "a.png"], tmp_path / "out")
    assert "12000×11000 is 132,000,000 pixels; the limit is 100,000,000." in summary.failed[0][1]
    assert "A tiled TIFF may have any size" in summary.failed[0][1]


def test_a_truncated_tiff_costs_one_file_and_leaves_nothing(model: Model, tmp_path: Path) -> None:
    whole = tiff(tmp_path / "a.tif", picture(5, 300, 300)).read_bytes()
    (tmp_path / "b.tif").write_bytes(whole[: len(whole) // 2])
    summary = predict(model, [tmp_path / "b.tif", tmp_path / "a.tif"], tmp_path / "out", tiles=CUT)
    assert summary.done == 1
    assert "b.tif: the file is truncated" in summary.failed[0][1]
    assert results(tmp_path / "out") == ["a.json", "a.overlay.png", "a.tif"]


def test_labels_never_overwrite_their_image(model: Model, tmp_path: Path) -> None:
    before = tiff(tmp_path / "a.tif", picture(5, 100, 100)).read_bytes()
    summary = predict(model, [tmp_path / "a.tif"], tmp_path, tiles=CUT)
    assert "would overwrite it" in summary.failed[0][1]
    assert (tmp_path / "a.tif").read_bytes() == before


def test_every_form_of_a_cut_image_is_as_of_a_whole_one(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written piece by piece is what the forms of whole images would be made of the same labels."""
    monkeypatch.setattr(outputs, "STRIP_PIXELS", 50_000)  # columns in several strips
    monkeypatch.setattr(large_outputs, "BLOCK_PX", 700)
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    source = tiff(data / "images" / "scan.tif", picture(1, 1100, 1300))
    tiles = Tiles((512, 640), 64, always=True)
    forms = ["labels", "index", "numpy", "coco", "geojson"]
    for form in forms:
        out = tmp_path / form
        assert predict(model, [source], out, save=[form], tiles=tiles).failed == ()
        assert not list(out.glob(".*.unfinished"))
        assert predict(model, [source], out, save=[form], tiles=tiles).before == 1
    truth = labels_of(tmp_path / "labels" / "scan.tif")
    whole = Prediction(truth, np.zeros((3, 2, 2), np.float32), THREE)
    index = tmp_path / "index" / "scan.png"
    assert (cv2.imread(str(index), cv2.IMREAD_UNCHANGED) == truth).all()
    assert (tmp_path / "numpy" / "scan.npy").read_bytes() == b"".join(
        OUTPUTS["numpy"].parts(WholeImage(truth, whole, "scan.tif"))
    )
    piece = tmp_path / "coco" / ".predictions" / "coco" / "scan.jsonl"
    assert piece.read_bytes() == b"".join(OUTPUTS["coco"].parts(WholeImage(truth, whole, "scan.tif")))
    for form in ("coco", "geojson"):  # read back as check and evaluate do
        for name in ("dataset.toml", "predictions.coco.json", "scan.geojson"):
            if (tmp_path / form / name).exists():
                shutil.copy(tmp_path / form / name, data / name)
        dataset = open_dataset(data)
        assert dataset.problems == ()
        (sample,) = [sample for split in dataset.splits.values() for sample in split]
        read = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes))
        named = np.array([THREE.names.index(name) for name in dataset.classes.names if name in THREE.names])
        assert (named[read] == truth).all()
        for name in ("predictions.coco.json", "scan.geojson"):
            (data / name).unlink(missing_ok=True)


def test_a_png_that_few_programs_read_is_refused() -> None:
    refuse_long_png(Path("a.tif"), (10, 10**6), {"index": Path("a.png")})
    refuse_long_png(Path("a.tif"), (10, 10**6 + 1), {"labels": Path("a.tif")})
    with pytest.raises(ImageError, match="Save numpy"):
        refuse_long_png(Path("a.tif"), (10, 10**6 + 1), {"index": Path("a.png")})


# ── stopped, and gone on with ──

LABEL = """
import os, resource, signal, sys
from pathlib import Path
from pixelwise.prediction import predict
from pixelwise.prediction.large.tile_plan import Tiles

model, source, out, stop_at, largest, save = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest),) * 2)  # no file may become larger: as on a disk that fills

def progress(done, total):
    if done == int(stop_at):
        os.kill(os.getpid(), signal.SIGKILL)

predict.predict(
    model, [source], out, save=save.split(","), tiles=Tiles((512, 512), 64, always=True), tile_progress=progress
)
"""


def label(model: Path, source: Path, out: Path, stop_at: int = 0, largest: int = 1 << 30, save: str = "labels") -> Any:
    """Label an image in a process of its own, which is killed after so many tiles, or may write files only so large."""
    return subprocess.run(
        [sys.executable, "-c", LABEL, *map(str, (model, source, out, stop_at, largest, save))],
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tiny_bundle: Path, tmp_path: Path) -> None:
    source = tiff(tmp_path / "scan.tif", picture(7, 2600, 900))  # six rows of two tiles
    out = tmp_path / "killed"
    part = out / ".scan.unfinished"
    for stop_at, kept in ((1, 0), (6, 1), (10, 3)):
        assert label(tiny_bundle, source, out, stop_at).returncode == -signal.SIGKILL
        assert not (out / "scan.tif").exists()
        assert rows_kept(part) == kept
    with part.open("ab") as file:  # and a record that a kill had cut short
        file.write(part.read_bytes()[-50:])
    for place in (out, tmp_path / "never killed"):
        done = label(tiny_bundle, source, place)
        assert done.returncode == 0, done.stderr
    assert json.loads((out / "scan.json").read_text())["resumed_at_row"] == 3 * 512
    for name in ("scan.tif", "scan.overlay.png"):
        assert (out / name).read_bytes() == (tmp_path / "never killed" / name).read_bytes()
    assert not part.exists()


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_run_killed_at_any_time_goes_on(tiny_bundle: Path, tmp_path: Path) -> None:
    """Killed from outside after times that have nothing to do with what it is at, until it is through."""
    source = tiff(tmp_path / "scan.tif", picture(7, 5000, 2000))
    began = time.monotonic()
    assert label(tiny_bundle, source, tmp_path / "never killed").returncode == 0
    whole_s = time.monotonic() - began
    command = [sys.executable, "-c", LABEL, *map(str, (tiny_bundle, source, tmp_path / "killed", 0, 1 << 30, "labels"))]
    rng = np.random.default_rng(0)
    kills = 0
    for share in (0.3, *rng.random(200)):
        process = subprocess.Popen(command)
        try:
            process.wait(timeout=whole_s * share)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert kills
    assert process.returncode == 0
    for name in ("scan.tif", "scan.overlay.png"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "never killed" / name).read_bytes()


def rows_kept(part: Path) -> int:
    """Whole records in an unfinished file, read by their lengths alone."""
    try:
        data = part.read_bytes()
    except FileNotFoundError:
        return 0
    at, records = data.find(b"\n") + 1, 0
    while at and at + 12 <= len(data):
        at += 12 + int.from_bytes(data[at : at + 8], "little")
        records += at <= len(data)
    return records


def test_a_run_with_other_tiles_or_another_image_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with LabelStore(path, (1100, 40), {"tile": 1}) as begun:
        begun.add(np.ones((600, 40), np.uint8), {y: np.zeros((1, 40, 3), np.uint8) for y in range(600)})
        assert begun.rows_done == 512
    with LabelStore(path, (1100, 40), {"tile": 1}) as same:
        assert same.rows_done == 512
    with LabelStore(path, (1100, 40), {"tile": 2}) as other:
        assert other.rows_done == 0


def test_two_runs_do_not_write_one_result(tmp_path: Path) -> None:
    with (
        LabelStore(tmp_path / "a", (10, 10), {}),
        pytest.raises(OutputError, match="another process is labelling it now"),
    ):
        LabelStore(tmp_path / "a", (10, 10), {})


def test_a_disk_that_fills_half_way_keeps_what_was_labelled(tiny_bundle: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1700, 700, 3), dtype=np.uint8)
    source = tiff(tmp_path / "scan.tif", pixels)
    assert label(tiny_bundle, source, tmp_path / "roomy").returncode == 0
    failed = label(tiny_bundle, source, tmp_path / "full", largest=2_500_000)
    assert failed.returncode == 1
    assert "cannot be written (File too large)" in failed.stderr
    assert "run the same command again to resume" in failed.stderr
    assert not (tmp_path / "full" / "scan.tif").exists()
    assert 1 <= rows_kept(tmp_path / "full" / ".scan.unfinished") < 4
    assert label(tiny_bundle, source, tmp_path / "full").returncode == 0
    assert (tmp_path / "full" / "scan.tif").read_bytes() == (tmp_path / "roomy" / "scan.tif").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_memory_does_not_grow_with_the_image(tiny_bundle: Path, tmp_path: Path) -> None:
    """Peak memory of a whole process for an image eight times as high."""
    peaks = []
    for height in (2_048, 16_384):
        source = tmp_path / f"{height}.tif"
        rows = (picture(seed, 256, 256) for seed in range(height // 256 * 16))
        tifffile.imwrite(source, rows, shape=(height, 4_096, 3), dtype=np.uint8, tile=(256, 256), photometric="rgb",
                         compression="zlib", metadata=None)  # fmt: skip
        peaks.append(peak_kib(tiny_bundle, source, tmp_path / f"out{height}"))
    assert peaks[1] < peaks[0] + 60_000


def peak_kib(model: Path, source: Path, out: Path) -> int:
    """Peak resident memory of a prediction in a process of its own, in KiB."""
    process = os.fork()
    if not process:
        os.execv(
            sys.executable,
            [
                sys.executable,
                "-c",
                LABEL,
                *map(str, (model, source, out, 0, 1 << 30, "labels,numpy,coco,geojson,confidence,probabilities")),
            ],
        )
    _, status, usage = os.wait4(process, 0)
    assert status == 0
    return usage.ru_maxrss


def test_a_damaged_header_costs_one_file(model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    summary = predict(model, [tmp_path / "a.tif"], tmp_path / "out", tiles=CUT)
    assert "a.tif: " in summary.failed[0][1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"save": ["labels", "entropy", "labelme"]}, "labelme can only be made from a whole image"),
        (
            {"save": ["labelme"]},
            "Possible with tiles: labels, index, numpy, coco, geojson, geopackage, confidence, entropy, ",
        ),
        ({"tta": "flip"}, "--tta"),
    ],
)
def test_what_is_made_of_whole_images_only_is_refused(
    model: Model, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    tiff(tmp_path / "a.tif", picture(5, 100, 100))
    summary = predict(model, [tmp_path / "a.tif"], tmp_path / "out", tiles=CUT, **options)
    assert says in summary.failed[0][1]


def test_confidence_and_entropy_of_a_cut_image_are_those_of_its_scores(model: Model, tmp_path: Path) -> None:
    """One tile that is the whole image: the maps are those of a whole image, and the labels stay what they are."""
    pixels = picture(3, 600, 700)
    pixels[:100, :100] = 0
    source = tiff(tmp_path / "scan.tif", pixels)
    one = Tiles((600, 700), 0, always=True)
    predict(model, [source], tmp_path / "cut", save=["labels", "confidence", "entropy"], tiles=one)
    whole = WholeImage(pixels, model.predict(pixels), "scan.tif")
    assert (labels_of(tmp_path / "cut" / "scan.tif") == whole.prediction.labels).mean() > 0.999
    everywhere = slice(0, 600), slice(0, 700)
    for name, expected in (("confidence", whole.confidence(*everywhere)), ("entropy", whole.entropy(*everywhere))):
        found = cv2.imread(str(tmp_path / "cut" / f"scan.{name}.png"), cv2.IMREAD_UNCHANGED)
        assert found.dtype == np.uint16
        assert np.abs(found / 65535 - expected).max() < 1e-4
        assert found.std() > 0
