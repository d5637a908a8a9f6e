"""Terminal output: trace events as tables and progress bars.

Live updates in a terminal, plain lines in a file or pipe. Names of classes and files are untrusted: they are never
parsed as markup, and control characters in them are escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from pixelwise.images.files import printable
from pixelwise.training.observations import images_of

if TYPE_CHECKING:
    from pixelwise.prediction.built_in_models import BuiltIn

SHOWN_PROBLEMS = 5  # of each kind, before a training
Event = dict[str, Any]


class PlainConsole(Console):
    """A console without markup that escapes control characters."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, quiet=quiet)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                yield Segment(printable(segment.text, keep="\n"), segment.style)
            else:
                yield segment


class TrainingView:
    """Shows a training as it runs. `tell` takes trace events, `progress` (what is being done, done, total)."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.epochs: list[Event] = []
        self.planned = 0  # epochs in the latest plan
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.task = self.bar.add_task("starting", total=None)
        self.live = Live(self.render(), console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> TrainingView:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.update(self.table(self.epochs) if self.epochs else Text(""), refresh=True)
            self.live.stop()

    def progress(self, what: str, done: int, total: int) -> None:
        if self.live:
            if self.bar.tasks[0].description != what:
                self.bar.reset(self.task, description=what, total=total)
            self.bar.update(self.task, completed=done, total=total, description=what)
            self.live.update(self.render(), refresh=True)

    def tell(self, event: Event) -> None:
        kind = event["event"]
        if kind == "data":
            self.console.print(data_table(event))
        elif kind == "recipe":
            self.console.print(plan_table(event))
            for warning in event["warnings"]:
                self.console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
        elif kind == "start":
            self.console.print(start_line(event), soft_wrap=True)
        elif kind == "flow":
            self.console.print(flow_line(event), soft_wrap=True)
        elif kind == "epoch":
            self.epochs.append(event)
            if self.live:
                self.live.update(self.render(), refresh=True)
            else:
                self.console.print(epoch_line(event), soft_wrap=True)
        elif kind == "plan" and event["epochs"] != self.planned:
            self.planned = event["epochs"]
            self.console.print(plan_line(event), soft_wrap=True)
        elif kind == "warning":
            self.console.print(f"warning: {event['message']}", style="yellow", soft_wrap=True)
        elif kind == "export":
            self.console.print(f"bundle {event['path']} written; its labels equal PyTorch's on "
                               f"{1 - event['differs']:.3%} of the pixels", soft_wrap=True)  # fmt: skip
            if reduced := event.get("reduced"):
                self.console.print(reduced_line(reduced, event["bytes"]), soft_wrap=True)

    def render(self) -> RenderableType:
        room = max(self.console.height - 8, 5)  # rich cannot scroll a live table taller than the screen
        return Group(self.table(self.epochs[-room:]), self.bar) if self.epochs else Group(self.bar)

    def table(self, epochs: list[Event]) -> Table:
        table = Table(title="training", title_justify="left", box=None, pad_edge=False)
        for name in ("epoch", "loss", "val loss", "accuracy", "mIoU", "seconds", "images/s"):
            table.add_column(name, justify="right")
        table.add_column("remark", ratio=1)
        kept = next((event for event in reversed(self.epochs) if event["best"]), None)
        for event in epochs:
            star = "★" if event is kept else " "
            table.add_row(
                str(event["epoch"]),
                number(event["loss"], ".3f"),
                number(event["val_loss"], ".3f"),
                number(event["accuracy"], ".3f"),
                number(event["miou"], ".3f") + star,
                f"{event['seconds']:.1f}",
                f"{event['images_per_second']:.0f}",
                event["observation"],
            )
        return table


def number(value: float | None, form: str) -> str:
    return "–" if value is None or value != value else format(value, form)


def epoch_line(event: Event) -> str:
    return (
        f"epoch {event['epoch']:3d}  loss {number(event['loss'], '.3f')}  val loss {number(event['val_loss'], '.3f')}  "
        f"accuracy {number(event['accuracy'], '.3f')}  mIoU {number(event['miou'], '.3f')}  {event['seconds']:.1f} s  "
        f"{event['images_per_second']:.0f} images/s  {event['observation']}"
    )


def data_table(event: Event) -> RenderableType:
    """Pixels per class at the network's input size, and problems of the data."""
    pairs = ", ".join(f"{count} {split}" for split, count in event["pairs"].items())
    table = Table(title=f"{event['root']}: {pairs} pairs ({event['layout']} layout)", title_justify="left", box=None)
    table.add_column("class")
    table.add_column("share of labelled pixels at the network's input size", no_wrap=True)
    table.add_column("pixels", justify="right")
    total = max(sum(event["pixels"].values()), 1)
    for row in event["classes"]:
        pixels = event["pixels"][row["name"]]
        red, green, blue = row["colour"]
        bar = Text("█" * round(40 * pixels / total) or "▏", style=f"rgb({red},{green},{blue})")
        table.add_row(row["name"], Text.assemble(f"{pixels / total:7.2%} ", bar), f"{pixels:,}")
    lines: list[RenderableType] = [table]
    lines += [Text(f"note: {note}", style="dim") for note in event["notes"]]
    lines += [Text(f"warning: {warning}", style="yellow") for warning in event["warnings"]]
    seen: Counter[str] = Counter()
    for problem in event["problems"]:
        seen[problem["kind"]] += 1
        if seen[problem["kind"]] > SHOWN_PROBLEMS:
            continue
        lines.append(Text(f"{problem['severity']}: {problem['where']}: {problem['message']} {problem['remedy']}",
                          style="red" if problem["severity"] == "error" else "yellow"))  # fmt: skip
    for kind, number in seen.items():
        if number > SHOWN_PROBLEMS:
            lines.append(
                Text(
                    f"and {number - SHOWN_PROBLEMS:,} more of kind {kind}; `pixelwise check` lists all", style="yellow"
                )
            )
    return Group(*lines)


