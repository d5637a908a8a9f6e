"""TIFFs of other bands with more pixels than are decoded at once: trained on as smaller ones are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
tifffile = pytest.importorskip("tifffile")

import pixelwise as pw  # noqa: E402
from pixelwise.datasets import streamed_pairs  # noqa: E402
from pixelwise.datasets.inspect_pair import inspect_pair  # noqa: E402
from pixelwise.datasets.open_dataset import open_dataset  # noqa: E402
from pixelwise.doctor.findings import find_problems  # noqa: E402
from pixelwise.records import VOID  # noqa: E402
from pixelwise.training import disk_copies, loader  # noqa: E402
from pixelwise.training.band_ranges import with_ranges  # noqa: E402
from pixelwise.training.disk_copies import DiskCopies  # noqa: E402
from pixelwise.training.loader import Pairs  # noqa: E402

SIZE = (230, 310)


def draw(root: Path, **options: object) -> Path:
    """A data set of one TIFF a split: four 16-bit bands, the last of which shows rectangles; a corner has no data."""
    for split in ("train", "val"):
        rng = np.random.default_rng(len(split))
        mask = np.zeros(SIZE, np.uint8)
        for _ in range(8):
            top, left = rng.integers(0, 200, 2)
            mask[top : top + 40, left : left + 50] = 1
        image = rng.integers(100, 800, (*SIZE, 4)).astype(np.uint16)
        image[:, :, 3] += 3000 * mask.astype(np.uint16)
        image[:20, :30] = 0
        for kind, pixels in (("images", image), ("masks", mask)):
            (root / split / kind).mkdir(parents=True)
            extra = {"extratags": [(42113, 2, 0, "0", True)], "planarconfig": "contig"} if kind == "images" else {}
            tifffile.imwrite(root / split / kind / "one.tif", pixels, photometric="minisblack", metadata=None,
                             **({"tile": (32, 48), "compression": "zlib"} | options | extra))  # fmt: skip
    return root


@pytest.mark.usefixtures("no_bundles")
@pytest.mark.parametrize("options", [{}, pytest.param({"tile": None, "rowsperstrip": 230}, marks=pytest.mark.slow)])
def test_training_from_windows_gives_the_weights_of_training_from_memory(
    tmp_path: Path, options: dict[str, object]
) -> None:
    data = draw(tmp_path / "data", **options)
    recipe = pw.Recipe(model="unet", size=(64, 64), batch=2, epochs=1, policy="native", views=3)
    memory = pw.train(data, tmp_path / "memory", recipe)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(streamed_pairs, "MAX_PIXELS", 1000)
        patched.setattr(streamed_pairs, "STRIP_PIXELS", 20_000)
        patched.setattr(disk_copies, "STRIP_BYTES", 20_000)
        patched.setattr(loader, "LARGE_PIXELS", 1000)
        dataset = with_ranges(open_dataset(data))
        assert dataset.bands == with_ranges(open_dataset(data)).bands
        findings = find_problems(dataset)
        assert not findings.errors
        assert len(findings.bands) == 4
        sample = dataset.splits["train"][0]
        inspected = inspect_pair(sample, bands=dataset.bands, thoroughly=True).image
        assert inspected is not None
        assert inspected.size == SIZE
        image, mask = Pairs([sample], {}, 2, 64, DiskCopies(tmp_path / "cache"), bands=dataset.bands)[0]
        expected = tifffile.imread(sample.image).astype(np.float32)
        expected[expected == 0] = np.nan
        np.testing.assert_array_equal(np.asarray(image[:, :]), expected)
        assert (np.asarray(mask)[:20, :30] == VOID).all()
        assert sorted(np.unique(np.asarray(mask))) == [0, 1, VOID]
        windows = pw.train(data, tmp_path / "windows", recipe)
    best = "checkpoints/best.safetensors"
    assert (tmp_path / "windows" / best).read_bytes() == (tmp_path / "memory" / best).read_bytes()
    assert [epoch["iou"] for epoch in windows.epochs] == [epoch["iou"] for epoch in memory.epochs]
