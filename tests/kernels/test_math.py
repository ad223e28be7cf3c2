"""Scalar functions: units in the last place over all of the format, special values, vector code."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError
from scipy import special

from tinygrad_seq.kernels.cache import OPTIONS, load_source

UNARY = ("exp", "expm1", "log", "log1p", "sqrt", "abs", "sign", "tanh", "sigmoid", "softplus", "relu", "sin", "cos")
LIBRARY = ("tan", "arctan", "sinh", "cosh", "erf", "conj", "re")
BINARY = ("maximum", "minimum", "logaddexp", "power", "floordiv", "mod", "leaky_relu", "elu")
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")

HEAD = '''"""Scalar functions over arrays."""
import numpy as np
from tinygrad_seq.kernels import math as K
from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.memory import load, slots, store
(load_x, store_x), (load_y, store_y) = slots(2, "math")
clip_, where_ = K.clip, K.where

@kernel
def clip(x, low, high, y):
    for i in range(x.size):
        store_y(y, i, clip_(load_x(x, i), low, high))

@kernel
def where(c, a, b, y):
    for i in range(y.size):
        store(y, i, where_(load(c, i), load(a, i), load(b, i)))
'''


@pytest.fixture(scope="module")
def k() -> ModuleType:
    text = HEAD
    for name in UNARY + LIBRARY:
        text += f"\n{name}_ = K.{name}\n@kernel\ndef {name}(x, y):\n"
        text += f"    for i in range(x.size):\n        store_y(y, i, {name}_(load_x(x, i)))\n"
    for name in BINARY + COMPARISONS:
        text += f"\n{name}_ = K.{name}\n@kernel\ndef {name}(a, b, y):\n"
        text += f"    for i in range(a.size):\n        store(y, i, {name}_(load(a, i), load(b, i)))\n"
    return load_source("math_test", text)


def exact(name: str, *xs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The function in a wider format."""
    with np.errstate(all="ignore"):
        if name == "sigmoid":
            e = np.exp(-np.abs(xs[0]))
            return np.asarray(np.where(xs[0] < 0, e, 1) / (1 + e))
        if name == "softplus":
            return np.asarray(np.logaddexp(xs[0], 0))
        if name == "relu":
            return np.where(xs[0] <= 0, 0, xs[0])
        if name == "leaky_relu":
            return np.where(xs[0] > 0, xs[0], xs[1] * xs[0])
        if name == "elu":
            return np.where(xs[0] > 0, xs[0], xs[1] * np.expm1(xs[0]))
        names = {"mod": "remainder", "floordiv": "floor_divide"}
        return np.asarray(getattr(np, names.get(name, name))(*xs))


def samples(dtype: str) -> np.ndarray[Any, Any]:
    """Every exponent and sign with random mantissas, the useful range, and the special values."""
    rng = np.random.default_rng(1)
    info = np.finfo(dtype)
    unsigned = np.dtype(f"u{info.bits // 8}")
    exponents = np.arange(2 ** (info.bits - info.nmant), dtype=unsigned) << unsigned.type(info.nmant)
    mantissas = rng.integers(0, 2**info.nmant, (200 if dtype == "float32" else 25, 1), dtype=unsigned)
    every = (exponents | mantissas).view(dtype).ravel()
    edges = [0, -0.0, np.inf, -np.inf, np.nan, 1, -1, info.max, info.min, info.tiny, info.smallest_subnormal]
    near = [np.linspace(-a, a, 200_001) for a in (1e-3, 1, 10, 110, 760)]
    values = np.concatenate(
        [every, np.array(edges, dtype), *[n.astype(dtype) for n in near], np.exp(near[1]).astype(dtype)]
    )
    values[np.isnan(values)] = np.nan  # of one kind
    return values.astype(dtype)


def ulps(got: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], dtype: str) -> float:
    """The largest error in units of the last place; special values must be equal."""
    with np.errstate(all="ignore"):
        rounded = wanted.astype(dtype)
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
        error = np.abs(got.astype(wanted.dtype) - wanted) / np.spacing(np.abs(rounded)).astype(wanted.dtype)
    error[same & ~np.isfinite(rounded)] = 0
    error[~np.isfinite(rounded) & ~same] = np.inf
    error[np.isnan(error)] = np.inf
    return float(error.max())


