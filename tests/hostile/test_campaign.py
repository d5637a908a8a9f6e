"""A short campaign on every change: fixed seeds, so many mutants of each target, in processes that are watched."""

from __future__ import annotations

import time

import pytest
from fuzz import campaign

MUTANTS = {"images": 1500, "tiffs": 1000, "annotations": 40, "settings": 600, "bundles": 200}


@pytest.mark.parametrize("target", MUTANTS)
def test_mutants_are_refused_or_read(target: str) -> None:
    tally = campaign(target, seed=0, count=MUTANTS[target], until_s=time.monotonic() + 240)
    assert not tally.findings, "\n".join(tally.findings)
    assert tally.cases > 0
    assert 0 < tally.refused < tally.cases  # mutants that are all refused, or all read, try nothing
