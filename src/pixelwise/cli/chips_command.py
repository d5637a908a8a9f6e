"""chips: cut maps and polygons into a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.shared_options import app, console_of
from pixelwise.errors import UsageError

if TYPE_CHECKING:
    from pixelwise.datasets.map_chips import ChipsMade


@app.command()
def chips(
    paths: Annotated[list[Path], typer.Argument(metavar="RASTER... LABELS OUT", help="One or more rasters (GeoTIFF, COG, JPEG 2000, VRT), the polygons over them (GeoJSON, GeoPackage, Shapefile) in any CRS, and a new folder for the dataset.")],
    size: Annotated[int, typer.Option(metavar="PIXELS", help="Most pixels a side of a chip.")] = 512,
    attribute: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the polygons' classes. Default: class, label, category, type or name, whichever exists. Polygons of the class void are unlabelled.")] = "",
    one_class: Annotated[str, typer.Option(metavar="NAME", help="The class of all polygons, whatever their columns say.")] = "",
    layer: Annotated[str, typer.Option(metavar="NAME", help="Layer of a GeoPackage. Default: the only one with polygons.")] = "",
    labels_crs: Annotated[str, typer.Option(metavar="CRS", help="CRS of the polygons, such as EPSG:25832. Default: as their file states.")] = "",
    all_touched: Annotated[bool, typer.Option("--all-touched", help="Label every pixel that a polygon meets. Default: pixels whose centre lies inside.")] = False,
    outside: Annotated[str, typer.Option(metavar="background|void", help="What pixels in no polygon are: the class background, or void (unlabelled).")] = "background",
    area: Annotated[Path | None, typer.Option(metavar="FILE", help="Polygons of the area that is labelled completely: pixels outside are void, chips inside without a polygon are kept. Default: chips without a polygon are skipped.")] = None,
    val: Annotated[float, typer.Option(metavar="SHARE", help="Share of the chips for validation, between 0 and 1.")] = 0.15,
    test: Annotated[float, typer.Option(metavar="SHARE", help="Share of the chips for the test, 0 to 1; 0: none.")] = 0.15,
) -> None:  # fmt: skip
    """Cut maps and the polygons over them into a dataset to train on.

    Splits are blocks of space: chips that touch are never in two splits. Needs the extra geo.

    Example: pixelwise chips ortho.tif buildings.gpkg my_data
    """
    from pixelwise.cli.terminal import work_bar
    from pixelwise.datasets.map_chips import ChipOptions, cut_chips

    if len(paths) < 3:
        raise UsageError("expected RASTER... LABELS OUT: one or more rasters, a file with polygons and a new folder.")
    if outside not in ("background", "void"):
        raise UsageError(f"--outside {outside!r}: expected background or void.")
    *rasters, labels, out = paths
    console = console_of(None)
    options = ChipOptions(
        size, val, test, layer, attribute, one_class, labels_crs, all_touched, area, outside == "void"
    )
    with work_bar(console, "cutting chips") as progress:
        made = cut_chips(rasters, labels, out, options, progress)
    for line in lines_of(made):
        console.print(line, soft_wrap=True)


def lines_of(made: ChipsMade) -> list[str]:
    """What was written and what was not, as text."""
    from pixelwise.datasets.map_chips import REASONS
    from pixelwise.images.files import shown

    splits = ", ".join(f"{number:,} {split}" for split, number in made.splits.items())
    total = max(sum(made.pixels.values()), 1)
    shares = ", ".join(f"{name} {number / total:.1%}" for name, number in made.pixels.items() if number)
    lines = [f"{shown(made.out)}: {splits} chips, {len(made.classes)} classes", f"pixels: {shares}"]
    lines += [f"note: {note}" for note in made.notes]
    lines += [f"skipped: {number:,} chips {REASONS[reason]}" for reason, number in made.skipped.items()]
    if made.beside_another_split:
        lines.append(
            f"left out: {made.beside_another_split:,} chips beside a chip of another split, so that no neighbours lie in "
            "two splits"
        )
    return lines
