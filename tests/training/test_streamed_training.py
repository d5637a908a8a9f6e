"""TIFFs of more pixels than are decoded at once: inspected and trained on, with the results of smaller ones."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
tifffile = pytest.importorskip("tifffile")

import pixelwise as pw  # noqa: E402
from pixelwise.datasets import streamed_pairs  # noqa: E402
from pixelwise.datasets.inspect_pair import inspect_pair  # noqa: E402
from pixelwise.datasets.read_sample import stored_digests, streamed_mask_window  # noqa: E402
from pixelwise.errors import DataError, MaskError, OutputError  # noqa: E402
from pixelwise.records import Sample  # noqa: E402
from pixelwise.training import disk_copies, loader  # noqa: E402
from pixelwise.training import prepare as preparing  # noqa: E402
from pixelwise.training import train as training  # noqa: E402
from pixelwise.training.augment import Crop  # noqa: E402
from pixelwise.training.disk_copies import DiskArray, DiskCopies, WithOverview, kept_to_resume  # noqa: E402
from pixelwise.training.loader import Augmentation, Pairs, augment, in_overview, resized_crop, snapped  # noqa: E402

SIZE = (230, 310)


def draw(root: Path, splits: tuple[str, ...] = ("train", "val"), **options: object) -> Path:
    """A data set of one TIFF a split: white rectangles on black."""
    for split in splits:
        rng = np.random.default_rng(len(split))
        mask = np.zeros(SIZE, np.uint8)
        for _ in range(8):
            top, left = rng.integers(0, 200, 2)
            mask[top : top + 40, left : left + 50] = 1
        image = np.clip(mask[..., None] * 150 + rng.integers(0, 80, (*SIZE, 3)), 0, 255).astype(np.uint8)
        for kind, pixels in (("images", image), ("masks", mask)):
            (root / split / kind).mkdir(parents=True)
            tifffile.imwrite(root / split / kind / "one.tif", pixels, photometric="rgb" if pixels.ndim == 3 else None,
                             **({"tile": (32, 48), "compression": "zlib"} | options))  # fmt: skip
    return root


@pytest.fixture
def streamed() -> Iterator[None]:
    """Every TIFF is too large to be decoded at once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(streamed_pairs, "MAX_PIXELS", 1000)
        patched.setattr(streamed_pairs, "STRIP_PIXELS", 20_000)
        patched.setattr(disk_copies, "STRIP_BYTES", 20_000)
        patched.setattr(loader, "LARGE_PIXELS", 1000)
        yield


def sample_of(root: Path) -> Sample:
    return Sample("one", root / "train/images/one.tif", root / "train/masks/one.tif")


@pytest.mark.parametrize("options", [{}, {"tile": None, "rowsperstrip": 9}, {"tile": None, "compression": None}])
def test_a_streamed_pair_is_inspected_as_one_that_is_decoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    sample = sample_of(draw(tmp_path, **options))
    whole, digests = inspect_pair(sample), stored_digests(sample)
    monkeypatch.setattr(streamed_pairs, "MAX_PIXELS", 1000)
    monkeypatch.setattr(streamed_pairs, "STRIP_PIXELS", 20_000)
    found = inspect_pair(sample)
    assert not whole.refused
    assert found == whole
    assert stored_digests(sample) == digests
    thorough = inspect_pair(sample, thoroughly=True).image
    assert thorough is not None
    assert len(thorough.thumbnail) == 16 * 16 * 3
    assert len(thorough.detail) == 64 * 64


@pytest.mark.usefixtures("streamed")
def test_a_streamed_pair_holds_the_pixels_of_its_files(tmp_path: Path) -> None:
    root = draw(tmp_path / "data")
    sample = sample_of(root)
    pairs = Pairs([sample], {}, 2, 64, DiskCopies(tmp_path / "cache"))
    image, mask = pairs[0]
    expected = tifffile.imread(sample.mask)
    assert (np.asarray(image) == tifffile.imread(sample.image)).all()
    assert isinstance(mask, DiskArray)
    assert (np.asarray(mask) == expected).all()
    window = (17, 30, 99, 120)
    assert (streamed_mask_window(sample, {}, 2, SIZE, window) == expected[17:116, 30:150]).all()


@pytest.mark.usefixtures("streamed")
def test_other_processes_and_resumed_trainings_read_the_same_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = sample_of(draw(tmp_path / "data"))
    first = Pairs([sample], {}, 2, 64, DiskCopies(tmp_path / "cache"))
    image, mask = first[0]
    monkeypatch.setattr(DiskCopies, "write", lambda *_: pytest.fail("written again"))
    other = Pairs([sample], {}, 2, 64, DiskCopies(tmp_path / "cache"))
    other.open_large(0)
    resumed = Pairs([sample], {}, 2, 64, DiskCopies(tmp_path / "cache"))
    spawned = pickle.loads(pickle.dumps(first))  # noqa: S301
    for pairs in (other, resumed, spawned, first.part(1)):
        assert (np.asarray(pairs[0][0]) == np.asarray(image)).all()
        assert (np.asarray(pairs[0][1]) == np.asarray(mask)).all()
    with pytest.raises(pytest.fail.Exception, match="written again"):  # other classes: another copy
        Pairs([sample], {0: 0, 1: 2}, 3, 64, DiskCopies(tmp_path / "cache"))[0]


