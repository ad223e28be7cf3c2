"""What needs no gradient costs nothing: no part of a rule that is for another input is evaluated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.derivative import derivative, expressions, is_plain, pull
from tinygrad_seq.examples import example
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import postorder


def moving(name: str) -> list[int]:
    """Positions of the floating arguments that have a derivative, when there are two or more."""
    op = REGISTRY[name]
    if not op.differentiable:
        return []
    args, static = example(op)
    floats = [i for i, a in enumerate(args) if np.asarray(a).dtype.kind in "fc" and i not in op.fixed]
    if len(floats) < 2 or not all(is_plain(v) for v in static.values()):
        return []
    found = expressions(op, [i in floats for i in range(len(args))], static)
    return [i for i in floats if found[i] is not None]


SEVERAL = [n for n in sorted(REGISTRY) if len(moving(n)) > 1]


def test_many_primitives_have_several_inputs() -> None:
    assert len(SEVERAL) > 25 and {"power", "div", "matmul", "conv2d", "where", "einsum"} <= {*SEVERAL}


@pytest.mark.parametrize("name", SEVERAL)
def test_a_pullback_computes_what_is_asked_for_and_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation of the wanted cotangent once, none of the others': counted as the tape runs it."""
    op, (args, static) = REGISTRY[name], example(REGISTRY[name])
    whole = derivative(op, tuple(i in moving(name) for i in range(len(args))), static)
    for position in moving(name):
        needs = tuple(i == position for i in range(len(args)))
        one = derivative(op, needs, static)
        assert [c is not None for c in one.cotangents] == list(needs)
        wanted = one.cotangents[position]
        assert wanted is not None and {*one.keep} <= {*whole.keep} and {*one.shapes} <= {*whole.shapes}
        operations = sum(node.op is not None for node in postorder([wanted]))
        assert one.source.count("\n") == operations + 2, one.source  # `def` and `return`


@pytest.mark.parametrize("power", [2.0, 3, 0.5, np.full(3, 2.0)])
def test_a_constant_exponent_takes_no_logarithm(power: Any) -> None:
    def slope(x: Any) -> Any:
        t = tg.tensor(x, requires_grad=True)
        (t**power).backward(np.ones(3))
        assert t.grad is not None
        return t.grad.data

    x = np.array([-1.0, 2.0, -3.0]) if not isinstance(power, float) else np.array([1.0, 2.0, 3.0])
    with np.errstate(all="raise"):
        np.testing.assert_allclose(slope(x), power * x ** (power - 1))
        found = pull(REGISTRY["power"], [True, False], np.ones(3), x**power, (x, power), {})
    np.testing.assert_allclose(found[0], power * x ** (power - 1))
    assert found[1] is None


def test_pull_takes_axes_in_front_of_the_result_s() -> None:
    x, y = np.array([0.5, -1.0]), np.tanh([0.5, -1.0])
    g = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]])
    np.testing.assert_allclose(pull(REGISTRY["tanh"], [True], g, y, (x,), {})[0], g * (1 - y**2))
