"""A short campaign against the formats of annotation tools, and damage that mutants seldom find."""

from __future__ import annotations

import time

from fuzz import campaign

MUTANTS = 60


def test_mutants_of_annotation_tools_are_refused_or_read() -> None:
    tally = campaign("further", seed=0, count=MUTANTS, until_s=time.monotonic() + 240)
    assert not tally.findings, "\n".join(tally.findings)
    assert tally.cases > 0