wider = {"float32": np.float64, "float64": np.longdouble}


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("name", UNARY)
def test_units_in_the_last_place(k: ModuleType, name: str, dtype: str) -> None:
    if dtype == "float64" and np.finfo(np.longdouble).nmant < 60:
        pytest.skip("no wider format here")
    x = samples(dtype)
    y = np.full_like(x, 7)
    getattr(k, name)(x, y)
    allowed = {"sqrt": 0.5, "abs": 0, "sign": 0, "relu": 0, "log1p": 4.8}.get(name, 4)
    assert ulps(y, exact(name, x.astype(wider[dtype])), dtype) <= allowed


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_limits_are_exact(k: ModuleType, dtype: str) -> None:
    """Saturation: not nearly 1, but 1; and never beyond."""
    x = np.array([-np.inf, -1e4, -800, 800, 1e4, np.inf], dtype)
    wanted = {"tanh": [-1, -1, -1, 1, 1, 1], "sigmoid": [0, 0, 0, 1, 1, 1], "exp": [0, 0, 0, np.inf, np.inf, np.inf]}
    for name, limits in wanted.items():
        y = np.empty_like(x)
        getattr(k, name)(x, y)
        np.testing.assert_array_equal(y, np.array(limits, dtype), err_msg=name)
    x, y = samples(dtype), np.empty_like(samples(dtype))
    k.tanh(x, y)
    assert np.nanmax(np.abs(y)) == 1 and (np.signbit(y) == np.signbit(x))[~np.isnan(x)].all()
    k.sigmoid(x, y)
    assert np.nanmin(y) == 0 and np.nanmax(y) == 1


def test_a_payload_in_a_nan_does_no_harm(k: ModuleType) -> None:
    rng = np.random.default_rng(0)
    x = (rng.integers(1, 2**23, 4096, dtype=np.uint32) | np.uint32(0x7F800000)).view("f4")
    x = np.concatenate([x, -x])
    assert np.isnan(x).all()
    for name in set(UNARY):
        y = np.zeros_like(x)
        getattr(k, name)(x, y)
        assert np.isnan(y).all(), name


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("name", BINARY)
def test_binary(k: ModuleType, name: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    edge = np.array([0, 1, -1, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e3, -1e3, 3, -3], dtype)
    a, b = (g.ravel() for g in np.meshgrid(edge, edge))
    a = np.concatenate([a, rng.normal(0, 3, 20_000).astype(dtype)])
    b = np.concatenate([b, rng.normal(0, 3, 20_000).astype(dtype)])
    y = np.full_like(a, 7)
    getattr(k, name)(a, b, y)
    wide = wider[dtype]
    wanted = exact(name, a.astype(wide), b.astype(wide))
    if name == "logaddexp":
        eps = float(np.finfo(dtype).eps)
        np.testing.assert_allclose(y, wanted, rtol=10 * eps, atol=4 * eps)
    elif name in ("mod", "floordiv"):
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(y, exact(name, a, b))
    else:
        assert ulps(y, wanted, dtype) <= (1 if name == "power" else 4)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_functions_of_the_library(k: ModuleType, dtype: str) -> None:
    x = np.concatenate([np.linspace(-30, 30, 1001), [0, np.inf, -np.inf, np.nan]]).astype(dtype)
    wanted: dict[str, Any] = {"erf": special.erf, "re": np.real}
    for name in LIBRARY:
        y = np.full_like(x, 7)
        getattr(k, name)(x, y)
        with np.errstate(all="ignore"):
            exact_value = (wanted.get(name) or getattr(np, name))(x.astype(float))
        np.testing.assert_allclose(y, exact_value, rtol=8 * float(np.finfo(dtype).eps), err_msg=name)


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(k: ModuleType, name: str) -> None:
    edge = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan], "f4")
    a, b = (g.ravel() for g in np.meshgrid(edge, edge))
    y = np.empty(a.shape, bool)
    getattr(k, name)(a, b, y)
    np.testing.assert_array_equal(y, getattr(np, name)(a, b))


def test_clip_and_where(k: ModuleType) -> None:
    x = np.array([-2, 0.5, 2, np.nan, np.inf], "f4")
    y = np.empty_like(x)
    k.clip(x, -1.0, 1.0, y)
    np.testing.assert_array_equal(y, np.array([-1, 0.5, 1, np.nan, 1], "f4"))
    nan = np.full(3, np.nan, "f4")
    for c in (np.array([True, False, True]), np.array([1, 0, -2], "f4"), np.array([1, 0, 5], "i8")):
        y = np.empty(3, "f4")
        k.where(c, np.ones(3, "f4"), nan, y)
        np.testing.assert_array_equal(y, np.array([1, np.nan, 1], "f4"))


def test_wrong_arguments(k: ModuleType) -> None:
    with pytest.raises(TypingError, match="tanh takes float32 or float64 scalars, not"):
        k.tanh(np.zeros(3, "c8"), np.zeros(3, "c8"))


@pytest.mark.parametrize("name", ("exp", "log", "tanh", "sigmoid", "softplus", "log1p", "expm1", "relu"))
def test_loops_become_vector_code(k: ModuleType, name: str) -> None:
    """A call of libm in the loop would be ten times slower."""
    function = numba.njit(**OPTIONS)(getattr(k, name).py_func)  # not from disk, where LLVM's text is not kept
    function(np.zeros(9, "f4"), np.zeros(9, "f4"))
    text = "\n".join(function.inspect_llvm().values())
    assert "x float>" in text, "no vector of floats in the loop"
