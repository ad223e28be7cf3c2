"""Random functions of random arrays with random options: NumPy's answer and a gradient that fits, or a clear error.

Shapes may be empty, dtypes whole, boolean, floating or complex, arrays transposed or strided, axes out of range.
Where NumPy refuses we refuse; where it answers we may refuse (order of complex numbers, a mean over nothing).
"""

from __future__ import annotations

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
    "sigmoid": lambda x: 1 / (1 + np.exp(-np.asarray(x, np.result_type(x, np.float32)))),
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
    assert got.shape == expected.shape
    single = np.dtype("float32") in [np.finfo(x.dtype).dtype for x in xs if x.dtype.kind in "fc"]
    if not single:  # whole numbers beside float32 stay float32 here
        assert got.dtype.kind == expected.dtype.kind
    np.testing.assert_allclose(got.data, expected, rtol=1e-4 if single else 1e-10, atol=1e-6 if single else 1e-12)
    if got.requires_grad:
        got.backward(np.ones(got.shape, got.dtype))
        for t in tensors:
            assert t.grad is None or (t.grad.shape == t.shape and t.grad.dtype == t.dtype)


fuzz = settings(max_examples=150, deadline=None, derandomize=True)


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
