"""The verb `predict`: files, folders and globs of images → results in the formats that are chosen, and a manifest.

Every error that can be found beforehand is raised before the first image is labelled. After that one bad file costs one
file. Each of a few threads takes an image from its file to its results, so that reading, running the network and
writing overlap; ONNX Runtime and the codecs release Python's lock. Queues are bounded, so memory does not grow with the
folder.

Shapes: H, W an image's size.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from functools import partial
from pathlib import Path

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.errors import BundleError, ImageError, UsageError
from pixelwise.images.decode import MAX_PIXELS
from pixelwise.images.files import shown
from pixelwise.images.no_data import labels_with_data
from pixelwise.maps.map_polygons import checked_options
from pixelwise.objects.object_options import ObjectOptions
from pixelwise.prediction.cluster import label_on_cluster
from pixelwise.prediction.engines.engine import AUTO, usable_cores
from pixelwise.prediction.find_images import Survey, jobs_of, survey
from pixelwise.prediction.joined_outputs import write_joined
from pixelwise.prediction.label_file import Job, Label, LabelOptions, Record, label_file
from pixelwise.prediction.large.tile_plan import Tiles, is_cut
from pixelwise.prediction.load_model import Model, find_bundle, opened
from pixelwise.prediction.manifest import Manifest, open_manifest, settings_of
from pixelwise.prediction.map_outputs import check_map_options
from pixelwise.prediction.masks_left_out import MasksLeftOut
from pixelwise.prediction.mosaic_job import mosaic_job, planned_mosaic
from pixelwise.prediction.objects_once import check_objects
from pixelwise.prediction.outputs import DEFAULT, chosen
from pixelwise.prediction.pixel_budget import PixelBudget
from pixelwise.prediction.probability_maps import ProbabilityOptions
from pixelwise.prediction.run_summary import RunTally, Summary
from pixelwise.prediction.stages import Stages
from pixelwise.prediction.tta import variants_of
from pixelwise.prediction.walk_folders import images_below
from pixelwise.records import OnProgress, Prediction, Raster, no_progress
from pixelwise.trace_events import Listener, nobody

__all__ = ["Summary", "images_below", "predict"]

FEW = 4  # images that one session with all cores labels faster than several: it opens sooner, too
READERS_AND_WRITERS = 2  # threads that read and write while the others run the network


def predict(
    model: Model | str | Path,
    images: Sequence[Path | str],
    out: Path | str,
    *,
    save: Sequence[str] = DEFAULT,
    probability_type: str = "float16",
    probability_classes: Sequence[str] = (),
    objects: ObjectOptions = ObjectOptions(),  # noqa: B008 (frozen)
    tta: str = "",
    engine: str = AUTO,
    threads: int | None = None,
    strict: bool = False,
    fresh: bool = False,
    cluster: str | None = None,
    tell: Listener = nobody,
    tiles: Tiles = Tiles(),  # noqa: B008 (frozen)
    crs: str = "",
    simplify_px: float = 0.0,
    mosaic: str = "",
    progress: OnProgress = no_progress,
    tile_progress: OnProgress = no_progress,
) -> Summary:
    """Label images, write the results into `out`, and record each image in OUT/predictions.jsonl.

    An interrupted run resumes when it is called again: finished images are skipped, failed ones are tried again.

    Args:
        model: an open model, or what `load` takes.
        images: files, folders and globs. Folders are searched recursively, and `out` mirrors their sub-folders; of a
            dataset, the images are labelled, and its folders of masks only if they are named themselves. A NIfTI
            volume gets NAME.nii.gz. A model of other bands than RGB also takes NumPy arrays (.npy). No data: void.
        out: folder for the results, created if it does not exist.
        save: outputs: "labels", "index", "overlay", "numpy", "coco", "labelme", "geojson", "geopackage", "confidence",
            "entropy", "probabilities" (TIFF), "probabilities-npz", "probabilities-zarr". Of an image that says where on
            the earth it lies, labels are a GeoTIFF on its grid, GeoJSON is in WGS 84, and a style for QGIS lies beside
            them. Of connected or separated objects: "objects" (a table as CSV), "objects-parquet", "objects-geojson",
            "objects-coco", "objectmap" (TIFF).
        probability_type: of saved probabilities: "float16", or "uint8", in which 0–254 are 0–1 and 255 is no data.
        probability_classes: names of the classes whose probabilities are saved, in this order. (): all.
        objects: which objects are saved, and how touching ones are separated; `pw.count_objects` names the choices.
        tta: test-time augmentation, as `Model.predict` takes it. "": none.
        engine: inference engine, as `load` takes it, if `model` is not open yet.
        threads: CPU threads per prediction, likewise. None: all cores, one image per core if there are many images.
        strict: raise at the first image that cannot be labelled, instead of reporting it and continuing.
        fresh: start over: delete what an earlier run wrote to `out`.
        cluster: address of a Ray cluster that does the work: "auto" (the one running here), "HOST:PORT", or "local"
            (processes on this machine). All machines must see images, model and `out` under the same paths. None: none.
        tell: called with the four "flow" events (dicts) of every image. The stages then run one after the other, so
            that each can be timed; the labels are the same.
        tiles: how large images are tiled. Default: images over 32 megapixels, in tiles that suit the model. Tiled TIFFs
            give NAME.tif, NAME.overlay.png and NAME.json.
        crs: coordinate reference system of GeoPackages, such as "EPSG:4326". "": the image's own.
        simplify_px: simplify polygons on a map by about so many pixels, without gaps between neighbours. 0: not.
        mosaic: label the images as parts of one map, without seams, under this name: MOSAIC.tif and so on. They lie on
            one grid of one CRS; gaps between them become void. "": each image is one of its own.
        progress: called with (images done, total).
        tile_progress: called with (tiles done, total) of a tiled image, from another thread.

    Returns:
        Summary: numbers of labelled and failed images, the failures, and seconds.

    Raises:
        UsageError: no such file, no images, images with equal names, results that would overwrite an image, images of a
            mosaic on different grids, unknown `save`, `tta`, `crs` or classes, or an earlier run in `out` with another
            model or options. Nothing was written.
        MissingExtraError: "probabilities-zarr" without the extra `zarr`; a GeoPackage, `crs` or `simplify_px` without
            the extra `geo`; objects without the extra `objects` where they need it.
        BundleError: the model is corrupt or cannot be run. Nothing was written.
        OutputError: `out` cannot be written, or another process writes there. Earlier results are complete.
        ImageError: with `strict`, an image that cannot be labelled.
        ClusterError: the cluster cannot be reached, or its machines do not match.

    Example:
        >>> import pixelwise as pw
        >>> summary = pw.predict("street", ["photo.jpg", "unlabelled"], "labelled", save=["labels", "overlay"])
        >>> summary.done, summary.failures
        (3, 0)
    """
    out, paths = Path(out), [Path(image) for image in images]
    probabilities = ProbabilityOptions(probability_type, tuple(probability_classes))
    options = LabelOptions(chosen(save), tta, tiles, probabilities, checked_options(crs, simplify_px), objects)
    check_map_options(options.save, options.polygons)
    check_options(tta, with_flow=tell is not nobody, on_cluster=cluster is not None)
    bundle = model.engine.bundle if isinstance(model, Model) else read_bundle(find_bundle(model))
    probabilities.check(options.save, bundle.metadata.classes.names)
    check_objects(objects, options.save, bundle.metadata)
    masks, bands = MasksLeftOut(paths), bundle.metadata.bands
    planned = planned_mosaic(mosaic, paths, out, bands, masks) if mosaic else None
    found = Survey(1, frozenset(), masks=masks) if planned else survey(paths, out, options.save, bands, masks)
    if not isinstance(model, Model):
        one_core_each = found.total > FEW or cluster is not None
        model = opened(bundle, threads or (1 if one_core_each else None), engine)
    began = time.perf_counter()
    with open_manifest(out, settings_of(model.digest, model.classes.to_json(), options), fresh=fresh) as manifest:
        tally = RunTally(manifest, found.total, strict, progress)
        every = jobs_of(paths, out, found, tally.unlisted, tally.clashing)
        jobs = tally.pending(every if planned is None else iter([mosaic_job(planned, mosaic, out)]))
        if cluster is None:
            label = None if tell is nobody else staged(model, tell)
            labelled = label_in_threads(model, jobs, options, manifest, label, tile_progress)
        else:
            labelled = label_on_cluster(model, jobs, options, manifest, cluster)
        with closing(labelled) as records:
            for record in records:
                tally.add(record)
        write_joined(out, model.classes, options.save)
    progress(found.total, found.total)
    return tally.summary(found, time.perf_counter() - began, model.digest)


def check_options(tta: str, *, with_flow: bool, on_cluster: bool) -> None:
    """Raise UsageError for TTA variants that do not exist, and options that exclude each other."""
    if tta:
        variants_of(tta)
        if with_flow:
            raise UsageError("the four stages are those of one prediction, without TTA: leave out --flow or --tta.")
    if on_cluster and with_flow:
        raise UsageError("a cluster does not report the four stages: leave out --flow or --engine ray.")


def label_in_threads(
    model: Model,
    jobs: Iterator[Job],
    options: LabelOptions,
    manifest: Manifest,
    label: Callable[[Job], Label] | None,
    tile_progress: OnProgress,
) -> Generator[Record]:
    """Label images in threads; yields each record once it is in the manifest, in the order of completion.

    If it is closed early, images in progress are finished and recorded, so that they need not be labelled again.

    Args:
        label: how to predict a job's image, one at a time; None: `model.predict`, several at a time.
    """
    at_once = 1 if label else networks_at_once(model)
    turn, room = threading.BoundedSemaphore(at_once), PixelBudget(MAX_PIXELS)

    def work(job: Job) -> Record:
        predictor = label(job) if label else None
        return label_file(model, job, options, label=predictor, room=room.hold, turn=turn, tile_progress=tile_progress)

    threads = at_once if label else at_once + READERS_AND_WRITERS
    waiting, ended = set[Future[Record]](), set[Future[Record]]()
    with ThreadPoolExecutor(threads, "predict") as pool:
        try:
            more = True
            while more or waiting:
                while more and len(waiting) < threads + 1:
                    job = next(jobs, None)
                    if job is None:
                        more = False
                    else:
                        waiting.add(pool.submit(work, job))
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED) if waiting else (set(), waiting)
                while ended:
                    record = ended.pop().result()
                    manifest.append(record)
                    yield record
        finally:
            begun = [*ended, *(future for future in waiting if not future.cancel())]
            for future in wait(begun).done:
                if future.exception() is None:
                    manifest.append(future.result())


def networks_at_once(model: Model) -> int:
    """How many networks run at a time: together they use every core once."""
    cores = usable_cores()
    return max(cores // (model.engine.threads or cores), 1)


def staged(model: Model, tell: Listener) -> Callable[[Job], Label]:
    """Predicts stage by stage and reports what each stage received and produced."""
    stages = Stages(model)

    def label(job: Job, image_HWN: Raster, decode_ms: float) -> Prediction:
        """As `model.predict`. Raises ImageError, BundleError."""
        height, width = image_HWN.shape[:2]
        if is_cut((height, width), model.metadata.policy, model.metadata.bands):
            raise ImageError(
                f"{shown(job.image)}: {width}×{height} pixels, so the image is cut into tiles, and the four stages are "
                "shown for whole images only. Leave out --flow, or make the image smaller."
            )
        try:
            passed = stages.run(image_HWN, decode_ms)
        except Exception as error:  # onnxruntime's exceptions have no common base class
            model.engine.run(image_HWN)  # raises the error of the whole network, if there is one
            raise BundleError(f"{shown(model.path)}: a stage could not be run alone: {error}") from error
        for event in stages.events(passed):
            tell({**event, "file": shown(job.image)})
        labels_HW = labels_with_data(image_HWN, passed.labels)
        return Prediction(labels_HW, passed.scores, model.classes, model.metadata.temperature)

    return lambda job: partial(label, job)
