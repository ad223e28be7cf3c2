"""Random functions of random arrays with random options: NumPy's answer and the slope of it, or a clear error.

Shapes may be empty, dtypes whole, boolean, floating or complex, arrays transposed or strided, axes out of range.
Where NumPy refuses we refuse; where it answers we may refuse (order of complex numbers, a mean over nothing).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

import tinygrad_seq as tg

DTYPES = ["float32", "float64", "complex64", "complex128", "int64", "bool"]
CLEAR = (ValueError, TypeError, IndexError, np.linalg.LinAlgError)  # NumPy's AxisError is both of the first and third
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
axes = st.one_of(st.none(), st.integers(-4, 3), st.lists(st.integers(-3, 2), min_size=1, max_size=2).map(tuple))

UNARY: dict[str, Callable[..., Any]] = {
    n: getattr(np, n) for n in "exp tanh sin arctan arcsinh square sqrt floor log1p expm1 abs sign real isnan".split()
} | {
    "gammaln": scipy.special.gammaln,
    "erf": scipy.special.erf,
    "reciprocal": lambda x: 1 / x,
    "sigmoid": lambda x: 1 / (1 + np.exp(-(x if x.dtype.kind in "fc" else x.astype(float)))),
}
BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "maximum": np.maximum,
    "hypot": np.hypot, "logaddexp": np.logaddexp, "less": np.less, "atan2": np.arctan2, "matmul": np.matmul,
}  # fmt: skip
ALONG = {
    "sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min, "var": np.var, "std": np.std,
    "logsumexp": lambda x, **options: np.logaddexp.reduce(x * 1 if x.dtype == bool else x, **options),
    "any": np.any, "all": np.all,
}  # fmt: skip


@st.composite
def arrays(draw: DrawFn, shape: Any = shapes) -> Any:
    size, dtype = draw(shape), draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.uniform(0.2, 1.8, size)
    if dtype.startswith("c"):
        x = x + 1j * rng.uniform(-1, 1, size)
    x = np.asarray(x * (3 if dtype == "int64" else 1)).astype(dtype)
    kind = draw(st.sampled_from(["plain", "transposed", "strided"]))
    if kind == "transposed":
        return x.T
    return np.repeat(x, 2, axis=0)[::2] if kind == "strided" and x.ndim else x


def outcome(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        with np.errstate(all="ignore"):
            return call(), None
    except CLEAR as error:
        return None, error


def compare(ours: Callable[..., Any], numpys: Callable[..., Any], *xs: Any) -> None:
    tensors = [tg.tensor(x, requires_grad=x.dtype.kind in "fc") for x in xs]
    got, refused = outcome(lambda: ours(*tensors))
    expected, numpy_refused = outcome(lambda: numpys(*xs))
    if refused is not None:
        assert str(refused).strip() not in ("", "tuple index out of range"), "an error without a message"
        return
    assert numpy_refused is None, f"NumPy says: {numpy_refused}"
    expected = np.asarray(expected)
    if expected.dtype == np.float16:  # NumPy's idea of a function of booleans; here it is double precision
        expected, _ = outcome(lambda: np.asarray(numpys(*(x.astype(float) if x.dtype == bool else x for x in xs))))
    assert got.shape == expected.shape
    single = np.dtype("float32") in [np.finfo(x.dtype).dtype for x in xs if x.dtype.kind in "fc"]
    if not single:  # whole numbers beside float32 stay float32 here
        assert got.dtype.kind == expected.dtype.kind
    np.testing.assert_allclose(got.data, expected, rtol=1e-4 if single else 1e-10, atol=1e-6 if single else 1e-12)
    if got.requires_grad:
        rng = np.random.default_rng(0)
        weight = drawn_like(rng, got.data)
        got.backward(np.conj(weight))
        for t in tensors:
            assert t.grad is None or (t.grad.shape == t.shape and t.grad.dtype == t.dtype)
        if not single and np.isfinite(expected).all():
            slopes(lambda *at: float(np.sum(np.real(weight * np.asarray(numpys(*at))))), tensors, rng)


def drawn_like(rng: np.random.Generator, x: Any) -> Any:
    w = rng.standard_normal(x.shape)
    return np.asarray(w + 1j * rng.standard_normal(x.shape) if x.dtype.kind == "c" else w).astype(x.dtype)


def slopes(loss: Callable[..., float], tensors: list[tg.Tensor], rng: np.random.Generator) -> None:
    """The gradients along a random direction are the slope of NumPy's own function by central differences."""
    moved = [drawn_like(rng, t.data) if t.dtype.kind in "fc" else np.zeros(t.shape, t.dtype) for t in tensors]
    h = 1e-6

    def at(step: float) -> float:
        with np.errstate(all="ignore"):
            return loss(
                *(
                    t.data if t.dtype.kind not in "fc" else t.data + step * d
                    for t, d in zip(tensors, moved, strict=True)
                )
            )

    exact = sum(
        float(np.sum(np.real(np.conj(t.grad.data) * d)))
        for t, d in zip(tensors, moved, strict=True)
        if t.grad is not None
    )
    np.testing.assert_allclose(exact, (at(h) - at(-h)) / (2 * h), rtol=2e-6, atol=2e-8)


