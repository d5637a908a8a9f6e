"""Blank areas of images that are read in strips: found and filled as in those that are decoded whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pixelwise.datasets.blank_areas import labels_without_structure_in_blanks
from pixelwise.datasets.streamed_blank_areas import strips_without_structure_in_blanks
from pixelwise.doctor.blank_check import blank_problems
from pixelwise.records import VOID, ClassList, Dataset, Labels, Sample


def map_with_gaps() -> tuple[np.ndarray, Labels]:
    """A map of three blank areas, none aligned to anything: white with a road, black with a road, white without."""
    rng = np.random.default_rng(0)
    image = rng.integers(1, 255, (333, 507, 3), np.uint8)
    image[20:131, 30:203] = 255
    image[150:333, 300:507] = 0
    image[201:260, 10:150] = 255
    mask = rng.integers(0, 2, (333, 507), np.uint8)
    mask[20:131, 30:203] = 0
    mask[70:80] = 1
    mask[150:333, 300:507] = 1
    mask[150:333, 400:420] = 0
    mask[201:260, 10:150] = 1
    mask[100:110, 60:70] = VOID
    return image, mask


@pytest.mark.parametrize("rows", [1, 37, 333])
def test_strips_get_the_labels_of_the_whole(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STRIP_PIXELS", "COUNTED_PIXELS"):
        monkeypatch.setattr(f"pixelwise.datasets.streamed_blank_areas.{name}", 5000)
    image, mask = map_with_gaps()

    def strips() -> Iterator[Labels]:
        return (mask[top : top + rows] for top in range(0, len(mask), rows))

    parts, share = strips_without_structure_in_blanks(image, strips)
    expected, exact = labels_without_structure_in_blanks(image, mask)
    assert np.array_equal(np.concatenate(list(parts)), expected)
    assert not np.array_equal(expected, mask)
    assert share == pytest.approx(exact, rel=0.1)


def test_labels_stay_where_nothing_is_blank_and_in_other_depths() -> None:
    image, mask = map_with_gaps()
    image[image == 255] = 254
    image[image == 0] = 1
    parts, share = strips_without_structure_in_blanks(image, lambda: [mask])
    assert share == 0
    assert np.array_equal(np.concatenate(list(parts)), mask)
    image, mask = map_with_gaps()
    assert strips_without_structure_in_blanks(image.astype(np.float32), lambda: [mask])[1] == 0


def test_a_large_tiff_is_trained_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    import tifffile

    from pixelwise.training.disk_copies import DiskCopies
    from pixelwise.training.loader import Pairs

    image, mask = map_with_gaps()
    tifffile.imwrite(tmp_path / "map.tif", image, tile=(64, 64), photometric="rgb")
    tifffile.imwrite(tmp_path / "mask.tif", mask, tile=(64, 64))
    monkeypatch.setattr("pixelwise.datasets.streamed_pairs.MAX_PIXELS", 100_000)
    pairs = Pairs([Sample("map", tmp_path / "map.tif", tmp_path / "mask.tif")], {}, 2, 0, DiskCopies(tmp_path / "c"))
    pairs.without_blanks = True
    stored = np.asarray(pairs[0][1][:, :])
    assert np.array_equal(stored, labels_without_structure_in_blanks(image, mask)[0])
    assert pairs.blank_shares.keys() == {0}


def test_check_finds_them_in_a_large_tiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tifffile

    image, mask = map_with_gaps()
    tifffile.imwrite(tmp_path / "map.tif", image, tile=(64, 64), photometric="rgb")
    tifffile.imwrite(tmp_path / "mask.tif", mask, tile=(64, 64))
    monkeypatch.setattr("pixelwise.datasets.streamed_pairs.MAX_PIXELS", 100_000)
    sample = Sample("map", tmp_path / "map.tif", tmp_path / "mask.tif")
    classes = ClassList(("ground", "road"), ((0, 0, 0), (255, 255, 255)))
    (found,) = blank_problems(Dataset(tmp_path, "pairs", classes, {"train": (sample,)}, {}, ()))
    assert (found.kind, found.where) == ("labels-on-blank", "map.tif")
    assert "of the image is plain white or black, yet its mask has structure there" in found.message
