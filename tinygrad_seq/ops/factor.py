"""Factorisations: eigenvalues of Hermitian matrices, singular values, QR, the pseudo-inverse, orthogonal complements.

Batches stand before. Each factor is a primitive of its own, and a rule names the others: LAPACK is called again in the
backward pass, on the same matrix, so that it gives the same signs. Where eigenvalues or singular values coincide their
vectors have no derivative; what such a pair would send is left out. Over the complex numbers a vector's phase is
arbitrary, unless the diagonal of R makes it real: only functions that do not see it have a gradient.

Rules follow M. Giles, Collected matrix derivative results, 2008; J. Townsend, Differentiating the singular value
decomposition, 2016; S. Walter and L. Lehmann, Algorithmic differentiation of linear algebra functions, 2012 (QR);
G. Golub and V. Pereyra, The differentiation of pseudo-inverses, 1973.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.ops.elementwise import conj, equal, im, where
from tinygrad_seq.ops.linalg import matmul
from tinygrad_seq.ops.matrix import adjoint, solve, tril
from tinygrad_seq.ops.reduce import sum_
from tinygrad_seq.ops.shape import Cotangents, expand
from tinygrad_seq.primitive import Primitive


def _hermitian(a: Any) -> Any:
    return (a + np.conjugate(np.swapaxes(a, -1, -2))) / 2


def _wide(s: Any, which: str) -> Any:
    """The shape of a factor of (…, n, m), with k = min(n, m)."""
    n, m = s[-2:]
    k = n if n <= m else m
    return (*s[:-2], *{"u": (n, k), "s": (k,), "v": (m, k), "q": (n, m), "r": (m, m)}[which])


def _columns(v: Any) -> Any:
    """One number for each column."""
    return expand(v, axis=-2)


def _gaps(values: Any) -> Any:
    """1/(v_j - v_i), 0 where they coincide (the diagonal too)."""
    apart = expand(values, axis=-2) - expand(values, axis=-1)
    same = equal(apart, 0)
    return where(same, 0, 1 / where(same, 1, apart))


# ---------------------------------------------------------------- Hermitian matrices

eigvalsh = Primitive(
    "eigvalsh",
    lambda a: np.linalg.eigvalsh(_hermitian(a)),
    shape=lambda s: s[:-1],
    tex=r"\lambda({0})",
    complex_numbers=True,
)
eigenvectors = Primitive(
    "eigenvectors",
    lambda a: np.linalg.eigh(_hermitian(a))[1],
    shape=lambda s: s,
    tex=r"\operatorname{{eigv}}({0})",
    complex_numbers=True,
)


def _halved(x: Any) -> Any:
    """The Hermitian part: the matrix is read as (a + aᴴ)/2, and so is its cotangent."""
    return (x + adjoint(x)) / 2


@eigvalsh.rule
def eigvalsh_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """Ascending eigenvalues of (a + aᴴ)/2."""
    v = eigenvectors(a)
    return (matmul(v * _columns(g), adjoint(v)),)


@eigenvectors.rule
def eigenvectors_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """Columns of norm 1, in the order of the eigenvalues."""
    inner = _gaps(eigvalsh(a)) * matmul(adjoint(y), g)
    return (_halved(matmul(matmul(y, inner), adjoint(y))),)


# ---------------------------------------------------------------- singular values

svdvals = Primitive(
    "svdvals",
    lambda a: np.linalg.svd(a, compute_uv=False),
    shape=lambda s: _wide(s, "s"),
    tex=r"\sigma({0})",
    complex_numbers=True,
)
svd_left = Primitive(
    "svd_left",
    lambda a: np.linalg.svd(a, full_matrices=False)[0],
    shape=lambda s: _wide(s, "u"),
    tex=r"U({0})",
    complex_numbers=True,
)
svd_right = Primitive(
    "svd_right",
    lambda a: np.conjugate(np.swapaxes(np.linalg.svd(a, full_matrices=False)[2], -1, -2)),
    shape=lambda s: _wide(s, "v"),
    tex=r"V({0})",
    complex_numbers=True,
)


@svdvals.rule
def svdvals_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """Descending singular values."""
    return (matmul(svd_left(a) * _columns(g), adjoint(svd_right(a))),)


def _turned(s: Any, inner: Any) -> Any:
    """What a cotangent of singular vectors, seen in their own frame, asks of U aᴴ V: X∘(s_j² - s_i²)⁻¹."""
    return _gaps(s * s) * (inner - adjoint(inner))


@svd_left.rule
def svd_left_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """U of the thin a = U diag(s) Vᴴ. What lies outside its columns moves by 1/s; so does its phase."""
    s, v = svdvals(a), svd_right(a)
    scaled = g / _columns(s)
    phase = y * (im(_columns(sum_(conj(y) * g, axis=-2))) * 1j) / _columns(s)
    inside = matmul(y, _turned(s, matmul(adjoint(y), g)) * _columns(s)) + phase
    return (matmul(inside + scaled - matmul(y, matmul(adjoint(y), scaled)), adjoint(v)),)


@svd_right.rule
def svd_right_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """V of the thin a = U diag(s) Vᴴ, by columns."""
    s, u = svdvals(a), svd_left(a)
    scaled = g / _columns(s)
    middle = expand(s, axis=-1) * _turned(s, matmul(adjoint(y), g))
    return (matmul(u, matmul(middle, adjoint(y)) + adjoint(scaled - matmul(y, matmul(adjoint(y), scaled)))),)


# ---------------------------------------------------------------- QR

qr_q = Primitive(
    "qr_q", lambda a: np.linalg.qr(a)[0], shape=lambda s: _wide(s, "q"), tex=r"Q({0})", complex_numbers=True
)
qr_r = Primitive(
    "qr_r", lambda a: np.linalg.qr(a)[1], shape=lambda s: _wide(s, "r"), tex=r"R({0})", complex_numbers=True
)


def _lower(m: Any) -> Any:
    """The Hermitian matrix with this one's lower triangle, and the real part of its diagonal: R's own is real."""
    return _halved(tril(m) + tril(m, k=-1))


def _over(x: Any, r: Any) -> Any:
    """x r⁻ᴴ."""
    return adjoint(solve(r, adjoint(x)))


@qr_q.rule
def qr_q_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """The orthonormal columns of a (…, n, m) with n ≥ m and independent columns."""
    return (_over(g - matmul(y, _lower(matmul(adjoint(g), y))), qr_r(a)),)


@qr_r.rule
def qr_r_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """The upper triangle of a = q r."""
    return (_over(matmul(qr_q(a), _lower(matmul(y, adjoint(g)))), y),)


# ---------------------------------------------------------------- the pseudo-inverse

pinv = Primitive("pinv", np.linalg.pinv, shape=lambda s: (*s[:-2], s[-1], s[-2]), tex="{0}^{{+}}", complex_numbers=True)


@pinv.rule
def pinv_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """Of Moore and Penrose, while the rank does not change."""
    yh, gh = adjoint(y), adjoint(g)
    left = matmul(matmul(gh - matmul(a, matmul(y, gh)), y), yh)
    right = matmul(yh, matmul(y, gh - matmul(matmul(gh, y), a)))
    return (left + right - matmul(matmul(yh, g), yh),)


# ---------------------------------------------------------------- what no column reaches

complement = Primitive(
    "complement",
    lambda a: np.linalg.qr(a, mode="complete")[0][..., a.shape[-1] :],
    shape=lambda s: (*s[:-1], s[-2] - s[-1]),
    tex=r"{0}^{{\perp}}",
    complex_numbers=True,
)


@complement.rule
def complement_rule(g: Any, y: Any, a: Any) -> Cotangents:
    """Orthonormal columns (…, n, n-m) at right angles to the m independent ones of a. They may turn among themselves;
    of all the ways to follow a, the rule takes the one that turns them least: -a⁺ᴴ daᴴ y."""
    return (-matmul(matmul(y, adjoint(g)), adjoint(pinv(a))),)
