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
def uniform(out: Any, outer: Any, inner: Any, k0: Any, k1: Any) -> None:
    """Numbers in (0, 1), of 32 bits, into float64 `out` (I, J, B, units).

    outer, inner  (B,) uint64: what each sequence's first step on the two axes counts from
    The counter is (block of four units, inner step, outer step, sequence).
    """
    outers, inners, batch, units = out.shape
    last = units - units % 4
    for i in range(outers):
        for j in range(inners):
            for b in range(batch):
                row = out[i, j, b]
                c1, c2, c3 = (inner[b] + np.uint64(j)) & LOW, (outer[b] + np.uint64(i)) & LOW, np.uint64(b)
                for u in range(0, last, 4):
                    w0, w1, w2, w3 = words(np.uint64(u // 4), c1, c2, c3, k0, k1)
                    row[u] = (np.float64(w0) + 0.5) * UNIT
                    row[u + 1] = (np.float64(w1) + 0.5) * UNIT
                    row[u + 2] = (np.float64(w2) + 0.5) * UNIT
                    row[u + 3] = (np.float64(w3) + 0.5) * UNIT
                if last < units:
                    rest = words(np.uint64(last // 4), c1, c2, c3, k0, k1)
                    for u in range(last, units):
                        row[u] = (np.float64(rest[u - last]) + 0.5) * UNIT
