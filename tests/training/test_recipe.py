"""Recipes survive being written down, and refuse what makes no sense."""

from dataclasses import fields

import pytest

from pixelwise.cli.train_options import parse_settings
from pixelwise.errors import UsageError
from pixelwise.training.recipe import Recipe


def test_a_recipe_comes_back_from_toml() -> None:
    recipe = Recipe(size=(96, 128), encoder="lite2", ema=0.5, flip=False, epochs=3, zoom=(0.5, 1.0), separate=("cell",))
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    newer = {"crop", "val_images"}  # written only where they are not the default, as older versions do not know them
    assert set(recipe.to_toml().split()) >= {f.name for f in fields(Recipe)} - newer
    assert not newer & set(recipe.to_toml().split())
    parts = Recipe(size=(512, 512), policy="fit", crop=(256, 256), val_images=3)
    assert Recipe.from_toml(parts.to_toml()) == parts
    assert (parts.size_at(0), parts.size_at(19)) == ((192, 192), (256, 256))


def test_what_is_left_out_keeps_its_default() -> None:
    assert Recipe.from_toml("epochs = 3\n") == Recipe(epochs=3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epochs = ", "not valid TOML"),
        ("epoch = 3", "'epoch' is not a field of a recipe"),
        ("epochs = 0", "epochs is 0; expected at least 1"),
        ("epochs = 2.5", "a value such as 20"),
        ("flip = 1", "a value such as True"),
        ("size = [100, 256]", "multiples of 32"),
        ("size = 256", "size is 256; expected 2 values such as 256, 256"),
        ('encoder = "resnet"', "lite0, lite1, lite2"),
        ('policy = "crop"', "stretch, fit, native"),
        ("zoom = [2.0, 1.0]", "the smaller first"),
        ("ema = 1.0", "below 1"),
        ("crop = [256, 512]", "crop is (256, 512); expected multiples of 32 within size, 256×256"),
        ('policy = "native"\ncrop = [64, 64]', "with policy native"),
        ("crop = [64, 96]\nturn = true", "crop is (64, 96); expected height = width where crops are turned"),
        ("val_images = -1", "0 (all) or a number of images"),
        ("learning_rate = 0.0", "above 0"),
    ],
)
def test_nonsense_is_refused_with_what_was_expected(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        Recipe.from_toml(text)
    assert says in str(caught.value)


def test_values_given_on_the_command_line_need_neither_quotes_nor_brackets() -> None:
    given = parse_settings(["zoom=0.5,2", "policy=native", "flip=false", 'separate=["a, b"]', "separate=cell,other"])
    assert given == {"zoom": [0.5, 2], "policy": "native", "flip": False, "separate": "cell,other"}
    assert Recipe().with_values({"zoom": given["zoom"]}).zoom == (0.5, 2.0)
