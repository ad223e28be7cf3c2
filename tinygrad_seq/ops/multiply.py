"""The product of two matrices on values: NumPy's, or from some size on our own.

BLAS libraries hand a larger product to threads of their own, which go on spinning when it is done: on processors
that others want too (our own loops, another library's pool) each of them then costs milliseconds. Ours is as quick
on one core, and its threads sleep.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_seq.loops import load

ALONE = 1 << 18  # multiply-adds up to which OpenBLAS keeps to the thread that calls it
LARGE = 1 << 27  # and those from which its blocking is worth more than what its threads may cost
PART = 1 << 21  # and those that make a thread of our own worth while, when one waits awake
CALL = 1 << 23  # and those that make it worth calling one that sleeps
EACH = 2  # pieces for each thread
ROWS = 16  # the fewest rows of a part: its tiles are then summed up as those of the whole are


def matmul(a: Any, b: Any) -> Any:
    """`np.matmul`."""
    if type(a) is type(b) is np.ndarray and b.ndim == 2 and ALONE < a.size * b.shape[1] <= LARGE:
        c = _product(a, b)
        if c is not None:
            return c
    return np.matmul(a, b)


def _product(a: Any, b: Any) -> Any:
    """a b on our own tiles, for a (…, K) and b (K, N); None where they do not do."""
    dtype, (K, N) = a.dtype, b.shape
    if (
        dtype.char not in "fd"
        or b.dtype != dtype
        or a.ndim < 2
        or a.shape[-1] != K
        or N < 2
        or not has_tiles(dtype.name)
    ):
        return None
    M = a.size // K
    if a.flags.c_contiguous:
        left, sm, sk = a.reshape(-1), K, 1
    elif a.ndim == 2 and a.flags.f_contiguous:
        left, sm, sk = a.T.reshape(-1), 1, M
    else:
        left, sm, sk = np.ascontiguousarray(a).reshape(-1), K, 1
    loops = load("product")
    if b.flags.f_contiguous:
        right = np.empty(K * N, dtype)
        loops.transpose(b.T.reshape(-1), N, K, side(dtype.name), right, N)
    else:
        right = np.ascontiguousarray(b).reshape(-1)
    c = np.empty((*a.shape[:-1], N), dtype)
    spread(loops.product, (left, sm, sk, right, N, c.reshape(-1), N, K), M, M * N * K, ROWS)
    return c


def spread(loop: Any, args: Sequence[Any], count: int, work: int, least: int = 1, each: int = EACH) -> None:
    """`loop(*args, part)` for 0..count-1, side by side where that is worth while: part is (first, last + 1, number).

    work    multiply-adds of all of it
    least   the fewest of a piece
    each    pieces for each thread: who is late does fewer of them
    """
    together, run_together, _ = _tools()
    run_together(together(loop, args, count, pieces(count, work, least, each)), work >= CALL)


def pieces(count: int, work: int, least: int = 1, each: int = EACH) -> int:
    """Into how many pieces `spread` cuts."""
    if work < 2 * PART or count < 2 * least:
        return 1
    most = min(_tools()[2](), count // least, work // PART)
    return min(most * each, count // least) if most > 1 else 1


@functools.cache
def _tools() -> tuple[Any, Any, Any]:
    """Numba comes with them, so that they are imported when something is large enough for a loop of its own."""
    from tinygrad_seq.kernels.pieces import together
    from tinygrad_seq.kernels.threads import run_together, thread_count

    return together, run_together, thread_count


@functools.cache
def has_tiles(dtype: str) -> bool:
    """Whether this processor has register tiles; without them NumPy calls BLAS at once."""
    from tinygrad_seq.kernels.product import backend

    return backend(dtype) == "intrinsic"


@functools.cache
def side(dtype: str) -> int:
    """Rows and columns of a square that is transposed at once."""
    from tinygrad_seq.kernels import squares

    return squares.side(dtype)


def rows(x: Any) -> Any:
    """All but the last axis as one (reshape's -1 does not do for empty arrays)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
