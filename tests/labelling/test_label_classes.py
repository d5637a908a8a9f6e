"""Classes with keys: names of any kind, colours that everyone can tell apart, and what becomes of merged ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.datasets.default_colours import seen_lab, separation
from pixelwise.errors import UsageError
from pixelwise.labelling.label_classes import APART, LabelClasses, alike, of_names, plain_name
from pixelwise.records import VOID


def test_keys_are_never_used_again() -> None:
    classes = of_names(["a", "b", "c"]).without(2).merged(1, 0).added("d")
    assert classes.keys == (0, 3)
    assert classes.resolve()[[0, 1, 2, 3, 4, 255]].tolist() == [0, 0, VOID, 3, VOID, VOID]
    assert (classes.ids(), classes.deleted()) == ([[0, 1], 3], [2])
    assert [classes.name_of(key) for key in (0, 1, 2, 3, 255)] == ["a", "a", "c", "d", ""]
    again = classes.merged(0, 3)
    assert again.ids() == [[3, 0, 1]]
    assert again.without(3).deleted() == [0, 1, 2, 3]
    assert LabelClasses.from_json(again.to_json()) == again


def test_a_name_that_is_gone_can_be_given_again() -> None:
    classes = of_names(["a", "b"]).without(0).added("a")
    assert [(one.key, one.name) for one in classes.classes] == [(1, "b"), (2, "a")]
    assert classes.renamed(2, "a") == classes


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("  road \n\t lane\x00\x1b[31m ", "road lane [31m"),
        ("Stra\u00dfe e\u0301", "Stra\u00dfe \u00e9"),
        ("\U0001f333", "\U0001f333"),
        ("\u202egnirts", "\u202egnirts"),
        ("']]\"; DROP", "']]\"; DROP"),
    ],
)
def test_names(given: str, kept: str) -> None:
    assert plain_name(given) == kept


@pytest.mark.parametrize("name", ["", " \n\t", "\x00", "\udcff", "x" * 201])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UsageError, match="class"):
        of_names([name])


def test_what_is_refused() -> None:
    classes = of_names(["a", "b"])
    for change in (
        lambda: classes.added("a"),
        lambda: classes.added(" a\n"),
        lambda: classes.renamed(1, "a"),
        lambda: classes.renamed(7, "x"),
        lambda: classes.merged(0, 0),
        lambda: classes.merged(0, 7),
        lambda: classes.without(7),
        lambda: classes.reordered([0]),
        lambda: classes.reordered([0, 0]),
        lambda: classes.recoloured(0, (0, 0, 256)),
        lambda: classes.recoloured(0, (0, 0)),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError):
            change()


def test_as_many_classes_as_there_are_keys() -> None:
    classes = of_names(f"class {i}" for i in range(254))
    assert classes.keys[-1] == 253
    assert len({one.colour for one in classes.classes}) == 254
    for full in (classes, classes.without(3)):
        with pytest.raises(UsageError, match="254 classes"):
            full.added("one more")


def test_default_colours_stay_apart_in_every_kind_of_vision() -> None:
    classes = of_names("abcdefghijkl")
    assert alike(classes) == []
    lab = seen_lab([one.colour for one in classes.classes])  # normal, protanope, deuteranope, tritanope
    for i in range(1, len(classes)):
        assert separation(lab[:, i : i + 1], lab[:, :i])[0] >= APART


def test_a_new_class_keeps_away_from_colours_that_a_person_chose() -> None:
    blue = of_names(["a"]).classes[0].colour
    near = (blue[0] + 3, blue[1] - 3, blue[2])
    classes = of_names(["a", "b"], [near]).added("c")
    lab = seen_lab([one.colour for one in classes.classes])
    assert separation(lab[:, 1:], lab[:, :1]).min() >= APART


def test_colours_that_some_people_cannot_tell_apart_are_named() -> None:
    red_green = of_names(["leaf", "berry", "sky"], [(126, 138, 40), (194, 114, 40), (86, 180, 233)])
    found = alike(red_green)
    assert [(one, other) for one, other, _ in found] == [(0, 1)]
    assert np.linalg.norm(np.diff(seen_lab([(126, 138, 40), (194, 114, 40)])[0], axis=0)) > APART  # in normal vision


@given(st.data())
def test_any_operations_in_any_order(data: st.DataObject) -> None:
    """`resolve` is what a list of pixels, changed by each operation, becomes."""
    classes = of_names("abcd")
    pixels = np.arange(256)
    pixels[4:] = VOID
    for _ in range(data.draw(st.integers(0, 12))):
        if not len(classes):
            break
        key = data.draw(st.sampled_from(classes.keys))
        kind = data.draw(st.sampled_from(["merge", "delete", "reorder", "add"]))
        if kind == "merge" and len(classes) > 1:
            into = data.draw(st.sampled_from([other for other in classes.keys if other != key]))
            classes = classes.merged(key, into)
            pixels[pixels == key] = into
        elif kind == "delete":
            classes = classes.without(key)
            pixels[pixels == key] = VOID
        elif kind == "reorder":
            classes = classes.reordered(data.draw(st.permutations(classes.keys)))
        else:
            classes = classes.added(f"new {len(classes.gone)} {len(classes)}")
            pixels[classes.keys[-1]] = classes.keys[-1]
    assert classes.resolve().tolist() == pixels.tolist()
    assert LabelClasses.from_json(classes.to_json()) == classes
    rows = [own if isinstance(own, list) else [own] for own in classes.ids()]
    assert sorted(itertools.chain(*rows, classes.deleted())) == sorted([*classes.keys, *classes.gone])