@pytest.mark.usefixtures("streamed")
def test_crops_that_the_network_sees_far_smaller_come_from_an_overview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = sample_of(draw(tmp_path / "data"))
    pairs = Pairs([sample], {}, 2, 64, DiskCopies(tmp_path / "cache"))
    pairs.overviews = True
    image, _ = pairs[0]
    assert isinstance(image, WithOverview)
    assert image.overview.shape == (58, 78, 3)
    whole = tifffile.imread(sample.image)
    for drawn in (Crop(0, 0, 230, 310, False), Crop(-30, -20, 290, 333, False), Crop(20, 31, 160, 170, False)):
        box = snapped(drawn, 4)
        seen = resized_crop(image.overview, in_overview(box, 4), (16, 16))
        exact = resized_crop(whole, box, (16, 16))
        assert not (seen == exact).all()
        assert (seen.int() - exact.int()).abs().float().mean() < 3  # of a range of 230
    for size, alike in (
        ((16, 16), False),
        ((64, 64), True),
    ):  # of crops that are not far smaller, every byte is the same
        how = Augmentation(size, "stretch", (0.9, 1.1), True, 0.0, 3)
        found, expected = (augment(one, pairs[0][1], how, 0, 0) for one in (image, whole))
        assert (found[0] == expected[0]).all() == alike
        assert np.abs(found[0].astype(int) - expected[0]).mean() < 12
        assert (found[1] == expected[1]).mean() > 0.9
    other = Pairs([sample], {}, 2, 64, DiskCopies(tmp_path / "cache"))
    other.overviews = True
    monkeypatch.setattr(DiskCopies, "write", lambda *_: pytest.fail("written again"))
    other.open_large(0)
    assert isinstance(other[0][0], WithOverview)
    assert (np.asarray(other[0][0].overview) == np.asarray(image.overview)).all()


def test_copies_of_validation_images_are_written_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "LARGE_PIXELS", 1000)
    monkeypatch.setattr(preparing, "LARGE_PIXELS", 1000)
    checked = preparing.check_data(pw.open_dataset(draw(tmp_path / "data")), False, lambda *_: None)
    recipe = pw.Recipe(model="unet", size=(64, 64), cache_mb=0)
    preparing.prepare(checked, recipe, DiskCopies(tmp_path / "cache"), lambda event: None, lambda *_: None)
    assert len(list((tmp_path / "cache").iterdir())) == 2  # the masks of train and val; the images are tiled


@pytest.mark.usefixtures("streamed")
def test_ids_without_a_class_and_masks_of_another_size_are_named(tmp_path: Path) -> None:
    sample = sample_of(draw(tmp_path / "data"))
    assert sample.mask is not None
    with pytest.raises(MaskError, match=r"one\.tif.*id 1 .*outside the classes"):
        Pairs([sample], {0: 0}, 1, 64, DiskCopies(tmp_path / "cache"))[0]
    tifffile.imwrite(sample.mask, np.zeros((100, 310), np.uint8), tile=(32, 32))
    with pytest.raises(DataError, match=r"100×310, but its image is 230×310"):
        Pairs([sample], {}, 2, 64, DiskCopies(tmp_path / "cache"))[0]
    assert not list((tmp_path / "cache").iterdir())
    tifffile.imwrite(sample.mask, np.zeros((*SIZE, 3), np.uint8), tile=(32, 32), photometric="rgb")
    with pytest.raises(MaskError, match="holds 3 bands; expected one of class ids"):
        Pairs([sample], {}, 2, 64, DiskCopies(tmp_path / "cache"))[0]


