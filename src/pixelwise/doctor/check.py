"""The verb `check`: check a folder of images and masks; with `fix`, also write a repaired copy and check that."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.datasets.class_values import Given, GivenBands, Values, parse_value, values_of
from pixelwise.datasets.masks.mask_reading import MaskChoices
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.doctor.blank_check import blank_problems
from pixelwise.doctor.check_report import CheckReport
from pixelwise.doctor.diagnose import Diagnosis, Progress, diagnose
from pixelwise.doctor.findings import find_problems
from pixelwise.doctor.fix import Decisions, write_repaired_copy
from pixelwise.doctor.label_errors import Predicts, find_suspects
from pixelwise.doctor.map_checks import map_problems
from pixelwise.errors import UsageError


def check(
    data: Path | str,
    *,
    fix: Path | str | None = None,
    decisions: object = None,
    classes: Mapping[str, Given] | None = None,
    void: Given = (),
    bands: GivenBands = (),
    model: Predicts | None = None,
    progress: Progress = lambda what, done, total: None,
) -> CheckReport:
    """Check a folder of images and masks: list every problem, its place and its fix. Never changes the data.

    Args:
        data: folder of images and masks, in any layout that `open_dataset` reads.
        fix: new folder for a repaired copy in the native layout. None: no copy.
        decisions: a `doctor.fix.Decisions`: choices where several repairs are possible. None: no decisions.
        classes: class name → the mask values of the class: numbers, "1-99" for a range, "#rrggbb" for a colour. None:
            detected.
        void: mask values that mean unlabelled. Default: detected.
        bands: bands of the images to use, in order: names, or numbers from 1; "nir,red" or ["nir", 3]. Default:
            all.
        model: a model from `load` that finds suspected label errors. None: no search for them.
        progress: called with (current step, done, total), in the calling thread.

    Returns:
        CheckReport: the findings by kind, classes, suggested split, suspected label errors, and the repaired copy.

    Raises:
        UsageError: no such folder; the model has other classes; a decision is unknown or applies to nothing.
        DatasetError: no layout is detected, or dataset.toml is invalid; with `fix`: a decision is missing, or nothing
            can be repaired.
        OutputError: `fix` exists already or cannot be written.

    Example:
        >>> import pixelwise as pw
        >>> report = pw.check("my_data")
        >>> report.sound, report.pairs
        (True, 8)
    """
    began = time.perf_counter()
    chosen = decisions if isinstance(decisions, Decisions) else Decisions()
    if fix is None:
        _refuse_without_copy(chosen.of_copy())
    own = values_of(classes, void, bands=bands)
    asked = MaskChoices(
        Values(own.classes, (*own.void, *(parse_value(text) for text in chosen.void_values))),
        tuple(parse_value(text) for text in chosen.class_values),
        chosen.binary_foreground,
        chosen.background,
    )
    diagnosis = examine(data, progress, masks=chosen.masks or "", asked=asked, bands=own.bands)
    report = diagnosis.report
    if model is not None:
        good = {
            split: [sample for sample in samples if sample.name not in report.findings.bad]
            for split, samples in diagnosis.dataset.splits.items()
        }
        total = sum(map(len, good.values()))
        suspects = find_suspects(
            diagnosis.dataset, good, model, lambda done: progress("running the model", done, total)
        )
        report = replace(report, suspects=tuple(suspects))
    if fix is not None:
        report = _with_copy(report, diagnosis, Path(fix), chosen, progress)
    return replace(report, seconds=time.perf_counter() - began)


def examine(
    data: Path | str,
    progress: Progress = lambda what, done, total: None,
    *,
    masks: str = "",
    asked: MaskChoices = MaskChoices(),  # noqa: B008 - immutable
    bands: Sequence[str] = (),
) -> Diagnosis:
    """All that `check` finds without a model, with the facts of every pair. Arguments and errors as `diagnose`."""
    diagnosis = diagnose(data, progress, masks=masks, asked=asked, bands=bands)
    findings = diagnosis.report.findings
    more = [*map_problems(diagnosis.dataset), *blank_problems(diagnosis.dataset)]
    return replace(
        diagnosis,
        report=replace(diagnosis.report, findings=replace(findings, problems=(*findings.problems, *more))),
    )


def _with_copy(
    report: CheckReport, diagnosis: Diagnosis, out: Path, chosen: Decisions, progress: Progress
) -> CheckReport:
    """Write a repaired copy into `out`, check it, and add both to the report. Raises as `check`."""
    left_out, notes = write_repaired_copy(diagnosis, out, chosen, progress)
    kept = chosen.commonest or chosen.keep_classes
    questions = tuple(q for q in report.questions if not (kept and q.option.startswith("--commonest")))
    copy = find_problems(open_dataset(out), progress=lambda done, total: progress("checking the copy", done, total))
    notes = [*report.notes, *notes]
    return replace(
        report, fixed=out, left_out=left_out, copy_errors=copy.errors, notes=tuple(notes), questions=questions
    )


def _refuse_without_copy(options: Sequence[str]) -> None:
    if options:
        several = len(options) > 1
        raise UsageError(
            f"{', '.join(options)}: {'apply' if several else 'applies'} only to a repaired copy; add --fix OUT, or "
            f"leave {'them' if several else 'it'} out."
        )
