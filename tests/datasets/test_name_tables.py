"""Tables beside the masks: what values and colours are called, and when a table is not followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.datasets.name_tables import names_beside, table_beside, tables_beside
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.doctor.check import check


def dataset(root: Path, ids: tuple[int, ...], masks: str = "masks", images: str = "images", stem: str = "{}") -> Path:
    rng = np.random.default_rng(0)
    bands = np.repeat(np.array(ids, np.uint8), 24 // len(ids) + 1)[:24]
    for i in range(4):
        photo, mask = rng.integers(0, 256, (24, 32, 3), np.uint8), np.repeat(bands[:, None], 32, axis=1)
        for folder, picture in ((images, photo), (masks, mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / folder / f"{stem.format(i)}.png")
    return root


BY_VALUE = {
    "_classes.csv": "Pixel Value, Class\n0, background\n1, road\n2, grass",
    "classes.csv": "class_name;index\nbackground;0\nroad;1\ngrass;2\n",
    "class_dict.csv": "name,id,r,g,b\nbackground,0,0,0,0\nroad,1,9,9,9\ngrass,2,0,255,0\n",
    "labels.csv": "0,background\n1,road\n2,grass\n",
    "legend.csv": "Label;Name;Colour\n0;background;#000000\n1;road;#ff0000\n2;grass;#00ff00\n",
    "label_map.txt": "0: background\n1: road\n2: grass\n",
    "labels.txt": "background\nroad\ngrass\n",
    "classes.txt": "__ignore__\nbackground\nroad\ngrass\n",
    "class_names.txt": "0 background\n1 road\n2 grass\n",
    "names.txt": "background 0\nroad 1\ngrass 2\n",
    "classes.json": '{"0": "background", "1": "road", "2": "grass"}',
    "label_map.json": '{"background": 0, "road": 1, "grass": 2}',
    "labels.json": '[{"name": "background", "id": 0}, {"name": "road", "id": 1}, {"name": "grass", "id": 2}]',
    "id2label.json": '{"id2label": {"0": "background", "1": "road", "2": "grass"}}',
    "dataset.json": '{"name": "x", "labels": {"background": 0, "road": 1, "grass": 2}}',
    "data.yaml": "path: .\nnames:\n  0: background\n  1: road\n  2: grass\n",
    "classes.yaml": "names: [background, road, 'grass']\n",
}


@pytest.mark.parametrize("where", ["", "masks/", "info/"])
@pytest.mark.parametrize("name", BY_VALUE)
def test_a_table_names_values(name: str, where: str, tmp_path: Path) -> None:
    dataset(tmp_path, (0, 1, 2))
    (tmp_path / where).mkdir(exist_ok=True)
    (tmp_path / where / name).write_text(BY_VALUE[name])
    opened = open_dataset(tmp_path)
    assert opened.classes.names == ("background", "road", "grass")
    assert f"Names from {where}{name}: 0 background, 1 road, 2 grass" in " ".join(opened.notes)


def test_two_values_and_values_with_gaps(tmp_path: Path) -> None:
    dataset(tmp_path / "two", (0, 1))
    (tmp_path / "two/labels.csv").write_text("value,name\n0,sound\n1,crack\n2,spalling\n")
    assert open_dataset(tmp_path / "two").classes.names == ("sound", "crack")
    dataset(tmp_path / "gaps", (0, 85, 170))
    (tmp_path / "gaps/classes.csv").write_text("pixel value,class\n0,soil\n85,weed\n170,crop\n")
    assert open_dataset(tmp_path / "gaps").classes.names == ("soil", "weed", "crop")


def test_a_list_without_background_begins_with_one(tmp_path: Path) -> None:
    dataset(tmp_path, (0, 1, 2))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert open_dataset(tmp_path).classes.names == ("background", "cat", "dog")


@pytest.mark.parametrize(
    ("name", "text", "ids", "said"),
    [
        ("classes.csv", "value,name\n0,a\n1,b\n", (0, 1, 2), "the masks hold 2 as well"),
        ("labels.txt", "a\nb\nc\n", (0, 128, 255), "does not map"),
        ("labels.txt", "a\nb\nc\nd\ne\n", (0, 1, 2), "does not map"),
    ],
)
def test_a_table_that_does_not_fit_is_named_and_not_followed(
    name: str, text: str, ids: tuple[int, ...], said: str, tmp_path: Path
) -> None:
    dataset(tmp_path, ids)
    (tmp_path / name).write_text(text)
    found, told = names_beside(tmp_path, ids)
    assert found == {}
    assert name in told
    assert said in told


def test_two_tables_that_differ_name_nothing(tmp_path: Path) -> None:
    dataset(tmp_path, (0, 1, 2))
    (tmp_path / "classes.csv").write_text("value,name\n0,a\n1,b\n2,c\n")
    (tmp_path / "labels.json").write_text('{"x": 0, "y": 1, "z": 2}')
    opened = open_dataset(tmp_path)
    assert opened.classes.names == ("class 0", "class 1", "class 2")
    assert "different names" in " ".join(opened.notes)


def test_what_a_table_calls_void_is_void(tmp_path: Path) -> None:
    dataset(tmp_path, (0, 1, 2))
    (tmp_path / "classes.csv").write_text("value,name\n0,unlabelled\n1,b\n2,c\n")
    opened = open_dataset(tmp_path)
    assert (opened.classes.names, opened.mask_ids[0]) == (("b", "c"), 255)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.csv", "\x00\x01"), ("classes.json", "[" * 100_000), ("labels.txt", ""), ("labels.txt", "1\n2\n3\n"),
        ("classes.json", '{"0": null, "1": []}'), ("labels.csv", '"'), ("colors.txt", "999 1 1 a\n1 2 b\n"),
        ("label_map.json", '{"a": 1e400, "b": true}'), ("data.yaml", "names:\n"), ("x.names", "a\na\n"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_none(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert tables_beside(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("colormap.csv", "class,rgb\nroad,\"128, 64, 128\"\ncar,\"0, 0, 142\"\n"),
        ("classes.json", '{"classes": [{"title": "road", "color": "#804080"}, {"title": "car", "color": "#00008E"}]}'),
        ("palette.json", '{"road": [128, 64, 128], "car": [0, 0, 142]}'),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nroad:128,64,128::\ncar:0,0,142::\n"),
    ],
)  # fmt: skip
def test_a_table_names_colours(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert table_beside(tmp_path) == (name, {0x804080: "road", 0x00008E: "car"})


def voc(root: Path, stem: str) -> Path:
    return dataset(root, (0, 1, 2), "SegmentationClass", "JPEGImages", stem)


def test_vocs_names_are_only_for_vocs_images(tmp_path: Path) -> None:
    assert open_dataset(voc(tmp_path / "voc", "2007_00003{}")).classes.names[:3] == (
        "background",
        "aeroplane",
        "bicycle",
    )
    own = voc(tmp_path / "own", "weld{}")
    assert open_dataset(own).classes.names == ("class 0", "class 1", "class 2")
    (own / "class_names.txt").write_text("_background_\npore\ncrack\n")
    assert open_dataset(own).classes.names == ("_background_", "pore", "crack")


def test_colours_of_vocs_map_are_numbers_without_a_table(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [0, 128, 128], [128, 64, 0]], np.uint8)
    dataset(tmp_path, (0, 1, 2, 3))
    for path in sorted((tmp_path / "masks").iterdir()):
        Image.fromarray(colours[np.asarray(Image.open(path)) + 1 * (np.asarray(Image.open(path)) > 2)]).save(path)
    assert set(check(tmp_path).classes.names) == {"class 0", "class 1", "class 2", "class 17"}
