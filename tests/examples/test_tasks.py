"""The tasks of memory: what they ask for is what their papers describe, and their baselines are what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from examples import tasks


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("steps", [2, 9, 50])
def test_adding_and_multiplication_ask_for_the_two_marked_numbers(steps: int) -> None:
    for make, combine in ((tasks.adding, np.sum), (tasks.multiplication, np.prod)):
        found = make(random(), steps, 40)
        x, y = found["x"], found["y"]
        assert x.shape == (steps, 40, 2) and y.shape == (40,)
        for b in range(40):
            places = np.flatnonzero(x[:, b, 1])
            assert len(places) == 2 and places[0] < steps // 2 <= places[1]
            assert y[b] == pytest.approx(combine(x[places, b, 0]))


def test_what_always_answering_the_mean_costs() -> None:
    y = tasks.adding(random(), 10, 200_000)["y"]
    assert np.mean((y - 1) ** 2) == pytest.approx(1 / 6, rel=0.02)
    y = tasks.multiplication(random(), 10, 200_000)["y"]
    assert np.mean((y - 0.25) ** 2) == pytest.approx(7 / 144, rel=0.02)


def test_order_asks_which_two_came() -> None:
    found = tasks.order(random(), 100, 200)
    ids = found["x"].argmax(-1)
    assert (found["x"].sum(-1) == 1).all() and set(found["y"]) == {0, 1, 2, 3}
    for b in range(200):
        first, second = np.flatnonzero(ids[:, b] < 2)
        assert 10 <= first < 20 and 50 <= second < 60
        assert found["y"][b] == 2 * ids[first, b] + ids[second, b]


def test_copying_asks_for_the_same_symbols_later() -> None:
    found = tasks.copying(random(), 30, 8)
    x, y = found["x"], found["y"]
    assert x.shape == y.shape == (50, 8)
    np.testing.assert_array_equal(x[:10], y[-10:])
    assert (y[:-10] == tasks.BLANK).all() and (x[:10] < tasks.LETTERS).all()
    signs = np.argwhere(x == tasks.GO)
    assert (signs[:, 0] == 39).all() and len(
        signs
    ) == 8  # ten steps before the end, where the answer starts a step later
    assert (x[10:39] == tasks.BLANK).all() and (x[40:] == tasks.BLANK).all()


def test_the_line_of_no_memory() -> None:
    """Certain of the blanks, a guess among eight for each of the ten: the published .1733 at T = 100."""
    steps = 100
    y = tasks.copying(random(), steps, 5)["y"]
    p = np.where(y == tasks.BLANK, 1.0, 1 / tasks.LETTERS)
    assert -np.log(p).mean() == pytest.approx(tasks.memoryless(steps)) and round(tasks.memoryless(steps), 4) == 0.1733


@pytest.mark.parametrize(("make", "steps", "fewest"), [(tasks.adding, 1, 2), (tasks.order, 9, 10)])
def test_a_length_without_room_is_named(make: Callable[..., Any], steps: int, fewest: int) -> None:
    with pytest.raises(ValueError, match=f"need {fewest} or more, given {steps}"):
        make(random(), steps, 3)
