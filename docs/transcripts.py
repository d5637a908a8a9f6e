"""Runs what the pages tell people to type, and keeps the output that they show true.

    python docs/transcripts.py                        run every page; exit code 1 where one does not hold
    python docs/transcripts.py --write docs/faq.md    put the real output into the page
    python docs/transcripts.py --not-run              list the blocks that nothing runs, with the reason

In README.md and docs/, a ```console block holds commands after "$ " and their output. A line "…" stands for output that
is left out ("… 9 3" asks --write to show 9 lines before it and 3 after it). All ```python blocks of a page are one
program, run after its commands. Each page has a folder of its own, with the data of example_data.py in it. A comment
before a block changes this:

    <!-- run -->              a ```sh block: run each line, whatever it prints
    <!-- slow -->             takes minutes: run with --slow only
    <!-- fails: 1 -->         the last command ends with this exit code
    <!-- not run: reason -->  run by nothing, or by a test that the reason names

Numbers, bars and spaces may differ from machine to machine, so a block holds when its commands end with the expected
exit code and most lines of its output are those of the page once numbers are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>console|python|sh|bash)\n(?P<body>.*?)^```$", re.M | re.S
)
LEFT_OUT = "…"
SAME_LINES = 0.7  # share of a block's lines that must come out again: a model trained elsewhere may err elsewhere
COLUMNS = 96
TIMEOUT_S = 1800


@dataclass(frozen=True)
class Block:
    """A fenced block that holds commands or a program."""

    page: Path
    line: int
    language: str
    mark: str  # the comment before it
    body: str
    span: tuple[int, int]  # of `body` in the page's text

    @property
    def reason(self) -> str:
        """Why nothing runs it, or ""."""
        if self.mark.startswith("not run: "):
            return self.mark.removeprefix("not run: ")
        return (
            ""
            if self.language in ("console", "python") or self.mark.startswith(("run", "slow"))
            else "it does not say why"
        )

    @property
    def slow(self) -> bool:
        return self.mark.startswith("slow")

    @property
    def exit_code(self) -> int:
        return int(found[1]) if (found := re.search(r"fails: (\d+)", self.mark)) else 0

    def steps(self) -> list[tuple[str, list[str]]]:
        """Each command of the block with the lines that it is shown to print."""
        if self.language != "console":
            return [(line, []) for line in self.body.splitlines() if line]
        steps: list[tuple[str, list[str]]] = []
        for line in self.body.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            elif steps and steps[-1][0].endswith("\\"):
                steps[-1] = (f"{steps[-1][0]}\n{line}", [])
            else:
                steps[-1][1].append(line)
        return steps


def pages() -> list[Path]:
    """README.md and every page under docs/."""
    return [
        ROOT / "README.md",
        *sorted(path for path in (ROOT / "docs").rglob("*.md") if "generated" not in path.parts),
    ]


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("body"))
        yield Block(page, line, found["language"], found["mark"] or "", found["body"], found.span("body"))


def make_examples(folder: Path) -> None:
    """example_data.py in a process of its own, with one thread: the quickest for small images on a busy machine."""
    command = [sys.executable, str(ROOT / "docs" / "example_data.py"), str(folder)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"example_data.py ended with exit code {done.returncode}:\n{done.stderr}")


def run_page(page: Path, world: Path, runner: Runner, *, slow: bool = False, write: bool = False) -> list[str]:
    """Run what the page says in a folder of its own; returns what does not hold.

    Args:
        world: the folder that example_data.py filled.
        slow: the slow blocks too.
        write: put the real output into the page.
    """
    problems, outputs = [], {}
    wanted = [block for block in blocks(page) if not block.reason and (slow or not block.slow)]
    with tempfile.TemporaryDirectory(prefix="pixelwise-docs-") as name:
        folder = Path(name)
        shutil.copytree(world, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run"))
        (folder / "run").symlink_to(world / "run")  # large, and only read
        runner.folder = folder
        for block in (block for block in wanted if block.language != "python"):
            real, problem = run_block(block, runner)
            if block.language == "console":
                outputs[block.span] = real
            problems += [f"{page.relative_to(ROOT)}:{block.line}: {problem}"] if problem else []
        program = "\n".join(block.body for block in wanted if block.language == "python")
        code, text = runner.program(program) if program else (0, "")
        problems += [f"{page.relative_to(ROOT)}: its Python ends with exit code {code}:\n{text}"] if code else []
    if write:
        text = page.read_text(encoding="utf-8")
        for (start, end), real in sorted(outputs.items(), reverse=True):
            text = text[:start] + real + text[end:]
        page.write_text(text, encoding="utf-8")
    return problems


def run_block(block: Block, runner: Runner) -> tuple[str, str]:
    """Run a console block; returns it with the real output, and what does not hold, or ""."""
    real, shown, printed, problem = "", [], [], ""
    steps = block.steps()
    for number, (command, lines) in enumerate(steps):
        code, text = runner.command(command)
        expected = block.exit_code if number == len(steps) - 1 else 0
        if code != expected and not problem:
            problem = f"`{command}` ended with exit code {code}, not {expected}:\n{text}"
        now = [line.rstrip() for line in text.splitlines()]
        real += "".join(f"{line}\n" for line in [f"$ {command}", *cut_like(now, lines)])
        shown += [skeleton(line) for line in lines if skeleton(line)]
        printed += [skeleton(line) for line in now]
    missing = [line for line in shown if line not in printed]
    if not problem and shown and len(missing) > (1 - SAME_LINES) * len(shown):
        problem = (
            f"the output has changed; these lines are gone: {missing[:5]}. "
            f"Put the new output in: python docs/transcripts.py --write {block.page.relative_to(ROOT)}"
        )
    return real, problem


class Runner:
    """Runs commands and programs in a folder, `pixelwise` and Python in forks of one warm process."""

    def __init__(self, bin_folder: Path) -> None:
        """`bin_folder` gets a `pixelwise` for the shell, which stands for this Python's."""
        script = bin_folder / "pixelwise"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pixelwise "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        self.output = bin_folder / "output"
        self.folder = bin_folder
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "COLUMNS": str(COLUMNS), "OMP_NUM_THREADS": "1", "PATH": path}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "encoding": "utf-8"}
        graphs = bin_folder / "graphs"
        graphs.mkdir()
        command = [sys.executable, str(ROOT / "docs" / "warm_python.py"), str(graphs)]
        self.warm = subprocess.Popen(command, env=self.environment, **pipes)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.warm.communicate(timeout=TIMEOUT_S)

    def command(self, text: str) -> tuple[int, str]:
        """Exit code of a shell command, and everything that it printed."""
        words = shlex.split(text, comments=True)
        if words[0] == "pixelwise" and not {"|", "||", "&&", ";", ">", "<"} & set(words):
            return self.ask(words[1:], "")
        done = subprocess.run(
            ["bash", "-c", text], cwd=self.folder, env={**self.environment, "PWD": str(self.folder)}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        return done.returncode, self.anonymous(done.stdout)

    def program(self, text: str) -> tuple[int, str]:
        """Exit code of a Python program, and everything that it printed."""
        return self.ask([], text)

    def ask(self, arguments: list[str], program: str) -> tuple[int, str]:
        self.output.write_bytes(b"")
        asked = {"arguments": arguments, "program": program, "folder": str(self.folder), "output": str(self.output)}
        assert self.warm.stdin is not None
        assert self.warm.stdout is not None
        self.warm.stdin.write(json.dumps(asked) + "\n")
        self.warm.stdin.flush()
        code = int(self.warm.stdout.readline())
        return code, self.anonymous(self.output.read_text(encoding="utf-8"))

    def anonymous(self, printed: str) -> str:
        return printed.replace(str(self.folder), "/home/me")


def cut_like(now: list[str], before: list[str]) -> list[str]:
    """The new output with as many lines before and after each … as the page showed."""
    marks = [line for line in before if line.startswith(LEFT_OUT)]
    if not marks:
        return now
    at = before.index(marks[0])
    tail = len(before) - at - 1
    if asked := re.fullmatch(r"… (\d+) (\d+)", marks[0]):
        at, tail = int(asked[1]), int(asked[2])
    return [*now[:at], LEFT_OUT, *(now[len(now) - tail :] if tail else [])]


def skeleton(line: str) -> str:
    """A line without what differs from machine to machine; "" where nothing is left."""
    line = re.sub(r"\b[0-9a-f]{12,64}\b|[0-9]+([.,:][0-9]+)*|[█▉▊▋▌▍▎▏…]", " ", line)
    return " ".join(re.sub(r"[-–+×%─]", " ", line).split())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--not-run", action="store_true")
    parser.add_argument("--world", type=Path, help="keep the example data here and use them again")
    asked = parser.parse_args()
    chosen = [path.resolve() for path in asked.pages] or pages()
    if asked.not_run:
        for block in (block for page in chosen for block in blocks(page) if block.reason):
            print(f"{block.page.relative_to(ROOT)}:{block.line}: {block.reason}")
        return 0
    problems = []
    with tempfile.TemporaryDirectory(prefix="pixelwise-examples-") as name:
        world = asked.world or Path(name) / "world"
        if not world.exists():
            make_examples(world)
        with Runner(Path(name)) as runner:
            for page in chosen:
                found = run_page(page, world, runner, slow=asked.slow, write=asked.write)
                problems += found
                print(f"{page.relative_to(ROOT)}: {'ok' if not found else 'does not hold'}", flush=True)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
