"""REST takes a NIfTI volume, labels one slice of it and says which."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import picture
from pixelwise.prediction.volume_slices import read_slice
from pixelwise.records import RGB

nibabel: Any = pytest.importorskip("nibabel", reason="nibabel is not installed; install pixelwise[formats]")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    slices = np.stack([picture(seed, 60, 90)[:, :, 0].astype(np.int16) * 9 - 1000 for seed in range(3)])
    nibabel.Nifti1Image(slices.transpose(2, 1, 0), np.eye(4)).to_filename(tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


def test_the_middle_slice_or_the_one_that_is_asked_for(client: Any, served_model: Any, volume: Path) -> None:
    for query, number in (("", 1), ("&slice=2", 2)):
        answer = client.post(f"/v1/predict?answer=png{query}", content=volume.read_bytes())
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-slice"] == f"slice {number} of 0 to 2"
        expected = served_model.predict(read_slice(volume, RGB, number)[0]).labels
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), expected)
    found = client.post("/v1/predict?answer=both", content=volume.read_bytes()).json()
    assert found["slice"] == "slice 1 of 0 to 2"


def test_slices_that_are_not_there_and_other_channels_are_refused(client: Any, volume: Path, tmp_path: Path) -> None:
    answer = client.post("/v1/predict?slice=3", content=volume.read_bytes())
    assert answer.status_code == 422
    assert "no slice 3; its slices are 0 to 2" in answer.text
    buffer = io.BytesIO()
    Image.fromarray(picture(0, 60, 90)).save(buffer, "PNG")
    answer = client.post("/v1/predict?slice=0", content=buffer.getvalue())
    assert (answer.status_code, "no volume" in answer.text) == (422, True)
    two = np.zeros((90, 60, 3, 2), np.int16)
    nibabel.Nifti1Image(two, np.eye(4)).to_filename(tmp_path / "two.nii")
    answer = client.post("/v1/predict", content=(tmp_path / "two.nii").read_bytes())
    assert answer.status_code == 422
    assert "2 bands (band 1, band 2) of int16" in answer.text
    answer = client.post("/v1/predict", content=volume.read_bytes()[:-300])
    assert answer.status_code in (415, 422)
    assert "slice" not in answer.json().get("kind", "")


def stack(tmp_path: Path, pages: np.ndarray, **options: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, pages, metadata=None, **({"photometric": "minisblack"} | options))
    return path.read_bytes()


@pytest.mark.parametrize(
    "options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"tile": (16, 32)}, {"compression": "zlib"}]
)
def test_a_page_of_a_tiff(client: Any, served_model: Any, tmp_path: Path, options: dict[str, Any]) -> None:
    pages = np.stack([picture(seed, 60, 90)[:, :, 0] for seed in range(4)])
    data = stack(tmp_path, pages, **options)
    for query, number in (("", 0), ("&slice=2", 2), ("&slice=3", 3)):
        answer = client.post(f"/v1/predict?answer=png{query}", content=data)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-slice"] == f"slice {number} of 0 to 3"
        expected = served_model.predict(pages[number]).labels
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), expected)
    answer = client.post("/v1/predict?slice=4", content=data)
    assert answer.status_code == 422
    assert "no slice 4; its slices are 0 to 3" in answer.text


def test_colour_pages_and_copies_at_other_sizes(client: Any, served_model: Any, tmp_path: Path) -> None:
    colours = np.stack([picture(seed, 60, 90) for seed in range(3)])
    answer = client.post("/v1/predict?answer=png&slice=1", content=stack(tmp_path, colours, photometric="rgb"))
    assert answer.headers["x-slice"] == "slice 1 of 0 to 2"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), served_model.predict(colours[1]).labels)
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "cog.tif") as file:  # an overview is no slice
        file.write(colours[0], photometric="rgb", metadata=None)
        file.write(colours[0, ::2, ::2], photometric="rgb", metadata=None, subfiletype=1)
    answer = client.post("/v1/predict?answer=png", content=(tmp_path / "cog.tif").read_bytes())
    assert "x-slice" not in answer.headers
    answer = client.post("/v1/predict?slice=0", content=(tmp_path / "cog.tif").read_bytes())
    assert (answer.status_code, "no volume" in answer.text) == (422, True)
