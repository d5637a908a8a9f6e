"""How public datasets are laid out and coded: the first diagnosis is right, and the copy that it leads to is too.

Each folder is small and made here, with the names, codes and clutter of a published one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from test_messy_folders import COUNT, cells, pair, pairs, write

import planted
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.doctor.check import check
from pixelwise.doctor.findings import find_problems
from pixelwise.doctor.fix import Decisions
from pixelwise.errors import DatasetError
from pixelwise.images.image_files import read_image

Mask = NDArray[np.uint8]
Paint = Callable[[Mask], NDArray[np.generic]]
COLOURS = np.array(
    [[128, 128, 128], [128, 0, 0], [128, 64, 128], [0, 0, 192], [128, 128, 0], [192, 192, 128]], np.uint8
)


def field_of_view(_: Mask) -> Mask:
    view = np.zeros(planted.SIZE, np.uint8)
    cv2.circle(view, (48, 36), 34, 255, -1)
    return view


def two_kinds(root: Path, image: str, first: str, other: str, paint: Paint = field_of_view) -> None:
    pairs(root, image, first)
    pairs(root, image, other, paint)


def colours(mask: Mask) -> NDArray[np.uint8]:
    return COLOURS[mask]


def unlabelled(root: Path, name: str) -> None:
    for i in range(3):
        write(root / name.format(i=f"{900 + i}"), pair(COUNT + i)[0])


def drive(root: Path) -> None:
    two_kinds(
        root, "training/images/{i}_training.png", "training/1st_manual/{i}_manual1.gif", "training/mask/{i}_mask.gif"
    )


def road(root: Path) -> None:
    pairs(root, "train/{i}_sat.png", "train/{i}_mask.png")
    unlabelled(root, "valid/{i}_sat.png")
    (root / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (root / "__MACOSX/train").mkdir(parents=True)
    (root / "__MACOSX/train/._000_sat.png").write_bytes(b"\0\5\x16\7")


def kitti(root: Path) -> None:
    two_kinds(
        root, "training/image_2/{i}_10.png", "training/semantic/{i}_10.png", "training/semantic_rgb/{i}_10.png", colours
    )
    unlabelled(root, "testing/image_2/{i}_10.png")


def acdc(root: Path) -> None:
    for split in ("train", "val"):
        photo, mask = f"rgb_anon/fog/{split}/G1/G1_frame_{{i}}_rgb_anon.png", f"gt/fog/{split}/G1/G1_frame_{{i}}_gt_"
        two_kinds(root / ".", photo, mask + "labelTrainIds.png", mask + "labelColor.png", colours)


def two_formats(root: Path) -> None:
    pairs(root, "PNG/Original/{i}.png", "PNG/Ground Truth/{i}.png")
    pairs(root, "TIF/Original/{i}.tif", "TIF/Ground Truth/{i}.tif")


def films(root: Path) -> None:
    for i in range(COUNT):
        photo, mask = pair(i)
        film = ("bear", "train", "dog")[i % 3]
        write(root / f"JPEGImages/480p/{film}/{i:05}.png", photo)
        write(root / f"Annotations/480p/{film}/{i:05}.png", mask)


def superpixels(root: Path) -> None:
    pairs(
        root, "ISIC-2017_Training_Data/ISIC_{i}.png", "ISIC-2017_Training_Part1_GroundTruth/ISIC_{i}_segmentation.png"
    )
    for i in range(COUNT):
        write(root / f"ISIC-2017_Training_Data/ISIC_{i:03}_superpixels.png", pair(i + 20)[0])


def side_drawings(root: Path) -> None:
    pairs(root, "ColorImage/Record001/{i}.png", "Label/Record001/{i}_bin.png")
    for i in range(COUNT):
        (root / f"Label/Record001/{i:03}.json").write_text("{}")


def numbered(root: Path) -> None:
    pairs(root, "CelebA-img/{i}.png", "CelebA-label/{i}.png")
    for path in sorted((root / "CelebA-img").iterdir()):
        path.rename(path.with_name(f"{int(path.stem)}{path.suffix}"))


def archives(root: Path) -> None:
    pairs(root, "VOCdevkit/VOC2012/JPEGImages/{i}.png", "VOCdevkit/VOC2012/SegmentationClass/{i}.png")
    pairs(root, "VOCdevkit/VOC2012/JPEGImages/{i}.png", "VOCdevkit/VOC2012/SegmentationObject/{i}.png")


# name → how it is written, how many pairs are found, and the words for --masks where several are there
HABITS: dict[str, tuple[Callable[[Path], None], int, tuple[str, ...]]] = {
    "fundus: manual masks beside fields of view": (drive, COUNT, ()),
    "fundus: manual1 and mask": (
        lambda r: two_kinds(r, "images/{i}_h.png", "manual1/{i}_h.tif", "mask/{i}_h_mask.tif"),
        COUNT,
        (),
    ),
    "two observers in one folder": (
        lambda r: two_kinds(r, "Image_{i}L.png", "Image_{i}L_1stHO.png", "Image_{i}L_2ndHO.png"),
        COUNT,
        ("1stHO", "2ndHO"),
    ),
    "satellite: pairs in train alone": (road, COUNT, ()),
    "street: ids and colours": (kitti, COUNT, ("semantic", "semantic_rgb")),
    "street: several masks of an image": (acdc, 2 * COUNT, ("gt_labelColor", "gt_labelTrainIds")),
    "polyps: the same in two formats": (two_formats, COUNT, ()),
    "films, one of which is called train": (films, COUNT, ()),
    "skin: superpixels beside the images": (superpixels, COUNT, ()),
    "street: drawings beside the masks": (side_drawings, COUNT, ()),
    "folders in folders": (archives, COUNT, ()),
    "pixel maps under a name that says nothing": (
        lambda r: pairs(r, "train2017/{i}.png", "stuff_train2017_pixelmaps/{i}.png"),
        COUNT,
        (),
    ),
    "images and masks end differently": (
        lambda r: pairs(r, "train/rgb/b{i}-95_Clipped.png", "train/GT_color/b{i}-95_mask.png"),
        COUNT,
        (),
    ),
    "zeros before numbers": (
        numbered,
        COUNT,
        (),
    ),
    "PPM": (lambda r: pairs(r, "images/im{i}.ppm", "labels-ah/im{i}.ah.pgm"), COUNT, ()),
}


@pytest.mark.parametrize("habit", HABITS)
def test_the_first_diagnosis_is_right_and_the_copy_holds_every_pixel(habit: str, tmp_path: Path) -> None:
    build, count, choices = HABITS[habit]
    build(tmp_path / "data")
    report = check(tmp_path / "data")
    kinds = {problem.kind for problem in report.findings.errors}
    assert report.pairs == count
    assert ("which-masks" in kinds) == bool(choices)
    assert kinds <= {"which-masks"}, kinds
    if choices:
        for choice in choices:
            assert f"--masks {choice}" in report.questions[0].option
        with pytest.raises(DatasetError, match="--masks"):
            check(tmp_path / "data", fix=tmp_path / "never", decisions=Decisions())
    meant = next(
        (word for word in choices if word in ("1st_manual", "manual1", "1stHO", "semantic", "gt_labelTrainIds")), None
    )
    check(tmp_path / "data", fix=tmp_path / "out", decisions=Decisions(masks=meant))
    mended = open_dataset(tmp_path / "out")
    assert not find_problems(mended).errors
    truth = {pair(i)[0].tobytes(): pair(i)[1] for i in range(COUNT)}
    confusion = np.zeros((6, 256), np.int64)
    samples = [sample for part in mended.splits.values() for sample in part]
    assert len(samples) == count
    for sample in samples:
        labels = read_sample_mask(sample, mended.mask_ids, len(mended.classes))
        np.add.at(confusion, (truth[read_image(sample.image).tobytes()], labels), 1)
    assert confusion.max(axis=1).sum() == confusion.sum()


def saved(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """As a JPEG has it, which may then be stored without loss."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(io.BytesIO(buffer.getvalue())))


