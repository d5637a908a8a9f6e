"""train: a folder of images and masks → a run directory with a bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.shared_options import (
    BandNames,
    Classes,
    DataFolder,
    JsonFile,
    Masks,
    SkipBad,
    Void,
    app,
    console_of,
    reports_how_to_resume,
    values_from,
    write_json,
)
from pixelwise.cli.train_options import TrainOptions, recipe_from, recipe_values


@app.command()
def train(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Run directory; created if it does not exist.")],
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images. [default: planned]")] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Network input size in pixels, height x width, multiples of 32. [default: planned]")] = None,
    model: Annotated[str | None, typer.Option(help="fast (EfficientNet-Lite encoder with a light decoder), unet, or smp:NAME (segmentation-models-pytorch). [default: planned]")] = None,
    encoder: Annotated[str | None, typer.Option(help="Encoder of the model: lite0, lite1, lite2 (each more accurate and slower), or timm:NAME. [default: planned]")] = None,
    policy: Annotated[str | None, typer.Option(help="How images are resized: stretch (exactly to --size), fit (into --size, aspect ratio kept) or native (their own size). [default: planned; stretch where only --size is given]")] = None,
    batch: Annotated[int | None, typer.Option(help="Batch size: images per training step. [default: planned]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate, reached after warm-up. [default: 0.002]")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; the same seed, data and recipe give the same result on the same machine. [default: 0]")] = None,
    workers: Annotated[int | None, typer.Option(help="Data loading processes; 0 loads in the main process. [default: 0]")] = None,
    recipe: Annotated[Path | None, typer.Option(metavar="FILE", help="Read the recipe from this recipe.toml instead of planning it; options given here override it.")] = None,
    start_from: Annotated[Path | None, typer.Option(metavar="RUN", help="Fine-tune: start from the best weights of this run directory, from a bundle, or from a built-in model such as nuclei, instead of ImageNet weights.")] = None,
    separate: Annotated[list[str] | None, typer.Option(metavar="CLASS", help="Learn to separate touching objects of this class; needs instances/ beside masks/, or a polygon an object. Can be repeated.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set any other field of the recipe, such as ema=0.98; can be repeated. What is not set is planned.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="Time limit for everything, export included, such as 90s, 30m or 1h30m; the number of epochs is planned to fit. [default: none]")] = None,
    target_miou: Annotated[float | None, typer.Option(help="Stop once validation mIoU reaches this value, 0 to 1. [default: never]")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after this many epochs without a better validation mIoU. [default: never]")] = None,
    find_lr: Annotated[bool, typer.Option("--find-lr", help="Learning rate range test: suggest a learning rate and plot it to --out, without training a model.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint in --out.")] = False,
    search: Annotated[int | None, typer.Option(metavar="N", min=1, help="Search for a better recipe in N trials; --budget is the total for all trials. Options given here stay fixed.")] = None,
    folds: Annotated[int | None, typer.Option(metavar="K", min=2, help="Cross-validation: train K times, each time without another part of train and val, and average the K networks in one bundle; --budget is the total for all folds.")] = None,
    track: Annotated[list[str] | None, typer.Option(help="Log to tensorboard or mlflow; can be repeated. [default: none]")] = None,
    classes: Classes = None,
    void: Void = None,
    masks: Masks = None,
    bands: BandNames = None,
    skip_bad: SkipBad = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps (Apple GPU; untested), or auto (an NVIDIA GPU if there is one, otherwise the CPU).")] = "auto",
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Train on a folder of images and masks, and export the best epoch to OUT/model.onnx.

    The recipe is planned from the data (see `pixelwise plan`); options set parts of it.

    Example: pixelwise train my_data --out my_run

    On several processes: torchrun --nproc-per-node 2 -m pixelwise train my_data --out my_run
    """
    began = time.perf_counter()
    from pixelwise.errors import UsageError
    from pixelwise.training.time_budget import parse_duration

    budget_s = parse_duration(budget) if budget else None
    if budget_s and epochs and not search:
        raise UsageError("--budget plans the number of epochs; leave out --epochs.")
    set_here = recipe_values(settings or [], {
        "epochs": epochs, "model": model, "encoder": encoder, "policy": policy, "batch": batch,
        "learning_rate": learning_rate, "seed": seed, "workers": workers, "target_miou": target_miou,
        "patience": patience, "size": size, "separate": separate,
    })  # fmt: skip
    options = TrainOptions(
        data, out, recipe_from(recipe), set_here, start_from, budget_s, resume, skip_bad,
        values_from(classes, void, masks, bands), track or (), device, json_file, began,
    )  # fmt: skip
    chosen = [name for name, given in {"--find-lr": find_lr, "--folds": folds, "--search": search}.items() if given]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} exclude each other: choose one.")
    run(options, search, find_lr, folds)


def run(options: TrainOptions, search: int | None, find_lr: bool, folds: int | None) -> None:
    """What the options ask for: a search, a learning rate, a cross-validation, or one training."""
    from pixelwise.cli.train_folds import folds_to_resume, run_folds

    if search:
        from pixelwise.cli.train_search import run_search

        run_search(options, search)
    elif find_lr:
        from pixelwise.cli.train_find_rate import run_find_rate

        run_find_rate(options)
    elif folds := folds or (folds_to_resume(options.out) if options.resume else None):
        run_folds(options, folds)
    else:
        run_training(options)


def run_training(options: TrainOptions) -> None:
    """One training, shown as it happens."""
    from pixelwise.cli.terminal import TrainingView
    from pixelwise.datasets.class_values import quoted
    from pixelwise.training.distributed import is_first
    from pixelwise.training.train import train as run_train

    out, console = options.out, console_of(options.json_file, quiet=not is_first())
    with reports_how_to_resume(), TrainingView(console) as view:
        done = run_train(
            options.data, out, options.recipe, settings=options.settings, start_from=options.start_from,
            budget_s=options.budget_s, resume=options.resume, skip_bad=options.skip_bad, device=options.device, track=options.track,
            tell=view.tell, progress=view.progress, began=options.began, **options.values,
        )  # fmt: skip
    if done.ended_early:
        console.print(f"ended after {len(done.epochs)} epochs: {done.ended_early}", soft_wrap=True)
    write_json(options.json_file if is_first() else None, {
        "bundle": str(done.bundle), "best_epoch": done.best_epoch, "best_miou": done.best_miou,
        "seconds": done.seconds, "epochs": list(done.epochs),
    })  # fmt: skip
    console.print(
        f"{'last' if done.keeps_last else 'best'} epoch {done.best_epoch}: mIoU {done.best_miou:.3f} on the val split"
        f"{', which it was trained on too' if done.trained_on_val else ''}; {done.seconds:.0f} s in total\n"
        f"next: pixelwise evaluate {quoted(str(out))} {options.data_words}    "
        f"pixelwise predict {quoted(str(out))} IMAGES --out DIR    pixelwise trace {quoted(str(out))} IMAGE",
        soft_wrap=True,
    )
