"""The names of a folder's colours, where a table beside the masks tells them."""

from __future__ import annotations

from pathlib import Path, PurePath

from pixelwise.datasets.name_tables import colours_of, tables_beside


def table_beside(root: Path) -> tuple[str, dict[int, str]]:
    """The first table in a folder, or in one of the folders in it: its file's name, and colour 0xRRGGBB → class.

    ("", {}) where there is none that can be read.
    """
    where, colours = colours_of(tables_beside(root))
    return PurePath(where).name, dict(colours)
