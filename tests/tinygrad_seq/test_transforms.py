"""Transformations, contexts, clients' nodes and explanations: that they agree with each other and say what is wrong."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tests.opdb import RECORDS
from tests.tinygrad_seq.test_traps import gradient, var

rng = np.random.default_rng(5)


# ---------------------------------------------------------------- NaN detector


def test_detect_anomaly_names_the_first_bad_operation_and_line() -> None:
    with tg.detect_anomaly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(tg.AnomalyError, match=r"the result of log has NaN \(made at .*test_transforms\.py:\d+\)"):
            tg.exp(tg.log(var(-1.0)))
        y = tg.sqrt(var(0.0)) * 2
        with pytest.raises(tg.AnomalyError, match="cotangent of an input of sqrt has an infinity"):
            y.backward()


# ---------------------------------------------------------------- a client's node


def test_a_custom_node_with_several_outputs() -> None:
    x, w = var([1.0, 2.0]), var(3.0)
    seen: list[Any] = []

    def pull(cotangents: list[Any]) -> list[Any]:
        seen.append(cotangents)
        g, h = (np.zeros(2) if c is None else c for c in cotangents)
        return [g * w.data + 2 * h * x.data, np.sum(g * x.data)]

    def run() -> list[Any]:
        return tg.custom_node(
            "run", [x, w, tg.tensor(np.arange(3))], [x.data * w.data, x.data**2], lambda c: [*pull(c), None]
        )

    a, b = run()
    a.sum().backward(retain_graph=True)
    assert seen[0][1] is None
    np.testing.assert_array_equal(gradient(x), [3, 3])
    assert gradient(w) == 3
    (a.sum() + b.sum()).backward(retain_graph=True)
    np.testing.assert_array_equal(gradient(x), [3 + 3 + 2, 3 + 3 + 4])
    (b * 2).sum().backward()
    assert len(seen) == 3 and seen[2][0] is None
    with pytest.raises(tg.GradientError, match="residuals of run"):
        a.sum().backward()
    with tg.no_grad():
        assert not any(t.requires_grad for t in run())
    a, b = run()
    with pytest.raises(tg.GradientError, match="no gradient of its gradient"):
        a.sum().backward(create_graph=True)


# ---------------------------------------------------------------- transformations


def test_transformations_agree_with_each_other() -> None:
    w = rng.standard_normal((3, 4))

    def f(x: Any) -> Any:
        return tg.tanh(tg.matmul(w, x)) * tg.sum(x)

    x, v, u = rng.standard_normal(4), rng.standard_normal(4), rng.standard_normal(3)
    jacobian = tg.jacobian(f)(x)
    y, tangent = tg.jvp(f, (x,), (v,))
    np.testing.assert_allclose(tangent, jacobian @ v, rtol=1e-12)
    y, pullback = tg.vjp(f, x)
    np.testing.assert_allclose(pullback(u)[0], u @ jacobian, rtol=1e-12)
    np.testing.assert_allclose(pullback(2 * u)[0], 2 * u @ jacobian, rtol=1e-12)

    def scalar(x: Any) -> Any:
        return tg.sum(f(x) ** 2)

    hessian = tg.hessian(scalar)(x)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(tg.hvp(scalar, x, v), hessian @ v, rtol=1e-10)
    both = tg.hvp(lambda a, b: tg.sum(a * a * b), (x, v), (v, x))
    np.testing.assert_allclose(both[0], 2 * v * v + 2 * x * x, rtol=1e-12)
    np.testing.assert_allclose(both[1], 2 * x * v, rtol=1e-12)


def test_grad_of_nested_arguments_and_aux() -> None:
    params = {"w": np.ones(2), "layers": [np.full(2, 2.0), (3.0,)]}

    def f(p: Any, x: Any) -> Any:
        y = p["w"] * p["layers"][0] * p["layers"][1][0] * x
        return tg.sum(y), {"y": y}

    (value, aux), grads = tg.value_and_grad(f, has_aux=True)(params, np.ones(2))
    assert value == 12 and list(grads) == ["w", "layers"] and aux["y"].shape == (2,)
    np.testing.assert_array_equal(grads["w"], [6, 6])
    assert grads["layers"][1][0] == 4
    assert tg.grad(lambda a, b: a * b * b, argnums=(1, 0))(2.0, 3.0) == (12.0, 9.0)
    with pytest.raises(tg.GradientError, match="scalar"):
        tg.grad(lambda x: x)(np.ones(2))
    with pytest.raises(TypeError, match="floating"):
        tg.grad(lambda x: tg.sum(x))(np.arange(3))


def test_a_gradient_inside_free_tape_code_is_differentiated_through() -> None:
    a = var(2.0)
    inner = tg.grad(lambda x: (a * x) ** 2)(3.0)  # 2 a² x
    (inner * 1.0).backward()
    assert inner.data == 24 and gradient(a) == 24  # ∂(2 a² x)/∂a = 4 a x
    b = var(2.0)
    (b**3).backward(create_graph=True)
    assert b.grad is not None
    first = b.grad
    b.grad = None
    first.backward()
    assert gradient(b) == 12


def test_stop_gradient() -> None:
    assert tg.grad(lambda x: tg.stop_gradient(x) * x)(3.0) == 3


def test_check_grads_rejects_a_gradient_that_is_a_thousandth_off() -> None:
    def wrong(x: Any) -> Any:
        t = x if isinstance(x, tg.Tensor) else tg.tensor(x)
        return tg.custom_node("wrong", [t], [np.sin(t.data)], lambda g: [1.001 * g[0] * np.cos(t.data)])[0]

    with pytest.raises(AssertionError, match="order 1"):
        tg.check_grads(wrong, np.array(0.7), order=1)

    def wrong_second(x: Any) -> Any:
        t = x if isinstance(x, tg.Tensor) else tg.tensor(x)
        pull = lambda g: [g[0] * tg.stop_gradient(tg.cos(t))]  # noqa: E731 - right value, no second derivative
        return tg.custom_node("wrong", [t], [np.sin(t.data)], pull, differentiable=True)[0]

    tg.check_grads(lambda x: tg.sin(x), np.array(0.7))
    with pytest.raises(AssertionError, match="order 2"):
        tg.check_grads(wrong_second, np.array(0.7))


def test_explain_says_the_rule_its_latex_and_what_it_keeps() -> None:
    said = str(tg.explain("tanh"))
    assert "x_bar = g * ((1 + y) * (1 - y))" in said and "keeps    y" in said
    assert r"\bar{x} = g \odot \left(1 + y\right) \odot \left(1 - y\right)" in said
    assert "w_bar = outer(g, x)" in tg.explain("matvec") and "keeps    w, x" in tg.explain("matvec")
    assert "keeps    shape_of(x)" in tg.explain("sum")
    said = str(tg.explain("cross_entropy"))
    assert "one_hot(target, size(logits, axis=-1))" in said and said.splitlines()[5] == "keeps    logits, target"
    assert "keeps    nothing" in tg.explain("add")
    assert "0 at 0" in tg.explain("abs")
    for name in RECORDS:
        assert tg.explain(name)
    with pytest.raises(ValueError, match="no primitive is named 'tahn'"):
        tg.explain("tahn")


def test_a_primitive_of_one_s_own_in_a_few_lines() -> None:
    gauss = tg.elementwise("gauss", lambda x: np.exp(-x * x), tex=r"e^{{-{0}^2}}")
    try:
        gauss.partials(lambda y, x: (-2 * x * y,))
        tg.check_grads(lambda x: gauss(x), rng.standard_normal(5))
        assert "keeps    y, x" in tg.explain("gauss")
    finally:
        del tg.REGISTRY["gauss"]
