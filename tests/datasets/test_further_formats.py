"""Formats of annotation tools beside the great ones: every variant that the tools write, drawn to the exact pixel.

Each folder is made here in the tool's own form. What must be drawn is written as rows and columns of an array, so that
no drawing of ours says what is right.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pixelwise.datasets.formats.darwin import layer_numbers
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.doctor.findings import find_problems
from pixelwise.errors import DatasetError, MaskError
from pixelwise.images.files import Refusal
from pixelwise.records import Dataset

SIZE = (40, 60)  # H, W
Named = NDArray[np.str_]


def photo(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.name.encode()) + len(path.parent.as_posix())
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(path)
    return path


def write_json(path: Path, table: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table), encoding="utf-8")
    return path


def named(dataset: Dataset) -> dict[str, Named]:
    """Every mask as the names of its pixels' classes [H, W], by the sample's name."""
    names = np.array([*dataset.classes.names, *["void"] * (256 - len(dataset.classes))])
    return {
        sample.name: names[read_sample_mask(sample, dataset.mask_ids, len(dataset.classes))]
        for samples in dataset.splits.values()
        for sample in samples
    }


def blank(size: tuple[int, int] = SIZE) -> Named:
    return np.full(size, "background", "<U40")


def boxed(*boxes: tuple[str, int, int, int, int], size: tuple[int, int] = SIZE) -> Named:
    """A mask of boxes, each a name and left, top, right, bottom: [top, bottom) × [left, right)."""
    mask = blank(size)
    for name, left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = name
    return mask


def kinds(dataset: Dataset) -> set[str]:
    return {problem.kind for problem in dataset.problems}


def messages(dataset: Dataset) -> str:
    return "\n".join([*(str(problem) for problem in dataset.problems), *dataset.notes])


# VGG Image Annotator


def via_region(shape: dict[str, Any], attributes: dict[str, Any]) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes}


def via_polygon(left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    x, y = [left, right, right, left], [top, top, bottom, bottom]
    return {"name": "polygon", "all_points_x": x, "all_points_y": y}


def via_rect(left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    return {"name": "rect", "x": left, "y": top, "width": right - left, "height": bottom - top}


def via_entry(name: str, regions: Any) -> dict[str, Any]:
    return {"filename": name, "size": 1234, "regions": regions, "file_attributes": {}}


VIA_REGIONS = [
    via_region(via_polygon(10, 5, 30, 25), {"plant": "kudzu"}),
    via_region(via_rect(40, 5, 50, 15), {"plant": "other"}),
]
VIA_MASK = boxed(("kudzu", 10, 5, 30, 25), ("other", 40, 5, 50, 15))


def via_export(root: Path) -> None:
    for split, names in (("train", ("a.jpg", "b.jpg")), ("val", ("a.jpg",))):
        for name in names:
            photo(root / split / name)
        table = {f"{name}1234": via_entry(name, VIA_REGIONS) for name in names}
        write_json(root / split / "via_region_data.json", table)


def via_first(root: Path) -> None:
    """VIA 1: regions are a table of numbers."""
    photo(root / "a.jpg"), photo(root / "b.jpg")
    regions = {str(i): region for i, region in enumerate(VIA_REGIONS)}
    entries = {
        f"{name}1": {"fileref": "", "base64_img_data": "", **via_entry(name, regions)} for name in ("a.jpg", "b.jpg")
    }
    write_json(root / "via_region_data.json", entries)


def via_project(root: Path) -> None:
    photo(root / "images/a.jpg"), photo(root / "images/b.jpg"), photo(root / "images/new.jpg")
    options = {"1": "kudzu", "2": "other", "3": "never drawn"}
    regions = [via_region(VIA_REGIONS[0]["shape_attributes"], {"plant": "1"})]
    regions.append(via_region(VIA_REGIONS[1]["shape_attributes"], {"plant": {"2": True}}))
    table = {
        "_via_settings": {"ui": {}, "project": {"name": "p"}},
        "_via_img_metadata": {
            **{f"{name}1": via_entry(name, regions) for name in ("a.jpg", "b.jpg")},
            "new.jpg1": via_entry("new.jpg", []),
        },
        "_via_attributes": {"region": {"plant": {"type": "dropdown", "options": options}}, "file": {}},
    }
    write_json(root / "via_project.json", table)


def via_table(root: Path) -> None:
    photo(root / "a.jpg"), photo(root / "b.jpg"), photo(root / "new.jpg")
    rows = ["filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    for name in ("a.jpg", "b.jpg"):
        for i, region in enumerate(VIA_REGIONS):
            cells = [json.dumps(region[key]).replace('"', '""') for key in ("shape_attributes", "region_attributes")]
            rows.append(f'{name},1234,"{{}}",2,{i},"{cells[0]}","{cells[1]}"')
    rows.append('new.jpg,1234,"{}",0,0,"{}","{}"')
    (root / "via_export_csv.csv").write_text("\n".join(rows))


@pytest.mark.parametrize("make", [via_export, via_first, via_project, via_table])
def test_via_is_read_in_every_form(tmp_path: Path, make: Any) -> None:
    make(tmp_path)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "via"
    assert dataset.classes.names[:3] == ("background", "kudzu", "other")
    masks = named(dataset)
    assert len(masks) == (3 if make is via_export else 2)
    assert all((mask == VIA_MASK).all() for mask in masks.values())
    assert not find_problems(dataset).errors
    if make is via_export:
        assert [len(dataset.splits[split]) for split in ("train", "val")] == [2, 1]
    if make in (via_project, via_table):
        assert "1 images on which nothing is drawn" in messages(dataset)
    if make is via_project:
        assert dataset.classes.names[3:] == ("never drawn",)


def test_vias_circles_are_drawn_and_its_lines_are_reported(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    turned = {"name": "ellipse", "cx": 30, "cy": 20, "rx": 12, "ry": 4, "theta": np.pi / 2}
    shapes = [
        ({"name": "circle", "cx": 10, "cy": 10, "r": 6}, "disc"),
        (turned, "egg"),
        ({"name": "polyline", "all_points_x": [0, 9], "all_points_y": [0, 9]}, "crack"),
        ({"name": "point", "cx": 3, "cy": 3}, "cell"),
        ({"name": "point", "cx": 4, "cy": 3}, "cell"),
        ({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]}, "thin"),
        ({"name": "rect", "x": 1, "y": "?", "width": 3, "height": 3}, "box"),
    ]
    regions = [via_region(shape, {"shade": "dark", "class": name, "note": "x"}) for shape, name in shapes]
    write_json(tmp_path / "via.json", {"a.jpg1": via_entry("a.jpg", regions)})
    dataset = open_dataset(tmp_path)
    mask = named(dataset)["a"]
    y, x = np.mgrid[:40, :60] + 0.5
    disc, egg = (x - 10) ** 2 + (y - 10) ** 2, ((x - 30) / 4) ** 2 + ((y - 20) / 12) ** 2
    assert (mask[disc < 5.8**2] == "disc").all()
    assert not (mask[disc > 6.1**2] == "disc").any()
    assert (mask[egg < 0.95] == "egg").all()
    assert not (mask[egg > 1.05] == "egg").any()
    told = messages(dataset)
    assert "1 shape of the kind polyline is not drawn: crack (1)" in told
    assert "2 shapes of the kind point are not drawn: cell (2)" in told
    assert "kind polygon is not drawn: thin (1)" in told
    assert "kind rect is not drawn: box (1)" in told
    assert 'VIA\'s attribute "class"; not used: shade (1 values), note (1 values)' in told
    assert dataset.classes.names == ("background", "disc", "egg")


def test_a_project_and_its_export_are_read_once_and_a_missing_image_names_the_nearest(tmp_path: Path) -> None:
    via_project(tmp_path)
    project = json.loads((tmp_path / "via_project.json").read_text())
    write_json(tmp_path / "via_export.json", project["_via_img_metadata"])
    other = via_entry("image_b.jpg", VIA_REGIONS)
    write_json(tmp_path / "via_more.json", {"x": via_entry("images_a.jpg", VIA_REGIONS), "y": other})
    photo(tmp_path / "images/image_a.jpg")
    dataset = open_dataset(tmp_path)
    assert sum(len(samples) for samples in dataset.splits.values()) == 2
    assert "the nearest name is images/image_a.jpg" in messages(dataset)
    assert "repeats 2 drawings" in messages(dataset) or "image-twice" in kinds(dataset)


def test_two_drawings_of_one_image_that_differ_are_an_error(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    write_json(tmp_path / "one.json", {"a": via_entry("a.jpg", VIA_REGIONS)})
    write_json(tmp_path / "two.json", {"a": via_entry("a.jpg", VIA_REGIONS[:1])})
    dataset = open_dataset(tmp_path)
    assert "image-twice" in kinds(dataset)
    assert (named(dataset)["a"] == VIA_MASK).all()


def test_a_damaged_file_stops_no_other(tmp_path: Path) -> None:
    via_export(tmp_path)
    damaged = tmp_path / "val/via_region_data.json"
    damaged.write_text(damaged.read_text()[:-40])
    dataset = open_dataset(tmp_path)
    assert [problem.where for problem in dataset.problems if problem.kind == "annotations"] == [
        "val/via_region_data.json"
    ]
    assert sum(len(samples) for samples in dataset.splits.values()) == 2


# Supervisely


def sly_object(title: str, kind: str, exterior: list[list[int]], interior: Any = ()) -> dict[str, Any]:
    points = {"exterior": exterior, "interior": list(interior)}
    return {"id": 1, "classTitle": title, "geometryType": kind, "tags": [], "points": points}


def sly_bitmap(title: str, own: NDArray[np.bool_], left: int, top: int, mode: str = "P") -> dict[str, Any]:
    """As the tool packs it: a palette PNG whose colour 0 is transparent; or RGBA; or grey."""
    image = Image.fromarray(own.astype(np.uint8) * (1 if mode == "P" else 255))
    options: dict[str, Any] = {}
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])
        options = {"transparency": 0}
    elif mode == "RGBA":
        image = Image.merge("RGBA", [Image.new("L", image.size, 255)] * 3 + [image])
    png = io.BytesIO()
    image.save(png, "PNG", **options)
    data = base64.b64encode(zlib.compress(png.getvalue())).decode()
    bitmap = {"data": data, "origin": [left, top]}
    return {"id": 2, "classTitle": title, "geometryType": "bitmap", "tags": [], "bitmap": bitmap}


def sly_file(path: Path, objects: list[dict[str, Any]], size: tuple[int, int] = SIZE) -> None:
    table = {"description": "", "tags": [], "size": {"height": size[0], "width": size[1]}, "objects": objects}
    write_json(path, table)


def sly_objects(mode: str = "P") -> list[dict[str, Any]]:
    bitmap = np.zeros((6, 8), bool)
    bitmap[1:, 2:] = True
    hole = [[10, 25], [20, 25], [20, 30], [10, 30]]
    return [
        sly_object("road", "polygon", [[0, 20], [60, 20], [60, 40], [0, 40]], [hole]),
        sly_object("car", "rectangle", [[40, 5], [50, 15]]),
        sly_bitmap("tree", bitmap, 3, 2, mode),
    ]


def sly_mask() -> Named:
    mask = boxed(("road", 0, 20, 60, 40), ("background", 10, 25, 20, 30), ("car", 40, 5, 50, 15))
    mask[3:8, 5:11] = "tree"
    return mask


@pytest.mark.parametrize("mode", ["P", "RGBA", "L"])
def test_supervisely_is_drawn_with_its_holes_and_bitmaps(tmp_path: Path, mode: str) -> None:
    for folder, names in (("project/train", ("a.jpg", "b.png")), ("project/val", ("a.jpg",))):
        for name in names:
            photo(tmp_path / folder / "img" / name)
            sly_file(tmp_path / folder / "ann" / f"{name}.json", sly_objects(mode))
    classes = [("tree", "bitmap"), ("lane", "line"), ("car", "rectangle"), ("road", "polygon"), ("sky", "any")]
    rows = [{"title": name, "shape": shape, "color": "#00FF00", "geometry_config": {}} for name, shape in classes]
    write_json(tmp_path / "project/meta.json", {"classes": rows, "tags": [], "projectType": "images"})
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "supervisely"
    assert dataset.classes.names == ("background", "tree", "car", "road", "sky")
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 2, "val": 1}
    assert all((mask == sly_mask()).all() for mask in named(dataset).values())
    assert not find_problems(dataset).errors


def test_supervisely_of_old_projects_and_lines_that_have_no_area(tmp_path: Path) -> None:
    photo(tmp_path / "ds0/img/a.png"), photo(tmp_path / "ds1/img/a.png")
    line = {"classTitle": "lane", "geometryType": "line", "points": {"exterior": [[0, 0], [5, 5]], "interior": []}}
    sly_file(tmp_path / "ds0/ann/a.json", [sly_object("car", "rectangle", [[1, 2], [5, 9]]), line])
    sly_file(tmp_path / "ds1/ann/a.json", [sly_object("car", "rectangle", [[11, 2], [15, 9]])])
    dataset = open_dataset(tmp_path)
    masks = named(dataset)
    assert (masks["ds0/img/a"] == boxed(("car", 1, 2, 5, 9))).all()
    assert (masks["ds1/img/a"] == boxed(("car", 11, 2, 15, 9))).all()
    assert "1 shape of the kind line is not drawn: lane (1)" in messages(dataset)


def bomb() -> dict[str, Any]:
    one = sly_bitmap("tree", np.ones((2, 2), bool), 0, 0)
    one["bitmap"]["data"] = base64.b64encode(zlib.compress(bytes(200_000_000), 9)).decode()
    return one


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (bomb(), "not a PNG, or larger"),
        (sly_bitmap("tree", np.ones((41, 2), bool), 0, 0), "2×41 pixels in an image of 60×40"),
        (sly_bitmap("tree", np.ones((4, 4), bool), 58, 0), "leaves its image"),
        (sly_bitmap("tree", np.ones((4, 4), bool), -1, 0), "leaves its image"),
        ({"classTitle": "tree", "geometryType": "bitmap"}, "damaged"),
        ({"classTitle": "tree", "geometryType": "bitmap", "bitmap": {"data": "!!", "origin": [0, 0]}}, "damaged"),
    ],
)
def test_a_damaged_bitmap_is_named_and_never_unpacked_beyond_its_image(tmp_path: Path, one: Any, said: str) -> None:
    photo(tmp_path / "img/a.jpg"), photo(tmp_path / "img/b.jpg")
    sly_file(tmp_path / "ann/a.jpg.json", [sly_object("car", "rectangle", [[1, 2], [5, 9]]), one])
    sly_file(tmp_path / "ann/b.jpg.json", [sly_object("car", "rectangle", [[1, 2], [5, 9]])])
    dataset = open_dataset(tmp_path)
    samples = {sample.name: sample for samples in dataset.splits.values() for sample in samples}
    with pytest.raises(MaskError, match=said) as caught:
        read_sample_mask(samples["img/a"], dataset.mask_ids, len(dataset.classes))
    assert "a.jpg, shape 1 (bitmap tree)" in str(caught.value)
    read_sample_mask(samples["img/b"], dataset.mask_ids, len(dataset.classes))


def test_a_drawing_of_another_size_than_its_image_is_an_error(tmp_path: Path) -> None:
    photo(tmp_path / "img/a.jpg")
    sly_file(tmp_path / "ann/a.jpg.json", [sly_object("car", "rectangle", [[1, 2], [5, 9]])], (80, 120))
    dataset = open_dataset(tmp_path)
    with pytest.raises(MaskError, match="was annotated on an image of 120×80 pixels, but the image has 60×40"):
        named(dataset)


# SuperAnnotate


def superannotate_pixels(root: Path, *, old: bool = False) -> Path:
    """Six objects of two classes in colours of their own; `old`: a list that names classes by number."""
    save = np.zeros((*SIZE, 4), np.uint8)
    instances = []
    for k, (name, left, top, right, bottom) in enumerate(SUPER_BOXES):
        save[top:bottom, left:right] = [0, k, 15 * (k + 1), 255]
        parts = [{"color": f"#00{k:02x}{15 * (k + 1):02X}"}]
        one = {"classId": 7 + (name == "Vehicle"), "visible": True, "attributes": [], "parts": parts}
        instances.append(one if old else {**one, "className": name})
    photo(root / "a.jpg")
    Image.fromarray(save).save(root / "a.jpg___save.png")
    Image.fromarray(save).save(root / "a.jpg___fuse.png")
    write_json(
        root / "a.jpg___pixel.json", instances if old else {"metadata": {"name": "a.jpg"}, "instances": instances}
    )
    classes = [{"id": 8, "name": "Vehicle", "color": "#547497"}, {"id": 7, "name": "Person", "color": "#d4da03"}]
    write_json(root / "classes/classes.json", classes)
    return root


SUPER_BOXES = [
    ("Person", 1, 2, 9, 12),
    ("Vehicle", 12, 2, 20, 12),
    ("Person", 30, 2, 33, 39),
    ("Vehicle", 40, 4, 59, 8),
]


@pytest.mark.parametrize("old", [False, True])
def test_superannotates_object_colours_become_classes(tmp_path: Path, old: bool) -> None:
    dataset = open_dataset(superannotate_pixels(tmp_path, old=old))
    assert dataset.layout == "superannotate"
    assert dataset.classes.names == ("background", "Vehicle", "Person")
    assert (named(dataset)["a"] == boxed(*SUPER_BOXES)).all()


def test_superannotates_shapes_are_drawn(tmp_path: Path) -> None:
    hole = [12, 22, 18, 22, 18, 26, 12, 26]
    turned = {"x1": 1, "y1": 1, "x2": 9, "y2": 1, "x3": 9, "y3": 5, "x4": 1, "y4": 5}
    instances = [
        {"className": "lot", "type": "polygon", "points": [10, 20, 30, 20, 30, 30, 10, 30], "exclude": [hole]},
        {"className": "car", "type": "bbox", "points": {"x1": 40, "y1": 5, "x2": 50, "y2": 15}},
        {"className": "bus", "type": "rbbox", "points": turned},
        {"className": "lane", "type": "polyline", "points": [1, 1, 5, 5]},
        {"className": "sign", "type": "point", "x": 4, "y": 4},
    ]
    for name in ("a.jpg___objects.json", "b.jpg.json"):
        image = name.partition(".jpg")[0] + ".jpg"
        photo(tmp_path / image)
        meta = {"name": image, "width": 60, "height": 40, "status": "Completed"}
        write_json(tmp_path / name, {"metadata": meta, "instances": instances, "tags": [], "comments": []})
    photo(tmp_path / "c.jpg")
    write_json(tmp_path / "c.jpg.json", {"metadata": {"name": "c.jpg", "status": "NotStarted"}, "instances": []})
    dataset = open_dataset(tmp_path)
    wanted = boxed(("lot", 10, 20, 30, 30), ("background", 12, 22, 18, 26), ("car", 40, 5, 50, 15), ("bus", 1, 1, 9, 5))
    assert set(masks := named(dataset)) == {"a", "b"}
    assert all((mask == wanted).all() for mask in masks.values())
    told = messages(dataset)
    assert "lane" in told
    assert "sign" in told
    assert 'Left out: 1 images whose status in SuperAnnotate is "NotStarted"' in told


def test_superannotates_pixels_that_fit_no_object_are_an_error(tmp_path: Path) -> None:
    root = superannotate_pixels(tmp_path)
    table = json.loads((root / "a.jpg___pixel.json").read_text())
    write_json(root / "a.jpg___pixel.json", {**table, "instances": table["instances"][:-1]})
    with pytest.raises(MaskError, match="names no object for 76 coloured pixels"):
        named(open_dataset(root))
    table["instances"][0]["parts"] = [{"color": "#123456"}]
    write_json(root / "a.jpg___pixel.json", table)
    with pytest.raises(MaskError, match=r"which a\.jpg___save\.png does not have"):
        named(open_dataset(root))
    (root / "a.jpg___save.png").unlink()
    with pytest.raises(MaskError, match="which is not there"):
        named(open_dataset(root))


# MATLAB


def matlab_mask() -> NDArray[np.uint8]:
    mask = np.zeros(SIZE, np.uint8)
    mask[5:25, 10:30] = 1
    mask[30:, 40:] = 2
    return mask


def save_mat(path: Path, table: dict[str, Any], **options: Any) -> Path:
    scipy_io = pytest.importorskip("scipy.io")
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy_io.savemat(path, table, **options)
    return path


def stored(dataset: Dataset) -> dict[str, NDArray[Any]]:
    """Every mask as class ids [H, W], by the sample's name."""
    return {
        sample.name: read_sample_mask(sample, dataset.mask_ids, len(dataset.classes))
        for samples in dataset.splits.values()
        for sample in samples
    }


