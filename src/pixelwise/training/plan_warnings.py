"""What a plan cannot do with its data, in words."""

from __future__ import annotations

from pixelwise.training.fingerprint import Fingerprint
from pixelwise.training.plan_rules import UNEQUAL_PIXELS, counted, scale_at
from pixelwise.training.recipe import Recipe


def warnings_of(found: Fingerprint, recipe: Recipe) -> tuple[str, ...]:
    """What the data do not allow, one sentence each."""
    scale = scale_at(found.size, recipe.size, recipe.policy)
    thin = [
        f"class {one.name} is {one.width_px * scale:.1f} px wide at the network's input, less than a pixel: most of it "
        "will be missed. Larger images, or --policy native, would show it."
        for one in found.classes
        if one.width_px * scale < 1
    ]
    absent = [
        f"class {one.name} occurs in none of the {found.measured} training images measured"
        f"{': it cannot be learned.' if found.measured == found.train else f', of {found.train:,}.'}"
        for one in found.classes
        if one.share == 0
    ]
    scales = (
        [
            f"pixels are {found.pixel_sizes:.1f} times as large in some images as in others: one object has "
            "as many sizes. "
            "Resample the images to one pixel size first."
        ]
        if found.pixel_sizes > UNEQUAL_PIXELS
        else []
    )
    few = [f"{counted(found.train)}: scores will depend on chance."]
    return (*thin, *absent, *scales, *(few if found.train < 4 else []))
