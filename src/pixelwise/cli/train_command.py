"""train: a folder of images and masks → a run with a bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixelwise.cli.shared_options import (
    Classes,
    DataFolder,
    JsonFile,
    Masks,
    SkipBad,
    Void,
    app,
    console_of,
    says_how_to_go_on,
    values_from,
    write_json,
)

if TYPE_CHECKING:
    pass


@app.command()
def train(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The run directory; made if it is missing.")],
    epochs: Annotated[int | None, typer.Option(help="Passes over the data. [default: 20]")] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="What the network sees. [default: 256x256]")] = None,
    model: Annotated[str | None, typer.Option(help="fast (encoder and light decoder), unet, or smp:NAME. [default: fast]")] = None,
    encoder: Annotated[str | None, typer.Option(help="lite0, lite1, lite2, or timm:NAME. [default: lite0]")] = None,
    policy: Annotated[str | None, typer.Option(help="stretch, fit or native. [default: stretch]")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step. [default: 4]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.")] = None,
    seed: Annotated[int | None, typer.Option(help="Repeats a run. [default: 0]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that prepare batches. [default: 0]")] = None,
    recipe: Annotated[Path | None, typer.Option(metavar="FILE", help="A recipe.toml to start from.")] = None,
    start_from: Annotated[Path | None, typer.Option(metavar="RUN", help="Start from the weights of another run instead of ImageNet's.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other part of the recipe; can be repeated.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="Plan everything to end after this time: 90s, 30m, 1h30m.")] = None,
    target_miou: Annotated[float | None, typer.Option(help="Stop when validation reaches this mIoU, 0 to 1.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a better mIoU. [default: never]")] = None,
    find_lr: Annotated[bool, typer.Option("--find-lr", help="Try learning rates, suggest one, write a plot to --out, and train nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    search: Annotated[int | None, typer.Option(metavar="N", min=1, help="Look for a better recipe in N trials, --budget being that of all; what other options set stays fixed.")] = None,
    track: Annotated[list[str] | None, typer.Option(help="Follow the run with tensorboard or mlflow; can be repeated.")] = None,
    classes: Classes = None,
    void: Void = None,
    masks: Masks = None,
    skip_bad: SkipBad = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps (Apple's GPU; not yet tried), or auto: an NVIDIA GPU where there is one, else the CPU.")] = "auto",
    json_file: JsonFile = None,
) -> None:  # fmt: skip
    """Train on a folder of images and masks; ends with a bundle, RUN/model.onnx.

    Example: pixelwise train my_data --out my_run --epochs 20

    On several processes: torchrun --nproc-per-node 2 -m pixelwise train my_data --out my_run
    """
    began = time.perf_counter()  # before torch is imported: that counts in a budget too
    from pixelwise.cli.terminal import TrainingView
    from pixelwise.errors import UsageError
    from pixelwise.training.recipe import Recipe
    from pixelwise.training.time_budget import parse_duration

    budget_s = parse_duration(budget) if budget else None
    if budget_s and epochs and not search:
        raise UsageError("--budget plans the epochs itself; leave out --epochs.")
    named = {
        "epochs": epochs, "model": model, "encoder": encoder, "policy": policy, "batch": batch,
        "learning_rate": learning_rate, "seed": seed, "workers": workers, "target_miou": target_miou,
        "patience": patience,
        "size": parse_size(size) if size else None,
    }  # fmt: skip
    values = {**parse_settings(settings or []), **{name: value for name, value in named.items() if value is not None}}
    chosen = Recipe.from_file(recipe) if recipe else None
    if values:
        own = out / "recipe.toml"
        base = Recipe.from_file(own) if resume and own.is_file() else Recipe()  # only what is named can differ from it
        chosen = (chosen or base).with_values(values, "command line")
    values_said = values_from(classes, void, masks)
    if start_from and (search or find_lr):
        raise UsageError("--start-from is for one training: leave out --search and --find-lr.")
    if search:
        if find_lr:
            raise UsageError("--find-lr and --search are two things: ask for one of them.")
        from pixelwise.cli.train_search import run_search

        run_search(
            data, out, chosen, search, budget_s, tuple(values), resume, skip_bad, values_said, track or (), json_file
        )
        return
    from pixelwise.training.distributed import is_first

    console = console_of(json_file, quiet=not is_first())
    if find_lr:
        if budget_s or resume:
            raise UsageError("--find-lr trains nothing: leave out --budget and --resume.")
        from pixelwise.cli.train_find_rate import find_learning_rate

        find_learning_rate(data, out, chosen, skip_bad, values_said, device, console, json_file)
        return
    from pixelwise.training.train import train as run_train

    with says_how_to_go_on(), TrainingView(console) as view:
        done = run_train(
            data, out, chosen, start_from=start_from, budget_s=budget_s, resume=resume, skip_bad=skip_bad, device=device, track=track or (),
            tell=view.tell,
            progress=view.progress, began=began, **values_said,
        )  # fmt: skip
    if done.ended_early:
        console.print(f"ended after {len(done.epochs)} epochs: {done.ended_early}", soft_wrap=True)
    write_json(json_file if is_first() else None, {"bundle": str(done.bundle), "best_epoch": done.best_epoch, "best_miou": done.best_miou,
                           "seconds": done.seconds, "epochs": list(done.epochs)})  # fmt: skip
    console.print(
        f"{'last' if done.learnt_val else 'best'} epoch {done.best_epoch}: mIoU {done.best_miou:.3f} on the val split"
        f"{', which it learnt from' if done.learnt_val else ''}; {done.seconds:.0f} s in all\n"
        f"next: pixelwise evaluate {out} {data}    pixelwise predict {out} IMAGES --out DIR    pixelwise trace {out} IMAGE",
        soft_wrap=True,
    )


def parse_size(text: str) -> tuple[int, int]:
    """ "256x256" → (256, 256), height first. "256" stands for both."""
    from pixelwise.errors import UsageError

    parts = text.lower().replace("×", "x").split("x")
    if not all(part.strip().isdecimal() for part in parts) or len(parts) > 2:
        raise UsageError(f"--size {text}: expected HEIGHTxWIDTH in pixels, such as 256x256.")
    return int(parts[0]), int(parts[-1])


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """ "ema=0.99" and the like → values, read as TOML reads them."""
    from pixelwise.datasets.dataset_toml import parse_toml
    from pixelwise.errors import UsageError

    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: expected NAME=VALUE, such as --set ema=0.98.")
        try:
            values[name.strip()] = parse_toml(f"value = {text}")["value"]
        except ValueError:
            values[name.strip()] = text  # a bare word
    return values
