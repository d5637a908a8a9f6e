"""The whole story of one image as one HTML file that needs nothing else: pictures and charts inside it, no script."""

from __future__ import annotations

import base64
import time
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pixelwise.images.files import write_whole
from pixelwise.images.image_files import encode_png, read_image
from pixelwise.prediction.flow_events import coloured
from pixelwise.prediction.load_model import Model
from pixelwise.records import Pixels
from pixelwise.server.explain import flow_of, grey, layers_of, pixel_of, values_of
from pixelwise.server.image_memory import RememberedImage
from pixelwise.server.model_cache import CachedModel
from pixelwise.server.training_chart import training_chart
from pixelwise.trace_events import read_events
from pixelwise.tracing.prediction_checks import check_prediction
from pixelwise.training.observations import images_of, origin

PICTURE_PX = 960
STYLE = """
:root { color-scheme: light dark; --ink: #16181d; --dim: #5b6270; --line: #d9dce3; --paper: #fff; --accent: #2b5fd9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eceef2; --dim: #a2a9b8; --line: #333945; --paper: #14161b; --accent: #8fb0ff; }
}
* { box-sizing: border-box }
body { font: 1rem/1.6 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 0 auto; padding: 2rem 1rem 6rem; font-variant-numeric: tabular-nums }
h1 { font-size: 2rem; line-height: 1.2 }
h2 { font-size: 1.25rem; margin: 3.5rem 0 .5rem }
p { max-width: 42rem }
figure { margin: 1rem 0 }
figcaption { color: var(--dim); font-size: .875rem }
img { max-width: 100%; display: block }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem }
.stages { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 1rem }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: .75rem }
.stages img, .maps img { width: 100% }
.maps img { image-rendering: pixelated }
table { border-collapse: collapse; font-size: .875rem }
th, td { text-align: left; padding: .25rem 1.5rem .25rem 0; border-bottom: 1px solid var(--line) }
.bar { display: inline-block; height: .75rem; vertical-align: middle; border: 1px solid var(--dim) }
.scroll { overflow-x: auto }
svg text { fill: var(--dim); font: .75rem system-ui }
"""


