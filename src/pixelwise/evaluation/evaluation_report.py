"""The result of an evaluation, as JSON and as a table.

Shapes: C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

from pixelwise.bundle.model_card import OUT_OF_FOLD
from pixelwise.evaluation.report_text import analysis_parts, percent, table_of
from pixelwise.metrics.confusion import Counts, Scores, baseline, scores
from pixelwise.records import ClassList
from pixelwise.trace_events import finite

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pixelwise.evaluation.analysis import Analysis

BAR_COLUMNS = 8
CONFUSIONS = 3  # confusions that are listed
WHOLE = {"miou": "mean IoU", "accuracy": "pixel accuracy", "class_accuracy": "class accuracy",
         "weighted_iou": "frequency-weighted IoU", "mean_dice": "mean Dice"}  # fmt: skip
WORTH_NAMING = 0.02  # minimum share of a class's pixels for a confusion to be listed


@dataclass(frozen=True)
class EvaluationReport:
    """The scores of a model on one split of a dataset."""

    model: str  # its path
    digest: str
    data: str
    split: str
    analysis: Analysis
    milliseconds: float  # image array → labels: median over the first three images, each labelled alone on all cores
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> ClassList:
        """The dataset's classes."""
        return self.analysis.classes

    @property
    def matrix(self) -> Counts:
        """The confusion matrix [C, C]: rows true, columns predicted."""
        return self.analysis.sums.matrix

    @property
    def images(self) -> int:
        return len(self.analysis.rows)

    @property
    def scores(self) -> Scores:
        return scores(self.matrix)

    @property
    def accuracy(self) -> float:
        """Pixel accuracy, 0–1."""
        return self.scores.accuracy

    @property
    def miou(self) -> float:
        """Mean intersection over union, 0–1; see metrics.confusion for the rule for absent classes."""
        return self.scores.miou

    @property
    def baseline(self) -> tuple[str, Scores]:
        """The majority-class baseline: the most frequent true class, and the scores of predicting it everywhere."""
        majority, found = baseline(self.matrix)
        return self.classes.names[majority], found

    def confusions(self) -> list[tuple[str, str, float]]:
        """The largest confusions: (true class, predicted class, share of the true class's pixels)."""
        true_C = self.matrix.sum(axis=1)
        found = [
            (self.classes.names[t], self.classes.names[p], float(self.matrix[t, p] / true_C[t]))
            for t in range(len(self.classes))
            for p in range(len(self.classes))
            if t != p and true_C[t] and self.matrix[t, p] / true_C[t] >= WORTH_NAMING
        ]
        return sorted(found, key=lambda row: -row[2])[:CONFUSIONS]

    def to_json(self) -> dict[str, Any]:
        """The report as plain lists and dicts. Scores are 0–1, or None where undefined."""
        name, guess = self.baseline
        guessed = guess.to_json(self.classes)
        return {
            "model": self.model,
            "digest": self.digest,
            "data": self.data,
            "split": self.split,
            "images": self.images,
            "milliseconds": self.milliseconds,
            **self.scores.to_json(self.classes),
            "baseline": {"class": name, **{key: guessed[key] for key in WHOLE}, "classes": guessed["classes"]},
            "confusions": [{"true": t, "predicted": p, "share": share} for t, p, share in self.confusions()],
            "matrix": self.matrix.tolist(),
            "notes": list(self.notes),
            **finite(self.analysis.to_json()),
        }

    def to_rich(self) -> RenderableType:
        """For rich to print: the scores, then one row per class with a bar for its IoU."""
        from rich.console import Group
        from rich.text import Text

        found = self.scores
        name, guess = self.baseline
        of = self.classes.names.index(name)
        table = table_of("class", "IoU", "", "95 %", "Dice", "precision", "recall", "pixels")
        true_C = self.matrix.sum(axis=1)
        for i, class_name in enumerate(self.classes.names):
            red, green, blue = self.classes.colours[i]
            colour = f"#{red:02x}{green:02x}{blue:02x}"
            iou, (low, high) = float(found.iou_C[i]), self.analysis.intervals["iou"][:, i]
            table.add_row(
                Text("■ ", style=colour).append(class_name, style="default"),
                percent(iou),
                Text("–" if isnan(iou) else "█" * round(iou * BAR_COLUMNS), style=colour),
                f"{low * 100:.1f}–{high * 100:.1f}" if low == low else "–",
                percent(float(found.dice_C[i])),
                percent(float(found.precision_C[i])),
                percent(float(found.recall_C[i])),
                f"{int(true_C[i]):,}",
            )
        whose = self.split if self.split == OUT_OF_FOLD else f"of the {self.split} split"
        head = f"{self.images:,} images {whose}, {found.pixels:,} labelled pixels, {self.milliseconds:.1f} ms per image"
        names = {"IoU": guess.iou_C, "Dice": guess.dice_C, "precision": guess.precision_C, "recall": guess.recall_C}
        own = ", ".join(f"{title} {percent(float(values_C[of]))}" for title, values_C in names.items())
        small_print = (
            f"Majority-class baseline, {name} everywhere. For {name}: {own}; for all other classes 0, and no precision."
        )
        after = [f"{share:.0%} of {true} is predicted as {taken}." for true, taken, share in self.confusions()]
        after += [f"Note: {note}" for note in self.notes]
        absent = [n for n, iou in zip(self.classes.names, found.iou_C, strict=True) if isnan(iou)]
        if absent:
            after.append(f"Neither in this split nor predicted, so left out of the means: {', '.join(absent)}.")
        return Group(
            Text(head), Text(), self.whole_table(), Text(), table, Text(small_print), Text(),
            *analysis_parts(self.analysis), Text(),
            *(Text(line) for line in after),
        )  # fmt: skip

    def whole_table(self) -> RenderableType:
        """The scores of the whole split, with intervals and the baseline."""
        found, (name, guess) = self.scores, self.baseline
        table = table_of("", "score", "95 %", f"{name} everywhere")
        for score, title in WHOLE.items():
            low, high = self.analysis.intervals[score]
            table.add_row(
                "mean IoU (mIoU)" if score == "miou" else title,
                percent(getattr(found, score)),
                f"{percent(low)} to {percent(high)}",
                percent(getattr(guess, score)),
            )
        return table  # type: ignore[no-any-return]
