"""The functions that users call: the primitives in the array API's signatures, and what is composed of them.

Everything takes arrays, tensors and plain numbers. No derivative is written here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.ops.index import Key
from tinygrad_seq.ops.shape import axes_of
from tinygrad_seq.primitive import REGISTRY

__all__ = [
    "broadcast_to",
    "clip",
    "concat",
    "cross_entropy",
    "cumsum",
    "embedding",
    "expand_dims",
    "flip",
    "log_softmax",
    "logsumexp",
    "matmul",
    "matrix_transpose",
    "max",
    "maxout",
    "mean",
    "min",
    "mse",
    "norm",
    "permute_dims",
    "prod",
    "reshape",
    "scatter_add",
    "softmax",
    "split",
    "squeeze",
    "stack",
    "std",
    "sum",
    "take",
    "var",
    "where",
]

_op = REGISTRY


def _axis(axis: Any) -> Any:
    return tuple(int(a) for a in axis) if isinstance(axis, list | tuple) else axis


def _array(x: Any) -> Any:
    """Lists and plain numbers as arrays; tensors, symbols and arrays as they are."""
    return x if getattr(x, "reading_level", 0) or isinstance(x, np.ndarray) else np.asarray(x)


# ---------------------------------------------------------------- reductions


def sum(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001
    """The sum over `axis` (an int, a tuple, or None for all)."""
    return _op["sum"](_array(x), axis=_axis(axis), keepdims=keepdims)


def mean(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean over `axis`; ValueError over nothing."""
    return _op["mean"](_array(x), axis=_axis(axis), keepdims=keepdims)


