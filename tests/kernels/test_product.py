"""The packed product: all tails, offsets and strides; other processors; the fallback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir
from numba.core.errors import TypingError

from tests.kernels import exercise
from tinygrad_seq.kernels.emit import shape, tiles
from tinygrad_seq.kernels.product import backend, cut_of, packed_size, padded, panel, rows_size, tail
from tinygrad_seq.kernels.target import describe

DTYPES = ("float32", "float64")


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_tails_offsets_and_strides(dtype: str) -> None:
    assert exercise.every(dtype) > 900
    assert backend(dtype) == "intrinsic"


def test_nan_and_infinity_pass_through() -> None:
    k = exercise.functions()
    A = np.array([[1, np.nan, 0], [np.inf, 1, 0], [1, 1, 1]], "f4")
    packed = np.zeros(packed_size(4, 3, "float32"), "f4")
    k.pack(np.ones((4, 3), "f4"), 0, 3, 4, 3, packed, 0, 0, 0, 4, 3)
    C = np.zeros((3, 16), "f4")
    k.product(A, 0, 3, packed, 0, C, 0, 16, 3, 4, 3, 0)
    assert np.isnan(C[0, :4]).all() and np.isposinf(C[1, :4]).all() and (C[2, :4] == 3).all()


def test_equal_bits_from_run_to_run() -> None:
    k = exercise.functions()
    rng = np.random.default_rng(0)
    A, W = exercise.normal(rng, "float32", 16, 70), exercise.normal(rng, "float32", 64, 70)
    packed = np.zeros(packed_size(64, 70, "float32"), "f4")
    k.pack(W, 0, 70, 64, 70, packed, 0, 0, 0, 64, 70)
    first, second = np.zeros((16, 64), "f4"), np.zeros((16, 64), "f4")
    k.product(A, 0, 70, packed, 0, first, 0, 64, 16, 64, 70, 0)
    k.product(A, 0, 70, packed, 0, second, 0, 64, 16, 64, 70, 0)
    assert (first == second).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_single_row_has_the_same_bits_whichever_way_it_is_multiplied(dtype: str) -> None:
    """Rows next to each other in memory are multiplied by the panels there and back."""
    k, depth, width = exercise.functions(), 5, 12 * panel(dtype)
    rng = np.random.default_rng(0)
    row, W = exercise.normal(rng, dtype, depth), exercise.normal(rng, dtype, width, depth)
    packed = np.zeros(packed_size(width, depth, dtype), dtype)
    k.pack(W, 0, depth, width, depth, packed, 0, 0, 0, width, depth)
    A, found = np.tile(row, (4, 1)), np.zeros((4, width), dtype)
    for t in range(4):
        k.product(A, t * depth, depth, packed, 0, found, t * width, width, 1, width, depth, 0)
    np.testing.assert_allclose(found[0], W @ row, rtol=1e-5)
    assert (found == found[0]).all()


def test_sizes() -> None:
    assert (panel("float32"), tail("float32"), panel("float64"), tail("float64")) == (32, 16, 16, 8)
    assert [padded(n, "float32") for n in (0, 1, 16, 17, 100)] == [0, 16, 16, 32, 112]
    assert packed_size(100, 7, "float32") == 112 * 7
    assert rows_size(1, 7, "float64") == cut_of("float64").rows * 7


def test_arrays_that_cannot_be_multiplied() -> None:
    k = exercise.functions()
    good, packed = np.zeros((2, 2), "f4"), np.zeros(64, "f4")
    with pytest.raises(TypingError, match="all float32 or all float64"):
        k.product(good, 0, 2, packed.astype("f8"), 0, good, 0, 2, 1, 1, 1, 0)
    with pytest.raises(TypingError, match="all float32 or all float64"):
        k.product(*[np.zeros(64, "i4") if isinstance(a, str) else a for a in ("", 0, 2, "", 0, "", 0, 2, 1, 1, 1, 0)])
    with pytest.raises(TypingError, match="C-contiguous"):
        k.product(good[:, ::2], 0, 2, packed, 0, packed, 0, 2, 1, 1, 1, 0)
    with pytest.raises(ValueError, match="float32 and float64, not 'float16'"):
        cut_of("float16")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"TGSEQ_PRODUCT": "blas"}, "blas"),
        ({"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma"}, "haswell (AVX2) intrinsic"),
        ({"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"}, "x86-64 (128-bit) intrinsic"),
    ],
    ids=["BLAS", "AVX2", "128-bit"],
)
def test_other_targets_end_to_end(setting: dict[str, str], expected: str) -> None:
    if "NUMBA_CPU_NAME" in setting and not llvm.get_process_triple().startswith("x86_64"):
        pytest.skip("targets of x86-64")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.kernels.exercise", "float32"]
    done = subprocess.run(command, cwd=root, env={**os.environ, **setting}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_compiled_for_aarch64(dtype: str) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = describe("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon")
    assert (target.bits, target.registers) == (128, 32)
    module = ir.Module()
    module.triple = "aarch64-unknown-linux-gnu"
    tiles(module, shape(target, dtype)).linkage = "external"
    machine = llvm.Target.from_triple(module.triple).create_target_machine(cpu="neoverse-n1", opt=3)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    text = machine.emit_assembly(parsed)
    largest = text.split(f"tgseq_tile_{dtype}_8x2:")[1].split(".Lfunc_end")[0]
    lane = "4s" if dtype == "float32" else "2d"
    assert largest.count("fmla\tv") >= 16 and f".{lane}" in largest
    loop = largest.split("fmla", 1)[1].rsplit("fmla", 1)[0]
    assert "[sp" not in loop, "the sums spill to the stack"
