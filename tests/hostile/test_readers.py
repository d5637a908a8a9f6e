"""Every reader of annotations meets a damaged copy of each of its values: a finding, never a traceback.

Each set is a small dataset in which one value is of another type, out of range, missing or cut short. All of them are
opened, and every mask is read. What nobody foresaw may end at the boundary with a finding too, but not here: each of
these is refused by the reader itself, in words about the file.
"""

from __future__ import annotations

import copy
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from mutate import places_in
from PIL import Image

from pixelwise.datasets.list_dataset import list_dataset
from pixelwise.datasets.read_sample import image_bytes, stored_mask_ids
from pixelwise.doctor.check import check
from pixelwise.errors import PixelwiseError
from pixelwise.images.files import Refusal
from pixelwise.records import Problem

SIZE = (12, 16)
UNFORESEEN = "holds what no reader expects"
VALUES = (
    None,
    True,
    -1,
    0,
    1.5,
    float("nan"),
    float("inf"),
    2**63,
    10**400,
    "",
    "x",
    "\ud800",
    "../../x.png",
    [],
    {},
    [[1]],
)
BOX = [2.0, 2.0, 9.0, 2.0, 9.0, 8.0, 2.0, 8.0]
PAIRS = [[x, y] for x, y in zip(BOX[::2], BOX[1::2], strict=True)]
Table = Any


def image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)).save(path)


def mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE) % 3).save(path)


def coco(root: Path) -> dict[str, Table]:
    for i in range(2):
        image(root / f"images/{i}.png", i)
    runs = {"size": list(SIZE), "counts": [10, 20, SIZE[0] * SIZE[1] - 30]}
    rows = [{"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]} for i in range(2)]
    shapes = [[BOX], runs, {"size": list(SIZE), "counts": "0P6"}, None]
    annotations = [
        {"id": k, "image_id": k % 2, "category_id": 1, "segmentation": shape, "bbox": [1, 1, 2, 2], "iscrowd": 0}
        for k, shape in enumerate(shapes)
    ]
    categories = [{"id": 1, "name": "cell", "color": [1, 2, 3]}]
    return {"instances_train.json": {"images": rows, "annotations": annotations, "categories": categories}}


def panoptic(root: Path) -> dict[str, Table]:
    image(root / "val/a.png")
    (root / "annotations/panoptic_val").mkdir(parents=True)
    Image.fromarray(np.full((*SIZE, 3), (7, 0, 0), np.uint8)).save(root / "annotations/panoptic_val/a.png")
    segments = [{"id": 7, "category_id": 1}]
    return {
        "annotations/panoptic_val.json": {
            "images": [{"id": 5, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
            "annotations": [{"image_id": 5, "file_name": "a.png", "segments_info": segments}],
            "categories": [{"id": 1, "name": "rug"}],
        }
    }


def labelme(root: Path) -> dict[str, Table]:
    image(root / "a.png")
    shapes = [
        {"label": "cat", "points": PAIRS, "shape_type": "polygon"},
        {"label": "dog", "points": PAIRS[:2], "shape_type": "circle"},
        {"label": "dog", "points": [PAIRS[0], PAIRS[2]], "shape_type": "rectangle"},
        {"label": "rope", "points": PAIRS[:2], "shape_type": "line"},
        {"label": "cat", "points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": "iVBORw0KGgo="},
    ]
    return {"a.json": {"shapes": shapes, "imagePath": "a.png", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}}


def labelstudio(root: Path) -> dict[str, Table]:
    image(root / "a.png")
    shape = {"original_width": SIZE[1], "original_height": SIZE[0], "from_name": "label", "to_name": "image"}
    box = {"x": 10, "y": 10, "width": 40, "height": 40, "rotation": 30, "rectanglelabels": ["cat"]}
    ellipse = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 0, "ellipselabels": ["dog"]}
    results = [
        {**shape, "type": "polygonlabels", "value": {"points": PAIRS, "polygonlabels": ["cat"]}},
        {**shape, "type": "rectanglelabels", "value": box},
        {**shape, "type": "ellipselabels", "value": ellipse},
        {**shape, "type": "brushlabels", "value": {"format": "rle", "rle": [0, 0, 3, 0], "brushlabels": ["cat"]}},
        {**shape, "type": "choices", "value": {"choices": ["day"]}},
    ]
    return {"export.json": [{"data": {"image": "/data/upload/1/a.png"}, "annotations": [{"result": results}]}]}


def geojson(root: Path) -> dict[str, Table]:
    image(root / "a.png")
    ring = [*PAIRS, PAIRS[0]]
    geometries = [
        {"type": "Polygon", "coordinates": [ring]},
        {"type": "MultiPolygon", "coordinates": [[ring], [ring]]},
        {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]}]},
        {"type": "LineString", "coordinates": ring},
    ]
    properties = {"classification": {"name": "cell", "color": [1, 2, 3]}}
    features = [{"type": "Feature", "geometry": geometry, "properties": properties} for geometry in geometries]
    return {"a.geojson": {"type": "FeatureCollection", "image": "a.png", "features": features}}


