"""`tg.linalg`: matrices, in the array API's names. The last two axes are the matrix, those before them batches.

Everything takes arrays and tensors. No derivative is written here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_seq import functions as fn
from tinygrad_seq import shapes
from tinygrad_seq.ops.index import Key
from tinygrad_seq.primitive import REGISTRY

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "einsum",
    "inv",
    "kron",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "tril",
    "triu",
    "vecdot",
    "vector_norm",
]

_op = REGISTRY
matmul, matrix_transpose, diagonal = fn.matmul, shapes.matrix_transpose, shapes.diagonal


class Eigh(NamedTuple):
    """x = eigenvectors · diag(eigenvalues) · eigenvectorsᴴ."""

    eigenvalues: Any
    eigenvectors: Any


class Svd(NamedTuple):
    """x = U · diag(S) · Vh."""

    U: Any
    S: Any
    Vh: Any


class Qr(NamedTuple):
    """x = Q · R."""

    Q: Any
    R: Any


class SlogDet(NamedTuple):
    """sign · e^logabsdet is the determinant."""

    sign: Any
    logabsdet: Any


def _square(x: Any, what: str) -> Any:
    x = shapes.as_array(x)
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{what} takes square matrices (…, n, n), not an array of shape {x.shape}")
    return x


def solve(a: Any, b: Any, /) -> Any:
    """x with a x = b; b is one vector (n,), or matrices (…, n, k)."""
    a, b = _square(a, "solve"), shapes.as_array(b)
    if len(b.shape) == 1:
        return shapes.squeeze(_op["solve"](a, shapes.expand_dims(b, axis=-1)), axis=-1)
    return _op["solve"](a, b)


def inv(x: Any, /) -> Any:
    """The inverse; LinAlgError when there is none."""
    return _op["inv"](_square(x, "inv"))


def det(x: Any, /) -> Any:
    """The determinant; its gradient exists for singular matrices too."""
    return _op["det"](_square(x, "det"))


def slogdet(x: Any, /) -> SlogDet:
    """The determinant's sign and the logarithm of its size."""
    x = _square(x, "slogdet")
    return SlogDet(_op["det_sign"](x), _op["logabsdet"](x))


def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """Lower triangular L with x = L Lᴴ, of the Hermitian part of x; `upper`: Lᴴ."""
    factor = _op["cholesky"](_square(x, "cholesky"))
    return _adjoint(factor) if upper else factor


def eigh(x: Any, /) -> Eigh:
    """Ascending eigenvalues and eigenvectors (columns) of the Hermitian part of x."""
    x = _square(x, "eigh")
    return Eigh(_op["eigvalsh"](x), _op["eigenvectors"](x))


def eigvalsh(x: Any, /) -> Any:
    """Ascending eigenvalues of the Hermitian part of x."""
    return _op["eigvalsh"](_square(x, "eigvalsh"))


def _matrices(x: Any, what: str) -> Any:
    x = shapes.as_array(x)
    if len(x.shape) < 2:
        raise ValueError(f"{what} takes matrices (…, n, m), not an array of shape {x.shape}")
    return x


def svd(x: Any, /, *, full_matrices: bool = True) -> Svd:
    """The singular value decomposition: U (…, n, n), descending S (…, k), Vh (…, m, m), k = min(n, m); without
    `full_matrices` U (…, n, k) and Vh (…, k, m). What the full U or V has beyond k columns is determined only up to a
    turn among them, and so is its gradient: right for whatever does not see that turn."""
    x = _matrices(x, "svd")
    u, s, v = _op["svd_left"](x), _op["svdvals"](x), _op["svd_right"](x)
    if full_matrices:
        u, v = _completed(u), _completed(v)
    return Svd(u, s, _adjoint(v))


def _adjoint(x: Any) -> Any:
    return _op["transpose"](_op["conj"](x))


def _completed(q: Any) -> Any:
    """Orthonormal columns and as many more as there is room for."""
    return q if q.shape[-2] == q.shape[-1] else _op["concat"](q, _op["complement"](q), axis=-1)


def svdvals(x: Any, /) -> Any:
    """Descending singular values."""
    return _op["svdvals"](_matrices(x, "svdvals"))


def qr(x: Any, /, *, mode: str = "reduced") -> Qr:
    """Orthonormal columns Q (…, n, k) and an upper triangle R (…, k, m) whose diagonal is real; k = min(n, m), or in
    mode "complete" k = n. The first min(n, m) columns of x must be independent for a gradient."""
    x = _matrices(x, "qr")
    n, m = x.shape[-2:]
    if mode not in ("reduced", "complete"):
        raise ValueError(f"the modes of qr are 'reduced' and 'complete', not {mode!r}")
    left, right = (x, None) if n >= m else (x[..., :n], x[..., n:])
    q, r = _op["qr_q"](left), _op["qr_r"](left)
    if right is not None:
        r = _op["concat"](r, _op["matmul"](_adjoint(q), right), axis=-1)
    if mode == "complete" and n > m:
        q = _op["concat"](q, _op["complement"](x), axis=-1)
        r = shapes.pad(r, [(0, 0)] * (len(x.shape) - 2) + [(0, n - m), (0, 0)])
    return Qr(q, r)


