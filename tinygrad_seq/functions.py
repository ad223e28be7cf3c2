"""The functions that users call: the primitives in the array API's signatures, and what is composed of them.

Everything takes arrays, tensors and plain numbers. No derivative is written here. Shapes and indices are in
`shapes`, matrices in `linalg`, losses and layers in files of their own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.ops.shape import axes_of
from tinygrad_seq.primitive import REGISTRY, is_complex
from tinygrad_seq.shapes import as_array, as_axis, concat, place, reshape, squeeze, take_along_axis

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "astype",
    "clip",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "dot",
    "gelu",
    "log_sigmoid",
    "log_softmax",
    "logcumsumexp",
    "logsumexp",
    "matmul",
    "max",
    "maxout",
    "mean",
    "median",
    "min",
    "norm",
    "prod",
    "silu",
    "softmax",
    "sort",
    "std",
    "sum",
    "var",
    "where",
]

_op = REGISTRY
_matmul = REGISTRY["matmul"]


# ---------------------------------------------------------------- reductions


def _cast(x: Any, dtype: Any) -> Any:
    return as_array(x) if dtype is None else _op["astype"](as_array(x), dtype=np.dtype(dtype).name)


def _widest(x: Any) -> Any:
    """Whole numbers and truths with 64 bits, as sums have them: products leave fewer soon."""
    x = as_array(x)
    return _cast(x, {"b": np.int64, "i": np.int64, "u": np.uint64}.get(x.dtype.kind))


def astype(x: Any, dtype: Any, /, *, copy: bool = True) -> Any:
    """The same numbers in another dtype; the gradient comes back in x's own. (`copy`: nobody can tell.)"""
    return _op["astype"](as_array(x), dtype=np.dtype(dtype).name)


def sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:  # noqa: A001
    """The sum over `axis` (an int, a tuple, or None for all), in `dtype` if one is given."""
    if dtype is not None:
        x = _cast(x, dtype)
    return _op["sum"](as_array(x), axis=as_axis(axis), keepdims=keepdims)