def objects_and_kinds() -> dict[str, Any]:
    """HoVer-Net: objects by number, and the class of each; number 3 is not on the image."""
    return {"inst_map": matlab_mask().astype(np.float64), "inst_type": np.array([[1], [2], [4]])}


MATS: dict[str, dict[str, Any]] = {
    "uint8": {"mask": matlab_mask()},
    "double, as MATLAB writes": {"S": matlab_mask().astype(np.float64), "names": "abc", "box": np.eye(3)},
    "several, one named": {"inst_map": matlab_mask() * 7, "type_map": matlab_mask(), "inst_centroid": np.eye(2)},
    "objects and their classes": objects_and_kinds(),
    "struct": {"GTcls": {"Segmentation": matlab_mask(), "Boundaries": {"x": 1}, "CategoriesPresent": [1, 2]}},
    "objects in a struct": {"GTinst": {"Segmentation": matlab_mask(), "Categories": np.array([1, 2])}},
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("which", MATS)
def test_matlab_masks_are_found_in_their_files(tmp_path: Path, which: str, compressed: bool) -> None:
    for split in ("train", "val"):
        photo(tmp_path / split / "Images" / f"{split}_1.png")
        photo(tmp_path / split / "Overlay" / f"{split}_1.png")
        save_mat(tmp_path / split / "Labels" / f"{split}_1.mat", MATS[which], do_compression=compressed)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "matlab"
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 1, "val": 1}
    assert len(dataset.classes) == 3
    assert all((mask == matlab_mask()).all() for mask in stored(dataset).values())
    if which == "several, one named":
        assert "not used: inst_map" in messages(dataset)


