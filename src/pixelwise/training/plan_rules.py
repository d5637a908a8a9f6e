"""The rules of the plan: each chooses parts of the recipe from the fingerprint, with a reason.

They depend on the fingerprint alone, so that the same data give the same recipe on the same machine.
docs/explanation/plan.md says why each threshold is what it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pixelwise.errors import UsageError
from pixelwise.prediction.large.tile_plan import native_tile, overlap_of
from pixelwise.records import RGB
from pixelwise.training.fingerprint import SPARSE, Fingerprint
from pixelwise.training.object_gaps import BORDER_PX
from pixelwise.training.recipe import Recipe
from pixelwise.training.time_budget import show_duration

WHOLE_PX = 200_000  # images up to about 450×450 at the scale that their thinnest class needs are seen whole
SMALL_PX = 200  # a side: smaller images are enlarged, as the encoder halves its input five times
SMALL_SIDE_PX = 256  # to this
CLEAR_WIDTH_PX = 5.0  # at which a structure is certainly resolved: images are not shrunk below it
THIN_PX = 9.0  # classes of this width or thinner are thin
STEPS_FOR_STRIDE_1 = 100  # in a shorter training, scores at every pixel end worse than those at every other one
MOSTLY = 0.5  # share of the classes, without the most frequent, that are thin: then every pixel is scored
CROP_PX = {1: 256, 2: 384}  # stride of the scores → side of the crops of larger images
MOST_SIDE_PX = 1024  # of whole images at the network's input
SHRUNK_SIDE_PX = 2048  # of whole images at it in prediction, where they are trained on in crops
HALVED = (1 / 2, 1 / 4, 1 / 8)  # scales at which they are
SQUARE = 1.5  # ratio of the sides up to which crops become square, for quarter turns
LARGE_OBJECTS = 0.1  # images without up and down are seen whole only where they can shrink to this share or below
UPRIGHT = 0.1  # fingerprint.upright above it: up and down differ
REVERSED = 0.05  # fingerprint.reversed above it: objects are bright in some images and dark in others
COLOURED, ONE_HUE = 0.1, 0.7  # colourful images that all have the same hues: a stain or a lamp
RARE = 0.07  # share of the pixels below which crops are centred on a class
TOUCHING = 0.05  # share of a class's objects that touch another, above which separating them is suggested
FEW_VAL_IMAGES = 10  # fewer rank epochs by chance
FEW_IMAGES = 60  # up to which a network varies so much with its training that averaging pays
UNEQUAL_PIXELS = 1.5  # fingerprint.pixel_sizes above it: crops show one thing at very different sizes
PASSES = 20  # over the training images
LEAST_STEPS, MOST_STEPS = 1500, 12_000
EPOCHS = 20
VALIDATION_SHARE = 0.25  # of the time for training, at most
VALIDATION_COST = 1 / 3  # time of a pixel in validation relative to one in training
STEP_BYTES_PX = {1: 5000, 2: 3500}  # memory of a training step per pixel of its crops, by stride of the scores
MEMORY_SHARE, MOST_GB = 0.6, 3.0  # of what is available, and at most, for a step
SMALLEST_CROP_PX, SMALLEST_BATCH = 128, 2


@dataclass(frozen=True)
class Choice:
    """One choice of a plan."""

    name: str  # as a person calls it
    value: str
    reason: str  # in one line
    fields: tuple[str, ...]  # of the recipe


class Draft:
    """A recipe in the making: what is fixed stays, the rest is chosen."""

    def __init__(self, fixed: Mapping[str, Any]) -> None:
        self.fixed, self.values = dict(fixed), dict(fixed)
        self.choices: list[Choice] = []

    def __getitem__(self, field: str) -> Any:
        return self.values.get(field, getattr(Recipe(), field))

    def choose(self, name: str, shown: str, reason: str, **values: Any) -> None:
        """Set fields of the recipe that are not fixed. A fixed one is shown as it is."""
        set_here = [field for field in values if field in self.fixed]
        for field, value in values.items():
            self.values.setdefault(field, value)
        if set_here:
            shown = ", ".join(f"{field} {shown_value(self.values[field])}" for field in values)
            reason = f"set by you: {', '.join(set_here)}"
        self.choices.append(Choice(name, shown, reason, tuple(values)))


def scale_at(size: tuple[int, int], recipe_size: tuple[int, int], policy: str) -> float:
    """Pixels of the network's input per pixel of an image of `size`, along the side that shrinks more."""
    if policy == "native":
        return 1.0
    return min(recipe_size[0] / size[0], recipe_size[1] / size[1])


