"""The packed matrix product: weights are packed once a call, then every step multiplies at full speed.

BLAS packs its right operand again at each call; a recurrent cell multiplies by the same weights at every
step. Here the weights are packed once, and the step runs only the register tiles of
`kernels.emit`, through the loops of `kernels.drivers`, compiled once and called by address from every
generated kernel. May not know what is multiplied, nor threads.

The functions in kernels (arrays C-contiguous, offsets and strides in elements) are described in the package's
docstring: pack, pack_transposed, product_add, product_set, multiply, pack_rows, pack_panels,
weight_gradient.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError, TypingError
from numba.extending import intrinsic

from tinygrad_seq.kernels import blas
from tinygrad_seq.kernels import cache as disk
from tinygrad_seq.kernels.emit import Shape, shape, tiles
from tinygrad_seq.kernels.memory import check_flat, element
from tinygrad_seq.kernels.target import host

_I = ir.IntType(64)
_DTYPES = ("float32", "float64")
_DRIVERS = ("multiply", "pack", "gather")


@cache
def cut_of(dtype: str) -> Shape:
    """How products of this type are cut for Numba's target."""
    if dtype not in _DTYPES:
        raise ValueError(f"products are compiled for {' and '.join(_DTYPES)}, not {dtype!r}")
    return shape(host(), dtype)


def panel(dtype: str) -> int:
    """Columns of a full panel: 32 of float32, 16 of float64 (128 bytes)."""
    return cut_of(dtype).panel


def tail(dtype: str) -> int:
    """Columns of the narrow last panel, and the unit to which a packed width is rounded up."""
    return cut_of(dtype).tail


