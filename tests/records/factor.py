"""Records of factorisations: matrices whose values lie apart, so that their vectors have derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.opdb import Array, Sample, anywhere, record

SQUARES: list[tuple[int, ...]] = [(1, 1), (2, 2), (3, 3), (2, 3, 3), (0, 2, 2), (2, 1, 2, 2), (4, 4), (1, 3, 3)]
TALL: list[tuple[int, ...]] = [(1, 1), (2, 2), (3, 2), (2, 4, 2), (0, 3, 2), (2, 1, 3, 3), (4, 1), (5, 3)]
ONE_LEFT: list[tuple[int, ...]] = [(2, 1), (3, 2), (2, 3, 2), (4, 3), (0, 3, 2), (2, 1, 2, 1), (5, 4), (1, 0), (2, 2)]
ANY: list[tuple[int, ...]] = [*TALL, (2, 3), (2, 1, 4), (2, 3, 5)]


def apart(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Singular values k + 1/2 for k = 1, 2, …, between random orthogonal matrices."""
    n, m = shape[-2:]
    u, v = (np.linalg.qr(rng.standard_normal((*shape[:-2], k, k)))[0] for k in (n, m))
    k = min(n, m)
    return np.asarray((u[..., :k] * (np.arange(1, k + 1) + 0.5)) @ v[..., :k, :])


def _made(shapes: list[tuple[int, ...]], draw: Callable[..., Array]) -> Callable[[np.random.Generator], list[Sample]]:
    def make(rng: np.random.Generator) -> list[Sample]:
        return [Sample((draw(rng, s),)) for s in shapes] + [Sample((np.asfortranarray(draw(rng, shapes[2])),))]

    return make


def _spread(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Eigenvalues apart: a diagonal 0, 2, 4, … and small numbers around it."""
    return np.asarray(anywhere(rng, shape) * 0.3 + 2 * np.diag(np.arange(shape[-1])))


def _of_hermitian(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda t, a: function(t, (a + a.mH) / 2)


record("eigvalsh", _made(SQUARES, _spread), torch=_of_hermitian(lambda t, a: t.linalg.eigvalsh(a)), complex="c")
record("eigenvectors", _made(SQUARES, _spread))
record("svdvals", _made(ANY, apart), torch=lambda t, a: t.linalg.svdvals(a), complex="c")
record("svd_left", _made(ANY, apart))
record("svd_right", _made(ANY, apart))
record("qr_q", _made(TALL, apart), torch=lambda t, a: t.linalg.qr(a)[0], complex="c")
record("qr_r", _made(TALL, apart), torch=lambda t, a: t.linalg.qr(a)[1], complex="c")
record("pinv", _made(ANY, apart), torch=lambda t, a: t.linalg.pinv(a), complex="c")
record("complement", _made(ONE_LEFT, apart))  # one column, or none: more may turn among themselves
