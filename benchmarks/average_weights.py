"""Average a fine-tuned network with the one it began from: often better than both on images unlike the training's.

    python benchmarks/average_weights.py START RUN OUT [--share 0.5]

START is the bundle that RUN began from (`train --start-from START --out RUN`); --share is RUN's share of the weights.
OUT becomes a copy of RUN with the averaged weights as its best epoch, to be exported: `pixelwise export OUT`. Its
scores are measured there; its log and previews are RUN's. Wortsman et al. 2022, arXiv:2109.01903.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from pixelwise.bundle.export import deployable
from pixelwise.training.bundle_weights import folded_weights, unfold
from pixelwise.training.checkpoint import save_weights
from pixelwise.training.export_run import load_best_epoch
from pixelwise.training.initial_weights import start_place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("start")
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.5)
    chosen = parser.parse_args()
    if not 0 <= chosen.share <= 1:
        sys.exit(f"--share {chosen.share}: expected 0 to 1.")
    if chosen.out.exists():
        sys.exit(f"{chosen.out}: exists; name a new folder.")
    best = load_best_epoch(chosen.run)
    began = folded_weights(start_place(chosen.start), best.recipe.model)
    tuned = deployable(best.network).state_dict()  # folded too: normalisation is part of the convolutions
    averaged = dict(tuned)
    for name, values in tuned.items():
        if values.is_floating_point():
            if name not in began or began[name].shape != values.shape:
                sys.exit(f"{name}: not in {chosen.start}, or of another shape; {chosen.run} did not begin from it.")
            averaged[name] = chosen.share * values + (1 - chosen.share) * began[name]
    kept = unfold(best.network, averaged, [])
    if kept:
        sys.exit(f"not averaged: {', '.join(kept)}.")
    shutil.copytree(chosen.run, chosen.out, ignore=shutil.ignore_patterns("step-*.safetensors", "model.onnx", "lock"))
    weights = chosen.out / "checkpoints" / "best.safetensors"
    save_weights(weights, best.network.state_dict(), {"epoch": best.epoch})
    print(f"{weights}: {chosen.share:.0%} {chosen.run}, {1 - chosen.share:.0%} {chosen.start}")


if __name__ == "__main__":
    main()
