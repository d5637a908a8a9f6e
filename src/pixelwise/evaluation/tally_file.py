"""The counts of a pass as bytes, so that a pass that was interrupted goes on, and its images are found again later.

A file is a NumPy archive of plain arrays, without pickles.
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
from pixelwise.evaluation.measure_objects import ImageObjects, ObjectPlan
from pixelwise.evaluation.object_tally import object_arrays, objects_from
from pixelwise.evaluation.per_image import ImageRow
from pixelwise.metrics.error_types import Suspect
from pixelwise.records import Sample

SIDES = "ab"
COUNTS = ("counts", "near", "sizes", "edges")  # of ModelCounts
UNREADABLE = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, BadZipFile, zlib.error)


def tally_bytes(tally: Tally) -> bytes:
    rows = tally.rows
    objects = [row.objects for row in rows if row.objects is not None]
    facts = {
        "names": [row.name for row in rows],
        "suspects": [{"image": name, **asdict(suspect)} for name, suspect in tally.suspects],
        "suspects_in_all": tally.suspects_in_all,
        "objects": list(objects[0].plan.ids) if objects else [],
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
            **(object_arrays(objects) if objects else {}),
        },
    )


def tally_of(data: bytes, samples: Mapping[str, Sample], plan: ObjectPlan | None = None) -> Tally:
    """The inverse of `tally_bytes`; `samples` by name; `plan` of the objects that are scored. Raises DataError:
    damaged, or of other images or objects."""
    try:
        facts, arrays = opened(data)
        found = Tally(Sums(**{field.name: arrays[field.name] for field in fields(Sums)}), [], [])
        objects = objects_of(facts, arrays, plan)
        parts = np.split(arrays["confusions"], arrays["ends"][:-1]) if facts["names"] else []
        for i, name in enumerate(facts["names"]):
            height, width = (int(side) for side in arrays["size"][i])
            boundary_f, confidence = (float(value) for value in arrays["floats"][i])
            milliseconds = float(arrays["milliseconds"][i])
            found.rows.append(
                ImageRow(
                    samples[name], height, width, arrays["counts"][i], boundary_f, arrays["baseline"][i], confidence,
                    tuple(int(number) for number in arrays["errors_of"][i]),
                    None if isnan(milliseconds) else milliseconds, parts[i], objects[i] if plan else None,
                )
            )  # fmt: skip
        found.suspects = [(row.pop("image"), Suspect(**row)) for row in facts["suspects"]]
        found.suspects_in_all = int(facts["suspects_in_all"])
    except UNREADABLE as error:
        raise damaged(error) from error
    return found


def objects_of(
    facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], plan: ObjectPlan | None
) -> list[ImageObjects]:
    """The objects of every image; [] where none are scored. Raises ValueError: other objects were counted."""
    saved, wanted = facts.get("objects", []), list(plan.ids) if plan else []
    if facts["names"] and saved != wanted:
        raise ValueError(f"objects of {saved} were counted, not of {wanted}")
    return objects_from(arrays, plan, len(facts["names"])) if plan and facts["names"] else []


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