def test_matlab_beside_images_logical_and_of_version_4(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg"), photo(tmp_path / "b.jpg")
    save_mat(tmp_path / "a_mask.mat", {"mask": matlab_mask() > 0})
    save_mat(tmp_path / "b_mask.mat", {"mask": (matlab_mask() > 0).astype(np.float64)}, format="4")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "matlab"
    assert dataset.classes.names == ("background", "foreground")
    assert all((mask == (matlab_mask() > 0)).all() for mask in stored(dataset).values())


def people(count: int) -> dict[str, Any]:
    cells = np.empty((1, count), object)
    for i in range(count):
        cells[0, i] = {"Segmentation": matlab_mask() + 1, "Boundaries": matlab_mask() > 0}
    return {"groundTruth": cells}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (people(5), "2 .mat files, such as a.mat: each holds 5 segmentations by as many people"),
        ({"one": matlab_mask(), "two": matlab_mask()}, "2 matrices of the image's size (one, two)"),
        ({"mask": matlab_mask().T}, "no matrix of the image's size, 40×60 (rows × columns), but mask 60×40 uint8"),
        ({"mask": matlab_mask() + 0.5}, "not whole"),
        ({"mask": matlab_mask() - 1.0}, "numbers from -1.0"),
        ({"mask": np.zeros((*SIZE, 3))}, "mask 40×60×3 double"),
        ({"inst_map": matlab_mask(), "inst_type": [1]}, "numbers 2 objects, but has classes for 1"),
    ],
)
def test_matlab_files_that_are_no_masks_say_why(tmp_path: Path, table: dict[str, Any], said: str) -> None:
    for name in "ab":
        photo(tmp_path / "images" / f"{name}.jpg")
        save_mat(tmp_path / "gt" / f"{name}.mat", table)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "matlab"
    assert said in "\n".join(str(problem) for problem in find_problems(dataset).problems)


