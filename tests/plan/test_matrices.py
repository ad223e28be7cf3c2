"""Matrices that vary with the step or the sequence, compiled: the literal engine is the oracle."""

from __future__ import annotations

import pytest

import dsl
from tests.plan.agreement import bound, disagreement

TEXTS = {
    "fast weights: a memory of outer products, read and written every step": """
cell A(D, H):
  input x[t]: D
  state A[t]: (H, H) = 0
  state h[t]: H = 0
  param V, K ~ glorot
  k[t] = softmax(K@x[t])
  h[t] = tanh(V@x[t] + A[t-1]@h[t-1])
  A[t] = 0.9*A[t-1] + outer(h[t] - A[t-1]@k[t], k[t])
  output h
""",
    "inputs, outputs, learned starts and lags of matrices": """
cell A(D, H):
  input X[t]: (H, D) = 0
  input u[t]: D
  param S: (H, D) ~ glorot
  state M[t]: (H, D) = S
  M[t] = tanh(X[t-1] + 0.5*M[t-2]) * X[t]
  y[t] = M[t]@u[t]
  output M, y
""",
    "transposes, products of matrices, both ways": """
cell A(D, H):
  input X[t]: (H, D)
  input Y[t]: (D, H)
  input u[t]: H
  param W: (H, H) ~ glorot
  P[t] = X[t]@Y[t] + X[t]@X[t].T
  Q[t] = exp(-(Y[t].T)@(X[t].T))
  R[t] = tanh(X[t]).T@P[t] + sin(X[t].T)@cos(W@P[t])
  y[t] = P[t].T@u[t] + (Q[t]*W)@tanh(u[t]) + R[t].T@(X[t].T@u[t])
  output y, R
""",
    "sums, means, maxima and softmaxes of matrices": """
cell A(D, H):
  input X[t]: (H, D)
  input u[t]: D
  a[t] = sum(X[t]) + mean(X[t]*X[t]) - max(X[t]) + min(sin(X[t])) + logsumexp(X[t])
  Y[t] = softmax(X[t]) * log_softmax(2*X[t]) + a[t]*outer(X[t]@u[t], u[t])
  Z[t] = softmax[t](X[t])
  m = mean[t](Y[t]) + max[t](Z[t]) + last(X)
  output Y, m
""",
    "parameters' gradients through matrices that are no outer products": """
cell A(D, H):
  input X[t]: (H, D)
  input q[s]: D
  param W, U: (H, D) ~ glorot
  param v: H ~ glorot
  state M[t]: (H, D) = 0
  M[t] = tanh(W*X[t] + U - M[t-1])
  e[t,s] = v@tanh(M[t]@q[s])
  y[t] = sum[s](e[t,s]*q[s])
  output y
""",
    "a shared vector beside varying ones": """
cell A(D, H):
  input X[t]: (H, D)
  input x[t]: D
  param p: D ~ glorot
  param q: H ~ glorot
  param W: (H, D) ~ glorot
  M[t] = outer(q, x[t]) + X[t]
  y[t] = M[t]@p + W@p + outer(q, x[t])@p
  output y, M
""",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_matrices_agree_with_the_literal_engine(text: str) -> None:
    assert disagreement(bound(dsl.parse(text))) < 1e-12
