"""convert: write a dataset in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared_options import (
    Classes,
    Masks,
    Void,
    app,
    console_of,
    values_from,
)


@app.command()
def convert(
    data: Annotated[Path, typer.Argument(metavar="IN", help="Dataset folder in any supported format; detected.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the result.")],
    classes: Classes = None,
    void: Void = None,
    masks: Masks = None,
    *,
    to: Annotated[str, typer.Option(metavar="FORMAT", help="Target format: native, pairs, camvid, cityscapes, voc, ade20k, coco, coco-panoptic, yolo, labelme, geojson, cvat, labelstudio, parquet, image-folder or nifti.")],
) -> None:  # fmt: skip
    """Convert a dataset to another format without loss.

    Example: pixelwise convert my_data my_coco --to coco
    """
    from pixelwise.cli.terminal import work_bar
    from pixelwise.datasets.convert import convert as run_convert

    console = console_of(None)
    with work_bar(console, "converting") as progress:
        dataset = run_convert(
            data, out, to, progress=lambda what, done, total: progress(done, total), **values_from(classes, void, masks)
        )
    pairs = ", ".join(f"{len(samples)} {split}" for split, samples in dataset.splits.items())
    console.print(f"{out}: {dataset.layout}, {pairs} pairs, {len(dataset.classes)} classes", soft_wrap=True)
