"""Formats, both ways: every pixel there and back, and damage told instead of crashed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import planted
from pixelwise.datasets.convert import WRITERS, convert
from pixelwise.datasets.formats.polygons import crosses_itself, fill, outlines, polygon_of
from pixelwise.datasets.formats.run_lengths import brush_mask, coco_mask, run_lengths
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask
from pixelwise.doctor.check import check
from pixelwise.doctor.findings import find_problems
from pixelwise.doctor.fix import Decisions
from pixelwise.errors import DatasetError, OutputError, UsageError
from pixelwise.images.image_files import read_mask_ids, write_png
from pixelwise.records import Dataset

SIZE = (20, 30)
NEEDED = {"parquet": "pyarrow", "nifti": "nibabel"}


@pytest.fixture(scope="module")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks that are hard to draw: single pixels, holes, diagonal touches, void."""
    root = planted.sound(tmp_path_factory.mktemp("formats") / "data")
    for split, kept in (("train", 4), ("val", 2)):  # each mask is as hard as the others
        for path in (*planted.images(root, split)[kept:], *planted.masks(root, split)[kept:]):
            path.unlink()
    planted.declare(root, *planted.NAMES[:6])
    rng = np.random.default_rng(0)
    for path in planted.all_masks(root):
        mask = np.asarray(read_mask_ids(path), np.uint8).copy()
        mask[rng.random(mask.shape) < 0.03] = 255
        mask[40:60, 40:60] = rng.integers(0, 6, (20, 20))
        write_png(path, mask)
    return root


def content(dataset: Dataset) -> dict[tuple[str, bytes], bytes]:
    """Masks by split and image: what must not change."""
    return {
        (split, read_sample_image(sample).tobytes()): read_sample_mask(
            sample, dataset.mask_ids, len(dataset.classes)
        ).tobytes()
        for split, samples in dataset.splits.items()
        for sample in samples
    }


@pytest.mark.parametrize("name", WRITERS)
def test_a_round_trip_loses_no_pixel(ragged: Path, tmp_path: Path, name: str) -> None:
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    source = open_dataset(ragged)
    there = convert(ragged, tmp_path / "there", name)
    assert there.layout == name.removesuffix("-panoptic")
    assert there.classes == source.classes
    assert there.problems == ()
    assert find_problems(there).problems == ()
    back = convert(tmp_path / "there", tmp_path / "back", "native")
    assert content(source) == content(there) == content(back)
    assert back.classes == source.classes


