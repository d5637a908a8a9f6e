"""Does `suggest` pick images on which the model errs? Its order against the model's true errors, on labelled data.

    python benchmarks/suggest.py MODEL DATA [--split val] [--images 200] [--share 0.2]

The images' masks are hidden from `suggest` and used afterwards: the rank correlation (Spearman) of uncertainty with the
share of wrong pixels and with 1 − mIoU of each image, and how much of both the picked share of the images has, next to
10,000 picks by chance. This says whether labels would go where the model errs; what training on them brings is another
question, which costs a training for each choice and is not asked here.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from labelled import arguments, opened
from rich.console import Console
from rich.table import Table

import pixelwise as pw
from pixelwise.labelling.suggest import suggest

DRAWS = 10_000


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0; ties share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def main() -> None:
    parser = arguments(__doc__.partition("\n")[0], images=200)
    parser.add_argument("--share", type=float, default=0.2, help="of the images that are picked")
    chosen = parser.parse_args()
    model, dataset = opened(chosen)
    samples = dataset.splits[chosen.split]
    report = pw.evaluate(model, dataset, split=chosen.split)
    wrong = np.array([1 - row.accuracy for row in report.analysis.rows])
    lost = np.array([1 - row.miou for row in report.analysis.rows])
    with tempfile.TemporaryDirectory() as folder:
        for i, sample in enumerate(samples):
            (Path(folder) / f"{i:06}{sample.image.suffix}").symlink_to(sample.image.resolve())
        found = suggest(model, [folder], number=len(samples))
    order = [int(suggestion.image.stem) for suggestion in found.chosen]
    uncertainty = np.zeros(len(samples))
    uncertainty[order] = [suggestion.uncertainty for suggestion in found.chosen]
    number = max(round(chosen.share * len(samples)), 1)
    rng = np.random.default_rng(0)
    table = Table("error of an image", "rank correlation", f"mean of the {number} picked", "of the surest", "of all",
                  "chance reaches it", title=f"{len(samples)} images of {chosen.split}")  # fmt: skip
    for name, error in (("wrong pixels", wrong), ("1 − mIoU", lost)):
        correlation = np.corrcoef(ranks(uncertainty), ranks(error))[0, 1]
        picked = error[order[:number]].mean()
        surest = error[np.argsort(uncertainty)[:number]].mean()
        by_chance = np.array([error[rng.permutation(len(error))[:number]].mean() for _ in range(DRAWS)])
        table.add_row(name, f"{correlation:+.2f}", f"{picked:.1%}", f"{surest:.1%}", f"{error.mean():.1%}",
                      f"{(by_chance >= picked).mean():.2%} of {DRAWS:,} picks")  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
