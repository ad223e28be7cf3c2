"""Loads and stores: what they reach, and that separate scopes let a loop vectorise."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from tinygrad_seq.kernels.cache import OPTIONS, load_source
from tinygrad_seq.kernels.memory import arena

SOURCE = '''"""Memory functions, callable from Python."""
from tinygrad_seq.kernels import memory as M
from tinygrad_seq.kernels.cache import kernel
(load_0, store_0), (load_1, store_1), (load_2, store_2) = M.slots(3, "memory")
load, store, zero_, copy_ = M.load, M.store, M.zero, M.copy

@kernel
def zero(a, offset, n):
    zero_(a, offset, n)

@kernel
def copy(a, to, b, start, n):
    copy_(a, to, b, start, n)

@kernel
def scoped(a, p, q, r, n):
    for i in range(n):
        store_2(a, r + i, load_0(a, p + i) * load_1(a, q + i))

@kernel
def plain(a, p, q, r, n):
    for i in range(n):
        store(a, r + i, load(a, p + i) * load(a, q + i))
'''


def test_slots_zero_and_copy() -> None:
    k = load_source("memory_test", SOURCE)
    for dtype in ("f4", "f8", "i8"):
        a = np.arange(30, dtype=dtype)
        for function in (k.scoped, k.plain):
            b = a.copy()
            function(b, 0, 10, 20, 10)
            np.testing.assert_array_equal(b, np.concatenate([a[:20], a[:10] * a[10:20]]))
        b = a.copy()
        k.zero(b, 3, 4)
        np.testing.assert_array_equal(b, np.where((a >= 3) & (a < 7), 0, a))
        b = np.zeros((2, 4), dtype)
        k.copy(b, 1, a, 5, 6)
        np.testing.assert_array_equal(b.ravel(), [0, 5, 6, 7, 8, 9, 10, 0])


def test_scopes_spare_the_overlap_check() -> None:
    """With scopes LLVM needs no run-time comparison of addresses before the vector loop."""
    k = load_source("memory_test", SOURCE)
    a = np.zeros(64, "f4")
    texts = []
    for kernel in (k.scoped, k.plain):
        function = numba.njit(**OPTIONS)(kernel.py_func)  # not from disk, where LLVM's text is not kept
        function(a, 0, 16, 32, 16)
        texts.append("\n".join(function.inspect_llvm().values()))
    assert "x float>" in texts[0] and "vector.memcheck" not in texts[0]
    assert "vector.memcheck" in texts[1] or "x float>" not in texts[1]


def test_arrays_that_have_no_flat_order() -> None:
    k = load_source("memory_test", SOURCE)
    a = np.zeros((4, 4), "f4")
    with pytest.raises(TypingError, match="C-contiguous"):
        k.zero(a[:, 1:], 0, 1)
    with pytest.raises(TypingError, match="copy between"):
        k.copy(a, 0, a.astype("f8"), 0, 1)
    a.flags.writeable = False
    with pytest.raises(TypingError, match="read-only"):
        k.plain(a, 0, 0, 0, 1)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_arenas_are_aligned_zeros(dtype: str) -> None:
    assert arena(0, dtype).shape == (0,)
    for n in (1, 100, 4099):
        a = arena(n, dtype)
        assert a.ctypes.data % 64 == 0 and a.shape == (n,) and a.dtype == dtype and not a.any()
        assert a.flags.c_contiguous and a.flags.writeable