def test_convert_refuses_what_it_cannot_do(ragged: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a format that can be written"):
        convert(ragged, tmp_path / "a", "gif")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/file").write_text("")
    with pytest.raises(OutputError, match="already exists"):
        convert(ragged, tmp_path / "b", "coco")
    with pytest.raises(OutputError, match="inside the data"):
        convert(ragged, ragged / "out", "coco")


def test_outlines_fill_to_the_same_pixels() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        mask = rng.random(SIZE) < rng.random()
        drawn = np.zeros(SIZE, np.uint8)
        for polygon in outlines(mask):
            assert not crosses_itself(polygon)
            fill(drawn, polygon, 1)
        assert np.array_equal(drawn > 0, mask)


def test_polygons_agree_with_pycocotools() -> None:
    coder = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(2)
    for _ in range(30):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radii = rng.uniform(30, 60, 9)
        polygon = np.stack([70 + radii * np.cos(angles), 64 + radii * np.sin(angles)], axis=1)
        ours = np.zeros((128, 140), np.uint8)
        fill(ours, polygon_of(polygon.ravel().tolist()), 1)
        theirs = coder.decode(coder.frPyObjects([polygon.ravel().tolist()], 128, 140))[:, :, 0]
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97  # their corners are rounded to a fifth of a pixel


def test_run_lengths_agree_with_pycocotools() -> None:
    coder = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(3)
    for share in (0.0, 0.1, 0.5, 0.99, 1.0):
        mask = rng.random((37, 53)) < share
        packed = coder.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert np.array_equal(coco_mask(packed, 37, 53), mask)
        assert np.array_equal(coco_mask(run_lengths(mask.T.ravel()), 37, 53), mask)


def image(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


def coco_folder(root: Path, segmentations: list[Any], **extra: Any) -> Path:
    for i in range(3):
        image(root / f"images/{i}.png", i)
    annotations = [
        {"id": k, "image_id": k % 3, "category_id": 1 + k % 2, "segmentation": shape, "bbox": [0, 0, 1, 1]}
        for k, shape in enumerate(segmentations)
    ]
    rows = [{"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]} for i in range(3)]
    table = {
        "images": rows,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "wall"}],
        **extra,
    }
    (root / "annotations.json").write_text(json.dumps(table))
    return root


BOX = [2, 2, 12, 2, 12, 9, 2, 9]


def test_coco_polygons_are_read_in_place_and_background_is_named(tmp_path: Path) -> None:
    dataset = open_dataset(coco_folder(tmp_path, [[BOX], [BOX], {"size": list(SIZE), "counts": [100, 50, 450]}]))
    assert dataset.layout == "coco"
    assert dataset.classes.names == ("background", "cell", "wall")
    samples = {sample.image.stem: sample for part in dataset.splits.values() for sample in part}
    mask = read_sample_mask(samples["0"], dataset.mask_ids, 3)
    assert (mask[2:9, 2:12] == 1).all()
    assert (mask == 1).sum() == 70
    assert (read_sample_mask(samples["2"], dataset.mask_ids, 3) == 1).sum() == 50


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ([[0, 0, 9, 9, 9, 0, 0, 9]], "polygon-crossing"),
        ([], "not-drawn"),
        ([[1, 1, 2, 2]], "polygon-empty"),
        ([[1, 1, 2, 2, float("nan"), 3]], "polygon-empty"),
        ([["a", 1, 2, 2, 3, 3]], "polygon-empty"),
        ([[100, 100, 120, 100, 120, 120]], "polygon-outside"),
        ([[-50, -50, 5, 5, 10**6, 3]], "polygon-outside"),
        ([[-50, -50, 5, 5, 10**300, 3]], "polygon-empty"),
        ({"size": [20, 30], "counts": [5, 5]}, "run-lengths"),
        ({"size": [20, 30], "counts": "~~~~~~~~~~~~~~"}, "run-lengths"),
        ({"size": [20, 30], "counts": [-5, 605]}, "run-lengths"),
        (None, "not-drawn"),
    ],
)
def test_damaged_coco_objects_are_reported_and_passed_over(tmp_path: Path, shape: Any, kind: str) -> None:
    root = coco_folder(tmp_path, [shape, [BOX], [BOX], [BOX]])
    report = check(root)
    found = {problem.kind: problem for problem in report.findings.problems}
    assert kind in found
    assert "annotation 0" in found[kind].message
    assert report.pairs == 3
    assert {problem.kind for problem in report.findings.errors} == {kind} & {"run-lengths"}  # not passed over


def test_a_coco_file_cut_short_is_reported(tmp_path: Path) -> None:
    path = coco_folder(tmp_path, [[BOX]] * 3) / "annotations.json"
    path.write_text(path.read_text()[:-40])
    assert "annotations" in {problem.kind for problem in check(tmp_path).findings.errors}


def test_coco_panoptic(tmp_path: Path) -> None:
    image(tmp_path / "val2017/a.png")
    segments = np.zeros((*SIZE, 3), np.uint8)
    segments[:, :15] = (1, 2, 0)  # 1 + 2·256
    segments[:, 15:] = (7, 0, 1)
    segments[0] = 0
    (tmp_path / "annotations/panoptic_val2017").mkdir(parents=True)
    write_png(tmp_path / "annotations/panoptic_val2017/a.png", segments)
    rows = [{"id": 513, "category_id": 1}, {"id": 65543, "category_id": 200}]
    table = {
        "images": [{"id": 5, "file_name": "a.png", "height": 20, "width": 30}],
        "annotations": [{"image_id": 5, "file_name": "a.png", "segments_info": rows}],
        "categories": [{"id": 1, "name": "person"}, {"id": 200, "name": "rug"}],
    }
    (tmp_path / "annotations/panoptic_val2017.json").write_text(json.dumps(table))
    dataset = open_dataset(tmp_path)
    sample = dataset.splits["val"][0]
    mask = read_sample_mask(sample, dataset.mask_ids, 3)
    assert sample.image == tmp_path / "val2017/a.png"  # and not the panoptic PNG of the same name
    assert dataset.classes.names == ("person", "rug")
    assert (mask[0] == 255).all()  # no segment: unlabelled
    assert (mask[1:, :15] == 0).all()
    assert (mask[1:, 15:] == 1).all()


