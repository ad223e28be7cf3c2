"""Shapes, indices, matrices and reductions under array-API names: values against NumPy, gradients of both orders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import tinygrad_seq as tg
from tests.tinygrad_seq.test_traps import gradient, var

rng = np.random.default_rng(17)
X = rng.standard_normal((2, 3, 4))
S = rng.standard_normal((2, 3, 3)) * 0.4 + 2 * np.eye(3)
T4 = rng.standard_normal((2, 2, 3, 2))
MASK = X > 0.2
ORDER = np.argsort(X, axis=1)

AGAINST_NUMPY: list[tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = [
    (X, lambda x: tg.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1)),
    (X, lambda x: tg.moveaxis(x, (0, 1), (-1, 0)), lambda x: np.moveaxis(x, (0, 1), (-1, 0))),
    (X, lambda x: tg.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1)),
    (X, lambda x: tg.flatten(x), lambda x: x.ravel()),
    (X, lambda x: tg.roll(x, 5, axis=-1), lambda x: np.roll(x, 5, -1)),
    (X, lambda x: tg.roll(x, (1, -1), axis=(0, 2)), lambda x: np.roll(x, (1, -1), (0, 2))),
    (X, lambda x: tg.roll(x, 3), lambda x: np.roll(x, 3)),
    (X, lambda x: tg.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3))),
    (X, lambda x: tg.tile(x, 2), lambda x: np.tile(x, 2)),
    (X, lambda x: tg.tile(x, (2, 1, 1, 2)), lambda x: np.tile(x, (2, 1, 1, 2))),
    (X, lambda x: tg.repeat(x, 2, axis=1), lambda x: np.repeat(x, 2, axis=1)),
    (X, lambda x: tg.repeat(x, [1, 0, 3], axis=1), lambda x: np.repeat(x, [1, 0, 3], axis=1)),
    (X, lambda x: tg.repeat(x, 2), lambda x: np.repeat(x, 2)),
    (X, lambda x: tg.pad(x, 1), lambda x: np.pad(x, 1)),
    (
        X,
        lambda x: tg.pad(x, [(0, 1), (2, 0), (1, 1)], value=-3.5),
        lambda x: np.pad(x, [(0, 1), (2, 0), (1, 1)], constant_values=-3.5),
    ),
    (X, lambda x: tg.pad(x, (1, 2), mode="edge"), lambda x: np.pad(x, (1, 2), mode="edge")),
    (
        X,
        lambda x: tg.pad(x, [(0, 0), (1, 2), (3, 0)], mode="reflect"),
        lambda x: np.pad(x, [(0, 0), (1, 2), (3, 0)], mode="reflect"),
    ),
    (
        X,
        lambda x: tg.pad(x, [(0, 0), (4, 0), (0, 3)], mode="wrap"),
        lambda x: np.pad(x, [(0, 0), (4, 0), (0, 3)], mode="wrap"),
    ),
    (X[:1], lambda x: tg.squeeze(x), lambda x: np.squeeze(x)),
    (X, lambda x: tg.expand_dims(x, axis=1), lambda x: np.expand_dims(x, 1)),
    (X, lambda x: tg.unstack(x, axis=1)[2], lambda x: x[:, 2]),
    (X, lambda x: tg.diagonal(x, offset=1), lambda x: np.diagonal(x, 1, -2, -1)),
    (X, lambda x: tg.diagonal(x, offset=-1), lambda x: np.diagonal(x, -1, -2, -1)),
    (X[0, 0], lambda x: tg.diag(x), lambda x: np.diag(x)),
    (X, lambda x: tg.take_along_axis(x, ORDER, axis=1), lambda x: np.take_along_axis(x, ORDER, axis=1)),
    (X, lambda x: x[MASK], lambda x: x[MASK]),
    (X, lambda x: x[:, MASK[0, :, 0]], lambda x: x[:, MASK[0, :, 0]]),
    (X, lambda x: x[..., None, ::-1], lambda x: x[..., None, ::-1]),
    (
        X,
        lambda x: x[np.array([0, 1, 0]), 1:, np.array([0, 0, -1])],
        lambda x: x[np.array([0, 1, 0]), 1:, np.array([0, 0, -1])],
    ),
    (X, lambda x: tg.cumprod(x, axis=1), lambda x: np.cumprod(x, axis=1)),
    (X, lambda x: tg.cumprod(x, axis=-1), lambda x: np.cumprod(x, axis=-1)),
    (X, lambda x: tg.diff(x, axis=1, n=2), lambda x: np.diff(x, axis=1, n=2)),
    (X, lambda x: tg.sort(x, axis=1), lambda x: np.sort(x, axis=1)),
    (X, lambda x: tg.sort(x, descending=True), lambda x: -np.sort(-x)),
    (X, lambda x: tg.median(x, axis=0), lambda x: np.median(x, axis=0)),
    (X, lambda x: tg.median(x, axis=1), lambda x: np.median(x, axis=1)),
    (X, lambda x: tg.gelu(x), lambda x: x * scipy.special.ndtr(x)),
    (X, lambda x: tg.silu(x), lambda x: x * scipy.special.expit(x)),
    (X, lambda x: tg.log_sigmoid(x), lambda x: scipy.special.log_expit(x)),
    (X, lambda x: tg.fft.irfft(tg.fft.rfft(x, axis=1) * 2, n=3, axis=1), lambda x: 2 * x),
    (X, lambda x: tg.fft.irfft(tg.fft.rfft(x), n=4), lambda x: x),
    (S, lambda x: tg.linalg.inv(x), lambda x: np.linalg.inv(x)),
    (S, lambda x: tg.linalg.det(x), lambda x: np.linalg.det(x)),
    (S, lambda x: tg.linalg.slogdet(x)[1], lambda x: np.linalg.slogdet(x)[1]),
    (S, lambda x: tg.linalg.solve(x, X), lambda x: np.linalg.solve(x, X)),
    (S, lambda x: tg.linalg.solve(x[0], X[0, :, 0]), lambda x: np.linalg.solve(x[0], X[0, :, 0])),
    (
        S,
        lambda x: tg.linalg.cholesky(tg.matmul(x, tg.matrix_transpose(x))),
        lambda x: np.linalg.cholesky(x @ np.swapaxes(x, 1, 2)),
    ),
    (S, lambda x: tg.linalg.eigvalsh(x), lambda x: np.linalg.eigvalsh((x + np.swapaxes(x, 1, 2)) / 2)),
    (
        S,
        lambda x: tg.linalg.eigh(x).eigenvectors ** 2,
        lambda x: np.linalg.eigh((x + np.swapaxes(x, 1, 2)) / 2)[1] ** 2,
    ),
    (X, lambda x: tg.linalg.svdvals(x), lambda x: np.linalg.svd(x, compute_uv=False)),
    (
        X,
        lambda x: tg.linalg.svd(x, full_matrices=False).U[..., :2] ** 2,
        lambda x: np.linalg.svd(x, full_matrices=False)[0][..., :2] ** 2,
    ),
    (
        X,
        lambda x: tg.linalg.svd(x, full_matrices=False).Vh ** 2,
        lambda x: np.linalg.svd(x, full_matrices=False)[2] ** 2,
    ),
    (S, lambda x: tg.linalg.qr(x).R, lambda x: np.linalg.qr(x)[1]),
    (X, lambda x: tg.linalg.pinv(x), lambda x: np.linalg.pinv(x)),
    (X, lambda x: tg.linalg.matrix_norm(x, ord="nuc"), lambda x: np.linalg.norm(x, "nuc", axis=(1, 2))),
    (X, lambda x: tg.linalg.matrix_norm(x, ord=-2, keepdims=True), lambda x: np.linalg.norm(x, -2, (1, 2), True)),
    (X, lambda x: tg.logcumsumexp(x, axis=1), lambda x: np.logaddexp.accumulate(x, axis=1)),
    (
        X,
        lambda x: tg.cumulative_sum(x, axis=1, include_initial=True),
        lambda x: np.cumulative_sum(x, axis=1, include_initial=True),
    ),
    (X, lambda x: tg.cumulative_prod(x, axis=2), lambda x: x.cumprod(2)),
    (X, lambda x: tg.meshgrid(x[0, 0], x[0, :, 0])[1], lambda x: np.meshgrid(x[0, 0], x[0, :, 0])[1]),
    (X, lambda x: tg.broadcast_arrays(x, x[:1])[1], lambda x: np.broadcast_arrays(x, x[:1])[1]),
    (X, lambda x: tg.abs(tg.fft.fft2(x, s=(4, 3), norm="ortho")), lambda x: abs(np.fft.fft2(x, (4, 3), norm="ortho"))),
    (X, lambda x: tg.abs(tg.fft.rfftn(x, axes=(0, 2))), lambda x: abs(np.fft.rfftn(x, axes=(0, 2)))),
    (X, lambda x: tg.fft.irfftn(tg.fft.rfftn(x), s=(2, 3, 4)), lambda x: x),
    (X, lambda x: tg.fft.hfft(x + 0j, n=5, axis=1), lambda x: np.fft.hfft(x, 5, axis=1)),
    (X, lambda x: tg.real(tg.fft.ihfft(x, norm="forward")), lambda x: np.fft.ihfft(x, norm="forward").real),
    (X, lambda x: tg.fft.ifftshift(tg.fft.fftshift(x, axes=1), axes=1), lambda x: x),
    (S, lambda x: tg.linalg.trace(x, offset=1), lambda x: np.trace(x, 1, -2, -1)),
    (S, lambda x: tg.tril(x, k=-1), lambda x: np.tril(x, -1)),
    (S, lambda x: tg.triu(x, k=1), lambda x: np.triu(x, 1)),
    (S, lambda x: tg.linalg.matrix_power(x, 3), lambda x: np.linalg.matrix_power(x, 3)),
    (S, lambda x: tg.linalg.matrix_power(x, -2), lambda x: np.linalg.matrix_power(x, -2)),
    (X, lambda x: tg.linalg.vector_norm(x, axis=-1, ord=3), lambda x: np.linalg.norm(x, 3, axis=-1)),
    (X, lambda x: tg.linalg.vector_norm(x, axis=1, ord=1), lambda x: np.linalg.norm(x, 1, axis=1)),
    (X, lambda x: tg.linalg.vector_norm(x, axis=1, ord=math.inf), lambda x: np.linalg.norm(x, math.inf, axis=1)),
    (X, lambda x: tg.linalg.matrix_norm(x), lambda x: np.linalg.norm(x, axis=(-2, -1))),
    (X, lambda x: tg.linalg.matrix_norm(x, ord=1), lambda x: np.linalg.norm(x, 1, axis=(-2, -1))),
    (X, lambda x: tg.linalg.kron(x[0], x[1]), lambda x: np.kron(x[0], x[1])),
    (X, lambda x: tg.linalg.cross(x, tg.flip(x, axis=0), axis=1), lambda x: np.cross(x, x[::-1], axis=1)),
    (
        X,
        lambda x: tg.tensordot(x, tg.permute_dims(x, (1, 2, 0)), axes=2),
        lambda x: np.tensordot(x, x.transpose(1, 2, 0), 2),
    ),
    (X, lambda x: tg.tensordot(x, x, axes=((0, 1), (0, 1))), lambda x: np.tensordot(x, x, ((0, 1), (0, 1)))),
    (X, lambda x: tg.tensordot(x[0], x[1], axes=0), lambda x: np.tensordot(x[0], x[1], 0)),
    (X, lambda x: tg.linalg.vecdot(x, x * 2), lambda x: (2 * x * x).sum(-1)),
]


@pytest.mark.parametrize("i", range(len(AGAINST_NUMPY)))
def test_values_and_gradients(i: int) -> None:
    x, ours, numpys = AGAINST_NUMPY[i]
    for given in (x, tg.tensor(x, requires_grad=True)):
        np.testing.assert_allclose(np.asarray(ours(given)), numpys(x), rtol=1e-11, atol=1e-13)
    tg.check_grads(ours, x, order=2)


EINSUMS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ii->", [(3, 3)]), ("ii->i", [(3, 3)]), ("ij->", [(2, 3)]), ("ij", [(2, 3)]), ("ji", [(2, 3)]), ("ii", [(3, 3)]),
    ("ij,jk", [(2, 3), (3, 4)]), ("...ij->...ji", [(2, 2, 3, 2)]), ("...ij,...jk->...ik", [(2, 2, 3, 2), (2, 2, 4)]),
    ("i...,i...->...", [(3, 2), (3, 1)]), ("iij,jk->ik", [(3, 3, 2), (2, 4)]), ("ij,kl->il", [(2, 3), (4, 5)]),
    ("i,i,i->", [(3,), (3,), (3,)]), ("bhid,bhjd->bhij", [(2, 2, 3, 4), (2, 2, 5, 4)]),
    ("ij, jk -> ik", [(1, 3), (3, 2)]),
    ("...->...", [(2, 3)]), ("ijk->j", [(2, 3, 4)]), ("ij,j->", [(2, 3), (3,)]),
    ("ij,ij,jk->ik", [(2, 3), (2, 3), (3, 2)]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "shapes"), EINSUMS)
def test_einsum(spec: str, shapes: list[tuple[int, ...]]) -> None:
    xs = [rng.standard_normal(s) for s in shapes]
    np.testing.assert_allclose(np.asarray(tg.einsum(spec, *xs)), np.einsum(spec, *xs), rtol=1e-12, atol=1e-13)
    tg.check_grads(lambda *a: tg.einsum(spec, *a), *xs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tg.einsum("ij,jk->ik", X[0]), "takes 2 operands, not 1"),
        (lambda: tg.einsum("ij->ik", X[0]), "'k' of the result must stand in a term"),
        (lambda: tg.einsum("i->i", X[0]), "'i' does not fit an operand with 2 axes"),
        (lambda: tg.einsum("ii->i", X[0]), r"one letter in 'ii' differ in shape \(3, 4\)"),
        (lambda: tg.linalg.inv(X), r"inv takes square matrices .* shape \(2, 3, 4\)"),
        (lambda: tg.moveaxis(X, (0, 1), (0, 0)), "as many different axes"),
        (lambda: tg.pad(X, -1), "cut with a slice instead"),
        (lambda: tg.linalg.cross(X, X), "vectors of 3, not of 4"),
        (lambda: tg.tensordot(X, X, axes=1), "dims differ"),
        (lambda: tg.fft.fft(X, n=0), "at least 1 element, not 0"),
        (lambda: tg.fft.fft(X, norm="half"), "norm is 'backward', 'ortho' or 'forward', not 'half'"),
        (lambda: tg.linalg.matrix_norm(X, ord=3), "knows the orders"),
        (lambda: tg.prod(X, axis=(0, -3)), r"an axis stands twice in \(0, -3\), for an array with 3 axes"),
        (lambda: tg.max(var(1.0), axis=0), "a maximum over axis 0 of a scalar"),
        (lambda: tg.tensordot(var(1.0), var(1.0), axes=1), "tensordot over 1 axes of arrays with 0 and 0"),
        (lambda: tg.fft.irfft(var([1.0])), "at least 1 element, not 0: say how many with n="),
        (lambda: tg.fft.irfft(var(1.0)), "not a scalar"),
    ],
)
def test_what_they_say_to_bad_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("zeros", [(), (1,), (0, 2)])
def test_running_products_with_zeros(zeros: tuple[int, ...]) -> None:
    x = np.array([2.0, 3.0, 5.0, 7.0, -1.0])
    x[list(zeros)] = 0
    tg.check_grads(lambda v: tg.cumprod(v), x, order=2)


def test_a_singular_matrix_has_a_determinant_with_a_gradient() -> None:
    a = np.array([[1.0, 2.0], [2.0, 4.0]])
    np.testing.assert_allclose(tg.grad(tg.linalg.det)(a), [[4.0, -2.0], [-2.0, 1.0]], atol=1e-14)
    np.testing.assert_array_equal(tg.grad(tg.linalg.det)(np.zeros((3, 3))), 0)


def test_repeated_indices_add_up_and_masks_pick() -> None:
    x = tg.tensor(np.arange(5.0), requires_grad=True)
    tg.sum(tg.take(x, [1, 1, 4])).backward()
    np.testing.assert_array_equal(np.asarray(x.grad), [0, 2, 0, 0, 1])
    y = tg.tensor(np.arange(5.0), requires_grad=True)
    tg.sum(y[y > 2] ** 2).backward()
    np.testing.assert_array_equal(np.asarray(y.grad), [0, 0, 0, 6, 8])


UFUNCS = [
    np.tanh, np.sin, np.arcsin, np.arctanh, np.log2, np.exp2, np.cbrt, np.negative, np.absolute, np.conjugate,
    np.square,
    np.reciprocal, np.floor, np.isfinite, np.rint, scipy.special.erf, scipy.special.gammaln, scipy.special.psi,
    scipy.special.expit, scipy.special.logit, np.sinh, np.arctan, np.sqrt, np.log1p, np.expm1,
]  # fmt: skip


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
def test_numpy_s_and_scipy_s_functions_work_on_tensors(ufunc: Any) -> None:
    x = tg.tensor([0.2, 0.7], requires_grad=True)
    y = ufunc(x)
    assert isinstance(y, tg.Tensor)
    np.testing.assert_allclose(np.asarray(y), ufunc(x.data), rtol=1e-14)


@pytest.mark.parametrize(
    "ufunc", [np.add, np.subtract, np.multiply, np.divide, np.power, np.arctan2, np.hypot, np.maximum]
)
def test_numpy_s_functions_of_two_tensors_in_either_place(ufunc: Any) -> None:
    x, y = tg.tensor([0.2, 0.7], requires_grad=True), np.array([0.3, 0.4])
    for a, b in ((x, y), (y, x), (x, x), (x, 2.0)):
        np.testing.assert_allclose(np.asarray(ufunc(a, b)), ufunc(np.asarray(a), np.asarray(b)))


def test_methods_are_the_functions() -> None:
    x = tg.tensor(X, requires_grad=True)
    for name, axis in (("var", 1), ("std", 0), ("prod", 2), ("any", 1), ("all", None), ("argmax", 1), ("cumsum", 1)):
        np.testing.assert_allclose(np.asarray(getattr(x, name)(axis=axis)), getattr(X, name)(axis=axis))
    np.testing.assert_allclose(np.asarray(np.std(x, axis=1, ddof=1)), X.std(1, ddof=1))
    assert x.transpose(2, 0, 1).shape == (4, 2, 3) == x.transpose((2, 0, 1)).shape and x.transpose().shape == (4, 3, 2)
    assert x.flatten().shape == (24,) and x.clip(-0.1, 0.1).data.max() == 0.1 and x.T.shape == (4, 3, 2)


def test_sinc_is_smooth_at_zero_to_any_order() -> None:
    x = np.array([0.0, 1e-12, 0.3, 1.0, 3.7])
    np.testing.assert_allclose(tg.sinc(x), np.sinc(x), atol=1e-15)
    second = tg.grad(lambda v: tg.sum(tg.grad(lambda u: tg.sum(tg.sinc(u)))(v)))(x)
    assert second[0] == pytest.approx(-(math.pi**2) / 3)
    np.testing.assert_allclose(second[1], second[0], rtol=1e-9)


def test_complex_variance_and_norm_are_real() -> None:
    z = X + 1j * X[::-1]
    np.testing.assert_allclose(tg.var(z, axis=1), z.var(1))
    np.testing.assert_allclose(tg.norm(z, axis=1), np.linalg.norm(z, axis=1))
    tg.check_grads(lambda z: tg.std(z, axis=0) + tg.norm(z, axis=0), z)


# ---------------------------------------------------------------- indexing and products


def test_indexing() -> None:
    x = var(np.arange(6.0).reshape(2, 3))
    y = tg.sum(x[[0, 0, 1], [2, 2, -1]]) + tg.sum(x[x.data > 3] * 10) + x[-1, -1]
    y.backward()
    np.testing.assert_array_equal(gradient(x), [[0, 0, 2], [0, 10, 12]])
    with pytest.raises(IndexError):
        x[5]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2)),
        ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((2, 1, 2, 3), (4, 3, 2)),
        ((1, 2, 3), (6, 3, 1)), ((2, 0), (0, 3)), ((4, 5, 2, 3), (4, 5, 3, 2)),
    ],
)  # fmt: skip
def test_matmul_of_ranks_1_to_4(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = rng.standard_normal(a), rng.standard_normal(b)
    np.testing.assert_allclose(np.asarray(tg.matmul(x, y)), x @ y, rtol=1e-12, atol=1e-13)
    tg.check_grads(lambda x, y: tg.matmul(x, y), x, y)


def test_matmul_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and \(2, 3\)"):
        tg.matmul(np.ones((2, 3)), var(np.ones((2, 3))))
    with pytest.raises(ValueError, match="scalars"):
        var(1.0) @ np.ones(3)


def test_a_weight_s_gradient_is_one_product_not_one_for_each_row() -> None:
    import tracemalloc

    w, x = var(np.ones((64, 64), np.float32), dtype=np.float32), np.ones((2000, 64), np.float32)
    y = tg.REGISTRY["matvec"](w, x)
    tracemalloc.start()
    y.backward(np.ones(y.shape))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * y.data.nbytes  # (B, H, D) would be 64 times y