@pytest.mark.usefixtures("streamed")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("policy", ["native", pytest.param("stretch", marks=pytest.mark.slow)])
def test_training_from_windows_gives_the_weights_of_training_from_memory(
    tmp_path: Path, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if policy == "native":  # an export takes as long as all else
        monkeypatch.setattr(training, "export", lambda out, **_: out / "model.onnx")
    data = draw(tmp_path / "data")
    recipe = pw.Recipe(model="unet", size=(64, 64), batch=2, epochs=2, policy=policy, views=3, workers=1)  # type: ignore[arg-type]
    events: list[dict[str, object]] = []
    windows = pw.train(data, tmp_path / "windows", recipe, tell=events.append)
    assert not (tmp_path / "windows/cache").exists()
    with monkeypatch.context() as patched:
        for module in (streamed_pairs, loader):
            name = "MAX_PIXELS" if module is streamed_pairs else "LARGE_PIXELS"
            patched.setattr(module, name, 10**8)
        memory = pw.train(data, tmp_path / "memory", recipe)
    best = "checkpoints/best.safetensors"
    assert (tmp_path / "windows" / best).read_bytes() == (tmp_path / "memory" / best).read_bytes()
    assert [epoch["iou"] for epoch in windows.epochs] == [epoch["iou"] for epoch in memory.epochs]
    counts = next(event["pixels"] for event in events if event["event"] == "data")
    assert sum(counts.values()) == (64 * 64 if policy == "stretch" else 224 * 320)  # type: ignore[attr-defined]


def test_a_copy_that_was_not_finished_is_not_used(tmp_path: Path) -> None:
    """Killed in the middle of writing: what remains is no copy, and the next training removes it."""
    code = (
        "import os, signal, sys\nimport numpy as np\nfrom pathlib import Path\n"
        "from pixelwise.training.disk_copies import DiskCopies\n"
        "def strips():\n    yield np.ones((10, 50), np.uint8)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "DiskCopies(Path(sys.argv[1]) / 'cache').write('key', (20, 50), np.dtype(np.uint8), strips())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode != 0
    copies = DiskCopies(tmp_path / "cache")
    assert len(list(copies.folder.iterdir())) == 1
    assert copies.found("key") is None
    written = copies.write("key", (20, 50), np.dtype(np.uint8), iter([np.full((20, 50), 7, np.uint8)]))
    assert (np.asarray(written) == 7).all()
    from pixelwise.training.run_directory import remove_leftovers

    remove_leftovers(tmp_path)
    assert [path.name for path in copies.folder.iterdir()] == ["key.npy"]


def test_an_error_while_a_copy_is_written_leaves_nothing(tmp_path: Path) -> None:
    def strips() -> Iterator[np.ndarray]:
        yield np.ones((10, 50), np.uint8)
        raise MaskError("damaged")

    copies = DiskCopies(tmp_path / "cache")
    with pytest.raises(MaskError):
        copies.write("key", (20, 50), np.dtype(np.uint8), strips())
    assert not list(copies.folder.iterdir())


@pytest.mark.usefixtures("streamed")
def test_too_little_room_is_named_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = sample_of(draw(tmp_path / "data", tile=None, compression="zlib", rowsperstrip=230))
    usage = shutil.disk_usage(tmp_path)._replace(free=disk_copies.SPARE_BYTES + 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match=r"one\.tif and its mask need 0\.3 MiB on disk"):
        Pairs([sample], {}, 2, 0, DiskCopies(tmp_path / "cache"))[0]
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("resumable", [True, False])
def test_copies_stay_for_what_can_be_resumed(tmp_path: Path, resumable: bool) -> None:
    def interrupted() -> None:
        with kept_to_resume(tmp_path / "cache", lambda: resumable) as copies:
            copies.write("key", (2,), np.dtype(np.uint8), iter([np.zeros(2, np.uint8)]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "cache").exists() == resumable
    with kept_to_resume(tmp_path / "cache", lambda: True) as copies:
        copies.write("key", (2,), np.dtype(np.uint8), iter([np.zeros(2, np.uint8)]))
    assert not copies.folder.exists()


def write_large(path: Path, side: int, *, mask: bool) -> None:
    """A square TIFF of any size, written tile by tile: fields of 300 pixels, every fifth of them bright."""
    noise = np.random.default_rng(0).integers(0, 100, (32, 32, 3), np.uint8).repeat(16, 0).repeat(16, 1)

    def tiles() -> Iterator[np.ndarray]:
        for top in range(0, side, 512):
            for left in range(0, side, 512):
                y, x = np.mgrid[top : top + 512, left : left + 512]
                bright = ((y // 300 + x // 300) % 5 == 0).astype(np.uint8)
                yield bright if mask else bright[..., None] * 100 + noise

    path.parent.mkdir(parents=True)
    tifffile.imwrite(
        path, tiles(), shape=(side, side) if mask else (side, side, 3), dtype=np.uint8, tile=(512, 512),
        compression="zlib", compressionargs={"level": 1}, photometric="minisblack" if mask else "rgb",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_an_image_of_400_megapixels_is_trained_on_in_bounded_memory(tmp_path: Path) -> None:
    for split, side in (("train", 20_000), ("val", 3000)):
        write_large(tmp_path / "data" / split / "images/one.tif", side, mask=False)
        write_large(tmp_path / "data" / split / "masks/one.tif", side, mask=True)
    code = (
        "import json, sys\nimport pixelwise as pw\nfrom pixelwise.heap import peak_bytes\nimport resource\n"
        "recipe = pw.Recipe(size=(256, 256), policy='native', batch=2, epochs=1, views=3, workers=1)\n"
        "done = pw.train(sys.argv[1], sys.argv[2], recipe)\n"
        "workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024\n"
        "print(json.dumps([peak_bytes() + workers, done.best_miou]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data"), str(tmp_path / "run")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    peak, miou = json.loads(ended.stdout.splitlines()[-1])
    assert peak < 4e9
    assert miou > 0.2
    assert not (tmp_path / "run/cache").exists()