def cityscapes(root: Path) -> dict[str, Table]:
    image(root / "leftImg8bit/train/x/a_leftImg8bit.png")
    objects = [{"label": "car", "polygon": PAIRS}, {"label": "cargroup", "polygon": PAIRS, "deleted": 0}]
    (root / "gtFine/train/x").mkdir(parents=True)
    table = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": objects}
    return {"gtFine/train/x/a_gtFine_polygons.json": table}


def hugging_face(root: Path) -> dict[str, Table]:
    image(root / "train/a.png")
    mask(root / "train/a_mask.png")
    return {"train/metadata.jsonl": {"file_name": "a.png", "mask_file_name": "a_mask.png"}}


FORMATS = (coco, panoptic, labelme, labelstudio, geojson, cityscapes, hugging_face)


def read_everything(root: Path) -> list[Problem]:
    """Open a dataset and read every image and mask; what was found wrong."""
    try:
        listing = list_dataset(root).listing
    except PixelwiseError as error:
        return [Problem("error", "dataset", ".", str(error), "")]
    problems = list(listing.problems)
    for sample in [sample for part in listing.splits.values() for sample in part]:
        try:
            image_bytes(sample)
            ids = stored_mask_ids(sample)
            assert ids.shape == SIZE
        except Refusal as refusal:
            problems.append(Problem("error", refusal.kind, sample.name, refusal.what, refusal.remedy))
    return problems


def damaged(table: Table, value: Any, which: int) -> Table:
    """A copy in which the value at one place is another; `...` removes it."""
    table = copy.deepcopy(table)
    holder, key = list(places_in([table]))[which]
    if value is ...:
        del holder[key]
    else:
        holder[key] = value
    return table


@pytest.mark.parametrize("make", FORMATS)
def test_no_value_of_a_table_brings_a_reader_down(make: Callable[[Path], dict[str, Table]], tmp_path: Path) -> None:
    (name, table), *_ = make(tmp_path).items()
    path, rng, sets = tmp_path / name, Random(0), 0
    path.write_text(json.dumps(table))
    assert not [problem for problem in read_everything(tmp_path) if UNFORESEEN in problem.message]
    for which in range(len(list(places_in([table])))):
        for value in (..., *rng.sample(VALUES, 4)):
            path.write_text(json.dumps(damaged(table, value, which)))
            told = [problem.message for problem in read_everything(tmp_path) if UNFORESEEN in problem.message]
            assert not told, (which, value)
            sets += 1
    assert sets >= 15


CVAT = (
    '<?xml version="1.0" encoding="utf-8"?><annotations><meta><task><labels><label><name>car</name></label>'
    '</labels></task></meta><image id="0" name="a.png" subset="train" width="16" height="12">'
    '<box label="car" xtl="1" ytl="1" xbr="5" ybr="4" rotation="30.0" z_order="0"/>'
    '<ellipse label="car" cx="5" cy="5" rx="3" ry="2" z_order="1"/>'
    '<polygon label="car" points="1,1;5,1;5,5" z_order="2"/>'
    '<mask label="car" rle="0, 4, 5" left="2" top="2" width="3" height="3" z_order="3"/>'
    '<polyline label="car" points="1,1;5,1" z_order="4"/><tag label="day"/></image></annotations>'
)
WORDS = ("", "-1", "nan", "1e400", "9" * 30, "0x1", "1_0", "x", "1,2,3", "100000", "../../a.png", "ü\u202e")


def texts(text: str, part: str) -> Iterator[str]:
    """The text with each match of a pattern exchanged for every word, and cut off before it."""
    for found in re.finditer(part, text):
        yield text[: found.start()]
        for word in WORDS:
            yield text[: found.start()] + word + text[found.end() :]