def scaled(picture: NDArray[np.uint8], by: float, how: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, None, fx=by, fy=by, interpolation=how), np.uint8)


@pytest.mark.parametrize(
    ("paint", "ending"),
    [
        (lambda m: saved(COLOURS[m], 75), "png"),
        (lambda m: saved((m * 40).astype(np.uint8), 75), "png"),
        (lambda m: scaled(COLOURS[m], 0.7, cv2.INTER_LANCZOS4), "png"),
        (lambda m: scaled(COLOURS[m], 0.5, cv2.INTER_CUBIC), "png"),
        (lambda m: planted.smoothed((m * 10).astype(np.uint8)), "png"),
        (lambda m: scaled(COLOURS[m], 0.5, cv2.INTER_AREA), "jpg"),
    ],
    ids=["JPEG in PNG", "grey JPEG in PNG", "Lanczos", "bicubic", "steps of 10, smoothed", "half size, JPEG"],
)
def test_damaged_codes_are_found_and_none_invented(paint: Paint, ending: str, tmp_path: Path) -> None:
    truths = []
    for i in range(6):
        image, mask = (cv2.resize(a, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST) for a in pair(i))
        truths.append(mask)
        write(tmp_path / f"data/images/{i}.png", image)
        write(tmp_path / f"data/masks/{i}.{ending}", paint(mask), **({"quality": 85} if ending == "jpg" else {}))
    report = check(tmp_path / "data", fix=tmp_path / "out")
    assert {"blended-masks", "jpeg-masks"} & {problem.kind for problem in report.findings.warnings}
    assert report.sound
    mended = open_dataset(tmp_path / "out")
    assert not find_problems(mended).errors
    assert len(mended.classes) == len(np.unique(truths))
    confusion = np.zeros((6, 6), np.int64)
    for sample in (sample for part in mended.splits.values() for sample in part):
        labels = read_sample_mask(sample, mended.mask_ids, len(mended.classes))
        np.add.at(confusion, (truths[int(sample.image.stem)], labels), 1)
    assert confusion.max(axis=1).sum() > 0.95 * confusion.sum()


