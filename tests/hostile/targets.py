"""What the campaign attacks: each target makes valid inputs once, and then answers for one mutant at a time.

A target may refuse a mutant (a `PixelwiseError` or a `Refusal`) or take it; whatever else comes out is a finding.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from further_targets import further
from load_bundles import bundles
from mutate import TEXTS, mutated_bytes, mutated_json, mutated_text
from PIL import Image

from pixelwise.errors import PixelwiseError
from pixelwise.images.files import Refusal

REFUSED = (PixelwiseError, Refusal)
TEXT_SUFFIXES = {".xml", ".txt", ".csv", ".toml", ".yaml", ".yml"}
JSON_SUFFIXES = {".json", ".geojson", ".jsonl"}

Attack = Callable[[Random, Path], None]  # the generator of this mutant, a folder that is its own; raises REFUSED
Target = Callable[[Path], Attack]  # a folder for its valid inputs → the attack


def read_image(data: bytes, _own: Path) -> None:
    """Bytes through the decoders of images and of masks. Raises Refusal where all of them refuse."""
    from pixelwise.datasets.masks.raw_mask import raw_mask_of
    from pixelwise.images.band_facts import band_facts
    from pixelwise.images.banded_image import read_bands
    from pixelwise.images.image_files import decode_image, decode_mask_ids

    refusals = 0
    for read in (
        lambda: decode_image(data, "x"),
        lambda: decode_mask_ids(data, "x"),
        lambda: raw_mask_of(data),
        lambda: (band_facts(data), read_bands(data, "x")),
    ):
        try:
            read()
        except REFUSED:
            refusals += 1
    if refusals == 4:
        raise Refusal("all", "refused", "")


def read_tiff(data: bytes, own: Path) -> None:
    """A TIFF file through the reader that goes row by row."""
    from pixelwise.images.tiff import TiffImage
    from pixelwise.images.tiff_header import tiff_size

    path = own / "a.tif"
    path.write_bytes(data)
    tiff_size(path)
    with TiffImage(path) as image:
        if image.height * image.width < 1 << 22:
            image.rows(0, image.height)
        _ = image.place, image.resolution


def images(_folder: Path) -> Attack:
    valid = image_files()
    return lambda rng, own: read_image(mutated_bytes(rng.choice(valid), rng, valid), own)


def tiffs(_folder: Path) -> Attack:
    valid = tiff_files()
    return lambda rng, own: read_tiff(mutated_bytes(rng.choice(valid), rng, valid), own)


def annotations(folder: Path) -> Attack:
    """Datasets of every format that is written, with one file damaged, through `check` and `check --fix`."""
    from pixelwise.datasets.convert import WRITERS, convert
    from pixelwise.doctor.check import check
    from pixelwise.scenes.render_scene import write_scenes

    source = folder / "source"
    write_scenes(source, {"train": 3, "val": 2}, seed=0, height_px=64, width_px=64)
    valid = []
    for name in WRITERS:
        try:
            convert(source, folder / name, name)
        except PixelwiseError:  # an extra is missing
            continue
        valid.append(folder / name)

    def attack(rng: Random, own: Path) -> None:
        data = own / "data"
        shutil.copytree(rng.choice(valid), data)
        damage_one_file(data, rng)
        report = check(data, fix=own / "fixed" if rng.random() < 0.3 else None)
        json.dumps(report.to_json())
        str(report)

    return attack


def settings(folder: Path) -> Attack:
    """dataset.toml and recipes."""
    from pixelwise.datasets.dataset_toml import read_settings
    from pixelwise.training.recipe import Recipe

    del folder
    dataset = (
        'void = [254]\n[[classes]]\nname = "a"\nid = 0\ncolour = [1, 2, 3]\n[[classes]]\nname = "b"\n'
        '[splits]\nval = ["x"]\n'
    )
    recipe = Recipe().to_toml()

    def attack(rng: Random, own: Path) -> None:
        of_dataset = rng.random() < 0.5
        text = mutated_text(dataset if of_dataset else recipe, rng)
        path = own / "dataset.toml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        if of_dataset:
            read_settings(own)
        else:
            Recipe.from_file(path)

    return attack


def damage_one_file(root: Path, rng: Random) -> None:
    """Damage one file below a folder: what is in it by its kind, or, now and then, the file itself."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    tables = [path for path in files if path.suffix in TEXT_SUFFIXES | JSON_SUFFIXES]
    path = rng.choice(tables if tables and rng.random() < 0.8 else files)
    if rng.random() < 0.08:
        damage_in_place(path, rng)
        return
    data = path.read_bytes()
    if path.suffix in JSON_SUFFIXES and rng.random() < 0.9:
        text = data.decode()
        if path.suffix == ".jsonl":
            lines = text.splitlines()
            at = rng.randrange(len(lines))
            lines[at] = mutated_json([json.loads(lines[at])], rng)[1:-1]
            text = "\n".join(lines)
        else:
            text = mutated_json([json.loads(text)], rng)[1:-1]
        data = text.encode("utf-8", "surrogatepass")
    elif path.suffix in TEXT_SUFFIXES and rng.random() < 0.9:
        text = mutated_text(data.decode(), rng)
        data = text.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-16", "latin-1")), "replace")
    else:
        data = mutated_bytes(data, rng)
    path.unlink()
    path.write_bytes(data)


