"""The command line: parse, call, print. Every command is one Python function of the same name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

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

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON; - prints it instead of the text.")]  # fmt: skip
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A bundle (.onnx) or a run directory.")]
DataFolder = Annotated[Path, typer.Argument(metavar="DATA", help="A folder of images and masks; its layout is recognised.")]  # fmt: skip


def console_of(json_file: Path | None) -> Console:
    """Where text goes: nowhere when JSON takes standard output."""
    from rich.console import Console

    return Console(highlight=False, quiet=str(json_file) == "-")


def write_json(json_file: Path | None, value: Any) -> None:
    """To the file, whole or not at all; to standard output for "-"."""
    if json_file is None:
        return
    from pixelwise.tracing.recorder import finite

    text = json.dumps(finite(value), indent=1, ensure_ascii=False) + "\n"
    if str(json_file) == "-":
        sys.stdout.write(text)
    else:
        from pixelwise.data.files import write_whole

        write_whole(json_file, text.encode())


def parse_size(text: str) -> tuple[int, int]:
    """ "256x256" → (256, 256), height first. "256" stands for both."""
    from pixelwise.errors import UsageError

    parts = text.lower().replace("×", "x").split("x")
    if not all(part.strip().isdecimal() for part in parts) or len(parts) > 2:
        raise UsageError(f"--size {text}: expected HEIGHTxWIDTH in pixels, such as 256x256.")
    return int(parts[0]), int(parts[-1])


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """ "ema=0.99" and the like → values, read as TOML reads them."""
    import tomllib

    from pixelwise.errors import UsageError

    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: expected NAME=VALUE, such as --set ema=0.98.")
        try:
            values[name.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = text  # a bare word
    return values


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("demo"),
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    seed: Annotated[int, typer.Option()] = 0,
    open_page: Annotated[bool, typer.Option("--open", help="Then serve the model and open its page.")] = False,
) -> None:
    """Everything on built-in street scenes: render, train, evaluate, trace.

    Example: pixelwise demo
    """
    from pixelwise.terminal import TrainingView
    from pixelwise.training.demo import demo as run_demo

    console = console_of(None)
    with TrainingView(console) as view:
        done = run_demo(out, epochs=epochs, seed=seed, tell=view.tell, progress=view.progress)
    from pixelwise.tracing.story import trace as run_trace

    console.print(done.report.to_rich())
    console.print(run_trace(done.model, done.image).to_rich())
    console.print(
        f"\n{done.seconds:.0f} s in all. Where to look next:\n"
        f"  {out}/run/previews            the same street, labelled after every epoch\n"
        f"  pixelwise trace {out}/run {done.image} --pixel 240,300      one pixel's story\n"
        f"  pixelwise serve {out}/run --open                            the web page: ask any pixel why\n"
        f"  pixelwise predict {out}/run YOUR_PHOTO.jpg --out labelled   your own image\n"
        f"  pixelwise train YOUR_DATA --out YOUR_RUN                    your own data",
        soft_wrap=True,
    )
    if open_page:
        serve(str(out / "run"), port=0, runs=out / "page_runs", open_page=True)


@app.command()
def train(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The run directory; made if it is missing.")],
    epochs: Annotated[int | None, typer.Option(help="Passes over the data. [default: 20]")] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="What the network sees. [default: 256x256]")] = None,
    model: Annotated[str | None, typer.Option(help="fast (encoder and light decoder) or unet. [default: fast]")] = None,
    encoder: Annotated[str | None, typer.Option(help="lite0, lite1 or lite2. [default: lite0]")] = None,
    policy: Annotated[str | None, typer.Option(help="stretch, fit or native. [default: stretch]")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step. [default: 8]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.")] = None,
    seed: Annotated[int | None, typer.Option(help="Repeats a run. [default: 0]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that prepare batches. [default: 0]")] = None,
    recipe: Annotated[Path | None, typer.Option(metavar="FILE", help="A recipe.toml to start from.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other part of the recipe; can be repeated.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out broken pairs instead of refusing the data.")] = False,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Train on a folder of images and masks; ends with a bundle, RUN/model.onnx.

    Example: pixelwise train my_data --out my_run --epochs 20
    """
    from pixelwise.terminal import TrainingView
    from pixelwise.training.recipe import Recipe
    from pixelwise.training.run import train as run_train

    named = {
        "epochs": epochs, "model": model, "encoder": encoder, "policy": policy, "batch": batch,
        "learning_rate": learning_rate, "seed": seed, "workers": workers,
        "size": parse_size(size) if size else None,
    }  # fmt: skip
    values = {**parse_settings(settings or []), **{name: value for name, value in named.items() if value is not None}}
    chosen = Recipe.from_file(recipe) if recipe else None
    if values:
        chosen = (chosen or Recipe()).with_values(values, "command line")
    console = console_of(json_file)
    with TrainingView(console) as view:
        try:
            done = run_train(
                data, out, chosen, resume=resume, skip_bad=skip_bad, tell=view.tell, progress=view.progress
            )
        except KeyboardInterrupt:
            typer.echo(f"Stopped. Go on with: pixelwise train {data} --out {out} --resume", err=True)
            raise
    write_json(json_file, {"bundle": str(done.bundle), "best_epoch": done.best_epoch, "best_miou": done.best_miou,
                           "seconds": done.seconds, "epochs": list(done.epochs)})  # fmt: skip
    console.print(
        f"best epoch {done.best_epoch}: mIoU {done.best_miou:.3f} on the val split; {done.seconds:.0f} s in all\n"
        f"next: pixelwise evaluate {out} {data}    pixelwise predict {out} IMAGES --out DIR    pixelwise trace {out} IMAGE",
        soft_wrap=True,
    )


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    out: Annotated[Path, typer.Option(help="The bundle to write.")],
) -> None:
    """Write the bundle of a run's best epoch, checked against the network on real images.

    Example: pixelwise export my_run --out street.onnx
    """
    from pixelwise.terminal import TrainingView
    from pixelwise.training.finish import export as run_export

    view = TrainingView(console_of(None))
    run_export(run, out, tell=view.tell)


