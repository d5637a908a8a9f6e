"""One function per format: pairs of image and labels → a folder and its dataset.toml.

Pairs arrive split by split, so at most one split's table is in memory. Image bytes are kept if the format stores
image files.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.datasets.dataset_toml import SPLITS, dataset_toml, splits_toml
from pixelwise.datasets.formats.ade20k import object_text
from pixelwise.datasets.formats.annotation_files import named_toml
from pixelwise.datasets.formats.coco_writer import coco_piece, join_pieces, panoptic_piece, panoptic_png
from pixelwise.datasets.formats.cvat import cvat_text, image_text, labels_written
from pixelwise.datasets.formats.geojson import geojson_text
from pixelwise.datasets.formats.image_folder import metadata_text
from pixelwise.datasets.formats.labelme import labelme_text
from pixelwise.datasets.formats.labelstudio import results_of
from pixelwise.datasets.formats.nifti import ENDS, volume_bytes
from pixelwise.datasets.formats.nnunet_json import dataset_json
from pixelwise.datasets.formats.parquet import write_table
from pixelwise.datasets.formats.voc import label_map_text
from pixelwise.datasets.formats.yolo import yolo_lines
from pixelwise.errors import DatasetError
from pixelwise.images.files import write_whole
from pixelwise.images.image_files import decode_image, encode_label_png, encode_png
from pixelwise.records import MAX_CLASSES, VOID, ClassList, Labels


@dataclass(frozen=True)
class Pair:
    """One pair to be written."""

    split: str
    stem: str
    image: bytes  # the file
    suffix: str
    labels: Labels

    @property
    def file_name(self) -> str:
        return self.stem + self.suffix


Writer = Callable[[Path, Iterator[Pair], ClassList], str]  # returns the text of its dataset.toml


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)


def by_split(pairs: Iterator[Pair]) -> Iterator[tuple[str, Iterator[Pair]]]:
    return groupby(pairs, key=lambda pair: pair.split)


def to_native(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    for pair in pairs:
        put(out / pair.split / "images" / pair.file_name, pair.image)
        put(out / pair.split / "masks" / f"{pair.stem}.png", encode_label_png(pair.labels, classes))
    return dataset_toml(classes)


def to_pairs(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    for pair in pairs:
        put(out / "images" / pair.file_name, pair.image)
        put(out / "masks" / f"{pair.stem}.png", encode_label_png(pair.labels, classes))
        names[pair.split].append(pair.stem)
    return dataset_toml(classes) + splits_toml(names)


def to_camvid(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    lists: dict[str, str] = {}
    if len(classes) >= MAX_CLASSES:
        raise DatasetError(f"camvid: {len(classes)} classes leave no id for void. Merge classes.")
    void = len(classes)
    for pair in pairs:
        put(out / pair.split / pair.file_name, pair.image)
        ids = np.where(pair.labels == VOID, void, pair.labels).astype(np.uint8)
        put(out / f"{pair.split}annot" / f"{pair.stem}.png", encode_png(ids))
        line = f"/{pair.split}/{pair.file_name} /{pair.split}annot/{pair.stem}.png\n"
        lists[pair.split] = lists.get(pair.split, "") + line
    for split, text in lists.items():
        put(out / f"{split}.txt", text.encode())
    return dataset_toml(classes, void=[void])


def to_voc(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    names: dict[str, str] = {}
    for pair in pairs:
        put(out / "JPEGImages" / pair.file_name, pair.image)
        put(out / "SegmentationClass" / f"{pair.stem}.png", encode_label_png(pair.labels, classes))
        names[pair.split] = names.get(pair.split, "") + f"{pair.stem}\n"
    for split, text in names.items():
        put(out / "ImageSets/Segmentation" / f"{split}.txt", text.encode())
    put(out / "labelmap.txt", label_map_text(classes.names, classes.colours))
    return dataset_toml(classes)


def to_cityscapes(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    for pair in pairs:
        if pair.suffix != ".png":
            raise DatasetError(f"{pair.file_name}: Cityscapes' images are PNGs. Convert the images first.")
        stem = pair.stem.removesuffix("_leftImg8bit")
        put(out / "leftImg8bit" / pair.split / "all" / f"{stem}_leftImg8bit.png", pair.image)
        put(out / "gtFine" / pair.split / "all" / f"{stem}_gtFine_labelIds.png", encode_png(pair.labels))
    return dataset_toml(classes)


def to_ade20k(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    folders = {"train": "training", "val": "validation", "test": "testing"}
    if len(classes) >= MAX_CLASSES:
        raise DatasetError(f"ade20k: {len(classes)} classes; at most {MAX_CLASSES - 1} fit next to its void, 0.")
    for pair in pairs:
        put(out / "images" / folders[pair.split] / pair.file_name, pair.image)
        put(out / "annotations" / folders[pair.split] / f"{pair.stem}.png", encode_png(_from_one(pair.labels)))
    put(out / "objectInfo150.txt", object_text(classes.names))
    return _from_one_toml(classes)


def to_coco(out: Path, pairs: Iterator[Pair], classes: ClassList, *, panoptic: bool = False) -> str:
    """Write objects as run lengths, or panoptic PNGs.

    Labels hold classes, not objects: every class of an image is one object or segment, as in COCO stuff.
    """
    kind = "panoptic" if panoptic else "instances"
    for split, own in by_split(pairs):
        pieces = []
        for pair in own:
            put(out / split / pair.file_name, pair.image)
            if panoptic:
                put(out / "annotations" / f"panoptic_{split}" / f"{pair.stem}.png", panoptic_png(pair.labels))
                pieces.append(panoptic_piece(pair.file_name, f"{pair.stem}.png", pair.labels))
            else:
                pieces.append(b"".join(coco_piece(pair.file_name, pair.labels.shape, [pair.labels])))
        joined = io.BytesIO()
        join_pieces(joined, classes, partial(_opened, pieces))
        put(out / "annotations" / f"{kind}_{split}.json", joined.getvalue())
    return _from_one_toml(classes)


def _opened(pieces: list[bytes]) -> Iterator[io.BufferedReader]:
    for piece in pieces:
        yield io.BufferedReader(io.BytesIO(piece))


def to_yolo(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    splits = set()
    for pair in pairs:
        put(out / "images" / pair.split / pair.file_name, pair.image)
        put(out / "labels" / pair.split / f"{pair.stem}.txt", yolo_lines(pair.labels, VOID).encode())
        splits.add(pair.split)
    rows = [f"{split}: images/{split}" for split in SPLITS if split in splits]
    names = [f"  {i}: {name}" for i, name in enumerate(classes.names)]
    put(out / "data.yaml", "\n".join([*rows, "names:", *names, ""]).encode())
    return _from_one_toml(classes)


def to_drawings(out: Path, pairs: Iterator[Pair], classes: ClassList, *, geojson: bool = False) -> str:
    """Write LabelMe's JSON, or GeoJSON, next to each image."""
    drawn: set[int] = set()
    for pair in pairs:
        drawn |= set(np.unique(pair.labels).tolist())
        put(out / pair.split / pair.file_name, pair.image)
        path = out / pair.split / (pair.stem + (".geojson" if geojson else ".json"))
        if geojson:
            put(path, geojson_text(pair.labels, classes, pair.file_name))
        else:
            put(path, labelme_text(pair.labels, classes.names, pair.file_name))
    return named_toml(classes, drawn)


