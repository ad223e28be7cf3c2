"""Complex numbers: one convention, real gradients for real inputs, and what unitary networks need."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.primitive import REGISTRY
from tinygrad_seq.symbol import lift

rng = np.random.default_rng(3)


def draw(*shape: int) -> Any:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def test_the_gradient_is_the_slope_by_re_plus_i_times_the_slope_by_im() -> None:
    z, h = 0.3 - 0.7j, 1e-6

    def loss(z: Any) -> Any:
        return tg.sum(tg.real(z * z) + 3 * tg.imag(z) + tg.abs(z))

    by_re = (loss(np.array(z + h)) - loss(np.array(z - h))) / (2 * h)
    by_im = (loss(np.array(z + 1j * h)) - loss(np.array(z - 1j * h))) / (2 * h)
    assert tg.grad(loss)(np.array(z)) == pytest.approx(by_re + 1j * by_im, abs=1e-8)


def test_descending_along_it_lowers_a_loss() -> None:
    a, target, z = draw(4, 3), draw(4), draw(3)

    def loss(z: Any) -> Any:
        return tg.sum(tg.square(tg.abs(tg.matmul(a, z) - target)))

    first = loss(z)
    for _ in range(50):
        z = z - 0.02 * tg.grad(loss)(z)
    assert loss(z) < 0.5 * first


def test_a_real_input_s_gradient_is_real() -> None:
    x = tg.tensor(rng.standard_normal(4), requires_grad=True)
    tg.sum(tg.abs(tg.fft.fft(x) * draw(4)) + tg.imag(tg.cis(x))).backward()
    assert x.grad is not None and x.grad.dtype == np.float64
    tg.check_grads(lambda x: tg.abs(tg.fft.fft(x)), x.data)


def test_complex64_stays_complex64() -> None:
    z = tg.tensor(draw(3), requires_grad=True, dtype="complex64")
    y = tg.modrelu(tg.fft.ifft(tg.cis(tg.tensor([0.1, 0.2, 0.3], dtype="float32")) * z * 2), np.float32(0.1))
    assert y.dtype == np.complex64
    tg.sum(tg.abs(y)).backward()
    assert z.grad is not None and z.grad.dtype == np.complex64


def test_order_is_a_matter_of_real_numbers() -> None:
    z = tg.tensor(draw(3), requires_grad=True)
    for call in (lambda: tg.maximum(z, 0), lambda: tg.relu(z), lambda: tg.max(z), lambda: tg.softmax(z)):
        with pytest.raises(TypeError, match="a function of real numbers"):
            call()
    with pytest.raises(tg.GradientError, match="complex value needs a cotangent"):
        tg.sum(z).backward()
    with pytest.raises(tg.GradientError, match="real result"):
        tg.grad(lambda z: tg.sum(z))(draw(3))
    with pytest.raises(TypeError, match="jacobian needs real results"):
        tg.jacobian(lambda z: z * 2)(draw(3))


def test_values_and_gradients_at_zero_are_zero() -> None:
    zero = np.zeros(3, complex)
    for f in (tg.abs, tg.sign, lambda z: tg.modrelu(z, np.full(3, 0.5)), tg.angle):
        y, pull = tg.vjp(f, zero)
        np.testing.assert_array_equal(y, 0)
        np.testing.assert_array_equal(pull(np.ones(3, np.asarray(y).dtype))[0], 0)
    second = tg.grad(lambda z: tg.sum(tg.abs(tg.grad(lambda w: tg.sum(tg.abs(w)))(z))))(zero)
    assert np.all(np.isfinite(second))


def test_modrelu_is_relu_on_the_radius() -> None:
    z = np.array([3 + 4j, 0.3 + 0.4j, -2j, 0])
    np.testing.assert_allclose(tg.modrelu(z, -1.0), [2.4 + 3.2j, 0, -1j, 0])
    np.testing.assert_allclose(tg.modrelu(np.array([2.0, -3.0]), np.array([1.0, -1.0])), [3, -2])


def test_a_reflection_turns_r_round_and_leaves_what_is_across() -> None:
    r, x = draw(5), draw(3, 5)
    h = np.eye(5) - 2 * np.outer(r, r.conj()) / np.vdot(r, r)
    reflect = REGISTRY["reflect"]
    np.testing.assert_allclose(reflect(r, x), x @ h.T)
    np.testing.assert_allclose(reflect(r, reflect(r, x)), x)
    np.testing.assert_allclose(reflect(r, r), -r)


def test_a_permutation_and_its_inverse() -> None:
    p, x = np.array([2, 0, 1]), rng.standard_normal((4, 3))
    np.testing.assert_array_equal(tg.permute(p, x), x[:, p])
    np.testing.assert_array_equal(tg.unpermute(p, tg.permute(p, x)), x)


def test_a_unitary_step_keeps_the_norm_of_its_state_and_of_its_gradient() -> None:
    """h' = D3 R2 F⁻¹ D2 P R1 F D1 h (Arjovsky, Shah and Bengio 2016)."""
    n = 8
    d1, d2, d3 = (rng.uniform(-math.pi, math.pi, n) for _ in range(3))
    r1, r2, p, h, g = draw(n), draw(n), rng.permutation(n), draw(n), draw(n)

    def step(h: Any) -> Any:
        inner = tg.permute(p, tg.reflect(r1, tg.fft.fft(tg.cis(d1) * h)))
        return tg.cis(d3) * tg.reflect(r2, tg.fft.ifft(tg.cis(d2) * inner))

    y, pull = tg.vjp(step, h)
    assert np.linalg.norm(y) == pytest.approx(np.linalg.norm(h))
    assert np.linalg.norm(pull(g)[0]) == pytest.approx(np.linalg.norm(g))
    tg.check_grads(step, h)


def test_jvp_and_hvp_of_complex_arguments() -> None:
    a, z, v = draw(3, 3), draw(3), draw(3)

    def f(z: Any) -> Any:
        return tg.abs(tg.matmul(a, z)) * tg.imag(z)

    h = 1e-6
    _, tangent = tg.jvp(f, (z,), (v,))
    np.testing.assert_allclose(tangent, (f(z + h * v) - f(z - h * v)) / (2 * h), rtol=1e-7)
    slope = tg.grad(lambda z: tg.sum(f(z)))
    product = tg.hvp(lambda z: tg.sum(f(z)), z, v)
    np.testing.assert_allclose(product, (slope(z + h * v) - slope(z - h * v)) / (2 * h), rtol=1e-6, atol=1e-8)


def test_on_reals_the_rules_lose_their_conjugates() -> None:
    said = str(tg.explain("sign")).splitlines()
    assert said[1] == "  x_bar = no gradient" and "im(conj(y) * g)" in said[3]
    x = lift("x")
    assert REGISTRY["conj"](REGISTRY["conj"](x)) is x


def test_fourier_pairs_against_numpy() -> None:
    x, z = rng.standard_normal((2, 6)), draw(2, 6)
    np.testing.assert_allclose(tg.fft.fft(z, axis=0), np.fft.fft(z, axis=0))
    np.testing.assert_allclose(tg.fft.ifft(tg.fft.fft(z)), z)
    np.testing.assert_allclose(np.asarray(tg.fft.fft(tg.tensor(x))), np.fft.fft(x))
