"""trace: follow one image through a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared_options import JsonFile, ModelName, app, console_of, give


@app.command()
def trace(
    model: ModelName,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image to follow.")],
    pixel: Annotated[str | None, typer.Option(metavar="X,Y", help="Pixel to explain, counted from the top left. [default: the least certain pixel]")] = None,
    slice_number: Annotated[int | None, typer.Option("--slice", metavar="N", min=0, help="Slice of a NIfTI volume, from 0. [default: the middle]")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the trace as one HTML file that works offline.")] = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Trace an image through a model: four stages, every layer, and why one pixel got its label.

    Example: pixelwise trace my_run photo.jpg --pixel 212,140
    """
    from pixelwise.prediction.load_model import load
    from pixelwise.tracing.trace import trace as run_trace

    place = parse_pixel(pixel) if pixel else None
    opened = load(model)
    result = run_trace(opened, image, place, slice_number=slice_number)
    give(result, json_file)
    if html is not None:
        from pixelwise.tracing.trace_page import write_trace_page

        write_trace_page(result, opened, html)
        console_of(json_file).print(f"HTML report: {html}", soft_wrap=True)


def parse_pixel(text: str) -> tuple[int, int]:
    """ "212,140" → (212, 140)."""
    from pixelwise.errors import UsageError

    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise UsageError(f"--pixel {text}: expected X,Y in pixels from the top left, such as 212,140.")
    return int(parts[0]), int(parts[1])
