"""Our pullbacks and pushforwards put to jax's own checks (`jax.test_util`), and gradients against jax's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tests.opdb import RECORDS
from tests.tinygrad_seq.test_primitives import CONSTANT, FLAT, closed

test_util = pytest.importorskip("jax.test_util")
jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
NAMES = sorted(set(RECORDS) - CONSTANT - FLAT)
rng = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def double() -> Any:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("name", NAMES)
def test_check_vjp_and_check_jvp(name: str) -> None:
    """On the first real samples that are not empty; jax's differences are central, with its own tolerance."""
    checked = 0
    for sample in RECORDS[name].samples():
        f, xs = closed(RECORDS[name], sample)
        if sample.kink or not all(x.size and x.dtype.kind == "f" for x in xs) or checked == 3:
            continue
        plain = functools.partial(_array, f)
        if plain(*xs).dtype.kind != "f":
            continue
        test_util.check_vjp(plain, functools.partial(tg.vjp, f), tuple(xs), atol=1e-5, rtol=1e-5)
        test_util.check_jvp(plain, lambda p, t, f=f: tg.jvp(f, list(p), list(t)), tuple(xs), atol=1e-5, rtol=1e-5)
        checked += 1
    assert checked or name in ("cis", "fft", "ifft")  # complex results


def _array(f: Callable[..., Any], *xs: Any) -> Any:
    return np.asarray(f(*xs))


def network(xp: Any, p: dict[str, Any], x: Any) -> Any:
    h = xp.tanh(xp.matmul(x, p["w"]) + p["b"])
    for _ in range(3):
        h = xp.where(h > 0.1, xp.sqrt(xp.abs(h) + 0.3), h * h) - xp.mean(h, axis=0, keepdims=True)
    top = xp.max(h, axis=-1, keepdims=True)
    return xp.sum(xp.log(xp.sum(xp.exp(h - top), axis=-1)) * xp.concat([x[:, 0], x[:, 1]])[: len(x)])


def test_gradients_hessians_and_jacobians_equal_jax_s() -> None:
    p = {"w": rng.standard_normal((3, 4)), "b": rng.standard_normal(4)}
    x = rng.standard_normal((5, 3))
    ours, theirs = functools.partial(network, tg), functools.partial(network, jnp)
    expected = jax.grad(theirs, (0, 1))(p, x)
    got = tg.grad(ours, (0, 1))(p, x)
    for a, b in ((got[0]["w"], expected[0]["w"]), (got[0]["b"], expected[0]["b"]), (got[1], expected[1])):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    hessian = jax.hessian(lambda w: theirs({**p, "w": w}, x))(p["w"])
    np.testing.assert_allclose(tg.hessian(lambda w: ours({**p, "w": w}, x))(p["w"]), hessian, rtol=1e-8, atol=1e-10)
    third = jax.jacfwd(jax.hessian(lambda b: theirs({**p, "b": b}, x)))(p["b"])
    mine = tg.jacobian(tg.hessian(lambda b: ours({**p, "b": b}, x)))(p["b"])
    np.testing.assert_allclose(mine, third, rtol=1e-8, atol=1e-9)
