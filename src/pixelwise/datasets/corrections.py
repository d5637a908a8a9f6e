"""Corrections of a model's masks: `accept` records them next to the masks, `check` reports them.

corrections.jsonl: one line per image, with the mask's path, its SHA-256 on return, the share of changed pixels, and
the changes from class to class.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.images.files import Refusal, read_bytes, shown, utf8, write_whole

FILE_NAME = "corrections.jsonl"
TOP = 5


@dataclass(frozen=True)
class Corrected:
    """One corrected mask."""

    mask: str  # its path below the dataset's root
    digest: str
    changed: float  # share of changed pixels
    changes: tuple[tuple[str, str, int], ...]  # the model's class, the corrected class, pixels


def write_corrections(root: Path, rows: Sequence[Corrected]) -> None:
    """Write corrections.jsonl. Raises OutputError."""
    lines = (
        {"mask": row.mask, "sha256": row.digest, "changed": row.changed,
         "corrections": [{"model": was, "person": now, "pixels": pixels} for was, now, pixels in row.changes]}
        for row in rows
    )  # fmt: skip
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_whole(root / FILE_NAME, utf8(text))


def read_corrections(root: Path) -> list[Corrected]:
    """Read corrections.jsonl; [] if there is none. Raises Refusal if the file is damaged."""
    if not (root / FILE_NAME).is_file():
        return []
    try:
        rows = [json.loads(line) for line in read_bytes(root / FILE_NAME).decode().splitlines() if line.strip()]
        return [
            Corrected(
                str(row["mask"]),
                str(row["sha256"]),
                float(row["changed"]),
                tuple((str(c["model"]), str(c["person"]), int(c["pixels"])) for c in row["corrections"]),
            )
            for row in rows
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = "cannot be read: it is not a table of corrections as `accept` writes it."
        raise Refusal("corrections", what, "Remove it; it only records what `accept` changed.") from error


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def describe_corrections(root: Path, rows: Sequence[Corrected]) -> tuple[list[str], dict[str, Any]]:
    """Notes on the corrections and on masks changed since or missing; and the same as JSON."""
    if not rows:
        return [], {}
    sums: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for was, now, pixels in row.changes:
            sums[was, now] += pixels
    touched = sorted((row for row in rows if row.changed), key=lambda row: (-row.changed, row.mask))
    since = [row.mask for row in rows if _now(root / row.mask) != row.digest]
    share = sum(row.changed for row in rows) / len(rows)
    notes = [
        f"Corrected by a person: {len(touched)} of {len(rows)} masks that a model had predicted, {share:.2%} of their "
        f"pixels; most of all {', '.join(f'{shown(row.mask)} ({row.changed:.1%})' for row in touched[:TOP]) or 'none'}."
    ]
    if sums:
        listed = ", ".join(f"{was} → {now} {pixels:,}" for (was, now), pixels in sums.most_common(TOP))
        notes.append(f"Corrections in pixels, model → person: {listed}.")
    if since:
        notes.append(f"Changed or missing since they were accepted: {len(since)} masks, such as {shown(since[0])}.")
    return notes, {
        "masks": [{"mask": row.mask, "changed": row.changed} for row in rows],
        "corrections": [{"model": was, "person": now, "pixels": n} for (was, now), n in sums.most_common()],
        "altered_since": since,
    }


def _now(path: Path) -> str:
    try:
        return digest_of(read_bytes(path))
    except Refusal:
        return ""
