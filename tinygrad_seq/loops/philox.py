"""Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC 2011, section 3.3).

A block of four 32-bit words is a function of its 128-bit counter and a 64-bit key and of nothing else, so that any
part of an array can be made without the rest. Words are held in 64 bits: a product of two needs them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.kernels.cache import kernel

ROUNDS = 10
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
FACTOR_0, FACTOR_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL_0, WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
UNIT = 2.0**-32


@kernel
def words(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """The four words of one counter; everything is uint64 below 2**32."""
    for _ in range(ROUNDS):
        p0, p1 = FACTOR_0 * c0, FACTOR_1 * c2
        c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ k0, p1 & LOW, (p0 >> HALF) ^ c3 ^ k1, p0 & LOW
        k0, k1 = (k0 + WEYL_0) & LOW, (k1 + WEYL_1) & LOW
    return c0, c1, c2, c3


@kernel
def value(word: Any, p: Any, a: Any, b: Any) -> Any:
    """A word as u in (0, 1): a where u < p, else b; for p < 0 uniform between a and b."""
    u = (np.float64(word) + 0.5) * UNIT
    if p < 0:
        return a + (b - a) * u
    return a if u < p else b


@kernel
def fill(out: Any, outer: Any, inner: Any, k0: Any, k1: Any, p: Any, a: Any, b: Any) -> None:
    """`value`s of 32 bits into `out` (I, J, B, units), float32 or float64.

    outer, inner  (B,) uint64: what each sequence's first step on the two axes counts from
    The counter is (block of four units, inner step, outer step, sequence).
    """
    outers, inners, batch, units = out.shape
    last = units - units % 4
    for i in range(outers):
        for j in range(inners):
            for s in range(batch):
                row = out[i, j, s]
                c1, c2, c3 = (inner[s] + np.uint64(j)) & LOW, (outer[s] + np.uint64(i)) & LOW, np.uint64(s)
                for u in range(0, last, 4):
                    w0, w1, w2, w3 = words(np.uint64(u // 4), c1, c2, c3, k0, k1)
                    row[u] = value(w0, p, a, b)
                    row[u + 1] = value(w1, p, a, b)
                    row[u + 2] = value(w2, p, a, b)
                    row[u + 3] = value(w3, p, a, b)
                if last < units:
                    rest = words(np.uint64(last // 4), c1, c2, c3, k0, k1)
                    for u in range(last, units):
                        row[u] = value(rest[u - last], p, a, b)
