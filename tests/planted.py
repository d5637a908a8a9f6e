"""A sound dataset, and ways to plant one fault each: what the doctor must find, and must not find without.

Every planter takes the dataset's root and damages it; the name of the finding that must follow stands beside it in
`FAULTS`. The scenes are the built-in ones, so the images look like images.
"""

from __future__ import annotations

import os
import shutil
import struct
import unicodedata
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.images.image_files import read_image, read_mask_ids, write_png
from pixelwise.records import Pixels, Prediction
from pixelwise.scenes.render_scene import render_scene

TRAIN, VAL = 16, 6
SIZE = (72, 96)  # H, W
NAMES = ["sky", "building", "road", "pavement", "tree", "pole", "sign", "car", "person"]
COLOURS = np.array(
    [
        [70, 130, 180],
        [128, 0, 0],
        [128, 64, 128],
        [244, 35, 232],
        [107, 142, 35],
        [250, 170, 30],
        [220, 220, 0],
        [0, 0, 142],
        [220, 20, 60],
        *[[10 * i, 255 - 9 * i, 7 * i] for i in range(9, 24)],
    ],
    np.uint8,
)

Mask = NDArray[np.uint8]


@cache
def scene(index: int) -> tuple[NDArray[np.uint8], Mask]:
    """A small street scene; its mask holds at least four of the classes 0 … 5."""
    image, labels = render_scene(7, index, *SIZE)
    return image, np.minimum(labels, 5).astype(np.uint8)


def sound(root: Path) -> Path:
    """Write the dataset without a fault: 16 pairs to train with, 6 to validate; classes are found, not declared."""
    for split, start, count in (("train", 0, TRAIN), ("val", TRAIN, VAL)):
        for i in range(count):
            image, mask = scene(start + i)
            mask = mask.copy()
            mask[:4, :6] = np.arange(6)  # every class in every mask: only what is planted is missing
            stem = f"scene{zlib.crc32(bytes([start + i])):08x}"
            images, masks = root / split / "images", root / split / "masks"
            images.mkdir(parents=True, exist_ok=True)
            masks.mkdir(parents=True, exist_ok=True)
            write_png(images / f"{stem}.png", image)
            write_png(masks / f"{stem}.png", mask)
    return root


class Oracle:
    """A model that knows the sound masks, and is sure."""

    def __init__(self, root: Path) -> None:
        dataset = open_dataset(root)
        self.classes = dataset.classes
        self.by_pixels = {
            read_image(sample.image).tobytes(): np.asarray(read_mask_ids(sample.mask), np.uint8)
            for part in dataset.splits.values()
            for sample in part
            if sample.mask
        }

    def predict(self, image: Pixels) -> Prediction:
        labels = self.by_pixels[image.tobytes()]
        scores = 12.0 * (np.arange(len(self.classes))[:, None, None] == labels[None])
        return Prediction(labels, scores.astype(np.float32), self.classes)


def images(root: Path, split: str = "train") -> list[Path]:
    return sorted((root / split / "images").iterdir())


def masks(root: Path, split: str = "train") -> list[Path]:
    return sorted((root / split / "masks").iterdir())


def all_masks(root: Path) -> list[Path]:
    return [*masks(root), *masks(root, "val")]


def rewrite(root: Path, change: Callable[[Mask], NDArray[np.uint8] | NDArray[np.uint16]]) -> None:
    """Give every mask other values."""
    for path in all_masks(root):
        write_png(path, change(np.asarray(read_mask_ids(path), np.uint8)))


def recode(*values: int) -> Callable[[Path], None]:
    table = np.array(values)
    kind = np.uint16 if table.max() > 255 else np.uint8
    return lambda root: rewrite(root, lambda mask: table[mask].astype(kind))


