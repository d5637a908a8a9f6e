"""Recipes survive being written down, and refuse what makes no sense."""

from dataclasses import fields

import pytest

from pixelwise.errors import UsageError
from pixelwise.training.recipe import Recipe


def test_a_recipe_comes_back_from_toml() -> None:
    recipe = Recipe(size=(96, 128), encoder="lite2", ema=0.5, flip=False, epochs=3, zoom=(0.5, 1.0), separate=("cell",))
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert set(recipe.to_toml().split()) >= {f.name for f in fields(Recipe)}


def test_what_is_left_out_keeps_its_default() -> None:
    assert Recipe.from_toml("epochs = 3\n") == Recipe(epochs=3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epochs = ", "not valid TOML"),
        ("epoch = 3", "'epoch' is not a field of a recipe"),
        ("epochs = 0", "epochs is 0; expected at least 1"),
        ("epochs = 2.5", "something like 20"),
        ("flip = 1", "something like True"),
        ("size = [100, 256]", "multiples of 32"),
        ("size = 256", "something like"),
        ('encoder = "resnet"', "lite0, lite1, lite2"),
        ('policy = "crop"', "stretch, fit, native"),
        ("zoom = [2.0, 1.0]", "the smaller first"),
        ("ema = 1.0", "below 1"),
        ("learning_rate = 0.0", "above 0"),
    ],
)
def test_nonsense_is_refused_with_what_was_expected(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        Recipe.from_toml(text)
    assert says in str(caught.value)