def report_html(opened: CachedModel, seen: RememberedImage, x: int, y: int, title: str) -> str:
    """One HTML document about one image, one of its pixels, and the training that led here."""
    prediction = seen.prediction
    height, width = prediction.labels.shape
    mask = coloured(prediction.labels, prediction.classes)
    half = cv2.addWeighted(seen.pixels, 0.45, mask, 0.55, 0)
    cv2.circle(half, (x, y), max(4, width // 120), (255, 255, 255), max(2, width // 300))
    parts = [
        "<h1>Every pixel of this image, labelled</h1>"
        f"<p>{width}×{height} pixels went through the model "
        f"{escape(title)} ({len(prediction.classes)} classes, network {opened.model.digest[:12]}…) "
        "and each got one of its classes. Everything below was computed from this image and this model.</p>",
        '<div class="pair">',
        picture(seen.pixels, "the image"),
        picture(np.asarray(half, np.uint8), f"its labels; the ring marks pixel ({x}, {y})"),
        "</div>",
        shares_section(opened, seen),
        diagnosis_section(opened, seen),
        flow_section(opened, seen),
        layers_section(opened, seen),
        pixel_section(opened, seen, x, y),
        training_section(opened),
        metrics_section(opened),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Pixelwise report</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>"
    )


def write_report(model: Model, image: Path, out: Path, pixel: tuple[int, int]) -> None:
    """Write the report of an image file to `out`. Raises OutputError."""
    began = time.perf_counter()
    pixels = np.ascontiguousarray(read_image(image))
    decoded = time.perf_counter()
    prediction = model.predict(pixels)
    done = time.perf_counter()
    run = model.path.parent if (model.path.parent / "data.json").is_file() else None
    seen = RememberedImage(
        pixels, prediction, (decoded - began) * 1e3, (done - decoded) * 1e3, "", image.stat().st_size
    )
    html = report_html(CachedModel("main", model, run), seen, *pixel, run.name if run else model.path.stem)
    write_whole(out, html.encode())


def data_url(pixels: Pixels) -> str:
    scale = min(PICTURE_PX / max(pixels.shape[:2]), 1.0)
    size = (max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels, np.uint8)
    return "data:image/png;base64," + base64.b64encode(encode_png(np.ascontiguousarray(small))).decode()


def picture(pixels: Pixels, caption: str) -> str:
    said = escape(caption)
    return f'<figure><img src="{data_url(pixels)}" alt="{said}"><figcaption>{said}</figcaption></figure>'


def table(head: list[str], rows: list[list[str]], label: str) -> str:
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table aria-label="{escape(label)}"><tr>{heads}</tr>{body}</table></div>'


def bar(share: float, colour: tuple[int, int, int]) -> str:
    return f'<span class="bar" style="width:{share * 12:.2f}rem;background:rgb{colour}"></span>'


def shares_section(opened: CachedModel, seen: RememberedImage) -> str:
    classes = opened.model.classes
    shares = sorted(zip(seen.prediction.shares.items(), classes.colours, strict=True), key=lambda row: -row[0][1])
    rows = [[escape(name), f"{share:.1%}", bar(share, colour)] for (name, share), colour in shares]
    return "<h2>What is in it</h2>" + table(["class", "of this image's pixels", ""], rows, "shares of the classes")


def diagnosis_section(opened: CachedModel, seen: RememberedImage) -> str:
    findings = check_prediction(seen.pixels, seen.prediction, opened.model.metadata)
    if not findings:
        return ""
    items = "".join(f"<li>{escape(str(finding))}</li>" for finding in findings)
    return f"<h2>What to look out for</h2><ul>{items}</ul>"


def flow_section(opened: CachedModel, seen: RememberedImage) -> str:
    cells = []
    for event in flow_of(opened, seen):
        shape = " × ".join(str(side) for side in event["shape"])
        cells.append(
            f'<figure><img src="{event.get("thumbnail", "")}" alt="{escape(event["stage"])}"><figcaption>'
            f"<strong>{escape(event['stage'])}</strong><br>{shape}, {event['dtype']}<br>{event['minimum']:.3g} to "
            f"{event['maximum']:.3g}<br>{event['milliseconds']:.1f} ms</figcaption></figure>"
        )
    return f'<h2>Four stages</h2><div class="stages">{"".join(cells)}</div>'


def layers_section(opened: CachedModel, seen: RememberedImage) -> str:
    values = values_of(opened, seen)
    cells = []
    for row in layers_of(opened, seen):
        layer = values[opened.inside.tensors[row["name"]]]
        strongest = row["strongest"]
        shape = "×".join(str(side) for side in row["shape"])
        cells.append(
            f'<figure><img src="{data_url(grey(layer[strongest]))}" alt="layer {escape(row["name"])}"><figcaption>'
            f"<strong>{escape(row['name'])}</strong><br>{shape}<br>channel {strongest}</figcaption></figure>"
        )
    return (
        "<h2>Layer by layer</h2><p>Of every layer, the channel that varies most over this image; bright is high.</p>"
        f'<div class="maps">{"".join(cells)}</div>'
    )


def pixel_section(opened: CachedModel, seen: RememberedImage, x: int, y: int) -> str:
    facts = pixel_of(opened, seen, x, y)
    colours = dict(zip(opened.model.classes.names, opened.model.classes.colours, strict=True))
    ranked = sorted(facts["probabilities"].items(), key=lambda item: -item[1])
    rows = [[escape(name), f"{p:.3f}", bar(p, colours[name])] for name, p in ranked]
    field = facts["receptive_field"]
    reach, told = "", "".join(f"<li>{escape(sentence)}</li>" for sentence in facts["sentences"])
    if field:
        pooled = ", and by pooling on the whole image" if field["whole_image_by_pooling"] else ""
        reach = (
            f" Its scores depend on {field['network_px']}×{field['network_px']} pixels of the network's input{pooled}."
        )
    return (
        f"<h2>One pixel: ({x}, {y})</h2><p>It is labelled {escape(facts['label'])}, with a probability of "
        f"{facts['probability']:.2f}.{reach}</p><ul>{told}</ul>"
        + table(["class", "probability", ""], rows, "probabilities of one pixel")
    )


def training_section(opened: CachedModel) -> str:
    trace = opened.run / "trace.jsonl" if opened.run else None
    if trace is None or not trace.is_file():
        return ""
    events = list(read_events(trace))
    epochs = [event for event in events if event.get("event") == "epoch"]
    if not epochs:
        return ""
    began = "".join(f"<p>{escape(origin(event))}</p>" for event in events if event.get("event") == "start")
    rows = [
        [
            str(e["epoch"]),
            *(number(e.get(key)) for key in ("loss", "val_loss", "accuracy", "miou")),
            escape(e["observation"]),
        ]
        for e in epochs
    ]
    head = ["epoch", "loss", "validation loss", "accuracy", "mIoU", "observation"]
    return f"<h2>How it was trained</h2>{began}{training_chart(epochs)}" + table(head, rows, "epochs")


def metrics_section(opened: CachedModel) -> str:
    metrics: dict[str, Any] = opened.model.metadata.provenance.get("metrics") or {}
    if not metrics.get("classes"):
        return ""
    rows = [
        [escape(name), *(number(row.get(key)) for key in ("iou", "recall", "precision"))]
        for name, row in metrics["classes"].items()
    ]
    return (
        f"<h2>How good it is</h2><p>On {escape(images_of(metrics))}: mIoU {number(metrics.get('miou'))}, "
        f"accuracy {number(metrics.get('accuracy'))}.</p>"
        + table(["class", "IoU", "recall", "precision"], rows, "scores by class")
    )


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
