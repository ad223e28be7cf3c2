"""A matrix product of arrays as they lie in memory, on the register tiles of `kernels`.

`a` (M, K), `b` (K, N) and `c` (M, N) are flat. An element (m, k) of a is at m*sm + k*sk, the rows of b are `ldb`
apart and those of c N. `part` says which rows of c are meant, part[0]..part[1]-1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.product import multiply
from tinygrad_seq.kernels.squares import transpose_square


@kernel
def product(a: Any, sm: int, sk: int, b: Any, ldb: int, c: Any, N: int, K: int, part: Any) -> None:
    """c = a b. Tiles are TAIL columns wide or twice that; the columns over are multiplied beside and copied."""
    low, count, TAIL = part[0], part[1] - part[0], 64 // a.itemsize
    wide = N // TAIL * TAIL
    if wide > 0:
        multiply(a, low * sm, sm, sk, b, 0, ldb, c, low * N, N, count, wide, K, 0)
    rest = N - wide
    if rest > 0:
        right, out = np.zeros(K * TAIL, b.dtype), np.empty(count * TAIL, c.dtype)
        for k in range(K):
            for n in range(rest):
                right[k * TAIL + n] = b[k * ldb + wide + n]
        multiply(a, low * sm, sm, sk, right, 0, TAIL, out, 0, TAIL, count, TAIL, K, 0)
        for m in range(count):
            for n in range(rest):
                c[(low + m) * N + wide + n] = out[m * TAIL + n]


@kernel
def transpose(b: Any, M: int, N: int, side: int, out: Any, ldo: int) -> None:
    """out (N, M), its rows `ldo` apart, is b (M, N) transposed; `side` is that of a square."""
    for m0 in range(0, M, side):
        for n0 in range(0, N, side):
            if m0 + side <= M and n0 + side <= N:
                transpose_square(b, m0 * N + n0, N, out, n0 * ldo + m0, ldo)
            else:
                for n in range(n0, min(n0 + side, N)):
                    for m in range(m0, min(m0 + side, M)):
                        out[n * ldo + m] = b[m * N + n]
