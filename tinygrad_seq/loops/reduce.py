"""Sums of rows, and what goes back through a maximum.

`x` is (outer, K, inner), reduced over its middle axis; of rows inner is 1 and left out. `part` says which of the rows,
or of the blocks of BLOCK columns (`across`), are meant, part[0]..part[1]-1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.memory import slots

(load_from, _), (_, store_into) = slots(2, "reduce")
TOGETHER = 1024  # elements that are summed up in the array's precision; their sums, in double


@kernel
def sums(x: Any, out: Any, part: Any) -> None:
    """out[i] = Σ x[i]."""
    count = x.shape[1]
    for i in range(part[0], part[1]):
        total, end = 0.0, (i + 1) * count
        for first in range(i * count, end, TOGETHER):
            some = x.dtype.type(0)
            for k in range(first, min(first + TOGETHER, end)):
                some += load_from(x, k)
            total += some
        out[i] = total


@kernel
def extremum_pull(x: Any, y: Any, g: Any, out: Any, part: Any) -> None:
    """out[i] = g[i] shared out evenly among the elements of x[i] that are y[i]."""
    count, one, none = x.shape[1], x.dtype.type(1), x.dtype.type(0)
    for i in range(part[0], part[1]):
        top, ties = y[i], none
        for k in range(i * count, (i + 1) * count):
            ties += one if load_from(x, k) == top else none
        share = g[i] / ties
        for k in range(i * count, (i + 1) * count):
            store_into(out, k, share if load_from(x, k) == top else none)


@kernel
def extremum_pull_across(x: Any, y: Any, g: Any, out: Any, block: int, part: Any) -> None:
    """out[o, :, q] = g[o, q] shared out evenly among the elements of x[o, :, q] that are y[o, q]."""
    count, inner, one, none = x.shape[1], x.shape[2], x.dtype.type(1), x.dtype.type(0)
    blocks = (inner + block - 1) // block
    tops, shares = np.empty(block, x.dtype), np.empty(block, x.dtype)
    for i in range(part[0], part[1]):
        o, first = i // blocks, i % blocks * block
        n, start = min(block, inner - first), o * count * inner + first
        for q in range(n):
            tops[q] = y[o, first + q]
            shares[q] = none
        for k in range(count):
            for q in range(n):
                shares[q] += one if load_from(x, start + k * inner + q) == tops[q] else none
        for q in range(n):
            shares[q] = g[o, first + q] / shares[q]
        for k in range(count):
            for q in range(n):
                at = start + k * inner + q
                store_into(out, at, shares[q] if load_from(x, at) == tops[q] else none)