PRODUCTS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "matmul": (tg.matmul, np.matmul), "outer": (tg.outer, lambda a, b: a[..., :, None] * b[..., None, :]),
    "tensordot": (lambda a, b: tg.tensordot(a, b, axes=1), lambda a, b: np.tensordot(a, b, 1)),
    "vecdot": (tg.vecdot, lambda a, b: np.sum(np.conj(a) * b, axis=-1)),
    "concat": (lambda a, b: tg.concat([a, b]), lambda a, b: np.concatenate([a, b])),
    "stack": (lambda a, b: tg.stack([a, b], axis=-1), lambda a, b: np.stack([a, b], axis=-1)),
    "where": (lambda a, b: tg.where(np.asarray(a) == np.asarray(a), b, a), lambda a, b: np.where(a == a, b, a)),
    "einsum": (lambda a, b: tg.einsum("ij,jk->ki", a, b), lambda a, b: np.einsum("ij,jk->ki", a, b)),
    "power": (tg.power, lambda a, b: np.power(a, b)),
    "kron": (tg.linalg.kron, np.kron),
}  # fmt: skip
MATRICES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "inv": (tg.linalg.inv, np.linalg.inv), "det": (tg.linalg.det, np.linalg.det),
    "cholesky": (lambda x: tg.linalg.cholesky(definite(x)), lambda x: np.linalg.cholesky(definite(x))),
    "slogdet": (lambda x: tg.linalg.slogdet(x).logabsdet, lambda x: np.linalg.slogdet(x)[1]),
    "svdvals": (tg.linalg.svdvals, lambda x: np.linalg.svd(x, compute_uv=False)),
    "qr": (lambda x: tg.linalg.qr(x).R, lambda x: np.linalg.qr(x)[1]), "pinv": (tg.linalg.pinv, np.linalg.pinv),
    "trace": (tg.linalg.trace, lambda x: np.trace(x, axis1=-2, axis2=-1)),
    "tril": (tg.tril, np.tril), "triu": (lambda x: tg.triu(x, k=1), lambda x: np.triu(x, 1)),
    "diagonal": (tg.diagonal, lambda x: np.diagonal(x, axis1=-2, axis2=-1)),
    "fft": (tg.fft.fft, np.fft.fft), "irfft": (tg.fft.irfft, np.fft.irfft), "fft2": (tg.fft.fft2, np.fft.fft2),
}  # fmt: skip


def definite(x: Any) -> Any:
    return x @ np.conj(np.swapaxes(x, -1, -2)) + np.eye(x.shape[-2], dtype=x.dtype)


MORE = os.environ.get("TGSEQ_FUZZ")  # how many examples of another draw
fuzz = settings(max_examples=int(MORE or 150), deadline=None, derandomize=not MORE)


@fuzz
@given(st.sampled_from(sorted(UNARY)), arrays())
def test_functions_of_one_array(name: str, x: Any) -> None:
    compare(getattr(tg, name), UNARY[name], x)


