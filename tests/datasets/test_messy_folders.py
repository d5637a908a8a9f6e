"""Folders as people publish them: what the doctor makes of each at first sight, and that the repaired copy is right.

The scenes are the built-in ones with six classes; what every pixel truly is, is known.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import planted
from pixelwise.datasets.list_dataset import list_dataset
from pixelwise.datasets.mask_layers import held
from pixelwise.datasets.name_tables import table_beside
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.doctor.check import check
from pixelwise.doctor.findings import find_problems
from pixelwise.doctor.fix import Decisions
from pixelwise.errors import MaskError
from pixelwise.images.image_files import decode_mask_ids, read_image
from pixelwise.records import VOID

Mask = NDArray[np.uint8]
COUNT = 8
NAMES = ["sky", "building", "road", "pavement", "tree", "pole"]


def pair(index: int) -> tuple[NDArray[np.uint8], Mask]:
    image, mask = planted.scene(index)
    return image, planted.blocky(mask)


def write(path: Path, picture: NDArray[np.generic], **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)


def pairs(root: Path, image: str, mask: str, paint: Callable[[Mask], NDArray[np.generic]] = lambda m: m) -> None:
    """Every pair under names with its number, "{i}"."""
    for i in range(COUNT):
        photo, truth = pair(i)
        write(root / image.format(i=f"{i:03}"), photo)
        write(root / mask.format(i=f"{i:03}"), paint(truth))


def cells(index: int) -> Mask:
    mask = np.zeros(planted.SIZE, np.uint8)
    for x, y in np.random.default_rng(index).integers(8, 60, (5, 2)).tolist():
        cv2.circle(mask, (x, y), 5, 1, -1)
    return mask


def objects(root: Path) -> None:
    """One folder an image: images/ with it, masks/ with a file for each object."""
    for i in range(COUNT):
        write(root / f"n{i:03}/images/n{i:03}.png", pair(i)[0])
        number, parts = cv2.connectedComponents(cells(i))
        for part in range(1, number):
            write(root / f"n{i:03}/masks/{part}.png", (255 * (parts == part)).astype(np.uint8))


def class_files(root: Path, name: str) -> None:
    for i in range(COUNT):
        photo, truth = pair(i)
        write(root / f"images/{i:03}.png", photo)
        for c in range(1, 6):
            if (truth == c).any():
                write(root / name.format(c=NAMES[c], i=f"{i:03}"), (255 * (truth == c)).astype(np.uint8))


def transparent(mask: Mask) -> NDArray[np.uint8]:
    return np.dstack([planted.COLOURS[mask] * (mask > 0)[:, :, None], 255 * (mask > 0)]).astype(np.uint8)


FOLDERS: dict[str, Callable[[Path], None]] = {
    "nested folders on both sides": lambda r: pairs(r, "images/town/a/{i}.png", "masks/town/a/{i}.png"),
    "roles inside sequences": lambda r: pairs(r, "drive_{i}/images/0.png", "drive_{i}/masks/0.png"),
    "one folder a pair": lambda r: pairs(r, "{i}/image.png", "{i}/mask.png"),
    "one folder, _mask": lambda r: pairs(r, "data/{i}.png", "data/{i}_mask.png"),
    "one folder, -annotated": lambda r: pairs(r, "data/{i}.png", "data/{i}-annotated.png"),
    "one folder, _L": lambda r: pairs(r, "data/a{i}.png", "data/a{i}_L.png"),
    "one folder, _manual1": lambda r: pairs(r, "data/{i}.png", "data/{i}_manual1.png"),
    "one folder, two words": lambda r: pairs(r, "data/{i}.png", "data/{i}_coloured_mask.png"),
    "numbers behind words": lambda r: pairs(r, "images/img{i}.png", "masks/mask{i}.png"),
    "upper-case endings": lambda r: pairs(r, "images/{i}.PNG", "masks/{i}.TIF"),
    "GIF masks": lambda r: pairs(r, "train/{i}.png", "train_masks/{i}_mask.gif"),
    "files of classes in folders": lambda r: class_files(r, "masks/{c}/{i}.png"),
    "files of classes, named": lambda r: class_files(r, "masks/{i}_{c}.png"),
    "grey in steps of 51": lambda r: pairs(r, "images/{i}.png", "masks/{i}.png", lambda m: (m * 51).astype(np.uint8)),
    "colours over nothing": lambda r: pairs(r, "images/{i}.png", "masks/{i}.png", transparent),
    "floats": lambda r: pairs(r, "images/{i}.png", "masks/{i}.tif", lambda m: m.astype(np.float32)),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_messy_folder_becomes_one_to_train_on(kind: str, tmp_path: Path) -> None:
    FOLDERS[kind](tmp_path / "data")
    report = check(tmp_path / "data")
    assert report.pairs == COUNT
    decisions = Decisions(class_values=("255",)) if report.questions else Decisions()
    check(tmp_path / "data", fix=tmp_path / "out", decisions=decisions)
    mended = open_dataset(tmp_path / "out")
    assert not find_problems(mended).errors
    photos = {pair(i)[0].tobytes(): pair(i)[1] for i in range(COUNT)}
    confusion = np.zeros((6, 256), np.int64)
    samples = [sample for part in mended.splits.values() for sample in part]
    assert len(samples) == COUNT
    for sample in samples:
        labels = read_sample_mask(sample, mended.mask_ids, len(mended.classes))
        np.add.at(confusion, (photos[read_image(sample.image).tobytes()], labels), 1)
    assert confusion.max(axis=1).sum() == confusion.sum()  # every class became one class
    present = confusion.sum(axis=1) > 0
    assert len(set(confusion.argmax(axis=1)[present])) == present.sum()


def test_objects_in_files_of_their_own_are_one_mask(tmp_path: Path) -> None:
    objects(tmp_path)
    report = check(tmp_path)
    assert report.sound
    assert report.layout == "layers"
    assert report.classes.names == ("background", "object")
    dataset = open_dataset(tmp_path)
    for sample in dataset.splits["train"]:
        labels = read_sample_mask(sample, dataset.mask_ids, 2)
        assert (labels == cells(int(sample.image.stem[1:]))).all()


def test_files_of_classes_give_the_classes_names_and_what_lacks_an_image_is_told(tmp_path: Path) -> None:
    class_files(tmp_path, "masks/{c}/{i}.png")
    write(tmp_path / "masks/tree/stray.png", np.zeros(planted.SIZE, np.uint8))
    write(tmp_path / "images/bare.png", pair(1)[0])
    report = check(tmp_path)
    assert set(report.classes.names) <= {"background", *NAMES}
    assert {"image-missing", "mask-missing"} <= {problem.kind for problem in report.findings.errors}


def test_layers_of_other_sizes_are_refused(tmp_path: Path) -> None:
    class_files(tmp_path, "masks/{c}/{i}.png")
    write(tmp_path / "masks/road/000.png", np.zeros((5, 7), np.uint8))
    assert "size-mismatch" in {problem.kind for problem in check(tmp_path).findings.errors}


def test_plain_pairs_are_no_layers(tmp_path: Path) -> None:
    planted.sound(tmp_path / "native")
    assert list_dataset(tmp_path / "native").layout == "native"
    pairs(tmp_path / "pairs", "images/{i}.png", "masks/{i}.png")
    assert list_dataset(tmp_path / "pairs").layout == "pairs"
    pairs(tmp_path / "nested", "images/a/{i}.png", "masks/a/{i}.png")
    pairs(tmp_path / "nested", "images/b/{i}.png", "masks/b/{i}.png")
    assert list_dataset(tmp_path / "nested").layout == "pairs"
    pairs(tmp_path / "word", "images/{i}.png", "masks/{i}_mask.png")
    assert list_dataset(tmp_path / "word").layout == "pairs"


def test_what_a_layer_holds(tmp_path: Path) -> None:
    truth = cells(3)
    for name, picture, options in (
        ("a.png", truth, {}),
        ("b.png", 255 * truth, {}),
        ("c.png", truth.astype(bool), {}),
        ("d.png", np.repeat(255 * truth[:, :, None], 3, axis=2), {}),
        ("e.jpg", 255 * truth, {"quality": 95}),
    ):
        write(tmp_path / name, picture, **options)
        agree = held((tmp_path / name).read_bytes()) == truth.astype(bool)
        assert agree.all() if name != "e.jpg" else agree.mean() > 0.99


def test_a_mask_that_is_its_alpha_channel(tmp_path: Path) -> None:
    white = np.full((*planted.SIZE, 3), 255, np.uint8)
    for i in range(COUNT):
        write(tmp_path / f"data/images/{i}.png", pair(i)[0])
        write(tmp_path / f"data/masks/{i}.png", np.dstack([white, 255 * cells(i)]))
    report = check(tmp_path / "data", fix=tmp_path / "out", decisions=Decisions(binary_foreground="cell"))
    assert {"alpha-masks"} == {problem.kind for problem in report.findings.warnings}
    mended = open_dataset(tmp_path / "out")
    for sample in mended.splits["train"]:
        assert (read_sample_mask(sample, mended.mask_ids, 2) == cells(int(sample.image.stem))).all()


def test_lossy_webp_is_treated_as_jpeg(tmp_path: Path) -> None:
    for i in range(COUNT):
        image, mask = pair(i)
        large = cv2.resize(mask, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
        write(tmp_path / f"images/{i}.png", cv2.resize(image, None, fx=4, fy=4))
        write(tmp_path / f"masks/{i}.webp", planted.COLOURS[large], quality=80)
    report = check(tmp_path)
    assert "jpeg-masks" in {problem.kind for problem in report.findings.warnings}
    assert len(report.codings[0].book.codes) <= 6
    with pytest.raises(MaskError, match="lossy WebP"):
        decode_mask_ids((tmp_path / "masks/0.webp").read_bytes(), "x")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class_dict.csv", "name, r, g, b\nwater,10,200,190\nroad,128,64,128\ncar,0,0,142\n"),
        ("label_colors.txt", "10 200 190\twater\n128 64 128\troad\n0 0 142\tcar\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nwater:10,200,190::\nroad:128,64,128::\ncar:0,0,142::\n"),
    ],
)
def test_a_table_beside_the_masks_names_their_colours(name: str, text: str, tmp_path: Path) -> None:
    colours = np.array([[128, 64, 128], [0, 0, 142], [10, 200, 190]], np.uint8)
    pairs(tmp_path, "train/{i}.png", "train_labels/{i}_L.png", lambda m: colours[m % 3])
    (tmp_path / name).write_text(text)
    assert check(tmp_path).classes.names == ("water", "road", "car")
    (tmp_path / name).write_bytes(b"name,r\n\xff\xfe,1,2,999\n:::,,\n")
    assert table_beside(tmp_path) == ("", {})
    assert "water" not in check(tmp_path).classes.names


def test_the_first_colours_of_vocs_map_are_numbers_not_aeroplanes(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128]], np.uint8)
    pairs(tmp_path / "data", "images/{i}.png", "masks/{i}.png", lambda m: colours[m])
    report = check(tmp_path / "data", fix=tmp_path / "out")
    assert report.classes.names == tuple(f"class {i}" for i in range(len(report.classes)))
    mended = open_dataset(tmp_path / "out")
    sample = mended.splits["train"][0]
    truth = pair(int(sample.image.stem))[1]
    labels = read_sample_mask(sample, mended.mask_ids, len(mended.classes))
    assert (labels[labels != VOID] == truth[labels != VOID]).all()
