"""objects: count and measure the objects in images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared_options import JsonFile, Threads, app, console_of, write_json


@app.command()
def objects(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundle, a run directory, or the name of a built-in model; or what has the classes of finished label maps: a dataset, or a folder that predict wrote.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES…", help="Images: files, folders, globs; or finished label maps.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; created if it does not exist. An interrupted run resumes.")],
    save: Annotated[str, typer.Option(metavar="NAMES", help="Comma-separated files: csv (always), parquet, geojson, coco, map (object numbers as TIFF), labels, overlay.")] = "csv",
    classes: Annotated[list[str] | None, typer.Option("--class", metavar="NAME", help="A class whose objects are counted; repeatable. [default: all but the background]")] = None,
    separate: Annotated[str, typer.Option(metavar="HOW", help="How touching objects are separated: auto, components (not at all), distance (at necks), intensity (bright or dark centres), border (learned by the model).")] = "auto",
    min_area: Annotated[float | None, typer.Option("--min-area", metavar="PX", help="Leave out objects of fewer pixels; 0: none. [default: a quarter of the area that 95 % of the training objects exceed]")] = None,
    max_area: Annotated[float | None, typer.Option("--max-area", metavar="PX", help="Leave out objects of more pixels.")] = None,
    min_confidence: Annotated[float, typer.Option("--min-confidence", metavar="0–1", help="Leave out objects whose mean confidence is lower.")] = 0,
    drop_edge: Annotated[bool, typer.Option("--drop-edge", help="Leave out objects that touch the edge of the image.")] = False,
    threads: Threads = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: delete what an earlier run wrote to OUT.")] = False,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Count and measure the objects in images. Each image gets a table with one row an object; the folder gets a summary.

    Objects are connected pixels of a class; touching ones are separated. Columns are named as scikit-image's
    regionprops, in pixels and in the unit that the file states.

    Finished label maps have objects, too: pixelwise objects DATA DATA/val/masks --out counted

    Example: pixelwise objects nuclei plate_1/ --out counted --save csv,map --drop-edge
    """
    from pixelwise.cli.terminal import work_bar
    from pixelwise.prediction.count_objects import count_objects

    console = console_of(json_file)
    with work_bar(console, "counting") as progress:
        try:
            found = count_objects(
                model, images, out, save=[name.strip() for name in save.split(",")], classes=classes or (),
                separate=separate, min_area=min_area, max_area=max_area, min_confidence=min_confidence,
                drop_edge=drop_edge, threads=threads, fresh=fresh, progress=progress,
            )  # fmt: skip
        except KeyboardInterrupt:
            typer.echo("pixelwise: stopped. Run the same command again to resume.", err=True)
            raise typer.Exit(130) from None
    console.print(str(found), soft_wrap=True, markup=False)
    write_json(json_file, found.to_json())
    if found.exit_code:
        raise typer.Exit(found.exit_code)
