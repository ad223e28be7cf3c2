"""Every wrong input is one ValueError that names the stream, what was expected and what was given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dsl
import tinygrad_seq as tg
from dsl.run.model import Model
from tests.run.cells import LETTERS, SEQUENCE, build


@pytest.fixture(scope="module")
def sequence() -> Model:
    return build(SEQUENCE, D=2, H=3)


@pytest.fixture(scope="module")
def letters() -> Model:
    return build(LETTERS, K=4, H=3)


def with_value(value: float, *at: int) -> np.ndarray:
    x = np.zeros((4, 2, 2))
    x[at] = value
    return x


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": np.zeros((4, 2, 3))}, r"x: expected \(T, B, 2\) numbers, or one sequence without B, given \(4, 2, 3\)"),
        ({"x": np.zeros(4)}, r"x: expected \(T, B, 2\) numbers, or one sequence without B, given \(4,\)"),
        ({"x": np.zeros((1, 4, 2, 2))}, r"given \(1, 4, 2, 2\)"),
        ({"x": [["a", "b"]]}, r"x: expected \(T, B, 2\) numbers, given <U1"),
        ({"x": [[1.0, 2.0], [1.0]]}, "lists of unequal lengths"),
        ({"x": [np.zeros((3, 2)), np.zeros((3, 1))]}, r"given \(3, 1\)"),
        ({"x": with_value(np.nan, 1, 0, 1)}, r"x: expected finite numbers, given nan in sequence 0, t=1"),
        ({"x": with_value(-np.inf, 3, 1, 0)}, r"x: expected finite numbers, given -inf in sequence 1, t=3"),
        (
            {"x": np.zeros((4, 2, 2)), "lengths": [4, 5]},
            "lengths of t: sequence 1 is given as 5 long, but x has 4 steps",
        ),
        ({"x": np.zeros((4, 2, 2)), "lengths": [4]}, r"lengths of t: expected 2, one a sequence, given \(1,\)"),
        ({"x": np.zeros((4, 2, 2)), "lengths": [-1, 2]}, "lengths of t: expected 0 or more, given -1"),
        ({"x": np.zeros((4, 2, 2)), "lengths": [1.5, 2]}, "lengths of t: expected integers, given float64"),
        ({"x": np.zeros((4, 2, 2)), "lengths": {"s": [1, 2]}}, "has no axis s whose length is free; it has t"),
        ({"z": np.zeros((4, 2, 2))}, "Sequence has no input z; it has x"),
        ({}, r"missing x, expected \(T, B, 2\) numbers"),
    ],
)
def test_numbers(sequence: Model, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sequence(**given, engine="tape")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.full((3, 2), 4), r"y: expected a category 0\.\.3; none \(-1\) is no target, given 4 in sequence 0, t=0"),
        (np.full((3, 2), -1), r"none \(-1\) is no target, given -1"),
        (np.zeros((3, 2)), r"y: expected \(T, B\) integers 0\.\.3, given float64 \(3, 2\)"),
        ("abba", r"y: expected \(T, B\) integers 0\.\.3, given a string; make them of a text by dsl\.Text\.of"),
        (
            np.zeros((3, 2, 4), int),
            r"y: expected \(T, B\) integers 0\.\.3, or one sequence without B, given \(3, 2, 4\)",
        ),
    ],
)
def test_categories(letters: Model, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        letters(y=given, engine="tape")


def test_padding_may_hold_anything(sequence: Model, letters: Model) -> None:
    sequence(x=with_value(np.nan, 3, 1, 0), lengths=[4, 3], engine="tape")
    y = np.zeros((3, 2), int)
    y[2, 1] = 99
    letters(y=y, lengths=[3, 2], engine="tape")


def test_none_is_an_input_category() -> None:
    model = build(
        "cell A(K, H):\n  input x[t]: one_hot K\n  param V: (H, K) ~ glorot\n  h[t] = V@x[t]\n  output h\n", K=3, H=2
    )
    h = model(np.array([[0, -1]]).T, engine="tape").h.numpy()
    assert h[0].any() and not h[1].any()


def test_two_streams_must_fit() -> None:
    model = build("cell A(D):\n  input x[t], z[t]: D\n  input w: D\n  h[t] = x[t]*z[t]*w\n  output h\n", D=1)
    x = np.ones((4, 2, 1))
    with pytest.raises(ValueError, match="z: expected 4 steps on t as x has, given 3"):
        model(x=x, z=np.ones((3, 2, 1)), w=np.ones((2, 1)), engine="tape")
    with pytest.raises(ValueError, match="w: expected 2 sequences as x has, given 3"):
        model(x=x, z=x, w=np.ones((3, 1)), engine="tape")
    with pytest.raises(ValueError, match="given one sequence"):
        model(x=x, z=x, w=np.ones(1), engine="tape")
    with pytest.raises(ValueError, match=r"z: its sequences have lengths \[2, 2\] on t, others \[2, 3\]"):
        model(x=[x[:2, 0], x[:3, 0]], z=[x[:2, 0], x[:2, 0]], w=np.ones((2, 1)), engine="tape")


def test_what_is_given_is_not_changed(sequence: Model) -> None:
    x = with_value(np.nan, 3, 1, 0)
    before = x.copy()
    sequence.value_and_grad(x=x, lengths=[4, 3], engine="tape")
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("engine", ["compiled", "tape"])
def test_what_was_drawn_has_no_gradient(engine: str) -> None:
    model = dsl.load("StopRNN").build(K=3, H=2)
    stop = tg.tensor(np.array([0.0, 0.0, 1.0]), requires_grad=True)
    model(y=np.array([1, 2, 0]), stop=stop, engine=engine).nll.backward()
    assert stop.grad is None and model.params["u"].grad is not None