def test_a_table_says_what_noisy_colours_are(tmp_path: Path) -> None:
    land = np.array([[0, 255, 255], [255, 255, 0], [255, 0, 255], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)

    def noisy(mask: Mask) -> NDArray[np.uint8]:
        noise = np.random.default_rng(int(mask.sum())).integers(0, 12, (*mask.shape, 3))
        return np.where(land[mask] > 128, land[mask] - noise, land[mask] + noise).astype(np.uint8)

    pairs(tmp_path / "data", "train/{i}_sat.png", "train/{i}_mask.png", noisy)
    rows = "".join(f"land {i},{r},{g},{b}\n" for i, (r, g, b) in enumerate(land.tolist()))
    (tmp_path / "data/class_dict.csv").write_text("name,r,g,b\n" + rows + "unknown,0,0,0\n")
    check(tmp_path / "data", fix=tmp_path / "out")
    mended = open_dataset(tmp_path / "out")
    truth = {pair(i)[0].tobytes(): pair(i)[1] for i in range(COUNT)}
    names = [f"land {i}" for i in range(6)]
    for sample in (sample for part in mended.splits.values() for sample in part):
        labels = read_sample_mask(sample, mended.mask_ids, len(mended.classes))
        own = np.array([names.index(name) for name in mended.classes.names])[labels]
        assert np.array_equal(own, truth[read_image(sample.image).tobytes()])


@pytest.mark.parametrize("top", [255, 65535])
def test_black_and_white_are_named_by_a_table_or_taken_for_background_and_foreground(top: int, tmp_path: Path) -> None:
    for i in range(COUNT):
        write(tmp_path / f"train/{i}.png", pair(i)[0])
        write(tmp_path / f"train_labels/{i}.png", cells(i).astype(np.uint16 if top > 255 else np.uint8) * top)
    report = check(tmp_path)
    assert report.sound
    assert any(f"--void {top}" in note for note in report.notes)
    (tmp_path / "label_class_dict.csv").write_text("name,r,g,b\nland,0,0,0\nroad,255,255,255\n")
    report = check(tmp_path, fix=tmp_path.parent / f"named{top}")
    assert report.questions == ()
    assert open_dataset(tmp_path.parent / f"named{top}").classes.names == ("land", "road")


def test_labels_that_a_benchmark_withholds_are_told_once(tmp_path: Path) -> None:
    root = planted.sound(tmp_path / "data")
    for i in range(3):
        write(root / f"test/images/{i}.png", pair(50 + 7 * i)[0])
        write(root / f"test/masks/{i}.png", np.full(planted.SIZE, 255, np.uint8))
    report = check(root)
    assert report.sound
    assert [(p.kind, p.where) for p in report.findings.problems] == [("labels-withheld", "test")]


def test_a_test_split_without_masks_is_no_fault(tmp_path: Path) -> None:
    root = planted.sound(tmp_path / "data")
    unlabelled(root, "test/images/{i}.png")
    report = check(root)
    assert report.findings.problems == ()
    assert any("test/ has no masks" in note for note in report.notes)


def test_pairs_that_the_copy_leaves_out_are_told_with_what_would_mend_them(tmp_path: Path) -> None:
    root = planted.sound(tmp_path / "data")
    write(planted.masks(root)[0], np.zeros((50, 96), np.uint8))
    report = check(root, fix=tmp_path / "out")
    assert any("1 of 22 pairs; 1 of them would be in it with --stretch-masks" in note for note in report.notes)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nyu_depth_v2_labeled.mat", b"MATLAB 7.3", "1 MATLAB file"),
        ("images.zip", b"PK\3\4", "Unpack them first"),
        ("BraTS_001/BraTS_001_flair.nii.gz", b"\x1f\x8b", "imagesTr/"),
        ("train.csv", b"ImageId,Mine\na.jpg,3 5 20 4\nb.jpg,\n", "holds run lengths"),
        ("Annotations/a.xml", b"<Annotations MicronsPerPixel='1'><Annotation/></Annotations>", "Aperio ImageScope"),
    ],
)
def test_what_is_not_read_is_called_by_its_name(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    write(tmp_path / "photos/a.jpg", pair(0)[0])
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match="not recognised") as caught:
        check(tmp_path)
    assert said in str(caught.value)


