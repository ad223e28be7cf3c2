"""The register tile by the BLAS of SciPy: the fallback where the tiles of `kernels.emit` cannot be built.

One call of `gemm` is a tile of at most 8 rows and 32 columns, so small that BLAS does not start threads beside ours; it
reads packed panels as they are. A training step of an LSTM takes 10 to 25 % longer than with the register tiles, where
OpenBLAS knows the processor. May not know what is multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.extending import get_cython_function_address, intrinsic

from tinygrad_seq.kernels import cache as disk
from tinygrad_seq.kernels.emit import Shape
from tinygrad_seq.kernels.target import real

_ROUTINES = {"float32": "sgemm", "float64": "dgemm"}
_BYTE, _INT, _WORD = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def symbol(dtype: str) -> str:
    return f"tgseq_blas_{_ROUTINES[dtype]}"


def provide(dtype: str) -> None:
    """Register SciPy's routine with LLVM."""
    llvm.add_symbol(symbol(dtype), get_cython_function_address("scipy.linalg.cython_blas", _ROUTINES[dtype]))


for _name in _ROUTINES:
    disk.EXTERNAL[symbol(_name)] = partial(provide, _name)


def tile_of(cut: Shape) -> Callable[..., None]:
    """What `product.tile_of` describes, by BLAS."""
    rows, lanes, panel, strips, gemm = cut.rows, cut.lanes, cut.panel, cut.strips, _gemm(cut.dtype)

    @njit(**disk.OPTIONS)
    def tile(choice, a, ao, sm, sk, b, bo, bp, bk, c, co, ldc, k, beta):  # type: ignore[no-untyped-def]
        strip = choice - 2 * rows
        count = 1 if strip >= 0 else choice % rows + 1
        width = strips[strip] * panel if strip >= 0 else (choice // rows + 1) * lanes
        for low in range(0, width, panel):
            n, right, into = min(width - low, panel), bo + low // panel * bp, co + low
            if sk == 1 and sm >= k:
                gemm(0, n, count, k, b, right, bk, a, ao, sm, c, into, ldc, beta)
            elif sm == 1 and sk >= count:
                gemm(1, n, count, k, b, right, bk, a, ao, sk, c, into, ldc, beta)
            else:  # rows that overlap or whose elements are apart: a single row may have any stride
                for m in range(count):
                    gemm(1, n, 1, k, b, right, bk, a, ao + m * sm, max(sk, 1), c, into + m * ldc, ldc, beta)

    return tile  # type: ignore[no-any-return]


def _gemm(dtype: str) -> Callable[..., None]:
    """C (m, n) = beta C + A (m, k) B (k, n) by rows, which is Cᵀ = beta Cᵀ + Bᵀ Aᵀ by columns, as BLAS has it.

    turned  whether the elements of a row of A are lda apart and its rows beside one another, or the other way round
    """
    number, number_type = real(dtype), types.float32 if dtype == "float32" else types.float64

    @intrinsic  # type: ignore[untyped-decorator]
    def gemm(
        typing: Any,
        turned: Any,
        n: Any,
        m: Any,
        k: Any,
        b: Any,
        bo: Any,
        ldb: Any,
        a: Any,
        ao: Any,
        lda: Any,
        c: Any,
        co: Any,
        ldc: Any,
        beta: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            turned, n, m, k, b, bo, ldb, a, ao, lda, c, co, ldc, beta = args
            with builder.goto_entry_block():
                places = [builder.alloca(t) for t in (_BYTE, _BYTE, *[_INT] * 6, number, number)]
            plain, which, *sizes, one, scale = places
            builder.store(_BYTE(ord("N")), plain)
            is_turned = builder.icmp_signed("!=", turned, _WORD(0))
            builder.store(builder.select(is_turned, _BYTE(ord("T")), _BYTE(ord("N"))), which)
            for place, value in zip(sizes, (n, m, k, ldb, lda, ldc), strict=True):
                builder.store(builder.trunc(value, _INT), place)
            builder.store(number(1.0), one)
            builder.store(builder.sitofp(beta, number), scale)
            right, left, into = (builder.gep(p, [o], inbounds=True) for p, o in ((b, bo), (a, ao), (c, co)))
            pn, pm, pk, pb, pa, pc = sizes
            call = [plain, which, pn, pm, pk, one, right, pb, left, pa, scale, into, pc]
            kind = ir.FunctionType(ir.VoidType(), [p.type for p in call])
            name = symbol(dtype)
            builder.call(builder.module.globals.get(name) or ir.Function(builder.module, kind, name), call)
            return context.get_dummy_value()

        i, p = types.intp, types.CPointer(number_type)
        return types.void(i, i, i, i, p, i, i, p, i, i, p, i, i, i), generate

    return gemm  # type: ignore[no-any-return]


__all__ = ["provide", "symbol", "tile_of"]
