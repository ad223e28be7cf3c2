"""Gradients against finite differences: the check that no gradient is believed without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.tensor import Tensor
from tinygrad_seq.transforms import flatten, grad, inner, vjp

Array = np.ndarray[Any, Any]


def difference(f: Callable[[float], Any], step: float = 1e-3) -> Any:
    """f'(0) by Richardson extrapolation of central differences (error of order step⁸)."""
    table = [(np.asarray(f(h)) - np.asarray(f(-h))) / (2 * h) for h in (step, step / 2, step / 4, step / 8)]
    for order in range(1, len(table)):
        factor = 4.0**order
        table = [(factor * b - a) / (factor - 1) for a, b in zip(table, table[1:], strict=False)]
    return table[0]


def check_grads(
    f: Callable[..., Any],
    *xs: Any,
    order: int = 2,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    seed: int = 0,
    step: float = 1e-3,
) -> None:
    """AssertionError unless f's derivatives up to `order` agree with finite differences, in float64 (complex128).

    Checked along random directions of the inputs and a random weighting of the results: for order 1
    ⟨u, J v⟩ from the pullback against the difference of ⟨u, f(x + h v)⟩; for order 2 the same of that gradient.
    The tolerance is relative to the size of the terms summed.
    """
    if not xs:
        raise ValueError("nothing to check: the function has no arguments")
    points = [np.array(x.data if isinstance(x, Tensor) else x) for x in xs]
    points = [p.astype(np.complex128 if p.dtype.kind == "c" else np.float64) for p in points]
    rng = np.random.default_rng(seed)
    _check(f, points, order, rtol, atol, rng, step, 1)


def _normal(rng: np.random.Generator, like: Array) -> Array:
    drawn = np.asarray(rng.standard_normal(like.shape))
    return np.asarray(drawn + 1j * rng.standard_normal(like.shape)) if like.dtype.kind == "c" else drawn


def _check(
    f: Callable[..., Any],
    points: Sequence[Array],
    order: int,
    rtol: float,
    atol: float,
    rng: np.random.Generator,
    step: float,
    level: int,
) -> None:
    directions = [_normal(rng, p) for p in points]
    y, pullback = vjp(f, *points)
    if not flatten(y)[0]:
        raise ValueError("nothing to check: the function has no results")
    outputs = [np.asarray(v) for v in flatten(y)[0]]
    weights = [_normal(rng, o) for o in outputs]

    def scalar(*args: Any) -> Any:
        results, _ = flatten(f(*args))
        terms = [inner(r, w) for r, w in zip(results, weights, strict=True)]
        total = terms[0]
        for t in terms[1:]:
            total = total + t
        return total

    given, _ = flatten(list(pullback(weights if isinstance(y, list | tuple | dict) else weights[0])))
    products = [np.real(np.conjugate(np.asarray(g)) * d) for g, d in zip(given, directions, strict=True)]
    exact = sum(float(p.sum()) for p in products)
    size = sum(float(np.abs(p).sum()) for p in products)

    def along(h: float) -> Any:
        moved = [p + h * d for p, d in zip(points, directions, strict=True)]
        return np.asarray(getattr(value := scalar(*moved), "data", value))

    numeric = float(difference(along, step))
    bound = atol + rtol * max(size, abs(numeric), 1.0)
    if not abs(exact - numeric) <= bound:
        raise AssertionError(
            f"derivative of order {level}: {exact!r} from the rules, {numeric!r} from finite differences "
            f"(allowed difference {bound:.1e})"
        )
    if order > 1:
        # outputs that are linear have no further derivative, which the same comparison shows
        _check(grad(scalar, tuple(range(len(points)))), points, order - 1, rtol, atol, rng, step, level + 1)