def pinv(x: Any, /) -> Any:
    """The pseudo-inverse of Moore and Penrose; its gradient holds while the rank does not change."""
    return _op["pinv"](_matrices(x, "pinv"))


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sum of the diagonal."""
    return fn.sum(shapes.diagonal(x, offset=offset), axis=-1, dtype=dtype)


def matrix_rank(x: Any, /, *, rtol: float | None = None) -> Any:
    """How many singular values are above `rtol` (max(n, m) · eps) times the largest. No derivative."""
    values = np.asarray(svdvals(x))
    if rtol is None:
        rtol = max(np.shape(x)[-2:]) * float(np.finfo(values.dtype).eps)
    return np.count_nonzero(values > rtol * values.max(axis=-1, keepdims=True, initial=0), axis=-1)


def tril(x: Any, /, *, k: int = 0) -> Any:
    """The matrix without what is above its k-th diagonal."""
    return _op["tril"](shapes.as_array(x), k=k)


def triu(x: Any, /, *, k: int = 0) -> Any:
    """The matrix without what is below its k-th diagonal."""
    return _op["triu"](shapes.as_array(x), k=k)


def outer(u: Any, v: Any, /) -> Any:
    """All products u_i v_j: (…, n) and (…, m) give (…, n, m)."""
    return _op["outer"](shapes.as_array(u), shapes.as_array(v))


def vecdot(u: Any, v: Any, /, *, axis: int = -1) -> Any:
    """Σ conj(u) v along `axis`."""
    each = _op["conj"](shapes.as_array(u)) * shapes.as_array(v)
    total = fn.sum(each, axis=axis)
    return fn.astype(total, each.dtype) if each.dtype.kind in "iu" else total


def cross(u: Any, v: Any, /, *, axis: int = -1) -> Any:
    """The cross product of vectors of three."""
    u, v = shapes.moveaxis(u, axis, 0), shapes.moveaxis(v, axis, 0)
    if u.shape[0] != 3 or v.shape[0] != 3:
        raise ValueError(f"cross takes vectors of 3, not of {u.shape[0]} and {v.shape[0]}")
    parts = [u[(i + 1) % 3] * v[(i + 2) % 3] - u[(i + 2) % 3] * v[(i + 1) % 3] for i in range(3)]
    return shapes.moveaxis(shapes.stack(parts), 0, axis)


def kron(a: Any, b: Any, /) -> Any:
    """The Kronecker product of two matrices."""
    a, b = shapes.as_array(a), shapes.as_array(b)
    (n, m), (k, l) = a.shape, b.shape
    return shapes.reshape(einsum("ij,kl->ikjl", a, b), (n * k, m * l))


def tensordot(a: Any, b: Any, /, *, axes: int | Sequence[Sequence[int]] = 2) -> Any:
    """Products summed over pairs of axes: the last of a with the first of b, or those named."""
    a, b = shapes.as_array(a), shapes.as_array(b)
    ranks = len(a.shape), len(b.shape)
    if isinstance(axes, int):
        if not 0 <= axes <= min(ranks):
            raise ValueError(f"tensordot over {axes} axes of arrays with {ranks[0]} and {ranks[1]}")
        axes = (range(ranks[0] - axes, ranks[0]), range(axes))
    left, right = ([x % r for x in side] for side, r in zip(axes, ranks, strict=True))
    rest = [[i for i in range(r) if i not in side] for side, r in zip((left, right), ranks, strict=True)]
    if [a.shape[i] for i in left] != [b.shape[i] for i in right]:
        raise ValueError(f"tensordot of shapes {a.shape} and {b.shape} over {left} and {right}: dims differ")
    inner = math.prod(a.shape[i] for i in left)
    out = [a.shape[i] for i in rest[0]] + [b.shape[i] for i in rest[1]]
    first = shapes.reshape(shapes.permute_dims(a, rest[0] + left), (math.prod(out[: len(rest[0])]), inner))
    second = shapes.reshape(shapes.permute_dims(b, right + rest[1]), (inner, math.prod(out[len(rest[0]) :])))
    return shapes.reshape(_op["matmul"](first, second), out)


def matrix_power(x: Any, n: int, /) -> Any:
    """x multiplied with itself n times, by squaring; the inverse for negative n."""
    x = _square(x, "matrix_power")
    base, result = (inv(x), None) if n < 0 else (x, None)
    count = abs(n)
    while count:
        if count % 2:
            result = base if result is None else _op["matmul"](result, base)
        count //= 2
        base = _op["matmul"](base, base) if count else base
    return np.broadcast_to(np.eye(x.shape[-1], dtype=x.dtype), x.shape) if result is None else result


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:  # noqa: A002
    """(Σ|x|^ord)^(1/ord); the gradient at 0 is 0. ord may be ±inf."""
    x = shapes.as_array(x)
    if ord == 2:
        return fn.norm(x, axis=axis, keepdims=keepdims)
    size = _op["abs"](x)
    if math.isinf(ord):
        return (fn.max if ord > 0 else fn.min)(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return fn.astype(fn.count_nonzero(x, axis=axis, keepdims=keepdims), size.dtype)
    if ord == 1:
        return fn.sum(size, axis=axis, keepdims=keepdims)
    total = fn.sum(size**ord, axis=axis, keepdims=keepdims)
    nothing = _op["equal"](total, 0)
    return _op["where"](nothing, 0, _op["where"](nothing, 1, total) ** (1 / ord))


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: float | str = "fro") -> Any:  # noqa: A002
    """A norm of matrices: "fro", the root of the sum of squares; "nuc", the sum of the singular values; 2 (-2), the
    largest (smallest) of them; 1 (-1), the largest (smallest) sum of a column, inf (-inf), of a row."""
    x = _matrices(x, "matrix_norm")
    if ord == "fro":
        return fn.norm(x, axis=(-2, -1), keepdims=keepdims)
    largest = fn.max if ord not in (-1, -2, -math.inf) else fn.min
    if ord in ("nuc", 2, -2):
        values = svdvals(x)
        result = fn.sum(values, axis=-1) if ord == "nuc" else largest(values, axis=-1)
        return shapes.expand_dims(result, axis=(-2, -1)) if keepdims else result
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError(f"matrix_norm knows the orders 'fro', 'nuc', ±1, ±2 and ±inf, not {ord!r}")
    sums = fn.sum(_op["abs"](x), axis=-2 if ord in (1, -1) else -1, keepdims=True)
    return largest(sums, axis=(-2, -1), keepdims=keepdims)


# ---------------------------------------------------------------- einsum


def einsum(subscripts: str, /, *operands: Any) -> Any:
    """Sums of products by Einstein's convention, as NumPy reads it: `ij,jk->ik`, `ii->`, `...ij,...jk`."""
    xs = [shapes.as_array(x) for x in operands]
    terms, out = _explicit(subscripts.replace(" ", ""), [len(x.shape) for x in xs])
    for i, x in enumerate(xs):
        x, term = _without_repeats(x, terms[i])
        elsewhere = {*out, *"".join(t for j, t in enumerate(terms) if j != i)}
        alone = tuple(at for at, letter in enumerate(term) if letter not in elsewhere)
        xs[i] = fn.sum(x, axis=alone) if alone else x
        terms[i] = "".join(letter for letter in term if letter in elsewhere)
    return _op["einsum"](*xs, spec=f"{','.join(terms)}->{out}")