def test_matlab_7_3_is_named_with_the_line_that_saves_it_anew(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116, b" ") + bytes(8) + b"\0\2IM"
    (tmp_path / "a.mat").write_bytes(head + b"\x89HDF\r\n\x1a\n" + bytes(100))
    dataset = open_dataset(tmp_path)
    assert "matlab-73" in kinds(dataset)
    assert "save(file, '-struct', 's', '-v7')" in messages(dataset)


def test_masks_of_pixels_are_preferred_to_matlab(tmp_path: Path) -> None:
    for name in "abcd":
        photo(tmp_path / "images" / f"{name}.png")
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(matlab_mask()).save(tmp_path / "masks" / f"{name}.png")
        save_mat(tmp_path / "other" / f"{name}.mat", {"mask": matlab_mask()})
    assert open_dataset(tmp_path).layout == "pairs"


def test_a_matlab_file_is_unpacked_and_followed_no_further_than_its_image_allows(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg"), photo(tmp_path / "b.jpg")
    save_mat(tmp_path / "a.mat", {"mask": matlab_mask(), "x": np.zeros(12_000_000)}, do_compression=True)
    deep: dict[str, Any] = {"Segmentation": matlab_mask()}
    for _ in range(30):
        deep = {"a": deep}
    save_mat(tmp_path / "b.mat", {"GTcls": deep})
    problems = find_problems(open_dataset(tmp_path)).problems
    told = "\n".join(str(problem) for problem in problems)
    assert "unpacks to far more than its image has pixels" in told
    assert "holds a struct of a; none is the mask" in told


# Run lengths in a table


def runs_of(mask: NDArray[np.bool_], order: str = "columns") -> str:
    """Start and length from 1, written out pixel by pixel."""
    flat = (mask.T if order == "columns" else mask).ravel()
    pairs, start = [], 0
    for i, lit in enumerate([*flat.tolist(), False], start=1):
        if lit and not start:
            start = i
        elif not lit and start:
            pairs += [start, i - start]
            start = 0
    return " ".join(map(str, pairs))


def disc(x: int, y: int, radius: int, size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


RUN_MASKS = {"a": [("1", disc(20, 12, 8)), ("3", disc(45, 25, 9))], "b": [("3", disc(30, 20, 15))], "c": []}


def kaggle(root: Path, form: str, order: str = "columns", size: tuple[int, int] = SIZE) -> dict[str, Named]:
    """A table in one of the competitions' forms, and the masks that it means."""
    head = {
        "one class": "ImageId,EncodedPixels",
        "nuclei": "ImageId,EncodedPixels,Height,Width,Usage",
        "steel": "ImageId_ClassId,EncodedPixels",
        "steel of late": "ImageId,ClassId,EncodedPixels",
        "clouds": "Image_Label,EncodedPixels",
        "cells": "id,annotation,width,height,cell_type",
    }[form]
    rows, masks = [head], {}
    for image, objects in RUN_MASKS.items():
        name = image if form in ("nuclei", "cells") else f"{image}.png"
        photo(root / "train_images" / f"{image}.png", size)
        mask = masks[f"train_images/{image}"] = blank(size)
        for kind, small in objects or [("1", np.zeros(SIZE, bool))]:
            own = np.zeros(size, bool)
            own[: SIZE[0], : SIZE[1]] = small[: size[0], : size[1]]
            runs = runs_of(own, order)
            shown_kind = f"Kind{kind}" if form in ("clouds", "cells") else kind
            row = {
                "one class": f"{name},{runs}",
                "nuclei": f"{name},{runs},{size[0]},{size[1]},Public",
                "steel": f"{name}_{kind},{runs}",
                "steel of late": f"{name},{kind},{runs}",
                "clouds": f"{name}_{shown_kind},{runs}",
                "cells": f"{name},{runs},{size[1]},{size[0]},{shown_kind}",
            }[form]
            rows.append(row)
            plain = form in ("one class", "nuclei")
            mask[own] = "foreground" if plain else shown_kind if form in ("clouds", "cells") else f"class {kind}"
    (root / "train.csv").write_text("\n".join(rows) + "\n")
    return masks


@pytest.mark.parametrize("order", ["columns", "rows"])
@pytest.mark.parametrize("form", ["one class", "nuclei", "steel", "steel of late", "clouds", "cells"])
def test_run_lengths_are_read_in_every_competitions_form(tmp_path: Path, form: str, order: str) -> None:
    masks = kaggle(tmp_path, form, order)
    photo(tmp_path / "train_images/unnamed.png"), photo(tmp_path / "test_images/x.png")
    (tmp_path / "sample_submission.csv").write_text("ImageId,EncodedPixels\nx.png,1 1\n")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "run-length-csv"
    drawn = named(dataset)
    assert drawn.keys() == masks.keys()
    assert all((drawn[name] == masks[name]).all() for name in masks)
    told = messages(dataset)
    assert f"numbered {'down the columns' if order == 'columns' else 'along the rows'}" in told
    assert "1 images without a row" in told
    assert "predictions to hand in: sample_submission.csv" in told
    assert not dataset.problems


def test_square_images_do_not_tell_the_order_and_dataset_toml_says_it(tmp_path: Path) -> None:
    masks = kaggle(tmp_path, "one class", "rows", (60, 60))
    dataset = open_dataset(tmp_path)
    assert 'square images do not tell (dataset.toml: runs = "rows")' in messages(dataset)
    (tmp_path / "dataset.toml").write_text('runs = "rows"\n')
    dataset = open_dataset(tmp_path)
    assert "along the rows: dataset.toml states it" in messages(dataset)
    drawn = named(dataset)
    assert all((drawn[name] == masks[name]).all() for name in masks)
    (tmp_path / "dataset.toml").write_text('runs = "diagonals"\n')
    with pytest.raises(DatasetError, match=r'expected how pixels are numbered\. Write runs = "columns"'):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("2390 20", "do not add up to 60×40"),
        ("9223372036854775807 9223372036854775807", "not integers"),
        ("9999999999 9999999999", "do not add up"),
        ("1 3 5", "not pairs"),
        ("0 3", "starts at 0; the first pixel is 1"),
        ("500 7 33 7 33 7", "counted from the run before"),
        ("5 x", "not integers"),
    ],
)
def test_damaged_run_lengths_are_named_and_stop_no_other_image(tmp_path: Path, cell: str, said: str) -> None:
    photo(tmp_path / "a.png"), photo(tmp_path / "b.png")
    (tmp_path / "train.csv").write_text(f"ImageId,EncodedPixels\na.png,{cell}\nb.png,1 40\n")
    dataset = open_dataset(tmp_path)
    samples = {sample.name: sample for samples in dataset.splits.values() for sample in samples}
    with pytest.raises(MaskError, match=said):
        read_sample_mask(samples["a"], dataset.mask_ids, len(dataset.classes))
    mask = read_sample_mask(samples["b"], dataset.mask_ids, len(dataset.classes))
    assert mask[:, 0].all()
    assert not mask[:, 1:].any()