def reduced_line(reduced: dict[str, Any], size_bytes: int) -> str:
    """What was reduced, and the change of mIoU."""
    before, after = reduced["miou_before"], reduced["miou_after"]
    what = "int8 convolutions" if "computes" in reduced else f"weights stored as {reduced['weights']}"
    return (
        f"{what}, {size_bytes / 1e6:.1f} MB: mIoU on val {before:.4f} → {after:.4f} "
        f"({-reduced['drop_points']:+.2f} points)"
    )


def flow_line(event: Event) -> Text:
    """One stage: shape, type and range of its output, and its time."""
    shape = "×".join(str(side) for side in event["shape"])
    return Text(
        f"  {event['stage']:<26} {shape:<14} {event['dtype']:<8} {event['minimum']:9.3f} … {event['maximum']:<9.3f} "
        f"{event['milliseconds']:8.1f} ms"
    )


def start_line(event: Event) -> str:
    untrained = f"; untrained: {', '.join(event['anew'])}" if event["anew"] else ""
    return f"initial weights: {event['run']}, epoch {event['epoch']}{untrained}"


def measures_table(found: dict[str, Any]) -> Table:
    """What a fingerprint measured, the classes last."""
    table = Table(title="measured", title_justify="left", box=None, pad_edge=False)
    for name in ("class", "share of pixels", "in images", "typical width", "regions an image"):
        table.add_column(name, justify="left" if name == "class" else "right")
    for row in found["classes"]:
        width = f"{row['width_px']:.1f} px" if row["width_px"] == row["width_px"] else "–"
        table.add_row(row["name"], f"{row['share']:.2%}", f"{row['images']:.0%}", width, f"{row['regions']:.0f}")
    (height, width_px), (low, low_w), (high, high_w) = found["size"], found["smallest"], found["largest"]
    sizes = f"{height}×{width_px}" if found["smallest"] == found["largest"] else (
        f"{height}×{width_px} (median; {low}×{low_w} to {high}×{high_w})"
    )  # fmt: skip
    table.caption = (
        f"{found['train']} training and {found['val']} validation images of {sizes} pixels, "
        f"{len(found['bands'])} bands ({found['dtype']}), {found['labelled']:.0%} labelled; measured on "
        f"{found['measured']}. {pixels_line(found)}Here: {cores(found['cores'])}, {found['memory_gb']:.0f} GB of memory free."
    )
    table.caption_justify = "left"
    return table


def cores(number: int) -> str:
    return "1 core" if number == 1 else f"{number} cores"


def pixels_line(found: dict[str, Any]) -> str:
    """The size of a pixel in the world, as a sentence; "" if no file states it."""
    from pixelwise.images.pixel_size import PixelSize

    if found["pixel_size"] is None:
        return ""
    height, width = found["pixel_size"]
    differ = f", up to {found['pixel_sizes']:.1f} times as large in others" if found["pixel_sizes"] > 1.01 else ""
    return f"A pixel is {PixelSize(height, width, found['pixel_unit'])}{differ}. "


def plan_table(event: Event) -> Table:
    """The choices of a plan, each with its reason."""
    table = Table(title="plan", title_justify="left", box=None, pad_edge=False)
    table.add_column("choice", no_wrap=True)
    table.add_column("value")
    table.add_column("because", ratio=1)
    for row in event["choices"]:
        table.add_row(row["name"], row["value"], row["reason"])
    return table


def plan_line(event: Event) -> str:
    few = (
        f"; validated on {event['val_images']} of {event['val']} images, as all would take too much of it "
        "(`pixelwise evaluate` scores all)"
        if "val_images" in event
        else ""
    )
    return (
        f"plan: {event['epochs']} epochs of {event['steps']} steps, {event['small_epochs']} of them on small crops; "
        f"expected to end after {minutes(event['expected_s'])} of {minutes(event['budget_s'])}{few}"
    )


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


@contextmanager
def work_bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that disappears when the work is done; only in a terminal."""
    if not console.is_terminal or console.quiet:
        yield lambda done, total: None
        return
    columns = (
        TextColumn(what, markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def models_table(models: Sequence[BuiltIn]) -> Table:
    """The built-in models: classes, input size, file size and scores."""
    table = Table("name", "classes", "input size", "MB", "mIoU", "accuracy", "measured on")
    for model in models:
        facts = model.to_json()
        metrics = facts["metrics"]
        names = [entry["name"] for entry in facts["classes"]]
        table.add_row(
            model.name,
            f"{len(names)}: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}",
            f"{facts['policy']} {facts['size'][0]}×{facts['size'][1]}",
            f"{facts['bytes'] / 1e6:.1f}",
            f"{metrics['miou']:.3f}",
            f"{metrics['accuracy']:.3f}",
            images_of(metrics),
        )
    return table
