"""A training started from the page: render street scenes if requested, then run `pixelwise train`.

Run as `python -m pixelwise.server.training_job RUN '{"epochs": …}'`. Stopping this process stops the training.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

from pixelwise.datasets.class_values import Values
from pixelwise.scenes.render_scene import write_scenes
from pixelwise.trace_events import to_file

SCENES_PX = (192, 256)
HELD_OUT = 16


def main(run: Path, request: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell may ignore it
    if hasattr(signal, "SIGBREAK"):  # Windows' equivalent of Ctrl-C for a process group
        signal.signal(signal.SIGBREAK, signal.default_int_handler)
    tell = to_file(run / "trace.jsonl")
    if request.get("folder"):
        data = Path(request["folder"])
    else:
        data = run.parent / f"scenes_{request['images']}"  # an underscore, which names of runs cannot have
        steps = max((request["images"] + HELD_OUT) // 20, 1)

        def progress(done: int, total: int) -> None:
            if done % steps == 0 or done == total:
                tell({"event": "progress", "what": "rendering street scenes", "done": done, "total": total})

        if not (data / "complete").is_file():  # runs of the same number share them, to be comparable
            try:
                counts = {"train": request["images"], "val": HELD_OUT}
                write_scenes(data, counts, height_px=SCENES_PX[0], width_px=SCENES_PX[1], progress=progress)
            except KeyboardInterrupt:
                tell({"event": "stop", "reason": "KeyboardInterrupt", "epoch": 0})
                raise SystemExit(130) from None
            (data / "complete").touch()
    tell({"event": "progress", "what": "starting", "done": 0, "total": 0})
    sys.argv = ["pixelwise", *arguments(data, run, request)]
    runpy.run_module("pixelwise", run_name="__main__", alter_sys=True)  # not another process, which `stop` would miss


def arguments(data: Path, run: Path, request: dict[str, Any]) -> list[str]:
    """The command line of `pixelwise train` for a request."""
    if request.get("resume"):  # its own recipe says the rest
        return ["train", str(data), "--out", str(run), "--resume"]
    if request.get("settings") is not None:  # planned, around what was chosen on the page
        return [*planned_arguments(data, run, request)]
    if request.get("budget"):  # the plan chooses network, sizes and epochs from the data and the time
        return ["train", str(data), "--out", str(run), "--budget", request["budget"]]
    height, width = request["size"]
    unet = request["encoder"] == "unet"
    options = ["train", str(data), "--out", str(run), "--epochs", str(request["epochs"]), "--size", f"{height}x{width}"]
    options += ["--model", "unet"] if unet else ["--model", "fast", "--encoder", request["encoder"]]
    settings = {"pretrained": "false"} if unet else {}
    if not request["augmentation"]:
        settings |= {"zoom": "[1.0, 1.0]", "flip": "false", "light": "0.0"}
    for name, value in settings.items():
        options += ["--set", f"{name}={value}"]
    return options


def planned_arguments(data: Path, run: Path, request: dict[str, Any]) -> list[str]:
    """The command line of a training that is planned from its data."""
    options = ["train", str(data), "--out", str(run)]
    for name, value in request["settings"].items():
        options += ["--set", f"{name}={json.dumps(value)}"]  # numbers, texts and lists read alike as TOML
    reading = Values.from_json(request.get("reading"))
    for name, values in reading.classes:
        options += ["--class", f"{name}={','.join(map(str, values))}"]
    for option, texts in (("--void", map(str, reading.void)), ("--masks", [reading.masks]), ("--bands", reading.bands)):
        if text := ",".join(texts):
            options += [option, text]
    if request.get("budget"):
        options += ["--budget", request["budget"]]
    if request.get("start_folder"):
        options += ["--start-from", request["start_folder"]]
    return options


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
