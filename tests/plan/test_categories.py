"""A category under another name is looked up, forwards and backwards: never a product with a matrix of zeros."""

from __future__ import annotations

import pytest

import dsl
from dsl.plan.program import programs
from tests.plan.agreement import bound, disagreement

NAMES = """
cell A(K, D, H):                     # a name, a name for it, one read at another step, one that is wanted itself
  input x[t]: one_hot K = none
  input v[t]: D = 0.5
  state h[t]: H = 0
  state a[t]: K = 1
  param U, V, W, Q, R ~ glorot
  a[t] = x[t]
  b[t] = x[t-1]
  c[t] = b[t]
  h[t] = tanh(U@a[t] + V@c[t] + W@h[t-1] + Q@concat(v[t-1], b[t]) + R@a[t-2] + sum(c[t])*h[t-1])
  output h, b
  loss l = sum[t](sum(c[t]*a[t]) + sum(h[t]))
"""


def test_products_with_a_category_are_looked_up_both_ways() -> None:
    forward, backward = programs(bound(dsl.load("CharRNN", L=2)), None, "float32")
    assert "prev" not in forward.normal.definitions
    operands = {t.operand.name for d in forward.normal.definitions.values() for t in d.terms}
    assert operands == {"rnn.0.h", "rnn.1.h"}
    assert backward is not None
    kinds = {n: d.kind for n, d in backward.normal.definitions.items()}
    assert all(kinds[f"rnn.0.V_{g}_bar.sum_1"] == "scatter" for g in "fiog")
    assert all(kinds[f"rnn.1.V_{g}_bar.sum_1"] == "outer" for g in "fiog")
    assert "prev" not in kinds


@pytest.mark.parametrize("ragged", [False, True])
def test_names_for_categories_agree_with_the_literal_engine(ragged: bool) -> None:
    assert disagreement(bound(dsl.parse(NAMES)), ragged=ragged) < 1e-11
