"""Fast Fourier transforms: every length against NumPy's, every way that a length may go, on every width of vectors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.fourier_cases import EPS, SIZES, check, check_all, sample, transformed
from tinygrad_seq.kernels import fourier
from tinygrad_seq.kernels.fourier import BLUESTEIN, DENSE, NEVER, PASSES, Cost, made, roots, transform_of
from tinygrad_seq.kernels.target import magic

ROOT = Path(__file__).parents[2]
RESTRICTED = {  # processors with shorter vectors
    "AVX2": ("haswell", "+sse4.2,+avx,+avx2,+fma,-avx512f"),
    "128-bit": ("nehalem", "+sse4.2,-avx,-avx2,-avx512f"),
}


def test_every_length_is_numpys_transform() -> None:
    assert check_all() == 6 * len(SIZES)


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("kind", [DENSE, PASSES, BLUESTEIN])
@pytest.mark.parametrize("least", [1, NEVER])
def test_every_way_gives_the_same(kind: int, least: int, dtype: str) -> None:
    """Ways that no length takes on this processor may be taken on another."""
    served = 0
    for n in (*range(2, 70), 77, 100, 128, 360, 512):
        try:
            way = made(n, dtype, kind, least)
        except ValueError:
            continue
        served += 1
        for rows in (1, 19):
            check(n, rows, dtype, way)
    assert served >= 20


@pytest.mark.parametrize("dtype", EPS)
def test_a_transform_gives_the_same_bits_again_and_row_by_row(dtype: str) -> None:
    for n in (17, 64, 67, 100, 128, 1009):
        z = sample(40, n, dtype)
        first = transformed(z, dtype)
        np.testing.assert_array_equal(first, transformed(z, dtype))
        ones = np.concatenate([transformed(row[None], dtype) for row in z])  # rows together or alone: but for rounding
        np.testing.assert_allclose(ones, first, atol=60 * EPS[dtype] * np.sqrt(n))


def test_a_row_does_not_feel_its_neighbours() -> None:
    """Numbers that are none stay in their row, whichever rows are transformed together."""
    for n in (20, 64, 128):
        z = sample(37, n, "float64")
        z[5] = np.nan
        found = transformed(z, "float64")
        assert np.isnan(found[5]).all() and np.isfinite(np.delete(found, 5, axis=0)).all()


def test_a_fast_way_is_taken_where_it_is_faster() -> None:
    """n² nowhere beyond a few dozen numbers, and no vector is left to be filled by less than its half."""
    for dtype in EPS:
        assert [transform_of(n, dtype).kind for n in (1, 2, 3, 5, 8)] == [DENSE] * 5
        assert [transform_of(n, dtype).kind for n in (128, 1000, 1024)] == [PASSES] * 3
        assert [transform_of(n, dtype).kind for n in (127, 1009, 10007)] == [BLUESTEIN] * 3
        assert transform_of(128, dtype).numbers[fourier.TOGETHER] <= Cost(fourier.lanes_of(dtype)).lanes
        assert transform_of(1 << 16, dtype).work < 50 << 16


def test_a_length_has_one_table_that_stays() -> None:
    assert transform_of(30, "float32") is transform_of(30, "float32")
    with pytest.raises(ValueError, match="at least one number"):
        transform_of(0, "float32")


def test_roots_of_unity_are_exact_to_the_last_place() -> None:
    for n in (1, 2, 3, 8, 12, 127, 1000):
        k = np.arange(-n, 2 * n)
        angle = 2 * np.pi * np.longdouble(1) * (k % n) / n  # more digits, where there are any
        np.testing.assert_allclose(roots(k, n), np.cos(angle) - 1j * np.sin(angle), atol=4e-16)
    np.testing.assert_array_equal(roots(np.arange(4), 4), [1, -1j, -1, 1j])


@pytest.mark.parametrize("name", RESTRICTED)
def test_processors_with_shorter_vectors(name: str, tmp_path: Path) -> None:
    if not magic()[0].startswith("x86_64"):
        pytest.skip("targets of x86-64")
    cpu, features = RESTRICTED[name]
    env = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "TGSEQ_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.kernels.fourier_cases"]
    done = subprocess.run(command, cwd=ROOT, env={**env, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"({name})" in done.stdout and done.stdout.split()[-1] == str(6 * len(SIZES))
