"""The compiled loops over rows: that they are NumPy's functions, with whatever may stand in a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
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
