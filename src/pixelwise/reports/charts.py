"""Charts as SVG, drawn here: a handful of shapes need no library, and a page without scripts opens anywhere.

Colours are CSS variables of the page, so that a chart follows its light and dark theme. Every chart has a label for
readers who cannot see it; its numbers are also in a table of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from markupsafe import Markup

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 22, 12, 42  # margins for the axes
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_DOTS = 20  # points of a line up to which each has a dot


@dataclass(frozen=True)
class Line:
    """One line of a chart: points (x, y), x from 0 to 1."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "a"  # a: solid; b: dashed, in the second colour; guess: dotted, grey
    joined: bool = True  # False: dots alone


def place(x: float, y: float) -> tuple[float, float]:
    """Where (x, y), each from 0 to 1, is in the SVG."""
    return LEFT + x * (WIDTH - LEFT - RIGHT), TOP + (1 - y) * (HEIGHT - TOP - BOTTOM)


def svg(label: str, inside: str, height: float = HEIGHT, after: str = "") -> Markup:
    label = escape(label, quote=True)
    drawn = f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{label}">{inside}</svg>'
    return Markup(f"<div>{drawn}{after}</div>")


def axes(x_name: str, y_name: str, x_ticks: Sequence[tuple[float, str]], top: float, y_form: str) -> str:
    """Grid, numbers and names. `top` is the value at the upper end of the y axis."""
    parts = []
    for tick in TICKS:
        x0, y = place(0, tick)
        x1, _ = place(1, tick)
        parts.append(f'<line class="grid" x1="{x0:.1f}" y1="{y:.1f}" x2="{x1:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{x0 - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick * top:{y_form}}</text>')
    for tick, name in x_ticks:
        x, y = place(tick, 0)
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{escape(name)}</text>')
    middle_x, middle_y = place(0.5, 0.5)
    parts.append(f'<text class="name" x="{middle_x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_name)}</text>')
    parts.append(f'<text class="name" transform="translate(12 {middle_y:.1f}) rotate(-90)" text-anchor="middle">'
                 f"{escape(y_name)}</text>")  # fmt: skip
    return "".join(parts)


def line_chart(
    label: str,
    x_name: str,
    y_name: str,
    lines: Sequence[Line],
    x_ticks: Sequence[tuple[float, str]],
    top: float = 1.0,
    y_form: str = ".0%",
) -> Markup:
    """Lines with a legend below. `top` is the upper end of the y axis, `y_form` the format of its numbers."""
    drawn = axes(x_name, y_name, x_ticks, top, y_form) + "".join(drawn_line(line, top) for line in lines)
    return svg(label, drawn, after=legend([line for line in lines if line.points]))


