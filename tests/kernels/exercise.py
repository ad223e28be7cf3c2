"""Every driver of the product against NumPy in float64: run by the tests, and again by processes with other targets.

`python -m tests.kernels.exercise` prints the target, the backend and the number of cases, or fails.
"""

from __future__ import annotations

import itertools
import sys
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from tinygrad_seq.kernels.cache import load_source
from tinygrad_seq.kernels.product import backend, packed_size, padded, panel, rows_size
from tinygrad_seq.kernels.target import host

SOURCE = '''"""The product's functions, callable from Python."""

from tinygrad_seq.kernels import product as P
from tinygrad_seq.kernels.cache import kernel

product_add, product_set, multiply_ = P.product_add, P.product_set, P.multiply
pack_, pack_transposed_, pack_rows_, pack_panels_ = P.pack, P.pack_transposed, P.pack_rows, P.pack_panels
weight_gradient_ = P.weight_gradient


@kernel
def product(A, ao, lda, P, po, C, co, ldc, M, N, K, beta):
    if beta:
        product_add(A, ao, lda, P, po, C, co, ldc, M, N, K)
    else:
        product_set(A, ao, lda, P, po, C, co, ldc, M, N, K)


@kernel
def multiply(A, ao, sm, sk, B, bo, ldb, C, co, ldc, M, N, K, beta):
    multiply_(A, ao, sm, sk, B, bo, ldb, C, co, ldc, M, N, K, beta)


@kernel
def pack(W, wo, ldw, n, k, P, po, n0, k0, N, K):
    pack_(W, wo, ldw, n, k, P, po, n0, k0, N, K)


@kernel
def pack_transposed(W, wo, ldw, k, n, P, po, n0, k0, N, K):
    pack_transposed_(W, wo, ldw, k, n, P, po, n0, k0, N, K)


@kernel
def pack_rows(S, so, st, sb, n, counts, no, t0, t1, P, po):
    return pack_rows_(S, so, st, sb, n, counts, no, t0, t1, P, po)


@kernel
def pack_panels(S, so, st, sb, n, counts, no, t0, t1, P, po):
    return pack_panels_(S, so, st, sb, n, counts, no, t0, t1, P, po)


@kernel
def weight_gradient(X, xo, Y, yo, C, co, ldc, M, N, K):
    weight_gradient_(X, xo, Y, yo, C, co, ldc, M, N, K)
'''

Array = NDArray[np.floating]
SEVEN = 7.0  # what guards hold


def functions() -> ModuleType:
    return load_source("exercise", SOURCE)


