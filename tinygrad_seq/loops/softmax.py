"""The softmax family over the rows of a matrix, each row read while it is in the cache.

`x` (N, K) are the rows; `part` says which of them are meant, part[0]..part[1]-1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinygrad_seq.kernels import formulas
from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.math import log, maximum
from tinygrad_seq.kernels.memory import slots

(load_from, _), (load_into, store_into) = slots(2, "softmax")


@intrinsic  # type: ignore[untyped-decorator]
def exp(typing: Any, x: Any) -> Any:
    """e^x of a difference from the row's maximum: x <= 0, for which half the instructions do, or infinity."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        format = formulas.DOUBLE if signature.return_type.bitwidth == 64 else formulas.SINGLE
        number = formulas.Real(builder, format, args[0])
        return number.choose(number.compare(">", 1.0), math.inf, formulas.exp_below(number)).value

    return x(x), code


@intrinsic  # type: ignore[untyped-decorator]
def ordered(typing: Any, x: Any) -> Any:
    """A number's bit pattern as an integer, those of negative numbers turned round: in the numbers' own order, NaN
    beyond infinity. Of integers a maximum becomes vector code."""
    whole = types.int64 if x.bitwidth == 64 else types.int32

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _turned(builder, builder.bitcast(args[0], ir.IntType(x.bitwidth)))

    return whole(x), code