def damage_in_place(path: Path, rng: Random) -> None:
    """The file missing, empty, a folder, a link, a pipe, unreadable, or under a strange name."""
    kind = rng.randrange(7)
    data = path.read_bytes()
    path.unlink()
    if kind == 1:
        path.write_bytes(b"")
    elif kind == 2:
        path.mkdir()
    elif kind == 3:
        path.symlink_to(rng.choice((path, path.parent, Path("/nowhere"), Path("/dev/zero"))))
    elif kind == 4 and hasattr(os, "mkfifo"):
        os.mkfifo(path)
    elif kind == 5:
        name = rng.choice([text for text in TEXTS if 0 < len(text) < 60 and "/" not in text and text.strip("\0 ")])
        raw = name.encode("utf-8", "surrogatepass").replace(b"\0", b"")
        Path(os.fsdecode(os.fsencode(path.parent) + b"/" + raw + b".png")).write_bytes(data)
    elif kind == 6:
        path.write_bytes(data * 3)


def image_files() -> list[bytes]:
    """One small valid file of every kind that is read, and of its main variants."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (24, 32, 3), np.uint8)
    rgb[6:18, 4:28] = (10, 200, 30)
    grey = np.ascontiguousarray(rgb[:, :, 0])
    ids = (grey > 100).astype(np.uint8) * 255
    deep = grey.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[274] = 6
    palette = Image.fromarray(ids).convert("P")
    colour, alpha = Image.fromarray(rgb), Image.fromarray(np.dstack([rgb, grey]))
    files = [
        *(saved(colour, "PNG"), saved(alpha, "PNG"), saved(palette, "PNG"), saved(Image.fromarray(deep), "PNG")),
        *(saved(Image.fromarray(ids).convert("1"), "PNG"), saved(colour, "PNG", exif=exif)),
        *(
            saved(colour, "JPEG"),
            saved(colour, "JPEG", progressive=True, exif=exif),
            saved(colour.convert("CMYK"), "JPEG"),
        ),
        *(saved(Image.fromarray(grey), "JPEG"), saved(colour, "WEBP"), saved(alpha, "WEBP", lossless=True)),
        *(saved(colour, "BMP"), saved(palette, "BMP"), saved(colour, "PPM"), saved(Image.fromarray(grey), "PPM")),
        *(saved(Image.fromarray(ids).convert("1"), "PPM"), saved(palette, "GIF")),
        b"P2\n# c\n4 2\n255\n1 2 3 4\n5 6 7 8\n",
        b"P5\n4 2\n65535\n" + bytes(16),
    ]
    for kind in ("TGA", "AVIF", "JPEG2000"):
        if kind in Image.SAVE or (Image.init() and kind in Image.SAVE):
            files.append(saved(colour, kind))
    return files + tiff_files()


def tiff_files() -> list[bytes]:
    """Small valid TIFFs: strips and tiles, several compressions, depths, pages, BigTIFF."""
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (40, 48, 3), np.uint8)
    files = [
        saved(Image.fromarray(rgb), "TIFF", compression=name) for name in ("raw", "tiff_lzw", "tiff_deflate", "jpeg")
    ]
    files.append(saved(Image.fromarray(rgb[:, :, 0].astype(np.uint16) * 257), "TIFF"))
    files.append(saved(Image.fromarray(rgb), "TIFF", save_all=True, append_images=[Image.fromarray(rgb)] * 2))
    try:
        import tifffile
    except ModuleNotFoundError:
        return files
    for options in ({"tile": (16, 16)}, {"bigtiff": True}, {"tile": (16, 16), "compression": "zlib", "predictor": 2}):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, rgb, photometric="rgb", **options)  # type: ignore[arg-type]
        files.append(buffer.getvalue())
    return files


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is there `count` times over."""
    data = saved(Image.fromarray(np.zeros((64, 64, 3), np.uint8)), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def png_of_chunks(count: int) -> bytes:
    """A PNG with `count` empty ancillary chunks before its end."""
    import zlib

    data = saved(Image.fromarray(np.zeros((8, 8, 3), np.uint8)), "PNG")
    chunk = struct.pack(">I", 0) + b"teSt" + struct.pack(">I", zlib.crc32(b"teSt"))
    return data[:-12] + chunk * count + data[-12:]


TARGETS: dict[str, Target] = {
    "images": images,
    "tiffs": tiffs,
    "annotations": annotations,
    "further": further,
    "settings": settings,
    "bundles": bundles,
}
GUIDED = {
    "images": (image_files, read_image),
    "tiffs": (tiff_files, read_tiff),
}  # by Atheris
