"""What only a person knows before a repaired copy is written, as questions; and the answers as arguments of `check`.

They are the decisions of `pixelwise check --fix`. A question is asked only where its answer changes the copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pixelwise.datasets.masks.mask_problems import Question, code_name
from pixelwise.doctor.diagnose import Diagnosis
from pixelwise.doctor.fix import COPIES, TURNS, Decisions
from pixelwise.errors import UsageError
from pixelwise.records import VOID

Kind = Literal["values", "choice", "number", "yes"]
VALUES_WORDS = "Which class is each value of the masks? Leave a name empty if the value means unlabelled."
MOST_VALUES = 64  # mask values that a person can name one by one
TURN_WORDS = {
    "left": "by 90° to the left",
    "right": "by 90° to the right",
    "transpose": "mirrored along the diagonal: rows are columns",
}


@dataclass(frozen=True)
class ValueRow:
    """One value that the masks hold, and how it is read."""

    value: str  # "255" or "#ff0000"
    share: float  # of all pixels, 0–1
    name: str  # its class; "" if it is void or belongs to none


@dataclass(frozen=True)
class RepairQuestion:
    """One question. `required`: no copy can be written before it is answered."""

    key: str
    kind: Kind
    question: str
    about: tuple[str, ...]  # kinds of the findings that it settles
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()  # value and words, for "choice"
    values: tuple[ValueRow, ...] = ()  # for "values"

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "about": list(self.about),
            "choices": [{"value": value, "words": words} for value, words in self.choices],
            "values": [vars(row) for row in self.values],
        }


@dataclass(frozen=True)
class RepairAnswers:
    """The answers, as arguments of `check`."""

    classes: Mapping[str, list[str]]  # class name → its mask values; {}: as they are read now
    void: tuple[str, ...]
    decisions: Decisions


def repair_questions(diagnosis: Diagnosis) -> list[RepairQuestion]:
    """The questions about these data, those that must be answered first."""
    kinds = {problem.kind for problem in diagnosis.report.findings.problems}
    questions = [_required(question) for question in diagnosis.report.questions]
    if rows := value_rows(diagnosis):
        blocked = tuple(sorted(kinds & {"declared-ids", "undeclared-colours"}))
        questions.append(
            RepairQuestion(
                "values", "values", VALUES_WORDS,
                (*blocked, "ids-outside", "no-classes", "value-steps", "one-based", "id-gaps"),
                bool(blocked), values=rows,
            )
        )  # fmt: skip
    if "ask-turn" in diagnosis.ways:
        choices = (*((turn, TURN_WORDS[turn]) for turn in TURNS), ("", "leave these pairs out"))
        words = "Some masks lie on their side. How must they be turned to lie on their images?"
        questions.append(RepairQuestion("turn", "choice", words, ("size-mismatch",), choices=choices))
    if "ask-stretch" in diagnosis.ways:
        words = "Some masks have another shape than their images. Do they show the same view, to be stretched over it?"
        questions.append(RepairQuestion("stretch_masks", "yes", words, ("size-mismatch",)))
    if copies := kinds & set(COPIES):
        words = "Leave out the images that also occur in another split?"
        questions.append(RepairQuestion("drop_copies", "yes", words, tuple(sorted(copies))))
    if diagnosis.report.split:
        words = "Split again, so that images of one group (a film, a patient, a place) stay in one split?"
        about = tuple(sorted(kind for kind in kinds if kind.endswith(("frames-across-splits", "groups-across-splits"))))
        questions.append(RepairQuestion("grouped_split", "yes", words, about))
    return sorted(questions, key=lambda question: not question.required)


def value_rows(diagnosis: Diagnosis) -> tuple[ValueRow, ...]:
    """The values of the masks where a person may name them; () where a format names them, or there are too many."""
    if diagnosis.reading.objects != "ids" or diagnosis.listed.listing.source:
        return ()
    kinds = {problem.kind for problem in diagnosis.report.findings.errors}
    if diagnosis.meaning.named and not kinds & {"declared-ids", "undeclared-colours", "ids-outside"}:
        return ()
    rows = []
    for coding, table in (
        (diagnosis.numbers, diagnosis.meaning.numbers),
        (diagnosis.colours, diagnosis.meaning.colours),
    ):
        for code in coding.book.codes if coding else ():
            assert coding is not None
            label = table.get(code, VOID)
            name = "" if label == VOID or not diagnosis.meaning.known else diagnosis.meaning.classes.names[label]
            rows.append(ValueRow(code_name(code, coding.book.coloured), coding.book.shares.get(code, 0.0), name))
    return tuple(rows) if len(rows) <= MOST_VALUES else ()


def answers_of(
    questions: list[RepairQuestion], answers: Mapping[str, Any], label_decisions: str | None
) -> RepairAnswers:
    """The answers by the keys of the questions. An unanswered question changes nothing.

    Raises:
        UsageError: an answer to no question, or one that does not fit it.
    """
    by_key = {question.key: question for question in questions}
    if strange := sorted(set(answers) - set(by_key)):
        known = ", ".join(by_key) or "none"
        raise UsageError(f"{', '.join(strange)}: these data need no such decision; expected {known}.")
    for key, answer in answers.items():
        allowed = [value for value, _ in by_key[key].choices]
        if by_key[key].kind == "choice" and answer not in allowed:
            raise UsageError(f"{key}: {answer!r} is none of {', '.join(map(repr, allowed))}.")
        if by_key[key].kind == "yes" and not isinstance(answer, bool):
            raise UsageError(f"{key}: {answer!r} is neither yes nor no.")
    classes, void = _named(by_key["values"], answers["values"]) if "values" in answers else ({}, ())
    decided = Decisions(
        turn=answers.get("turn") or None,
        stretch_masks=bool(answers.get("stretch_masks")),
        grouped_split=bool(answers.get("grouped_split")),
        drop_copies=bool(answers.get("drop_copies")),
        commonest=_number(answers["commonest"]) if "commonest" in answers else None,
        masks=answers.get("masks"),
        label_decisions=label_decisions,
    )
    return RepairAnswers(classes, void, decided)


def _required(question: Question) -> RepairQuestion:
    """A decision without which no copy can be written."""
    if question.option.startswith("--masks"):
        words = question.option.removeprefix("--masks ").split(" or --masks ")
        choices = tuple((word, word) for word in words)
        return RepairQuestion("masks", "choice", "Which of them are the masks?", (), True, choices)
    text = "How many classes shall be kept? Those with the most pixels stay; the others become void."
    return RepairQuestion("commonest", "number", text, ("too-many-classes",), True)


def _named(question: RepairQuestion, answer: object) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Class name → its values, and the values that are void; nothing where the answer is how they are read now."""
    known = {row.value: row.name for row in question.values}
    if not isinstance(answer, Mapping) or set(answer) != set(known):
        raise UsageError(f'values: expected a name, or "" for unlabelled, for each of {", ".join(known)}.')
    names = {value: str(answer[value]).strip() for value in known}
    if names == known and not question.required:
        return {}, ()
    classes: dict[str, list[str]] = {}
    for value, name in names.items():
        if name:
            classes.setdefault(name, []).append(value)
    return classes, tuple(value for value, name in names.items() if not name)


def _number(answer: object) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise UsageError(f"commonest: {answer!r} is not a whole number.")
    return answer
