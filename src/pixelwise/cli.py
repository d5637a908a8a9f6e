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
    out: Annotated[Path | None, typer.Option(help="Where everything goes. [default: demo, then demo-2 …]")] = None,
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
    out = done.trained.run.parent
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
    fix: Annotated[Path | None, typer.Option(metavar="OUT", help="Write a repaired native copy here; every change is listed in OUT/repairs.jsonl.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as one HTML page with thumbnails.")] = None,
    model: Annotated[str | None, typer.Option(help="A bundle or run directory: look for suspected label errors with it.")] = None,
    binary_foreground: Annotated[str | None, typer.Option(metavar="NAME", help="255 beside 0, or every object, is the class of this name.")] = None,
    background: Annotated[str | None, typer.Option(metavar="NAME", help="The name of the first class.")] = None,
    void_value: Annotated[list[str] | None, typer.Option(metavar="VALUE", help="A mask value that means unlabelled: 255 or #000000; can be repeated.")] = None,
    class_value: Annotated[list[str] | None, typer.Option(metavar="VALUE", help="A mask value that is a class though it looks like void.")] = None,
    turn: Annotated[str | None, typer.Option(help="Masks that lie on their side: left, right or transpose.")] = None,
    stretch_masks: Annotated[bool, typer.Option("--stretch-masks", help="Masks of another shape cover the same view.")] = False,
    grouped_split: Annotated[bool, typer.Option("--grouped-split", help="Divide anew by the suggested groups.")] = False,
    drop_copies: Annotated[bool, typer.Option("--drop-copies", help="Leave out images that are copies of another split's.")] = False,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Examine a dataset: what is wrong, where, and the remedy. Never changes it. Exit code 1 where an error is found.

    Example: pixelwise check my_data --html report.html --fix my_data_repaired
    """
    from pixelwise.data.doctor import Decisions, write_page
    from pixelwise.data.doctor import check as run_check
    from pixelwise.terminal import work_bar

    decisions = Decisions(
        binary_foreground, tuple(void_value or ()), tuple(class_value or ()), background,
        turn, stretch_masks, grouped_split, drop_copies,
    )  # fmt: skip
    loaded = None
    if model:
        from pixelwise.prediction.image import load

        loaded = load(model)
    console = console_of(json_file)
    with work_bar(console, "checking") as progress:
        report = run_check(
            data, fix=fix, decisions=decisions, model=loaded, progress=lambda what, done, total: progress(done, total)
        )
    write_json(json_file, report.to_json())
    if html:
        write_page(report, html)
    console.print(report)
    if not report.sound and not fix:
        raise typer.Exit(1)


@app.command()
def convert(
    data: Annotated[Path, typer.Argument(metavar="IN", help="A folder of any format that is read.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    to: Annotated[str, typer.Option(metavar="NAME", help="native, camvid, cityscapes, voc, ade20k, coco, yolo, labelme, cvat, labelstudio, parquet or image-folder.")],
) -> None:  # fmt: skip
    """Write a dataset in another format; no pixel is lost.

    Example: pixelwise convert my_data my_coco --to coco
    """
    from pixelwise.data.formats.convert import convert as run_convert
    from pixelwise.terminal import work_bar

    console = console_of(None)
    with work_bar(console, "converting") as progress:
        dataset = run_convert(data, out, to, progress=lambda what, done, total: progress(done, total))
    pairs = ", ".join(f"{len(samples)} {split}" for split, samples in dataset.splits.items())
    console.print(f"{out}: {dataset.layout}, {pairs} pairs, {len(dataset.classes)} classes", soft_wrap=True)


@app.command()
def evaluate(
    model: ModelName,
    data: DataFolder,
    split: Annotated[str | None, typer.Option(help="train, val or test. [default: test, or val where there is none]")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out broken pairs.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as one page: charts, tables, worst and best images.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a line for each image.")] = None,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Measure a model on a labelled split, at each image's own size: scores with intervals, and where the errors are.

    Example: pixelwise evaluate my_run my_data --split test --html report.html
    """
    from pixelwise.evaluation.split import evaluate as run_evaluate
    from pixelwise.terminal import work_bar

    console = console_of(json_file)
    with work_bar(console, "evaluating") as progress:
        report = run_evaluate(model, data, split=split, skip_bad=skip_bad, html=html, csv=csv, progress=progress)
    write_json(json_file, report.to_json())
    console.print(report.to_rich())


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The model to compare with: a bundle (.onnx) or a run directory.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The model that may be better.")],
    data: DataFolder,
    split: Annotated[str | None, typer.Option(help="train, val or test. [default: test, or val where there is none]")] = None,
    fail_if_worse: Annotated[float | None, typer.Option(metavar="POINTS", min=0, help="Exit code 1 where B's mean IoU is more than so many percentage points below A's.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out broken pairs.")] = False,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Compare two models on the same images: is B better, where, and is it more than luck?

    Example: pixelwise compare old.onnx my_run my_data --fail-if-worse 0.5
    """
    from pixelwise.evaluation.compare import compare as run_compare
    from pixelwise.terminal import work_bar

    console = console_of(json_file)
    with work_bar(console, "comparing") as progress:
        found = run_compare(a, b, data, split=split, skip_bad=skip_bad, progress=progress)
    write_json(json_file, found.to_json())
    console.print(found.to_rich())
    if fail_if_worse is not None and found.worse_by(fail_if_worse):
        points = -found.miou.difference * 100
        typer.echo(f"B's mean IoU is {points:.2f} points below A's; at most {fail_if_worse:g} are allowed.", err=True)
        raise typer.Exit(1)


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
        tell = (lambda event: console.print(flow_line(event), soft_wrap=True)) if flow else nobody
        summary = run_predict(model, images, out, strict=strict, tell=tell, progress=progress)
    write_json(json_file, summary.to_json())
    console.print(str(summary), soft_wrap=True)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


@app.command()
def suggest(
    model: ModelName,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES…", help="Unlabelled images: files and folders.")],
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many to suggest.")] = 20,
    labelled: Annotated[Path | None, typer.Option(metavar="DATA", help="What is labelled already: images like these teach little.")] = None,
    runs: Annotated[list[Path] | None, typer.Option("--run", metavar="RUN", help="A run with fewer images, for the learning curve; repeat it.")] = None,
    curve: Annotated[Path | None, typer.Option(metavar="FILE", help="A CSV with the columns images and miou, for the same.")] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder of tasks for a labelling tool, with the model's masks to correct.")] = None,
    tasks: Annotated[str, typer.Option(help="cvat or labelstudio.")] = "cvat",
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Which images to label next, where to look in them, and what so many more should bring.

    Example: pixelwise suggest my_run unlabelled/ -n 20 --labelled my_data --out to_label --tasks cvat
    """
    from pixelwise.evaluation.suggest import suggest as run_suggest
    from pixelwise.terminal import work_bar

    console = console_of(json_file)
    with work_bar(console, "looking") as progress:
        found = run_suggest(
            model, images, number=number, labelled=labelled, runs=runs or (), curve=curve, out=out, tasks=tasks,
            progress=progress,
        )  # fmt: skip
    write_json(json_file, found.to_json())
    console.print(found.to_rich())


@app.command()
def accept(
    tasks: Annotated[Path, typer.Argument(metavar="TASKS", help="The folder that `pixelwise suggest --out` wrote.")],
    export_file: Annotated[Path, typer.Argument(metavar="EXPORT", help="What the tool exported: CVAT for images 1.1 (XML) or Label Studio's JSON.")],
    out: Annotated[Path, typer.Option(help="A new folder: a dataset of the corrected masks.")],
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Take masks back that were corrected in a labelling tool, and say what was changed.

    Example: pixelwise accept to_label annotations.xml --out more_data
    """
    from pixelwise.evaluation.accept import accept as run_accept

    found = run_accept(tasks, export_file, out)
    write_json(json_file, found.to_json())
    console_of(json_file).print(str(found), soft_wrap=True)


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
