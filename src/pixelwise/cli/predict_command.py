"""predict: label images and videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.shared_options import JsonFile, ModelName, Threads, Views, app, console_of, give, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from pixelwise.prediction.load_model import Model
    from pixelwise.prediction.video.label_video import VideoSummary


@app.command()
def predict(
    model: ModelName,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES…", help="Files, folders and globs; videos, addresses of streams, cameras such as /dev/video0.")],
    out: Annotated[Path | None, typer.Option(help="Where the results go; made if it is missing. A run that was stopped goes on. Needed unless --benchmark.")] = None,
    save: Annotated[str, typer.Option(metavar="NAMES", help="What to write, with commas between: labels (palette PNG) or index (grey PNG), overlay, numpy, coco, labelme, geojson, confidence, entropy.")] = "labels",
    tta: Views = "",
    engine: Annotated[str, typer.Option(help="auto, onnxruntime, openvino, openvino-bf16 or cuda; auto is cuda where there is one, otherwise onnxruntime. ray: the workers of a Ray cluster, see --address.")] = "auto",
    address: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Of --engine ray: auto (the cluster that runs here), HOST:PORT, or local (processes of this machine). [default: local]")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad image instead of reporting it.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again: take away what an earlier run wrote into OUT.")] = False,
    flow: Annotated[bool, typer.Option("--flow", help="Print the four stages of every image, as ONNX Runtime runs them.")] = False,
    threads: Threads = None,
    benchmark: Annotated[bool, typer.Option("--benchmark", help="Only time every engine on the images, and compare their labels.")] = False,
    tile: Annotated[str | None, typer.Option("--tile", metavar="PX|HxW", help="Cut images of any size into such tiles. [default: those over 32 megapixels, into tiles that fit the model]")] = None,
    overlap: Annotated[int | None, typer.Option("--overlap", metavar="PX", help="By how much tiles overlap. [default: an eighth of a tile]")] = None,
    video: Annotated[str, typer.Option("--video", metavar="overlay|masks|both", help="What is written of a video.")] = "both",
    smooth: Annotated[float, typer.Option("--smooth", metavar="SECONDS", help="Average a video's scores over about so long.")] = 0.0,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Label images: for each a label PNG, or what --save names, and a line in OUT/predictions.jsonl.

    Images over 32 megapixels are cut into tiles, and TIFFs are read and written piece by piece, whatever their size. A
    video becomes a video under its labels and one of its labels.

    Example: pixelwise predict my_run photo.jpg more_photos/ scan.tif clip.mp4 --out labelled --save labels,overlay
    """
    from pixelwise.cli.terminal import flow_line, work_bar
    from pixelwise.errors import UsageError
    from pixelwise.prediction.input_kinds import parse_video, refuse_unused, split_videos
    from pixelwise.prediction.large.tile_plan import parse_tiles
    from pixelwise.prediction.load_model import load
    from pixelwise.prediction.predict import predict as run_predict
    from pixelwise.trace_events import nobody

    console, tiles, written = console_of(json_file), parse_tiles(tile, overlap), parse_video(video)
    if benchmark:
        from pixelwise.prediction.benchmark_engines import benchmark as run_benchmark

        with work_bar(console, "timing") as progress:
            found = run_benchmark(model, [Path(image) for image in images], threads=threads, progress=progress)
        give(found, json_file)
        return
    if out is None:
        raise UsageError("--out is missing: the folder where the results go, such as --out labelled.")
    videos, others = split_videos(images)
    cluster = cluster_address(engine, address)
    refuse_unused(videos, tta=tta, smooth_s=smooth, video=video, cluster=cluster is not None)
    labelled = label_videos(load(model, threads, engine), videos, out, written, smooth, console) if videos else []
    results: dict[str, Any] = {"videos": [summary.to_json() for summary in labelled]} if videos else {}
    failed = max((summary.exit_code for summary in labelled), default=0)
    if videos and (not others or labelled[-1].stopped):
        write_json(json_file, results)
        if failed:
            raise typer.Exit(failed)
        return
    alone = len(others) == 1 and others[0].is_file()
    with work_bar(console, "labelling") as progress:
        tell = (lambda event: console.print(flow_line(event), soft_wrap=True)) if flow else nobody
        try:
            summary = run_predict(
                model,
                others,
                out,
                save=save.split(","),
                tta=tta,
                cluster=cluster,
                engine="auto" if cluster else engine,
                threads=threads,
                strict=strict,
                fresh=fresh,
                tell=tell,
                tiles=tiles,
                progress=progress,
                tile_progress=progress if alone else lambda done, total: None,
            )
        except KeyboardInterrupt:
            typer.echo("pixelwise: stopped. Type the same command again to go on.", err=True)
            raise typer.Exit(130) from None
    write_json(json_file, summary.to_json() | results)
    console.print(str(summary), soft_wrap=True, markup=False)
    if summary.exit_code or failed:
        raise typer.Exit(1)


def label_videos(
    model: Model, sources: list[str], out: Path, written: tuple[str, ...], smooth_s: float, console: Console
) -> list[VideoSummary]:
    """One video after the other, each with a bar of its own, until Ctrl-C."""
    from pixelwise.cli.terminal import work_bar
    from pixelwise.prediction.video.label_video import predict_video

    labelled: list[VideoSummary] = []
    for source in sources:
        with work_bar(console, "labelling") as progress:
            labelled.append(predict_video(model, source, out, write=written, smooth_s=smooth_s, progress=progress))
        console.print(str(labelled[-1]), soft_wrap=True, markup=False)
        if labelled[-1].stopped:
            break
    return labelled


def cluster_address(engine: str, address: str | None) -> str | None:
    """Where the cluster is that is to do the work; None where this process does it."""
    from pixelwise.errors import UsageError

    if engine != "ray" and address is not None:
        raise UsageError(f"--address {address} is about --engine ray, but the engine is {engine}.")
    return (address or "local") if engine == "ray" else None
