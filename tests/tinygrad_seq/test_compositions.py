"""Random programs over awkward arrays: value, gradient and gradient of the gradient as jax has them, in float64.

A program is a list of operations, each on values computed before, so that values are shared, broadcast, reversed,
emptied and used twice. `TGSEQ_FUZZ=5000` draws that many programs, other ones each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")

MORE = os.environ.get("TGSEQ_FUZZ")
COUNT, PER_TEST = int(MORE or 30), 10
SHAPES = [(), (1,), (3,), (2, 3), (2, 1), (1, 3), (3, 3), (0,), (2, 0), (1, 1, 3), (4, 2, 3)]


class Jax:
    """Our names where jax has others."""

    sigmoid, softplus, relu = (staticmethod(f) for f in (jax.nn.sigmoid, jax.nn.softplus, jax.nn.relu))
    logsumexp, softmax = (staticmethod(f) for f in (jax.nn.logsumexp, jax.nn.softmax))
    log_softmax, erf = staticmethod(jax.nn.log_softmax), staticmethod(jax.scipy.special.erf)

    def __getattr__(self, name: str) -> Any:
        return getattr(jnp, name)


UNARY: list[Callable[..., Any]] = [
    *(lambda xp, x, n=n: getattr(xp, n)(x) for n in "tanh sin cos arctan sigmoid softplus arcsinh erf square".split()),
    lambda xp, x: xp.exp(xp.tanh(x)),
    lambda xp, x: xp.log(1.5 + xp.sin(x)),
    lambda xp, x: xp.sqrt(1.5 + xp.cos(x)),
    lambda xp, x: (1.2 + xp.tanh(x)) ** 1.7,
    lambda xp, x: 1.7 ** xp.tanh(x),
    lambda xp, x: x**3 - 2 * x,
    lambda xp, x: xp.abs(x) * x,
    lambda xp, x: xp.where(x > 0.1, xp.sin(x), x * x),
    lambda xp, x: x[::-1] if x.ndim else x,
    lambda xp, x: x[..., ::2] * 1.5 if x.ndim else x,
    lambda xp, x: x[..., [0, -1, 0]] if x.ndim and x.shape[-1] else x,
    lambda xp, x: x.T,
    lambda xp, x: xp.expand_dims(x, axis=0) if x.ndim < 3 else x[0],
    lambda xp, x: xp.reshape(x, (-1,)) if x.size else x,
    lambda xp, x: xp.concat([x, 2 * x], axis=-1) if x.ndim else x,
    lambda xp, x: xp.stack([x, xp.sin(x)], axis=0) if x.ndim < 3 else x,
    lambda xp, x: xp.roll(x, 1, axis=-1) if x.ndim else x,
    lambda xp, x: xp.cumsum(x, axis=-1) if x.ndim else x,
    lambda xp, x: xp.sum(x, axis=-1) if x.ndim else x,
    lambda xp, x: xp.mean(x, axis=0, keepdims=True) if x.ndim and x.shape[0] else x,
    lambda xp, x: xp.prod(xp.tanh(x), axis=-1) if x.ndim else x,
    lambda xp, x: xp.logsumexp(x, axis=-1) if x.ndim and x.shape[-1] else x,
    lambda xp, x: xp.softmax(x, axis=-1) if x.ndim and x.shape[-1] else x,
    lambda xp, x: xp.log_softmax(x, axis=0) if x.ndim and x.shape[0] else x,
    lambda xp, x: xp.max(x, axis=-1) if x.ndim and x.shape[-1] else x,
    lambda xp, x: xp.var(x, axis=-1) if x.ndim and x.shape[-1] else x,
]
BINARY: list[Callable[..., Any]] = [
    lambda xp, a, b: a + b,
    lambda xp, a, b: a - b,
    lambda xp, a, b: a * b,
    lambda xp, a, b: a / (2 + xp.sin(b)),
    lambda xp, a, b: xp.maximum(a, b + 0.01),
    lambda xp, a, b: xp.where(a < b, a, xp.sin(b)),
    lambda xp, a, b: (1.5 + xp.sin(a)) ** xp.tanh(b),
    lambda xp, a, b: xp.arctan2(a, 1.5 + xp.sin(b)),
    lambda xp, a, b: xp.logaddexp(a, b),
]


def fits(a: Any, b: Any) -> bool:
    try:
        return len(np.broadcast_shapes(a.shape, b.shape)) < 4
    except ValueError:
        return False


def program(seed: int) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """Inputs (floating ones, then a boolean and a whole one), and what to compute from which earlier values."""
    rng = np.random.default_rng(seed)
    shapes = [SHAPES[i] for i in rng.integers(0, len(SHAPES), 2)]
    inputs: list[Any] = [rng.uniform(-1.2, 1.2, s) for s in shapes]
    inputs = [x[::-1] if x.ndim and rng.random() < 0.3 else x for x in inputs]
    extra = [rng.integers(0, 2, 3).astype(bool), rng.integers(-2, 3, (2, 1))]
    values, steps = [*inputs, *extra], []
    for _ in range(int(rng.integers(3, 12))):
        if rng.random() < 0.5:
            step: tuple[Any, ...] = (UNARY[int(rng.integers(len(UNARY)))], int(rng.integers(len(values))))
            if step[1] in (2, 3):
                continue
        else:
            first = int(rng.integers(len(values)))
            partners = [
                k for k, v in enumerate(values) if fits(values[first], v) and (first, k) not in ((2, 2), (3, 3))
            ]
            if first in (2, 3) or not partners:
                continue
            step = (BINARY[int(rng.integers(len(BINARY)))], first, int(rng.choice(partners)))
        with np.errstate(all="ignore"):
            made = step[0](tg, *(values[k] for k in step[1:]))
        if np.size(made) > 200 or not np.all(np.abs(made) < 30):
            continue
        values.append(np.asarray(made))
        steps.append(step)
    return [*inputs, *extra], steps


def run(xp: Any, inputs: list[Any], extra: list[Any], steps: list[tuple[Any, ...]]) -> Any:
    values = [*inputs, *extra]
    for f, *which in steps:
        values.append(f(xp, *(values[k] for k in which)))
    return sum(
        (xp.sum(xp.sin(v + 0.3)) for v in values[2:] if v.dtype not in (bool, np.int64)), start=xp.sum(inputs[0])
    )


@pytest.fixture
def double() -> Any:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("block", range((COUNT + PER_TEST - 1) // PER_TEST))
def test_random_programs(block: int) -> None:
    offset = int(np.random.default_rng().integers(1 << 40)) if MORE else 0
    for seed in range(offset + block * PER_TEST, offset + (block + 1) * PER_TEST):
        agree(seed)


def agree(seed: int) -> None:
    (a, b, *extra), steps = program(seed)
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal(a.shape), rng.standard_normal(b.shape)

    def ours(x: Any, y: Any) -> Any:
        return run(tg, [x, y], extra, steps)

    def theirs(x: Any, y: Any) -> Any:
        return run(Jax(), [x, y], [jnp.asarray(e.astype(int)) for e in extra], steps)  # booleans are float32 to jax

    value, grads = tg.value_and_grad(ours, argnums=(0, 1))(a, b)
    expected, slopes = jax.value_and_grad(theirs, argnums=(0, 1))(jnp.asarray(a), jnp.asarray(b))
    close(value, expected, seed, "value")
    for got, slope, x in zip(grads, slopes, (a, b), strict=True):
        assert got.shape == x.shape and got.dtype == np.float64, f"program {seed}"
        close(got, slope, seed, "gradient")
    second = tg.hvp(ours, (a, b), (u, v))
    at = tuple(jnp.asarray(x) for x in (a, b))
    _, turned = jax.jvp(jax.grad(theirs, argnums=(0, 1)), at, (jnp.asarray(u), jnp.asarray(v)))
    for got, turn in zip(second, turned, strict=True):
        close(got, turn, seed, "gradient of the gradient")


def close(got: Any, expected: Any, seed: int, what: str) -> None:
    scale = float(np.max(np.abs(expected), initial=1.0))
    np.testing.assert_allclose(
        np.asarray(got), expected, rtol=1e-9, atol=1e-10 * scale, err_msg=f"{what}, program {seed}"
    )


def test_programs_are_not_trivial() -> None:
    lengths = [len(program(seed)[1]) for seed in range(200)]
    assert np.mean(lengths) > 4 and sum(n == 0 for n in lengths) < 10
