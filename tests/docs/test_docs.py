"""What README.md and the pages under docs/ say is so: commands run, options exist, links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from pixelwise.cli import app

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

from transcripts import BLOCK, Runner, blocks, make_examples, pages, run_page  # noqa: E402

FIRST_PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
NAMES = {page: str(page.relative_to(ROOT)) for page in pages()}
RUN = [page for page in pages() if any(not block.reason and not block.slow for block in blocks(page))]

TRAIN_FOR_LONG = {"docs/how-to/cross-validation.md", *(name for name in NAMES.values() if "/tutorials/" in name)}


def marked(page: Path) -> Any:
    name = NAMES[page]
    return pytest.param(page, id=name, marks=[pytest.mark.long] if name in TRAIN_FOR_LONG else [])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples' data, made once."""
    if shutil.which("bash") is None or not hasattr(os, "fork"):
        pytest.skip("the pages' commands are for a POSIX shell")
    folder = tmp_path_factory.mktemp("examples") / "world"
    make_examples(folder)
    return folder


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with Runner(tmp_path_factory.mktemp("bin")) as found:
        yield found


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", [marked(page) for page in RUN])
def test_the_commands_of_a_page_print_what_it_shows(page: Path, world: Path, runner: Runner) -> None:
    problems = run_page(page, world, runner)
    assert not problems, "\n".join(problems)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    "page", [page for page in pages() if any(block.slow for block in blocks(page))], ids=lambda page: NAMES[page]
)
def test_the_slow_commands_too(page: Path, world: Path, runner: Runner) -> None:
    problems = run_page(page, world, runner, slow=True)
    assert not problems, "\n".join(problems)


def test_what_nothing_runs_says_why() -> None:
    for page in pages():
        for block in blocks(page):
            assert block.reason != "it does not say why", (
                f"{NAMES[page]}:{block.line}: a {block.language} block that nothing runs. Make it a console block, or "
                "say why: <!-- not run: reason -->"
            )


def test_tests_that_a_reason_names_exist() -> None:
    for page in pages():
        for block in blocks(page):
            for name in re.findall(r"tests/[a-z_/]+(?:\.py)?", block.reason):
                assert (ROOT / name).exists(), f"{NAMES[page]}:{block.line}: {name} is gone"


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of each `pixelwise VERB …` in fences and in code inside of sentences."""
    text = text.replace("\\\n", " ")
    fences = re.findall(r"^```(?:console|sh|bash|text|python)?\n(.*?)^```", text, re.M | re.S)
    lines = [line.split("#")[0] for fence in fences for line in fence.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    for code in [*lines, *inline]:
        found = re.search(r"(?:^|\$ |-m |&& )pixelwise ([a-z].*)", code)
        if found:
            yield re.split(r"\s+", re.split(r"[|;&>]", found[1])[0].strip())


def test_every_command_and_option_exists() -> None:
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    seen = 0
    for page in pages():
        for words in commands_of(page.read_text(encoding="utf-8")):
            assert words[0] in verbs, f"{NAMES[page]}: pixelwise {words[0]}: there is no such verb"
            known = {option for one in verbs[words[0]].params for option in one.opts} | {"--help", "-h"}
            for word in words[1:]:
                option = re.match(r"--?[a-z][a-z0-9-]*", word)
                assert not option or option[0] in known, f"{NAMES[page]}: pixelwise {words[0]} has no {word}"
            seen += 1
    assert seen > 40


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 900


def test_links_in_the_repositorys_first_pages_lead_somewhere() -> None:
    for page in FIRST_PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target} is missing"


def test_a_newcomers_questions_are_answered_by_the_tree() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| `([a-z0-9_/]+\.py)` \| `(\w+)` \|$", text, re.M)
    assert len(rows) >= 10
    for question, file, name in rows:
        path = ROOT / "src" / "pixelwise" / file
        assert path.is_file(), f"docs/design.md, where is {question}: {file} is gone; name the file that has it now"
        defined = re.search(rf"^(?:async )?(?:def|class) {name}\b", path.read_text(encoding="utf-8"), re.M)
        assert defined, f"docs/design.md, where is {question}: {file} has no {name}; name what does it now"


def test_files_that_the_design_names_exist() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    for file in re.findall(r"`((?:[a-z0-9_]+/)+[a-z0-9_]+\.py)`", text):
        assert (ROOT / "src" / "pixelwise" / file).is_file(), f"docs/design.md names {file}, which is gone"


def test_the_readme_shows_the_page() -> None:
    """A GIF that loads at once."""
    gif = ROOT / "docs" / "page.gif"
    assert "(docs/page.gif)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert gif.read_bytes()[:3] == b"GIF"
    assert gif.stat().st_size <= 1_500_000
