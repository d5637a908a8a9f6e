"""Scores → labels: specks join their surroundings, objects that are drawn or sure stay."""

from __future__ import annotations

import numpy as np
import pytest

from pixelwise.labelling.refine_edges import SPECK_PX, SURE, without_specks

SIDE = 5
LITTLE, MUCH = SURE / 4, SURE


def scores_of(higher: float) -> np.ndarray:
    """A square of class 1 on class 0; class 2 is nowhere."""
    assert SIDE * SIDE < SPECK_PX
    scores = np.zeros((3, 30, 40), np.float32)
    scores[0], scores[2] = MUCH, -MUCH
    scores[1, 10 : 10 + SIDE, 20 : 20 + SIDE] = MUCH + higher
    return scores


@pytest.mark.parametrize("stride", [1, 4])
def test_only_small_unsure_regions_are_specks(stride: int) -> None:
    nothing = np.zeros((30, 40), bool)
    unsure, sure = scores_of(LITTLE), scores_of(MUCH)
    kept = stride > 1  # it is 20 pixels wide then
    assert (without_specks(unsure, nothing, stride).argmax(0) == 1).any() == kept
    assert (without_specks(sure, nothing, stride).argmax(0) == 1).any()
    assert unsure.argmax(0)[12, 22] == 1  # the scores given stay as they are


def test_what_a_stroke_touches_stays() -> None:
    drawn = np.zeros((30, 40), bool)
    drawn[10, 20] = True
    np.testing.assert_array_equal(without_specks(scores_of(LITTLE), drawn, 1), scores_of(LITTLE))


def test_a_diagonal_line_is_one_region() -> None:
    scores = np.zeros((2, 60, 60), np.float32)
    scores[0] = MUCH
    line = np.eye(60, dtype=bool)
    scores[1][line] = MUCH + LITTLE
    assert (without_specks(scores, np.zeros_like(line), 1).argmax(0) == line).all()


def test_one_class_alone() -> None:
    scores = np.zeros((1, 8, 8), np.float32)
    np.testing.assert_array_equal(without_specks(scores, np.zeros((8, 8), bool), 1), scores)
