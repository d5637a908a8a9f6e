"""A model's card as the Ship room shows and writes it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from threading import Lock
from typing import Any

from pixelwise.bundle.bundle_file import BundleFile, read_bundle
from pixelwise.bundle.model_card import ModelCard, card_markdown
from pixelwise.bundle.write_card import write_card
from pixelwise.errors import BundleError, OutputError
from pixelwise.prediction.built_in_models import FOLDER, built_in
from pixelwise.server.error_responses import RequestError
from pixelwise.server.model_cache import MAIN, CachedModel, ModelCache

WRITING = Lock()  # one card at a time: each is compared with what the file holds before it is written
BUILT_IN = (
    "This model comes with Pixelwise, and so does its card. To write one of your own, download the file and serve "
    "that: pixelwise serve FILE.onnx."
)
AGAIN = "Export it again with `pixelwise export`, or copy it again from where it came."


def shown_card(models: ModelCache, opened: CachedModel) -> dict[str, Any]:
    """The card as the bundle holds it now: it may have been written since the model was opened."""
    return described(models, opened, bundle_of(opened))


def keep_card(models: ModelCache, opened: CachedModel, card: ModelCard, revision: str) -> dict[str, Any]:
    """Write a card. Raises RequestError: it cannot be written, or somebody else has changed it meanwhile."""
    if why_not := why_not_editable(opened):
        raise RequestError(409, "card-fixed", why_not)
    with WRITING:
        now = bundle_of(opened).metadata.card
        if now != card and revision != revision_of(now):  # the same text again: an answer was lost on its way
            raise RequestError(
                409, "card-changed", "The card has been changed since you opened it.",
                "Compare both texts, then save yours over it or take the other one.",
            )  # fmt: skip
        try:
            written = write_card(opened.model.path, card)
        except OutputError as error:
            raise RequestError(
                409, "card-unwritable", "The bundle cannot be written; it stays as it was.",
                "Give the server the right to write to the file and its folder, or make space on the disk.",
            ) from error  # fmt: skip
    return described(models, opened, written)


def described(models: ModelCache, opened: CachedModel, bundle: BundleFile) -> dict[str, Any]:
    metadata, why_not = bundle.metadata, why_not_editable(opened)
    title = models.title_of(opened.name) if opened.name == MAIN else opened.name
    metrics = metadata.provenance.get("metrics") or {}
    own = opened.name == MAIN and models.built_in
    return {
        "title": title,
        "digest": bundle.digest,
        "card": asdict(metadata.card),
        "revision": revision_of(metadata.card),
        "editable": why_not is None,
        "why_not": why_not,
        "licence": metadata.licence,
        "metrics": {key: metrics.get(key) for key in ("split", "images", "miou", "accuracy")},
        "markdown": built_in(own).card if own else card_markdown(title, metadata.card, metrics, metadata.licence),
    }


def bundle_of(opened: CachedModel) -> BundleFile:
    try:
        return read_bundle(opened.model.path)
    except BundleError as error:
        raise RequestError(409, "bundle-gone", "The model's file is gone or damaged.", AGAIN) from error


def why_not_editable(opened: CachedModel) -> str | None:
    return BUILT_IN if opened.model.path.parent == FOLDER else None


def revision_of(card: ModelCard) -> str:
    return hashlib.sha256(json.dumps(card.written(), sort_keys=True).encode()).hexdigest()[:12]
