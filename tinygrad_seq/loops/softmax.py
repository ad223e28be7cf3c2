"""The softmax family over the rows of a matrix, each row read while it is in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.math import exp, log, maximum

LANES = 32


@kernel
def largest(row: Any, tops: Any) -> Any:
    """The maximum to subtract before an exponential: 0 instead of an infinity, which would give NaN.

    Kept as LANES maxima side by side, in `tops`, so that the loop becomes vector code although NaN propagates.
    """
    for j in range(LANES):
        tops[j] = row[0]
    whole = row.size // LANES * LANES
    for k in range(0, whole, LANES):
        for j in range(LANES):
            tops[j] = maximum(tops[j], row[k + j])
    for k in range(whole, row.size):
        tops[0] = maximum(tops[0], row[k])
    top = tops[0]
    for j in range(1, LANES):
        top = maximum(top, tops[j])
    return row.dtype.type(0) if np.isinf(top) else top


@kernel
def softmax(x: Any, part: Any, out: Any) -> None:
    """out[i] = exp(x[i]) / Σ exp(x[i]) for the rows part[0]..part[1]-1."""
    tops = np.empty(LANES, x.dtype)
    for i in range(part[0], part[1]):
        top = largest(x[i], tops)
        total = x.dtype.type(0)
        for k in range(x.shape[1]):
            value = exp(x[i, k] - top)
            out[i, k] = value
            total += value
        for k in range(x.shape[1]):
            out[i, k] /= total


@kernel
def logsumexp(x: Any, part: Any, out: Any) -> None:
    """out[i] = log Σ exp(x[i]) for the rows part[0]..part[1]-1."""
    tops = np.empty(LANES, x.dtype)
    for i in range(part[0], part[1]):
        top = largest(x[i], tops)
        total = x.dtype.type(0)
        for k in range(x.shape[1]):
            total += exp(x[i, k] - top)
        out[i] = top + log(total)


@kernel
def cross_entropy(x: Any, target: Any, part: Any, out: Any) -> None:
    """out[i] = log Σ exp(x[i]) - x[i, target[i]] for the rows part[0]..part[1]-1; a target below 0 picks nothing."""
    tops = np.empty(LANES, x.dtype)
    for i in range(part[0], part[1]):
        top = largest(x[i], tops)
        total = x.dtype.type(0)
        for k in range(x.shape[1]):
            total += exp(x[i, k] - top)
        chosen = x[i, target[i]] - top if target[i] >= 0 else -top
        out[i] = log(total) - chosen


@kernel
def softmax_error(x: Any, target: Any, y: Any, g: Any, part: Any, out: Any) -> None:
    """out[i] = g[i] (softmax(x[i]) - one_hot(target[i])), given y = cross_entropy(x, target)."""
    tops = np.empty(LANES, x.dtype)
    for i in range(part[0], part[1]):
        top = largest(x[i], tops)
        chosen = x[i, target[i]] - top if target[i] >= 0 else -top
        size = y[i] + chosen  # log Σ exp(x[i] - top)
        for k in range(x.shape[1]):
            out[i, k] = exp(x[i, k] - top - size) * g[i]
        if target[i] >= 0:
            out[i, target[i]] -= g[i]
