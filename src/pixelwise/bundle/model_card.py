"""A model's card: what people write about a model, for those who will use it. Plain text; nothing computes with it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

OUT_OF_FOLD = "out of fold"  # the split in the scores of a cross-validation
MAX_FIELD = 20_000  # characters


@dataclass(frozen=True)
class ModelCard:
    """The free texts of a card; "" where nothing was written."""

    summary: str = ""
    intended_use: str = ""
    limits: str = ""  # where it fails, and what it is not for
    data: str = ""  # what it was trained on
    authors: str = ""
    licence: str = ""  # of the model itself; those of its data and of its first weights are recorded by export
    contact: str = ""

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> ModelCard:
        """Texts as people type them: lines end with a line feed, and nothing surrounds them. Others are left out."""
        return cls(**{name: tidy(texts[name]) for name in CARD_FIELDS if name in texts})

    def written(self) -> dict[str, str]:
        """The fields that hold something."""
        return {name: value for name, value in asdict(self).items() if value}


CARD_FIELDS = tuple(field.name for field in fields(ModelCard))
HEADINGS = {
    "intended_use": "Intended use", "limits": "Limits", "data": "Data", "authors": "Authors", "licence": "Licence",
    "contact": "Contact",
}  # fmt: skip


def tidy(text: str) -> str:
    """Without what no reader can show: control characters, halves of characters."""
    lines = ("".join(letter for letter in line if shows(letter)).rstrip() for line in text.splitlines())
    return "\n".join(lines).strip()


def shows(letter: str) -> bool:
    return letter == "\t" or unicodedata.category(letter) not in ("Cc", "Cs")


def card_markdown(title: str, card: ModelCard, metrics: Mapping[str, Any], licences: Mapping[str, str]) -> str:
    """The card as Markdown, with the scores that the bundle records and the licences of its data and weights."""
    parts = [f"# {title}"]
    if card.summary:
        parts.append(card.summary)
    for name, heading in HEADINGS.items():
        texts = [text for text in (getattr(card, name),) if text]
        if name == "licence":
            texts += [f"Of the {what}: {text}" for what, text in licences.items()]
        if texts:
            parts.append("\n\n".join((f"## {heading}", *texts)))
    if scores := score_lines(metrics):
        parts.append("\n\n".join(("## Scores", *scores)))
    return "\n\n".join(parts) + "\n"


def score_lines(metrics: Mapping[str, Any]) -> list[str]:
    """A sentence with the scores over all classes, and a table of the classes' IoU; [] where none are recorded."""
    if metrics.get("miou") is None or not metrics.get("split"):
        return []
    accuracy = "" if metrics.get("accuracy") is None else f", pixel accuracy {metrics['accuracy']:.3f}"
    images = "" if metrics.get("images") is None else f" ({metrics['images']} images)"
    rows = [
        f"| {name.replace('|', chr(92) + '|')} | {'–' if row.get('iou') is None else format(row['iou'], '.3f')} |"
        for name, row in (metrics.get("classes") or {}).items()
    ]
    table = "\n".join(("| class | IoU |", "|---|---|", *rows))
    whose = f"On the split {metrics['split']}{images}"
    average = []
    if metrics["split"] == OUT_OF_FOLD and (networks := metrics.get("folds")):
        whose = f"Out of fold{images}, of {networks} single networks, each on the images it was not trained on"
        average = [
            f"The model is the average of the {networks} networks, which has no score of its own here: {networks - 1} "
            "of them were trained on each image. Measure it on other images."
        ]
    return [
        f"{whose}: mean IoU {metrics['miou']:.3f}{accuracy}.",
        *average,
        *([table] if rows else []),
    ]
