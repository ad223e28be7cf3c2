"""Squares transposed in registers: every element at its place, and nothing else touched."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.errors import TypingError

from tinygrad_seq.kernels.cache import load_source
from tinygrad_seq.kernels.squares import side

SOURCE = '''"""A square, callable from Python."""
from tinygrad_seq.kernels.cache import kernel
from tinygrad_seq.kernels.squares import transpose_square

@kernel
def turn(a, so, lds, b, oo, ldo):
    transpose_square(a, so, lds, b, oo, ldo)
'''


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_square_is_transposed_at_its_place_and_nowhere_else(dtype: str) -> None:
    n = side(dtype)
    a, b = np.arange((n + 3) * (n + 5), dtype=dtype).reshape(n + 3, n + 5), np.full((n + 2, n + 1), -1, dtype)
    load_source("squares_test", SOURCE).turn(a, 2 * a.shape[1] + 3, a.shape[1], b, b.shape[1] + 1, b.shape[1])
    expected = np.full_like(b, -1)
    expected[1 : n + 1, 1:] = a[2 : n + 2, 3 : n + 3].T
    np.testing.assert_array_equal(b, expected)


def test_squares_of_two_types_or_of_integers_do_not_compile() -> None:
    turn, floats = load_source("squares_test", SOURCE).turn, np.zeros(256, "f4")
    for a, b in ((floats, np.zeros(256, "f8")), (np.zeros(256, "i4"), np.zeros(256, "i4"))):
        with pytest.raises(TypingError, match="a square is transposed from"):
            turn(a, 0, 16, b, 0, 16)
