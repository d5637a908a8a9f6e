"""Accuracy on CamVid's val against milliseconds an image, for as many minutes of training each.

    python benchmarks/pareto.py [DATA] --out DIR [--minutes 4] [--threads 2] [--rounds 8] [--only TEXT] [--svg FILE]

Trains the default network at three input sizes, exports each in float32 and int8, and trains networks of torchvision
and segmentation-models-pytorch (pareto_peers.py), each in a process of its own. A minute is one of processor time on
every core, so that a busy machine takes longer over it and trains all alike. Each network is one JSON and one ONNX file
in DIR: what is there already is not trained again, so that this can be stopped and started again at any time.

Then all of them are timed by turns, in one process, from a photo of 480×360 in memory to its labels at that size, on
ONNX Runtime. DIR/table.md and, with --svg, a chart are written from what is there. Peers that are not installed are
named; docs/how-to/engines.md says how to install them. With --minutes 0, peers that are not there yet are timed with
the weights that they start from, without scores. --cpu-time counts the time that cores worked, for a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from prediction import Work, photos, take_turns  # beside this file

SIZES = {"192×256": (192, 256), "256×352": (256, 352), "352×480": (352, 480)}  # of the default network's input
OURS = "Pixelwise "
CORES = os.cpu_count() or 1
SEEN_MIOU = 0.8  # upper end of the chart
FASTEST_MS, SLOWEST_MS = 2.0, 512.0  # ends of its other axis, in eight steps of twice as much


def slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def names() -> list[str]:
    from pareto_peers import PEERS  # beside this file; imports torch

    return [*(OURS + size for size in SIZES), *PEERS]


def count_processor_time() -> None:
    """Have the clock that budgets go by count the processor time of this process, divided by the cores."""
    time.perf_counter = lambda: time.process_time() / CORES


def train_ours(size: str, data: Path, target: Path, minutes: float) -> list[dict[str, Any]]:
    import pixelwise as pw

    if any(target.glob("checkpoints/*")):  # it was stopped in the middle
        trained = pw.train(data, target, resume=True)
    else:
        shutil.rmtree(target, ignore_errors=True)
        settings = {"size": SIZES[size], "policy": "stretch"}
        trained = pw.train(data, target, settings=settings, budget_s=60 * minutes)
    rows = []
    for kind in ("float32", "int8"):
        bundle = target.with_name(f"{target.name}-{kind}.onnx")
        pw.export(target, bundle, int8=kind == "int8", max_drop=100)
        report = pw.evaluate(bundle, data, split="val")
        rows.append({
            "name": f"{OURS}{size}, {kind}", "file": bundle.name, "input": size, "minutes": minutes,
            "accuracy": report.accuracy, "miou": report.miou, "pretrained": True, "epochs": len(trained.epochs),
        })  # fmt: skip
    return rows


def train_peer(name: str, data: Path, target: Path, minutes: float) -> list[dict[str, Any]]:
    import pixelwise.training  # noqa: F401 - before torch, so that its threads wait as those of our own training do

    from pareto_peers import PEERS, train  # isort: skip
    from peers import exported, labels_of  # isort: skip

    from pixelwise.datasets.open_dataset import open_dataset
    from pixelwise.evaluation.labelled_pairs import each_pair
    from pixelwise.metrics import confusion

    dataset = open_dataset(data)
    pairs = {
        split: list(each_pair(dataset, split, lambda pair, turn: pair[1:], skip_bad=False, workers=1))
        for split in ("train", "val")
    }
    make, pretrained = PEERS[name]
    labeller = make(len(dataset.classes))
    began = time.perf_counter()
    steps = train(labeller, pretrained, pairs["train"], minutes) if minutes else 0
    spent = (time.perf_counter() - began) / 60 if minutes else 0.0
    model = exported(labeller.eval(), pairs["val"][0][0])
    target.with_suffix(".onnx").write_bytes(model)
    label, count = labels_of(model, CORES), len(dataset.classes)
    judged = pairs["val"] if minutes else pairs["val"][:1]
    matrix = sum(confusion.count_pairs(np.asarray(label(image)), mask, count) for image, mask in judged)
    scores = confusion.scores(matrix)
    return [{
        "name": name, "file": f"{target.name}.onnx", "input": "360×480", "minutes": spent,
        "accuracy": scores.accuracy, "miou": scores.miou, "pretrained": pretrained, "steps": steps,
    }]  # fmt: skip


def train_row(name: str, data: Path, out: Path, minutes: float) -> None:
    count_processor_time()
    target = out / slug(name)
    if name.startswith(OURS):
        rows = train_ours(name.removeprefix(OURS), data, target, minutes)
    else:
        rows = train_peer(name, data, target, minutes)
    target.with_suffix(".json").write_text(json.dumps(rows, indent=1, ensure_ascii=False))


def rows_of(out: Path, name: str) -> list[dict[str, Any]]:
    file = (out / slug(name)).with_suffix(".json")
    return json.loads(file.read_text()) if file.exists() else []


def train_all(chosen: argparse.Namespace) -> dict[str, str]:
    """Train what is not there yet. Returns why the rest could not be."""
    absent: dict[str, str] = {}
    for name in names():
        rows = rows_of(chosen.out, name)
        there = any(row["minutes"] or not chosen.minutes for row in rows)
        if there or chosen.only not in name or (name.startswith(OURS) and not chosen.minutes):
            continue
        command = [sys.executable, __file__, str(chosen.data), "--out", str(chosen.out), "--row", name]
        done = subprocess.run([*command, "--minutes", str(chosen.minutes)], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            absent[name] = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    return absent


def run_of(path: Path, ours: bool, threads: int) -> Work:
    if ours:
        import pixelwise as pw

        return pw.load(path, threads, "onnxruntime").engine.run
    from peers import labels_of

    return labels_of(path.read_bytes(), threads)


def timed(rows: list[dict[str, Any]], chosen: argparse.Namespace) -> None:
    """Add the milliseconds of each."""
    images = photos(chosen.data / "val", 10)
    works = {
        row["name"]: run_of(chosen.out / row["file"], row["name"].startswith(OURS), chosen.threads) for row in rows
    }
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    for name, milliseconds in take_turns(works, images, chosen.rounds, clock).items():
        next(row for row in rows if row["name"] == name)["ms"] = milliseconds


def table_of(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| | network | input | start | training, min | accuracy | mIoU | ms an image |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(rows, start=1):
        start = "ImageNet" if row["pretrained"] else "random"
        scores = f"{row['accuracy']:.3f} | {row['miou']:.3f}" if row["minutes"] else "– | –"
        trained = f"{row['minutes']:.1f}" if row["minutes"] else "–"
        lines.append(
            f"| {number} | {row['name']} | {row['input']} | {start} | {trained} | {scores} | {row['ms']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def beaten(rows: list[dict[str, Any]]) -> list[str]:
    """Ours that a peer beats in both."""
    found = []
    for ours in (row for row in rows if row["name"].startswith(OURS)):
        for peer in (row for row in rows if row["minutes"] and not row["name"].startswith(OURS)):
            if peer["ms"] <= ours["ms"] and peer["miou"] >= ours["miou"]:
                found.append(f"{ours['name']}: {peer['name']} is both faster and more accurate")
    return found


def chart_of(rows: list[dict[str, Any]], timing: str) -> str:
    """An SVG file: mIoU over milliseconds, numbered as the table is."""
    from pixelwise.reports.charts import axes, place, svg_file

    def across(milliseconds: float) -> float:
        return float(np.log2(milliseconds / FASTEST_MS) / np.log2(SLOWEST_MS / FASTEST_MS))

    ticks = [(across(ms), f"{ms:g}") for ms in FASTEST_MS * 2.0 ** np.arange(9)]
    parts = [axes(f"ms an image, to labels at 480×360 ({timing})", "mIoU on val", ticks, SEEN_MIOU, ".2f")]
    for number, row in enumerate(rows, start=1):
        if not row["minutes"]:
            continue
        x, y = place(across(row["ms"]), row["miou"] / SEEN_MIOU)
        colour = "var(--a)" if row["name"].startswith(OURS) else "var(--b)"
        fill = "none" if "int8" in row["name"] else colour
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{fill}" stroke="{colour}"><title>{escape(row["name"])}'
            f'</title></circle><text x="{x + 6:.1f}" y="{y - 4:.1f}" font-size="10">{number}</text>'
        )
    return svg_file("mIoU on CamVid's val against milliseconds an image", "".join(parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared/data/camvid")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--cpu-time", action="store_true", help="time that cores worked, not that passed")
    parser.add_argument("--only", default="", help="train those whose name holds this")
    parser.add_argument("--svg", type=Path, default=None)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if not chosen.data.is_dir():
        sys.exit(f"{chosen.data}: no such folder; name the folder with CamVid in SegNet's layout.")
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.row:
        train_row(chosen.row, chosen.data, chosen.out, chosen.minutes)
        return
    absent = train_all(chosen)
    rows = [row for name in names() for row in rows_of(chosen.out, name)]
    timed(rows, chosen)
    table = table_of(rows)
    (chosen.out / "table.md").write_text(table)
    console = Console(width=160, highlight=False)
    console.print(table)
    for name, why in absent.items():
        console.print(f"{name}: {why}")
    console.print("\n".join(beaten(rows)) or "no peer is both faster and more accurate than any of ours")
    console.print(f"load average {os.getloadavg()[0]:.1f} on {CORES} cores")
    if chosen.svg:
        timing = f"{chosen.threads} thread(s)" + (", processor time" if chosen.cpu_time else "")
        chosen.svg.write_text(chart_of(rows, timing))


if __name__ == "__main__":
    main()
