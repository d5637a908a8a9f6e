"""Write a bundle's metadata, and read it with every type and range checked.

No other code validates it again: values read here are safe to show, send and compute with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from pixelwise.bundle.model_card import CARD_FIELDS, MAX_FIELD, ModelCard
from pixelwise.objects.object_records import ClassObjects
from pixelwise.records import MAX_CLASSES, RGB, VOID, Bands, ClassList, Colour

FORMAT = 1  # of bundles for RGB images
FORMAT_OF_BANDS = 2  # of bundles for images of other bands
PREFIX = "pixelwise."
GROUPS = ("input", "convolutional", "upsampling", "pixel-wise classification")
POLICIES = ("stretch", "fit", "native")
MAX_TEXT = 4 * 2**20  # characters of one entry
MAX_GOLDEN_TEXT = 16 * 2**20
MAX_DEPTH = 16  # of nested lists and objects
MAX_NAME = 4096  # characters of a class's or a stage's name
MAX_STAGES = 1000
MAX_SIDE_PX = 16384  # of a network's input
MAX_STRIDE = 1024
LARGEST = 1e9  # of numbers used in computations on images
MAX_BANDS = 1024
LARGEST_VALUE = 1e30  # of an image; ranges are computed in float32
TEMPERATURES = (1e-3, 1e3)

AREAS = ("area_low_px", "area_px", "area_high_px")

T = TypeVar("T")


class MetadataError(ValueError):
    """An entry of a bundle's metadata is invalid."""


@dataclass(frozen=True)
class Stage:
    """One named tensor inside the graph that a trace can show."""

    name: str  # "stem", "stage1", "context", "up16" …
    group: str  # "input", "convolutional", "upsampling" or "pixel-wise classification"
    tensor: str  # its name in the graph; float [1, channels, h, w], or [channels, h, w]


@dataclass(frozen=True)
class Metadata:
    """A bundle's metadata."""

    classes: ClassList
    size: tuple[int, int]  # input size of the network: height, width, under `policy`
    policy: str  # stretch, fit or native
    stride: int  # of the scores, relative to the network's input
    mean: tuple[float, ...]  # of each band on 0–1, subtracted in the graph
    std: tuple[float, ...]  # of each band on 0–1, divided by in the graph
    temperature: float  # scores are divided by it before a softmax
    stages: tuple[Stage, ...]
    even_exposure: bool = False  # the graph normalises each image's brightness and contrast
    bands: Bands = RGB  # of the images that it takes
    separate: tuple[str, ...] = ()  # classes of the output `borders`, in order
    objects: Mapping[str, ClassObjects] = field(default_factory=dict)  # of the training masks, by class name
    provenance: dict[str, Any] = field(default_factory=dict)  # recipe, data, metrics with their split, versions
    licence: dict[str, str] = field(default_factory=dict)  # of the data and of the weights
    card: ModelCard = field(default_factory=ModelCard)  # what people wrote about it

    def to_props(self) -> dict[str, str]:
        """The metadata as `metadata_props`, without the golden digest, which needs the finished graph."""
        values = {
            "format": FORMAT if self.bands == RGB else FORMAT_OF_BANDS,
            **({} if self.bands == RGB else {"bands": self.bands.to_json()}),
            **({"separate": list(self.separate)} if self.separate else {}),
            **({"objects": {name: one.to_json() for name, one in self.objects.items()}} if self.objects else {}),
            "classes": self.classes.to_json(),
            "void": VOID,
            "preprocess": {
                "size": list(self.size),
                "policy": self.policy,
                "stride": self.stride,
                "mean": list(self.mean),
                "std": list(self.std),
                "even_exposure": self.even_exposure,
            },
            "temperature": self.temperature,
            "stages": [vars(stage) for stage in self.stages],
            "provenance": without_nan(self.provenance),
            "licence": self.licence,
            **({"card": written} if (written := self.card.written()) else {}),
        }
        return {PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}

    @classmethod
    def from_props(cls, props: dict[str, str]) -> Metadata:
        """The metadata from `metadata_props`, checked.

        Raises:
            MetadataError: an entry is invalid: its name, the expected and the actual value.
        """
        if (void := decode(props, "void", VOID)) != VOID or isinstance(void, bool):
            wrong("void", void, f"{VOID}, the id of unlabelled pixels")
        seen = of_type(decode(props, "preprocess"), dict, "preprocess", "an object")
        policy = text(seen.get("policy"), "preprocess.policy")
        if policy not in POLICIES:
            wrong("preprocess.policy", policy, f"one of {', '.join(POLICIES)}")
        size = items(seen.get("size"), "preprocess.size", 2, lambda v, f: whole(v, f, 1, MAX_SIDE_PX))
        even = seen.get("even_exposure", False)
        taken, known = bands(props), classes(decode(props, "classes"))
        return cls(
            classes=known,
            size=(size[0], size[1]),
            policy=policy,
            stride=whole(seen.get("stride"), "preprocess.stride", 1, MAX_STRIDE),
            mean=items(seen.get("mean"), "preprocess.mean", len(taken), lambda v, f: number(v, f, -LARGEST, LARGEST)),
            std=items(seen.get("std"), "preprocess.std", len(taken), lambda v, f: number(v, f, 1 / LARGEST, LARGEST)),
            temperature=number(decode(props, "temperature"), "temperature", *TEMPERATURES),
            even_exposure=of_type(even, bool, "preprocess.even_exposure", "true or false"),
            bands=taken,
            separate=separate(props, known),
            objects=objects(props, known),
            stages=stages(decode(props, "stages")),
            provenance=provenance(decode(props, "provenance")),
            licence={
                key: text(value, f"licence.{key}", MAX_TEXT)
                for key, value in of_type(decode(props, "licence"), dict, "licence", "an object").items()
            },
            card=card(props),
        )