def padded(n: int, dtype: str) -> int:
    """n rounded up to a multiple of `tail`: the columns that a product of width n touches."""
    unit = tail(dtype)
    return -(-n // unit) * unit


def packed_size(n: int, k: int, dtype: str) -> int:
    """Elements of a packed right operand (k, n)."""
    return padded(n, dtype) * k


def rows_size(n: int, k: int, dtype: str) -> int:
    """Elements of a packed left operand of a weight gradient: k rows of n columns."""
    unit = cut_of(dtype).rows
    return -(-n // unit) * unit * k


def backend(dtype: str) -> str:
    """ "intrinsic" (register tiles) or "blas" (the fallback, TGSEQ_PRODUCT=blas), after `require`."""
    require(dtype)
    return _BACKENDS[dtype]


def tile_of(dtype: str) -> Callable[..., None]:
    """The register tile as a function for kernels over pointers; see `emit.tiles` for its arguments."""
    cut = cut_of(dtype)
    if _BACKENDS.get(dtype) == "blas":
        blas.provide(dtype)
        return blas.tile_of(cut)

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(
        typing: Any,
        choice: Any,
        a: Any,
        ao: Any,
        sm: Any,
        sk: Any,
        b: Any,
        bo: Any,
        bp: Any,
        bk: Any,
        c: Any,
        co: Any,
        ldc: Any,
        k: Any,
        beta: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            choice, a, ao, sm, sk, b, bo, bp, bk, c, co, ldc, k, beta = args
            a, b, c = (builder.gep(p, [o], inbounds=True) for p, o in ((a, ao), (b, bo), (c, co)))
            builder.call(tiles(builder.module, cut), [choice, a, sm, sk, b, bp, bk, c, ldc, k, beta])
            return context.get_dummy_value()

        n = types.intp
        return types.void(n, a, n, n, n, b, n, n, n, c, n, n, n, n), generate

    return tile  # type: ignore[no-any-return]


_BACKENDS: dict[str, str] = {}
_READY: set[str] = set()


def require(dtype: str) -> None:
    """Have the shared machine code of a type in this process; kernels that multiply do it themselves.

    Compiled the first time on a machine (under a second), loaded afterwards. May raise before any kernel runs.
    """
    if dtype in _READY:
        return
    with global_compiler_lock:  # the compiler asks for this too, holding its lock: one lock for both
        if dtype in _READY:
            return
        cut_of(dtype)
        _BACKENDS[dtype] = "blas" if os.environ.get("TGSEQ_PRODUCT", "") == "blas" else "intrinsic"
        try:
            _register(dtype)
        except (NumbaError, RuntimeError, NotImplementedError) as error:
            if _BACKENDS[dtype] == "blas":
                raise
            disk.warn_once(f"the register tiles cannot be built for {host().name} ({error}); products run by BLAS")
            _BACKENDS[dtype] = "blas"
            _register(dtype)
        _READY.add(dtype)


def _register(dtype: str) -> None:
    text = Path(__file__).with_name("drivers.py").read_text(encoding="utf-8")
    text = text.replace('DTYPE = "float32"', f'DTYPE = "{dtype}"')
    module = disk.load_source(f"product_{dtype}_{_BACKENDS[dtype]}", text)
    for name in _DRIVERS:
        address = disk.callback(getattr(module, name), getattr(module, name.upper()))
        llvm.add_symbol(symbol(name, dtype), address)


def symbol(name: str, dtype: str) -> str:
    return f"tgseq_{name}_{dtype}_{disk.environment()[:16]}"


for _dtype_name in _DTYPES:
    for _driver in _DRIVERS:
        disk.EXTERNAL[symbol(_driver, _dtype_name)] = partial(require, _dtype_name)


def call(builder: Any, name: str, dtype: str, args: list[Any], result: Any = None) -> Any:
    """Call one of the drivers by its process-wide name."""
    kind = ir.FunctionType(result or ir.VoidType(), [a.type for a in args])
    full = symbol(name, dtype)
    function = builder.module.globals.get(full) or ir.Function(builder.module, kind, full)
    return builder.call(function, args)


def _dtype(*arrays: Any) -> str:
    """The common type of a kernel's arrays, its machine code made ready; raises when typing."""
    check_flat(*arrays)
    names = {str(a.dtype) for a in arrays}
    if len(names) != 1 or not names <= set(_DTYPES):
        raise TypingError(f"a product's arrays must be all float32 or all float64, not {', '.join(sorted(names))}")
    name = names.pop()
    require(name)
    return name


def _int(value: int) -> ir.Constant:
    return ir.Constant(_I, value)


def _round_up(builder: Any, n: Any, unit: int) -> Any:
    return builder.and_(builder.add(n, _int(unit - 1)), _int(-unit))


def _product(beta: int) -> Callable[..., None]:
    @intrinsic  # type: ignore[untyped-decorator]
    def product(
        typing: Any, A: Any, ao: Any, lda: Any, P: Any, po: Any, C: Any, co: Any, ldc: Any, M: Any, N: Any, K: Any
    ) -> Any:
        dtype = _dtype(A, P, C)
        cut = cut_of(dtype)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, ao, lda, _, po, _, co, ldc, m, n, k = args
            a, b, c = (element(context, builder, signature.args[i], args[i], o) for i, o in ((0, ao), (3, po), (5, co)))
            n = _round_up(builder, n, cut.tail)
            between = builder.mul(k, _int(cut.panel))
            call(builder, "multiply", dtype, [a, lda, lda, _int(1), b, between, _int(0), c, ldc, m, n, k, _int(beta)])
            return context.get_dummy_value()

        n = types.intp
        return types.void(A, n, n, P, n, C, n, n, n, n, n), generate

    return product  # type: ignore[no-any-return]


product_add, product_set = _product(1), _product(0)


@intrinsic  # type: ignore[untyped-decorator]
def weight_gradient(
    typing: Any, X: Any, xo: Any, Y: Any, yo: Any, C: Any, co: Any, ldc: Any, M: Any, N: Any, K: Any
) -> Any:
    """C (M, padded N) += XᵀY; X (K, M) from pack_rows, Y (K, N) from pack_panels."""
    dtype = _dtype(X, Y, C)
    cut = cut_of(dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, xo, _, yo, _, co, ldc, m, n, k = args
        x, y, c = (element(context, builder, signature.args[i], args[i], o) for i, o in ((0, xo), (2, yo), (4, co)))
        n = _round_up(builder, n, cut.tail)
        between = builder.mul(k, _int(cut.panel))
        call(builder, "multiply", dtype, [x, k, _int(1), _int(cut.rows), y, between, _int(0), c, ldc, m, n, k, _int(1)])
        return context.get_dummy_value()

    n = types.intp
    return types.void(X, n, Y, n, C, n, n, n, n, n), generate


@intrinsic  # type: ignore[untyped-decorator]
def multiply(
    typing: Any,
    A: Any,
    ao: Any,
    sm: Any,
    sk: Any,
    B: Any,
    bo: Any,
    ldb: Any,
    C: Any,
    co: Any,
    ldc: Any,
    M: Any,
    N: Any,
    K: Any,
    beta: Any,
) -> Any:
    """C (M, N) = beta C + A B for operands as they lie in memory; N a multiple of `tail`, beta 0 or 1.

    A element (m, k) at ao + m*sm + k*sk (a transposed A has sm = 1), B (K, N) and C with rows ldb and ldc
    apart. For products by what is not a weight: sequences' own matrices, attention.
    """
    dtype = _dtype(A, B, C)
    cut = cut_of(dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, ao, sm, sk, _, bo, ldb, _, co, ldc, m, n, k, beta = args
        a, b, c = (element(context, builder, signature.args[i], args[i], o) for i, o in ((0, ao), (4, bo), (7, co)))
        call(builder, "multiply", dtype, [a, sm, sm, sk, b, _int(cut.panel), ldb, c, ldc, m, n, k, beta])
        return context.get_dummy_value()

    n = types.intp
    return types.void(A, n, n, n, B, n, n, C, n, n, n, n, n, n), generate


def _packer(transposed: bool) -> Callable[..., None]:
    @intrinsic  # type: ignore[untyped-decorator]
    def pack(
        typing: Any,
        W: Any,
        wo: Any,
        ldw: Any,
        rows: Any,
        columns: Any,
        P: Any,
        po: Any,
        n0: Any,
        k0: Any,
        N: Any,
        K: Any,
    ) -> Any:
        dtype = _dtype(W, P)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, wo, ldw, rows, columns, _, po, n0, k0, n, k = args
            w, p = (element(context, builder, signature.args[i], args[i], o) for i, o in ((0, wo), (5, po)))
            size = [_int(1), ldw, columns, rows] if transposed else [ldw, _int(1), rows, columns]
            call(builder, "pack", dtype, [w, *size, p, n0, k0, n, k])
            return context.get_dummy_value()

        n = types.intp
        return types.void(W, n, n, n, n, P, n, n, n, n, n), generate

    return pack  # type: ignore[no-any-return]


pack, pack_transposed = _packer(False), _packer(True)


def _gatherer(left: bool) -> Callable[..., int]:
    @intrinsic  # type: ignore[untyped-decorator]
    def gather(
        typing: Any,
        S: Any,
        so: Any,
        st: Any,
        sb: Any,
        columns: Any,
        counts: Any,
        no: Any,
        t0: Any,
        t1: Any,
        P: Any,
        po: Any,
    ) -> Any:
        dtype = _dtype(S, P)
        check_flat(counts)
        if counts.dtype != types.int64:
            raise TypingError(f"counts of active rows are int64, not {counts.dtype}")
        cut = cut_of(dtype)
        width, unit = (cut.rows, cut.rows) if left else (cut.panel, cut.tail)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, so, st, sb, columns, _, no, t0, t1, _, po = args
            s, c, p = (element(context, builder, signature.args[i], args[i], o) for i, o in ((0, so), (5, no), (9, po)))
            size = [_int(width), _int(unit)]
            return call(builder, "gather", dtype, [s, st, sb, columns, c, t0, t1, p, *size], _I)

        n = types.intp
        return types.intp(S, n, n, n, n, counts, n, n, n, P, n), generate

    return gather  # type: ignore[no-any-return]


pack_rows, pack_panels = _gatherer(True), _gatherer(False)
