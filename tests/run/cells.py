"""Cells and data that several tests of the run share."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsl.run.model import Model
from dsl.spec import parse

KINDS = """
cell Kinds(D, H):                     # boundaries of every kind, a forward and a backward recurrence
  input x[t]: D = 0.5
  input start: H
  state h[t]: H = start
  state g[t]: H = h0
  state b[t]: H = 1
  param h0 ~ normal
  param V, W, U ~ glorot
  h[t] = tanh(V@x[t-2] + W@h[t-1])
  g[t] = tanh(U@g[t-3] + h[t])
  b[t] = tanh(V@x[t+1] + W@b[t+2] + g[t])
  m = max[t](b[t])
  a[t] = softmax[t](g[t])
  s = sum[t](a[t]*b[t]) + last(g)
  loss nll = mean[t](sum(b[t]*b[t])) + sum(m*s)
"""

SEQUENCE = """
cell Sequence(D, H):
  input x[t]: D
  state h[t]: H = h0
  param h0 = 0.1
  param V, W, S ~ glorot
  h[t] = tanh(V@x[t] + W@h[t-1] + S@h[t-3])
  output h
  loss nll = mean[t](sum(h[t]*h[t]))
"""

LETTERS = """
cell Letters(K, H):
  state y[t]: one_hot K = none
  state h[t]: H = 0
  param V, W, U ~ glorot
  param b, a = 0
  h[t] = tanh(V@y[t-1] + W@h[t-1] + b)
  y[t] ~ categorical(logits = U@h[t] + a)
  loss nll = -mean[t](logprob(y[t]))
"""


def build(text: str, cell: str | None = None, dtype: str = "float64", seed: int = 0, **sizes: Any) -> Model:
    return parse(text, cell).build(seed=seed, dtype=dtype, **sizes)


def ragged(rng: np.random.Generator, lengths: list[int], *features: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """An array (T, B, *features) with NaN behind each sequence's end, and the sequences alone."""
    alone = [rng.normal(size=(n, *features)) for n in lengths]
    array = np.full((max(lengths), len(lengths), *features), np.nan)
    for b, sequence in enumerate(alone):
        array[: len(sequence), b] = sequence
    return array, alone
