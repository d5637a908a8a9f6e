"""Do strokes train as well as full masks? Ten CamVid images labelled by a simulated annotator, against their own masks.

    python benchmarks/labelling_training.py [--images 10] [--strokes 60] [--budget 10m] [--cores 0 1]
        [--work FOLDER] [--val 101] [--options "--epochs 40 --size 192x256"]

The annotator draws strokes with the assistant until an image has 0.85 mIoU or the strokes are used up; the drawn pixels
and the proposals that are surer than --sure are taken as its mask, the rest is void. Both trainings run at once, each
on its own core, with CamVid's val as theirs; both are scored on it by `pixelwise evaluate`. On a busy machine a budget
of time holds few steps, and not as many in both: --options with --epochs then compares equal numbers of steps.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from labelling_sets import DATA, LabelSet, as_stored, beside
from PIL import Image
from rich.console import Console
from rich.table import Table
from simulated_annotator import Keys, annotate

from pixelwise.labelling.assistant import Assistant
from pixelwise.records import RGB, VOID

NAMES = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
SURE = 128  # of 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--strokes", type=int, default=60, help="at most, for an image")
    parser.add_argument("--sure", type=int, default=SURE, help="confidence of an accepted proposal, 0–255")
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--options", default="", help="of `pixelwise train`, instead of the budget")
    parser.add_argument("--val", type=int, default=101, help="images of val")
    parser.add_argument("--work", type=Path, help="where the data and runs are kept; default: nowhere")
    parser.add_argument("--cores", type=int, nargs=2, default=(0, 1))
    parser.add_argument("--data", type=Path, default=DATA)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = chosen.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        strokes, accuracy, labelled = make_data(chosen, work)
        scores = train_both(work, chosen.options.split() or ["--budget", chosen.budget], chosen.cores)
    table = Table(
        "ten images labelled by", "labelled pixels", "of them right", "strokes an image", "mIoU on val", box=None
    )
    table.add_row("full masks", "all", "all", "–", f"{scores['masks']:.3f}")
    table.add_row(
        "strokes", f"{labelled:.0%}", f"{accuracy:.1%}", f"{strokes:.0f}",
        f"{scores['strokes']:.3f} = {scores['strokes'] / scores['masks']:.0%} (must: ≥ 90 %)",
    )  # fmt: skip
    Console(width=130).print(table)


def make_data(chosen: argparse.Namespace, work: Path) -> tuple[float, float, float]:
    """Write both datasets. Returns strokes an image, and the shares of labelled pixels and of right ones among them."""
    camvid = LabelSet("camvid", 0.85, False, beside("camvid/train", "camvid/trainannot"), len(NAMES))
    pairs = sorted(beside("camvid/val", "camvid/valannot")(chosen.data))
    pairs = pairs[:: max(len(pairs) // chosen.val, 1)][: chosen.val]
    for name in ("masks", "strokes"):
        for split in ("train", "val"):
            for kind in ("images", "masks"):
                (work / name / split / kind).mkdir(parents=True, exist_ok=True)
        (work / name / "dataset.toml").write_text("".join(f'[[classes]]\nname = "{one}"\n' for one in NAMES))
        for image, mask in pairs:
            shutil.copy(image, work / name / "val/images" / image.name)
            write(work / name / "val/masks" / mask.name, np.where(as_stored(mask) > 10, VOID, as_stored(mask)))
    assistant, facts = Assistant(), []
    for one in camvid.images(chosen.images, chosen.data):
        accepted_HW, strokes = label(assistant, one.name, one.image_HW3, one.truth_HW, camvid, chosen)
        known = (accepted_HW != VOID) & (one.truth_HW != VOID)
        facts.append((strokes, np.mean(accepted_HW[known] == one.truth_HW[known]), np.mean(accepted_HW != VOID)))
        for name, mask_HW in (("masks", one.truth_HW), ("strokes", accepted_HW)):
            Image.fromarray(one.image_HW3).save(work / name / "train/images" / f"{one.name}.png")
            write(work / name / "train/masks" / f"{one.name}.png", mask_HW)
        print(one.name, *facts[-1], flush=True)
    strokes, accuracy, labelled = np.mean(facts, axis=0)
    return float(strokes), float(accuracy), float(labelled)


def label(
    assistant: Assistant, name: str, image_HW3: Keys, truth_HW: Keys, camvid: LabelSet, chosen: argparse.Namespace
) -> tuple[Keys, int]:
    """The accepted labels of an image, and how many strokes they took."""
    accepted: list[Keys] = []

    def propose(drawn_HW: Keys) -> Keys:
        by_person_HW = (drawn_HW != VOID).astype(np.uint8)
        found = assistant.propose(name, image_HW3, RGB, drawn_HW, by_person_HW, range(camvid.classes))
        sure_HW = np.where(found.confidence_hw >= chosen.sure, found.labels_hw, VOID)
        accepted.append(np.where(drawn_HW != VOID, drawn_HW, sure_HW).astype(np.uint8))
        return np.where(drawn_HW != VOID, drawn_HW, found.labels_hw)

    steps = list(annotate(truth_HW, camvid.classes, propose, lambda r: camvid.score(r, truth_HW), 0.85, chosen.strokes))
    return accepted[-1], steps[-1].strokes


def write(path: Path, mask_HW: Keys) -> None:
    Image.fromarray(mask_HW.astype(np.uint8)).save(path)


def train_both(work: Path, options: list[str], cores: tuple[int, int]) -> dict[str, float]:
    """mIoU on val of the models trained on each dataset."""
    pixelwise = [sys.executable, "-m", "pixelwise"]
    running = {}
    for name, core in zip(("masks", "strokes"), cores, strict=True):
        command = [*pixelwise, "train", str(work / name), "--out", str(work / f"run-{name}"), *options]
        with (work / f"{name}.log").open("w") as log:
            running[name] = subprocess.Popen(["taskset", "-c", str(core), *command], stdout=log, stderr=log)
    for name, process in running.items():
        assert process.wait() == 0, (work / f"{name}.log").read_text()
    scores = {}
    for name in running:
        command = [*pixelwise, "evaluate", str(work / f"run-{name}"), str(work / "masks"), "--split", "val"]
        subprocess.run([*command, "--json", str(work / f"{name}.json")], check=True, stdout=subprocess.DEVNULL)
        scores[name] = float(json.loads((work / f"{name}.json").read_text())["miou"])
    return scores


if __name__ == "__main__":
    main()