@fuzz
@given(st.sampled_from(sorted(BINARY)), arrays(), arrays())
def test_functions_of_two_arrays(name: str, a: Any, b: Any) -> None:
    compare(getattr(tg, name), BINARY[name], a, b)


@fuzz
@given(st.sampled_from(sorted(ALONG)), arrays(), axes, st.booleans())
def test_reductions(name: str, x: Any, axis: Any, keepdims: bool) -> None:
    compare(
        lambda t: getattr(tg, name)(t, axis=axis, keepdims=keepdims),
        lambda a: ALONG[name](a, axis=axis, keepdims=keepdims),
        x,
    )


MOVES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "flip": (lambda t, n, a: tg.flip(t, axis=a), lambda x, n, a: np.flip(x, a)),
    "roll": (lambda t, n, a: tg.roll(t, n, axis=a), lambda x, n, a: np.roll(x, n, a)),
    "expand_dims": (lambda t, n, a: tg.expand_dims(t, axis=a), lambda x, n, a: np.expand_dims(x, a)),
    "squeeze": (lambda t, n, a: tg.squeeze(t, axis=a), lambda x, n, a: np.squeeze(x, a)),
    "cumsum": (lambda t, n, a: tg.cumsum(t, axis=a), lambda x, n, a: np.cumsum(x, a)),
    "cumprod": (lambda t, n, a: tg.cumprod(t, axis=a), lambda x, n, a: np.cumprod(x, a)),
    "sort": (lambda t, n, a: tg.sort(t, axis=a), lambda x, n, a: np.sort(x, a)),
    "diff": (lambda t, n, a: tg.diff(t, axis=a), lambda x, n, a: np.diff(x, axis=a)),
    "repeat": (lambda t, n, a: tg.repeat(t, abs(n), axis=a), lambda x, n, a: np.repeat(x, abs(n), axis=a)),
    "concat": (lambda t, n, a: tg.concat([t, t], axis=a), lambda x, n, a: np.concatenate([x, x], axis=a)),
    "stack": (lambda t, n, a: tg.stack([t, t], axis=a), lambda x, n, a: np.stack([x, x], axis=a)),
    "take": (lambda t, n, a: tg.take(t, [n, 0], axis=a), lambda x, n, a: np.take(x, [n, 0], axis=a)),
    "reshape": (lambda t, n, a: tg.reshape(t, (n, -1)), lambda x, n, a: np.reshape(x, (n, -1))),
    "tile": (lambda t, n, a: tg.tile(t, (abs(n), 2)), lambda x, n, a: np.tile(x, (abs(n), 2))),
    "broadcast_to": (lambda t, n, a: tg.broadcast_to(t, (2, abs(n))), lambda x, n, a: np.broadcast_to(x, (2, abs(n)))),
    "getitem": (lambda t, n, a: t[..., n], lambda x, n, a: x[..., n]),
    "mask": (lambda t, n, a: t[np.asarray(t) != 1], lambda x, n, a: x[x != 1]),
}


@fuzz
@given(st.sampled_from(sorted(MOVES)), arrays(), st.integers(-3, 3), st.integers(-4, 3))
def test_functions_that_move_elements(name: str, x: Any, n: int, axis: int) -> None:
    ours, numpys = MOVES[name]
    compare(lambda t: ours(t, n, axis), lambda a: numpys(a, n, axis), x)


@fuzz
@given(st.sampled_from(sorted(PRODUCTS)), arrays(), arrays())
def test_products_and_joins(name: str, a: Any, b: Any) -> None:
    compare(*PRODUCTS[name], a, b)


@fuzz
@given(st.sampled_from(sorted(MATRICES)), arrays())
def test_functions_of_matrices(name: str, x: Any) -> None:
    """Values of whole numbers only where LAPACK is not asked: singular ones have no slope."""
    if name in ("inv", "det", "cholesky", "slogdet", "svdvals", "qr", "pinv") and x.dtype.kind not in "fc":
        return
    compare(*MATRICES[name], x)
