"""The built-in street scenes: the same everywhere, exact, varied, and no toy problem."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import pixelwise
from pixelwise.errors import OutputError
from pixelwise.records import VOID
from pixelwise.scenes.render_scene import SCENE_CLASSES, render_scene, write_scenes

C = len(SCENE_CLASSES)
# (seed, index, height_px, width_px) → the arrays. A change here changes every published number on the built-in scenes.
DIGESTS = {
    (0, 0, 256, 256): "494572ede4a8ac378b8d5237f576f4be93dd0ffcf5bc06c385243a18dc9e6c42",
    (0, 2, 256, 256): "bc7f14b743071847f45aa768e534d85ee8e78578844ff6543991c10ea0366c6a",
    (7, 1_000_003, 96, 160): "886f5baa910d52663b2129a03d7b7b3d6e61e6eb8e39cdad504aade380409487",
    (1, 5, 33, 57): "6ef757fc1d1b13e9bbe16dc2d611cdfc71a14f0c41bfd09039a714db892d0d5e",
    (-1, 2_000_000, 200, 64): "6cf663ac84a01aac2f1a11d90783d326013390b06c62fb2cc669d023e28b839b",
}


def digest(seed: int, index: int, height_px: int, width_px: int) -> str:
    pixels, labels = render_scene(seed, index, height_px, width_px)
    return hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def forty() -> tuple[np.ndarray, np.ndarray]:
    """pixels [40, H, W, 3] and labels [40, H, W] of the first scenes."""
    pairs = [render_scene(0, index, 96, 96) for index in range(40)]
    return np.stack([pixels for pixels, _ in pairs]), np.stack([labels for _, labels in pairs])


@pytest.mark.parametrize("key", DIGESTS)
def test_arrays_are_pinned(key: tuple[int, int, int, int]) -> None:
    assert digest(*key) == DIGESTS[key]


# Both of NumPy's vocabularies, up to 2.3 and from 2.4 on; it ignores, with a warning, names that it does not know.
@pytest.mark.parametrize("disabled", ["", "AVX512F AVX512_SKX X86_V4", "AVX2 FMA3 AVX512F AVX512_SKX X86_V3 X86_V4"])
def test_arrays_do_not_depend_on_hash_seed_or_vector_instructions(disabled: str) -> None:
    code = f"""
import hashlib
from pixelwise.scenes.render_scene import render_scene
for key in {list(DIGESTS)}:
    pixels, labels = render_scene(*key)
    print(hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest())
