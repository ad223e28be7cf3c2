"""Fourier transforms of rows against NumPy's in float64: run by the tests, and again by processes with other targets.

`python -m tests.kernels.fourier_cases` prints the target and the number of cases, or fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_seq.kernels.cache import load_source
from tinygrad_seq.kernels.fourier import Transform, transform_of
from tinygrad_seq.kernels.product import padded
from tinygrad_seq.kernels.target import host

SOURCE = '''"""A transform as generated files call it."""

from tinygrad_seq.kernels.nests import nests

run = nests(__file__, "{dtype}")


def main(X, O):
    A, C, W = reals(X[0]), reals(X[1]), reals(X[2])
    transform(A, O[0], O[1], C, O[2], O[3], O[4], O[5], O[6], W, 0)
'''
SIZES = [
    *range(1, 71),
    96,
    97,
    100,
    127,
    128,
    131,
    143,
    210,
    251,
    256,
    257,
    384,
    509,
    512,
    1000,
    1009,
    1018,
    1024,
    2310,
]
EPS = {"float32": 6e-8, "float64": 1.1e-16}


def transformed(z: NDArray[Any], dtype: str, inverse: bool = False, way: Transform | None = None) -> NDArray[Any]:
    """Rows of complex numbers (rows, n), transformed: the numbers as they come out, in float64.

    Asserts that nothing is written beside the rows, nor read from the room around them.
    """
    rows, n = z.shape
    way = way or transform_of(n, dtype)
    width = padded(2 * n, dtype) + 16
    source, result = np.full((2, 3 + rows * width + 64), np.nan, dtype)
    x, y = (a[3 : 3 + rows * width].reshape(rows, width) for a in (source, result))
    x[:, :n], x[:, n : 2 * n] = z.real, z.imag
    work = np.full(way.work + 1, np.nan, dtype)
    table = np.array([3, width, 3, width, rows, int(inverse), way.address], np.int64)
    load_source("fourier_test", SOURCE.format(dtype=dtype)).run((source, result, work), table)
    found: NDArray[Any] = y[:, :n].astype(float) + 1j * y[:, n : 2 * n]
    y[:, : width - 16] = np.nan
    assert np.isnan(result).all(), "written beside the rows"
    assert np.isnan(work[way.work])
    return found


def sample(rows: int, n: int, dtype: str) -> NDArray[Any]:
    rng = np.random.default_rng(n)
    parts = rng.standard_normal((2, rows, n)).astype(dtype).astype(float)
    z: NDArray[Any] = parts[0] + 1j * parts[1]
    return z


def check(n: int, rows: int, dtype: str, way: Transform | None = None) -> None:
    """Both directions; an error of a few roundings for each pass, in the norm of a row."""
    z = sample(rows, n, dtype)
    for inverse, expected in ((False, np.fft.fft(z)), (True, np.fft.ifft(z))):
        found = transformed(z, dtype, inverse, way)
        error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
        assert error.max() < EPS[dtype] * (4 + 3 * np.log2(n)), (n, rows, dtype, inverse, way and way.ways, error.max())


def check_all(sizes: Iterable[int] = SIZES) -> int:
    cases = [(n, rows, dtype) for n in sizes for rows in (1, 3, 37) for dtype in EPS]
    for n, rows, dtype in cases:
        check(n, rows, dtype)
    return len(cases)


if __name__ == "__main__":
    print(host().name, check_all())