def to_cvat(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    images = []
    for number, pair in enumerate(pairs):
        put(out / "images" / pair.split / pair.file_name, pair.image)
        images.append(image_text(number, f"{pair.split}/{pair.file_name}", pair.labels, classes, split=pair.split))
    put(out / "annotations.xml", cvat_text(images, classes))
    return named_toml(classes, (), labels_written(classes))


def to_labelstudio(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    seen: set[int] = set()
    tasks: list[dict[str, Any]] = []
    for pair in pairs:
        seen |= set(np.unique(pair.labels).tolist())
        put(out / "images" / pair.split / pair.file_name, pair.image)
        image = f"images/{pair.split}/{pair.file_name}"
        results = results_of(pair.labels, classes)
        tasks.append({"data": {"image": image, "split": pair.split}, "annotations": [{"result": results}]})
    put(out / "tasks.json", json.dumps(tasks).encode())
    return named_toml(classes, seen)


def to_parquet(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    for split, own in by_split(pairs):
        path = out / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = ((pair.image, encode_label_png(pair.labels, classes), pair.file_name) for pair in own)
        write_table(path, rows, classes.names, classes.colours)
    return dataset_toml(classes)


def to_image_folder(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    rows: dict[str, list[tuple[str, str]]] = {}
    for pair in pairs:
        put(out / pair.split / "image" / pair.file_name, pair.image)
        put(out / pair.split / "mask" / f"{pair.stem}.png", encode_label_png(pair.labels, classes))
        rows.setdefault(pair.split, []).append((f"image/{pair.file_name}", f"mask/{pair.stem}.png"))
    for split, own in rows.items():
        put(out / split / "metadata.jsonl", metadata_text(own))
    return dataset_toml(classes)


def to_nifti(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    """Write each image as three one-slice volumes, red, green and blue, as nnU-Net stores channels."""
    table = dataset_json(classes)
    ids = {name: table["labels"][name] for name in classes.names}
    by_class = np.array([ids[name] for name in classes.names], np.uint16)
    trained = 0
    for pair in pairs:
        end = ENDS[pair.split]
        pixels_HW3 = decode_image(pair.image, pair.file_name)
        for channel in range(3):
            path = out / f"images{end}" / f"{pair.stem}_{channel:04}.nii.gz"
            put(path, volume_bytes(pixels_HW3[:, :, channel]))
        stored = np.append(by_class, np.zeros(256 - len(by_class), np.uint16))
        stored[VOID] = table["labels"]["ignore"]
        put(out / f"labels{end}" / f"{pair.stem}.nii.gz", volume_bytes(stored[pair.labels]))
        trained += pair.split == "train"
    put(out / "dataset.json", json.dumps({**table, "numTraining": trained}, indent=2).encode())
    return dataset_toml(classes, list(ids.values()), [i for name, i in table["labels"].items() if name not in ids])


WRITERS: dict[str, Writer] = {
    "native": to_native,
    "pairs": to_pairs,
    "camvid": to_camvid,
    "cityscapes": to_cityscapes,
    "voc": to_voc,
    "ade20k": to_ade20k,
    "coco": to_coco,
    "coco-panoptic": partial(to_coco, panoptic=True),
    "yolo": to_yolo,
    "labelme": to_drawings,
    "geojson": partial(to_drawings, geojson=True),
    "cvat": to_cvat,
    "labelstudio": to_labelstudio,
    "parquet": to_parquet,
    "image-folder": to_image_folder,
    "nifti": to_nifti,
}


def _from_one(labels: Labels) -> Labels:
    """Ids from 1, void 0, uint8 [H, W]. At most 254 classes."""
    return np.asarray(np.where(labels == VOID, 0, labels.astype(np.int16) + 1), np.uint8)


def _from_one_toml(classes: ClassList) -> str:
    return dataset_toml(classes, range(1, len(classes) + 1), void=[0])
