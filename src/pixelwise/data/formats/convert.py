"""From any format that is read to any that is written: the verb `convert`.

Every pixel's class goes over, and dataset.toml goes with it, so that names, ids, colours and void are read back as they
were. Images keep their bytes where the format takes files. What would be lost is refused, never dropped in silence.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data.files import Refusal, image_format, shown, write_whole
from pixelwise.data.folder import layout_of, open_dataset
from pixelwise.data.formats.ade20k import object_text
from pixelwise.data.formats.coco import coco_table, table_text
from pixelwise.data.formats.cvat import cvat_text
from pixelwise.data.formats.geojson import geojson_text
from pixelwise.data.formats.image_folder import metadata_text
from pixelwise.data.formats.labelme import labelme_text
from pixelwise.data.formats.labelstudio import task_of
from pixelwise.data.formats.parquet import write_table
from pixelwise.data.formats.voc import label_map_text
from pixelwise.data.formats.yolo import yolo_lines
from pixelwise.data.images import encode_label_png, encode_png
from pixelwise.data.settings import FILE_NAME, SPLITS, dataset_toml, named_toml
from pixelwise.data.sources import image_bytes, read_sample_mask
from pixelwise.errors import DatasetError, OutputError, UsageError
from pixelwise.records import MAX_CLASSES, VOID, ClassList, Dataset, Labels

SUFFIX_OF = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pair:
    """One pair on its way."""

    split: str
    stem: str
    image: bytes  # the file
    suffix: str
    labels: Labels


Writer = Callable[[Path, Iterator[Pair], ClassList], str]  # the text of the dataset.toml that belongs to it


def convert(
    data: Path | str, out: Path | str, to: str, *, progress: Progress = lambda what, done, total: None
) -> Dataset:
    """Write a dataset in another format. Returns the result, opened.

    Args:
        data: a folder of any format that is read.
        out: a new folder.
        to: a key of WRITERS.

    Raises:
        UsageError: no such folder or format.
        DatasetError: the data have problems that keep them from being read, or classes that the format cannot hold.
        ImageError, MaskError: one file cannot be read.
        OutputError: `out` is there already or cannot be written.
    """
    out = Path(out)
    if to not in WRITERS:
        raise UsageError(f"{to!r} is no format that is written; known: {', '.join(WRITERS)}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{shown(out)}: is there already. Name a new folder.")
    dataset = open_dataset(data)
    errors = [problem for problem in dataset.problems if problem.severity == "error"]
    if errors:
        raise DatasetError("The dataset has problems to mend first; `pixelwise check` says more.", errors)
    if out.resolve().is_relative_to(dataset.root.resolve()):
        raise OutputError(f"{shown(out)}: lies inside the data. Name a folder outside.")
    part = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        settings = WRITERS[to](part, _pairs(dataset, progress), dataset.classes)
        write_whole(part / FILE_NAME, settings.encode())
        if out.exists():
            out.rmdir()
        part.replace(out)
    except OSError as error:
        raise OutputError(f"{shown(out)}: cannot be written ({error.strerror}). Name another folder.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    assert layout_of(out) is not None
    return open_dataset(out)


def _pairs(dataset: Dataset, progress: Progress) -> Iterator[Pair]:
    jobs = [(split, sample) for split in SPLITS for sample in dataset.splits.get(split, ()) if sample.mask]
    taken: set[str] = set()
    for done, (split, sample) in enumerate(jobs, start=1):
        own = Path(sample.name).name if sample.image_part else shown(sample.image.stem)
        stem, number = own, 1
        while stem.casefold() in taken:  # formats with one folder for all splits need names of their own
            number += 1
            stem = f"{own}-{number}"
        taken.add(stem.casefold())
        try:
            data = image_bytes(sample)
            suffix = SUFFIX_OF[image_format(data)]
        except Refusal as refusal:
            raise DatasetError(f"{shown(sample.image)}: {refusal}") from refusal
        yield Pair(split, stem, data, suffix, read_sample_mask(sample, dataset.mask_ids, len(dataset.classes)))
        progress("converting", done, len(jobs))


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)


def to_native(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    for pair in pairs:
        _put(out / pair.split / "images" / (pair.stem + pair.suffix), pair.image)
        _put(out / pair.split / "masks" / f"{pair.stem}.png", encode_label_png(pair.labels, classes))
    return dataset_toml(classes)


def to_camvid(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    lists: dict[str, str] = {}
    void = _free_id(classes, "camvid")
    for pair in pairs:
        name = pair.stem + pair.suffix
        _put(out / pair.split / name, pair.image)
        _put(out / f"{pair.split}annot" / f"{pair.stem}.png", encode_png(_with_void(pair.labels, void)))
        line = f"/{pair.split}/{name} /{pair.split}annot/{pair.stem}.png\n"
        lists[pair.split] = lists.get(pair.split, "") + line
    for split, text in lists.items():
        _put(out / f"{split}.txt", text.encode())
    return dataset_toml(classes, void=[void])


def to_voc(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    names: dict[str, str] = {}
    for pair in pairs:
        _put(out / "JPEGImages" / (pair.stem + pair.suffix), pair.image)
        _put(out / "SegmentationClass" / f"{pair.stem}.png", encode_label_png(pair.labels, classes))
        names[pair.split] = names.get(pair.split, "") + f"{pair.stem}\n"
    for split, text in names.items():
        _put(out / "ImageSets/Segmentation" / f"{split}.txt", text.encode())
    _put(out / "labelmap.txt", label_map_text(classes.names, classes.colours))
    return dataset_toml(classes)


def to_cityscapes(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    for pair in pairs:
        if pair.suffix != ".png":
            raise DatasetError(f"{pair.stem}{pair.suffix}: Cityscapes' images are PNGs. Convert the images first.")
        stem = pair.stem.removesuffix("_leftImg8bit")
        _put(out / "leftImg8bit" / pair.split / "all" / f"{stem}_leftImg8bit.png", pair.image)
        _put(out / "gtFine" / pair.split / "all" / f"{stem}_gtFine_labelIds.png", encode_png(pair.labels))
    return dataset_toml(classes)


def to_ade20k(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    folders = {"train": "training", "val": "validation", "test": "testing"}
    if len(classes) >= MAX_CLASSES:
        raise DatasetError(f"ade20k: {len(classes)} classes; at most {MAX_CLASSES - 1} fit beside its void, 0.")
    for pair in pairs:
        ids = np.where(pair.labels == VOID, 0, pair.labels.astype(np.int16) + 1).astype(np.uint8)
        _put(out / "images" / folders[pair.split] / (pair.stem + pair.suffix), pair.image)
        _put(out / "annotations" / folders[pair.split] / f"{pair.stem}.png", encode_png(ids))
    _put(out / "objectInfo150.txt", object_text(classes.names))
    return dataset_toml(classes, range(1, len(classes) + 1), void=[0])


def to_coco(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    rows: dict[str, list[tuple[int, str, Labels]]] = {}
    tables = {}
    for number, pair in enumerate(pairs, start=1):
        name = pair.stem + pair.suffix
        _put(out / pair.split / name, pair.image)
        rows.setdefault(pair.split, []).append((number, name, pair.labels))
    for split, own in rows.items():
        tables[split] = coco_table(own, classes.names, classes.colours, VOID)
        _put(out / "annotations" / f"instances_{split}.json", table_text(tables[split]))
    return dataset_toml(classes, range(1, len(classes) + 1), void=[0])


def to_yolo(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    splits = set()
    for pair in pairs:
        _put(out / "images" / pair.split / (pair.stem + pair.suffix), pair.image)
        path = out / "labels" / pair.split / f"{pair.stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, yolo_lines(pair.labels, VOID).encode())
        splits.add(pair.split)
    rows = [f"{split}: images/{split}" for split in SPLITS if split in splits]
    names = [f"  {i}: {name}" for i, name in enumerate(classes.names)]
    _put(out / "data.yaml", "\n".join([*rows, "names:", *names, ""]).encode())
    return dataset_toml(classes, range(1, len(classes) + 1), void=[0])


def to_labelme(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    seen: set[int] = set()
    for pair in pairs:
        seen |= set(np.unique(pair.labels).tolist())
        name = pair.stem + pair.suffix
        _put(out / pair.split / name, pair.image)
        _put(out / pair.split / f"{pair.stem}.json", labelme_text(pair.labels, classes.names, name, VOID))
    return named_toml(classes, seen)


def to_geojson(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    seen: set[int] = set()
    for pair in pairs:
        seen |= set(np.unique(pair.labels).tolist())
        name = pair.stem + pair.suffix
        _put(out / pair.split / name, pair.image)
        _put(out / pair.split / f"{pair.stem}.geojson", geojson_text(pair.labels, classes, name))
    return named_toml(classes, seen)


def to_cvat(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    seen: set[int] = set()
    rows = []
    for pair in pairs:
        seen |= set(np.unique(pair.labels).tolist())
        name = pair.stem + pair.suffix
        _put(out / "images" / pair.split / name, pair.image)
        rows.append((f"{pair.split}/{name}", pair.split, pair.labels))
    _put(out / "annotations.xml", cvat_text(rows, classes.names, VOID))
    return named_toml(classes, seen)


def to_labelstudio(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    import json

    seen: set[int] = set()
    tasks = []
    for pair in pairs:
        seen |= set(np.unique(pair.labels).tolist())
        name = pair.stem + pair.suffix
        _put(out / "images" / pair.split / name, pair.image)
        tasks.append(task_of(f"images/{pair.split}/{name}", pair.split, pair.labels, classes.names, VOID))
    _put(out / "tasks.json", json.dumps(tasks).encode())
    return named_toml(classes, seen)


def to_parquet(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    rows: dict[str, list[tuple[bytes, bytes, str]]] = {}
    for pair in pairs:
        row = (pair.image, encode_label_png(pair.labels, classes), pair.stem + pair.suffix)
        rows.setdefault(pair.split, []).append(row)
    for split, own in rows.items():
        path = out / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, own, classes.names, classes.colours)
    return dataset_toml(classes)


def to_image_folder(out: Path, pairs: Iterator[Pair], classes: ClassList) -> str:
    rows: dict[str, list[tuple[str, str]]] = {}
    for pair in pairs:
        name = pair.stem + pair.suffix
        _put(out / pair.split / "image" / name, pair.image)
        _put(out / pair.split / "mask" / f"{pair.stem}.png", encode_label_png(pair.labels, classes))
        rows.setdefault(pair.split, []).append((f"image/{name}", f"mask/{pair.stem}.png"))
    for split, own in rows.items():
        _put(out / split / "metadata.jsonl", metadata_text(own))
    return dataset_toml(classes)


WRITERS: dict[str, Writer] = {
    "native": to_native,
    "camvid": to_camvid,
    "cityscapes": to_cityscapes,
    "voc": to_voc,
    "ade20k": to_ade20k,
    "coco": to_coco,
    "yolo": to_yolo,
    "labelme": to_labelme,
    "geojson": to_geojson,
    "cvat": to_cvat,
    "labelstudio": to_labelstudio,
    "parquet": to_parquet,
    "image-folder": to_image_folder,
}


def _free_id(classes: ClassList, format_name: str) -> int:
    """The id after the last class, for void."""
    if len(classes) >= MAX_CLASSES:
        raise DatasetError(f"{format_name}: {len(classes)} classes leave no id for void. Merge classes.")
    return len(classes)


def _with_void(labels: Labels, void: int) -> Labels:
    return np.where(labels == VOID, void, labels).astype(np.uint8)
