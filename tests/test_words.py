"""Phrases that once made readers stop stay out of the program, its documentation and its page.

Each has what to write instead. The words are those of the field: a native reader should never stop at one.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENDINGS = {".py", ".md", ".ts", ".svelte", ".html", ".css", ".ipynb"}
INSTEAD = {
    r"images a step": "batch size",
    r"at its highest": "peak",
    r"about so long": "time constant in seconds",
    r"begins? again|began again|begun again": "start over",
    r"(?<![\"'`])\banew\b(?![\"'`])": "again, over, untrained",
    r"\b(is|are|was|were|been) told\b": "is reported, is shown",
    r"\bhears\b": "is called with",
    r"\blearnt\b|\blearns? from": "trained on, learned",
    r"only a person can": "only the user can decide",
    r"what a person can say": "decisions of the user",
    r"one plane (a|per) class": "one map per class",
    r"said no at the door|at the door": "rejected with status 503",
    r"\bwavers?\b": "confused classes",
    r"as far as it came": "truncated; every decoded frame is kept",
    r"\bmended\b": "repaired",
    r"(?<!if )the network sees": "the network's input size",
    r"evens? out|evened out": "normalise",
    r"gone? on with (?=--resume)|gone on with|goes on with --resume": "resume with --resume",
    r"commonest class everywhere": "majority-class baseline",
    r"mending (it|them) would add": "mIoU gain if fixed",
    r"what is left of it": "the rest",
    r"said in words": "as a sentence",
    r"so many epochs": "this many epochs",
    r"hands? (it )?back what": "returns",
    r"over about so": "over about",
    r"take away what an earlier": "delete what an earlier",
    r"where (there is|it is) none and": "if there is none",
    r"processes that prepare batches": "data loading processes",
    r"cannot be learnt": "a model cannot learn it",
    r"told from\b": "distinguished from",
    r"too short a training": "too little training",
    r"it is no (image|mask|model)\b": "it is not an image",
}
ON_DISK = ("before learning from it", "learnt from too")  # in the metadata of bundles, which stay readable


def texts() -> list[tuple[str, str]]:
    roots = [ROOT / "src" / "pixelwise", ROOT / "docs", ROOT / "web" / "src", ROOT / "examples"]
    paths = [path for root in roots for path in sorted(root.rglob("*")) if path.suffix in ENDINGS]
    inside = [path for path in (*paths, ROOT / "README.md") if path.is_file() and "static" not in path.parts]
    return [(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in inside]


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, str]]:
    """Every line of the sources, with where it stands."""
    found = []
    for name, text in texts():
        for phrase in ON_DISK:
            text = text.replace(phrase, "")
        found += [(f"{name}:{number}", line) for number, line in enumerate(text.splitlines(), 1)]
    assert len(found) > 30_000
    return found


def test_no_phrase_that_makes_a_reader_stop(lines: list[tuple[str, str]]) -> None:
    bad = re.compile("|".join(f"(?:{phrase})" for phrase in INSTEAD), re.IGNORECASE)
    found = [(where, line) for where, line in lines if bad.search(line)]
    hints = [
        f"{where}: {line.strip()[:100]}\n    write: {better}"
        for where, line in found
        for phrase, better in INSTEAD.items()
        if re.search(phrase, line, re.IGNORECASE)
    ]
    assert not hints, "\n" + "\n".join(hints)


@pytest.mark.parametrize(
    "sentence",
    ["Images a step. [default: 4]", "Begin again: take away what an earlier run wrote", "The network sees 256×256",
     "start anew with another --out", "the problem is told once", "cannot be learnt"],
)  # fmt: skip
def test_the_list_finds_what_it_is_for(sentence: str) -> None:
    assert any(re.search(phrase, sentence, re.IGNORECASE) for phrase in INSTEAD)
