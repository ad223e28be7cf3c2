"""The softmax family over the rows of a matrix, each row read while it is in the cache.

`x` (N, K) are the rows and `bits` their bit patterns; `part` says which rows are meant, part[0]..part[1]-1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba.extending import intrinsic

from tinygrad_seq.kernels import formulas
from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.math import log


@intrinsic  # type: ignore[untyped-decorator]
def exp(typing: Any, x: Any) -> Any:
    """e^x of a difference from the row's maximum: x <= 0, for which half the instructions do, or infinity."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        format = formulas.DOUBLE if signature.return_type.bitwidth == 64 else formulas.SINGLE
        number = formulas.Real(builder, format, args[0])
        return number.choose(number.compare(">", 1.0), math.inf, formulas.exp_below(number)).value

    return x(x), code


@kernel
def largest(bits: Any, i: int, hold: Any) -> Any:
    """The maximum of row i to subtract before an exponential; instead of an infinity, which would give NaN, the largest
    number, or 0 for -inf.

    `bits` are the rows' bit patterns as integers; with those of negative numbers turned round they are in the numbers'
    own order (NaN beyond infinity), and of integers a maximum becomes vector code. `hold` is an array of one number.
    """
    sign = 8 * bits.itemsize - 1
    rest = bits.dtype.type((1 << sign) - 1)
    top = bits[i, 0] ^ ((bits[i, 0] >> sign) & rest)
    for k in range(bits.shape[1]):
        value = bits[i, k] ^ ((bits[i, k] >> sign) & rest)
        top = max(top, value)
    pattern = hold.view(bits.dtype)
    pattern[0] = top ^ ((top >> sign) & rest)
    if np.isinf(hold[0]):
        pattern[0] = top - 1 if hold[0] > 0 else 0
    return hold[0]


@kernel
def softmax(x: Any, bits: Any, part: Any, out: Any) -> None:
    """out[i] = exp(x[i]) / Σ exp(x[i])."""
    hold = np.empty(1, x.dtype)
    for i in range(part[0], part[1]):
        top = largest(bits, i, hold)
        total = x.dtype.type(0)
        for k in range(x.shape[1]):
            value = exp(x[i, k] - top)
            out[i, k] = value
            total += value
        for k in range(x.shape[1]):
            out[i, k] /= total


@kernel
def logsumexp(x: Any, bits: Any, part: Any, out: Any) -> None:
    """out[i] = log Σ exp(x[i])."""
    hold = np.empty(1, x.dtype)
    for i in range(part[0], part[1]):
        top = largest(bits, i, hold)
        total = x.dtype.type(0)
        for k in range(x.shape[1]):
            total += exp(x[i, k] - top)
        out[i] = top + log(total)


@kernel
def cross_entropy(x: Any, bits: Any, target: Any, part: Any, out: Any) -> None:
    """out[i] = log Σ exp(x[i]) - x[i, target[i]]; a target below 0 picks nothing."""
    hold = np.empty(1, x.dtype)
    for i in range(part[0], part[1]):
        top = largest(bits, i, hold)
        total = x.dtype.type(0)
        for k in range(x.shape[1]):
            total += exp(x[i, k] - top)
        chosen = x[i, target[i]] - top if target[i] >= 0 else -top
        out[i] = log(total) - chosen


@kernel
def softmax_error(x: Any, bits: Any, target: Any, y: Any, g: Any, part: Any, out: Any) -> None:
    """out[i] = g[i] (softmax(x[i]) - one_hot(target[i])), given y = cross_entropy(x, target)."""
    hold = np.empty(1, x.dtype)
    for i in range(part[0], part[1]):
        top = largest(bits, i, hold)
        chosen = x[i, target[i]] - top if target[i] >= 0 else -top
        size = y[i] + chosen  # log Σ exp(x[i] - top)
        for k in range(x.shape[1]):
            out[i, k] = exp(x[i, k] - top - size) * g[i]
        if target[i] >= 0:
            out[i, target[i]] -= g[i]
