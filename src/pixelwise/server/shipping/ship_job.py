"""A job of the Ship room, in a process of its own, so that it may be stopped and outlives the server.

Run as `python -m pixelwise.server.shipping.ship_job FOLDER`, which holds request.json. Everything is what the command
line does: `export`, `export --web`, `predict --benchmark` and `predict`.
"""

from __future__ import annotations

import re
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pixelwise.bundle.bundle_file import BundleFile, read_bundle
from pixelwise.errors import PixelwiseError
from pixelwise.images.image_files import write_png
from pixelwise.prediction.benchmark_engines import benchmark
from pixelwise.prediction.large.tile_plan import trained_size
from pixelwise.prediction.load_model import find_bundle
from pixelwise.prediction.predict import predict
from pixelwise.prediction.web_export import export_web
from pixelwise.records import RGB
from pixelwise.server.shipping.ship_request import PROGRESS, RESULT, ShipRequest, write_json

EVERY_S = 0.3  # at most, progress is written
FORMS: dict[str, dict[str, Any]] = {
    "float16": {"weights": "float16"},
    "int8-weights": {"weights": "int8"},
    "int8": {"int8": True},
}


class ProgressFile:
    """Writes how far a job is, not more often than a page asks."""

    def __init__(self, folder: Path) -> None:
        self.path, self.written, self.began = folder / PROGRESS, 0.0, time.time()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.time()
        if now - self.written >= EVERY_S or done == total:
            self.written = now
            write_json(self.path, {"what": what, "done": done, "total": total, "seconds": now - self.began})


def main(folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell may ignore it
    if hasattr(signal, "SIGBREAK"):  # Windows' equivalent of Ctrl-C for a process group
        signal.signal(signal.SIGBREAK, signal.default_int_handler)
    request = ShipRequest.from_file(folder)
    work = {"export": reduced, "web": web_page, "benchmark": timed, "label": labelled}[request.work]
    try:
        found = {"state": "finished", **work(request, folder, ProgressFile(folder))}
    except KeyboardInterrupt:
        found = {"state": "stopped"}
    except PixelwiseError as error:
        found = {"state": "failed", "message": str(error)}
    write_json(folder / RESULT, found)


def reduced(request: ShipRequest, folder: Path, progress: ProgressFile) -> dict[str, Any]:
    """A run's bundle in a smaller form, its labels compared with PyTorch's and its scores with the full form's."""
    progress("starting", 0, 0)
    from pixelwise.training.export_run import export  # slow to import: the server itself never does

    events: list[dict[str, Any]] = []
    out = folder / file_name(request, f"-{request.form}.onnx")
    progress("measuring on the validation split", 0, 0)
    export(
        request.model, out, **FORMS[request.form], max_drop=request.max_drop, tell=events.append,
        progress=lambda done, total: progress("calibrating on training images", done, total),
    )  # fmt: skip
    made = next(event for event in events if event["event"] == "export")
    warnings = [event["message"] for event in events if event["event"] == "warning"]
    return {
        "file": out.name,
        "bytes": made["bytes"],
        "differs": made["differs"],
        **{key: made["reduced"][key] for key in ("miou_before", "miou_after", "drop_points")},
        "warnings": warnings,
    }


def web_page(request: ShipRequest, folder: Path, progress: ProgressFile) -> dict[str, Any]:
    progress("writing the page", 0, 0)
    made = export_web(request.model, folder / "page", request.title)
    packed = zipped(made.path, folder / file_name(request, "-web"))
    return {"file": packed.name, "bytes": packed.stat().st_size, "beside": made.other_bytes}


def timed(request: ShipRequest, folder: Path, progress: ProgressFile) -> dict[str, Any]:
    image = usual_image(read_bundle(find_bundle(request.model)), folder)
    found = benchmark(request.model, [image], progress=lambda done, total: progress("timing", done, total))
    return {key: value for key, value in found.to_json().items() if key != "model"}


def labelled(request: ShipRequest, folder: Path, progress: ProgressFile) -> dict[str, Any]:
    out = folder / "labels"
    summary = predict(
        request.model, [request.folder], out, progress=lambda done, total: progress("labelling", done, total)
    )
    packed = zipped(out, folder / file_name(request, "-labels"))
    failures = [f"{path.name}: {message}" for path, message in summary.failed]
    return {"file": packed.name, "bytes": packed.stat().st_size, "images": summary.done, "failures": failures}


def usual_image(bundle: BundleFile, folder: Path) -> Path:
    """The bundle's reference image, enlarged to the usual size of its training images: the time depends on the size."""
    height, width = trained_size(bundle.metadata) or bundle.metadata.size
    image = cv2.resize(bundle.golden.image, (width, height), interpolation=cv2.INTER_NEAREST).reshape(height, width, -1)
    path = folder / ("image.png" if bundle.metadata.bands == RGB else "image.npy")
    if bundle.metadata.bands == RGB:
        write_png(path, image.astype(np.uint8, copy=False))
    else:
        np.save(path, image)
    return path


def zipped(source: Path, target: Path) -> Path:
    """A folder as TARGET.zip; the folder itself goes."""
    made = shutil.make_archive(str(target), "zip", source)
    shutil.rmtree(source)
    return Path(made)


def file_name(request: ShipRequest, suffix: str) -> str:
    return (re.sub(r"[^A-Za-z0-9._-]+", "-", request.title).strip("-.") or "model") + suffix


if __name__ == "__main__":
    main(Path(sys.argv[1]))