def _explicit(subscripts: str, ranks: list[int]) -> tuple[list[str], str]:
    """Terms and result in letters alone: `...` spelt out, a missing result filled in."""
    left, arrow, out = subscripts.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"einsum of {subscripts!r} takes {len(terms)} operands, not {len(ranks)}")
    free = [c for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in subscripts]
    hidden = [r - len(t.replace("...", "")) for t, r in zip(terms, ranks, strict=True)]
    for t, r, h in zip(terms, ranks, hidden, strict=True):
        if h < 0 or (h and "..." not in t):
            raise ValueError(f"einsum of {subscripts!r}: {t!r} does not fit an operand with {r} axes")
    dots = "".join(free[: max(hidden)]) if hidden else ""
    if not arrow:
        letters = left.replace(",", "").replace("...", "")
        out = ("..." if "..." in left else "") + "".join(sorted(c for c in {*letters} if letters.count(c) == 1))
    terms = [t.replace("...", dots[len(dots) - h :] if h else "") for t, h in zip(terms, hidden, strict=True)]
    out = out.replace("...", dots)
    unknown = [c for c in out if c not in "".join(terms) or out.count(c) > 1]
    if unknown:
        raise ValueError(f"einsum of {subscripts!r}: {unknown[0]!r} of the result must stand in a term, and once")
    return terms, out


def _without_repeats(x: Any, term: str) -> tuple[Any, str]:
    """The diagonal of axes that share a letter."""
    letters = "".join(dict.fromkeys(term))
    if letters == term:
        return x, term
    if any(x.shape[i] != x.shape[term.index(c)] for i, c in enumerate(term)):
        raise ValueError(f"einsum: axes of one letter in {term!r} differ in shape {x.shape}")
    places = {c: np.arange(x.shape[term.index(c)]).reshape([-1 if c == d else 1 for d in letters]) for c in letters}
    return _op["getitem"](x, key=Key(tuple(places[c] for c in term))), letters
