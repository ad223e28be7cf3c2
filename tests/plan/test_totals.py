"""Sums over all sequences that sequences read again, compiled in stages: the literal engine is the oracle."""

from __future__ import annotations

import numpy as np
import pytest

import dsl
from dsl.run.compiled import compile_system
from dsl.run.unroll import unroll
from tests.plan.agreement import apart, bound, disagreement, problem

TEXTS = {
    "a gradient made of a shared value that is made of another total": """
cell A(H, K):
  input x[t]: H
  input k[t]: one_hot K = none
  param W: (H, K) ~ normal(0, 1)
  param b, c: H ~ normal(0, 1)
  total q = sum[t](tanh(x[t]) + W@k[t-3])
  z = sin(q) - c
  loss cost = b@q + b@z + sum[t](b@x[t])
""",
    "normalisation by the mean and variance of a batch": """
cell BatchNorm(D, H):
  input x[t]: D
  param V: (H, D) ~ glorot
  param g: H = 1
  h[t] = V@x[t]
  total n = sum[t](1 + 0*t)
  total s = sum[t](h[t])
  total q = sum[t]((h[t] - s/n)**2)
  y[t] = g*(h[t] - s/n)/sqrt(q/n + 0.01)
  output y
""",
    "matrices of sums, read in products, look-ups and recurrences": """
cell A(D, H, K):
  input x[t]: D
  input c[t]: one_hot K
  param V: (H, D) ~ glorot
  param W: (H, H) ~ glorot
  state h[t]: H = 0
  z[t] = tanh(V@x[t])
  total G = sum[t](outer(z[t], x[t]))
  total E = sum[t](outer(z[t], c[t]))
  U = 0.1*G + V
  h[t] = tanh(U@x[t] + 0.1*(E@c[t]) + W@h[t-1])
  total F = sum[t](outer(h[t], z[t]))
  y[t] = 0.1*((F + W)@h[t]) + sum(G)*z[t]
  output y, U
""",
    "a sum of sums over the same axis, shared factors": """
cell A(D, H):
  input x[t]: D
  param V: (H, D) ~ glorot
  param W: (D, D) ~ glorot
  h[t] = tanh(V@x[t])
  total G = sum[t](h[t] * sum[t](h[t]*t)) + sum[t](outer(h[t], W@x[t]))@zeros(D)
  total M = sum[t](outer(h[t], x[t])*sum[t](outer(h[t], x[t]))) @ W
  output G, M
""",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_totals_that_are_read_agree_with_the_literal_engine(text: str) -> None:
    assert disagreement(bound(dsl.parse(text))) < 1e-11


def test_a_short_state_leaves_the_boundary_before_it() -> None:
    text = "cell A(D, H):\n  input x[t]: D\n  state h[t]: H = 0.5\n  param V, W ~ glorot\n"
    system = bound(dsl.parse(text + "  h[t] = tanh(V@x[t] + W@h[t-3] + h[t-1])\n"))
    inputs, _ = problem(system, 3, 6, 0, False, "float64")
    lengths, clock = {"t": np.full(3, 6)}, {"t": np.full(3, 2)}
    start = {"h": np.random.default_rng(0).standard_normal((2, 3, 7))}
    values, _ = compile_system(system, ("h",), "float64").forward(inputs, lengths, 3, ("h",), start, clock, False)
    literal = unroll(system, inputs, lengths, 3, ("h",), start, clock)
    assert apart(values["h"], np.asarray(literal["h"])) < 1e-14
