"""Recurrences along two axes and more, compiled as loops in loops: the literal engine is the oracle."""

from __future__ import annotations

import pytest

import dsl
from tests.plan.agreement import bound, disagreement

TEXTS = {
    "a grid: a step left, a step up": """
cell Grid(D, H):
  input x[i]: D
  input y[j]: D
  state h[i,j]: H = 0.1
  param U, V, W, R ~ glorot
  param b = 0
  h[i,j] = tanh(U@x[i] + V@y[j] + W@h[i-1,j] + R@h[i,j-1] + b)
  output h
""",
    "backwards on one axis, a learned start, gates of one product": """
cell Grid(D, H):
  input x[i,j]: D = 0
  param c0: H ~ normal
  state h[i,j]: H = 0
  state c[i,j]: H = c0
  param V_f, V_g, W_f, W_g, R_f, R_g ~ glorot
  f[i,j] = sigmoid(V_f@x[i,j] + W_f@h[i-1,j] + R_f@h[i,j+1])
  g[i,j] = tanh(V_g@x[i,j-1] + W_g@h[i-1,j] + R_g@h[i,j+1])
  c[i,j] = f[i,j]*c[i,j+2] + (1 - f[i,j])*c[i-1,j+1] + g[i,j]
  h[i,j] = tanh(c[i,j])
  z[i] = sum[j](h[i,j])
  output h, z
""",
    "edit distance, softly, skewed along the second axis": """
cell Distance(D, H):
  input a[i]: D
  input b[j]: D
  state e[i,j], f[i,j]: scalar = 1.5
  param W: (D, D) ~ glorot
  s[i,j] = a[i]@(W@b[j])
  e[i,j] = -logaddexp(logaddexp(-e[i-1,j] - 1, -f[i,j+1] - 1), -e[i-1,j-1] - s[i,j]**2)
  f[i,j] = 0.5*e[i-1,j] + 0.3*sin(f[i,j-2])
  total = last[j](last[i](e[i,j]))*1.0
  output e
""".replace("  total = last[j](last[i](e[i,j]))*1.0\n", ""),
    "three axes": """
cell Cube(D, H):
  input x[i]: D
  input y[j]: D
  input z[k]: D
  state h[i,j,k]: H = 0
  param U, V, Q, W, R, S ~ glorot
  h[i,j,k] = tanh(U@x[i] + V@y[j] + Q@z[k] + W@h[i-1,j,k] + R@h[i,j-1,k] + S@h[i,j,k-1])
  m[i] = mean[j](mean[k](h[i,j,k]))
  output h, m
""",
    "a recurrence within each step, and what reads it": """
cell Inner(D, H):
  input x[t]: D
  input y[s]: D
  state h[t]: H = 0
  state r[t,s]: H = 0
  param U, V, W, R, Q ~ glorot
  r[t,s] = tanh(U@y[s] + V@h[t-1] + R@r[t,s-1])
  q[t] = max[s](r[t,s])
  h[t] = tanh(Q@x[t] + W@q[t] + h[t-1])
  output h
""",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_grids_agree_with_the_literal_engine(text: str) -> None:
    assert disagreement(bound(dsl.parse(text)), steps=4) < 1e-12