def test_empty_cells_mean_nothing_and_many_missing_images_are_told_in_one(tmp_path: Path) -> None:
    photo(tmp_path / "a.png"), photo(tmp_path / "b.png")
    rows = ["ImageId, EncodedPixels", "a.png,", "b.png, -1", *(f"no{i}.png,1 2" for i in range(30))]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    dataset = open_dataset(tmp_path)
    assert [int(mask.max()) for mask in stored(dataset).values()] == [0, 0]
    missing = [problem for problem in dataset.problems if problem.kind == "image-missing"]
    assert len(missing) == 6
    assert "25 more images" in str(missing[-1])


# CVAT for video


def cvat_video(path: Path, tracks: list[str], *, frames: int, first: int = 0, name: str = "frame_{:06d}.png") -> Path:
    """annotations.xml of a film, and its frames beside it."""
    labels = "".join(f"<label><name>{name}</name><type>any</type></label>" for name in ("Boat", "Jet"))
    meta = f"<task><size>{frames}</size><mode>interpolation</mode><labels>{labels}</labels></task>"
    size = f"<original_size><width>{SIZE[1]}</width><height>{SIZE[0]}</height></original_size>"
    path.mkdir(parents=True, exist_ok=True)
    text = f"<?xml version='1.0'?><annotations><version>1.1</version><meta>{meta}{size}</meta>{''.join(tracks)}"
    (path / "annotations.xml").write_text(f"{text}</annotations>")
    for frame in range(frames):
        photo(path / "images" / name.format(frame + first))
    return path


def track(label: str, *shapes: str) -> str:
    return f'<track id="0" label="{label}" source="manual">{"".join(shapes)}</track>'


def box_at(frame: int, left: int, *, outside: int = 0, keyframe: int = 1, z: int = 0) -> str:
    sides = f'xtl="{left}.0" ytl="4.0" xbr="{left + 10}.0" ybr="12.0" z_order="{z}"'
    return f'<box frame="{frame}" keyframe="{keyframe}" outside="{outside}" occluded="0" {sides}/>'


def polygon_at(frame: int, left: int, *, outside: int = 0, keyframe: int = 1) -> str:
    points = f"{left}.0,20.0;{left + 5}.0,20.0;{left + 5}.0,30.0;{left}.0,30.0"
    return f'<polygon frame="{frame}" keyframe="{keyframe}" outside="{outside}" points="{points}" z_order="0"/>'


def by_frame(dataset: Dataset) -> dict[int, Named]:
    return {int(name[-6:]): mask for name, mask in named(dataset).items()}


@pytest.mark.parametrize("first", [0, 1])
def test_cvat_tracks_are_drawn_on_the_frames_beside_them(tmp_path: Path, first: int) -> None:
    jets = [polygon_at(i, 10 + i, keyframe=int(i == 0), outside=int(i == 4)) for i in range(5)]
    boats = [box_at(i, 20 + i, keyframe=int(i == 2), z=1) for i in range(2, 4)]
    hidden = [box_at(5, 1, outside=1)]
    cvat_video(tmp_path, [track("Jet", *jets), track("Boat", *boats, *hidden)], frames=6, first=first)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "cvat-video"
    assert dataset.classes.names == ("background", "Boat", "Jet")
    masks = by_frame(dataset)
    assert sorted(masks) == [first, first + 1, first + 2, first + 3]
    for i in range(4):
        boat = [("Boat", 20 + i, 4, 30 + i, 12)] if i >= 2 else []
        assert (masks[i + first] == boxed(("Jet", 10 + i, 20, 15 + i, 30), *boat)).all()
    assert "4 of 6 frames drawn; left out, as no track is visible: 2 frames, such as 4" in messages(dataset)


def test_between_keyframes_boxes_move_and_frames_of_polygons_are_left_out(tmp_path: Path) -> None:
    boats = [box_at(0, 10), box_at(4, 30), box_at(8, 30, outside=1)]
    cvat_video(tmp_path, [track("Boat", *boats), track("Jet", polygon_at(5, 3), polygon_at(7, 9))], frames=10)
    dataset = open_dataset(tmp_path)
    masks = by_frame(dataset)
    assert sorted(masks) == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    for i in range(5):
        assert (masks[i] == boxed(("Boat", 10 + 5 * i, 4, 20 + 5 * i, 12))).all()
    jet = ("Jet", 9, 20, 14, 30)
    assert (masks[5] == boxed(("Boat", 30, 4, 40, 12), ("Jet", 3, 20, 8, 30))).all()
    assert (masks[7] == boxed(("Boat", 30, 4, 40, 12), jet)).all()
    assert (masks[8] == boxed(jet)).all()
    assert (masks[9] == boxed(jet)).all()
    assert "only CVAT can interpolate (export all frames): frame 6" in messages(dataset)
    assert "3 boxes interpolated" in messages(dataset)


