"""The recipe: every choice of a training in one frozen record, written to and read from `recipe.toml`."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import tomlkit

from pixelwise.datasets.dataset_toml import parse_toml
from pixelwise.errors import UsageError
from pixelwise.images.decoder_reasons import text_reason
from pixelwise.records import RGB, Bands

MODELS = ("fast", "unet")
ENCODERS = ("lite0", "lite1", "lite2")
MOST = sys.float_info.max
POLICIES = ("stretch", "fit", "native")


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults were measured, see benchmarks/."""

    model: str = "fast"  # "fast": encoder and light decoder; "unet": the original U-Net, from scratch; "smp:NAME"
    encoder: str = "lite0"  # "lite0", "lite1", "lite2" (each better and slower), or "timm:NAME"
    pretrained: bool = True  # start the encoder from ImageNet weights
    stride: int = 2  # of the scores of "fast": 2, or 1 for structures of a pixel or two
    size: tuple[int, int] = (256, 256)  # input size of the network: height, width in pixels, multiples of 32
    policy: Literal["stretch", "fit", "native"] = "stretch"  # how images are resized to it
    crop: tuple[int, int] = (0, 0)  # training crops of this size, of images resized as above; 0, 0: all of `size`
    even_exposure: bool = True  # normalise each image's brightness and contrast first
    epochs: int = 20  # passes over the training images
    small_epochs: float = 0.6  # share of the epochs, the first ones, on crops of 3/4 of the size: faster, as accurate
    batch: int = 4  # images per step
    seed: int = 0
    val_images: int = 0  # validated after each epoch and for the bundle's scores, evenly spaced; 0: all
    also_val: bool = False  # train on the val split too: its scores are then too high, and the last epoch is kept
    keep: Literal["best", "last"] = "best"  # the epoch to export: the best on the val split, or the last
    target_miou: float = 0.0  # stop when validation mIoU reaches this value; 0: never
    patience: int = 0  # stop after this many epochs without a better mIoU; 0: never
    plan: tuple[tuple[int, int, int], ...] = ()  # from a budget: first epoch, total epochs, steps per epoch
    last_step: int = 0  # from a budget: the step at which time was up; 0: all planned steps were done

    learning_rate: float = 2e-3  # peak learning rate
    encoder_rate: float = 0.25  # the encoder's share of the learning rate
    weight_decay: float = 0.02
    warmup: float = 0.05  # share of all steps with rising learning rate, before its cosine decay
    class_power: float = 0.25  # class weights: 0 weights every pixel equally, 1 every class
    dice: float = 0.5  # weight of the Dice loss; that of cross-entropy is 1
    ema: float = 0.99  # decay of the moving average of the weights: about 1 / (1 − ema) steps
    frozen_stages: int = 2  # of a pretrained encoder: freeze the stem and this many stages; -1: none

    zoom: tuple[float, float] = (0.8, 1.6)  # augmentation: smallest and largest scale
    views: int = 3  # random crops per image, of which the one with most of the rare classes is used
    flip: bool = True  # mirror half of the crops
    tilt: float = 0.0  # rotate half of the crops by up to as many degrees
    turn: bool = False  # rotate by multiples of 90°, for microscopy and aerial images
    light: float = 1.0  # strength of colour and light augmentation; 0: none
    stain: float = 0.0  # share of the crops whose hues are turned by a random angle, for stained tissue
    invert: float = 0.0  # share of the crops whose brightness is inverted, for dark on bright and bright on dark
    tint: float = 0.0  # share of the crops made grey or given other colours, for microscopes of other kinds
    rare_share: float = 0.0  # share of the crops that are centred on a pixel of a rare class
    mirrors: int = 1  # mirror images that the exported model averages: 1 (none), 2 or 4; it takes as many times as long
    separate: tuple[str, ...] = ()  # classes whose touching objects the network learns to separate
    all_pixels: bool = False  # the loss counts every pixel, for sparse labels; otherwise a quarter of them, in turn

    workers: int = 0  # data loading processes; 0: load in the main process
    cache_mb: int = 1024  # memory for decoded images, in MB

    def __post_init__(self) -> None:
        require = self._require
        self._require_sizes()
        of_smp = self.model.startswith("smp:")  # SMP then checks the encoder
        require(of_smp or self.model in MODELS, "model", f"one of {', '.join(MODELS)}, or smp:NAME")
        known = of_smp or self.encoder in ENCODERS or self.encoder.startswith("timm:")
        require(known, "encoder", f"one of {', '.join(ENCODERS)}, or timm:NAME")
        require(self.keep in ("best", "last"), "keep", "best or last")
        require(self.policy in POLICIES, "policy", "one of " + ", ".join(POLICIES))
        require(self.val_images >= 0, "val_images", "0 (all) or a number of images")
        require(self.epochs >= 1, "epochs", "at least 1")
        require(self.batch >= 1, "batch", "at least 1")
        require(self.learning_rate > 0, "learning_rate", "a number above 0")
        require(0 <= self.small_epochs <= 1, "small_epochs", "a share, 0 to 1")
        require(0 <= self.ema < 1, "ema", "0 (off) or a number below 1")
        require(0 <= self.warmup <= 1, "warmup", "a share, 0 to 1")
        require(
            len(self.zoom) == 2 and 0 < self.zoom[0] <= self.zoom[1], "zoom", "two magnifications, the smaller first"
        )
        require(self.views >= 1, "views", "at least 1")
        require(self.frozen_stages >= -1, "frozen_stages", "-1 (none), 0 (the stem) or a number of stages")
        require(self.light >= 0, "light", "0 or more")
        require(self.stride in (1, 2), "stride", "1 or 2")
        own = self.model == "fast" and self.encoder in ENCODERS
        require(own or self.stride == 2, "stride", f"2: only model fast with {', '.join(ENCODERS)} has a choice")
        require(0 <= self.tilt <= 180, "tilt", "degrees, 0 to 180")
        require(0 <= self.stain <= 1, "stain", "a share, 0 to 1")
        require(self.mirrors in (1, 2, 4), "mirrors", "1, 2 or 4")
        require(0 <= self.invert <= 1, "invert", "a share, 0 to 1")
        require(0 <= self.tint <= 1, "tint", "a share, 0 to 1")
        require(0 <= self.rare_share <= 1, "rare_share", "a share, 0 to 1")
        require(self.workers >= 0, "workers", "0 or more")
        require(0 <= self.target_miou <= 1, "target_miou", "0 (never) to 1")
        require(self.patience >= 0, "patience", "0 (never) or a number of epochs")
        judged = bool(self.target_miou or self.patience)
        require(
            not (self.also_val and judged), "also_val", "false where target_miou or patience judge by the val split"
        )
        require(
            not (self.keep == "last" and judged), "keep", "best where target_miou or patience judge by the val split"
        )
        require(self.last_step >= 0, "last_step", "0 (none) or a number of steps")
        starts = [start for start, *_ in self.plan]
        require(
            not self.plan
            or (
                starts[0] == 0
                and starts == sorted(set(starts))
                and all(start < epochs and steps >= 1 for start, epochs, steps in self.plan)
                and self.plan[-1][1] == self.epochs
            ),
            "plan",
            f"[first epoch, epochs in all, steps an epoch] in order, from epoch 0, the last with {self.epochs}; or []",
        )

    def _require(self, good: bool, name: str, expected: str) -> None:
        """Raise UsageError unless a field is `good`."""
        if not good:
            raise UsageError(f"{name} is {getattr(self, name)!r}; expected {expected}.")

    def _require_sizes(self) -> None:
        require = self._require
        sides = len(self.size) == 2 and all(isinstance(side, int) and 32 <= side <= 4096 for side in self.size)
        require(
            sides and all(side % 32 == 0 for side in self.size), "size", "height and width, multiples of 32 up to 4096"
        )
        within = all(32 <= side <= most and side % 32 == 0 for side, most in zip(self.crop, self.size, strict=True))
        least = f"multiples of 32 within size, {self.size[0]}×{self.size[1]}; or 0, 0"
        require(self.crop == (0, 0) or within, "crop", least)
        require(self.crop == (0, 0) or self.policy != "native", "crop", "0, 0 with policy native, whose crops are size")
        square = self.crop_size[0] == self.crop_size[1]
        require(not self.turn or square, "crop" if any(self.crop) else "size", "height = width where crops are turned")

    @property
    def crop_size(self) -> tuple[int, int]:
        """Height and width of the training crops at the network's input, in epochs at full size."""
        return self.crop if any(self.crop) else self.size

    @property
    def in_crops(self) -> bool:
        """Whether the network is trained on parts of what it takes at once in prediction."""
        return self.policy == "native" or any(self.crop)

    def exposure_of_whole(self, bands: Bands) -> bool:
        """Whether crops are normalised by the exposure of their whole image, as prediction normalises it."""
        return self.even_exposure and self.in_crops and bands == RGB

    @property
    def keeps_last(self) -> bool:
        """Whether the last epoch is exported, whatever its scores; scores on training images cannot choose one."""
        return self.also_val or self.keep == "last"

    @property
    def segments(self) -> tuple[tuple[int, int, int], ...]:
        """First epoch, total epochs, steps per epoch (0: one pass over the data) of each part of the plan."""
        return self.plan or ((0, self.epochs, 0),)

    def segment_at(self, epoch: int) -> tuple[int, int, int]:
        return [segment for segment in self.segments if segment[0] <= epoch][-1]

    def size_at(self, epoch: int) -> tuple[int, int]:
        """Height and width of the crops trained on in `epoch`, counted from 0."""
        if epoch >= round(self.segment_at(epoch)[1] * self.small_epochs):
            return self.crop_size
        return smaller(self.crop_size[0]), smaller(self.crop_size[1])

    def share_at(self, epoch: float) -> float:
        """The completed share of the schedule, 0–1, at a fractional `epoch`, counted from 0.

        If the plan changes during training, the rest of the schedule is spread over the remaining epochs.
        """
        share = 0.0
        ends = [segment[0] for segment in self.segments[1:]] + [epoch]
        for (first, epochs, _), last in zip(self.segments, ends, strict=True):
            if epoch <= first:
                break
            share += (1 - share) * (min(last, epoch) - first) / (epochs - first)
        return min(share, 1.0)

    def to_toml(self) -> str:
        """The recipe as a TOML document, in the order of the fields above."""
        return tomlkit.dumps(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The fields by name; those that older versions do not know only where they are not the default."""
        newer = {name: getattr(Recipe(), name) for name in ("separate", "crop", "val_images")}
        return {name: value for name, value in asdict(self).items() if name not in newer or value != newer[name]}

    @classmethod
    def from_toml(cls, text: str, where: str = "recipe") -> Recipe:
        """Parse a recipe; fields that it leaves out keep their defaults.

        Raises:
            UsageError: not TOML, an unknown field, or an invalid value.
        """
        try:
            values = parse_toml(text)
        except ValueError as error:
            raise UsageError(f"{where}: not valid TOML: {text_reason(error)}") from error
        return cls().with_values(values, where)

    @classmethod
    def from_file(cls, path: Path) -> Recipe:
        try:
            return cls.from_toml(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else text_reason(error)
            raise UsageError(f"{path}: cannot be read as a recipe: {reason}.") from error

    def with_values(self, values: dict[str, Any], where: str = "recipe") -> Recipe:
        """A copy with other `values`. Raises UsageError for unknown fields and wrong types."""
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        clean: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise UsageError(f"{where}: {name!r} is not a field of a recipe. The fields are: {', '.join(known)}.")
            own = {"plan": plan_of, "separate": names_of}.get(name)
            clean[name] = own(value, where) if own else convert(value, known[name], f"{where}: {name}")
        if "epochs" in clean and "plan" not in clean:
            clean["plan"] = ()  # the plan and its last step are for another number of epochs
            clean.setdefault("last_step", 0)
        return replace(self, **clean)


def plan_of(value: Any, where: str) -> tuple[tuple[int, int, int], ...]:
    rows = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(convert(row, (0, 0, 0), f"{where}: a part of plan") for row in rows)


def names_of(value: Any, where: str) -> tuple[str, ...]:
    """Names of classes, each once; a single one may be given alone."""
    rows = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(dict.fromkeys(convert(row, "", f"{where}: a class of separate") for row in rows))


def smaller(side_px: int) -> int:
    """Three quarters of a side, as a multiple of 32."""
    return max(round(side_px * 0.75 / 32), 1) * 32


def convert(value: Any, like: Any, where: str) -> Any:
    """`value` as the type of `like`: lists become tuples, integers become floats; anything else raises UsageError."""
    if isinstance(like, tuple):
        if isinstance(value, (list, tuple)) and len(value) == len(like):
            return tuple(convert(v, one, where) for v, one in zip(value, like, strict=True))
    elif isinstance(like, bool) or isinstance(value, bool):
        if type(value) is type(like):
            return value
    elif isinstance(like, float) and isinstance(value, (int, float)):
        if abs(value) <= MOST:  # finite, and within the range of a float
            return float(value)
    elif type(value) is type(like):
        return value
    wanted = ", ".join(map(repr, like)) if isinstance(like, tuple) else repr(like)
    number = f"{len(like)} values such as" if isinstance(like, tuple) else "a value such as"
    raise UsageError(f"{where} is {value!r}; expected {number} {wanted}.")
