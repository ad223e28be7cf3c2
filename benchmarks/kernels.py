"""The product, the functions and the start of the kernels, measured on this machine.

python -m benchmarks.kernels [--json FILE]    one thread; least times; the BLAS setting stands in the head

OPENBLAS_CORETYPE (pinned on some machines) halves OpenBLAS: run with and without it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from tinygrad_seq.kernels.cache import load_source
from tinygrad_seq.kernels.memory import arena
from tinygrad_seq.kernels.product import backend, packed_size, padded
from tinygrad_seq.kernels.target import host

SHAPES = [(1, 256, 64), (1, 1024, 256), (2, 1024, 256), (4, 1024, 256), (8, 512, 128), (13, 1024, 256), (16, 512, 128)]
SHAPES += [(16, 1024, 256), (32, 1024, 256), (64, 1024, 256), (64, 2048, 512), (128, 1024, 256), (30, 400, 100)]
FUNCTIONS = ("tanh", "sigmoid", "exp", "log", "softplus")
ELEMENTS = 2048  # fit the first-level cache

SOURCE = '''"""Kernels to be measured."""
from tinygrad_seq.kernels import math as K
from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.memory import slots
from tinygrad_seq.kernels.memory import arena
from tinygrad_seq.kernels.product import pack, product_set
(load_x, store_x), (load_y, store_y) = slots(2, "benchmark")

@kernel
def pack_weights(W, N, K, P):
    pack(W, 0, K, N, K, P, 0, 0, 0, N, K)

@kernel
def product(A, P, C, ldc, M, N, K, times):
    for _ in range(times):
        product_set(A, 0, K, P, 0, C, 0, ldc, M, N, K)
'''
for _name in FUNCTIONS:
    SOURCE += f"""
{_name}_ = K.{_name}

@kernel
def {_name}(x, y, times):
    for _ in range(times):
        for i in range(x.size):
            store_y(y, i, {_name}_(load_x(x, i)))
"""


def seconds(run: Callable[..., Any], *args: Any, repeats: int = 9) -> float:
    """Least time of a call: what other work on the machine adds is left out."""
    run(*args)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(*args)
        times.append(time.perf_counter() - start)
    return min(times)


def products(dtype: str) -> list[dict[str, Any]]:
    """GFLOP/s of ours (packed weights) and of NumPy's BLAS at the shapes of a step."""
    k = load_source("benchmark", SOURCE)
    rows = []
    for M, N, K in SHAPES:
        rng = np.random.default_rng(0)
        A, W = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((N, K)).astype(dtype)
        P, C = arena(packed_size(N, K, dtype), dtype), np.empty((M, padded(N, dtype)), dtype)
        k.pack_weights(W, N, K, P)
        times = max(1, int(3e8 / (2 * M * N * K)))
        out, WT = np.empty((M, N), dtype), np.ascontiguousarray(W.T)

        def blas(A: Any, WT: Any, out: Any, times: int) -> None:
            for _ in range(times):
                np.matmul(A, WT, out=out)

        flops = 2 * M * N * K * times
        row: dict[str, Any] = {"dtype": dtype, "M": M, "N": N, "K": K}
        row["ours"] = flops / seconds(k.product, A, P, C, C.shape[1], M, N, K, times) / 1e9
        row["blas"] = flops / seconds(blas, A, WT, out, times) / 1e9
        row["pack_ns"] = seconds(k.pack_weights, W, N, K, P) / (N * K) * 1e9
        rows.append(row)
        print(f"{dtype}  {M:4} {N:5} {K:4}   {row['ours']:7.1f} {row['blas']:7.1f}   {row['pack_ns']:5.2f}", flush=True)
    return rows


def functions(dtype: str) -> list[dict[str, Any]]:
    """Nanoseconds an element, and NumPy's."""
    k = load_source("benchmark", SOURCE)
    x = np.random.default_rng(0).uniform(0.1, 4, ELEMENTS).astype(dtype)
    y = np.empty_like(x)
    rows = []
    for name in FUNCTIONS:
        ours = seconds(getattr(k, name), x, y, 100) / 100 / ELEMENTS * 1e9
        row: dict[str, Any] = {"dtype": dtype, "function": name, "ours_ns": ours}
        numpy = getattr(np, name, None)
        if numpy is not None:
            row["numpy_ns"] = seconds(numpy, x, y) / ELEMENTS * 1e9
        rows.append(row)
        print(f"{dtype}  {name:9} {ours:6.2f} ns   numpy {row.get('numpy_ns', float('nan')):6.2f} ns", flush=True)
    return rows


def start() -> dict[str, float]:
    """Seconds to have the shared machine code, in an empty and in a filled cache, beyond importing Numba."""
    program = "import time, numba, numpy; t = time.perf_counter()\nfrom tinygrad_seq.kernels.product import require\n"
    program += "require('float32'); print(time.perf_counter() - t)"
    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "TGSEQ_CACHE_DIR": directory}
        times = [
            float(
                subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
            )
            for _ in range(4)
        ]
    print(f"shared machine code: cold {times[0]:.2f} s, warm {min(times[1:]):.2f} s")
    return {"cold": times[0], "warm": min(times[1:])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="write the numbers here too")
    path = parser.parse_args().json
    blas = [f"{b['internal_api']} {b['version']} ({b.get('architecture')})" for b in threadpool_info()]
    head = {
        "machine": platform.processor() or platform.machine(),
        "target": host().name,
        "backend": backend("float32"),
        "blas": blas,
        "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE", "not set"),
        "threads": 1,
    }
    print("\n".join(f"{key}: {value}" for key, value in head.items()))
    with threadpool_limits(1):
        print("\nGFLOP/s        M     N    K      ours    BLAS   pack ns/element")
        rows = [row for dtype in ("float32", "float64") for row in products(dtype)]
        print()
        timed = [row for dtype in ("float32", "float64") for row in functions(dtype)]
    print()
    result = {"head": head, "products": rows, "functions": timed, "start": start()}
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
