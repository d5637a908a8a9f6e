"""What goes along with the GPU kit: the packed dataset, and what the kit says without a GPU."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_a_packed_dataset_has_the_same_labels_and_all_but_the_same_pixels(tiny_scenes: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.zip"
    told = subprocess.run(
        [sys.executable, BENCHMARKS / "pack.py", tiny_scenes, packed], check=True, capture_output=True, text=True
    ).stdout
    assert "10 pairs" in told
    with zipfile.ZipFile(packed) as file:
        file.extractall(tmp_path / "again")
    was, now = open_dataset(tiny_scenes), open_dataset(tmp_path / "again")
    assert now.classes == was.classes
    for split in ("train", "val"):
        assert len(now.splits[split]) == len(was.splits[split])
        for before, after in zip(was.splits[split], now.splits[split], strict=True):
            assert before.mask is not None
            images = [read_sample_image(one, was.bands).astype(int) for one in (before, after)]
            size = images[0].shape[0], images[0].shape[1]
            masks = [
                read_sample_mask(one, of.mask_ids, len(was.classes), size) for one, of in ((before, was), (after, now))
            ]
            assert (masks[0] == masks[1]).all()
            assert np.abs(images[0] - images[1]).mean() < 6


def test_a_file_too_large_to_travel_is_an_error(tiny_scenes: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "pack.py", tiny_scenes, tmp_path / "packed.zip", "--most-mib", "0.001"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pack it with a lower --quality" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
@pytest.mark.parametrize(
    ("given", "parts", "says"),
    [
        ({}, [], "CAMVID: the file that benchmarks/pack.py makes"),
        ({"CAMVID": "x"}, ["fast"], "fast: expected tests, speed"),
    ],
)
def test_the_kit_says_what_it_needs(given: dict[str, str], parts: list[str], says: str, tmp_path: Path) -> None:
    env = {
        **{key: value for key, value in os.environ.items() if key != "CAMVID"},
        **given,
        "OUT": str(tmp_path / "out"),
    }
    done = subprocess.run(
        ["bash", BENCHMARKS / "gpu_kit.sh", *parts], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