def test_polygons_on_the_earth_are_no_pixels(tmp_path: Path) -> None:
    ring = [[-115.30, 36.24, 0.0], [-115.3001, 36.24, 0.0], [-115.3001, 36.2401, 0.0], [-115.30, 36.24, 0.0]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    for i, extra in enumerate(({"crs": {"type": "name"}}, {})):
        write(tmp_path / f"{i}.png", pair(i)[0])
        (tmp_path / f"{i}.geojson").write_text(
            json.dumps({"type": "FeatureCollection", "features": [feature], **extra})
        )
    kinds = [problem.kind for problem in check(tmp_path).findings.errors]
    assert kinds.count("geographic") == 2


def test_a_field_of_view_is_left_out_and_can_be_chosen(tmp_path: Path) -> None:
    drive(tmp_path)
    dataset = open_dataset(tmp_path)
    assert {sample.mask.parent.name for part in dataset.splits.values() for sample in part if sample.mask} == {
        "1st_manual"
    }
    (note,) = [note for note in dataset.notes if "field of view" in note]
    assert "training/1st_manual/ holds the masks; those in training/mask/ are nearly the same for every image" in note
    assert note.endswith("To read them instead: --masks mask.")
    chosen = open_dataset(tmp_path, masks="mask")
    assert {sample.mask.parent.name for part in chosen.splits.values() for sample in part if sample.mask} == {"mask"}
