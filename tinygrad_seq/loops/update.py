"""An optimizer's step over one parameter, each array read and written once.

Arrays are flat, of one dtype; the numbers of a row come in that dtype (its real one for complex arrays, where |g|² is
the square of the modulus). `g` is never changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.math import sqrt


@kernel
def squares(x: Any, row: Any) -> None:
    """row[0] = Σ |x|² in float64."""
    total = 0.0
    for k in range(x.size):
        re, im = np.float64(x[k].real), np.float64(x[k].imag)
        total += re * re + im * im
    row[0] = total


@kernel
def descend(p: Any, g: Any, row: Any) -> None:
    """p ← p − rate·(g + decay·p)."""
    rate, decay = row[0], row[1]
    for k in range(p.size):
        p[k] -= rate * (g[k] + decay * p[k])


@kernel
def momentum(p: Any, g: Any, v: Any, row: Any) -> None:
    """v ← mass·v + g; p ← p − rate·v, or with Nesterov's look-ahead (ahead = 1) p − rate·(g + mass·v)."""
    rate, mass, decay, ahead = row[0], row[1], row[2], row[3]
    for k in range(p.size):
        d = g[k] + decay * p[k]
        v[k] = mass * v[k] + d
        p[k] -= rate * (ahead * (d + mass * v[k]) + (1 - ahead) * v[k])


@kernel
def rmsprop(p: Any, g: Any, s: Any, row: Any) -> None:
    """s ← keep·s + (1 − keep)·|g|²; p ← p − rate·g/(√s + eps)."""
    rate, keep, eps = row[0], row[1], row[2]
    for k in range(p.size):
        size = g[k].real * g[k].real + g[k].imag * g[k].imag
        s[k] = keep * s[k] + (1 - keep) * size
        p[k] -= rate * g[k] / (sqrt(s[k].real) + eps)


@kernel
def adagrad(p: Any, g: Any, s: Any, row: Any) -> None:
    """s ← s + |g|²; p ← p − rate·g/(√s + eps)."""
    rate, eps = row[0], row[1]
    for k in range(p.size):
        s[k] += g[k].real * g[k].real + g[k].imag * g[k].imag
        p[k] -= rate * g[k] / (sqrt(s[k].real) + eps)


@kernel
def adam(p: Any, g: Any, m: Any, v: Any, row: Any) -> None:
    """m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)|g|²; p ← p − rate·m/(√v/root + eps) − own·p.

    `rate` and `root` carry the bias correction; `decay` enters the gradient, `own` acts on the parameter itself.
    """
    rate, beta1, beta2, root, eps, decay, own = row[0], row[1], row[2], row[3], row[4], row[5], row[6]
    for k in range(p.size):
        d = g[k] + decay * p[k]
        m[k] = beta1 * m[k] + (1 - beta1) * d
        v[k] = beta2 * v[k] + (1 - beta2) * (d.real * d.real + d.imag * d.imag)
        p[k] -= rate * m[k] / (sqrt(v[k].real) / root + eps) + own * p[k]