def smoothed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As an anti-aliasing program would have drawn it: from four times the size, averaged."""
    large = cv2.resize(picture, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    large = np.roll(large, (2, 2), (0, 1))
    return np.asarray(cv2.resize(large, picture.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)


def as_jpeg(root: Path, paint: Callable[[Mask], NDArray[np.uint8]], quality: int = 90) -> None:
    for path in all_masks(root):
        picture = paint(blocky(np.asarray(read_mask_ids(path), np.uint8)))
        path.unlink()
        Image.fromarray(picture).save(path.with_suffix(".jpg"), quality=quality)


def blocky(mask: Mask) -> Mask:
    """Without details of a few pixels, which a JPEG of this small size would wash away."""
    clean = mask.copy()
    clean[:4, :6] = clean[4, 6]
    return np.asarray(cv2.medianBlur(clean, 5), np.uint8)


def png_with_turn(path: Path, orientation: int) -> None:
    """Store an image turned, with the EXIF entry that turns it back."""
    image = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


def objects(mask: Mask) -> NDArray[np.uint16]:
    """Each connected piece of classes 1 … with its own number, counted from 1."""
    numbered = np.zeros(mask.shape, np.uint16)
    top = 0
    for value in range(1, 6):
        number, parts = cv2.connectedComponents((mask == value).astype(np.uint8), connectivity=4)
        for part in range(1, number):
            if (parts == part).sum() >= 6:
                top += 1
                numbered[parts == part] = top
    return numbered


def instance_ids(root: Path) -> None:
    rng = np.random.default_rng(0)
    for path in all_masks(root):
        cells = np.zeros(SIZE, np.uint16)
        for i in range(int(rng.integers(9, 30))):
            y, x = rng.integers(4, SIZE[0] - 4), rng.integers(4, SIZE[1] - 4)
            cv2.circle(cells, (int(x), int(y)), 3, i + 1, -1)
        _, dense = np.unique(cells, return_inverse=True)
        write_png(path, dense.reshape(SIZE).astype(np.uint16))


def class_instances(root: Path) -> None:
    for path in all_masks(root):
        mask = np.asarray(read_mask_ids(path), np.uint16)
        number = objects(mask.astype(np.uint8))
        write_png(path, np.where(number > 0, mask * 1000 + number, mask).astype(np.uint16))


def floats(root: Path) -> None:
    for path in all_masks(root):
        mask = np.asarray(read_mask_ids(path), np.float32)
        path.unlink()
        Image.fromarray(mask).save(path.with_suffix(".tif"))


def with_alpha(root: Path) -> None:
    for path in all_masks(root):
        colours = COLOURS[np.asarray(read_mask_ids(path))]
        Image.fromarray(np.dstack([colours, np.full(SIZE, 255, np.uint8)])).save(path)


def rename(path: Path, stem: str) -> None:
    path.rename(path.with_name(stem + path.suffix))


def unicode_names(root: Path) -> None:
    rename(images(root)[0], unicodedata.normalize("NFC", "straße-münchen"))
    rename(masks(root)[0], unicodedata.normalize("NFD", "straße-münchen"))


def near_copy(root: Path) -> None:
    picture = cv2.resize(read_image(images(root)[2]), (120, 90), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(np.asarray(read_mask_ids(masks(root)[2]), np.uint8), (120, 90), interpolation=cv2.INTER_NEAREST)
    Image.fromarray(np.asarray(picture, np.uint8)).save(root / "val/images/again.jpg", quality=80)
    write_png(root / "val/masks/again.png", np.asarray(mask, np.uint8))


def film(root: Path) -> None:
    """A camera that moves 2 pixels a frame over one wide scene; every third frame is in val."""
    wide, labels = render_scene(3, 1, SIZE[0], 3 * SIZE[1])
    for i in range(18):
        split = "val" if i % 3 == 1 else "train"
        left = 2 * i
        write_png(root / split / f"images/drive_{i:04}.png", wide[:, left : left + SIZE[1]].copy())
        mask = np.minimum(labels[:, left : left + SIZE[1]], 5).astype(np.uint8)
        mask[:4, :6] = np.arange(6)
        write_png(root / split / f"masks/drive_{i:04}.png", mask)


def patients(root: Path) -> None:
    """Six patients with four slices each, every one of them in both splits."""
    rng = np.random.default_rng(1)
    for split in ("train", "val"):
        shutil.rmtree(root / split)
    for patient in range(6):
        base = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        for part in range(4):
            split = "val" if part == 3 * (patient % 2) else "train"
            (root / split / "images").mkdir(parents=True, exist_ok=True)
            (root / split / "masks").mkdir(parents=True, exist_ok=True)
            bumps = cv2.resize(rng.integers(0, 90, (9, 12, 3), np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
            stem = f"patient{patient:02}_slice{100 * part + int(rng.integers(0, 99)):03}"
            write_png(root / split / f"images/{stem}.png", (base * 0.65 + bumps).clip(0, 255).astype(np.uint8))
            write_png(root / split / f"masks/{stem}.png", (bumps[:, :, 0] // 40).astype(np.uint8))


def exchange_red_and_blue(root: Path) -> None:
    path = images(root)[4]
    write_png(path, np.ascontiguousarray(read_image(path)[:, :, ::-1]))


def warm(root: Path) -> None:
    """Sunset light on everything, so that colours have a direction, then one image in BGR."""
    for path in [*images(root), *images(root, "val")]:
        lit = read_image(path) * np.array([1.0, 0.75, 0.45])
        write_png(path, lit.astype(np.uint8))
    exchange_red_and_blue(root)


def strange(root: Path) -> None:
    """Many images of one kind, and one of another."""
    rng = np.random.default_rng(2)
    base = read_image(images(root)[0]).astype(np.float32)
    for i in range(30):
        noise = cv2.resize(rng.normal(0, 25, (9, 12, 3)).astype(np.float32), SIZE[::-1])
        write_png(
            root / f"train/images/like{zlib.crc32(bytes([i])):x}.png", (base + noise).clip(0, 255).astype(np.uint8)
        )
        shutil.copy(masks(root)[0], root / f"train/masks/like{zlib.crc32(bytes([i])):x}.png")
    checks = (np.indices(SIZE).sum(axis=0) // 6 % 2 * 255).astype(np.uint8)
    write_png(images(root)[3], 255 - np.repeat(checks[:, :, None], 3, axis=2))


def blank(root: Path) -> None:
    write_png(images(root)[1], np.full((*SIZE, 3), 17, np.uint8))


def huge(root: Path) -> None:
    picture = cv2.resize(read_image(images(root)[5]), None, fx=8, fy=8)
    mask = cv2.resize(np.asarray(read_mask_ids(masks(root)[5])), None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    write_png(images(root)[5], np.asarray(picture, np.uint8))
    write_png(masks(root)[5], np.asarray(mask, np.uint8))


def dark_16_bit(root: Path) -> None:
    for path in images(root)[6:8]:
        write_png(path, read_image(path)[:, :, 1].astype(np.uint16) * 16)


def one_16_bit(root: Path) -> None:
    write_png(images(root)[6], read_image(images(root)[6])[:, :, 1].astype(np.uint16) * 257)


def resize_mask(root: Path, size: tuple[int, int]) -> None:
    for path in all_masks(root):
        small = cv2.resize(np.asarray(read_mask_ids(path)), size, interpolation=cv2.INTER_NEAREST)
        write_png(path, np.asarray(small, np.uint8))


def polygons(root: Path) -> None:
    for path in masks(root)[:5]:
        path.with_suffix(".json").write_text('{"outlines": [[[0, 0], [9, 0], [9, 9]]]}')
        path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def bad_filter(path: Path) -> None:
    """A PNG whose checksums hold, but whose stream holds too few pixels."""
    pixels = zlib.compress(b"\0" * 100)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 8, 2, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b"")]
    parts = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def remove_class(root: Path, split: str, value: int) -> None:
    for path in masks(root, split):
        mask = np.asarray(read_mask_ids(path), np.uint8)
        write_png(path, np.where(mask == value, 0, mask).astype(np.uint8))


def declare(root: Path, *names: str) -> None:
    (root / "dataset.toml").write_text("".join(f'[[classes]]\nname = "{name}"\n' for name in names))


def stray_id(root: Path) -> None:
    declare(root, *NAMES[:6])
    mask = np.asarray(read_mask_ids(masks(root)[3]), np.uint8)
    mask[20:30, 20:30] = 77
    write_png(masks(root)[3], mask)


def link_to_nothing(root: Path) -> None:
    path = images(root)[7]
    path.unlink()
    path.symlink_to(path.with_name("nowhere.png"))


def pipe(root: Path) -> None:
    path = masks(root)[7]
    path.unlink()
    os.mkfifo(path)


FAULTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    # pairing
    "a mask is missing": ("mask-missing", lambda r: masks(r)[0].unlink()),
    "an image is missing": ("image-missing", lambda r: images(r)[0].unlink()),
    "two formats of one stem": (
        "duplicate-stem",
        lambda r: Image.open(images(r)[0]).save(images(r)[0].with_suffix(".jpg")),
    ),
    "names differ in case": ("name-case", lambda r: rename(images(r)[0], images(r)[0].stem.upper())),
    "names differ in Unicode form": ("name-unicode", unicode_names),
    "hidden files": ("hidden-files", lambda r: shutil.copy(images(r)[0], r / "train/images/._a.png")),
    "masks of half the size": ("size-mismatch", lambda r: resize_mask(r, (SIZE[1] // 2, SIZE[0] // 2))),
    "a mask lies on its side": (
        "size-mismatch",
        lambda r: write_png(masks(r)[0], np.rot90(np.asarray(read_mask_ids(masks(r)[0]), np.uint8)).copy()),
    ),
    "an image is turned by EXIF": ("size-mismatch", lambda r: png_with_turn(images(r)[0], 6)),
    "a mask lacks a row": (
        "size-mismatch",
        lambda r: write_png(masks(r)[0], np.asarray(read_mask_ids(masks(r)[0]), np.uint8)[1:].copy()),
    ),
    # masks
    "colours": ("rgb-masks", lambda r: rewrite(r, lambda m: COLOURS[m])),
    "colours, smoothed": ("blended-masks", lambda r: rewrite(r, lambda m: smoothed(COLOURS[blocky(m)]))),
    "colours in a JPEG": ("jpeg-masks", lambda r: as_jpeg(r, lambda m: COLOURS[m])),
    "grey steps, smoothed": (
        "blended-masks",
        lambda r: rewrite(r, lambda m: smoothed((blocky(m) * 40).astype(np.uint8))),
    ),
    "grey steps in a JPEG": ("jpeg-masks", lambda r: as_jpeg(r, lambda m: (m * 50).astype(np.uint8))),
    "three equal channels": ("rgb-masks", lambda r: rewrite(r, lambda m: np.repeat(m[:, :, None], 3, axis=2))),
    "0 and 255": ("", recode(0, 255, 255, 0, 255, 0)),
    "grey steps": ("value-steps", recode(0, 40, 80, 120, 160, 200)),
    "grey steps up to 255": ("value-steps", recode(0, 51, 102, 153, 204, 255)),
    "gaps": ("id-gaps", recode(0, 1, 3, 7, 8, 24)),
    "counted from 1": ("one-based", recode(1, 2, 3, 4, 5, 6)),
    "16-bit": ("wide-masks", lambda r: rewrite(r, lambda m: m.astype(np.uint16))),
    "alpha": ("alpha-masks", with_alpha),
    "floats": ("float-masks", floats),
    "objects' numbers": ("instance-ids", instance_ids),
    "class × 1000 + number": ("instance-ids", class_instances),
    "polygons": ("polygon-masks", polygons),
    # classes
    "an id without a class": ("ids-outside", stray_id),
    "a mask of void only": ("all-void", lambda r: write_png(masks(r)[0], np.full(SIZE, 255, np.uint8))),
    "one class only": ("one-class", recode(1, 1, 1, 1, 1, 1)),
    "a class is missing from val": ("class-missing", lambda r: remove_class(r, "val", 4)),
    "a declared class has no pixel": ("class-empty", lambda r: declare(r, *NAMES[:7])),
    # splits
    "a copy in val": (
        "copy-across-splits",
        lambda r: (
            shutil.copy(images(r)[2], r / "val/images/x.png"),
            shutil.copy(masks(r)[2], r / "val/masks/x.png"),
        ),
    ),
    "a recompressed, resized copy in val": ("near-copy-across-splits", near_copy),
    "frames of one film in both splits": ("frames-across-splits", film),
    "patients in both splits": ("groups-across-splits", patients),
    # images
    "cut short": ("truncated", lambda r: cut(images(r)[0])),
    "too few pixels under good checksums": ("truncated", lambda r: bad_filter(images(r)[0])),
    "text named .png": ("not-an-image", lambda r: images(r)[0].write_text("not an image")),
    "empty file": ("empty-file", lambda r: masks(r)[0].write_bytes(b"")),
    "a link to nothing": ("unreadable", link_to_nothing),
    "a pipe": ("not-a-file", pipe),
    "blank": ("blank-image", blank),
    "extreme size": ("extreme-size", huge),
    "red and blue exchanged": ("channel-order", warm),
    "unlike all others": ("strange-image", strange),
    "16-bit, nearly black": ("dark-16-bit", dark_16_bit),
    "one image of another depth": ("mixed-depth", one_16_bit),
}
