"""Reductions and normalisations along axes.

`axis` is an int, a tuple of ints, None for all of them, or, on symbols, the name of a time axis; the
rules therefore speak of axes only through `expand`, `broadcast_to(·, shape_of(x))`, `size` and sums that
keep their dims.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.loops import load
from tinygrad_seq.ops.elementwise import equal, exp, where
from tinygrad_seq.ops.multiply import spread
from tinygrad_seq.ops.shape import Axis, Cotangents, axes_of, broadcast_to, expand, shape_of, size
from tinygrad_seq.primitive import Primitive

COMPILED = 20_000  # elements from which a compiled softmax is worth its call
EXPONENTIAL = 32  # multiply-adds that take as long as one, with what is around it
PASS = 8  # and as long as reading or writing an element of a large array
BLOCK = 256  # columns that are worked on together
_ADD: Any = np.add.reduce  # what np.sum ends in, without the ways there
_MAXIMUM: Any = np.maximum.reduce
_MINIMUM: Any = np.minimum.reduce


def _reduced(s: tuple[Any, ...], *, axis: Any = None, keepdims: bool = False) -> tuple[Any, ...]:
    gone = axes_of(axis, len(s))
    return tuple(1 if i in gone else d for i, d in enumerate(s) if keepdims or i not in gone)


def _kept(g: Any, axis: Axis, keepdims: bool) -> Any:
    """g with the reduced axes back as dims of 1, so that it broadcasts against what was reduced."""
    return g if keepdims or axis is None else expand(g, axis=axis)


# ---------------------------------------------------------------- compiled loops


def as_blocks(x: Any, axis: Any) -> Any:
    """Many elements as (outer, reduced, inner) for the compiled loops; None when NumPy does it."""
    if not isinstance(x, np.ndarray) or x.size < COMPILED or x.dtype.char not in "fd" or not x.flags.c_contiguous:
        return None
    axes = sorted(axes_of(axis, x.ndim))
    if not axes or axes[-1] - axes[0] != len(axes) - 1:
        return None
    first, behind = axes[0], axes[-1] + 1
    return x.reshape(math.prod(x.shape[:first]), math.prod(x.shape[first:behind]), math.prod(x.shape[behind:]))


def _real(x: Any) -> Any:
    """Integers and truth values as numbers that have infinities."""
    return np.asarray(x, np.float64) if np.asarray(x).dtype.kind in "iub" else x


def as_rows(x: Any, axis: Any) -> Any:
    """Many elements over their last axes as a matrix for the compiled loops; None when NumPy does it."""
    blocks = as_blocks(x, axis)
    return None if blocks is None or blocks.shape[2] != 1 else blocks[..., 0]


def over_rows(name: str, out: Any, rows: Any, *others: Any, cost: int = EXPONENTIAL) -> None:
    """A loop of `loops.softmax` over the rows, side by side where it is worth while."""
    spread(getattr(load("softmax"), name), (rows, *others, out), len(rows), rows.size * cost)


def _pulled(file: str, name: str, g: Any, y: Any, x: Any, axis: Any, cost: int, block: tuple[int, ...]) -> Any:
    """What a reduction's element gets, by the loops `name` (of rows) and `name_across`; None when the rule does it."""
    blocks = as_blocks(x, axis)
    if blocks is None or not g.dtype == y.dtype == x.dtype:
        return None
    outer, count, inner = blocks.shape
    out, loops, work = np.empty(x.shape, x.dtype), load(file), x.size * cost
    g, y = np.ascontiguousarray(g), np.ascontiguousarray(y)
    if inner == 1:
        spread(getattr(loops, name), (blocks[..., 0], y.reshape(-1), g.reshape(-1), out), outer, work)
        return out
    args = blocks, y.reshape(outer, inner), g.reshape(outer, inner), out, *block
    spread(getattr(loops, f"{name}_across"), args, outer * (-(-inner // block[0]) if block else count), work)
    return out


# ---------------------------------------------------------------- sums


def _has_axis(x: Any, axis: Any, what: str) -> None:
    """NumPy lets a scalar have an axis 0 in some functions and not in others; here it never has."""
    if axis is not None and axis != () and not np.ndim(x):
        raise ValueError(f"{what} over axis {axis} of a scalar, which has none")


def _sum(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    _has_axis(x, axis, "a sum")
    if type(x) is np.ndarray and x.size >= COMPILED:
        rows = as_rows(x, axis)
        if rows is not None:
            return _summed(x, rows, axis, keepdims)
    return _ADD(x, axis=axis, keepdims=keepdims)


def _summed(x: Any, rows: Any, axis: Any, keepdims: bool) -> Any:
    out = np.empty(len(rows), x.dtype)
    spread(load("reduce").sums, (rows, out), len(rows), x.size * PASS)
    return out.reshape(_reduced(x.shape, axis=axis, keepdims=keepdims))


def _mean(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    _has_axis(x, axis, "a mean")
    if not np.size(x) and 0 in (np.shape(x)[a] for a in axes_of(axis, np.ndim(x))):
        raise ValueError(f"mean over nothing: shape {np.shape(x)}, axis {axis}")
    rows = as_rows(x, axis)
    if rows is not None:
        return _summed(x, rows, axis, keepdims) / x.dtype.type(rows.shape[1])
    return np.mean(x, axis=axis, keepdims=keepdims)


sum_ = Primitive(
    "sum", _sum, shape=_reduced, tex=r"\textstyle\sum {0}", complex_numbers=True, costly=True, bounded=True
)
mean = Primitive("mean", _mean, shape=_reduced, tex=r"\operatorname{{mean}}({0})", complex_numbers=True, bounded=True)
cumsum = Primitive(
    "cumsum",
    lambda x, *, axis=-1, reverse=False: (
        np.flip(np.cumsum(np.flip(x, axis), axis=axis), axis) if reverse else np.cumsum(x, axis=axis)
    ),
    shape=lambda s, *, axis=-1, reverse=False: s,
    tex=r"\operatorname{{cumsum}}({0})",
    complex_numbers=True,
    mixes=True,
)


@sum_.rule
def sum_rule(g: Any, y: Any, x: Any, *, axis: Axis = None, keepdims: bool = False) -> Cotangents:
    return (broadcast_to(_kept(g, axis, keepdims), shape_of(x)),)


@mean.rule
def mean_rule(g: Any, y: Any, x: Any, *, axis: Axis = None, keepdims: bool = False) -> Cotangents:
    return (broadcast_to(_kept(g, axis, keepdims) / size(x, axis=axis), shape_of(x)),)


@cumsum.rule
def cumsum_rule(g: Any, y: Any, x: Any, *, axis: int = -1, reverse: bool = False) -> Cotangents:
    return (cumsum(g, axis=axis, reverse=not reverse),)


def _fill(x: Any, *, dims: tuple[int, ...]) -> Any:
    x = np.asarray(x)
    return np.broadcast_to(x.reshape(x.shape + (1,) * len(dims)), x.shape + tuple(int(d) for d in dims))


fill = Primitive(
    "fill", _fill, shape=lambda x, *, dims: tuple(dims), tex=r"\mathbf{{1}}\,{0}", complex_numbers=True, bounded=True
)


@fill.rule
def fill_rule(g: Any, y: Any, x: Any, *, dims: tuple[int, ...]) -> Cotangents:
    """A value of one number everywhere: (…) gives (…, *dims)."""
    return (sum_(g, axis=tuple(range(-len(dims), 0))),)


# ---------------------------------------------------------------- extrema


def _max(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    _has_axis(x, axis, "a maximum")
    return _MAXIMUM(x, axis=axis, keepdims=keepdims)


def _min(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    _has_axis(x, axis, "a minimum")
    return _MINIMUM(x, axis=axis, keepdims=keepdims)


max_ = Primitive("max", _max, shape=_reduced, tex=r"\max({0})", costly=True, bounded=True)
min_ = Primitive("min", _min, shape=_reduced, tex=r"\min({0})", costly=True, bounded=True)


def extremum_rule(g: Any, y: Any, x: Any, *, axis: Axis = None, keepdims: bool = False) -> Cotangents:
    """Every element that attains the extremum gets an equal share."""
    top = equal(x, _kept(y, axis, keepdims))
    shared = _kept(g, axis, keepdims) / sum_(top, axis=axis, keepdims=True)
    return (where(top, shared, 0),)


max_.rule(extremum_rule)
min_.rule(extremum_rule)


@max_.on_arrays(reads_y=True)
@min_.on_arrays(reads_y=True)
def extremum_pull(g: Any, y: Any, x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return _pulled("reduce", "extremum_pull", g, y, x, axis, 2 * PASS, (BLOCK,))


# ---------------------------------------------------------------- the softmax family


def _finite_max(x: Any, axis: Any) -> Any:
    """The maximum to subtract before an exponential: 0 instead of an infinity, which would give NaN."""
    top = np.max(x, axis=axis, keepdims=True, initial=-math.inf)
    return np.where(np.isfinite(top), top, np.zeros((), top.dtype))


def _logsumexp(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    blocks = as_blocks(x, axis)
    if blocks is not None:
        outer, _, inner = blocks.shape
        result = np.empty((outer, inner), x.dtype)
        if inner == 1:
            over_rows("logsumexp", result[:, 0], blocks[..., 0])
        else:
            args, count = (blocks, result, BLOCK), outer * -(-inner // BLOCK)
            spread(load("softmax").logsumexp_across, args, count, x.size * EXPONENTIAL)
        return result.reshape(_reduced(x.shape, axis=axis, keepdims=keepdims))
    x = _real(x)
    top = _finite_max(x, axis)
    with np.errstate(divide="ignore", over="ignore"):
        y = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else np.squeeze(y, axis=axes_of(axis, np.ndim(x)))


def _softmax(x: Any, *, axis: Any = -1) -> Any:
    rows = as_rows(x, axis)
    if rows is not None:
        return _each("softmax", rows).reshape(x.shape)
    x = _real(x)
    with np.errstate(invalid="ignore", over="ignore"):
        e = np.exp(x - _finite_max(x, axis))
        return e / np.sum(e, axis=axis, keepdims=True)


def _each(name: str, rows: Any) -> Any:
    out = np.empty(rows.shape, rows.dtype)
    over_rows(name, out, rows)
    return out


def _log_softmax(x: Any, *, axis: Any = -1) -> Any:
    rows = as_rows(x, axis)
    if rows is not None:
        return _each("log_softmax", rows).reshape(x.shape)
    with np.errstate(invalid="ignore"):
        return x - _logsumexp(x, axis=axis, keepdims=True)


logsumexp = Primitive("logsumexp", _logsumexp, shape=_reduced, tex=r"\operatorname{{logsumexp}}({0})", bounded=True)
softmax = Primitive(
    "softmax", _softmax, shape=lambda s, *, axis=-1: s, tex=r"\operatorname{{softmax}}({0})", activation=True
)
log_softmax = Primitive(
    "log_softmax",
    _log_softmax,
    shape=lambda s, *, axis=-1: s,
    tex=r"\log\operatorname{{softmax}}({0})",
    activation=True,
)


@logsumexp.rule
def logsumexp_rule(g: Any, y: Any, x: Any, *, axis: Axis = None, keepdims: bool = False) -> Cotangents:
    """g * exp(x - y), but 0 for an element that is -inf, where y may be -inf too."""
    weight = exp(x - _kept(y, axis, keepdims))
    return (where(equal(x, -math.inf), 0, _kept(g, axis, keepdims) * weight),)


@logsumexp.on_arrays(reads_y=True)
def logsumexp_pull(g: Any, y: Any, x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return _pulled("softmax", "logsumexp_pull", g, y, x, axis, EXPONENTIAL, ())


@softmax.rule
def softmax_rule(g: Any, y: Any, x: Any, *, axis: Axis = -1) -> Cotangents:
    return (y * (g - sum_(g * y, axis=axis, keepdims=True)),)


@softmax.on_arrays()
def softmax_pull(g: Any, y: Any, x: None, *, axis: Axis = -1) -> Any:
    return _row_by_row("softmax_pull", g, y, axis, 2 * PASS)


def _row_by_row(name: str, g: Any, y: Any, axis: Any, cost: int) -> Any:
    rows = as_rows(y, axis)
    if rows is None or g.dtype != y.dtype:
        return None
    out = np.empty(y.shape, y.dtype)
    over_rows(name, out.reshape(rows.shape), np.ascontiguousarray(g).reshape(rows.shape), rows, cost=cost)
    return out


@log_softmax.rule
def log_softmax_rule(g: Any, y: Any, x: Any, *, axis: Axis = -1) -> Cotangents:
    return (g - exp(y) * sum_(g, axis=axis, keepdims=True),)


@log_softmax.on_arrays()
def log_softmax_pull(g: Any, y: Any, x: None, *, axis: Axis = -1) -> Any:
    return _row_by_row("log_softmax_pull", g, y, axis, EXPONENTIAL)


# ---------------------------------------------------------------- order and truth, no derivative


def _argsort(x: Any, *, axis: int = -1, descending: bool = False) -> Any:
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    return np.flip(np.shape(x)[axis] - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)


argmax = Primitive(
    "argmax",
    lambda x, *, axis=None, keepdims=False: np.argmax(x, axis=axis, keepdims=keepdims),
    shape=_reduced,
    tex=r"\arg\max({0})",
)
argmin = Primitive(
    "argmin",
    lambda x, *, axis=None, keepdims=False: np.argmin(x, axis=axis, keepdims=keepdims),
    shape=_reduced,
    tex=r"\arg\min({0})",
)
argsort = Primitive("argsort", _argsort, shape=lambda s, *, axis=-1, descending=False: s)
any_ = Primitive(
    "any",
    lambda x, *, axis=None, keepdims=False: np.any(x, axis=axis, keepdims=keepdims),
    shape=_reduced,
    complex_numbers=True,
)
all_ = Primitive(
    "all",
    lambda x, *, axis=None, keepdims=False: np.all(x, axis=axis, keepdims=keepdims),
    shape=_reduced,
    complex_numbers=True,
)
