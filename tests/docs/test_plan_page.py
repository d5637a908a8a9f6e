"""Numbers in the page on the plan are those of the program."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from pixelwise.training import fingerprint, plan_rules
from pixelwise.training.recipe import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "plan.md"


def test_every_number_of_the_plans_rules_is_the_programs() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`([A-Z_]+)`:\s([\d.,]*\d)", text)
    assert len(named) >= 20
    for name, number in named:
        module = plan_rules if hasattr(plan_rules, name) else fingerprint
        value = getattr(module, name)
        value = value[1] if isinstance(value, dict) else value
        assert float(number.replace(",", "")) == value, f"docs/explanation/plan.md: {name} is {value}"


def test_every_part_of_a_recipe_and_of_a_fingerprint_is_in_the_reference() -> None:
    text = (PAGE.parents[1] / "reference" / "run-directory.md").read_text(encoding="utf-8")
    entries = {name for row in re.findall(r"^\| (`.+?) \|", text, re.M) for name in re.findall(r"`(\w+)`", row)}
    parts = {field.name for record in (Recipe, fingerprint.Fingerprint) for field in fields(record)}
    assert not parts - entries, f"docs/reference/run-directory.md lacks {parts - entries}"
