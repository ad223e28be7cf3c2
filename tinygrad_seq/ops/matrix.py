"""Linear algebra on the last two axes, and einsum. The axes before them are batches.

Rules follow M. Giles, Collected matrix derivative results for forward and reverse mode algorithmic
differentiation, 2008, and I. Murray, Differentiation of the Cholesky decomposition, 2016; over the
complex numbers with conjugates where the adjoint needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_seq.ops.elementwise import conj, im
from tinygrad_seq.ops.linalg import matmul
from tinygrad_seq.ops.reduce import sum_
from tinygrad_seq.ops.shape import Cotangents, expand, transpose
from tinygrad_seq.primitive import Primitive


def adjoint(x: Any) -> Any:
    """xᴴ."""
    return transpose(conj(x))


def _same(s: Any, **static: Any) -> Any:
    return s


# ---------------------------------------------------------------- triangles


def _triangle(name: str) -> Callable[..., str]:
    """The typeset call; which diagonal is the last one stands below."""
    return lambda x, *, k=0: rf"\operatorname{{{name}}}{f'_{{{k}}}' if k else ''}\left({x}\right)"


tril = Primitive("tril", lambda x, *, k=0: np.tril(x, k), shape=_same, tex=_triangle("tril"), complex_numbers=True)
triu = Primitive("triu", lambda x, *, k=0: np.triu(x, k), shape=_same, tex=_triangle("triu"), complex_numbers=True)


@tril.rule
def tril_rule(g: Any, y: Any, x: Any, *, k: int = 0) -> Cotangents:
    return (tril(g, k=k),)


@triu.rule
def triu_rule(g: Any, y: Any, x: Any, *, k: int = 0) -> Cotangents:
    return (triu(g, k=k),)


# ---------------------------------------------------------------- inverses and determinants


def _cofactor(a: Any) -> Any:
    """det(a) a⁻ᵀ without a division, from a = U diag(s) V: right for singular matrices too."""
    n = a.shape[-1]
    u, s, v = np.linalg.svd(a)
    s = np.broadcast_to(s[..., None, :], (*s.shape[:-1], n, n))
    others = np.prod(np.where(np.eye(n, dtype=bool), np.ones((), s.dtype), s), axis=-1)
    turn = (np.linalg.det(u) * np.linalg.det(v))[..., None, None]
    return turn * np.matmul(np.conjugate(u) * others[..., None, :], np.conjugate(v))


solve = Primitive("solve", np.linalg.solve, shape=lambda a, b: b, tex="{0}^{{-1}} {1}", complex_numbers=True)
inv = Primitive("inv", np.linalg.inv, shape=_same, tex="{0}^{{-1}}", complex_numbers=True)
det = Primitive("det", np.linalg.det, shape=lambda s: s[:-2], tex=r"\det({0})", complex_numbers=True)
cofactor = Primitive("cofactor", _cofactor, shape=_same, tex=r"\operatorname{{cof}}({0})", complex_numbers=True)
logabsdet = Primitive(
    "logabsdet",
    lambda a: np.linalg.slogdet(a)[1],
    shape=lambda s: s[:-2],
    tex=r"\log\left|\det({0})\right|",
    complex_numbers=True,
)
det_sign = Primitive(
    "det_sign",
    lambda a: np.linalg.slogdet(a)[0],
    shape=lambda s: s[:-2],
    tex=r"\operatorname{{sign}}\det({0})",
    complex_numbers=True,
)


def _matrix(g: Any) -> Any:
    """A number for each matrix, as a matrix of one element."""
    return expand(g, axis=(-2, -1))


@solve.rule
def solve_rule(g: Any, y: Any, a: Any, b: Any) -> Cotangents:
    """a⁻¹b for matrices (…, n, n) and (…, n, k)."""
    gb = solve(adjoint(a), g)
    return (-matmul(gb, adjoint(y)), gb)


@inv.rule
def inv_rule(g: Any, y: Any, a: Any) -> Cotangents:
    return (-matmul(matmul(adjoint(y), g), adjoint(y)),)


@det.rule
def det_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """det(a) a⁻ᵀ is the matrix of cofactors, which exists for singular matrices too."""
    return (_matrix(g) * conj(cofactor(a)),)


@cofactor.rule
def cofactor_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """`cofactor(a)` = det(a) a⁻ᵀ. Its own derivative needs an invertible matrix."""
    z, back = conj(y), adjoint(inv(a))
    return (sum_(g * z, axis=(-2, -1), keepdims=True) * back - matmul(matmul(z, transpose(g)), back),)


@logabsdet.rule
def logabsdet_rule(g: Any, y: Any, a: Any) -> Cotangents:
    return (_matrix(g) * adjoint(inv(a)),)


@det_sign.rule
def det_sign_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """det/|det|: on reals constant where it is not 0, over the complex numbers it turns."""
    return (_matrix(im(conj(y) * g) * 1j) * adjoint(inv(a)),)


# ---------------------------------------------------------------- Cholesky


def _cholesky(a: Any) -> Any:
    return np.linalg.cholesky((a + np.conjugate(np.swapaxes(a, -1, -2))) / 2)


cholesky = Primitive("cholesky", _cholesky, shape=_same, tex=r"\operatorname{{chol}}({0})", complex_numbers=True)


@cholesky.rule
def cholesky_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """a = y yᴴ. The matrix is read as (a + aᴴ)/2, and its cotangent is Hermitian. The diagonal of y is real."""
    inner = matmul(adjoint(y), g)
    half = (tril(inner) + tril(inner, k=-1)) / 2
    middle = (half + adjoint(half)) / 2
    return (solve(adjoint(y), adjoint(solve(adjoint(y), middle))),)


# ---------------------------------------------------------------- einsum


def _einsum(*xs: Any, spec: str) -> Any:
    large = max(np.size(x) for x in xs) > 512
    return np.einsum(spec, *xs, optimize=large and len(xs) > 1)  # through BLAS, when that pays


def _einsum_shape(*shapes: Any, spec: str) -> Any:
    terms, out = spec.split("->")
    dims: dict[str, Any] = {}
    for letters, shape in zip(terms.split(","), shapes, strict=True):
        for letter, dim in zip(letters, shape, strict=True):
            if dims.get(letter, 1) == 1:
                dims[letter] = dim
    return tuple(dims[letter] for letter in out)


einsum = Primitive(
    "einsum",
    _einsum,
    shape=_einsum_shape,
    tex=lambda *xs, spec: rf"\operatorname{{einsum}}_{{\mathtt{{{spec}}}}}({', '.join(xs)})",
    complex_numbers=True,
)


@einsum.rule
def einsum_rule(g: Any, y: Any, *xs: Any, spec: str) -> Cotangents:
    """A letter of a term stands in another term or in the result, and once: the adjoint is an einsum again.
    `tg.einsum` brings the others (diagonals, sums of one term) to this form."""
    left, out = spec.split("->")
    terms = left.split(",")
    found = []
    for i, term in enumerate(terms):
        others = [conj(x) for j, x in enumerate(xs) if j != i]
        rest = [t for j, t in enumerate(terms) if j != i]
        found.append(einsum(g, *others, spec=f"{','.join([out, *rest])}->{term}"))
    return tuple(found)