def normal(rng: np.random.Generator, dtype: str, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(dtype)


def close(got: Array, wanted: Array, dtype: str) -> None:
    np.testing.assert_allclose(got, wanted, rtol=0, atol={"float32": 1e-4, "float64": 1e-12}[dtype])


def check_product(k: ModuleType, dtype: str, M: int, N: int, K: int, beta: int) -> None:
    """C = beta C + A Wᵀ at offsets, with NaN around A's columns and guards around C."""
    rng = np.random.default_rng([M, N, K, beta])
    ao, po, co, lda = 3, 5, 7, K + 2
    width = padded(N, dtype)
    ldc = width + 3
    flat = np.full(ao + M * lda + 1, np.nan, dtype)
    A = flat[ao : ao + M * lda].reshape(M, lda)[:, :K]
    A[:] = normal(rng, dtype, M, K)
    W = normal(rng, dtype, N, K)
    packed = np.zeros(po + packed_size(N, K, dtype), dtype)
    k.pack(W, 0, K, N, K, packed, po, 0, 0, N, K)
    out = np.full(co + M * ldc + 4, SEVEN, dtype)
    C = out[co : co + M * ldc].reshape(M, ldc)
    before = normal(rng, dtype, M, width)
    C[:, :width] = before
    k.product(flat, ao, lda, packed, po, out, co, ldc, M, N, K, beta)
    wanted = before.astype(float) * beta
    wanted[:, :N] += A.astype(float) @ W.astype(float).T
    close(C[:, :width], wanted, dtype)
    assert (C[:, width:] == SEVEN).all() and (out[:co] == SEVEN).all() and (out[co + M * ldc :] == SEVEN).all()


def check_stacked(
    k: ModuleType, dtype: str, transposed: bool, widths: tuple[int, ...], depths: tuple[int, ...]
) -> None:
    """Matrices side by side and one under another in one operand."""
    rng = np.random.default_rng([len(widths), *widths, *depths])
    N, K = sum(widths), sum(depths)
    B = normal(rng, dtype, K, N)
    packed = np.zeros(packed_size(N, K, dtype) + 2, dtype)
    packed[-2:] = SEVEN
    for n0, n in zip(np.cumsum((0, *widths)), widths, strict=False):
        for k0, d in zip(np.cumsum((0, *depths)), depths, strict=False):
            block = B[k0 : k0 + d, n0 : n0 + n]
            source = np.full((d, n + 2) if transposed else (n, d + 2), np.nan, dtype)
            if transposed:
                source[:, 1 : n + 1] = block
                k.pack_transposed(source, 1, n + 2, d, n, packed, 0, n0, k0, N, K)
            else:
                source[:, 1 : d + 1] = block.T
                k.pack(source, 1, d + 2, n, d, packed, 0, n0, k0, N, K)
    A = normal(rng, dtype, 5, K)
    width = padded(N, dtype)
    C = np.empty((5, width), dtype)
    k.product(A, 0, K, packed, 0, C, 0, width, 5, N, K, 0)
    close(C[:, :N], A.astype(float) @ B.astype(float), dtype)
    assert (C[:, N:] == 0).all() and (packed[-2:] == SEVEN).all()


def check_gradient(k: ModuleType, dtype: str, M: int, N: int, counts: tuple[int, ...], t0: int, t1: int) -> None:
    """C += XᵀY over ragged steps, X and Y read from (T, B, features) with a lag of one between them."""
    rng = np.random.default_rng([M, N, *counts])
    T, B, lag = len(counts), max(counts) + 1, 1
    X, Y = normal(rng, dtype, T, B, M + 3), normal(rng, dtype, T + lag, B, N + 1)
    n_t = np.array((99, *counts), np.int64)  # one step of offset
    K = sum(counts[t0:t1])
    width = padded(N, dtype)
    left = np.full(rows_size(M, K, dtype) + 2, np.nan, dtype)
    right = np.full(packed_size(N, K, dtype) + 2, np.nan, dtype)
    got = k.pack_rows(X, 2, B * (M + 3), M + 3, M, n_t, 1, t0, t1, left, 1)
    assert got == K
    assert k.pack_panels(Y, 0, B * (N + 1), N + 1, N, n_t, 1, t0, t1, right, 1) == K
    before = normal(rng, dtype, M, width)
    C = np.full((M + 1, width + 1), SEVEN, dtype)
    C[:M, :width] = before
    k.weight_gradient(left, 1, right, 1, C, 0, width + 1, M, N, K)
    wanted = before.astype(float)
    for t in range(t0, t1):
        n = counts[t]
        wanted[:, :N] += X[t, :n, 2 : 2 + M].T.astype(float) @ Y[t, :n, :N].astype(float)
    close(C[:M, :width], wanted, dtype)
    assert (C[M] == SEVEN).all() and (C[:, width] == SEVEN).all()


def check_plain(k: ModuleType, dtype: str, M: int, N: int, K: int, transposed: bool) -> None:
    """A product by a matrix as it lies in memory."""
    rng = np.random.default_rng([M, N, K])
    A, B = normal(rng, dtype, M, K), normal(rng, dtype, K, N)
    source = np.ascontiguousarray(A.T) if transposed else A
    strides = (1, M) if transposed else (K, 1)
    C = normal(rng, dtype, M, N)
    wanted = C.astype(float) + A.astype(float) @ B.astype(float)
    k.multiply(source, 0, *strides, B, 0, N, C, 0, N, M, N, K, 1)
    close(C, wanted, dtype)


def every(dtype: str) -> int:
    """All cases; how many there were."""
    k, w, done = functions(), panel(dtype), 0
    narrow = (1, w // 2 - 1, w // 2, w // 2 + 1, w, w + 1, 3 * w, 5 * w + w // 2)
    for M, N in itertools.product(range(1, 18), narrow):
        for K in (0, 1, 3, 4, 5, 33):
            check_product(k, dtype, M, N, K, (M + N + K) % 2)
            done += 1
    for M in (95, 96, 97, 200):  # blocks of rows
        check_product(k, dtype, M, w + w // 2, 19, 1)
    for transposed in (False, True):
        for widths in ((100,), (w, w), (w // 2, w), (5, 7, 100), (1, 1), (w - 1, w + 2, 3)):
            for depths in ((9,), (3, 30), (1, 1, 1)):
                check_stacked(k, dtype, transposed, widths, depths)
                done += 1
    for M, N in itertools.product((1, 5, 6, 8, 13, 2 * w, 100), (1, w // 2, w, w + 3)):
        for counts, t0, t1 in (((4, 4, 4), 0, 3), ((5, 3, 3, 1), 1, 4), ((2, 0), 0, 2), ((1,) * 12, 2, 11)):
            check_gradient(k, dtype, M, N, counts, t0, t1)
            done += 1
    for M, N, K in itertools.product((1, 2, 7, 9), (w // 2, w, 2 * w + w // 2), (1, 6)):
        check_plain(k, dtype, M, N, K, False)
        check_plain(k, dtype, M, N, K, True)
        done += 2
    return done


if __name__ == "__main__":
    for name in sys.argv[1:] or ("float32", "float64"):
        print(f"{host().name} {backend(name)} {name}: {every(name)} cases")