def mean(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean over `axis`; ValueError over nothing."""
    return _op["mean"](as_array(x), axis=as_axis(axis), keepdims=keepdims)


def max(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001
    """The maximum over `axis`; ties share the gradient equally."""
    return _op["max"](as_array(x), axis=as_axis(axis), keepdims=keepdims)


def min(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001
    """The minimum over `axis`; ties share the gradient equally."""
    return _op["min"](as_array(x), axis=as_axis(axis), keepdims=keepdims)


def logsumexp(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """log Σ exp(x) over `axis`, without overflow; -inf over nothing but -inf."""
    return _op["logsumexp"](as_array(x), axis=as_axis(axis), keepdims=keepdims)


def softmax(x: Any, /, *, axis: Any = -1) -> Any:
    """exp(x) / Σ exp(x) over `axis`."""
    return _op["softmax"](as_array(x), axis=as_axis(axis))


def log_softmax(x: Any, /, *, axis: Any = -1) -> Any:
    """x - logsumexp(x) over `axis`."""
    return _op["log_softmax"](as_array(x), axis=as_axis(axis))


def cumsum(x: Any, /, *, axis: int = -1) -> Any:
    """Running sums along `axis`."""
    return _op["cumsum"](as_array(x), axis=axis)


def _squared(x: Any) -> Any:
    """|x|²."""
    return _op["re"](x * _op["conj"](x)) if is_complex(x) else x * x


def var(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The variance over `axis`, divided by N - correction."""
    x = as_array(x)
    return sum(_squared(x - mean(x, axis=axis, keepdims=True)), axis=axis, keepdims=keepdims) / (
        _op["size"](x, axis=as_axis(axis)) - correction
    )


def std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The square root of `var`; its gradient is 0 where all values are equal."""
    return _root(var(x, axis=axis, correction=correction, keepdims=keepdims))


def norm(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The Euclidean norm over `axis`; its gradient at 0 is 0."""
    return _root(sum(_squared(as_array(x)), axis=axis, keepdims=keepdims))


def _root(total: Any) -> Any:
    """The square root of a sum of squares, of whose terms each has the slope 0 where the sum is 0."""
    nothing = _op["equal"](total, 0)
    return _op["where"](nothing, 0, _op["sqrt"](_op["where"](nothing, 1, total)))


def prod(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The product over `axis`, by halves: its derivatives of any order are right with zeros among x."""
    x = _widest(x) if dtype is None else _cast(x, dtype)
    rank = len(x.shape)
    for at in axes_of(as_axis(axis), rank):
        whole = (slice(None),) * at
        while (length := x.shape[at]) > 1:
            half = length // 2
            product = x[(*whole, slice(0, half))] * x[(*whole, slice(half, 2 * half))]
            x = product if length % 2 == 0 else concat((product, x[(*whole, slice(2 * half, None))]), axis=at)
        if length == 0:
            x = sum(x, axis=at, keepdims=True) + 1  # over nothing: 1
    return x if keepdims else squeeze(x, axis=axes_of(as_axis(axis), rank))


def cumprod(x: Any, /, *, axis: int = -1) -> Any:
    """Running products along `axis`, by doubling: right with zeros among x, in derivatives of any order."""
    return _doubled(_op["mul"], _widest(x), axis)


def _doubled(combine: Any, x: Any, axis: int) -> Any:
    """The running result of an associative operation (Hillis and Steele 1986)."""
    x = as_array(x)
    whole, length, step = (slice(None),) * place(axis, len(x.shape)), x.shape[axis], 1
    while step < length:
        later = combine(x[(*whole, slice(step, None))], x[(*whole, slice(0, length - step))])
        x = concat((x[(*whole, slice(0, step))], later), axis=axis)
        step *= 2
    return x


def logcumsumexp(x: Any, /, *, axis: int = -1) -> Any:
    """log of the running sums of exp(x) along `axis`, by doubling: without overflow, right at -inf."""
    return _doubled(_op["logaddexp"], x, axis)


def _with_initial(x: Any, axis: int | None, first: float, running: Any, include_initial: bool) -> Any:
    x = as_array(x)
    if axis is None:
        if len(x.shape) != 1:
            raise ValueError(f"running along which axis of shape {x.shape}? say axis=")
        axis = 0
    y = running(x, axis=axis)
    if not include_initial:
        return y
    shape = list(x.shape)
    shape[axis] = 1
    return concat((np.full(shape, first, y.dtype), y), axis=axis)


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """Running sums along `axis`; `include_initial`: 0 first."""
    return _with_initial(_cast(x, dtype), axis, 0, cumsum, include_initial)


def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """Running products along `axis`; `include_initial`: 1 first."""
    return _with_initial(_cast(x, dtype), axis, 1, cumprod, include_initial)


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    """Differences of neighbours along `axis`, n times; of `prepend`, x and `append` joined, where they are given."""
    parts = [p for p in (prepend, x, append) if p is not None]
    x = concat(parts, axis=axis) if len(parts) > 1 else as_array(x)
    whole = (slice(None),) * place(axis, len(x.shape))
    for _ in range(n):
        x = x[(*whole, slice(1, None))] - x[(*whole, slice(None, -1))]
    return x


def median(x: Any, /, *, axis: int = -1, keepdims: bool = False) -> Any:
    """The middle value along `axis`, the mean of two for an even count."""
    ordered = sort(x, axis=axis)
    whole, length = (slice(None),) * place(axis, len(ordered.shape)), ordered.shape[axis]
    return mean(ordered[(*whole, slice((length - 1) // 2, length // 2 + 1))], axis=axis, keepdims=keepdims)


# ---------------------------------------------------------------- order, truth: no derivative


def argmax(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the (first) maximum."""
    return _op["argmax"](as_array(x), axis=axis, keepdims=keepdims)


def argmin(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the (first) minimum."""
    return _op["argmin"](as_array(x), axis=axis, keepdims=keepdims)


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Positions that sort x along `axis`; equal elements always keep their order."""
    return _op["argsort"](as_array(x), axis=axis, descending=descending)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """x sorted along `axis`; gradients go back where the elements came from."""
    return take_along_axis(x, argsort(x, axis=axis, descending=descending), axis=axis)


def any(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001
    """Whether one element is not zero."""
    return _op["any"](as_array(x), axis=as_axis(axis), keepdims=keepdims)


def all(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001
    """Whether every element is not zero."""
    return _op["all"](as_array(x), axis=as_axis(axis), keepdims=keepdims)


def count_nonzero(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """How many elements are not zero."""
    return sum(_op["not_equal"](as_array(x), 0), axis=axis, keepdims=keepdims)


# ---------------------------------------------------------------- choices


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:  # noqa: A002
    """x between `min` and `max` (None: no bound); the gradient is 1 on the bounds."""
    x = as_array(x)
    kind = getattr(getattr(x, "dtype", None), "kind", "")
    if kind and kind in "iu" and (min is None or max is None):  # whole numbers have no infinity
        x = x if min is None else _op["maximum"](x, min)
        return x if max is None else _op["minimum"](x, max)
    return _op["clip"](x, -math.inf if min is None else min, math.inf if max is None else max)


def where(condition: Any, a: Any, b: Any, /) -> Any:
    """a where the condition holds, else b; the branch not taken sends no gradient, not even NaN."""
    return _op["where"](condition, a, b)


# ---------------------------------------------------------------- products


def matmul(a: Any, b: Any, /) -> Any:
    """NumPy's matrix product: vectors, matrices, and batches of matrices that broadcast."""
    a, b = as_array(a), as_array(b)
    first, second = a.shape, b.shape
    if len(first) == 2 == len(second) and first[1] == second[0]:  # nearly always
        return _matmul(a, b)
    rank, other = len(first), len(second)
    if not (rank and other):
        raise ValueError("matmul takes no scalars: use *")
    if first[-1] != second[-1 if other == 1 else -2]:
        raise ValueError(f"matrix product of shapes {first} and {second}: {first[-1]} columns meet other rows")
    if rank > 1 and other > 1:
        return _matmul(a, b)
    if other == 1:
        return _op["dot"](a, b) if rank == 1 else _op["matvec"](a, b)
    return _op["matvec"](_op["transpose"](b), a)


def dot(u: Any, v: Any, /) -> Any:
    """Σ u v over the last axis (nothing is conjugated); (…, n) and (…, n) give (…)."""
    return _op["dot"](as_array(u), as_array(v))


# ---------------------------------------------------------------- activations and transforms


def silu(x: Any, /) -> Any:
    """x σ(x) (Elfwing, Uchibe and Doya 2017)."""
    x = as_array(x)
    return x * _op["sigmoid"](x)


def gelu(x: Any, /) -> Any:
    """x Φ(x), Φ the normal distribution function (Hendrycks and Gimpel 2016)."""
    x = as_array(x)
    return x * (_op["erf"](x * math.sqrt(0.5)) + 1) * 0.5


def log_sigmoid(x: Any, /) -> Any:
    """log σ(x), without overflow."""
    return -_op["softplus"](-as_array(x))


def maxout(x: Any, pieces: int, /) -> Any:
    """The maximum of each group of `pieces` neighbouring features: (…, pieces*H) gives (…, H)
    (Goodfellow et al. 2013)."""
    x = as_array(x)
    if pieces < 1 or x.shape[-1] % pieces:
        raise ValueError(f"{x.shape[-1]} features do not form groups of {pieces}")
    return max(reshape(x, (*x.shape[:-1], x.shape[-1] // pieces, pieces)), axis=-1)
