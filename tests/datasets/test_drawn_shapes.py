"""Shapes are drawn or named, drawings lie on the image that they mean, and what is not used of a volume is said."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from pixelwise.datasets.formats.image_lookup import ImageFiles, contradict
from pixelwise.datasets.formats.run_lengths import start_length_mask
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import image_bytes, read_sample_image, read_sample_mask
from pixelwise.doctor.check import check
from pixelwise.errors import DatasetError
from pixelwise.images.image_files import decode_image
from pixelwise.records import RGB, Dataset, Sample

H, W = 40, 60


def image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (H, W, 3), np.uint8)).save(path)


def samples(dataset: Dataset) -> list[Sample]:
    return [sample for part in dataset.splits.values() for sample in part]


def areas(dataset: Dataset, sample: Sample | None = None) -> dict[str, int]:
    """Pixels of each class on the first sample, and of void."""
    ids = read_sample_mask(sample or samples(dataset)[0], dataset.mask_ids, len(dataset.classes))
    counts = {name: int((ids == i).sum()) for i, name in enumerate(dataset.classes.names)}
    return counts | {"void": int((ids == 255).sum())}


def told(dataset: Dataset, kind: str) -> str:
    return "\n".join(f"{problem.where}: {problem.message}" for problem in dataset.problems if problem.kind == kind)


def test_cvat_draws_what_has_an_area_and_names_the_rest(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    types = {"SIGN": "rectangle", "BALL": "ellipse", "CAR": "mask", "WIRE": "polyline", "DAY": "tag"}
    labels = "".join(f"<label><name>{name}</name><type>{kind}</type></label>" for name, kind in types.items())
    shapes = (
        '<box label="SIGN" xtl="10" ytl="20" xbr="30" ybr="24" rotation="90.0" z_order="0"/>'
        '<ellipse label="BALL" cx="45" cy="15" rx="10" ry="5" rotation="45"/>'
        '<mask label="CAR" rle="0, 100" left="0" top="0" width="10" height="10"/>'
        '<polyline label="WIRE" points="1,35;30,35"/><points label="SIGN" points="1,1"/>'
        '<cuboid label="CAR" xtl1="1"/><skeleton label="SIGN"><points label="x" points="1,1"/></skeleton>'
        '<tag label="DAY"/>'
    )
    meta = f"<meta><job><labels>{labels}</labels></job></meta>"
    text = f'<annotations>{meta}<image id="0" name="a.png" width="{W}" height="{H}">{shapes}</image></annotations>'
    (tmp_path / "annotations.xml").write_text(text)
    dataset = open_dataset(tmp_path)
    assert dataset.classes.names == ("background", "SIGN", "BALL", "CAR")
    found = areas(dataset)
    mask = read_sample_mask(samples(dataset)[0], dataset.mask_ids, 4)
    assert (mask[12:32, 18:22] == 1).all()
    assert found["SIGN"] == 80
    assert found["CAR"] == 100
    assert found["BALL"] == pytest.approx(np.pi * 50, abs=5)
    named = told(dataset, "not-drawn")
    for kind in ("polyline is", "points is", "cuboid is", "skeleton is"):
        assert f"of the kind {kind} not drawn" in named
    assert "WIRE (1)" in named
    (tmp_path / "annotations.xml").write_text(text.replace('rle="0, 100"', 'rle="0, 60"'))
    errors = check(tmp_path).findings.errors
    assert any("a.png, shape 2 (mask CAR) has run lengths that do not add up" in e.message for e in errors)


def png_in_text(mask: np.ndarray[Any, Any]) -> str:
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_labelme_draws_masks_and_turned_boxes_and_knows_its_own_names(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    rows, columns = np.mgrid[:11, :11]
    disc = (rows - 5) ** 2 + (columns - 5) ** 2 <= 25  # 81 pixels

    def shape(label: str, kind: str, points: list[list[int]], mask: str | None = None) -> dict[str, Any]:
        return {"label": label, "shape_type": kind, "points": points, "mask": mask}

    shapes = [
        shape("cat", "polygon", [[2, 2], [12, 2], [12, 12], [2, 12]]),
        shape("cat", "mask", [[20, 5], [30, 15]], png_in_text(disc)),
        shape("dog", "oriented_rectangle", [[35, 5], [45, 5], [45, 15], [35, 15]]),
        shape("rope", "linestrip", [[2, 30], [30, 30]]),
        shape("dot", "point", [[2, 30]]),
        shape("__ignore__", "polygon", [[40, 25], [58, 25], [58, 38], [40, 38]]),
        shape("_background_", "rectangle", [[2, 2], [4, 4]]),
    ]
    table = {"shapes": shapes, "imagePath": "a.png", "imageHeight": H, "imageWidth": W}
    (tmp_path / "a.json").write_text(json.dumps(table))
    dataset = open_dataset(tmp_path)
    assert dataset.classes.names == ("background", "cat", "dog")
    assert areas(dataset) == {"background": H * W - 177 - 100 - 234, "cat": 177, "dog": 100, "void": 234}
    said = "linestrip is not drawn: rope (1); the first is a.png, shape 3 (linestrip rope). A line has no area."
    assert said in told(dataset, "not-drawn")
    shapes[1]["mask"] = png_in_text(disc[:5])
    (tmp_path / "a.json").write_text(json.dumps(table))
    errors = check(tmp_path).findings.errors
    assert any("shape 1 (mask cat) has a mask of 11×5 pixels in a box of 11×11" in e.message for e in errors)


def test_label_studio_turns_boxes_about_their_corner_and_names_points(tmp_path: Path) -> None:
    image(tmp_path / "a.png")

    def result(kind: str, labels: list[str], **value: float) -> dict[str, Any]:
        return {"type": f"{kind}labels", "value": {**value, f"{kind}labels": labels}}

    results = [
        result("rectangle", ["sign"], x=50, y=25, width=20, height=10, rotation=90),  # 12 × 4 px, to the left of x = 30
        result("ellipse", ["ball", "round"], x=25, y=75, radiusX=10, radiusY=10, rotation=0),
        result("keypoint", ["dot"], x=1, y=1, width=1),
        {"type": "choices", "value": {"choices": ["day"]}},
        {"type": "rectangle", "value": {"x": 1, "y": 1, "width": 2, "height": 2}},
    ]
    task = {"data": {"image": "/data/upload/1/01234567-a.png"}, "annotations": [{"result": results}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    dataset = open_dataset(tmp_path)
    assert dataset.classes.names == ("background", "ball", "sign")
    mask = read_sample_mask(samples(dataset)[0], dataset.mask_ids, 3)
    assert (mask[10:22, 26:30] == 2).all()
    assert areas(dataset)["sign"] == 48
    assert areas(dataset)["ball"] == pytest.approx(np.pi * 6 * 4, abs=6)
    named = told(dataset, "not-drawn")
    assert "keypoint is not drawn: dot (1)" in named
    assert "ellipse is not drawn: round (1)" in named
    assert "It has no label." in named


def coco(root: Path, names: list[str], segmentation: Any = None, **row: Any) -> None:
    box = [[0, 0, 9, 0, 9, 9, 0, 9]] if segmentation is None else segmentation
    images = [{"id": i, "file_name": name, "width": W, "height": H} for i, name in enumerate(names)]
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "segmentation": box, "bbox": [0, 0, 9, 9], **row}
        for i in range(len(names))
    ]
    table = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (root / "instances.json").write_text(json.dumps(table))


def test_coco_boxes_and_key_points_are_named_and_flat_polygons_drawn(tmp_path: Path) -> None:
    for i in range(2):
        image(tmp_path / f"{i}.png", i)
    coco(tmp_path, ["0.png", "1.png"], [])
    assert "2 shapes of the kind bbox are not drawn" in told(open_dataset(tmp_path), "not-drawn")
    coco(tmp_path, ["0.png", "1.png"], [], keypoints=[1, 1, 2])
    assert "2 shapes of the kind keypoints are not drawn" in told(open_dataset(tmp_path), "not-drawn")
    coco(tmp_path, ["0.png", "1.png"], [0, 0, 9, 0, 9, 9, 0, 9])  # without the list around it
    assert areas(open_dataset(tmp_path))["thing"] == 81


def test_small_objects_lie_on_large_ones_without_a_mask_for_each(tmp_path: Path) -> None:
    image(tmp_path / "0.png")
    coco(tmp_path, ["0.png"])
    table = json.loads((tmp_path / "instances.json").read_text())
    shapes = [[[0, 0, 9, 0, 9, 9, 0, 9]], [[0, 0, 30, 0, 30, 30, 0, 30]], [[20, 20, 25, 20, 25, 25, 20, 25]]]
    table["categories"].append({"id": 2, "name": "large"})
    table["annotations"] = [
        {"id": i, "image_id": 0, "category_id": category, "segmentation": shape}
        for i, (shape, category) in enumerate(zip(shapes, (1, 2, 1), strict=True))
    ]
    (tmp_path / "instances.json").write_text(json.dumps(table))
    found = areas(open_dataset(tmp_path))
    assert (found["thing"], found["large"]) == (81 + 25, 900 - 81 - 25)


def test_geojson_collections_are_drawn_and_lines_named(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    square = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]
    hole = [[2, 2], [4, 2], [4, 4], [2, 4], [2, 2]]
    far = [[x + 20, y] for x, y in square]
    geometry = {
        "type": "GeometryCollection",
        "geometries": [
            {"type": "MultiPolygon", "coordinates": [[square, hole], [far]]},
            {"type": "LineString", "coordinates": square},
        ],
    }
    feature = {"type": "Feature", "geometry": geometry, "properties": {"name": "cell"}}
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}, "properties": {"name": "dot"}}
    table = {"type": "FeatureCollection", "features": [feature, point]}
    (tmp_path / "a.geojson").write_text(json.dumps(table))
    dataset = open_dataset(tmp_path)
    assert dataset.classes.names == ("background", "cell")
    assert areas(dataset)["cell"] == 81 - 4 + 81
    assert "LineString is not drawn: cell (1)" in told(dataset, "not-drawn")
    assert "Point is not drawn: dot (1)" in told(dataset, "not-drawn")


def test_boxes_alone_are_no_masks(tmp_path: Path) -> None:
    """Background everywhere, also where objects are, would be a wrong label without a word."""
    for i, name in enumerate("abc"):
        image(tmp_path / f"images/{name}.png", i)
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / f"labels/{name}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text("names: [car]\n")
    assert "nothing-drawn" in {problem.kind for problem in check(tmp_path).findings.errors}


def test_yolo_boxes_are_named_and_oriented_boxes_drawn(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    image(tmp_path / "images/b.png", 1)
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text("names: [car, sign]\n")
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.1 0.1\n1 0 0 0.5 0 0.5 0.5 0 0.5\n")
    dataset = open_dataset(tmp_path)
    assert areas(dataset)["sign"] == 30 * 20
    assert "1 shape of the kind box is not drawn: car (1); the first is a.txt, line 1" in told(dataset, "not-drawn")
    assert any("1 images without a text file, such as images/b" in note for note in dataset.notes)
    (tmp_path / "labels/a.txt").write_text("1 0 0 0.5 0 0.5 0.5 0\n")
    assert "line 1 has 7 coordinates, an odd number" in told(open_dataset(tmp_path), "polygon")


def test_start_and_length_count_down_the_columns_from_one() -> None:
    mask = np.zeros((4, 5), bool)
    mask[1:3, 0] = mask[3, 4] = True
    assert np.array_equal(start_length_mask("2 2 20 1", 4, 5), mask)
    assert np.array_equal(start_length_mask([5, 2, 19, 1], 4, 5, first=0, down_columns=False), [[0] * 5] * 1 + [
        [1, 1, 0, 0, 0], [0] * 5, [0, 0, 0, 0, 1]])  # fmt: skip
    assert not start_length_mask("", 4, 5).any()
    for damaged in ("1", "0 1", "20 2", "1 -1", "1 9223372036854775807", "1.5 2", "x 1"):
        with pytest.raises(Exception, match="run lengths"):
            start_length_mask(damaged, 4, 5)


UPLOADED = {  # path in the export → file on disk
    "/data/upload/3/0a1b2c3d-eight.png": "eight.png",
    "/data/upload/3/f78f75-six.png": "six.png",
    "/data/upload/3/0a1b2c3d-with%20space.png": "with space.png",
    "/data/local-files/?d=set/10%2C30.png": "set/10,30.png",
    "/data/upload/3/0a1b2c3d-d%C3%A9cran.png": "d\u00e9cran.png",
    "/data/upload/3/0a1b2c3d-kept%20escape.png": "0a1b2c3d-kept%20escape.png",
    "https://labels.example.org/data/upload/3/0123456789abcdef_long.png?x=1": "long.png",
    "s3://bucket/key/plain.png": "plain.png",
    "C:\\photos\\back.png": "back.png",
    "e\u0301t\u00e9.png": "\u00e9t\u00e9.png",
}


def test_names_are_decoded_before_they_are_compared(tmp_path: Path) -> None:
    for i, name in enumerate(UPLOADED.values()):
        image(tmp_path / name, i)
    value = {"points": [[10, 10], [60, 10], [60, 60], [10, 60]], "polygonlabels": ["thing"]}
    result = [{"type": "polygonlabels", "value": value}]
    tasks = [{"data": {"image": name}, "annotations": [{"result": result}]} for name in UPLOADED]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    dataset = open_dataset(tmp_path)
    assert not dataset.problems
    assert {sample.image for sample in samples(dataset)} == {tmp_path / name for name in UPLOADED.values()}


@pytest.mark.parametrize(
    ("named", "there"),
    [
        ("0001.png", "images/0001.png"),
        ("JPEGImages/0001.png", "images/0001.png"),
        ("a/0001.png", "a/images/0001.png"),
        ("images/a/0001.png", "a/0001.png"),
        ("/home/u/proj/a/0001.png", "a/0001.png"),
        ("/home/u/proj/0001.png", "mine/0001.png"),
        ("valid/0001.png", "val/images/0001.png"),
        ("..\\x\\0001.png", "0001.png"),
        (quote("dé/0001.png"), "dé/0001.png"),
    ],
)
def test_the_same_image_is_found_in_other_folders(tmp_path: Path, named: str, there: str) -> None:
    image(tmp_path / there)
    assert ImageFiles(tmp_path).find(named) == tmp_path / there


@pytest.mark.parametrize(
    ("named", "there"),
    [
        ("b/0001.png", ["a/0001.png"]),
        ("b/images/0001.png", ["a/images/0001.png"]),
        ("train/0001.png", ["val/0001.png"]),
        ("0001.png", ["a/0001.png", "b/0001.png"]),
        ("x/a/0001.png", ["x/b/0001.png"]),
        ("2021-0001.png", ["0001.png"]),
    ],
)
def test_a_drawing_never_lands_on_another_folders_image(tmp_path: Path, named: str, there: list[str]) -> None:
    for name in there:
        image(tmp_path / name)
    files = ImageFiles(tmp_path)
    assert files.find(named) is None
    assert there[0] in files.missing(named)


def test_a_missing_image_is_named_with_the_nearest(tmp_path: Path) -> None:
    for name in ("a/0001.png", "a/0002.png", "b/0002.png"):
        image(tmp_path / name)
    coco(tmp_path, ["a/0001.png", "b/0001.png", "a/0002.png", "b/0002.png"])
    dataset = open_dataset(tmp_path)
    assert len(samples(dataset)) == 3
    assert "'b/0001.png', which was not found; a file of that name is in another folder: a/0001.png" in told(
        dataset, "image-missing"
    )
    assert "nearest name is a/0001.png" in ImageFiles(tmp_path).missing("0001.jpg") + ImageFiles(tmp_path).missing(
        "00001.png"
    )


def test_an_image_that_is_meant_twice_is_noticed(tmp_path: Path) -> None:
    image(tmp_path / "0001.png")
    image(tmp_path / "0002.png", 1)
    coco(tmp_path, ["a/0001.png", "b/0001.png", "0002.png"])
    dataset = open_dataset(tmp_path)
    assert len(samples(dataset)) == 2
    assert "0001.png" in told(dataset, "image-twice")
    text = (tmp_path / "instances.json").read_text().replace("a/0001", "0001").replace('"b/0001.png"', '"0003.png"')
    image(tmp_path / "0003.png", 2)
    for name in ("instances.json", "person_keypoints.json"):  # as COCO's own release has them side by side
        (tmp_path / name).write_text(text)
    dataset = open_dataset(tmp_path)
    assert len(samples(dataset)) == 3
    assert "(instances.json, person_keypoints.json), as 2 more images are; the first" in told(dataset, "image-twice")


def test_the_subset_of_an_export_counts(tmp_path: Path) -> None:
    image(tmp_path / "train/0001.png")
    image(tmp_path / "val/0001.png", 1)
    box = '<box label="car" xtl="1" ytl="1" xbr="5" ybr="4"/>'
    one = f'<image id="0" name="0001.png" subset="val" width="{W}" height="{H}">{box}</image>'
    (tmp_path / "annotations.xml").write_text(f"<annotations>{one}</annotations>")
    (sample,) = samples(open_dataset(tmp_path))
    assert sample.image == tmp_path / "val/0001.png"
    (tmp_path / "val/0001.png").unlink()
    assert "image-missing" in {problem.kind for problem in open_dataset(tmp_path).problems}


def test_folders_contradict_where_both_say_something() -> None:
    assert not contradict((), ("a",))
    assert not contradict(("images",), ("photos", "a"))
    assert contradict(("a",), ("b",))
    assert contradict(("train", "a"), ("test", "a"))
    assert not contradict(("train2017",), ("Train",))


def volumes(root: Path, number: int, shape: tuple[int, ...], files: int = 1) -> None:
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(0)
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for case in range(number):
        label = np.zeros(shape[:3], np.uint8)
        label[3:9, 3:9] = 1
        for channel in range(files):
            values = rng.integers(90, 110, shape).astype(np.int16)
            if channel == files - 1:
                (values[..., -1] if values.ndim == 4 else values)[label == 1] += 500
            name = f"case{case}" + (f"_{channel:04}" if files > 1 else "")
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), root / "imagesTr" / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), root / "labelsTr" / f"case{case}.nii.gz")


@pytest.mark.parametrize("files", [1, 4])
def test_all_channels_are_bands_by_their_names_and_one_can_be_chosen(tmp_path: Path, files: int) -> None:
    volumes(tmp_path, 2, (14, 12, 2, 4) if files == 1 else (14, 12, 2), files)
    names = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    table = {"modality": names, "labels": {"0": "background", "1": "tumour"}}
    (tmp_path / "dataset.json").write_text(json.dumps(table))
    dataset = open_dataset(tmp_path)
    assert dataset.bands.names == ("FLAIR", "T1w", "t1gd", "T2w")
    assert any("4 bands" in note and "FLAIR, T1w, t1gd, T2w" in note for note in dataset.notes)
    slices = read_sample_image(samples(dataset)[0], dataset.bands)
    assert slices.shape == (12, 14, 4)
    assert slices.dtype == np.float32
    assert slices[4, 4, 3] > 500 > slices[0, 0, 3]
    chosen = open_dataset(tmp_path, bands="t2w,1")
    assert chosen.bands.names == ("T2w", "FLAIR")
    assert np.array_equal(read_sample_image(samples(chosen)[0], chosen.bands), slices[:, :, [3, 0]])
    (tmp_path / "dataset.toml").write_text('[bands]\nuse = ["T2w"]\n')
    assert open_dataset(tmp_path).bands.names == ("T2w",)

    def picture(text: str) -> np.ndarray[Any, Any]:
        (tmp_path / "dataset.toml").write_text(text)
        dataset = open_dataset(tmp_path)
        assert dataset.bands == RGB
        return decode_image(image_bytes(samples(dataset)[0]), "slice")

    only = picture('bands = ["t2w"]\n')
    assert only[4, 4, 0] > 240
    assert only[0, 0, 0] < 128
    three = picture("bands = [0, 1, 3]\n")
    assert three[4, 4, 2] > 240
    assert len({three[..., channel].tobytes() for channel in range(3)}) == 3
    (tmp_path / "dataset.toml").write_text('bands = ["CT"]\n')
    assert "has no channel 'CT'" in told(open_dataset(tmp_path), "bands")
    (tmp_path / "dataset.toml").write_text("bands = [1, 2]\n")
    with pytest.raises(DatasetError, match="one channel or three"):
        open_dataset(tmp_path)


def test_volumes_stay_whole_in_one_split(tmp_path: Path) -> None:
    volumes(tmp_path, 6, (14, 12, 5))
    dataset = open_dataset(tmp_path)
    of = {split: {sample.image for sample in part} for split, part in dataset.splits.items()}
    assert not of["train"] & of["val"]
    assert len(of["train"] | of["val"]) == 6


def test_a_volume_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelwise.datasets.formats import nifti

    volumes(tmp_path, 6, (14, 12, 50))
    unpacked: list[Path] = []
    get = nifti._Unpacked.get

    def counted(self: Any, path: Path, changed: int) -> Any:
        if (path, changed) not in self.kept:
            unpacked.append(path)
        return get(self, path, changed)

    monkeypatch.setattr(nifti._Unpacked, "get", counted)
    assert check(tmp_path).pairs == 300
    assert len(unpacked) == len(set(unpacked)) == 12


def test_complex_and_empty_volumes_are_findings(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volumes(tmp_path, 3, (14, 12, 2))
    nibabel.save(nibabel.Nifti1Image(np.ones((14, 12, 2), np.complex64), np.eye(4)), tmp_path / "imagesTr/case0.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.full((14, 12, 2), np.nan), np.eye(4)), tmp_path / "imagesTr/case1.nii.gz")
    told_ = [problem.message for problem in check(tmp_path).findings.errors]
    assert any("holds complex64 values" in message for message in told_)
    assert any("no finite value" in message for message in told_)