@app.command()
def check(
    data: DataFolder,
    json_file: JsonFile = None,
) -> None:
    """Read every pair once and say everything that is wrong with a dataset. Exit code 1 where an error is found.

    Example: pixelwise check my_data
    """
    from pixelwise.data.doctor import check as run_check
    from pixelwise.terminal import findings_table, work_bar

    console = console_of(json_file)
    with work_bar(console, "checking") as progress:
        dataset, findings = run_check(data, progress=progress)
    write_json(json_file, findings.to_json())
    console.print(findings_table(dataset, findings))
    if findings.errors:
        raise typer.Exit(1)


@app.command()
def evaluate(
    model: ModelName,
    data: DataFolder,
    split: Annotated[str | None, typer.Option(help="train, val or test. [default: test, or val where there is none]")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out broken pairs.")] = False,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Measure a model on a labelled split, at each image's own size.

    Example: pixelwise evaluate my_run my_data --split test
    """
    from pixelwise.evaluation.split import evaluate as run_evaluate
    from pixelwise.terminal import work_bar

    console = console_of(json_file)
    with work_bar(console, "evaluating") as progress:
        report = run_evaluate(model, data, split=split, skip_bad=skip_bad, progress=progress)
    write_json(json_file, report.to_json())
    console.print(report.to_rich())


@app.command()
def predict(
    model: ModelName,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES…", help="Files and folders.")],
    out: Annotated[Path, typer.Option(help="Where the results go; made if it is missing.")],
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad image instead of reporting it.")] = False,
    flow: Annotated[bool, typer.Option("--flow", help="Print the four stages of every image.")] = False,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Label images: for each a label PNG, a coloured overlay and a JSON with each class's share of its pixels.

    Example: pixelwise predict my_run photo.jpg more_photos/ --out labelled
    """
    from pixelwise.prediction.folder import predict as run_predict
    from pixelwise.terminal import flow_line, work_bar
    from pixelwise.tracing.recorder import nobody

    console = console_of(json_file)
    with work_bar(console, "labelling") as progress:
        tell = (lambda event: console.print(flow_line(event))) if flow else nobody
        summary = run_predict(model, images, out, strict=strict, tell=tell, progress=progress)
    write_json(json_file, summary.to_json())
    console.print(str(summary), soft_wrap=True)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


@app.command()
def trace(
    model: ModelName,
    image: Annotated[Path, typer.Argument(metavar="IMAGE")],
    pixel: Annotated[str | None, typer.Option(metavar="X,Y", help="Whose story to tell. [default: the least certain pixel]")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the whole story as one HTML file that opens offline.")] = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Follow an image through a model: four stages, every layer, one pixel's story.

    Example: pixelwise trace my_run photo.jpg --pixel 212,140
    """
    from pixelwise.prediction.image import load
    from pixelwise.tracing.story import trace as run_trace

    place = parse_pixel(pixel) if pixel else None
    opened = load(model)
    result = run_trace(opened, image, place)
    write_json(json_file, result.to_json())
    console_of(json_file).print(result.to_rich())
    if html is not None:
        from pixelwise.server.report import write_report

        write_report(opened, image, html, (result.pixel.x, result.pixel.y))
        console_of(json_file).print(f"The whole story: {html}", soft_wrap=True)


@app.command()
def serve(
    model: ModelName,
    host: Annotated[str, typer.Option(help="Where to listen; other than this machine, a token is asked for.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    runs: Annotated[Path, typer.Option(help="Where trainings started from the page go.")] = Path("runs"),
    allow_host: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A further name under which the server may be called; can be repeated.")] = None,
    token: Annotated[str | None, typer.Option(envvar="PIXELWISE_TOKEN", help="To ask for on every request. [default: made up unless on 127.0.0.1]")] = None,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait; further ones are told to come back.")] = 8,
    threads: Annotated[int | None, typer.Option(min=1, help="That one prediction may use. [default: all cores]")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:  # fmt: skip
    """Serve a model: the web page that shows every pixel, and a REST interface.

    Example: pixelwise serve my_run --open
    """
    from pixelwise.server.serve import serve as run_serve
    from pixelwise.server.settings import Settings

    console = console_of(None)

    def ready(address: str) -> None:
        console.print(
            f"Pixelwise is ready: {address}\nREST: {address.partition('?')[0]}docs   Stop: Ctrl-C", soft_wrap=True
        )
        if open_page:
            import webbrowser

            webbrowser.open(address)

    settings = Settings(
        host=host, port=port, runs=runs, token=token, queue=queue, allowed_hosts=tuple(allow_host or ())
    )  # fmt: skip
    run_serve(model, settings, threads=threads, ready=ready)


def parse_pixel(text: str) -> tuple[int, int]:
    """ "212,140" → (212, 140)."""
    from pixelwise.errors import UsageError

    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise UsageError(f"--pixel {text}: expected X,Y in pixels from the top left, such as 212,140.")
    return int(parts[0]), int(parts[1])
