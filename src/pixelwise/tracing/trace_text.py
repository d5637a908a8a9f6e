"""A trace in the terminal."""

from __future__ import annotations

from itertools import groupby

import cv2
import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from pixelwise.prediction.flow_events import coloured
from pixelwise.prediction.stages import HOW_TIMED, RUNS
from pixelwise.records import ClassList, Colour, Pixels, Prediction
from pixelwise.trace_events import Event
from pixelwise.tracing.network_layers import Layer
from pixelwise.tracing.pixel_story import PixelStory
from pixelwise.tracing.prediction_checks import PredictionWarning
from pixelwise.tracing.terminal_picture import Pictures

BAR_COLUMNS = 20
SMALLEST_SHARE = 0.0005  # of the image; a class with fewer pixels is not in the legend


def show_trace(
    file: str | None,
    digest: str,
    image: Pixels,
    prediction: Prediction,
    flow: tuple[Event, ...],
    layers: tuple[Layer, ...],
    pixel: PixelStory,
    findings: tuple[PredictionWarning, ...],
) -> RenderableType:
    """Everything in a `Trace`, for printing with rich."""
    classes = prediction.classes
    mask_HW3 = coloured(prediction.labels, classes)
    marked = marked_at(image, pixel.x, pixel.y)
    parts: list[RenderableType] = [
        Text(f"{file or 'image'}   model {digest[:12]}", style="bold"),
        Pictures([marked, mask_HW3], ["image", "labels"], smooth=[True, False]),
        legend(prediction.shares, classes),
        Text(),
        flow_table(flow),
        Text(f"Time: {HOW_TIMED}; median of {RUNS} runs.", style="dim"),
        Text(),
        layer_table(layers),
        Text(),
        story(pixel, classes),
    ]
    if findings:
        parts += [Text(), Text("Warnings", style="bold yellow")]
        parts += [Text(f"• {finding}") for finding in findings]
    return Group(*parts)


def flow_table(events: tuple[Event, ...]) -> Table:
    """The four stages."""
    table = Table(title="Data flow", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage")
    table.add_column("output")
    table.add_column("values")
    table.add_column("ms", justify="right")
    for number, event in enumerate(events, start=1):
        output, values = stage_in_words(event)
        table.add_row(f"{number} {event['stage']}", output, values, f"{event['milliseconds']:.1f}")
    return table


def stage_in_words(event: Event) -> tuple[str, str]:
    """The output of a stage, and its range of values."""
    shape = " × ".join(str(side) for side in event["shape"])
    low, high = event["minimum"], event["maximum"]
    if event["stage"] == "preprocess":
        unit_low, unit_high = event["unit_range"]
        values = f"{unit_low:.2f} to {unit_high:.2f}, normalised {low:.2f} to {high:.2f}"
        return f"{shape} {event['dtype']} ({event['policy']})", values
    if event["stage"] == "model":
        h, w, _ = event["scores_shape"]
        return f"{shape} scores (upsampled from {h} × {w})", f"{low:.1f} to {high:.1f}"
    if event["stage"] == "pixel-wise classification":
        h, w = event["network_shape"]
        return f"{h} × {w} labels → {shape}", f"{event['classes_present']} of {event['classes']} classes"
    return f"{shape} {event['dtype']}", f"{low:.0f} to {high:.0f}"


def layer_table(rows: tuple[Layer, ...]) -> Table:
    """The layers in their groups."""
    table = Table(title="Layers", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False,
                  collapse_padding=True)  # fmt: skip
    table.add_column("layer", overflow="fold")
    for heading in ("output", "params", "MACs", "receptive field", "mean |a|", "active"):
        table.add_column(heading, justify="right")
    for group, layers in groupby(rows, key=lambda row: row.group):
        table.add_row(Text(group, style="dim"))
        for row in layers:
            table.add_row(
                f"  {row.name}",
                "×".join(str(side) for side in row.shape),
                f"{row.parameters:,}",
                in_millions(row.multiply_adds),
                row.receptive_in_words,
                f"{row.strength:.2f}",
                f"{row.active:.0%}",
            )
    table.add_section()
    total = sum(row.multiply_adds for row in rows)
    table.add_row("total", "", f"{sum(row.parameters for row in rows):,}", in_millions(total), style="bold")
    return table


def in_millions(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number else "–"


def story(pixel: PixelStory, classes: ClassList) -> RenderableType:
    """One pixel: all probabilities, highest first, and the sentences about it."""
    colour = f"#{pixel.colour[0]:02x}{pixel.colour[1]:02x}{pixel.colour[2]:02x}"
    heading = Text(f"Pixel ({pixel.x}, {pixel.y})", style="bold")
    heading.append(f"  {pixel.chosen}; its colour is {colour} ", style="not bold")
    heading.append("■", style=hue(pixel.colour))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    ids = {name: i for i, name in enumerate(classes.names)}
    for name, probability in sorted(pixel.probabilities.items(), key=lambda item: -item[1]):
        text = Text("■ ", style=hue(classes.colours[ids[name]])).append(
            name, style="bold" if name == pixel.label else ""
        )
        table.add_row(text, f"{probability:.1%}", bar(probability))
    loud = [answer for answer in pixel.answers if answer.layer != "input"]
    answers = Text("Strongest channel here (relative to its mean): ", style="dim")
    answers.append(", ".join(f"{a.layer} #{a.channel} ({a.times_usual:.1f}×)" for a in loud))
    return Group(heading, table, Text(" ".join(pixel.sentences)), answers)


def legend(shares: dict[str, float], classes: ClassList) -> Text:
    """The classes of the image with their shares, largest first."""
    text = Text()
    colours = dict(zip(classes.names, classes.colours, strict=True))
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        if share >= SMALLEST_SHARE:
            text.append("■ ", style=hue(colours[name])).append(f"{name} {share:.1%}   ")
    return text


def bar(share: float, columns: int = BAR_COLUMNS) -> str:
    """A bar of block characters, accurate to an eighth of a column."""
    eighths = round(share * columns * 8)
    part = " ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else ""
    return "█" * (eighths // 8) + part


def hue(colour: Colour) -> Style:
    return Style(color=f"#{colour[0]:02x}{colour[1]:02x}{colour[2]:02x}")


def marked_at(image_HW3: NDArray[np.uint8], x: int, y: int) -> NDArray[np.uint8]:
    """A copy of the image with a ring around (x, y)."""
    marked = image_HW3.copy()
    radius = max(max(marked.shape[:2]) // 24, 2)
    cv2.circle(marked, (x, y), radius, (255, 255, 255), max(radius // 3, 1))
    return marked
