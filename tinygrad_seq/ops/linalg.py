"""Products of matrices and vectors. On values the leading axes are the batch; on symbols there is none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.ops import multiply
from tinygrad_seq.ops.elementwise import conj
from tinygrad_seq.ops.multiply import rows
from tinygrad_seq.ops.shape import Cotangents, expand, sum_to, transpose
from tinygrad_seq.primitive import Primitive


def _matvec(w: Any, x: Any) -> Any:
    if w.ndim == 2:
        return multiply.matmul(x, w.T)
    return np.matmul(w, x[..., None])[..., 0]


def _dot(u: Any, v: Any) -> Any:
    if np.ndim(u) == 1 and np.ndim(v) == 1:
        return np.dot(u, v)
    return np.einsum("...i,...i->...", u, v)


def _outer(u: Any, v: Any) -> Any:
    return u[..., :, None] * v[..., None, :]


def _outer_sum(u: Any, v: Any, shape: tuple[int, ...]) -> Any:
    if len(shape) != 2 or u.shape[:-1] != v.shape[:-1]:
        return sum_to.impl(_outer(u, v), shape)
    return multiply.matmul(rows(u).T, rows(v))


def _matmul_sum(a: Any, b: Any, shape: tuple[int, ...]) -> Any:
    if len(shape) != 2 or a.shape[:-1] != b.shape[:-1]:
        return sum_to.impl(np.matmul(np.swapaxes(a, -1, -2), b), shape)
    return multiply.matmul(rows(a).T, rows(b))


class Product:
    """aᵀb over all rows of a and b, not multiplied yet: many of one weight become one product over all their rows.

    Every entry of a weight's gradient is read and written once for each product added up; for the few rows of one
    step of an unrolled loop that is most of the work.
    """

    __slots__ = ("left", "right", "rows", "shape")
    dtype = None  # unlike any array's, by which the tape knows it
    FEW = 128  # rows below which it is worth waiting for more
    ENOUGH = 128  # rows at which nothing more is gained, and the rows still fit into the cache

    def __init__(self, left: Any, right: Any, shape: tuple[int, ...]) -> None:
        self.left, self.right, self.shape = [left], [right], shape
        self.rows = math.prod(left.shape[:-1])

    def join(self, other: Product) -> None:
        self.left += other.left
        self.right += other.right
        self.rows += other.rows

    def array(self) -> Any:
        if len(self.left) == 1:
            return multiply.matmul(rows(self.left[0]).T, rows(self.right[0]))
        left, right = (np.concatenate([rows(x) for x in side]) for side in (self.left, self.right))
        return multiply.matmul(left.T, right)


def delayed(op: Primitive) -> Any:
    """The value of `outer_sum` or `matmul_sum`, as a `Product` where waiting pays."""

    def value(a: Any, b: Any, shape: tuple[int, ...]) -> Any:
        if len(shape) != 2 or a.shape[:-1] != b.shape[:-1] or math.prod(a.shape[:-1]) >= Product.FEW:
            return op.impl(a, b, shape)
        return Product(a, b, shape)

    return value


def _matvec_shape(w: tuple[Any, ...], x: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(w) != 2 or len(x) != 1 or w[1] != x[0]:
        raise ValueError(f"matrix product of shapes {w} and {x}")
    return (w[0],)


def _dot_shape(u: tuple[Any, ...], v: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(u) != 1 or len(v) != 1 or u[0] != v[0]:
        raise ValueError(f"inner product of shapes {u} and {v}")
    return ()


def _matmul_shape(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise ValueError(f"matrix product of shapes {a} and {b}")
    return (*a[:-1], b[-1])


matvec = Primitive("matvec", _matvec, shape=_matvec_shape, tex=r"{0}\,{1}", infix="@", complex_numbers=True, mixes=True)
dot = Primitive("dot", _dot, shape=_dot_shape, tex=r"{0}^\top {1}", infix="@", complex_numbers=True, mixes=True)
matmul = Primitive(
    "matmul", multiply.matmul, shape=_matmul_shape, tex=r"{0}\,{1}", infix="@", complex_numbers=True, mixes=True
)
outer = Primitive("outer", _outer, shape=lambda u, v: (u[0], v[0]), tex=r"{0}\,{1}^\top", complex_numbers=True)
outer_sum = Primitive(
    "outer_sum", _outer_sum, shape=lambda u, v, s: s, tex=r"\textstyle\sum {0}\,{1}^\top", complex_numbers=True
)

matmul_sum = Primitive(
    "matmul_sum", _matmul_sum, shape=lambda a, b, s: s, tex=r"\textstyle\sum {0}^\top {1}", complex_numbers=True
)


@matvec.rule
def matvec_rule(g: Any, y: Any, w: Any, x: Any) -> Cotangents:
    return (outer(g, conj(x)), matvec(transpose(conj(w)), g))


@dot.rule
def dot_rule(g: Any, y: Any, u: Any, v: Any) -> Cotangents:
    return (expand(g, axis=-1) * conj(v), expand(g, axis=-1) * conj(u))


@matmul.rule
def matmul_rule(g: Any, y: Any, a: Any, b: Any) -> Cotangents:
    return (matmul(g, transpose(conj(b))), matmul(transpose(conj(a)), g))


@outer.rule
def outer_rule(g: Any, y: Any, u: Any, v: Any) -> Cotangents:
    return (matvec(g, conj(v)), matvec(transpose(g), conj(u)))


@outer_sum.rule
def outer_sum_rule(g: Any, y: Any, u: Any, v: Any, shape: Any) -> Cotangents:
    """`outer_sum(u, v, shape)` adds the outer products of a batch up without forming each."""
    return (matvec(g, conj(v)), matvec(transpose(g), conj(u)), None)


@matmul_sum.rule
def matmul_sum_rule(g: Any, y: Any, a: Any, b: Any, shape: Any) -> Cotangents:
    """`matmul_sum(a, b, shape)` is matmul(transpose(a), b) added up over the batch, as one product."""
    return (matmul(conj(b), transpose(g)), matmul(conj(a), g), None)