def test_no_attribute_of_an_xml_file_brings_a_reader_down(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    path = tmp_path / "annotations.xml"
    for text in (CVAT, *texts(CVAT, r'(?<==")[^"]*(?=")')):
        path.write_text(text, "utf-8")
        assert not [problem for problem in read_everything(tmp_path) if UNFORESEEN in problem.message], text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_a_doctype_is_refused_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    image(tmp_path / "images/a.png")
    bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;'>]>"
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    text = CVAT.replace('<?xml version="1.0" encoding="utf-8"?>', head + bomb).replace('"day"', '"&b;"')
    bom = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    (tmp_path / "annotations.xml").write_bytes(bom + text.encode(encoding))
    told = " ".join(problem.message for problem in read_everything(tmp_path))
    assert "DOCTYPE" in told or "not valid XML" in told


def test_no_line_of_a_text_file_brings_a_reader_down(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text("names: [car]\n")
    lines = "0 0.1 0.1 0.5 0.1 0.5 0.5\n0 0.5 0.5 0.2 0.2\n"
    for text in (lines, *texts(lines, r"[\d.]+"), "0 " * 100_000, "0 0 0 0 0 0 " + "9" * 100_000):
        (tmp_path / "labels/a.txt").write_text(text, "utf-8")
        assert not [problem for problem in read_everything(tmp_path) if UNFORESEEN in problem.message], text[:200]


@pytest.mark.parametrize("name", ["/etc/passwd", "../../x", "..\\x", "C:\\x", "x" * 300, "a\0b", "\udce9", "a/../../b"])
def test_lists_name_files_below_the_root_only(tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    for below in ("JPEGImages/a.png", "b/a.png"):
        image(root / below)
    image(tmp_path / "x.png")
    mask(root / "SegmentationClass/a.png")
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text(f"a\n{name}\n", "utf-8", "surrogateescape")
    problems = read_everything(root)
    assert "image-missing" in {problem.kind for problem in problems}
    assert not [problem for problem in problems if UNFORESEEN in problem.message]


@pytest.mark.parametrize("name", ["../../secret.png", "/secret.png", "link/secret.png"])
def test_pngs_of_panoptic_files_lie_below_the_root(tmp_path: Path, name: str) -> None:
    root, outside = tmp_path / "data", tmp_path / "elsewhere"
    (path, table), *_ = panoptic(root).items()
    Image.fromarray(np.full((*SIZE, 3), (7, 0, 0), np.uint8)).save(tmp_path / "secret.png")
    outside.mkdir()
    Image.fromarray(np.full((*SIZE, 3), (7, 0, 0), np.uint8)).save(outside / "secret.png")
    try:
        (root / "annotations/panoptic_val/link").symlink_to(outside, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    table["annotations"][0]["file_name"] = name
    (root / path).write_text(json.dumps(table))
    problems = read_everything(root)
    assert any("leads out of the folder" in problem.message for problem in problems)


RUNS = {
    "sum wraps": [2**63 - 1, 2**63 - 1, 3074],
    "one huge run": [10**10],
    "negative": [-5, SIZE[0] * SIZE[1] + 5],
    "true": [True, SIZE[0] * SIZE[1] - 1],
    "floats": [1.0, SIZE[0] * SIZE[1] - 1.0],
    "text": ["1", "2"],
    "not a list": {"0": 1},
    "compressed, far": "PPPPPPPPPPPP0",
    "compressed, cut": "oooo",
}


@pytest.mark.parametrize("counts", RUNS.values(), ids=RUNS)
def test_run_lengths_are_bounded_before_anything_is_allocated(tmp_path: Path, counts: Any) -> None:
    (name, table), *_ = coco(tmp_path).items()
    table["annotations"][1]["segmentation"]["counts"] = counts
    for declared in (list(SIZE), [100_000, 100_000], [True, -1], None):
        table["annotations"][1]["segmentation"]["size"] = declared
        (tmp_path / name).write_text(json.dumps(table))
        tracemalloc.start()
        problems = read_everything(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        told = [problem for problem in problems if "annotation 1" in problem.message and problem.severity == "error"]
        assert told, declared
        assert peak < 20e6
        if declared == [100_000, 100_000]:
            assert "100000×100000" in told[0].message
            assert f"{SIZE[1]}×{SIZE[0]}" in told[0].message


def test_a_line_of_millions_of_corners_costs_what_the_file_does(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 " + "0.25 " * 1_400_000 + "\n")  # 7 MB
    tracemalloc.start()
    read_everything(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6


@pytest.mark.parametrize("make", [coco, panoptic, labelme, labelstudio, geojson])
def test_one_damaged_file_does_not_stop_the_others(make: Callable[[Path], dict[str, Table]], tmp_path: Path) -> None:
    """K11: it is named, and the rest is read."""
    (name, table), *_ = make(tmp_path).items()
    path = tmp_path / name
    path.write_text(json.dumps(table))
    whole = sum(map(len, list_dataset(tmp_path).listing.splits.values()))
    other = path.with_name("instances_" + path.name)
    for text in (
        json.dumps(table)[:-20],
        "[" * 100_000,
        '{"shapes": 1, "info": []}',
    ):
        other.write_text(text)
        listing = list_dataset(tmp_path).listing
        assert sum(map(len, listing.splits.values())) == whole


def test_a_file_that_vanishes_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (name, table), *_ = labelme(tmp_path).items()
    (tmp_path / name).write_text(json.dumps(table))
    listing = list_dataset(tmp_path).listing
    (tmp_path / name).unlink()
    for sample in [sample for part in listing.splits.values() for sample in part]:
        with pytest.raises(Refusal, match=r"no such file|cannot be read"):
            stored_mask_ids(sample)
    (tmp_path / name).write_text("{}")
    monkeypatch.setattr("pixelwise.datasets.formats.labelme.read_json", lambda path: path.missing_attribute)
    with pytest.raises(Refusal, match=r"AttributeError at test_readers.py.*missing_attribute"):
        stored_mask_ids(sample)


def test_check_ends_with_findings(tmp_path: Path) -> None:
    for i, (make, value) in enumerate([(coco, float("nan")), (labelme, 10**400), (geojson, "x"), (labelstudio, [])]):
        root = tmp_path / str(i)
        (name, table), *_ = make(root).items()
        (root / name).write_text(json.dumps(damaged(table, value, 5)))
        report = check(root)
        assert report.findings.problems
        json.dumps(report.to_json())