"""
    environment = {**os.environ, "PYTHONHASHSEED": str(len(disabled) + 1), "NPY_DISABLE_CPU_FEATURES": disabled}
    environment["PYTHONPATH"] = str(Path(pixelwise.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(DIGESTS.values())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**40), st.integers(-5, 2**40), st.integers(32, 300), st.integers(32, 300))
def test_any_size_gives_whole_arrays_of_known_labels(seed: int, index: int, height_px: int, width_px: int) -> None:
    pixels, labels = render_scene(seed, index, height_px, width_px)
    assert pixels.shape == (height_px, width_px, 3)
    assert labels.shape == (height_px, width_px)
    assert pixels.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {*range(C), VOID}


@pytest.mark.parametrize("size", [(32, 2048), (2048, 32)])
def test_extreme_shapes(size: tuple[int, int]) -> None:
    pixels, labels = render_scene(0, 1, *size)
    assert labels.shape == size
    assert pixels.std() > 10


@pytest.mark.parametrize("size", [(31, 64), (64, 4097), (0, 64), (64, -1)])
def test_a_size_out_of_range_is_refused_with_the_range(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected 32 to 4096"):
        render_scene(0, 0, *size)


def test_another_size_shows_the_same_scene() -> None:
    for index in range(6):
        small, large = render_scene(0, index, 128, 128)[1], render_scene(0, index, 384, 384)[1]
        assert np.mean(small == large[1::3, 1::3]) > 0.98  # the middle of each 3×3 block is the small pixel's centre


def test_a_wider_frame_shows_more_of_the_same_scene() -> None:
    square, wide = render_scene(0, 4, 128, 128)[1], render_scene(0, 4, 128, 256)[1]
    assert np.mean(square == wide[:, 64:192]) > 0.97  # all but the bonnet's and blurred edges


def test_every_class_has_its_share_and_void_only_the_bonnet(forty: tuple[np.ndarray, np.ndarray]) -> None:
    labels = forty[1]
    shares = dict(zip(SCENE_CLASSES.names, np.bincount(labels.ravel(), minlength=256)[:C] / labels.size, strict=True))
    bounds = {
        "sky": (0.1, 0.35), "building": (0.12, 0.4), "road": (0.2, 0.45), "pavement": (0.04, 0.25), "tree": (0.03, 0.2),
        "car": (0.02, 0.15), "pedestrian": (0.004, 0.05), "pole": (0.005, 0.05), "sign": (0.003, 0.05),
    }  # fmt: skip
    for name, (low, high) in bounds.items():
        assert low < shares[name] < high, f"{name}: {shares[name]:.4f}"
    scenes_with = [(labels == c).any((1, 2)).mean() for c in range(C)]
    assert min(scenes_with) > 0.6
    void = labels == VOID
    assert 0 < void.any((1, 2)).mean() < 0.3
    assert not void[:, :72].any()


def test_scenes_differ(forty: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, labels = forty
    assert len({image.tobytes() for image in pixels}) == 40
    overlaps = [np.mean(labels[i] == labels[i + 1]) for i in range(39)]
    assert np.mean(overlaps) < 0.75
    brightness = pixels.mean((1, 2, 3))
    assert brightness.min() < 60
    assert brightness.max() > 120


def test_the_mask_follows_the_image(forty: tuple[np.ndarray, np.ndarray]) -> None:
    """Colours step where labels do: edges of the mask lie on edges of the image."""
    pixels, labels = forty
    step = np.abs(np.diff(pixels.astype(int), axis=2)).sum(-1)
    border = labels[:, :, 1:] != labels[:, :, :-1]
    assert step[border].mean() > 3 * step[~border].mean()


def test_colour_alone_does_not_solve_it(forty: tuple[np.ndarray, np.ndarray]) -> None:
    """Neither the nearest mean colour nor even each colour's most frequent class comes near."""
    pixels, labels = forty
    train, test = labels[:28] != VOID, labels[28:] != VOID
    x, y, x_test, y_test = pixels[:28][train], labels[:28][train], pixels[28:][test], labels[28:][test]
    means = np.stack([x[y == c].mean(0) for c in range(C)])
    nearest = np.argmin(((x_test[:, None] - means) ** 2).sum(-1), 1)
    assert np.mean(nearest == y_test) < 0.5
    counts = np.zeros((4096, C))
    np.add.at(counts, ((x // 16) @ np.array([256, 16, 1]), y), 1)
    table = counts.argmax(1)[(x_test // 16) @ np.array([256, 16, 1])]
    assert np.mean(table == y_test) < 0.7


def test_class_colours_stay_apart_for_every_kind_of_sight() -> None:
    """CIELAB distance under normal sight and simulated dichromacy (Machado et al. 2009, severity 1)."""
    sights = {
        "normal": np.eye(3),
        "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
        "deuteranopia": [[0.3673, 0.8607, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
        "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
    }
    for sight, matrix in sights.items():
        lab = to_lab(np.array(SCENE_CLASSES.colours) / 255, np.array(matrix))
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1e3 * np.eye(C)
        assert apart.min() > 20, sight
        if sight == "normal":
            assert np.diff(np.sort(lab[:, 0])).min() > 3


def to_lab(srgb_C3: np.ndarray, sight: np.ndarray) -> np.ndarray:
    linear = np.where(srgb_C3 <= 0.04045, srgb_C3 / 12.92, ((srgb_C3 + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ sight.T, 0, 1)
    xyz = seen @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.cbrt(np.maximum(xyz / [0.9505, 1, 1.089], 0.008856))
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def test_written_scenes_read_back_as_rendered(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    counts = {"train": 3, "val": 2, "test": 1}
    root = tmp_path / "new" / "scenes"
    write_scenes(
        root, counts, seed=5, height_px=48, width_px=64, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(i, 6) for i in range(1, 7)]
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    pairs = [f"{s}/{kind}/{i:04}.png" for s, n in counts.items() for kind in ("images", "masks") for i in range(n)]
    assert files == sorted(["dataset.toml", *pairs])
    assert type(SCENE_CLASSES).from_json(tomllib.loads((root / "dataset.toml").read_text())["classes"]) == SCENE_CLASSES
    for split, first in (("train", 0), ("val", 1_000_000), ("test", 2_000_000)):
        pixels, labels = render_scene(5, first, 48, 64)
        with (
            Image.open(root / split / "images" / "0000.png") as image,
            Image.open(root / split / "masks" / "0000.png") as mask,
        ):
            assert (image.mode, mask.mode) == ("RGB", "P")
            np.testing.assert_array_equal(np.asarray(image), pixels)
            np.testing.assert_array_equal(np.asarray(mask), labels)


def test_splits_share_no_scene(tmp_path: Path) -> None:
    write_scenes(tmp_path, {"train": 4, "val": 4, "test": 4}, height_px=32, width_px=32)
    images = [path.read_bytes() for path in tmp_path.rglob("images/*.png")]
    assert len(set(images)) == 12


def test_a_growing_split_keeps_its_first_scenes(tmp_path: Path) -> None:
    write_scenes(tmp_path, {"val": 1}, height_px=32, width_px=32)
    before = (tmp_path / "val/images/0000.png").read_bytes()
    write_scenes(tmp_path, {"train": 1, "val": 2}, height_px=32, width_px=32)
    assert (tmp_path / "val/images/0000.png").read_bytes() == before


@pytest.mark.parametrize(
    ("counts", "size", "message"),
    [({"training": 1}, 64, "train, val, test"), ({"train": -1}, 64, "expected 0 to"), ({"train": 1}, 8, "32 to 4096")],
)
def test_a_wrong_call_writes_nothing(tmp_path: Path, counts: dict[str, int], size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_scenes(tmp_path, counts, height_px=size, width_px=size)
    assert not list(tmp_path.iterdir())


def test_a_stopped_write_leaves_no_part_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OutputError, match="cannot be written"):
        write_scenes(tmp_path, {"train": 1}, height_px=32, width_px=32)
    assert not list(tmp_path.iterdir())