def test_yolo_names_in_all_their_forms(tmp_path: Path) -> None:
    image(tmp_path / "images/train/a.png")
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.txt").write_text("1 0 0 0.5 0 0.5 1 0 1\n0 0.1 0.1 0.2 0.2\n0 0.9 0.9 3 0.9 0.9 3\n")
    for text in (
        "names: ['cat', \"big dog\"]\n",
        "names: [cat, big dog]\n",
        "names: {0: cat, 1: 'big dog'}\n",
        "names:\n  0: cat\n  1: big dog\n",
        "names:\n- cat\n- big dog\n",
    ):
        (tmp_path / "data.yaml").write_text("nc: 2\n" + text)
        dataset = open_dataset(tmp_path)
        assert dataset.classes.names == ("background", "cat", "big dog")
    sample = next(s for part in dataset.splits.values() for s in part)
    mask = read_sample_mask(sample, dataset.mask_ids, 3)
    assert (mask[:18, :15] == 2).all()
    assert {"not-drawn", "polygon-outside"} <= {problem.kind for problem in dataset.problems}


def test_labelme_rectangles_and_circles(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    shapes = [
        {"label": "box", "points": [[1, 1], [5, 4]], "shape_type": "rectangle"},
        {"label": "disc", "points": [[20, 10], [24, 10]], "shape_type": "circle"},
        {"label": "dot", "points": [[3, 3]], "shape_type": "point"},
    ]
    (tmp_path / "a.json").write_text(json.dumps({"shapes": shapes, "imagePath": "..\\x\\a.png"}))
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "labelme"
    mask = read_sample_mask(next(iter(dataset.splits.values()))[0], dataset.mask_ids, len(dataset.classes))
    assert (mask == dataset.classes.names.index("box")).sum() == 12
    assert abs(int((mask == dataset.classes.names.index("disc")).sum()) - np.pi * 16) < 4


def test_cvat_masks_boxes_and_order(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    (tmp_path / "annotations.xml").write_text(
        '<?xml version="1.0"?><annotations><image id="0" name="a.png" width="30" height="20">'
        '<box label="top" xtl="0" ytl="0" xbr="4" ybr="4" z_order="5"/>'
        '<mask label="low" left="2" top="2" width="4" height="2" rle="0, 8" z_order="1"/>'
        '<polygon label="low" points="1,1;2" z_order="1"/>'
        "</image></annotations>"
    )
    dataset = open_dataset(tmp_path)
    sample = next(s for part in dataset.splits.values() for s in part)
    mask = read_sample_mask(sample, dataset.mask_ids, 3)
    low, top = (dataset.classes.names.index(name) for name in ("low", "top"))
    assert (mask == top).sum() == 16
    assert (mask == low).sum() == 4
    assert "not-drawn" in {problem.kind for problem in dataset.problems}


CVAT_META = "<meta><task><labels>{}</labels></task></meta>".format(
    "".join(f"<label><name>{name}</name><color>#010203</color></label>" for name in ("wall", "door", "roof"))
)


def test_cvat_labels_that_nobody_drew_keep_their_names_and_order(tmp_path: Path) -> None:
    image(tmp_path / "in/images/a.png")
    image(tmp_path / "in/images/b.png", 1)
    box = '<box label="roof" xtl="0" ytl="0" xbr="4" ybr="4"/>'
    drawn = '<image id="{}" name="{}.png" width="30" height="20">' + box + "</image>"
    text = f"<annotations>{CVAT_META}{drawn.format(0, 'a')}{drawn.format(1, 'b')}</annotations>"
    (tmp_path / "in/annotations.xml").write_text(text)
    source = open_dataset(tmp_path / "in")
    assert source.classes.names == ("background", "wall", "door", "roof")
    assert source.mask_ids == {0: 0, 1: 1, 2: 2, 3: 3}
    for name in ("cvat", "native", "coco"):
        there = convert(tmp_path / "in", tmp_path / name, name)
        assert there.classes == source.classes
        assert content(there) == content(source)
    (tmp_path / "cvat/dataset.toml").unlink()
    assert open_dataset(tmp_path / "cvat").classes.names == source.classes.names


def test_a_label_that_is_drawn_for_the_first_time_moves_no_other(tmp_path: Path) -> None:
    """Ids of LabelMe's names follow the alphabet; dataset.toml's classes are met by name all the same."""
    (tmp_path / "dataset.toml").write_text('[[classes]]\nname = "box"\nid = 1\n[[classes]]\nname = "tree"\nid = 2\n')
    for name, labels in {"a": ["box"], "b": ["box", "tree"]}.items():
        image(tmp_path / f"{name}.png", len(labels))
        shapes = [
            {"label": label, "points": [[i, 0], [i + 1, 5]], "shape_type": "rectangle"}
            for i, label in enumerate(labels)
        ]
        (tmp_path / f"{name}.json").write_text(json.dumps({"shapes": shapes, "imagePath": f"{name}.png"}))
    before = content(open_dataset(tmp_path))
    table = json.loads((tmp_path / "a.json").read_text())
    table["shapes"].insert(0, {"label": "ball", "points": [[20, 0], [21, 5]], "shape_type": "rectangle"})
    (tmp_path / "a.json").write_text(json.dumps(table))
    dataset = open_dataset(tmp_path)
    assert dataset.mask_ids == {0: 255, 255: 255, 2: 0, 3: 1}  # ball is 1 now; nothing says what it is
    (tmp_path / "dataset.toml").write_text(
        (tmp_path / "dataset.toml").read_text() + '[[classes]]\nname = "ball"\nid = 3\n'
    )
    after = content(open_dataset(tmp_path))
    for key, mask in before.items():
        changed = np.frombuffer(after[key], np.uint8) != np.frombuffer(mask, np.uint8)
        assert (np.frombuffer(after[key], np.uint8)[changed] == 2).all()


def test_cvat_entities_are_refused(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    (tmp_path / "annotations.xml").write_text('<!DOCTYPE x [<!ENTITY a "aa">]><annotations>&a;</annotations>')
    assert "annotations" in {problem.kind for problem in open_dataset(tmp_path).problems}


def packed_brush(values: list[int]) -> list[int]:
    """Label Studio's packing, without runs: 32 bits of length, word size 8, four sizes of 1, 2, 4 and 16 bits."""
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{n - 1:04b}" for n in (1, 2, 4, 16))
    at = 0
    while at < len(values):
        chunk = values[at : at + 2**16]
        bits += "0" + "11" + f"{len(chunk) - 1:016b}" + "".join(f"{value:08b}" for value in chunk)
        at += len(chunk)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def test_label_studio_brush() -> None:
    mask = np.random.default_rng(4).random(SIZE) < 0.5
    values = np.zeros((*SIZE, 4), np.uint8)
    values[mask] = 255
    packed = packed_brush(values.ravel().tolist())
    assert np.array_equal(brush_mask(packed, *SIZE), mask)
    for damaged in (packed[:50], packed[:3], [1, 2], ["x"]):
        with pytest.raises(Exception, match=r"run lengths|values"):
            brush_mask(damaged, *SIZE)  # type: ignore[arg-type]


def test_label_studio_uploads_have_a_prefix(tmp_path: Path) -> None:
    image(tmp_path / "images/street.png")
    value = {"points": [[0, 0], [50, 0], [50, 50], [0, 50]], "polygonlabels": ["car"]}
    task = {"data": {"image": "/data/upload/3/0123abcd-street.png"}, "annotations": [{"result": [{"value": value}]}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    dataset = open_dataset(tmp_path)
    sample = next(s for part in dataset.splits.values() for s in part)
    assert (read_sample_mask(sample, dataset.mask_ids, 2) == 1).sum() == 150


def test_nifti_slices(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, (30, 20, 4)).astype(np.uint8)
    for folder, values in {"imagesTr": rng.normal(0, 300, (30, 20, 4)).astype(np.float32), "labelsTr": labels}.items():
        (tmp_path / folder).mkdir()
        end = "_0000" if folder == "imagesTr" else ""
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / folder / f"case{end}.nii.gz")
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "liver": 1, "tumour": 2}}')
    dataset = open_dataset(tmp_path)
    samples = sorted((s for part in dataset.splits.values() for s in part), key=lambda s: s.name)
    assert dataset.classes.names == ("background", "liver", "tumour")
    assert len(samples) == 4
    assert read_sample_image(samples[1]).shape == (20, 30, 3)
    assert np.array_equal(read_sample_mask(samples[1], dataset.mask_ids, 3), labels[:, :, 1].T)
    assert convert(tmp_path, tmp_path.parent / "slices", "native").layout == "native"


def test_nifti_colours_are_read_as_they_are(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(8)
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    pixels = rng.integers(0, 256, (30, 20, 1, 3)).astype(np.uint8)
    labels = rng.integers(0, 4, (30, 20, 1)).astype(np.uint8)
    for case in ("drive_0000", "drive_0001"):  # names that end as channels do
        for channel in range(3):
            path = tmp_path / f"imagesTr/{case}_{channel:04}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(pixels[..., channel], np.eye(4)), path)
        nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / f"labelsTr/{case}.nii.gz")
    channels = {"0": "red", "1": "green", "2": "blue"}
    table = {"channel_names": channels, "labels": {"background": 0, "car": 1, "road": 2, "ignore": 3}}
    (tmp_path / "dataset.json").write_text(json.dumps(table))
    dataset = open_dataset(tmp_path)
    samples = [sample for part in dataset.splits.values() for sample in part]
    assert [sample.name for sample in samples] == ["imagesTr/drive_0000", "imagesTr/drive_0001"]
    assert dataset.classes.names == ("background", "car", "road")
    expected = np.where(labels == 3, 255, labels)[:, :, 0].T
    for sample in samples:
        assert np.array_equal(read_sample_image(sample), pixels[:, :, 0].transpose(1, 0, 2))
        assert np.array_equal(read_sample_mask(sample, dataset.mask_ids, 3), expected)
    (tmp_path / "imagesTr/drive_0001_0002.nii.gz").unlink()
    assert "image-missing" in {problem.kind for problem in open_dataset(tmp_path).problems}


def test_nifti_of_its_own_colour_type(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    pixels = np.random.default_rng(9).integers(0, 256, (30, 20, 2, 3)).astype(np.uint8)
    packed = np.ascontiguousarray(pixels).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    for folder, values in {"imagesTr": packed, "labelsTr": (pixels[..., 0] > 99).astype(np.uint8)}.items():
        (tmp_path / folder).mkdir()
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / folder / "case.nii.gz")
    samples = sorted((s for p in open_dataset(tmp_path).splits.values() for s in p), key=lambda s: s.name)
    assert np.array_equal(read_sample_image(samples[1]), pixels[:, :, 1].transpose(1, 0, 2))


def full_ade20k(root: Path, classes: int) -> dict[str, np.ndarray[Any, Any]]:
    """ADE20K's release of 2021 with this many classes. Returns the true numbers by image name; 0 is void."""
    rng = np.random.default_rng(3)
    truth = {}
    for split, count in (("training", 4), ("validation", 2)):
        for i in range(count):
            stem = f"ADE_{split[:5]}_{i:08}"
            folder = root / f"ADE20K_2021_17_01/images/ADE/{split}/urban/{('street', 'alley__indoor')[i % 2]}"
            image(folder / f"{stem}.jpg.png", i + len(split))
            (folder / f"{stem}.jpg.png").rename(folder / f"{stem}.png")
            ids = np.full(SIZE, 2978)
            ids[0] = 0
            ids[10:, :10] = 976
            rare = 1 + (np.arange(90) + 90 * len(truth)) % (classes - 2)
            ids[1:4] = np.where(np.isin(rare, (976, 2978)), 3400, rare).reshape(3, 30)
            truth[stem] = ids
            objects = rng.integers(0, 256, SIZE)
            write_png(folder / f"{stem}_seg.png", np.dstack([ids // 256 * 10, ids % 256, objects]).astype(np.uint8))
            write_png(folder / f"{stem}_parts_1.png", np.zeros((*SIZE, 3), np.uint8))
            (folder / stem).mkdir()
            write_png(folder / f"{stem}/instance_000_{stem}.png", np.full(SIZE, 255, np.uint8))
            rows = [
                {"name": {2978: "wall", 976: "floor"}.get(n, f"thing {n}"), "name_ndx": n}
                for n in np.unique(ids).tolist()
                if n
            ]
            (folder / f"{stem}.json").write_text(
                json.dumps({"annotation": {"filename": f"{stem}.jpg", "object": rows}})
            )
    (root / "ADE20K_2021_17_01/index_ade20k.pkl").write_bytes(b"\x80\x04.")
    return truth


def test_ade20k_in_full_asks_which_classes_are_kept(tmp_path: Path) -> None:
    truth = full_ade20k(tmp_path / "data", 400)
    report = check(tmp_path / "data")
    assert report.layout == "ade20k-full"
    assert report.pairs == 6
    (problem,) = report.findings.errors
    assert problem.kind == "too-many-classes"
    assert "400 classes" in problem.message
    assert "wall (" in problem.message
    assert [question.option for question in report.questions] == ["--commonest N or --keep-class NAME"]
    with pytest.raises(DatasetError, match="--commonest"):
        check(tmp_path / "data", fix=tmp_path / "never")
    with pytest.raises(DatasetError, match="400 classes"):
        open_dataset(tmp_path / "data")
    with pytest.raises(UsageError, match="no such class; the classes are floor"):
        check(tmp_path / "data", fix=tmp_path / "never", decisions=Decisions(keep_classes=("flor",)))
    for decisions in (Decisions(commonest=2), Decisions(keep_classes=("floor", "wall"))):
        out = tmp_path / f"out{decisions.commonest}"
        check(tmp_path / "data", fix=out, decisions=decisions)
        mended = open_dataset(out)
        assert mended.classes.names == ("floor", "wall")
        assert {split: len(samples) for split, samples in mended.splits.items()} == {"train": 4, "val": 2}
        assert not find_problems(mended).errors
        for sample in (sample for part in mended.splits.values() for sample in part):
            ids = truth[sample.image.stem]
            expected = np.select([ids == 976, ids == 2978], [0, 1], 255)
            assert np.array_equal(read_sample_mask(sample, mended.mask_ids, 2), expected)


def test_ade20k_in_full_is_read_in_place_where_its_classes_are_few(tmp_path: Path) -> None:
    truth = full_ade20k(tmp_path, 100)
    report = check(tmp_path)
    assert report.sound
    assert not report.findings.errors
    dataset = open_dataset(tmp_path)
    assert {"floor", "wall", "thing 1"} <= set(dataset.classes.names)
    for sample in (sample for part in dataset.splits.values() for sample in part):
        labels = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes))
        assert np.array_equal(labels == 255, truth[sample.image.stem] == 0)
        assert (labels[truth[sample.image.stem] == 976] == dataset.classes.names.index("floor")).all()


def test_more_categories_than_there_can_be_classes_are_no_objects(tmp_path: Path) -> None:
    categories = [{"id": i, "name": f"kind {i}"} for i in range(1, 1204)]
    dataset = open_dataset(coco_folder(tmp_path, [[BOX], [BOX], [BOX]], categories=categories))
    assert dataset.classes.names == ("background", "kind 1", "kind 2")
    assert check(tmp_path).sound


def test_the_help_of_convert_names_every_format() -> None:
    import inspect

    from pixelwise.cli.convert_command import convert as verb

    (option,) = inspect.signature(verb, eval_str=True).parameters["to"].annotation.__metadata__
    assert set(option.help.removeprefix("Target format: ").replace(" or ", ", ").rstrip(".").split(", ")) == set(
        WRITERS
    )


def test_a_nifti_file_cut_short_is_reported(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        values = np.random.default_rng(6).integers(0, 3, (30, 20, 4)).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / folder / "case.nii.gz")
    path = tmp_path / "labelsTr/case.nii.gz"
    path.write_bytes(path.read_bytes()[:700])
    assert "truncated" in {problem.kind for problem in check(tmp_path).findings.errors}


@pytest.mark.parametrize("kept", [0, 3, 100, -50])
def test_a_parquet_file_cut_short_is_reported(ragged: Path, tmp_path: Path, kept: int) -> None:
    pytest.importorskip("pyarrow")
    convert(ragged, tmp_path / "p", "parquet")
    path = next((tmp_path / "p").rglob("train*.parquet"))
    path.write_bytes(path.read_bytes()[:kept])
    assert "truncated" in {problem.kind for problem in check(tmp_path / "p").findings.errors}


def test_a_parquet_page_that_is_damaged_is_reported(ragged: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    convert(ragged, tmp_path / "p", "parquet")
    path = next((tmp_path / "p").rglob("train*.parquet"))
    data = bytearray(path.read_bytes())
    data[200 : len(data) // 2] = bytes(len(data) // 2 - 200)
    path.write_bytes(data)
    assert check(tmp_path / "p").findings.errors


def test_cityscapes_ids_become_the_classes_that_are_evaluated(tmp_path: Path) -> None:
    image(tmp_path / "leftImg8bit/val/ulm/ulm_0_0_leftImg8bit.png")
    (tmp_path / "gtFine/val/ulm").mkdir(parents=True)
    ids = np.resize(np.array([0, 7, 26, 33, 4], np.uint8), SIZE)
    write_png(tmp_path / "gtFine/val/ulm/ulm_0_0_gtFine_labelIds.png", ids)
    dataset = open_dataset(tmp_path)
    mask = read_sample_mask(dataset.splits["val"][0], dataset.mask_ids, 19)
    assert np.array_equal(mask.ravel()[:5], [255, 0, 13, 18, 255])


def test_voc_exports_in_colour_are_read_by_their_label_map(tmp_path: Path) -> None:
    for i in range(2):
        image(tmp_path / f"JPEGImages/{i}.png", i)
        colours = np.zeros((*SIZE, 3), np.uint8)
        colours[:, 10:] = (250, 50, 83)
        (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
        write_png(tmp_path / f"SegmentationClass/{i}.png", colours)
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\nface:250,50,83::\n")
    dataset = open_dataset(tmp_path)
    assert dataset.classes.names == ("background", "face")
    assert find_problems(dataset).errors == ()


def test_ade20k_counts_from_one_and_zero_is_void(tmp_path: Path) -> None:
    for folder in ("training", "validation"):
        for i in range(2):
            image(tmp_path / f"images/{folder}/{folder}{i}.jpg.png", i + len(folder))
            path = tmp_path / f"annotations/{folder}/{folder}{i}.jpg.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, np.resize(np.array([0, 1, 2], np.uint8), SIZE))
    (tmp_path / "objectInfo150.txt").write_text(
        "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0\t0\t0\t1\twall, x\n2\t0\t0\t0\t1\tsky\n"
    )
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "ade20k"
    assert dataset.classes.names == ("wall", "sky")
    assert dataset.mask_ids[0] == 255


@pytest.mark.parametrize("layout", ["imgs+labels", "train_images", "nested", "together", "suffix"])
def test_folders_under_other_names_are_found(tmp_path: Path, layout: str) -> None:
    for split in ("train", "val"):
        for i in range(3):
            stem = f"{split}{'abc'[i]}"
            places = {
                "imgs+labels": (f"imgs/{stem}.png", f"labels/{stem}.png"),
                "train_images": (f"{split}_images/{stem}.png", f"{split}_masks/{stem}.png"),
                "nested": (f"images/{split}/{stem}.png", f"masks/{split}/{stem}.png"),
                "together": (f"{stem}.jpg", f"{stem}_mask.png"),
                "suffix": (f"images/{stem}.png", f"masks/{stem}_L.png"),
            }[layout]
            image(tmp_path / places[0].replace(".jpg", ".png"), i + 10 * len(split))
            (tmp_path / places[1]).parent.mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / places[1], np.resize(np.array([0, 1, 2], np.uint8), SIZE))
    dataset = open_dataset(tmp_path)
    counts = {split: len(samples) for split, samples in dataset.splits.items()}
    assert sum(counts.values()) == 6
    if layout in ("train_images", "nested"):
        assert counts == {"train": 3, "val": 3}
    assert find_problems(dataset).errors == ()


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text('{"a": 1}')
    Image.new("RGB", (8, 8)).save(tmp_path / "only.png")
    with pytest.raises(DatasetError, match="not recognised"):
        open_dataset(tmp_path)


def test_a_run_finds_drawn_masks_again(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from pixelwise.model.preprocess import Preprocess
    from pixelwise.training.export_run import validation_of
    from pixelwise.training.loader import Pairs
    from pixelwise.training.recipe import Recipe
    from pixelwise.training.train import describe_data

    dataset = open_dataset(coco_folder(tmp_path, [[BOX], [BOX], [BOX]]))
    written = json.loads(json.dumps(describe_data(dataset, dataset.splits)))
    recipe = Recipe()
    preprocess = Preprocess(recipe.size, recipe.policy, (0.5,) * 3, (0.5,) * 3)  # type: ignore[arg-type]
    found = validation_of(written, recipe, preprocess, dataset.classes).pairs
    direct = Pairs(dataset.splits["val"], dataset.mask_ids, 3, 0)
    assert found.samples == direct.samples
    assert np.array_equal(found[0][1], direct[0][1])
    assert (found[0][1] == 1).any() or (found[0][1] == 2).any()
