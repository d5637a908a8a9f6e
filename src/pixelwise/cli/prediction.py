"""predict, trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared import JsonFile, ModelName, Threads, Views, app, console_of, write_json


@app.command()
def predict(
    model: ModelName,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES…", help="Files, folders and globs.")],
    out: Annotated[Path | None, typer.Option(help="Where the results go; made if it is missing. A run that was stopped goes on. Needed unless --benchmark.")] = None,
    save: Annotated[str, typer.Option(metavar="NAMES", help="What to write, with commas between: labels (palette PNG) or index (grey PNG), overlay, numpy, coco, labelme, geojson, confidence, entropy.")] = "labels",
    tta: Views = "",
    engine: Annotated[str, typer.Option(help="auto, onnxruntime, openvino, openvino-bf16 or cuda; auto is cuda where there is one, otherwise onnxruntime. ray: the workers of a Ray cluster, see --address.")] = "auto",
    address: Annotated[str, typer.Option(metavar="ADDRESS", help="Of --engine ray: auto (the cluster that runs here), HOST:PORT, or local (processes of this machine).")] = "local",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad image instead of reporting it.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again: take away what an earlier run wrote into OUT.")] = False,
    flow: Annotated[bool, typer.Option("--flow", help="Print the four stages of every image, as ONNX Runtime runs them.")] = False,
    threads: Threads = None,
    benchmark: Annotated[bool, typer.Option("--benchmark", help="Only time every engine on the images, and compare their labels.")] = False,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Label images: for each a label PNG, or what --save names, and a line in OUT/predictions.jsonl.

    Example: pixelwise predict my_run photo.jpg more_photos/ --out labelled --save labels,overlay
    """
    from pixelwise.errors import UsageError
    from pixelwise.prediction.folder import predict as run_predict
    from pixelwise.terminal import flow_line, work_bar
    from pixelwise.tracing.recorder import nobody

    console = console_of(json_file)
    if benchmark:
        from pixelwise.prediction.benchmark import benchmark as run_benchmark

        with work_bar(console, "timing") as progress:
            found = run_benchmark(model, images, threads=threads, progress=progress)
        write_json(json_file, found.to_json())
        console.print(found.to_rich())
        return
    if out is None:
        raise UsageError("--out is missing: the folder where the results go, such as --out labelled.")
    with work_bar(console, "labelling") as progress:
        tell = (lambda event: console.print(flow_line(event), soft_wrap=True)) if flow else nobody
        try:
            summary = run_predict(
                model,
                images,
                out,
                save=save.split(","),
                tta=tta,
                cluster=cluster_address(engine, address),
                engine="auto" if engine == "ray" else engine,
                threads=threads,
                strict=strict,
                fresh=fresh,
                tell=tell,
                progress=progress,
            )
        except KeyboardInterrupt:
            typer.echo("pixelwise: stopped. Type the same command again to go on.", err=True)
            raise typer.Exit(130) from None
    write_json(json_file, summary.to_json())
    console.print(str(summary), soft_wrap=True, markup=False)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def cluster_address(engine: str, address: str) -> str | None:
    """Where the cluster is that is to do the work; None where this process does it."""
    return address if engine == "ray" else None


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


def parse_pixel(text: str) -> tuple[int, int]:
    """ "212,140" → (212, 140)."""
    from pixelwise.errors import UsageError

    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise UsageError(f"--pixel {text}: expected X,Y in pixels from the top left, such as 212,140.")
    return int(parts[0]), int(parts[1])
