"""Factorisations whole: that the factors multiply to the matrix, and gradients of what does not see their freedom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

rng = np.random.default_rng(8)
SHAPES = [(3, 3), (4, 2), (2, 4), (2, 4, 3), (5, 2), (3, 1)]
KINDS = [float, complex]


def drawn(shape: tuple[int, ...], kind: type) -> Any:
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if kind is complex else x


def weighed(x: Any) -> Any:
    """A real number that every entry of x has a part in, phases too."""
    w = np.linspace(0.3, 1.7, x.size).reshape(x.shape)
    return tg.sum(tg.real(x * (w * (1 - 0.7j)))) if x.dtype.kind == "c" else tg.sum(x * w)


def projector(q: Any) -> Any:
    """What a basis spans: blind to a turn within."""
    return tg.matmul(q, tg.conj(tg.matrix_transpose(q)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["reduced", "complete"])
def test_qr_of_every_shape_multiplies_to_its_matrix_and_has_its_gradient(
    shape: tuple[int, ...], kind: type, mode: str
) -> None:
    x = drawn(shape, kind)
    q, r = tg.linalg.qr(x, mode=mode)
    theirs = np.linalg.qr(x, mode=mode)
    assert q.shape == theirs.Q.shape and r.shape == theirs.R.shape
    np.testing.assert_allclose(q, theirs.Q, atol=1e-12)
    np.testing.assert_allclose(r, theirs.R, atol=1e-12)
    k = min(shape[-2:])
    tg.check_grads(lambda x: weighed(tg.linalg.qr(x, mode=mode).R), x, order=2)
    tg.check_grads(lambda x: weighed(tg.linalg.qr(x, mode=mode).Q[..., :k]), x, order=2)
    tg.check_grads(lambda x: weighed(projector(tg.linalg.qr(x, mode=mode).Q[..., k:])), x, order=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_full_svd_completes_the_thin_one(shape: tuple[int, ...], kind: type) -> None:
    x, (n, m) = drawn(shape, kind), shape[-2:]
    k = min(n, m)
    u, s, vh = tg.linalg.svd(x)
    assert u.shape == (*shape[:-2], n, n) and s.shape == (*shape[:-2], k) and vh.shape == (*shape[:-2], m, m)
    np.testing.assert_allclose((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], x, atol=1e-12)
    for q in (u, np.swapaxes(vh, -1, -2)):
        np.testing.assert_allclose(projector(q), np.broadcast_to(np.eye(q.shape[-1]), q.shape), atol=1e-12)
    tg.check_grads(lambda x: weighed(projector(tg.linalg.svd(x).U[..., k:])), x, order=2)
    tg.check_grads(lambda x: weighed(projector(tg.matrix_transpose(tg.linalg.svd(x).Vh[..., k:, :]))), x, order=2)
    thin = tg.linalg.svd(x, full_matrices=False)
    assert thin.U.shape == (*shape[:-2], n, k) and thin.Vh.shape == (*shape[:-2], k, m)

    def rebuilt(x: Any) -> Any:
        u, s, vh = tg.linalg.svd(x, full_matrices=False)
        return tg.matmul(u[..., :1] * s[..., None, :1], vh[..., :1, :])  # of rank 1: phases cancel

    tg.check_grads(lambda x: weighed(rebuilt(x)), x, order=1)


def test_complex_qr_has_torch_s_gradient() -> None:
    torch = pytest.importorskip("torch")
    x, a, b = drawn((4, 3), complex), drawn((4, 3), complex), drawn((3, 3), complex)
    t = torch.tensor(x, requires_grad=True)
    q, r = torch.linalg.qr(t)
    torch.sum((q * torch.tensor(a) + (q @ r) * 0.5).real).backward()
    torch.sum((torch.linalg.qr(t)[1] * torch.tensor(b)).real).backward()
    mine = tg.grad(
        lambda x: (
            tg.sum(tg.real(tg.linalg.qr(x).Q * a + tg.matmul(*tg.linalg.qr(x)) * 0.5))
            + tg.sum(tg.real(tg.linalg.qr(x).R * b))
        )
    )(x)
    np.testing.assert_allclose(mine, t.grad.numpy(), rtol=1e-10)


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ValueError, match="'reduced' and 'complete', not 'raw'"):
        tg.linalg.qr(np.eye(2), mode="raw")
