"""predict: label images and videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.shared_options import JsonFile, ModelName, Threads, Views, app, console_of, give, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from pixelwise.prediction.load_model import Model
    from pixelwise.prediction.predict import Summary
    from pixelwise.prediction.video.label_video import VideoSummary


@app.command()
def predict(
    model: ModelName,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES…", help="Images or videos: files, folders (of a dataset without its masks), globs, stream URLs (rtsp://, http://) or cameras (/dev/video0).")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results; created if it does not exist. An interrupted run resumes. Required unless --benchmark is given.")] = None,
    save: Annotated[str, typer.Option(metavar="NAMES", help="Comma-separated outputs: labels (palette PNG), index (greyscale PNG of class ids), overlay, numpy, coco, labelme, geojson, geopackage, confidence, entropy, probabilities (TIFF), probabilities-npz, probabilities-zarr, objects (a row an object as CSV), objects-parquet, objects-geojson, objects-coco, objectmap (TIFF).")] = "labels",
    probability_type: Annotated[str, typer.Option(metavar="float16|uint8", help="Type of saved probabilities. uint8: 0-254 are 0-1, 255 is no data.")] = "float16",
    probability_classes: Annotated[str, typer.Option(metavar="NAMES", help="Comma-separated classes whose probabilities are saved. [default: all]")] = "",
    tta: Views = "",
    engine: Annotated[str, typer.Option(help="Inference engine: auto, onnxruntime, openvino, openvino-bf16, cuda, or ray (workers of a Ray cluster, see --address). auto uses cuda if available, otherwise onnxruntime.")] = "auto",
    address: Annotated[str | None, typer.Option(metavar="ADDRESS", help="With --engine ray: auto (the cluster running here), HOST:PORT, or local (processes on this machine). [default: local]")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first image that fails instead of reporting it and continuing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: delete what an earlier run wrote to OUT.")] = False,
    flow: Annotated[bool, typer.Option("--flow", help="Print shape, type, value range and time of the four stages of every image, as run by ONNX Runtime.")] = False,
    threads: Threads = None,
    benchmark: Annotated[bool, typer.Option("--benchmark", help="Time every engine on the images and compare their labels; writes nothing.")] = False,
    tile: Annotated[str | None, typer.Option("--tile", metavar="PX|HxW", help="Tile size; applies to images of any size. [default: only images over 32 megapixels are tiled, to suit the model]")] = None,
    overlap: Annotated[int | None, typer.Option("--overlap", metavar="PX", help="Overlap of neighbouring tiles in pixels. [default: 1/8 of a tile]")] = None,
    crs: Annotated[str, typer.Option("--crs", metavar="CRS", help="Coordinate reference system of GeoPackages, such as EPSG:4326. [default: the image's own]")] = "",
    simplify: Annotated[float, typer.Option("--simplify", metavar="PX", min=0, help="Simplify polygons on a map by about so many pixels, without gaps between neighbours; 0 keeps every corner.")] = 0.0,
    mosaic: Annotated[str, typer.Option("--mosaic", metavar="NAME", help="Label the images as parts of one map, without seams; results are NAME.tif and so on.")] = "",
    video: Annotated[str, typer.Option("--video", metavar="overlay|masks|both", help="Outputs for a video.")] = "both",
    smooth: Annotated[float, typer.Option("--smooth", metavar="SECONDS", help="Smooth a video's scores over time: time constant of an exponential moving average in seconds; 0 is off.")] = 0.0,
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Label images and videos. Each image gets a label PNG (or what --save names) and a line in OUT/predictions.jsonl.

    An image on a map (GeoTIFF) gets a label GeoTIFF on its own grid instead, with a style for QGIS beside it.
    A NIfTI volume gets a label volume on its own grid.

    Images over 32 megapixels are labelled in tiles; TIFFs of any size are read and written in pieces. A video becomes
    an overlay video and a mask video.

    Example: pixelwise predict my_run photo.jpg more_photos/ scan.tif clip.mp4 --out labelled --save labels,overlay
    """
    from pixelwise.cli.terminal import flow_line
    from pixelwise.errors import UsageError
    from pixelwise.prediction.input_kinds import parse_video, refuse_unused, split_videos
    from pixelwise.prediction.large.tile_plan import parse_tiles
    from pixelwise.prediction.load_model import load
    from pixelwise.trace_events import nobody

    console, tiles, written = console_of(json_file), parse_tiles(tile, overlap), parse_video(video)
    if benchmark:
        run_benchmark(model, images, threads, console, json_file)
        return
    if out is None:
        raise UsageError("--out is missing: the folder for the results, such as --out labelled.")
    videos, others = split_videos(images)
    cluster = cluster_address(engine, address)
    refuse_unused(videos, tta=tta, smooth_s=smooth, video=video, cluster=cluster is not None)
    labelled = label_videos(load(model, threads, engine), videos, out, written, smooth, console) if videos else []
    results: dict[str, Any] = {"videos": [summary.to_json() for summary in labelled]} if videos else {}
    failed = max((summary.exit_code for summary in labelled), default=0)
    if not labelled or (others and not labelled[-1].stopped):
        tell = (lambda event: console.print(flow_line(event), soft_wrap=True)) if flow else nobody
        summary = label_images(console, model, others, out, {
            "save": save.split(","), "probability_type": probability_type,
            "probability_classes": [name.strip() for name in probability_classes.split(",") if name.strip()], "tta": tta, "cluster": cluster, "engine": "auto" if cluster else engine,
            "threads": threads, "strict": strict, "fresh": fresh, "tell": tell, "tiles": tiles,
            "crs": crs, "simplify_px": simplify, "mosaic": mosaic,
        })  # fmt: skip
        results = summary.to_json() | results
        failed = int(bool(summary.exit_code or failed))
    write_json(json_file, results)
    if failed:
        raise typer.Exit(failed)


def run_benchmark(model: str, images: list[str], threads: int | None, console: Console, json_file: Path | None) -> None:
    """`predict --benchmark`."""
    from pixelwise.cli.terminal import work_bar
    from pixelwise.prediction.benchmark_engines import benchmark

    with work_bar(console, "timing") as progress:
        found = benchmark(model, [Path(image) for image in images], threads=threads, progress=progress)
    give(found, json_file)


def label_images(console: Console, model: str, images: list[Path], out: Path, options: dict[str, Any]) -> Summary:
    """Label the images behind a progress bar, of tiles where there is one image alone, and print the summary."""
    from pixelwise.cli.terminal import work_bar
    from pixelwise.prediction.predict import predict as run_predict

    alone = len(images) == 1 and images[0].is_file()
    with work_bar(console, "labelling") as progress:
        tile_progress = progress if alone else lambda done, total: None
        try:
            summary = run_predict(model, images, out, progress=progress, tile_progress=tile_progress, **options)
        except KeyboardInterrupt:
            typer.echo("pixelwise: stopped. Run the same command again to resume.", err=True)
            raise typer.Exit(130) from None
    console.print(str(summary), soft_wrap=True, markup=False)
    return summary


def label_videos(
    model: Model, sources: list[str], out: Path, written: tuple[str, ...], smooth_s: float, console: Console
) -> list[VideoSummary]:
    """Label one video after the other, each behind its own progress bar, until Ctrl-C."""
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
    """The address of the cluster that labels; None if this process does."""
    from pixelwise.errors import UsageError

    if engine != "ray" and address is not None:
        raise UsageError(f"--address {address} needs --engine ray, but --engine is {engine}.")
    return (address or "local") if engine == "ray" else None