def drawn_line(line: Line, top: float) -> str:
    """A line as SVG, with dots if it has few points."""
    parts = []
    known = [place(x, min(y / top, 1.0)) for x, y in line.points if x == x and y == y]
    if line.joined:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in known)
        parts.append(f'<polyline class="line {line.style}" points="{path}"/>')
    if not line.joined or len(known) <= MOST_DOTS:
        parts += [f'<circle class="dot {line.style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in known]
    return "".join(parts)


def svg_file(label: str, inside: str) -> str:
    """A chart as an SVG file of its own, light or dark like the system."""
    label = escape(label, quote=True)
    style = (
        "svg{--a:#1668b8;--b:#b8451a;background:#fff;color:#222;font:12px sans-serif}text{fill:currentColor}"
        ".grid{stroke:currentColor;opacity:.15}.line{fill:none;stroke-width:2}.line.a{stroke:var(--a)}.dot.a{fill:var(--a)}"
        ".line.b{stroke:var(--b);stroke-dasharray:5 3}.dot.b{fill:none}"
        "@media(prefers-color-scheme:dark){svg{--a:#6cb1f2;--b:#f2986c;background:#16181c;color:#e6e6e6}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{1.5 * WIDTH:g}" '
        f'height="{1.5 * HEIGHT:g}" role="img" aria-label="{label}">'
        f"<title>{label}</title><style>{style}</style>{inside}</svg>\n"
    )


def legend(lines: Sequence[Line]) -> str:
    """The name of every line, next to a piece of it."""
    parts = []
    for line in lines:
        piece = f'<circle class="dot {line.style}" cx="12" cy="4" r="3"/>'
        if line.joined:
            piece = f'<line class="line {line.style}" x1="0" y1="4" x2="24" y2="4"/>'
        parts.append(f'<span><svg viewBox="0 0 24 8" aria-hidden="true">{piece}</svg> {escape(line.name)}</span> ')
    return f'<p class="legend">{"".join(parts)}</p>'


def history_charts(epochs: Sequence[dict[str, Any]]) -> Markup:
    """The training history: loss, then accuracy and mIoU, by epoch.

    Args:
        epochs: `epoch` events of a trace, in order, at least one.
    """
    first, last = epochs[0]["epoch"], epochs[-1]["epoch"]
    ticks = [(0.0, str(first)), (1.0, str(last))] if last > first else [(0.0, str(first))]

    def line(key: str, name: str, style: str = "a") -> Line:
        known = [epoch for epoch in epochs if epoch.get(key) is not None]
        return Line(name, [((e["epoch"] - first) / max(last - first, 1), e[key]) for e in known], style)

    losses = [line("loss", "training loss"), line("val_loss", "validation loss", "b")]
    scores = [line("accuracy", "accuracy"), line("miou", "mIoU", "b")]
    top = max((y for one in losses for _, y in one.points), default=0.0) or 1.0
    return line_chart("Training and validation loss by epoch", "epoch", "loss", losses, ticks, top, ".2f") + line_chart(
        "Accuracy and mIoU on the validation split by epoch", "epoch", "score", scores, ticks
    )


def reliability_chart(label: str, bins: Sequence[tuple[float, float, float]]) -> Markup:
    """Bars of accuracy over confidence, and the diagonal on which the bars of a calibrated model end.

    Args:
        bins: share of the pixels, mean confidence and accuracy of each; NaN in empty ones.
    """
    parts = [axes("confidence", "accuracy", [(tick, f"{tick:.0%}") for tick in TICKS], 1.0, ".0%")]
    for i, (share, _, accuracy) in enumerate(bins):
        if accuracy != accuracy:
            continue
        x0, y0 = place(i / len(bins), 0)
        x1, y1 = place((i + 1) / len(bins), accuracy)
        faint = 0.35 + 0.65 * min(share * 4, 1)
        parts.append(f'<rect class="a" opacity="{faint:.2f}" x="{x0 + 1:.1f}" y="{y1:.1f}" '
                     f'width="{x1 - x0 - 2:.1f}" height="{y0 - y1:.1f}"/>')  # fmt: skip
    (x0, y0), (x1, y1) = place(0, 0), place(1, 1)
    parts.append(f'<line class="line guess" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>')
    return svg(label, "".join(parts))


def histogram(label: str, x_name: str, counts: Sequence[int], limits: tuple[str, str, str]) -> Markup:
    """Columns of counts over equal steps. `limits` are the x axis's values at its start, middle and end."""
    most = max(max(counts, default=0), 1)
    parts = [axes(x_name, "objects", [(i / 2, text) for i, text in enumerate(limits)], most, ",.0f")]
    for i, number in enumerate(counts):
        x0, y0 = place(i / len(counts), 0)
        x1, y1 = place((i + 1) / len(counts), number / most)
        parts.append(f'<rect class="a" x="{x0:.1f}" y="{y1:.1f}" width="{x1 - x0 - 1:.1f}" height="{y0 - y1:.1f}"/>')
    return svg(label, "".join(parts))


def bars(label: str, rows: Sequence[tuple[str, float, str]], top: float) -> Markup:
    """Horizontal bars: name, value, and the text next to the bar. A bar of `top` fills the width."""
    row_px, name_px, text_px = 30, 150, 100
    parts = []
    for i, (name, value, text) in enumerate(rows):
        y = i * row_px + 4
        length = max(value, 0.0) / top * (WIDTH - name_px - text_px) if top > 0 and value == value else 0.0
        parts.append(f'<text x="{name_px - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="a" x="{name_px}" y="{y}" width="{length:.1f}" height="20"/>')
        parts.append(f'<text x="{name_px + length + 6:.1f}" y="{y + 15}">{escape(text)}</text>')
    return svg(label, "".join(parts), len(rows) * row_px + 4)
