"""Fails where a built page would load anything from another host: `python docs/offline.py build/docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

LOADED = (  # what a browser fetches by itself; links that a person clicks are fine
    re.compile(
        r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc(?:set)?\s*=\s*[\"'](?:https?:)?//[^\"']+", re.I
    ),
    re.compile(
        r"<link\b(?=[^>]*\brel\s*=\s*[\"'](?:stylesheet|preload|icon|modulepreload|preconnect))[^>]*\bhref\s*=\s*[\"'](?:https?:)?//[^\"']+",
        re.I,
    ),
    re.compile(r"(?:url\(\s*|@import\s+)[\"']?(?:https?:)?//[^\"')]+", re.I),
)


def outside(folder: Path) -> list[str]:
    """Each place in the built pages and style sheets that names another host to load from."""
    return [
        f"{path.relative_to(folder)}: {found[0]}"
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".html", ".css"}
        for pattern in LOADED
        for found in pattern.finditer(path.read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    pages = len(list(Path(sys.argv[1]).rglob("*.html")))
    if not pages:
        sys.exit(f"{sys.argv[1]}: no pages; build them first")
    found = outside(Path(sys.argv[1]))
    print(f"{pages} pages, {len(found)} of their parts come from elsewhere")
    sys.exit("\n".join(found) or 0)