@intrinsic  # type: ignore[untyped-decorator]
def number(typing: Any, pattern: Any, like: Any) -> Any:
    """The number that `ordered` made the pattern of."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = context.cast(builder, args[0], pattern, types.int64 if like.bitwidth == 64 else types.int32)
        return builder.bitcast(_turned(builder, bits), context.get_value_type(like))

    return like(pattern, like), code


def _turned(builder: Any, bits: Any) -> Any:
    sign, rest = (ir.Constant(bits.type, n) for n in (bits.type.width - 1, (1 << (bits.type.width - 1)) - 1))
    return builder.xor(bits, builder.and_(builder.ashr(bits, sign), rest))


@kernel
def largest(x: Any, start: int, count: int) -> Any:
    """The maximum of a row, to subtract before an exponential; instead of an infinity, which would give NaN, the
    largest number, or 0 for -inf."""
    top = ordered(load_from(x, start))
    for k in range(start, start + count):
        top = max(top, ordered(load_from(x, k)))
    found = number(top, load_from(x, start))
    if np.isinf(found):
        return number(top - 1, found) if found > 0 else x.dtype.type(0)
    return found


@kernel
def softmax(x: Any, out: Any, part: Any) -> None:
    """out[i] = exp(x[i]) / Σ exp(x[i])."""
    count = x.shape[1]
    for start in range(part[0] * count, part[1] * count, count):
        top, total = largest(x, start, count), x.dtype.type(0)
        for k in range(start, start + count):
            value = exp(load_from(x, k) - top)
            store_into(out, k, value)
            total += value
        for k in range(start, start + count):
            store_into(out, k, load_into(out, k) / total)


@kernel
def softmax_pull(g: Any, y: Any, out: Any, part: Any) -> None:
    """out[i] = y[i] (g[i] - Σ g[i] y[i])."""
    count = y.shape[1]
    for start in range(part[0] * count, part[1] * count, count):
        along = y.dtype.type(0)
        for k in range(start, start + count):
            along += load_from(g, k) * load_from(y, k)
        for k in range(start, start + count):
            store_into(out, k, load_from(y, k) * (load_from(g, k) - along))


@kernel
def exponentials(x: Any, start: int, count: int, top: Any) -> Any:
    """Σ exp(x[i] - top) of a row."""
    total = x.dtype.type(0)
    for k in range(start, start + count):
        total += exp(load_from(x, k) - top)
    return total


@kernel
def logsumexp(x: Any, out: Any, part: Any) -> None:
    """out[i] = log Σ exp(x[i])."""
    count = x.shape[1]
    for i in range(part[0], part[1]):
        top = largest(x, i * count, count)
        out[i] = top + log(exponentials(x, i * count, count, top))


@kernel
def log_softmax(x: Any, out: Any, part: Any) -> None:
    """out[i] = x[i] - log Σ exp(x[i])."""
    count = x.shape[1]
    for start in range(part[0] * count, part[1] * count, count):
        top = largest(x, start, count)
        size = log(exponentials(x, start, count, top))
        for k in range(start, start + count):
            store_into(out, k, load_from(x, k) - top - size)


@kernel
def log_softmax_pull(g: Any, y: Any, out: Any, part: Any) -> None:
    """out[i] = g[i] - exp(y[i]) Σ g[i]."""
    count = y.shape[1]
    for start in range(part[0] * count, part[1] * count, count):
        total = y.dtype.type(0)
        for k in range(start, start + count):
            total += load_from(g, k)
        for k in range(start, start + count):
            store_into(out, k, load_from(g, k) - exp(load_from(y, k)) * total)


@kernel
def logsumexp_across(x: Any, out: Any, block: int, part: Any) -> None:
    """out[o, q] = log Σ exp(x[o, :, q]); parts are blocks of so many columns."""
    count, inner = x.shape[1], x.shape[2]
    blocks = (inner + block - 1) // block
    tops, totals = np.empty(block, x.dtype), np.empty(block, x.dtype)
    for i in range(part[0], part[1]):
        o, first = i // blocks, i % blocks * block
        n, start = min(block, inner - first), o * count * inner + first
        for q in range(n):
            tops[q] = load_from(x, start + q)
        for k in range(1, count):
            for q in range(n):
                tops[q] = maximum(tops[q], load_from(x, start + k * inner + q))
        for q in range(n):
            totals[q] = x.dtype.type(0)
            if np.isinf(tops[q]):
                tops[q] = number(ordered(tops[q]) - 1, tops[q]) if tops[q] > 0 else x.dtype.type(0)
        for k in range(count):
            for q in range(n):
                totals[q] += exp(load_from(x, start + k * inner + q) - tops[q])
        for q in range(n):
            out[o, first + q] = tops[q] + log(totals[q])


@kernel
def share(x: Any, y: Any, g: Any) -> Any:
    """g exp(x - y), what an element has in y = log Σ exp(x) times g; of -inf 0, whatever y is."""
    weight = exp(x - y) * g
    return type(weight)(0) if x == -math.inf else weight


@kernel
def logsumexp_pull(x: Any, y: Any, g: Any, out: Any, part: Any) -> None:
    """out[i] = g[i] exp(x[i] - y[i])."""
    count = x.shape[1]
    for i in range(part[0], part[1]):
        size, weight = y[i], g[i]
        for k in range(i * count, (i + 1) * count):
            store_into(out, k, share(load_from(x, k), size, weight))


@kernel
def logsumexp_pull_across(x: Any, y: Any, g: Any, out: Any, part: Any) -> None:
    """out[o, k] = g[o] exp(x[o, k] - y[o]); parts are of all rows (o, k)."""
    count, inner = x.shape[1], x.shape[2]
    for i in range(part[0], part[1]):
        o = i // count
        for q in range(inner):
            store_into(out, i * inner + q, share(load_from(x, i * inner + q), y[o, q], g[o, q]))


@kernel
def cross_entropy(x: Any, target: Any, out: Any, part: Any) -> None:
    """out[i] = log Σ exp(x[i]) - x[i, target[i]]; a target below 0 picks nothing."""
    count = x.shape[1]
    for i in range(part[0], part[1]):
        top = largest(x, i * count, count)
        chosen = x[i, target[i]] - top if target[i] >= 0 else -top
        out[i] = log(exponentials(x, i * count, count, top)) - chosen


@kernel
def softmax_error(x: Any, target: Any, y: Any, g: Any, out: Any, part: Any) -> None:
    """out[i] = g[i] (softmax(x[i]) - one_hot(target[i])), given y = cross_entropy(x, target)."""
    count = x.shape[1]
    for i in range(part[0], part[1]):
        top, weight = largest(x, i * count, count), g[i]
        chosen = x[i, target[i]] - top if target[i] >= 0 else -top
        size = y[i] + chosen  # log Σ exp(x[i] - top)
        for k in range(i * count, (i + 1) * count):
            store_into(out, k, exp(load_from(x, k) - top - size) * weight)
        if target[i] >= 0:
            out[i, target[i]] -= weight