def without_nan(value: Any) -> Any:
    """The value with NaN, a missing score, replaced by null: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


# ── JSON, read strictly ──


def decode(props: dict[str, str], name: str, default: Any = None) -> Any:
    """The value of an entry of `metadata_props`. NaN, which earlier versions wrote in the provenance, becomes None.

    Raises:
        MetadataError: it is missing, too large, too deep, not JSON, or has a number or text that JSON cannot hold.
    """
    written = props.get(PREFIX + name)
    if written is None:
        if default is not None:
            return default
        raise MetadataError(f"{PREFIX}{name} is missing")
    most = MAX_GOLDEN_TEXT if name == "golden" else MAX_TEXT
    if len(written) > most:
        raise MetadataError(f"{PREFIX}{name} has {len(written)} characters; at most {most}")

    def constant(word: str) -> None:
        if word != "NaN" or name != "provenance":
            wrong(name, word, "a number")

    def real(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) else wrong(name, digits, "a finite number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise MetadataError(f"{PREFIX}{name} has a key twice")
        return found

    try:
        value = json.loads(written, parse_constant=constant, parse_float=real, object_pairs_hook=unique)
    except MetadataError:
        raise
    except RecursionError as error:
        raise MetadataError(f"{PREFIX}{name} is nested more than {MAX_DEPTH} deep") from error
    except ValueError as error:
        raise MetadataError(f"{PREFIX}{name} is not JSON: {str(error)[:200]}") from error
    check_nested(value, name)
    return value


def check_nested(value: Any, name: str, depth: int = 0) -> None:
    """Raise MetadataError for nesting that is too deep, invalid Unicode, or numbers out of range."""
    if depth > MAX_DEPTH:
        raise MetadataError(f"{PREFIX}{name} is nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            wrong(name, value, "text without lone surrogates")
    elif isinstance(value, dict):
        for key, inner in value.items():
            check_nested(key, name, depth + 1)
            check_nested(inner, name, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            check_nested(inner, name, depth + 1)
    elif isinstance(value, int) and abs(value) >= 1 << 63:
        wrong(name, value, "a number of 64 bits")


def wrong(name: str, came: Any, expected: str) -> NoReturn:
    shown = "missing" if came is None else ascii(came)
    shown = shown if len(shown) <= 80 else shown[:80] + "…"
    raise MetadataError(f"{name.removeprefix(PREFIX)} is {shown}; expected {expected}")


def of_type(value: Any, kind: type, name: str, expected: str) -> Any:
    return value if isinstance(value, kind) else wrong(name, value, expected)


def whole(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        wrong(name, value, f"a whole number, {low} … {high}")
    return value


def number(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        wrong(name, value, f"a number, {low:g} … {high:g}")
    return float(value)


def text(value: Any, name: str, longest: int = MAX_NAME) -> str:
    if not isinstance(value, str) or len(value) > longest:
        wrong(name, value, f"a text of at most {longest} characters")
    return value


def items(value: Any, name: str, count: int, one: Callable[[Any, str], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) != count:
        wrong(name, value, f"a list of {count}")
    return tuple(one(inner, f"{name}[{place}]") for place, inner in enumerate(value))


# ── entries with several parts ──


def classes(rows: Any) -> ClassList:
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_CLASSES:
        wrong("classes", rows, f"a list of 1 to {MAX_CLASSES} classes")
    names: list[str] = []
    colours: list[Colour] = []
    for place, row in enumerate(rows):
        field_name = f"classes[{place}]"
        row = of_type(row, dict, field_name, '{"name": …, "colour": [red, green, blue]}')
        name = text(row.get("name"), f"{field_name}.name")
        if not name.strip():
            wrong(f"{field_name}.name", name, "a name")
        if name in names:
            wrong(f"{field_name}.name", name, "a name that no other class has")
        red, green, blue = items(row.get("colour"), f"{field_name}.colour", 3, lambda v, f: whole(v, f, 0, 255))
        names.append(name)
        colours.append((red, green, blue))
    return ClassList(tuple(names), tuple(colours))


def bands(props: dict[str, str]) -> Bands:
    """The bands of the images that a bundle takes: an entry of its own where they are not RGB."""
    if decode(props, "format", FORMAT) == FORMAT:
        return RGB if PREFIX + "bands" not in props else wrong("bands", props[PREFIX + "bands"], "none in format 1")
    value = of_type(decode(props, "bands"), dict, "bands", '{"names": …, "dtype": …, "low": …, "high": …}')
    names = value.get("names")
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_BANDS:
        wrong("bands.names", names, f"a list of 1 to {MAX_BANDS} names")
    for place, name in enumerate(names):
        if not text(name, f"bands.names[{place}]").strip() or name in names[:place]:
            wrong(f"bands.names[{place}]", name, "a name that no other band has")
    if value.get("dtype") not in ("uint8", "float32"):
        wrong("bands.dtype", value.get("dtype"), "uint8 or float32")
    low, high = (
        items(value.get(key), f"bands.{key}", len(names), lambda v, f: number(v, f, -LARGEST_VALUE, LARGEST_VALUE))
        for key in ("low", "high")
    )
    for place, (first, last) in enumerate(zip(low, high, strict=True)):
        if last - first < 1 / LARGEST_VALUE:
            wrong(f"bands.high[{place}]", last, f"more than its low value, {first:g}")
    return Bands(tuple(names), value["dtype"], low, high)


def separate(props: dict[str, str], known: ClassList) -> tuple[str, ...]:
    """The classes whose objects the network separates; () without the entry."""
    if PREFIX + "separate" not in props:
        return ()
    names = decode(props, "separate")
    if not isinstance(names, list) or not names or len(names) > len(known):
        wrong("separate", names, "a list of classes")
    for place, name in enumerate(names):
        if name not in known.names or name in names[:place]:
            wrong(f"separate[{place}]", name, "a class, named once")
    return tuple(names)


def objects(props: dict[str, str], known: ClassList) -> dict[str, ClassObjects]:
    """What training measured of the objects of classes; {} without the entry."""
    found = {}
    for name, row in of_type(decode(props, "objects", {}), dict, "objects", "an object").items():
        where = f"objects.{name[:80]}"
        if name not in known.names:
            wrong(where, name, "a class")
        of_type(row, dict, where, "an object")
        areas = [number(row.get(key), f"{where}.{key}", 0, LARGEST) for key in AREAS]
        roundness = number(row.get("roundness"), f"{where}.roundness", 0, LARGEST)
        count = whole(row.get("number"), f"{where}.number", 1, 1 << 62)
        try:
            found[name] = ClassObjects(areas[1], areas[0], areas[2], roundness, count)
        except ValueError as error:
            raise MetadataError(f"{where}: {error}") from error
    return found


def card(props: dict[str, str]) -> ModelCard:
    """The card; an empty one without the entry. Fields that another version has are not read."""
    value = of_type(decode(props, "card", {}), dict, "card", "an object")
    return ModelCard(**{name: text(value[name], f"card.{name}", MAX_FIELD) for name in CARD_FIELDS if name in value})


def stages(rows: Any) -> tuple[Stage, ...]:
    if not isinstance(rows, list) or not 2 <= len(rows) <= MAX_STAGES:
        wrong("stages", rows, "a list that starts with the network's input and ends with its scores")
    found = []
    for place, row in enumerate(rows):
        name = f"stages[{place}]"
        row = of_type(row, dict, name, '{"name": …, "group": …, "tensor": …}')
        stage = Stage(*(text(row.get(key), f"{name}.{key}") for key in ("name", "group", "tensor")))
        first, last = place == 0, place == len(rows) - 1
        allowed = GROUPS[:1] if first else GROUPS[3:] if last else GROUPS[1:3]
        if stage.group not in allowed:
            wrong(f"{name}.group", stage.group, " or ".join(allowed))
        found.append(stage)
    if found[-1].tensor != "scores":
        wrong(f"stages[{len(rows) - 1}].tensor", found[-1].tensor, "'scores'")
    for key in ("name", "tensor"):
        if len({getattr(stage, key) for stage in found}) != len(found):
            wrong("stages", [getattr(stage, key) for stage in found], f"each {key} once")
    return tuple(found)


def provenance(value: Any) -> dict[str, Any]:
    """Check only the parts that are computed with or shown: scores, their split, and their origin."""
    found: dict[str, Any] = of_type(value, dict, "provenance", "an object")
    data = found.get("data")
    if data is not None:
        of_type(data, dict, "provenance.data", "an object")
    metrics = found.get("metrics")
    if metrics is None:
        return found
    of_type(metrics, dict, "provenance.metrics", "an object")
    for key in ("accuracy", "class_accuracy", "miou", "weighted_iou", "mean_dice"):
        share(metrics.get(key), f"provenance.metrics.{key}")
    if metrics.get("split") is not None:
        text(metrics["split"], "provenance.metrics.split")
    for key in ("images", "epoch", "pixels"):
        if metrics.get(key) is not None:
            whole(metrics[key], f"provenance.metrics.{key}", 0, 1 << 62)
    rows = metrics.get("classes")
    for name, row in of_type({} if rows is None else rows, dict, "provenance.metrics.classes", "an object").items():
        of_type(row, dict, f"provenance.metrics.classes.{name[:80]}", "an object")
        for key in ("iou", "dice", "recall", "precision"):
            share(row.get(key), f"provenance.metrics.classes.{name[:80]}.{key}")
    return found


def share(value: Any, name: str) -> None:
    """Check a score: a number from 0 to 1, or None."""
    if value is not None:
        number(value, name, 0.0, 1.0)