def test_cvat_for_video_without_its_frames_is_named(tmp_path: Path) -> None:
    cvat_video(tmp_path, [track("Jet", box_at(0, 4))], frames=0)
    photo(tmp_path / "preview.jpg")
    dataset = open_dataset(tmp_path)
    told = "\n".join(str(problem) for problem in find_problems(dataset).problems)
    assert "annotations.xml: is CVAT for video (1 track)" in told
    assert "Export as CVAT for images 1.1" in told
    assert "Add images and masks" not in told


def test_cvat_masks_and_points_of_tracks(tmp_path: Path) -> None:
    runs = '<mask frame="0" outside="0" rle="3, 4, 5" left="2" top="1" width="4" height="3"/>'
    points = '<points frame="0" outside="0" points="1,2;3,4"/>'
    cvat_video(tmp_path, [track("Jet", runs), track("Boat", points)], frames=2)
    dataset = open_dataset(tmp_path)
    mask = blank()
    mask[1, 5] = mask[2, 2:5] = "Jet"
    assert (by_frame(dataset)[0] == mask).all()
    assert "1 shape of the kind points is not drawn: Boat (1)" in messages(dataset)


# LabelMe of MIT


def mit_object(name: str, inside: str, *, deleted: int = 0) -> str:
    fixed = f"<name>{name}</name><deleted>{deleted}</deleted><verified>0</verified><occluded>no</occluded><attributes/>"
    return f"<object>{fixed}<parts><hasparts/><ispartof/></parts><id>0</id>{inside}</object>"


def mit_polygon(left: int, top: int, right: int, bottom: int) -> str:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    points = "".join(f"<pt>\n<x>{x}</x>\n<y>{y}</y>\n</pt>" for x, y in corners)
    return f"<polygon><username>me</username>{points}</polygon>"


def mit_file(path: Path, image: str, objects: list[str], folder: str = "") -> None:
    size = f"<imagesize><nrows>{SIZE[0]}</nrows><ncols>{SIZE[1]}</ncols></imagesize>"
    head = f"<filename>\n{image}\n</filename><folder>{folder}</folder><source><sourceImage>x</sourceImage></source>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation>{head}{''.join(objects)}{size}</annotation>")


def test_labelme_of_mit_with_collections_masks_and_deleted_objects(tmp_path: Path) -> None:
    for i, folder in enumerate(("street", "park")):
        photo(tmp_path / "Images" / folder / "a.jpg")
        segment = f"<segm><box><xmin>1</xmin></box><mask>a_mask_{i}.png</mask><scribbles/></segm>"
        objects = [
            mit_object("road", mit_polygon(0, 20 + i, 60, 40)),
            mit_object("car\n", mit_polygon(10, 5, 20, 15)),
            mit_object("ghost", mit_polygon(0, 0, 60, 40), deleted=1),
            mit_object("tree", segment),
        ]
        mit_file(tmp_path / "Annotations" / folder / "a.xml", "a.jpg", objects, folder)
        own = np.zeros(SIZE, np.uint8)
        own[2:9, 40:50] = 255
        (tmp_path / "Masks" / folder).mkdir(parents=True)
        Image.fromarray(own).save(tmp_path / "Masks" / folder / f"a_mask_{i}.png")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "labelme-xml"
    assert dataset.classes.names == ("background", "car", "road", "tree")
    masks = named(dataset)
    for i, folder in enumerate(("street", "park")):
        wanted = boxed(("road", 0, 20 + i, 60, 40), ("car", 10, 5, 20, 15), ("tree", 40, 2, 50, 9))
        assert (masks[f"Images/{folder}/a"] == wanted).all()
    assert "deleted in LabelMe: 2 objects" in messages(dataset)


def test_labelme_of_mit_beside_its_images_with_lines_and_a_doctype(tmp_path: Path) -> None:
    line = "<polygon><pt><x>1</x><y>1</y></pt><pt><x>9</x><y>9</y></pt></polygon>"
    for name in "abc":
        photo(tmp_path / f"{name}.png")
        mit_file(
            tmp_path / f"{name}.xml",
            f"{name}.png",
            [mit_object("car", mit_polygon(1, 2, 5, 9)), mit_object("lane", line)],
        )
    (tmp_path / "c.xml").write_text("<!DOCTYPE annotation [<!ENTITY a 'b'>]>" + (tmp_path / "c.xml").read_text())
    dataset = open_dataset(tmp_path)
    masks = named(dataset)
    assert set(masks) == {"a", "b"}
    assert all((mask == boxed(("car", 1, 2, 5, 9))).all() for mask in masks.values())
    assert "2 shapes of the kind line in 2 f" in messages(dataset)
    assert any("DOCTYPE" in str(problem) and problem.where == "c.xml" for problem in dataset.problems)


# V7's Darwin


def xy(left: int, top: int, right: int, bottom: int) -> list[dict[str, int]]:
    return [{"x": x, "y": y} for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))]


def darwin_second(root: Path, name: str, annotations: list[dict[str, Any]], folder: str = "/") -> None:
    slot = {
        "type": "image",
        "slot_name": "0",
        "width": SIZE[1],
        "height": SIZE[0],
        "source_files": [{"file_name": name}],
    }
    item = {"name": name, "path": folder, "slots": [slot]}
    rows = [{"id": str(i), "properties": [], "slot_names": ["0"], **one} for i, one in enumerate(annotations)]
    table = {"version": "2.0", "schema_ref": "https://darwin", "item": item, "annotations": rows}
    write_json(root / f"{Path(name).stem}.json", table)


def test_darwin_of_version_2_with_holes_boxes_and_raster_layers(tmp_path: Path) -> None:
    layer = np.zeros(SIZE, int)
    layer[3:9, 40:50], layer[30:35, 50:60] = 1, 2
    flat = layer.ravel().tolist()
    runs: list[int] = []
    for value in flat:
        if runs and runs[-2] == value:
            runs[-1] += 1
        else:
            runs += [value, 1]
    mapping = {"m-1": 1, "m-2": 2}
    annotations = [
        {"name": "road", "polygon": {"paths": [xy(0, 20, 60, 40), xy(10, 25, 20, 30)]}, "bounding_box": {"x": 0}},
        {"name": "car", "bounding_box": {"x": 1, "y": 2, "w": 8, "h": 6}},
        {"id": "m-1", "name": "tree", "mask": {}},
        {"id": "m-2", "name": "bush", "mask": {}},
        {"name": "__raster_layer__", "raster_layer": {"dense_rle": runs, "mask_annotation_ids_mapping": mapping}},
        {"name": "day", "tag": {}},
        {"name": "lane", "line": {"path": xy(1, 1, 5, 5)}},
    ]
    for folder in ("", "more"):
        photo(tmp_path / "images" / folder / "a.jpg")
        darwin_second(tmp_path / "annotations" / folder, "a.jpg", annotations, f"/{folder}")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "darwin"
    assert dataset.classes.names == ("background", "bush", "car", "road", "tree")
    wanted = boxed(("road", 0, 20, 60, 40), ("background", 10, 25, 20, 30), ("car", 1, 2, 9, 8))
    wanted[3:9, 40:50], wanted[30:35, 50:60] = "tree", "bush"
    masks = named(dataset)
    assert len(masks) == 2
    assert all((mask == wanted).all() for mask in masks.values())
    assert "2 shapes of the kind line in 2 files are not drawn: lane (2)" in messages(dataset)


