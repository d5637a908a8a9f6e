"""Put the training log of a built-in model beside its bundle, so that its page shows how it was trained.

    python benchmarks/built_in_log.py street RUN1 RUN2 RUN3
    python benchmarks/built_in_log.py nuclei RUN --photos      (only where the data's licence permits their copies)

Writes src/pixelwise/built_in/NAME-training/, laid out as a run directory: trace.jsonl (the epochs of all runs, one
after the other), recipe.toml and data.json without any path, previews/ (predicted masks of the first validation
images) and, with --photos, truth/, and images/ and masks/, which become samples of its page. Runs whose validation
images differ from the first one's bring epochs, but no previews. Where the first run began with weights of an earlier
model, its log says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.prediction.built_in_models import FOLDER
from pixelwise.prediction.flow_events import coloured
from pixelwise.records import RGB, VOID, ClassList
from pixelwise.server.sample_images import bands_of, data_of, held_out_pairs, mask_ids_of, read_held_out
from pixelwise.trace_events import read_events, to_file

PREVIEWS = 2
SIDE_PX = 320  # the longest side of a preview
LEFT_OUT = ("time", "version", "train_accuracy", "images_per_second")
DIGITS = 4


def write_log(name: str, runs: list[Path], photos: bool, out: Path = FOLDER) -> Path:
    """The log of these runs, in the order of training. Returns its folder; an older one is replaced."""
    folder = out / f"{name}-training"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    data = data_of(runs[0])
    rows = data["splits"].get("val", [])[:PREVIEWS]
    tell, done = to_file(folder / "trace.jsonl"), 0
    if any(event.get("event") == "start" for event in read_events(runs[0] / "trace.jsonl")):
        tell({"event": "start", "earlier": True})
    for run in runs:
        found = {event["epoch"]: event for event in read_events(run / "trace.jsonl") if event.get("event") == "epoch"}
        same = [row[0] for row in data_of(run)["splits"].get("val", [])[:PREVIEWS]] == [row[0] for row in rows]
        for number in sorted(found):  # of an epoch that was repeated after a stop, the last
            done += 1
            tell({key: rounded(value) for key, value in found[number].items() if key not in LEFT_OUT} | {"epoch": done})
            if same:
                copy_previews(run / "previews" / f"epoch-{number:04d}", folder / "previews" / f"epoch-{done:04d}")
    tell({"event": "stop", "reason": "finished", "message": "", "epoch": done})
    shutil.copyfile(runs[-1] / "recipe.toml", folder / "recipe.toml")
    recipe = (folder / "recipe.toml").read_text(encoding="utf-8")
    lines = [f"epochs = {done}" if line.startswith("epochs =") else line for line in recipe.splitlines()]
    (folder / "recipe.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    splits = {split: [[row[0], "", ""] for row in every] for split, every in data["splits"].items()}
    if photos:
        splits["val"][:PREVIEWS] = [[row[0], f"images/{i}.png", f"masks/{i}.png"] for i, row in enumerate(rows)]
    facts = {key: data[key] for key in ("classes", "bands") if key in data}
    facts |= {"splits": splits, "previews": len(rows), "mask_ids": {i: i for i in (*range(len(data["classes"])), VOID)}}
    (folder / "data.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    if photos:
        copy_images(runs[0], folder, ClassList.from_json(data["classes"]))
    return folder


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return {key: rounded(one) for key, one in value.items()} if isinstance(value, dict) else value


def copy_previews(source: Path, target: Path) -> None:
    for index in range(PREVIEWS):
        if (source / f"{index}.png").is_file():
            target.mkdir(parents=True, exist_ok=True)
            with Image.open(source / f"{index}.png") as picture:
                save_small(np.asarray(picture.convert("RGB")), target / f"{index}.png")


def copy_images(run: Path, folder: Path, classes: ClassList) -> None:
    bands, ids = bands_of(run), mask_ids_of(run)
    for index, sample in enumerate(held_out_pairs(run)[:PREVIEWS]):
        pixels, labels = read_held_out(sample, bands, ids, len(classes))
        save_small(coloured(labels, classes), folder / "truth" / f"{index}.png")
        if bands != RGB:
            raise SystemExit(f"{run}: images of other bands than red, green and blue cannot be copied.")
        for kind, array in (("images", pixels), ("masks", labels)):
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{index}.png", optimize=True)


def save_small(picture_HW3: np.ndarray[Any, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(picture_HW3)
    picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST)
    picture = picture.quantize(256, dither=Image.Dither.NONE)  # a mask has few colours: they stay as they are
    picture.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the built-in model")
    parser.add_argument("runs", nargs="+", type=Path, help="its run directories, in the order of training")
    parser.add_argument("--photos", action="store_true", help="also copy the images and their true masks")
    parser.add_argument("--out", type=Path, default=FOLDER, help="default: where the built-in models are")
    chosen = parser.parse_args()
    folder = write_log(chosen.name, chosen.runs, chosen.photos, chosen.out)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
