"""Charts as SVG, drawn here: a handful of shapes need no library, and a page without scripts opens anywhere.

Colours are the page's own (CSS variables), so that a chart follows its theme. What a chart shows stands in its label
for those who cannot see it, and in a table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 22, 12, 42  # margins for the axes
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Line:
    """One line of a chart: points (x, y), each 0–1."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "a"  # a, b: solid in the page's two colours; guess: dashed, grey


def place(x: float, y: float) -> tuple[float, float]:
    """Where the chart's (x, y), each 0–1, lies on the picture."""
    return LEFT + x * (WIDTH - LEFT - RIGHT), TOP + (1 - y) * (HEIGHT - TOP - BOTTOM)


def picture(what: str, inside: str, height: float = HEIGHT, width: float = WIDTH) -> str:
    label = escape(what, quote=True)
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">{inside}</svg>'


def axes(x_name: str, y_name: str, x_ticks: Sequence[tuple[float, str]], top: float) -> str:
    """Grid, numbers and names. `top` is the value at the upper end of the y axis."""
    parts = []
    for tick in TICKS:
        x0, y = place(0, tick)
        x1, _ = place(1, tick)
        parts.append(f'<line class="grid" x1="{x0:.1f}" y1="{y:.1f}" x2="{x1:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{x0 - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick * top:.0%}</text>')
    for tick, name in x_ticks:
        x, y = place(tick, 0)
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{escape(name)}</text>')
    middle_x, middle_y = place(0.5, 0.5)
    parts.append(f'<text class="name" x="{middle_x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_name)}</text>')
    parts.append(f'<text class="name" transform="translate(12 {middle_y:.1f}) rotate(-90)" text-anchor="middle">'
                 f"{escape(y_name)}</text>")  # fmt: skip
    return "".join(parts)


def line_chart(
    what: str, x_name: str, y_name: str, lines: Sequence[Line], x_ticks: Sequence[tuple[float, str]], top: float = 1.0
) -> str:
    """Lines over 0–1. y values are divided by `top`, the upper end of the axis."""
    parts = [axes(x_name, y_name, x_ticks, top)]
    for line in lines:
        known = [place(x, min(y / top, 1.0)) for x, y in line.points if x == x and y == y]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in known)
        parts.append(f'<polyline class="line {line.style}" points="{path}"/>')
        if len(known) <= 20:
            parts += [f'<circle class="dot {line.style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in known]
    return picture(what, "".join(parts))


def reliability_chart(what: str, bins: Sequence[tuple[float, float, float]]) -> str:
    """Bars of accuracy over confidence, with the diagonal on which they should end.

    Args:
        bins: share of the pixels, mean confidence and accuracy of each; NaN in empty ones.
    """
    parts = [axes("confidence", "accuracy", [(tick, f"{tick:.0%}") for tick in TICKS], 1.0)]
    for i, (share, _, accuracy) in enumerate(bins):
        if accuracy != accuracy:
            continue
        x0, y0 = place(i / len(bins), 0)
        x1, y1 = place((i + 1) / len(bins), accuracy)
        faint = 0.35 + 0.65 * min(share * 4, 1)
        parts.append(f'<rect class="bar a" opacity="{faint:.2f}" x="{x0 + 1:.1f}" y="{y1:.1f}" '
                     f'width="{x1 - x0 - 2:.1f}" height="{y0 - y1:.1f}"/>')  # fmt: skip
    (x0, y0), (x1, y1) = place(0, 0), place(1, 1)
    parts.append(f'<line class="line guess" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>')
    return picture(what, "".join(parts))


def bars(what: str, rows: Sequence[tuple[str, float, str]], top: float) -> str:
    """Horizontal bars: name, value and what is written beside it. A bar of `top` fills the width."""
    row_px, name_px, text_px = 30, 150, 100
    parts = []
    for i, (name, value, text) in enumerate(rows):
        y = i * row_px + 4
        length = max(value, 0.0) / top * (WIDTH - name_px - text_px) if top > 0 and value == value else 0.0
        parts.append(f'<text x="{name_px - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="bar a" x="{name_px}" y="{y}" width="{length:.1f}" height="20"/>')
        parts.append(f'<text x="{name_px + length + 6:.1f}" y="{y + 15}">{escape(text)}</text>')
    return picture(what, "".join(parts), height=len(rows) * row_px + 4)
