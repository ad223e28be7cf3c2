"""Products, linear algebra and Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_seq as tg
from tests.opinfo.compare import WORDS, need, words

for _theirs in ("matmul", "mm", "bmm", "mv"):
    WORDS[_theirs] = lambda a, b: tg.matmul(a, b)
WORDS["dot"] = lambda a, b: tg.dot(a, b)
WORDS["inner"] = lambda a, b: tg.tensordot(a, b, axes=((-1,), (-1,))) if a.ndim and b.ndim else a * b
WORDS["vdot"] = lambda a, b: tg.vecdot(a, b)
WORDS["linalg.vecdot"] = lambda a, b, dim=-1: tg.vecdot(a, b, axis=dim)
WORDS["outer"] = lambda a, b: tg.outer(a, b)
WORDS["kron"] = lambda a, b: tg.linalg.kron(a, b)
WORDS["einsum"] = lambda xs, spec: tg.einsum(spec, *xs)
WORDS["cross"] = lambda a, b, dim=None: tg.linalg.cross(
    a, b, axis=dim if dim is not None else [i for i, n in enumerate(a.shape) if n == 3][0]
)
WORDS["linalg.cross"] = lambda a, b, dim=-1: tg.linalg.cross(*tg.broadcast_arrays(a, b), axis=dim)
WORDS["linalg.multi_dot"] = lambda xs: _chain(xs)
WORDS["addmm"] = WORDS["addmv"] = WORDS["baddbmm"] = lambda x, a, b, *, beta=1, alpha=1: (
    beta * x + alpha * tg.matmul(a, b)
)
WORDS["addr"] = lambda x, a, b, *, beta=1, alpha=1: beta * x + alpha * tg.outer(a, b)
WORDS["addbmm"] = lambda x, a, b, *, beta=1, alpha=1: beta * x + alpha * tg.sum(tg.matmul(a, b), axis=0)
WORDS["linalg.inv"] = lambda x: tg.linalg.inv(x)
WORDS["linalg.det"] = lambda x: tg.linalg.det(x)
WORDS["linalg.slogdet"] = lambda x: list(tg.linalg.slogdet(x))
WORDS["logdet"] = lambda x: _logdet(x)
WORDS["linalg.cholesky"] = WORDS["cholesky"] = lambda x, upper=False: tg.linalg.cholesky(x, upper=upper)
WORDS["linalg.matrix_power"] = lambda x, n: tg.linalg.matrix_power(x, n)
WORDS["linalg.eigvalsh"] = lambda x, UPLO="L": tg.linalg.eigvalsh(_triangle(x, UPLO))  # noqa: N803
WORDS["linalg.eigh"] = lambda x, UPLO="L": [tg.linalg.eigh(_triangle(x, UPLO))[0]]  # noqa: N803 - vectors: up to sign
WORDS["linalg.svdvals"] = lambda x: tg.linalg.svdvals(x)
WORDS["linalg.qr"] = lambda x, mode="reduced": _qr(x, mode)


def _qr(x: Any, mode: str) -> Any:
    need(mode != "r", "R alone")
    need(mode == "reduced" or x.shape[-2] - x.shape[-1] <= 0, "columns that may turn")
    return list(tg.linalg.qr(x, mode=mode))


@words("cdist")
def _cdist(a: Any, b: Any, p: float = 2.0, mode: Any = None) -> Any:
    apart = tg.expand_dims(a, axis=-2) - tg.expand_dims(b, axis=-3)
    return tg.linalg.vector_norm(apart, axis=-1, ord=p)


@words("linalg.pinv")
def _pinv(x: Any, *tolerances: Any, **options: Any) -> Any:
    need(not tolerances and not any(options.values()), "tolerances of the pseudo-inverse")
    return tg.linalg.pinv(x)


@words("tensordot")
def _tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    if not isinstance(dims, int):
        need(all(a.shape[i] == b.shape[j] for i, j in zip(*dims, strict=True)), "broadcasting among summed axes")
    return tg.tensordot(a, b, axes=dims)


def _triangle(x: Any, which: str) -> Any:
    """The Hermitian matrix that one triangle stands for: torch reads no other."""
    low = tg.tril(x, k=-1) if which == "L" else tg.conj(tg.matrix_transpose(tg.triu(x, k=1)))
    middle = x * np.eye(x.shape[-1])
    return low + tg.conj(tg.matrix_transpose(low)) + (tg.real(middle) if x.dtype.kind == "c" else middle)


def _chain(xs: Any) -> Any:
    result = xs[0]
    for x in xs[1:]:
        result = tg.matmul(result, x)
    return result


def _logdet(x: Any) -> Any:
    sign, size = tg.linalg.slogdet(x)
    need(x.dtype.kind != "c" and np.all(np.asarray(sign) > 0), "logarithms of other than positive determinants")
    return size


@words("linalg.solve")
def _solve(a: Any, b: Any, left: bool = True) -> Any:
    vectors = b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])
    if not left:
        need(not vectors, "a vector at the left")
        turned = tg.linalg.solve(tg.matrix_transpose(a), tg.matrix_transpose(b))
        return tg.matrix_transpose(turned)
    if vectors and b.ndim > 1:
        return tg.squeeze(tg.linalg.solve(a, tg.expand_dims(b, axis=-1)), axis=-1)
    return tg.linalg.solve(a, b)


# ---------------------------------------------------------------- Fourier transforms


def _fourier(name: str) -> Callable[..., Any]:
    f, several = getattr(tg.fft, name), name.endswith(("n", "2"))

    def call(x: Any, n: Any = None, dim: Any = None, norm: str | None = None, *, s: Any = None) -> Any:
        norm = norm or "backward"
        if not several:
            return f(x, n=n, axis=-1 if dim is None else dim, norm=norm)
        axes = dim if dim is not None or name.endswith("n") else (-2, -1)
        axes = (axes,) if isinstance(axes, int) else axes
        return f(x, s=(s,) if isinstance(s, int) else s if n is None else n, axes=axes, norm=norm)

    return call


for _theirs in (
    "fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn",
    "rfftn", "irfftn",
):  # fmt: skip
    WORDS[f"fft.{_theirs}"] = _fourier(_theirs)
WORDS["fft.fftshift"] = lambda x, dim=None: tg.fft.fftshift(x, axes=dim)
WORDS["fft.ifftshift"] = lambda x, dim=None: tg.fft.ifftshift(x, axes=dim)