def test_darwin_of_version_1_and_what_it_cannot_draw(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        photo(tmp_path / f"{name}.png")
    image = {"width": SIZE[1], "height": SIZE[0], "filename": "a.png", "seq": 1, "path": "/"}
    holed = {"path": xy(10, 5, 30, 25), "additional_paths": [xy(12, 8, 20, 20)]}
    rows = [{"name": "car", "polygon": holed}, {"name": "bus", "complex_polygon": {"path": [xy(40, 5, 50, 15)]}}]
    write_json(tmp_path / "a.json", {"dataset": "d", "image": image, "annotations": rows})
    film = [{"name": "car", "frames": {"0": {}}, "ranges": []}]
    darwin_second(tmp_path, "b.png", film)
    darwin_second(tmp_path, "c.png", [{"name": "tree", "mask": {}}])
    dataset = open_dataset(tmp_path)
    samples = {sample.name: sample for samples in dataset.splits.values() for sample in samples}
    mask = read_sample_mask(samples["a"], dataset.mask_ids, len(dataset.classes))
    names = np.array(dataset.classes.names)[mask]
    assert (names == boxed(("car", 10, 5, 30, 25), ("background", 12, 8, 20, 20), ("bus", 40, 5, 50, 15))).all()
    assert "b.json: draws on a video" in messages(dataset)
    with pytest.raises(MaskError, match="no raster layer names it"):
        read_sample_mask(samples["c"], dataset.mask_ids, len(dataset.classes))


@pytest.mark.parametrize(
    "runs", [[1], [1, 2], [1, 2**63 - 1, 1, 2**63 - 1, 0, 2402], [1, -1, 0, 2401], "x", [True, 2400]]
)
def test_darwins_run_lengths_are_bounded_by_the_image(runs: Any) -> None:
    with pytest.raises(Refusal, match="run lengths"):
        layer_numbers(runs, *SIZE)


# Segments.ai


def segments_release(root: Path, *, bitmaps: bool = True) -> Path:
    categories = [{"id": 1, "name": "road", "color": [1, 2, 3]}, {"id": 5, "name": "car"}, {"id": 6, "name": "sky"}]
    numbers = np.zeros((*SIZE, 4), np.uint8)
    numbers[..., 3] = 255
    numbers[20:, :, :3] = [1, 0, 0]
    numbers[5:15, 10:20, :3] = [44, 1, 0]  # 300
    numbers[5:15, 30:40, :3] = [2, 0, 1]  # 65,538
    annotations = [{"id": 1, "category_id": 1}, {"id": 300, "category_id": 5}, {"id": 65538, "category_id": 5}]
    samples = []
    for name in ("a.jpg", "b.jpg", "new.jpg"):
        photo(root / name)
        url = f"https://segmentsai-prod.s3.amazonaws.com/assets/me/{name[0]}-bitmap.png?x=1"
        attributes = {"format_version": "0.1", "annotations": annotations, "segmentation_bitmap": {"url": url}}
        label = {"label_status": "LABELED", "attributes": attributes}
        image = {"image": {"url": f"https://x/{name}"}}
        labels = {"ground-truth": label if name[0] in "ab" else None}
        samples.append({"name": name, "attributes": image, "labels": labels})
    if bitmaps:
        Image.fromarray(numbers).save(root / "a_label_ground-truth.png")
        (root / "bitmaps").mkdir()
        Image.fromarray(numbers).save(root / "bitmaps/b-bitmap.png")
    attributes = {"format_version": "0.1", "categories": categories}
    dataset = {"name": "d", "task_type": "segmentation-bitmap", "task_attributes": attributes, "samples": samples}
    write_json(root / "release.json", {"name": "v1", "description": "", "dataset": dataset})
    return root


def test_segments_ai_bitmaps_of_numbers_become_categories(tmp_path: Path) -> None:
    dataset = open_dataset(segments_release(tmp_path))
    assert dataset.layout == "segments-ai"
    assert dataset.classes.names == ("background", "road", "car", "sky")
    wanted = boxed(("road", 0, 20, 60, 40), ("car", 10, 5, 20, 15), ("car", 30, 5, 40, 15))
    masks = named(dataset)
    assert set(masks) == {"a", "b"}
    assert all((mask == wanted).all() for mask in masks.values())
    assert "as they are not labelled in Segments.ai: 1 samples" in messages(dataset)


def test_segments_ai_with_addresses_alone_is_named(tmp_path: Path) -> None:
    dataset = open_dataset(segments_release(tmp_path, bitmaps=False))
    assert "a release of Segments.ai whose 2 bitmaps are URLs" in messages(dataset)
    assert "export_dataset" in messages(dataset)


def test_segments_ai_vectors_are_drawn(tmp_path: Path) -> None:
    root = segments_release(tmp_path, bitmaps=False)
    table = json.loads((root / "release.json").read_text())
    shapes = [
        {"id": 1, "category_id": 5, "type": "polygon", "points": [[10, 5], [20, 5], [20, 15], [10, 15]]},
        {"id": 2, "category_id": 1, "type": "bbox", "points": [[30, 5], [40, 15]]},
        {"id": 3, "category_id": 6, "type": "polyline", "points": [[0, 0], [5, 5]]},
    ]
    for sample in table["dataset"]["samples"][:2]:
        sample["labels"]["ground-truth"]["attributes"] = {"annotations": shapes}
    write_json(root / "release.json", table)
    dataset = open_dataset(root)
    wanted = boxed(("car", 10, 5, 20, 15), ("road", 30, 5, 40, 15))
    assert all((mask == wanted).all() for mask in named(dataset).values())
    assert "2 shapes of the kind polyline are not drawn: sky (2)" in messages(dataset)


# What is not read is named


def nrrd(root: Path) -> None:
    (root / "CT.nrrd").write_bytes(b"NRRD0004\n")
    (root / "Segmentation.seg.nrrd").write_bytes(b"NRRD0004\n")


def dicom(root: Path) -> None:
    for folder, kind in (("CT", b""), ("seg", b"1.2.840.10008.5.1.4.1.1.66.4")):
        (root / folder).mkdir()
        (root / folder / "IM000001").write_bytes(bytes(128) + b"DICM" + kind)


def zarr(root: Path) -> None:
    (root / "cells.zarr/0").mkdir(parents=True)
    (root / "cells.zarr/.zgroup").write_text("{}")
    (root / "plain/0").mkdir(parents=True)
    (root / "plain/zarr.json").write_text("{}")


def change(root: Path) -> None:
    for folder in ("A", "B", "label"):
        photo(root / "train" / folder / "1.png"), photo(root / "train" / folder / "2.png")


def of_bytes(name: str, data: bytes) -> Any:
    def make(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)

    return make


BOXES = b"filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,60,40,car,1,2,3,4\n"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (nrrd, "2 NRRD files, such as CT.nrrd, are not read. Save them as .nii.gz (3D Slicer"),
        (dicom, "2 DICOM files, such as CT/IM000001, are not read"),
        (dicom, "seg/IM000001 is a segmentation (DICOM-SEG)"),
        (zarr, "2 Zarr arrays (OME-Zarr), such as cells.zarr, are not read"),
        (change, "train/A/ and train/B/ hold two images for each mask of train/label/ (change detection)"),
        (of_bytes("a.mha", b"x"), "1 MetaImage file, a.mha, is not read"),
        (
            of_bytes("b.gpkg", b"SQLite format 3\0"),
            "1 map of shapes (GIS), b.gpkg, is not read. Cut the map",
        ),
        (of_bytes("b.mbtiles", b"SQLite format 3\0"), "1 map of tiles"),
        (of_bytes("b.h5", b"\x89HDF"), "1 HDF5 file"),
        (of_bytes("volume", b"\x89HDF\r\n\x1a\n"), "1 HDF5 file, volume, is not read"),
        (of_bytes("b.tfrecord", b"x"), "1 TFRecord file"),
        (of_bytes("train/_annotations.csv", BOXES), "holds boxes, not pixel masks"),
        (of_bytes("v.json", b'{"project":{"vid_list":[]},"config":{}}'), "v.json is a project of VIA 3"),
        (of_bytes("v.ndjson", b'{"data_row":{},"projects":{}}'), "v.ndjson is an export of Labelbox"),
        (of_bytes("v.xml", b"<ASAP_Annotations/>"), "v.xml holds outlines of ASAP, which are not read"),
        (of_bytes("v.xml", b"<annotation><object><bndbox></bndbox></object></annotation>"), "boxes of Pascal VOC"),
        (of_bytes("s.csv", b"tile,wkt\n1,POLYGON ((0 0, 1 1, 2 2))\n"), "s.csv holds polygons as text (WKT)"),
    ],
)
def test_what_is_not_read_is_named_with_a_remedy(tmp_path: Path, make: Any, said: str) -> None:
    photo(tmp_path / "photos/a.jpg")
    make(tmp_path)
    with pytest.raises(DatasetError, match="not recognised") as caught:
        open_dataset(tmp_path)
    assert said in str(caught.value)


