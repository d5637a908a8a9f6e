"""A trace as one HTML page that opens offline: image and labels, stages, layers, one pixel, training history."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from pixelwise.prediction.load_model import Model
from pixelwise.prediction.overlay import overlay
from pixelwise.reports.charts import history_charts
from pixelwise.reports.html_page import render, write_page
from pixelwise.reports.pictures import PagePicture, page_picture
from pixelwise.trace_events import Event, read_events
from pixelwise.tracing.network_layers import Layer
from pixelwise.tracing.trace import Trace
from pixelwise.tracing.trace_text import marked_at
from pixelwise.training.observations import images_of, origin

PICTURE_PX = 960


def write_trace_page(trace: Trace, model: Model, path: Path) -> None:
    """Write the page of a trace of `model`. Raises OutputError."""
    title = model.path.parent.name if training_trace(model).is_file() else model.path.stem
    write_page(page_of(trace, model, title), path)


def page_of(trace: Trace, model: Model, title: str) -> str:
    """The page's HTML. The history of the training is included where its trace lies next to the model."""
    prediction, pixel = trace.prediction, trace.pixel
    events = list(read_events(training_trace(model))) if training_trace(model).is_file() else []
    epochs = [event for event in events if event.get("event") == "epoch"]
    metrics: dict[str, Any] = model.metadata.provenance.get("metrics") or {}
    caption = f"its labels; the ring marks pixel ({pixel.x}, {pixel.y})"
    labelled = marked_at(overlay(trace.picture, prediction.labels, prediction.classes), pixel.x, pixel.y)
    return render(
        "trace.html",
        trace=trace,
        title=title,
        name=PurePath(trace.file).name if trace.file else "an image",
        size=f"{prediction.labels.shape[1]}×{prediction.labels.shape[0]}",
        colours=dict(zip(prediction.classes.names, prediction.classes.colours, strict=True)),
        images=[
            page_picture(trace.picture, PICTURE_PX, "the image", "the image"),
            page_picture(labelled, PICTURE_PX, "its labels over it", caption),
        ],
        stages=[stage_picture(event) for event in trace.flow],
        layers=[layer_picture(layer) for layer in trace.layers],
        receptive_field=trace.layers[-1].receptive_in_words,
        origins=[origin(event) for event in events if event.get("event") == "start"],
        epochs=epochs,
        history=history_charts(epochs) if epochs else None,
        metrics=metrics if metrics.get("classes") else None,
        measured_on=images_of(metrics),
    )  # fmt: skip


def training_trace(model: Model) -> Path:
    """Where the trace of the model's training is, if the model lies in its run directory."""
    return model.path.parent / "trace.jsonl"


def stage_picture(event: Event) -> PagePicture:
    shape = " × ".join(str(side) for side in event["shape"])
    values = f"{event['minimum']:.3g} to {event['maximum']:.3g}"
    caption = f"{event['stage']}\n{shape}, {event['dtype']}\n{values}\n{event['milliseconds']:.1f} ms"
    return PagePicture(event["thumbnail"], f"after the stage {event['stage']}", caption)


def layer_picture(layer: Layer) -> PagePicture:
    shape = "×".join(str(side) for side in layer.shape)
    return PagePicture(layer.thumbnail, f"mean activation of the layer {layer.name}", f"{layer.name}\n{shape}")
