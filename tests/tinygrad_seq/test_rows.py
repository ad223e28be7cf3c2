"""The compiled loops over rows: that they are NumPy's functions, with whatever may stand in a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq import derivative
from tinygrad_seq.ops.reduce import COMPILED

INF, NAN = np.inf, np.nan
# what stands in a row besides ordinary numbers
ROWS: dict[str, list[float]] = {
    "ordinary": [], "huge": [1e4, 9e3], "tiny": [-1e3], "masked": [-INF, -INF], "infinite": [INF],
    "not a number": [NAN], "a negative NaN": [-NAN, 3.0], "NaN beside infinity": [NAN, INF], "minus zero": [-0.0, 0.0],
}  # fmt: skip


def drawn(dtype: str, extra: list[float]) -> Any:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((31, COMPILED // 31 + 2)).astype(dtype)
    x[::3, 5 : 5 + len(extra)] = extra
    x[1] = -np.abs(x[1]) - 2  # negative throughout
    x[4] = -np.abs(x[4]) - 500  # and so far down that every exponential is 0 unless the maximum is taken off
    if extra and np.isneginf(extra[0]):
        x[2] = -INF
    return x


def by_numpy(x: Any) -> tuple[Any, Any]:
    """softmax and logsumexp in float64."""
    x = x.astype(np.float64)
    top = np.max(x, axis=1, keepdims=True)
    top = np.where(np.isinf(top), 0, top)
    e = np.exp(x - top)
    total = np.sum(e, axis=1, keepdims=True)
    return e / total, (np.log(total) + top)[:, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("what", ROWS)
def test_compiled_rows_are_numpy_s(dtype: str, what: str) -> None:
    x = drawn(dtype, ROWS[what])
    tolerance = {"rtol": 2e-5, "atol": 1e-7} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-15}
    with np.errstate(all="ignore"):
        p, total = by_numpy(x)
        np.testing.assert_allclose(tg.softmax(x), p, **tolerance)
        np.testing.assert_allclose(tg.logsumexp(x, axis=1), total, **tolerance)
        target = np.arange(len(x)) % 7 - 1
        chosen = np.where(target < 0, 0, np.take_along_axis(x, np.maximum(target, 0)[:, None], 1)[:, 0])
        t = tg.tensor(x, requires_grad=True)
        loss = tg.cross_entropy(t, np.maximum(target, 0), reduction="none")
        each = tg.REGISTRY["cross_entropy"](t, target)
        np.testing.assert_allclose(each.data, total - chosen.astype(np.float64), rtol=1e-4, atol=2e-3)
        if np.isfinite(x[:, 5:7]).all():
            g = np.linspace(-1, 1, len(x)).astype(dtype)
            each.backward(g)
            hot = np.where(target[:, None] >= 0, target[:, None] == np.arange(x.shape[1]), 0)
            np.testing.assert_allclose(t.grad.data, (p - hot) * g[:, None], rtol=1e-4, atol=1e-6)
        assert loss.dtype == dtype


# ---------------------------------------------------------------- what goes back, all at once


AXES = [((130, 200), -1), ((130, 200), 0), ((130, 200), None), ((7, 40, 9, 11), (1, 2)), ((7, 40, 99), (0, 1)),
        ((7, 40, 99), (0, 2)), ((300, 1, 90), 1), ((1, 30000), 0)]  # fmt: skip


def pulled(op: Any, x: Any, static: dict[str, Any], quick: bool) -> Any:
    """The cotangent of x for one of y, by the loops of the primitive or by its rule."""
    call = op.at_once if not quick else None
    try:
        if not quick:
            op.at_once = None
        derivative._cache.clear()
        t = tg.tensor(x, requires_grad=True)
        y = op(t, **static)
        y.backward(np.cos(np.arange(y.size, dtype=x.dtype)).reshape(y.shape))
        return t.grad.data
    finally:
        op.at_once = call or op.at_once
        derivative._cache.clear()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["max", "min", "logsumexp", "softmax", "log_softmax"])
def test_what_is_done_at_once_is_the_rule(name: str, dtype: str) -> None:
    """Over rows, columns, and axes between: ties, infinities and non-contiguous arrays too."""
    rng, op = np.random.default_rng(2), tg.REGISTRY[name]
    for shape, axis in AXES:
        x = rng.integers(-9, 9, shape).astype(dtype) / 4
        x[0] = -INF if x[0].size < x.size else x[0]
        for values in (x, x.T, np.moveaxis(x, 0, -1)):
            for keepdims in (False, True) if name in ("max", "min", "logsumexp") else (None,):
                if (axis is None or isinstance(axis, tuple)) and keepdims is None:
                    continue
                static = {"axis": axis} | ({} if keepdims is None else {"keepdims": keepdims})
                with np.errstate(all="ignore"):
                    found, expected = (pulled(op, values, static, quick) for quick in (True, False))
                tolerance = {"rtol": 1e-4, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-13}
                np.testing.assert_allclose(found, expected, **tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_many_are_as_exact_as_numpy_s(dtype: str) -> None:
    rng = np.random.default_rng(3)
    for shape, axis in AXES:
        x = (rng.standard_normal(shape) + 1).astype(dtype)
        for name in ("sum", "mean"):
            exact = getattr(np, name)(x.astype(np.longdouble), axis=axis)
            ours, numpy_s = tg.REGISTRY[name](x, axis=axis), getattr(np, name)(x, axis=axis)
            assert ours.dtype == x.dtype and np.shape(ours) == exact.shape
            bound = max(2 * abs(numpy_s - exact).max(), 4 * np.finfo(dtype).eps * abs(exact).max())
            assert abs(ours - exact).max() <= bound


def test_a_derivative_of_what_is_done_at_once() -> None:
    """The pass that is recorded goes by the rule, so that its own derivative is there."""
    x, v = np.random.default_rng(4).standard_normal((2, 30, 700))
    for f in (tg.softmax, tg.log_softmax, lambda t: tg.logsumexp(t, axis=1), lambda t: tg.max(t, axis=0)):
        loss = lambda t, f=f: tg.sum(tg.square(f(t)) * 3.0)  # noqa: E731 - a name for each of the four
        step = 1e-6
        numeric = (tg.grad(loss)(x + step * v) - tg.grad(loss)(x - step * v)) / (2 * step)
        np.testing.assert_allclose(tg.hvp(loss, x, v), numeric, rtol=1e-4, atol=1e-6)