def choose_input(draft: Draft, found: Fingerprint) -> None:
    """Whole images or crops, and at which resolution."""
    height, width = found.size
    thinnest = found.thinnest
    if "size" in draft.fixed or "policy" in draft.fixed:
        if "policy" not in draft.fixed:
            draft.values["policy"] = "stretch"  # a size alone has always meant: resize every image to it
        draft.choose("network input", "", "", size=Recipe().size, policy=draft["policy"])
        return
    if max(height, width) <= SMALL_PX:
        side = SMALL_SIDE_PX
        draft.choose(
            "network input", f"whole images, fitted into {side}×{side}",
            f"images of {height}×{width} are small: enlarged, so that coarse features keep their place",
            policy="fit", size=(side, side),
        )  # fmt: skip
        return
    needed = min(CLEAR_WIDTH_PX / max(thinnest.width_px, 1.0), 1.0) if thinnest else 1.0
    scale = max(needed, min((WHOLE_PX / (height * width)) ** 0.5, 1.0))
    layout = not turns(found) or needed <= LARGE_OBJECTS
    if layout and height * width * needed**2 <= WHOLE_PX and max(height, width) * scale <= MOST_SIDE_PX:
        size = for_turns((nearest_32(height * scale), nearest_32(width * scale)), found)
        what = f"{thinnest.name}, {thinnest.width_px:.0f} px wide, stays visible" if thinnest else "nothing is thin"
        draft.choose(
            "network input", f"whole images, fitted into {size[0]}×{size[1]}",
            f"images are {height}×{width}; at this resolution {what}",
            policy="fit", size=size,
        )  # fmt: skip
        return
    if max(height, width) > SHRUNK_SIDE_PX:
        shrunk = next((share for share in HALVED if share * max(height, width) <= SHRUNK_SIDE_PX), 0.0)
        if shrunk >= needed:
            choose_shrunk_crops(draft, found, shrunk)
            return
    crop = CROP_PX[1 if mostly_thin(found, 1.0) else 2]
    size = for_turns((min(crop, nearest_32(height)), min(crop, nearest_32(width))), found)
    if turns(found):
        why = "no up and down: what a pixel shows depends on what is near it, at the scale of the images"
    else:
        thin = f"{thinnest.name} is {thinnest.width_px:.0f} px wide" if thinnest else "no class has a width"
        why = f"{thin}, and would be lost if images of {height}×{width} were shrunk to be seen whole"
    what = f"crops of {size[0]}×{size[1]} at full resolution"
    draft.choose("network input", what, why, policy="native", size=size)


def choose_shrunk_crops(draft: Draft, found: Fingerprint, scale: float) -> None:
    """Crops of large images at a part of their resolution, which are labelled whole at it."""
    crop = (CROP_PX[1 if mostly_thin(found, scale) else 2],) * 2
    side = nearest_32(max(found.size) * scale)  # of a square: images lie on their side or stand
    stays = f"{found.thinnest.name} stays {found.thinnest.width_px * scale:.0f} px wide" if found.thinnest else ""
    draft.choose(
        "network input", f"crops of {crop[0]}×{crop[1]} at 1/{1 / scale:.0f} of the resolution",
        f"images of {found.size[0]}×{found.size[1]} at that fit into {side}×{side}; {stays or 'nothing is thin'}",
        policy="fit", size=(side, side), crop=crop,
    )  # fmt: skip


def for_turns(size: tuple[int, int], found: Fingerprint) -> tuple[int, int]:
    """The size as a square, if crops are to be turned and that costs little."""
    return (max(size),) * 2 if turns(found) and max(size) <= SQUARE * min(size) else size


