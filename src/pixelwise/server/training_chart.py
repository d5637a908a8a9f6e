"""The course of a training as SVG, for the report: loss above, mIoU and accuracy below."""

from __future__ import annotations

from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 180, 40, 96, 12, 24


def training_chart(epochs: list[dict[str, Any]]) -> str:
    losses = [e["loss"] for e in epochs] + [e["val_loss"] for e in epochs if e.get("val_loss") is not None]
    return panel(epochs, {"loss": "training loss", "val_loss": "validation loss"}, max(losses)) + panel(
        epochs, {"accuracy": "accuracy", "miou": "mIoU"}, 1.0
    )


def panel(epochs: list[dict[str, Any]], lines: dict[str, str], top: float) -> str:
    def x_of(epoch: int) -> float:
        first, last = epochs[0]["epoch"], epochs[-1]["epoch"]
        return float(LEFT + (WIDTH - LEFT - RIGHT) * (epoch - first) / max(last - first, 1))

    def y_of(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / max(top, 1e-9)

    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_of(top * i / 4):.1f}" y2="{y_of(top * i / 4):.1f}" '
        f'stroke="currentColor" opacity=".15"/><text x="{LEFT - 6}" y="{y_of(top * i / 4) + 4:.1f}" text-anchor="end">'
        f"{top * i / 4:.2f}</text>"
        for i in range(5)
    )
    drawn, lowest = "", -1e9
    ends = sorted(lines, key=lambda key: y_of(epochs[-1].get(key) or 0))
    for key in ends:
        points = [(x_of(e["epoch"]), y_of(e[key])) for e in epochs if e.get(key) is not None]
        if not points:
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 3"' if key != next(iter(lines)) else ""
        lowest = max(points[-1][1] + 4, lowest + 14)
        drawn += f'<polyline points="{path}" fill="none" stroke="var(--accent)" stroke-width="2"{dash}/>'
        drawn += f'<text x="{WIDTH - RIGHT + 8}" y="{lowest:.1f}">{lines[key]}</text>'
    label = " and ".join(lines.values())
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" style="max-width:40rem;width:100%" '
        f'aria-label="{label} by epoch; the table below holds the numbers">{grid}{drawn}'
        f'<text x="{LEFT}" y="{HEIGHT - 6}">epoch {epochs[0]["epoch"]}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{epochs[-1]["epoch"]}</text></svg>'
    )
