"""Load hostile bundles and label images with those that load, one after the other; what came of each, a line of JSON.

    python tests/hostile/load_bundles.py SEED FIRST STEP MUTANTS FOLDER

Run as a process of its own, so that a signal, a hang or too much memory is seen from outside.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parent))

from bundles import GOLDEN, all_hostile, bundle, odd_operator
from mutate import mutated_bytes

from pixelwise.bundle.allowed_operators import OPERATORS
from pixelwise.errors import BundleError, PixelwiseError
from pixelwise.prediction.load_model import load
from pixelwise.tracing.trace import trace

IMAGES = (
    GOLDEN,
    np.full((480, 640, 3), 255, np.uint8),
    np.random.default_rng(1).integers(0, 256, (97, 211, 3), dtype=np.uint8),
    np.zeros((5, 7, 3), np.uint8),
)
SCHEMAS = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.since_version <= 20}
KNOWN = sorted(set(OPERATORS) & SCHEMAS)


def mutants(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Damaged copies of the small bundle; copies whose graph is damaged, or has odd operators, under a right digest."""
    others = [data for _, data in all_hostile(seed)[:200:10]]
    for number in range(count):
        yield f"mutant {number}", mutant(Random(f"{seed} {number}"), others)


def mutant(rng: Random, others: Sequence[bytes]) -> bytes:
    kind = rng.random()
    if kind < 0.5:
        return odd_operator(KNOWN, rng)
    if kind < 0.75:
        return mutated_bytes(bundle(), rng, others)
    try:
        return bundle(lambda model: damage(model, rng))
    except ValueError:  # onnx itself does not take what was made
        return b""


def damage(model: Any, rng: Random) -> None:
    data = mutated_bytes(model.graph.SerializeToString(), rng)
    try:
        model.graph.ParseFromString(data)
    except Exception as error:  # of protobuf, whose errors have no base that it names
        raise ValueError(str(error)) from error


def attack(data: bytes, path: Path) -> str:
    """How it ended: what was refused, or that all went right."""
    try:
        use(data, path)
    except PixelwiseError:
        return "refused"
    return "loads"


def use(data: bytes, path: Path) -> None:
    """Load a bundle and do with it what can be done. Raises PixelwiseError where it is refused."""
    path.write_bytes(data)
    try:
        model = load(path, threads=1)
        for image in IMAGES:
            prediction = model.predict(image)
            assert prediction.labels.dtype == np.uint8
            assert prediction.labels.shape == image.shape[:2]
            assert prediction.labels.max() < len(model.classes)
            assert np.isfinite(prediction.scores).all()
            json.dumps(list(prediction.probabilities(0, 0).values()), allow_nan=False)
        repr(model)
    except BundleError as error:
        check_message(str(error), path)
        raise
    trace(model, IMAGES[2])


def check_message(said: str, path: Path) -> None:
    assert said.startswith(str(path)), f"does not name the file: {said}"
    assert len(said) < 1000, f"is endless: {said}"
    said.encode()  # no half characters


def bundles(_folder: Path) -> Callable[[Random, Path], None]:
    """The target of the campaign."""
    others = [data for _, data in all_hostile(0)[:200:10]]
    return lambda rng, own: use(mutant(rng, others), own / "hostile.onnx")


def main() -> None:
    from fuzz import resident_peak  # which itself imports this

    seed, first, step, count = map(int, sys.argv[1:5])
    path = Path(sys.argv[5]) / "hostile.onnx"
    for what, data in [*all_hostile(seed)[first::step], *mutants(seed + first, count)]:
        began = time.monotonic()
        try:
            end = attack(data, path)
        except Exception:  # a fault, whatever it is
            end = "fault: " + traceback.format_exc(limit=-3)
        seconds = round(time.monotonic() - began, 2)
        print(json.dumps({"what": what, "end": end, "seconds": seconds, "mb": resident_peak() >> 20}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
