"""What the commands share: the application, common options, and how results are printed and written."""

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
    help="Label every pixel: from a folder of images and masks to a segmentation model that you can trust, inspect "
    "and ship.\n\nStart with: pixelwise demo",
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
    del version  # handled by its callback


JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result to FILE as JSON; - prints JSON instead of text.")]  # fmt: skip
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="Model: a bundle (.onnx), a run directory, or a built-in model (street, nuclei)."
    ),
]
Views = Annotated[str, typer.Option("--tta", metavar="VARIANTS", help="Test-time augmentation: average over variants of each image, flip and scales (0.5 to 4), such as flip,1.25. More accurate and several times slower. [default: none]")]  # fmt: skip
EngineName = Annotated[str, typer.Option("--engine", help="Inference engine: auto, onnxruntime, openvino, openvino-bf16 or cuda. auto uses cuda if available, otherwise onnxruntime.")]  # fmt: skip
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads per prediction. [default: all cores, divided among concurrent predictions]")]  # fmt: skip
DataFolder = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images and masks; the layout is detected.")]  # fmt: skip
SplitName = Annotated[str | None, typer.Option("--split", help="Split to use: train, val or test. [default: test, or val if there is no test split]")]  # fmt: skip
Classes = Annotated[list[str] | None, typer.Option("--class", metavar="NAME=VALUE[,VALUE…]", help="Mask values of a class: numbers, ranges (1-65535) or colours (#ff0000); can be repeated. [default: detected]")]  # fmt: skip
Void = Annotated[list[str] | None, typer.Option("--void", metavar="VALUE[,VALUE…]", help="Mask values that mean unlabelled (void): ignored in training and scores; can be repeated. [default: detected]")]  # fmt: skip
Masks = Annotated[str | None, typer.Option("--masks", metavar="WORD", help="If an image has several masks: part of the folder or file name of the masks to use.")]  # fmt: skip
BandNames = Annotated[str | None, typer.Option("--bands", metavar="BAND[,BAND…]", help="Bands of the images to use, in this order: names or numbers from 1, such as nir,red or 4,3,2. [default: all]")]  # fmt: skip
ObjectClasses = Annotated[list[str] | None, typer.Option("--objects", metavar="CLASS", help="Score the single objects of this class, too: F1, average precision, panoptic quality, AJI and counts; can be repeated.")]  # fmt: skip
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Skip broken image-mask pairs instead of stopping.")]


def values_from(
    classes: list[str] | None, void: list[str] | None, masks: str | None = None, bands: str | None = None
) -> dict[str, Any]:
    """--class, --void, --masks and --bands as keyword arguments of the functions that read data."""
    from pixelwise.datasets.class_values import parse_values

    return parse_values(classes or (), void or (), masks or "", bands or "").arguments()


class Result(Protocol):
    """The result of a command."""

    def to_json(self) -> Any: ...

    def to_rich(self) -> RenderableType: ...


def console_of(json_file: Path | None, *, quiet: bool = False) -> Console:
    """The console for text; it prints nothing if `quiet` or if JSON goes to standard output."""
    from pixelwise.cli.terminal import PlainConsole

    return PlainConsole(quiet=quiet or str(json_file) == "-")


def write_json(json_file: Path | None, value: Any) -> None:
    """Write JSON to a file, atomically, or to standard output for "-"."""
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
    """Write a result as JSON if --json was given, and print it as text unless JSON goes to standard output."""
    write_json(json_file, found.to_json())
    console_of(json_file).print(found.to_rich())


@contextmanager
def reports_how_to_resume() -> Iterator[None]:
    """If a signal stops the training: print how to resume, and exit with the signal's exit code."""
    try:
        yield
    except StoppedError as stopped:
        from pixelwise.images.files import printable

        typer.echo(f"pixelwise: {printable(str(stopped), keep=chr(10))}", err=True)
        raise typer.Exit(stopped.exit_code) from stopped
