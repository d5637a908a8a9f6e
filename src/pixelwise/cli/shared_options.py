"""What the commands share: the application itself, arguments that several take, and how results are written."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from pixelwise.errors import StoppedError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

app = typer.Typer(
    name="pixelwise",
    help="Label every pixel: from a folder of images and masks to a segmentation model that you can trust, see "
    "through and ship.\n\nStart with: pixelwise demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(asked: bool) -> None:
    if asked:
        from pixelwise.version import __version__

        typer.echo(f"pixelwise {__version__}")
        raise typer.Exit


@app.callback()
def options_of_all(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=show_version, help="Print the version and exit.")] = False,
) -> None:  # fmt: skip
    del version  # its callback has answered


JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON; - prints it instead of the text.")]  # fmt: skip
ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A bundle (.onnx), a run directory or a built-in model (street, nuclei).")
]
Views = Annotated[str, typer.Option("--tta", metavar="VIEWS", help="Average over several views of each image: flip, and scales, such as flip,1.25. Better labels, many times slower.")]  # fmt: skip
EngineName = Annotated[str, typer.Option("--engine", help="auto, onnxruntime, openvino, openvino-bf16 or cuda; auto is cuda where there is one, otherwise onnxruntime.")]  # fmt: skip
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Cores that one prediction may use. [default: all, shared out where several run at a time]")]  # fmt: skip
DataFolder = Annotated[Path, typer.Argument(metavar="DATA", help="A folder of images and masks; its layout is recognised.")]  # fmt: skip
SplitName = Annotated[str | None, typer.Option("--split", help="train, val or test. [default: test, or val where there is none]")]  # fmt: skip
Classes = Annotated[list[str] | None, typer.Option("--class", metavar="NAME=VALUE[,VALUE…]", help="Which mask values a class is: numbers, ranges (1-65535) or colours (#ff0000); can be repeated.")]  # fmt: skip
Void = Annotated[list[str] | None, typer.Option("--void", metavar="VALUE[,VALUE…]", help="Mask values that mean unlabelled; can be repeated.")]  # fmt: skip
Masks = Annotated[str | None, typer.Option("--masks", metavar="WORD", help="Which masks are meant, where there are several for an image: part of their folder's or files' names.")]  # fmt: skip
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out broken pairs instead of refusing the data.")]


def values_from(classes: list[str] | None, void: list[str] | None, masks: str | None = None) -> dict[str, Any]:
    """--class, --void and --masks as the arguments that every verb takes which reads data."""
    from pixelwise.datasets.class_values import parse_values

    return parse_values(classes or (), void or (), masks or "").arguments()


class Result(Protocol):
    """What a verb found."""

    def to_json(self) -> Any: ...

    def to_rich(self) -> RenderableType: ...


def console_of(json_file: Path | None, *, quiet: bool = False) -> Console:
    """Where text goes: nowhere when JSON takes standard output, or when `quiet`."""
    from pixelwise.cli.terminal import PlainConsole

    return PlainConsole(quiet=quiet or str(json_file) == "-")


def write_json(json_file: Path | None, value: Any) -> None:
    """To the file, whole or not at all; to standard output for "-"."""
    if json_file is None:
        return
    from pixelwise.images.files import UNPRINTABLE
    from pixelwise.trace_events import finite

    text = json.dumps(finite(value), indent=1, ensure_ascii=False) + "\n"
    text = UNPRINTABLE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)
    if str(json_file) == "-":
        sys.stdout.write(text)
    else:
        from pixelwise.images.files import utf8, write_whole

        write_whole(json_file, utf8(text))


def give(found: Result, json_file: Path | None) -> None:
    """A result as JSON where it is asked for, and as text unless JSON takes standard output."""
    write_json(json_file, found.to_json())
    console_of(json_file).print(found.to_rich())


@contextmanager
def says_how_to_go_on() -> Iterator[None]:
    """Where a training inside is stopped by a signal: say how to go on, and end with the signal's exit code."""
    try:
        yield
    except StoppedError as stopped:
        from pixelwise.images.files import printable

        typer.echo(f"pixelwise: {printable(str(stopped), keep=chr(10))}", err=True)
        raise typer.Exit(stopped.exit_code) from stopped
