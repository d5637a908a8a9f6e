"""The reference pages that the program writes about itself: the command line, the Python API, the REST interface."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

import pixelwise as pw
from pixelwise.cli import app
from pixelwise.server.rest_docs import answers_of, kind


def write_reference(folder: Path) -> None:
    """Write cli.md, python.md and rest.md into `folder`; a file that would not change keeps its time."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("cli.md", cli_page()), ("python.md", python_page()), ("rest.md", rest_page())):
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def cli_page() -> str:
    """Every command with its help, as the terminal shows it."""
    verbs = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    text = "# Command line\n\nWhat `pixelwise --help` and `pixelwise VERB --help` print.\n\n"
    text += f"```text\n{help_of()}```\n"
    return text + "".join(f"\n## pixelwise {verb}\n\n```text\n{help_of(verb)}```\n" for verb in verbs)


def help_of(*verb: str) -> str:
    shown = CliRunner().invoke(
        app, [*verb, "--help"], prog_name="pixelwise", env={"COLUMNS": "96", "TERMINAL_WIDTH": "96"}
    )
    if shown.exit_code:
        raise RuntimeError(f"pixelwise {' '.join(verb)} --help ended with {shown.exit_code}: {shown.output}")
    return "".join(f"{line.rstrip()}\n" for line in shown.output.strip().splitlines())


def python_page() -> str:
    """Every public name with its docstring."""
    text = (
        "# Python\n\n`import pixelwise as pw` needs neither torch nor ONNX Runtime: names are loaded when first used.\n"
        "Images and labels are NumPy arrays. Every error is a `pw.PixelwiseError`.\n"
    )
    for title, wanted in (("Functions", inspect.isfunction), ("Classes", inspect.isclass)):
        text += f"\n## {title}\n"
        for name in sorted(pw.__all__):
            if wanted(getattr(pw, name)):
                kind = "autofunction" if title == "Functions" else "autoclass"
                members = "" if title == "Functions" else "\n   :members:\n   :exclude-members: __init__, __new__"
                text += f"\n### {name}\n\n```{{eval-rst}}\n.. {kind}:: pixelwise.{name}{members}\n```\n"
    return text + "\n## Constants\n\n`VOID`\n: 255, the label of a pixel that has none.\n"


def rest_page() -> str:
    """Every route of the server, from its OpenAPI description."""
    from pixelwise.server.app import create_app

    described = create_app(pw.load("street")).openapi()
    text = f"# REST routes\n\n{described['info']['description']}\n\nA running server shows the same at `/docs`.\n"
    groups: dict[str, str] = {}
    for path, methods in described["paths"].items():
        for method, facts in methods.items():
            tag = facts["tags"][0]
            groups[tag] = groups.get(tag, f"\n## {tag.capitalize()}\n") + route(method, path, facts)
    return text + "".join(groups.values())


def route(method: str, path: str, facts: dict[str, Any]) -> str:
    text = f"\n### {method.upper()} {path}\n\n{facts.get('description', '')}\n"
    rows = [
        f"| `{one['name']}` | {one['in']} | {kind(one.get('schema', {}))} | {one.get('description') or ''} |"
        for one in facts.get("parameters", [])
    ]
    if rows:
        text += "\n| parameter | in | type | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    for media, example in answers_of(facts):
        text += f"\nAnswer, `{media}`:\n\n```text\n{example}\n```\n"
    return text
