"""The counts of a pass as bytes, so that a pass that was interrupted goes on, and its images are found again later.

A file is a NumPy archive of plain arrays, without pickles. Objects of single images are not in it: a pass that scores
them starts over.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from math import isnan
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.evaluation.compare import ModelCounts, PairedTally
from pixelwise.evaluation.evaluation_pass import Tally
from pixelwise.evaluation.measure_image import Sums
from pixelwise.evaluation.per_image import ImageRow
from pixelwise.metrics.error_types import Suspect
from pixelwise.records import Sample

SIDES = "ab"
COUNTS = ("counts", "near", "sizes", "edges")  # of ModelCounts
UNREADABLE = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, BadZipFile, zlib.error)


def tally_bytes(tally: Tally) -> bytes:
    rows = tally.rows
    facts = {
        "names": [row.name for row in rows],
        "suspects": [{"image": name, **asdict(suspect)} for name, suspect in tally.suspects],
        "suspects_in_all": tally.suspects_in_all,
    }
    confusions = [row.confusions_M3 for row in rows]
    milliseconds = [float("nan") if row.milliseconds is None else row.milliseconds for row in rows]
    return archived(
        facts,
        {
            **{field.name: getattr(tally.sums, field.name) for field in fields(Sums)},
            "size": np.array([(row.height, row.width) for row in rows], np.int64).reshape(-1, 2),
            "counts": np.array([row.counts_3C for row in rows], np.uint32),
            "baseline": np.array([row.baseline_edges_4C for row in rows], np.uint32),
            "floats": np.array([(row.boundary_f, row.confidence) for row in rows]).reshape(-1, 2),
            "errors_of": np.array([row.errors for row in rows], np.int64),
            "milliseconds": np.array(milliseconds),
            "confusions": np.concatenate([np.zeros((0, 3), np.uint32), *confusions]),
            "ends": np.cumsum([len(one) for one in confusions], dtype=np.int64),
        },
    )


def tally_of(data: bytes, samples: Mapping[str, Sample]) -> Tally:
    """The inverse of `tally_bytes`; `samples` by name. Raises DataError: damaged, or of other images."""
    try:
        facts, arrays = opened(data)
        found = Tally(Sums(**{field.name: arrays[field.name] for field in fields(Sums)}), [], [])
        parts = np.split(arrays["confusions"], arrays["ends"][:-1]) if facts["names"] else []
        for i, name in enumerate(facts["names"]):
            height, width = (int(side) for side in arrays["size"][i])
            boundary_f, confidence = (float(value) for value in arrays["floats"][i])
            milliseconds = float(arrays["milliseconds"][i])
            found.rows.append(
                ImageRow(
                    samples[name], height, width, arrays["counts"][i], boundary_f, arrays["baseline"][i], confidence,
                    tuple(int(number) for number in arrays["errors_of"][i]),
                    None if isnan(milliseconds) else milliseconds, parts[i],
                )
            )  # fmt: skip
        found.suspects = [(row.pop("image"), Suspect(**row)) for row in facts["suspects"]]
        found.suspects_in_all = int(facts["suspects_in_all"])
    except UNREADABLE as error:
        raise damaged(error) from error
    return found


def paired_bytes(tally: PairedTally) -> bytes:
    sides = zip(SIDES, tally.sides, strict=True)
    arrays = {f"{side}_{name}": np.array(getattr(counts, name)) for side, counts in sides for name in COUNTS}
    return archived({"names": tally.names}, arrays)


def paired_of(data: bytes) -> PairedTally:
    """The inverse of `paired_bytes`. Raises DataError: damaged."""
    try:
        facts, arrays = opened(data)
        a, b = (side_of(arrays, side) for side in SIDES)
        return PairedTally([str(name) for name in facts["names"]], (a, b))
    except UNREADABLE as error:
        raise damaged(error) from error


def side_of(arrays: Mapping[str, NDArray[Any]], side: str) -> ModelCounts:
    counts, near, sizes, edges = (list(arrays[f"{side}_{name}"]) for name in COUNTS)
    return ModelCounts(counts, near, sizes, edges)


def archived(facts: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    written = io.BytesIO()
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    np.savez_compressed(written, allow_pickle=False, facts=text, **arrays)
    return written.getvalue()


def opened(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(arrays.pop("facts").tobytes()), arrays


def damaged(error: Exception) -> DataError:
    return DataError(f"The saved counts cannot be read ({type(error).__name__}: {error}). Evaluate again.")
