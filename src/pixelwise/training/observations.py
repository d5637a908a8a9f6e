"""Sentences about a training: what each epoch shows, the images of its scores, its initial weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any


def observe(epochs: Sequence[dict[str, Any]]) -> str:
    """What the last of `epochs` shows, as a sentence.

    Each epoch has `loss`, `val_loss`, `miou` (may be None) and `predicted`, the classes' shares of predicted pixels
    by name, and `true`, their shares of labelled pixels.
    """
    return "; ".join([progress(epochs), *missing(epochs[-1])])


def progress(epochs: Sequence[dict[str, Any]]) -> str:
    """Whether training improves, converges, stalls or overfits."""
    now = epochs[-1]
    miou = now["miou"] or 0.0
    if len(epochs) == 1:
        return f"first pass: {now['accuracy'] or 0:.0%} of the pixels are right"
    earlier = [epoch["miou"] or 0.0 for epoch in epochs[:-1]]
    best, previous = max(earlier), earlier[-1]
    recent = epochs[-4:]  # three steps: one epoch up or down is chance
    if len(recent) == 4:
        train_falls = recent[0]["loss"] - now["loss"] > 0.02 * recent[0]["loss"]
        val_rises = all(b["val_loss"] > a["val_loss"] for a, b in pairwise(recent))
        if train_falls and val_rises and miou < best:
            return "overfitting: training loss falls while validation loss has risen three times running"
    if miou > best + 0.01:
        return f"improving: mIoU up {100 * (miou - previous):.1f} points"
    if len(recent) == 4:
        span = max(e["miou"] or 0.0 for e in recent) - min(e["miou"] or 0.0 for e in recent)
        if span < 0.01 and miou >= best - 0.01:
            return "converging: mIoU within 1 point over the last four epochs"
        if max(e["miou"] or 0.0 for e in recent) < best - 0.01:
            return f"stalled: {100 * (best - miou):.1f} points below the best epoch"
    if miou < previous - 0.02:
        return f"a step back: mIoU down {100 * (previous - miou):.1f} points"
    return "improving slowly" if miou > best else "holding"


def missing(epoch: dict[str, Any]) -> list[str]:
    """A remark on classes that occur but are never predicted."""
    never = [name for name, share in epoch["true"].items() if share > 0 and epoch["predicted"].get(name, 0) == 0]
    if not never:
        return []
    return [f"never predicted: {', '.join(never)}"]


SPLITS = {
    "val": "validation images",
    "test": "test images",
    "train": "training images",
    "out of fold": "images out of fold",  # of a cross-validation: each was held out by the network that scored it
    # of the built-in models
    "val (before learning from it)": "validation images, before they were added to training",
    "val (learnt from too)": "validation images, also used for training",
}


def images_of(metrics: Mapping[str, Any]) -> str:
    """The images on which scores were measured: "101 validation images".

    Args:
        metrics: of a bundle: `split` is the name of a split, which may have a remark, and `images` their number.
    """
    count, split = metrics.get("images"), str(metrics.get("split", "val")).strip(" ,")
    name = SPLITS.get(split, f"images of {split}")
    return name if count is None else f"{count} {name}"


def origin(start: Mapping[str, Any]) -> str:
    """A `start` event in a sentence: the run or bundle whose weights initialised a training.

    In the log of a built-in model it only tells that they were `earlier` ones: that file is nobody else's.
    """
    if start.get("earlier"):
        return "This training went on from earlier weights of the model: epoch 1 is not their first."
    name = str(start.get("run") or "another run").rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    after = f" after epoch {start['epoch']}" if start.get("epoch") else ""
    untrained = [str(part) for part in start.get("anew") or []]
    kind = "bundle" if name.endswith(".onnx") else "run"
    return f"Initialised with the weights of the {kind} {name}{after}" + (
        f"; trained from scratch: {', '.join(untrained)}." if untrained else "."
    )
