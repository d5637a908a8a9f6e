"""The data sets of benchmarks/own_data.py: where their files lie, what their owner must decide, what is scored.

Each set is divided into a part to train on, copied as its owner laid it out, and a part held out, which training never
sees: not to choose an epoch by, and not to calibrate with.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Report = Mapping[str, Any]  # what `pixelwise evaluate --json` writes, and "mean_image_miou" from its CSV
FOLDS = 5


@dataclass(frozen=True)
class Pair:
    """One image of a set, its mask, and what else belongs to it. Paths are relative to the set's folder."""

    image: str
    mask: str
    beside: tuple[str, ...] = ()  # files that are neither, but lie in the owner's folders
    group: str = ""  # pairs of one group are held out together; "": a group of its own
    held_out: bool = False  # in the owner's own validation split

    @property
    def name(self) -> str:
        return re.sub(r"\W+", "_", str(Path(self.image).with_suffix("")))


@dataclass(frozen=True)
class OwnSet:
    """One set, and what `pixelwise train` is given beside its folder."""

    folder: str  # below DATA
    pairs: Callable[[Path], list[Pair]]
    asked: str  # the score that is asked for
    score: Callable[[Report], float]
    must: float  # on the withheld test
    options: tuple[str, ...] = ()
    why: str = ""  # the options are the owner's to decide
    neighbours: bool = False  # neighbours are alike: a fold is a block of them
    scored_options: tuple[str, ...] | None = None  # for OUT/scored, which is laid out otherwise; None: `options`

    @property
    def to_evaluate(self) -> tuple[str, ...]:
        return self.options if self.scored_options is None else self.scored_options


def drive_pairs(root: Path) -> list[Pair]:
    numbers = [path.name.partition("_")[0] for path in (root / "training/images").glob("*.tif")]
    return [
        Pair(f"training/images/{n}_training.tif", f"training/1st_manual/{n}_manual1.gif",
             (f"training/mask/{n}_training_mask.gif",))
        for n in by_number(numbers)
    ]  # fmt: skip


def isbi_pairs(root: Path) -> list[Pair]:
    names = by_number(path.name for path in (root / "train/image").glob("*.png"))
    return [Pair(f"train/image/{name}", f"train/label/{name}") for name in names]


def wbc_pairs(root: Path) -> list[Pair]:
    stems = by_number(path.stem for path in (root / "Dataset 1").glob("*.bmp"))
    return [Pair(f"Dataset 1/{stem}.bmp", f"Dataset 1/{stem}.png") for stem in stems]


def nha12d_pairs(root: Path) -> list[Pair]:
    images = sorted(path.relative_to(root) for path in root.glob("*/Raw_images/*.jpg"))
    return [
        Pair(str(path), f"{path.parts[0]}/Masks/{path.stem}.png",
             group=hashlib.md5((root / path).read_bytes()).hexdigest())  # two files hold the same photo
        for path in images
    ]  # fmt: skip


def in_two_folders(images: str, masks: str, suffix: str) -> Callable[[Path], list[Pair]]:
    """Images in one folder, masks of the same stems in another."""

    def pairs(root: Path) -> list[Pair]:
        names = by_number(path.name for path in (root / images).iterdir())
        return [Pair(f"{images}/{name}", f"{masks}/{Path(name).stem}{suffix}") for name in names]

    return pairs


def camvid_pairs(root: Path) -> list[Pair]:
    pairs = []
    for split in ("train", "val"):
        for line in (root / f"{split}.txt").read_text().split("\n"):
            if line:
                image, mask = line.split()
                pairs.append(Pair(image, mask, group=Path(image).name.split("_")[0], held_out=split == "val"))
    return pairs


def nuclei_pairs(root: Path) -> list[Pair]:
    pairs = []
    for split in ("train", "val"):
        for path in sorted((root / split / "images").iterdir()):
            mask, number = (f"{split}/{folder}/{path.stem}.png" for folder in ("masks", "instances"))
            pairs.append(Pair(f"{split}/images/{path.name}", mask, (number,), held_out=split == "val"))
    return pairs


def of_class(place: int, score: str) -> Callable[[Report], float]:
    """A score of the class at `place` in the list of classes."""
    return lambda report: float(list(report["classes"].values())[place][score] or 0.0)


def mean_iou(report: Report) -> float:
    return float(report["miou"])


def mean_of_images(report: Report) -> float:
    return float(report["mean_image_miou"])