def choose_network(draft: Draft, found: Fingerprint) -> None:
    weights = "ImageNet weights see edges and textures already: far fewer images suffice than from random ones"
    draft.choose("network", "EfficientNet-Lite0 encoder, light decoder", weights, model="fast", encoder="lite0")
    norm = "batches are too small to replace the statistics of the encoder, and large enough for the decoder"
    draft.choose("normalisation", "ImageNet's in the encoder, the batch's in the decoder", norm)
    if found.dtype == "float32":
        draft.choose("exposure", "as it is", "values of these bands are measurements, not light on a camera",
                     even_exposure=False)  # fmt: skip
    else:
        draft.choose("exposure", "normalised for each image",
                     f"images differ in brightness (by {found.exposure:.2f} of the range), new ones will more",
                     even_exposure=True)  # fmt: skip
    if not (draft["model"] == "fast" and draft["encoder"] in ("lite0", "lite1", "lite2")):
        return
    steps = set_steps(draft, found)
    if draft["separate"]:
        reason = f"borders between objects are {2 * BORDER_PX} px wide at the network's input: scores at every pixel"
        draft.choose("stride of the scores", "1", reason, stride=1)
    elif steps is not None and steps < STEPS_FOR_STRIDE_1:
        reason = f"{steps} steps are too few to train scores at every pixel"
        draft.choose("stride of the scores", "2", reason, stride=2)
    elif is_thin(draft, found):
        reason = f"most classes are at most {THIN_PX:.0f} px wide at the network's input: scores at every pixel"
        draft.choose("stride of the scores", "1", reason, stride=1)
    else:
        reason = "most classes are wide enough for scores at every other pixel"
        draft.choose("stride of the scores", "2", reason, stride=2)


def choose_separation(draft: Draft, found: Fingerprint) -> None:
    """Whether touching objects are separated: only where a person asks for it, as the model takes longer to train."""
    if draft["separate"]:
        draft.choose("touching objects", "", "", separate=())
        return
    for name, facts in found.objects.items():
        if facts.touching >= TOUCHING:
            reason = f"{facts.touching:.0%} of {name} touch another; --separate {name} learns where one ends"

            draft.choose("touching objects", "not separated", reason)


def set_steps(draft: Draft, found: Fingerprint) -> int | None:
    """The steps of a training whose epochs are set; None if its length is planned."""
    if "epochs" not in draft.fixed or "plan" in draft.fixed:
        return None
    epochs, batch = int(draft["epochs"]), int(draft["batch"])
    return epochs * max(math.ceil(found.train / batch), 1)


def mostly_thin(found: Fingerprint, scale: float) -> bool:
    """Are most classes thin at this scale? The most frequent one, the ground, does not count."""
    ground = max(found.classes, key=lambda one: one.share)
    widths = [one.width_px * scale for one in found.classes if one is not ground and one.width_px == one.width_px]
    return bool(widths) and sum(width <= THIN_PX for width in widths) >= MOSTLY * len(widths)


def is_thin(draft: Draft, found: Fingerprint) -> bool:
    """Are most classes thin at the network's input?"""
    return mostly_thin(found, scale_at(found.size, draft["size"], draft["policy"]))