def test_masks_that_are_not_read_are_named_in_their_folder(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    of_bytes("masks/a.nrrd", b"NRRD0004\n")(tmp_path)
    assert "1 NRRD file, a.nrrd, is not read. Save them as .nii.gz" in messages(open_dataset(tmp_path))


def test_panoptic_coco_without_its_pngs_is_named(tmp_path: Path) -> None:
    photo(tmp_path / "val2017/a.jpg")
    image = {"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}
    segments = [{"id": 5, "category_id": 1, "area": 5}]
    rows = [{"image_id": 1, "file_name": "a.png", "segments_info": segments}]
    table = {"images": [image], "annotations": rows, "categories": [{"id": 1, "name": "x"}]}
    write_json(tmp_path / "annotations/panoptic_val2017.json", table)
    with pytest.raises(MaskError, match=r"numbers its segments in a\.png, which is not in panoptic_val2017/"):
        named(open_dataset(tmp_path))


def test_geojson_in_metres_is_named_at_any_depth(tmp_path: Path) -> None:
    base = tmp_path / "SN6/train/train/AOI"
    ring = [[590000.5 + x, 5746000.5 + y] for x, y in ((0, 0), (9, 0), (9, 9), (0, 9), (0, 0))]
    for i in range(2):
        photo(base / "PS-RGB" / f"tile_{i}.png")
        shape = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        table = {"type": "FeatureCollection", "crs": {"type": "name"}, "features": [shape]}
        write_json(base / "geojson_buildings" / f"tile_{i}.geojson", table)
    told = "\n".join(str(problem) for problem in find_problems(open_dataset(tmp_path)).problems)
    assert "its coordinates are degrees or metres on the earth" in told
    assert "Add images and masks" not in told


def test_run_lengths_of_train_are_drawn_on_images_of_train(tmp_path: Path) -> None:
    masks = kaggle(tmp_path, "one class")
    for name in "abc":
        photo(tmp_path / "test_images" / f"{name}.png")
    drawn = named(open_dataset(tmp_path))
    assert all((drawn[name] == masks[name]).all() for name in masks)


def test_two_tables_that_differ_are_no_copies(tmp_path: Path) -> None:
    photo(tmp_path / "a.png"), photo(tmp_path / "b.png")
    (tmp_path / "one.csv").write_text("ImageId,EncodedPixels\na.png,1 40\nb.png,1 40\n")
    (tmp_path / "two.csv").write_text("ImageId,EncodedPixels\na.png,1 80\nb.png,1 40\n")
    dataset = open_dataset(tmp_path)
    assert "image-twice" in kinds(dataset)
    assert "two.csv repeats 1 annotations of one.csv" in messages(dataset)


def test_regions_without_the_class_attribute_are_counted(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg"), photo(tmp_path / "b.jpg")
    regions = [*VIA_REGIONS, via_region(via_rect(0, 30, 9, 39), {})]
    write_json(tmp_path / "via.json", {name: via_entry(name, regions) for name in ("a.jpg", "b.jpg")})
    dataset = open_dataset(tmp_path)
    assert '2 regions have no "plant": their class is "object"' in messages(dataset)
    assert dataset.classes.names == ("background", "kudzu", "object", "other")


def test_voc_xml_with_polygons_of_roboflow_is_drawn(tmp_path: Path) -> None:
    corners = "<x1>10</x1><y1>5</y1><x2>30</x2><y2>5</y2><x3>30</x3><y3>25</y3><x4>10</x4><y4>25</y4>"
    box = "<bndbox><xmin>10</xmin><ymin>5</ymin><xmax>30</xmax><ymax>25</ymax></bndbox>"
    for name in "ab":
        photo(tmp_path / "train" / f"{name}.jpg")
        thing = f"<object><name>car</name>{box}<polygon>{corners}</polygon></object>"
        (tmp_path / "train" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><size><width>60</width></size>{thing}</annotation>"
        )
    assert all((mask == boxed(("car", 10, 5, 30, 25))).all() for mask in named(open_dataset(tmp_path)).values())


def test_frames_of_one_film_stay_in_one_split(tmp_path: Path) -> None:
    for i in range(5):
        cvat_video(tmp_path / f"film{i}", [track("Jet", *(box_at(f, 3 + f) for f in range(4)))], frames=4)
    dataset = open_dataset(tmp_path)
    films = {split: {sample.name.split("/")[0] for sample in samples} for split, samples in dataset.splits.items()}
    assert len(films["train"]) == 4
    assert len(films["val"]) == 1
    assert not films["train"] & films["val"]


def test_images_with_nothing_drawn_are_counted(tmp_path: Path) -> None:
    photo(tmp_path / "img/a.jpg"), photo(tmp_path / "img/b.jpg")
    sly_file(tmp_path / "ann/a.jpg.json", sly_objects())
    sly_file(tmp_path / "ann/b.jpg.json", [])
    assert "1 images have no annotations: all of their pixels are background" in messages(open_dataset(tmp_path))
