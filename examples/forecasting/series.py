"""Series to forecast: two classics of chaos by their equations, or columns of the user's table."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def mackey_glass(count: int, seed: int, tau: int = 17, substeps: int = 10) -> Array:
    """x' = 0.2 x(t-tau)/(1 + x(t-tau)^10) - 0.1 x(t) (M. Mackey, L. Glass, Science 197, 1977), (count, 1).

    A step is one unit of time, integrated by Runge-Kutta in `substeps`, the delayed values interpolated; the first 500
    steps are thrown away. tau = 17 is weakly chaotic.
    """
    h, lag = 1 / substeps, tau * substeps
    total = (count + 500) * substeps
    x = np.empty(total + lag + 1)
    x[: lag + 1] = 1.2 + 0.05 * np.random.default_rng(seed).standard_normal(lag + 1).cumsum() / np.sqrt(lag)

    def slope(now: float, delayed: float) -> float:
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * now

    for n in range(lag, total + lag):
        old, new = x[n - lag], x[n - lag + 1]
        middle = 0.5 * (old + new)
        a = slope(x[n], old)
        b = slope(x[n] + 0.5 * h * a, middle)
        c = slope(x[n] + 0.5 * h * b, middle)
        d = slope(x[n] + h * c, new)
        x[n + 1] = x[n] + h / 6 * (a + 2 * b + 2 * c + d)
    return x[lag + 500 * substeps :: substeps][:count, None]


def lorenz(count: int, seed: int, every: float = 0.05, substeps: int = 10) -> Array:
    """x' = 10 (y - x), y' = x (28 - z) - y, z' = x y - 8/3 z (E. Lorenz, 1963), (count, 3), `every` 0.05 of time."""
    h = every / substeps
    state = np.array([1.0, 1.0, 20.0]) + np.random.default_rng(seed).standard_normal(3)

    def slope(s: Array) -> Array:
        x, y, z = s
        return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    out = np.empty((count, 3))
    for n in range(-200, count):
        for _ in range(substeps):
            a = slope(state)
            b = slope(state + 0.5 * h * a)
            c = slope(state + 0.5 * h * b)
            d = slope(state + h * c)
            state = state + h / 6 * (a + 2 * b + 2 * c + d)
        if n >= 0:
            out[n] = state
    return out
