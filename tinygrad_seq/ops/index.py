"""Indexing: slices and integer or boolean arrays, and looking categories up.

A category is an integer 0..K-1; -1 is none, whose one-hot vector is zero. Indices have no gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.ops.shape import Cotangents, shape_of
from tinygrad_seq.primitive import Primitive

ONCE = frozenset({int, slice, type(None), type(Ellipsis)})  # kinds of index that address each element once


class Key:
    """What stood in the brackets: opaque to rules, hashed by identity so that it may hold arrays."""

    __slots__ = ("value", "simple")

    def __init__(self, value: Any, simple: bool | None = None) -> None:
        self.value = value
        if simple is None:  # not known to be made of ints, slices, ... and None
            parts = value if type(value) is tuple else (value,)
            simple = all(type(p) in ONCE or isinstance(p, np.integer) for p in parts)
        self.simple = simple

    def __repr__(self) -> str:
        return repr(self.value)


def _scatter_add(g: Any, shape: tuple[int, ...], *, key: Key) -> Any:
    result = np.zeros(shape, g.dtype)
    if key.simple:
        result[key.value] = g
    else:
        np.add.at(result, key.value, g)
    return result


getitem = Primitive(
    "getitem",
    lambda x, *, key: x[key.value],
    shape=lambda s, *, key: np.broadcast_to(np.int8(0), s)[key.value].shape,
    tex=lambda x, *, key: rf"{x}[\mathtt{{{key}}}]",
    opaque=True,
    complex_numbers=True,
)
scatter_add = Primitive(
    "scatter_add",
    _scatter_add,
    shape=lambda g, s, *, key: s,
    tex=r"\operatorname{{scatter\_add}}({0})",
    opaque=True,
    complex_numbers=True,
)


@getitem.rule
def getitem_rule(g: Any, y: Any, x: Any, *, key: Key) -> Cotangents:
    return (scatter_add(g, shape_of(x), key=key),)


@scatter_add.rule
def scatter_add_rule(g: Any, y: Any, x: Any, shape: Any, *, key: Key) -> Cotangents:
    """`scatter_add(g, shape, key)`: zeros of that shape, g added at the key; repeated indices add up."""
    return (getitem(g, key=key), None)


# ---------------------------------------------------------------- categories


def _one_hot(index: Any, k: int) -> Any:
    index = np.asarray(index)
    flat = index.reshape(-1)
    result = np.zeros((flat.size, k), np.float32)
    known = np.flatnonzero((flat >= 0) & (flat < k))
    result[known, flat[known]] = 1
    return result.reshape(*index.shape, k)


def _lookup(w: Any, index: Any) -> Any:
    index = np.asarray(index)
    if w.ndim != 2:
        raise ValueError(f"lookup takes the columns of a matrix (H, K), not of an array of shape {w.shape}")
    if index.size and (index.max() >= w.shape[1] or index.min() < -1):
        raise ValueError(f"a category outside -1..{w.shape[1] - 1}: {index.min()}..{index.max()}")
    rows = w.T[index]
    none = index < 0
    if none.any():
        rows[none] = 0
    return rows


def _scatter_columns(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    index = np.asarray(index).reshape(-1)
    rows = np.broadcast_to(g, (*np.shape(index)[:0], *g.shape)).reshape(-1, g.shape[-1])
    result = np.zeros((shape[1], shape[0]), g.dtype)
    seen = index >= 0
    if not seen.all():
        index, rows = index[seen], rows[seen]
    if index.size:  # add rows of equal category up: sorted, then one sum a run
        order = np.argsort(index, kind="stable")
        index, rows = index[order], rows[order]
        first = np.flatnonzero(np.r_[True, index[1:] != index[:-1]])
        result[index[first]] = np.add.reduceat(rows, first, axis=0)
    return np.ascontiguousarray(result.T)


def _categorical_icdf(p: Any, u: Any) -> Any:
    """Inverse-CDF sampling (L. Devroye, "Non-Uniform Random Variate Generation", 1986, III.2): the smallest k whose
    p[0] + ... + p[k] exceeds u. Probabilities p (..., K) and uniform numbers u (...) in [0, 1) give integers (...).
    u = 0 gives the first category that is possible; what has probability 0 is never chosen, whatever the sums round
    to; where p has no positive number the result is -1, none.
    """
    p = np.asarray(p)
    before = np.cumsum(p, axis=-1, dtype=p.dtype)[..., :-1]
    below = np.concatenate([np.zeros_like(p[..., :1]), before], axis=-1) <= np.expand_dims(u, -1)
    possible = below & (p > 0)
    last = p.shape[-1] - 1 - np.argmax(possible[..., ::-1], axis=-1)
    return np.where(possible.any(axis=-1), last, -1)


one_hot = Primitive(
    "one_hot", _one_hot, shape=lambda i, k: (*i, k), tex=r"\mathbf{{1}}_{{{0}}}", kernel="one_hot({0}, {1})"
)
lookup = Primitive(
    "lookup", _lookup, shape=lambda w, i: (w[0],), tex=r"{0}_{{:,{1}}}", complex_numbers=True, mixes=True
)
scatter_columns = Primitive(
    "scatter_columns",
    _scatter_columns,
    shape=lambda g, i, s: s,
    tex=r"\textstyle\sum {0}\,\mathbf{{1}}_{{{1}}}^\top",
    complex_numbers=True,
)


categorical_icdf = Primitive(
    "categorical_icdf",
    _categorical_icdf,
    shape=lambda p, u: p[:-1],
    tex=r"F^{{-1}}_{{{0}}}\left({1}\right)",
)


@lookup.rule
def lookup_rule(g: Any, y: Any, w: Any, index: Any) -> Cotangents:
    return (scatter_columns(g, index, shape_of(w)), None)


@scatter_columns.rule
def scatter_columns_rule(g: Any, y: Any, x: Any, index: Any, shape: Any) -> Cotangents:
    """The sum over rows of outer(x, one_hot(index)): looking up is its adjoint."""
    return (lookup(g, index), None, None)