SETS = {
    "drive": OwnSet("own/drive", drive_pairs, "Dice of vessel", of_class(1, "dice"), 0.81),
    "isbi2012": OwnSet("own/isbi2012", isbi_pairs, "IoU of membrane", of_class(0, "iou"), 0.70, neighbours=True),
    "wbc": OwnSet("own/wbc", wbc_pairs, "mIoU", mean_iou, 0.93),
    "water12": OwnSet("own/water12", in_two_folders("images", "labels", ".png"), "IoU of water", of_class(1, "iou"),
                      0.80),
    "water12-measured": OwnSet("own/water12", in_two_folders("images", "labels", ".png"), "IoU of water",
                               of_class(1, "iou"), float("nan"), ("--bands", "1,2,3,4,5,6,7,9,10"),
                               "bands 8, 11 and 12 are maps that others made: land cover, and where water was "
                               "before, tell what the mask will say"),
    "nha12d": OwnSet("own/nha12d", nha12d_pairs, "IoU of crack", of_class(1, "iou"), 0.45,
                     ("--class", "background=#000000", "--class", "crack=#54694d,#bf9c8a"),
                     "cracks have another colour in each kind of pavement; nothing says that it is one class"),
    "mass_roads": OwnSet("own/mass_roads", in_two_folders("images", "masks", ".png"), "IoU of road", of_class(1, "iou"),
                         0.45),
    "facade": OwnSet("own/facade", in_two_folders("images", "labels", ".png"), "mIoU of 8 classes", mean_iou,
                     float("nan"), ("--void", "#000000"), "black is unlabelled; nothing in the folder says so"),
    "camvid": OwnSet("camvid", camvid_pairs, "mIoU", mean_iou, 0.66, scored_options=("--void", "11")),
    "nuclei": OwnSet("nuclei", nuclei_pairs, "mIoU, mean over images", mean_of_images, 0.85),
}  # fmt: skip


def by_number(names: Any) -> list[str]:
    """Sorted as people count: 2 before 10."""
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def divided(pairs: Sequence[Pair], neighbours: bool, fold: tuple[int, int] | None) -> tuple[list[Pair], list[Pair]]:
    """The pairs to train on and those held out: fold k of K, from 1; without one the owner's own split, or 1 of 5."""
    if fold is None and any(pair.held_out for pair in pairs):
        return [pair for pair in pairs if not pair.held_out], [pair for pair in pairs if pair.held_out]
    number, folds = fold or (1, FOLDS)
    if neighbours:
        places = [i * folds // len(pairs) for i in range(len(pairs))]
    else:
        groups: dict[str, list[int]] = {}
        for i, pair in enumerate(pairs):
            groups.setdefault(pair.group or pair.name, []).append(i)
        places, sizes = [0] * len(pairs), [0] * folds
        for members in sorted(groups.values(), key=len, reverse=True):  # into the smallest fold; ties to the first
            smallest = sizes.index(min(sizes))
            sizes[smallest] += len(members)
            for i in members:
                places[i] = smallest
    held = [pair for pair, place in zip(pairs, places, strict=True) if place == number - 1]
    if not held or len(held) == len(pairs):
        raise SystemExit(
            f"fold {number} of {folds} would hold out {len(held)} of {len(pairs)} pairs; choose fewer folds."
        )
    return [pair for pair, place in zip(pairs, places, strict=True) if place != number - 1], held


def lay_out(root: Path, train: Sequence[Pair], held: Sequence[Pair], out: Path) -> tuple[Path, Path]:
    """Copies of a set's files: OUT/train as the owner laid them out, and OUT/scored, whose test split is held out.

    OUT/scored holds the others as its train split, so that its masks are read with the values of all of them.
    """
    shutil.rmtree(out, ignore_errors=True)
    for pair in train:
        for file in (pair.image, pair.mask, *pair.beside):
            link(root / file, out / "train" / file)
    kept = {pair.image for pair in train}
    for lines in root.glob("*.txt"):  # CamVid's: an image and its mask a line
        left = [line for line in lines.read_text().splitlines() if line and line.split()[0] in kept]
        if left:
            (out / "train" / lines.name).write_text("\n".join(left) + "\n")
    for split, pairs in (("train", train), ("test", held)):
        for pair in pairs:
            for folder, file in (("images", pair.image), ("masks", pair.mask)):
                link(root / file, out / "scored" / split / folder / (pair.name + Path(file).suffix))
    return out / "train", out / "scored"


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # on another disk, or none of ours
        shutil.copyfile(source, target)
