"""Primitives read on symbols: hash-consing, the few simplifications, printing, pickling, depth."""

from __future__ import annotations

import pickle
from copy import deepcopy

import pytest

from tinygrad_seq.derivative import derivative
from tinygrad_seq.errors import GradientError
from tinygrad_seq.explain import latex
from tinygrad_seq.primitive import REGISTRY, Primitive, broadcast_shapes
from tinygrad_seq.symbol import leaves, lift, postorder, replace, substitute, text

x, y, g = lift("x"), lift("y"), lift("g")
tanh, where, mul = REGISTRY["tanh"], REGISTRY["where"], REGISTRY["mul"]


def test_equal_expressions_are_one_object() -> None:
    assert tanh(x) + y is tanh(x) + y
    assert lift(1) is not lift(1.0) and lift(True) is not lift(1)
    assert pickle.loads(pickle.dumps(tanh(x) * 2)) is tanh(x) * 2
    assert deepcopy(tanh(x)) is tanh(x)


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (x + 0, x), (0 + x, x), (x - 0, x), (0 - x, -x), (x * 1, x), (1 * x, x), (x * 0, lift(0)), (x / 1, x),
        (x**1, x), (x**0, lift(1)), (REGISTRY["neg"](-x), x), ((-x) * (-y), x * y), ((-x) * y, -(x * y)),
        (x / (-y), -(x / y)), (x * -1, -x), (lift(2) + 3, lift(5)), (lift(2) * 3, lift(6)), (x * (1 / y), x / y),
        (where(x, y, y), y), (where(REGISTRY["equal"](lift(2), 0), x, y), y), (g * where(x, 1, 0), where(x, g, 0)),
        (g * where(x, y, 0), where(x, g * y, 0)), (REGISTRY["conj"](lift(2.0)), lift(2.0)),
        (REGISTRY["transpose"](REGISTRY["transpose"](x)), x),
    ],
)  # fmt: skip
def test_identities_that_keep_derivatives_short(long: object, short: object) -> None:
    assert long is short


def test_nothing_else_is_rewritten() -> None:
    assert text((x + y) - y) == "(x + y) - y"
    assert text(x * (y + 1)) == "x * (y + 1)"
    assert text((x * y) * y) == "(x * y) * y"


def test_substitution_and_replacement() -> None:
    e = tanh(x + y) * x
    assert substitute(e, lambda n: lift(0) if n is y else None) is tanh(x) * x
    assert replace(e, {x + y: g}) is tanh(g) * x
    assert leaves(e) == [x, y]
    order = postorder([e])
    assert len(order) == 5 and all(order.index(a) < order.index(n) for n in order for a in n.args)


def test_deep_expressions() -> None:
    e = x
    for _ in range(10_000):
        e = tanh(e)
    assert len(postorder([e])) == 10_001
    assert pickle.loads(pickle.dumps(e)) is e
    assert text(e).count("tanh") == 10_000 and latex(e).count("tanh") == 10_000
    assert substitute(e, lambda n: y if n is x else None).serial > e.serial


def test_latex_puts_brackets_where_precedence_needs_them() -> None:
    assert latex((x + y) * g) == r"\left(x + y\right) \odot g"
    assert latex(x - (y - g)) == r"x - \left(y - g\right)"
    assert latex(x / y) == r"\frac{x}{y}"
    assert latex(-(x * y)) == r"-x \odot y"


def test_the_shape_of_an_elementwise_result_on_symbols() -> None:
    assert broadcast_shapes((), (3,)) == (3,) and broadcast_shapes((2, 1), (2, 3), ()) == (2, 3)
    with pytest.raises(ValueError, match="only scalars broadcast"):
        broadcast_shapes((2,), (3,))
    with pytest.raises(ValueError, match="only scalars broadcast"):
        broadcast_shapes((2,), (3, 2))


def test_only_what_the_wanted_cotangents_read_is_kept() -> None:
    rules = derivative(REGISTRY["mul"], (True, False), {})
    assert rules.saved == (1,) and not rules.saves_y
    rules = derivative(REGISTRY["div"], (True, False), {})
    assert rules.saved == (1,) and not rules.saves_y
    rules = derivative(REGISTRY["matvec"], (True, False), {})
    assert rules.saved == (1,) and rules.shapes == (0,)
    rules = derivative(REGISTRY["power"], (True, False), {}, constant=2)
    assert rules.saved == (0,) and not rules.saves_y and "** 1" not in rules.source
    assert derivative(REGISTRY["relu"], (True,), {}).saves_y
    assert not derivative(REGISTRY["sum"], (True,), {"axis": 0, "keepdims": False}).saved


def test_a_rule_that_cannot_be_read_is_named() -> None:
    op = Primitive("branching", lambda x: x, shape=lambda s: s)
    try:
        op.rule(lambda g, y, x: (g if x > 0 else -g,))
        with pytest.raises(GradientError, match="the rule of branching cannot be read on symbols"):
            derivative(op, (True,), {})
        with pytest.raises(ValueError, match="registered already"):
            Primitive("branching", lambda x: x, shape=lambda s: s)
        op.rule(lambda g, y, x: (g, g))
        with pytest.raises(GradientError, match="2 cotangents for 1 inputs"):
            derivative(op, (True,), {})
    finally:
        del REGISTRY["branching"]
