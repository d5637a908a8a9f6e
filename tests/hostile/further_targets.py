"""The formats of annotation tools as a target of the campaign: a small folder of each form, made by their own tests."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import Random

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))

import test_further_formats as made


def supervisely(root: Path) -> None:
    for mode in ("P", "L"):
        made.photo(root / "ds/img" / f"{mode}.jpg")
        made.sly_file(root / "ds/ann" / f"{mode}.jpg.json", made.sly_objects(mode))
    made.write_json(root / "meta.json", {"classes": [{"title": "road", "shape": "polygon"}], "tags": []})


def film(root: Path) -> None:
    mask = '<mask frame="1" outside="0" rle="3, 4, 5" left="2" top="1" width="4" height="3"/>'
    tracks = [made.track("Jet", made.box_at(0, 3), made.box_at(3, 9)), made.track("Boat", made.polygon_at(0, 5), mask)]
    made.cvat_video(root, tracks, frames=4)


def mit(root: Path) -> None:
    for name in "ab":
        made.photo(root / f"{name}.png")
        outline = made.mit_polygon(1, 2, 30, 20)
        segment = "<segm><mask>m.png</mask></segm>"
        made.mit_file(
            root / f"{name}.xml", f"{name}.png", [made.mit_object("x", outline), made.mit_object("y", segment)]
        )
    made.Image.fromarray(np.ones(made.SIZE, np.uint8)).save(root / "m.png")


def darwin(root: Path) -> None:
    rows = [
        {"name": "road", "polygon": {"paths": [made.xy(0, 20, 60, 40), made.xy(10, 25, 20, 30)]}},
        {"name": "egg", "ellipse": {"angle": 0.3, "center": {"x": 9, "y": 9}, "radius": {"x": 5, "y": 3}}},
        {"id": "m", "name": "tree", "mask": {}},
        {"name": "l", "raster_layer": {"dense_rle": [0, 1200, 1, 1200], "mask_annotation_ids_mapping": {"m": 1}}},
    ]
    for name in ("a.png", "b.png"):
        made.photo(root / name)
        made.darwin_second(root, name, rows)


def matlab(which: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for i, name in enumerate("ab"):
            made.photo(root / f"{name}.jpg")
            made.save_mat(root / f"{name}.mat", made.MATS[which], do_compression=bool(i))

    return make


FORMS: tuple[Callable[[Path], object], ...] = (
    made.via_export,
    made.via_first,
    made.via_project,
    made.via_table,
    supervisely,
    lambda root: made.kaggle(root, "one class"),
    lambda root: made.kaggle(root, "cells", "rows"),
    film,
    made.superannotate_pixels,
    mit,
    darwin,
    made.segments_release,
    *((matlab(which) for which in made.MATS) if find_spec("scipy") else ()),
)


def further(folder: Path) -> Callable[[Random, Path], None]:
    """Folders of annotation tools with one file damaged, through `check` and `check --fix`."""
    from targets import damage_one_file

    from pixelwise.doctor.check import check

    valid = []
    for i, form in enumerate(FORMS):
        (folder / str(i)).mkdir()
        form(folder / str(i))
        valid.append(folder / str(i))

    def attack(rng: Random, own: Path) -> None:
        data = own / "data"
        shutil.copytree(rng.choice(valid), data)
        damage_one_file(data, rng)
        report = check(data, fix=own / "fixed" if rng.random() < 0.2 else None)
        json.dumps(report.to_json())
        str(report)

    return attack
