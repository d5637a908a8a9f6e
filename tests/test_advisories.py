"""No version that may be installed has a published fault: floors and pins against tests/advisories.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
ADVISORIES: list[dict[str, Any]] = tomllib.loads((ROOT / "tests" / "advisories.toml").read_text("utf-8"))["advisory"]


def requirements() -> dict[str, Requirement]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {one.name: one for one in map(Requirement, table["dependencies"])}


def floor_of(requirement: Requirement) -> Version:
    return max(Version(one.version) for one in requirement.specifier if one.operator in (">=", "=="))


def pins(name: str) -> dict[str, Version]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text("utf-8").splitlines())
    return {package: Version(version) for package, _, version in (line.partition("==") for line in lines if line)}


@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda one: f"{one['package']}-{one['fixed']}")
def test_no_floor_lets_a_faulty_version_in(advisory: dict[str, Any]) -> None:
    known = requirements()
    assert advisory["package"] in known, f"{advisory['package']} has advisories, but no floor in pyproject.toml"
    assert floor_of(known[advisory["package"]]) >= Version(advisory["fixed"]), advisory["what"]


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-zoo.txt"])
def test_no_pin_is_a_faulty_version(name: str) -> None:
    pinned = pins(name)
    faulty = [
        f"{one['package']} {pinned[one['package']]} < {one['fixed']}: {one['what']}"
        for one in ADVISORIES
        if one["package"] in pinned and pinned[one["package"]] < Version(one["fixed"])
    ]
    assert not faulty


def test_every_pin_lies_above_its_floor() -> None:
    for name, pin in pins("constraints.txt").items():
        requirement = requirements().get(name)
        assert requirement is None or requirement.specifier.contains(pin), f"{requirement} excludes the pinned {pin}"