def choose_batch(draft: Draft, found: Fingerprint) -> None:
    """As many crops as usual, or as fit into the memory.

    Raises:
        UsageError: not even the smallest ones do.
    """
    free_gb = MEMORY_SHARE * found.memory_gb
    field = "crop" if any(draft["crop"]) else "size"
    height, width = draft[field]
    batch, pixel_gb = draft["batch"], STEP_BYTES_PX[draft["stride"]] / 1e9

    while height * width * batch * pixel_gb > min(free_gb, MOST_GB):
        if batch > SMALLEST_BATCH and "batch" not in draft.fixed:
            batch = max(batch // 2, SMALLEST_BATCH)
        elif in_crops(draft) and field not in draft.fixed and max(height, width) > SMALLEST_CROP_PX:
            height, width = (min(side, max(nearest_32(side * 0.75), SMALLEST_CROP_PX)) for side in (height, width))
        else:
            break
    needed_gb = height * width * batch * pixel_gb
    if needed_gb > free_gb:
        raise UsageError(
            f"a training step needs about {needed_gb:.1f} GB ({batch} crops of {height}×{width}), but may take "
            f"{free_gb:.1f} of the {found.memory_gb:.1f} GB free here. {what_fits(free_gb, pixel_gb, (height, width))}"
        )
    draft.values[field] = (height, width)
    fits = f"a step takes about {needed_gb:.1f} GB of the {found.memory_gb:.0f} GB free here"
    draft.choose("batch size", f"{batch} crops", fits, batch=batch)


def what_fits(free_gb: float, pixel_gb: float, size: tuple[int, int]) -> str:
    """What to give so that a step fits into `free_gb`."""
    if batch := int(free_gb / pixel_gb / (size[0] * size[1])):
        return f"--batch {batch} fits."
    most_gb = max(STEP_BYTES_PX.values()) / 1e9  # at another size, the scores may have another stride
    side = int((free_gb / most_gb) ** 0.5) // 32 * 32
    return f"--batch 1 --size {side}x{side} fits." if side else "Free memory: no training fits into so little."


def in_crops(draft: Draft) -> bool:
    """Is the network trained on parts of what it takes at once in prediction?"""
    return draft["policy"] == "native" or any(draft["crop"])


def crop_size(draft: Draft) -> tuple[int, int]:
    size: tuple[int, int] = draft["crop"] if any(draft["crop"]) else draft["size"]
    return size


def turns(found: Fingerprint) -> bool:
    return found.upright < UPRIGHT


def choose_augmentation(draft: Draft, found: Fingerprint) -> None:
    square = crop_size(draft)[0] == crop_size(draft)[1]
    if turns(found) and square:
        same = f"up and down look alike in the labels (difference {found.upright:.2f} of 1)"
        draft.choose("flips and turns", "mirrored and turned by any angle", same, flip=True, turn=True, tilt=45.0)
    else:
        differ = f"up and down differ in the labels (by {found.upright:.2f} of 1)"
        reason = "quarter turns need square crops" if turns(found) else differ
        draft.choose("flips and turns", "mirrored", reason, flip=True, turn=False, tilt=0.0)
    if found.reversed > REVERSED and turns(found) and len(found.bands) <= len(RGB):
        reason = f"in {found.reversed:.0%} of the images objects and ground swap dark and bright"
        draft.choose("inverted contrast", "a quarter of the crops", reason, invert=0.25)
    if turns(found) and found.colour > COLOURED and found.one_hue > ONE_HUE:  # only RGB has colour
        reason = "all images have the same hues: another stain or lamp would be new"
        draft.choose("stain changes", "random hues in half of the crops", reason, stain=0.5)
    reason = "other days and devices differ in brightness and contrast"
    draft.choose("light changes", "usual strength", reason, light=1.0)
    if found.rarest_share < RARE and found.labelled >= SPARSE and in_crops(draft):
        rarest = min((one for one in found.classes if one.share > 0), key=lambda one: one.share)
        reason = f"{rarest.name} has {rarest.share:.2%} of the pixels"
        draft.choose("crops", "half of them centred on rare classes", reason, rare_share=0.5, views=1)


def choose_loss(draft: Draft, found: Fingerprint) -> None:
    if found.rarest_share < RARE and in_crops(draft):
        reason = "no class weights, as the crops show the rare class often already"
        draft.choose("loss", "cross-entropy + ½ Dice", reason, dice=0.5, class_power=0.0)
    else:
        reason = "by regions as well as by pixels: small objects count as much as large ones"
        draft.choose("loss", "cross-entropy + ½ Dice", reason, dice=0.5, class_power=0.25)
    if found.labelled < SPARSE:
        few = f"only {found.labelled:.1%} of the pixels are labelled"
        draft.choose("loss pixels", "all", few, all_pixels=True)
        draft.choose("crops", "centred on labelled pixels", few, rare_share=0.9)


def choose_length(draft: Draft, found: Fingerprint, budget_s: float | None) -> None:
    """Steps, and how often to validate."""
    if is_thin(draft, found) or in_crops(draft):
        draft.choose("resolution while training", "full in every epoch", "smaller images would lose thin structures",
                     small_epochs=0.0)  # fmt: skip
    else:
        draft.choose("resolution while training", "three quarters in the first epochs", "faster, and as accurate",
                     small_epochs=0.6)  # fmt: skip
    choose_epoch_kept(draft, found)
    if draft.fixed.keys() & {"epochs", "plan"}:
        draft.choose("length", "", "", epochs=draft["epochs"])
        return
    if budget_s is not None:
        reason = "as many steps as fit; validation takes at most a fifth of the time"
        draft.choose("length", f"{show_duration(budget_s)} in all", reason)
        return
    batch = draft["batch"]
    pass_steps = max(math.ceil(found.train / batch), 1)
    steps = min(max(PASSES * pass_steps, LEAST_STEPS), max(MOST_STEPS, 2 * pass_steps))
    seen_px = math.prod(draft["size"]) if draft["policy"] != "native" else found.pixels
    train_px = steps * batch * math.prod(crop_size(draft))
    val_px = max(found.val * seen_px * VALIDATION_COST, 1)
    epochs = max(min(EPOCHS, int(VALIDATION_SHARE * train_px / val_px)), 1)
    each = max(round(steps / epochs), 1)
    passes = epochs * each * batch / found.train
    why = f"{PASSES} passes" if steps == PASSES * pass_steps else f"{passes:.0f} passes over {found.train} images"
    draft.choose("length", f"{epochs * each:,} steps, validated {epochs} times",
                 f"{why}; validation takes at most {VALIDATION_SHARE:.0%} as long as training",
                 epochs=epochs, plan=((0, epochs, each),))  # fmt: skip


def choose_epoch_kept(draft: Draft, found: Fingerprint) -> None:
    """The last epoch, unless enough images can tell which one is best."""
    judged = draft["target_miou"] or draft["patience"] or draft["also_val"]
    if found.val < FEW_VAL_IMAGES and not judged:
        images = "1 validation image" if found.val == 1 else f"{found.val} validation images"
        reason = f"{images} would choose by chance; the last epoch has the smallest steps and averages the most"
        draft.choose("exported epoch", "the last", reason, keep="last")
    else:
        draft.choose("exported epoch", "the best", "by the mIoU of the validation images", keep="best")


def choose_prediction(draft: Draft, found: Fingerprint) -> None:
    size = draft["size"]
    if draft["policy"] == "native":
        tile = native_tile(size, found.size if draft["even_exposure"] else None)
        shown = f"whole; beyond 4 megapixels in tiles of {tile[0]}×{tile[1]}, overlap {overlap_of(tile)[0]} px"
        draft.choose("prediction", shown, "at full resolution, as in training")
    else:
        how = "fitted into" if any(draft["crop"]) else "at"
        draft.choose(
            "prediction", f"whole, {how} {size[0]}×{size[1]}", "as in training; labels at the image's own size"
        )
    if not turns(found):
        reason = "fast: an average with the mirror image (mirrors=2) takes twice as long"
        draft.choose("mirror images", "none", reason, mirrors=1)
    elif found.train <= FEW_IMAGES:
        reason = f"{counted(found.train)}: the mean of four is steadier; mirrors=1 is four times as fast"
        draft.choose("mirror images", "4 averaged", reason, mirrors=4)
    else:
        reason = "the mean of two is steadier; mirrors=1 is twice as fast"
        draft.choose("mirror images", "2 averaged", reason, mirrors=2)


def nearest_32(length_px: float) -> int:
    return max(round(length_px / 32), 1) * 32


def shown_value(value: Any) -> str:
    if isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return "×".join(map(str, value)) if isinstance(value, tuple) and len(value) == 2 else str(value)


def counted(images: int) -> str:
    return f"{images} training image{'s' if images > 1 else ''}"