def max(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001
    """The maximum over `axis`; ties share the gradient equally."""
    return _op["max"](_array(x), axis=_axis(axis), keepdims=keepdims)


def min(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A001
    """The minimum over `axis`; ties share the gradient equally."""
    return _op["min"](_array(x), axis=_axis(axis), keepdims=keepdims)


def logsumexp(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """log Σ exp(x) over `axis`, without overflow; -inf over nothing but -inf."""
    return _op["logsumexp"](_array(x), axis=_axis(axis), keepdims=keepdims)


def softmax(x: Any, /, *, axis: Any = -1) -> Any:
    """exp(x) / Σ exp(x) over `axis`."""
    return _op["softmax"](_array(x), axis=_axis(axis))


def log_softmax(x: Any, /, *, axis: Any = -1) -> Any:
    """x - logsumexp(x) over `axis`."""
    return _op["log_softmax"](_array(x), axis=_axis(axis))


def cumsum(x: Any, /, *, axis: int = -1) -> Any:
    """Running sums along `axis`."""
    return _op["cumsum"](_array(x), axis=axis)


def var(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The variance over `axis`, divided by N - correction."""
    x = _array(x)
    centred = x - mean(x, axis=axis, keepdims=True)
    return sum(centred * centred, axis=axis, keepdims=keepdims) / (_op["size"](x, axis=_axis(axis)) - correction)


def std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The square root of `var`."""
    return _op["sqrt"](var(x, axis=axis, correction=correction, keepdims=keepdims))


def norm(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The Euclidean norm over `axis`; its gradient at 0 is 0."""
    total = sum(_op["square"](_array(x)), axis=axis, keepdims=keepdims)
    nothing = _op["equal"](total, 0)
    return _op["where"](nothing, 0, _op["sqrt"](_op["where"](nothing, 1, total)))


def prod(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The product over `axis`, by halves: its derivatives of any order are right with zeros among x."""
    x = _array(x)
    rank = len(x.shape)
    for at in axes_of(_axis(axis), rank):
        whole = (slice(None),) * at
        while (length := x.shape[at]) > 1:
            half = length // 2
            product = x[(*whole, slice(0, half))] * x[(*whole, slice(half, 2 * half))]
            x = product if length % 2 == 0 else concat((product, x[(*whole, slice(2 * half, None))]), axis=at)
        if length == 0:
            x = np.ones((*x.shape[:at], 1, *x.shape[at + 1 :]), x.dtype)
    return x if keepdims else squeeze(x, axis=axes_of(_axis(axis), rank))


# ---------------------------------------------------------------- shapes


def reshape(x: Any, /, shape: Any) -> Any:
    """The same elements in another shape; one dim may be -1."""
    x = _array(x)
    wanted = (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(d) for d in shape)
    if -1 in wanted:
        rest = math.prod(d for d in wanted if d != -1)
        size = math.prod(x.shape)
        if wanted.count(-1) > 1 or rest == 0 or size % rest:
            raise ValueError(f"shape {x.shape} cannot become {wanted}")
        wanted = tuple(size // rest if d == -1 else d for d in wanted)
    return _op["reshape"](x, wanted)


def permute_dims(x: Any, /, axes: Sequence[int]) -> Any:
    """Axes in another order."""
    return _op["permute_dims"](_array(x), axes=tuple(int(a) for a in axes))


def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged."""
    return _op["transpose"](_array(x))


def expand_dims(x: Any, /, *, axis: Any = 0) -> Any:
    """A dim of 1 at `axis` of the result."""
    return _op["expand"](_array(x), axis=_axis(axis))


def squeeze(x: Any, /, axis: Any) -> Any:
    """Without the dims of 1 at `axis`."""
    return _op["squeeze"](_array(x), axis=_axis(axis))


def broadcast_to(x: Any, /, shape: Sequence[int]) -> Any:
    """x repeated to `shape`, as NumPy broadcasts."""
    return _op["broadcast_to"](_array(x), tuple(int(d) for d in shape))


def flip(x: Any, /, *, axis: Any = None) -> Any:
    """Reversed along `axis`."""
    return _op["flip"](_array(x), axis=_axis(axis))


def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Any:
    """Arrays joined along an existing axis (None: flattened first)."""
    if axis is None:
        return _op["concat"](*(reshape(a, -1) for a in arrays), axis=0)
    return _op["concat"](*(_array(a) for a in arrays), axis=axis)


def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis."""
    return concat([expand_dims(a, axis=axis) for a in arrays], axis=axis)


def split(x: Any, /, sections: int | Sequence[int], *, axis: int = 0) -> list[Any]:
    """Cut along `axis`: into so many equal pieces, or at the given places."""
    x = _array(x)
    length = x.shape[axis]
    if isinstance(sections, int):
        if sections < 1 or length % sections:
            raise ValueError(f"{length} elements cannot be cut into {sections} equal pieces")
        sections = [length // sections * i for i in range(1, sections)]
    at = axis % len(x.shape)
    cuts = [0, *sections, length]
    return [x[(slice(None),) * at + (slice(a, b),)] for a, b in zip(cuts, cuts[1:], strict=False)]


# ---------------------------------------------------------------- choices and indices


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:  # noqa: A002
    """x between `min` and `max` (None: no bound); the gradient is 1 on the bounds."""
    return _op["clip"](_array(x), -math.inf if min is None else min, math.inf if max is None else max)


def where(condition: Any, a: Any, b: Any, /) -> Any:
    """a where the condition holds, else b; the branch not taken sends no gradient, not even NaN."""
    return _op["where"](condition, a, b)


def take(x: Any, indices: Any, /, *, axis: int = 0) -> Any:
    """Elements at integer `indices` along `axis`; repeated ones add their gradients up."""
    x = _array(x)
    index = indices.data if hasattr(indices, "edge") else np.asarray(indices)
    return _op["getitem"](x, key=Key((slice(None),) * (axis % len(x.shape)) + (index,)))


def scatter_add(shape: Sequence[int], key: Any, values: Any, /) -> Any:
    """Zeros of `shape` with `values` added at `key`; repeated indices add up."""
    return _op["scatter_add"](_array(values), tuple(shape), key=Key(key))


def embedding(weight: Any, indices: Any, /) -> Any:
    """Rows of `weight` (K, H) at integer `indices` (…): (…, H)."""
    return take(weight, indices, axis=0)


# ---------------------------------------------------------------- products


def matmul(a: Any, b: Any, /) -> Any:
    """NumPy's matrix product: vectors, matrices, and batches of matrices that broadcast."""
    a, b = _array(a), _array(b)
    ranks = (len(a.shape), len(b.shape))
    if 0 in ranks:
        raise ValueError("matmul takes no scalars: use *")
    if a.shape[-1] != b.shape[-1 if ranks[1] == 1 else -2]:
        raise ValueError(f"matrix product of shapes {a.shape} and {b.shape}: {a.shape[-1]} columns meet other rows")
    if ranks == (1, 1):
        return _op["dot"](a, b)
    if ranks[1] == 1:
        return _op["matvec"](a, b)
    if ranks[0] == 1:
        return _op["matvec"](_op["transpose"](b), a)
    return _op["matmul"](a, b)


def maxout(x: Any, pieces: int, /) -> Any:
    """The maximum of each group of `pieces` neighbouring features: (…, pieces*H) gives (…, H)
    (Goodfellow et al. 2013)."""
    x = _array(x)
    if pieces < 1 or x.shape[-1] % pieces:
        raise ValueError(f"{x.shape[-1]} features do not form groups of {pieces}")
    return max(reshape(x, (*x.shape[:-1], x.shape[-1] // pieces, pieces)), axis=-1)


# ---------------------------------------------------------------- losses


def cross_entropy(logits: Any, target: Any, /) -> Any:
    """-log softmax(logits)[target]: (…, K) and integers (…) give (…), nothing averaged."""
    return _op["cross_entropy"](_array(logits), target)


def mse(prediction: Any, target: Any, /) -> Any:
    """The mean of the squared differences."""
    return mean(_op["square"](_array(prediction) - target))
