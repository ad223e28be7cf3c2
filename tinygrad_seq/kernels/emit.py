"""The inner loops of the product, written as LLVM vector instructions.

A register tile is a function `C[r, c] = beta * C + Σ_k A[r, k] B[k, c]` that keeps r x c sums in vector
registers: what BLAS libraries write in assembler. It is emitted from a target and a type alone, so the same
code serves AVX-512, AVX2, NEON and cross-compilation; may not know Numba.

The loop over k keeps its sums apart when few rows would leave the multiply-add units waiting for each
other, and adds them in a fixed order at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from tinygrad_seq.kernels.target import Target, itemsize, real

_I = ir.IntType(64)
_FMA = ("contract",)  # a multiply and an add may fuse; sums are never reordered


@dataclass(frozen=True)
class Shape:
    """How a product is cut for a target.

    panel  columns of B kept together in memory, row after row (the last panel may be half as wide)
    rows   rows of the largest tile; also the width of a packed left operand of a weight gradient
    lanes  elements of a vector; a tile is two vectors wide, or one
    """

    dtype: str
    panel: int
    rows: int
    lanes: int

    @property
    def tail(self) -> int:
        return self.panel // 2


def shape(target: Target, dtype: str) -> Shape:
    """The tile that fills the target's registers: sums, two vectors of B, one element of A."""
    return Shape(dtype, 128 // itemsize(dtype), 8 if target.registers == 32 else 6, target.lanes(dtype))


def _const(value: int) -> ir.Constant:
    return ir.Constant(_I, value)


def tile_type(dtype: str) -> ir.FunctionType:
    """void tile(choice, A, sm, sk, B, bk, C, ldc, K, beta): see `tiles`."""
    p = real(dtype).as_pointer()
    return ir.FunctionType(ir.VoidType(), [_I, p, _I, _I, p, _I, p, _I, _I, _I])


def tiles(module: ir.Module, cut: Shape) -> ir.Function:
    """A function that runs the register tile of a chosen size.

    Its arguments: choice = (vectors - 1) * cut.rows + rows - 1; A with the element (m, k) at A[m*sm + k*sk]; B with
    row k at B[k*bk], vectors * lanes columns; C with rows ldc apart, set when beta is 0, added to
    when it is 1; K. All strides in elements.
    """
    name = f"tgseq_tile_{cut.dtype}"
    known = module.globals.get(name)
    if known is not None:
        return known
    chooser = _function(module, name, tile_type(cut.dtype))
    chooser.attributes.add("alwaysinline")
    builder = ir.IRBuilder(chooser.append_basic_block("choose"))
    end = chooser.append_basic_block("end")
    switch = builder.switch(chooser.args[0], end)
    for vectors in (1, 2):
        for rows in range(1, cut.rows + 1):
            block = chooser.append_basic_block(f"rows_{rows}_vectors_{vectors}")
            switch.add_case(_const((vectors - 1) * cut.rows + rows - 1), block)
            builder.position_at_end(block)
            builder.call(_tile(module, cut, rows, vectors), chooser.args[1:])
            builder.branch(end)
    builder.position_at_end(end)
    builder.ret_void()
    return chooser


def _function(module: ir.Module, name: str, kind: ir.FunctionType) -> ir.Function:
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    return function


def _tile(module: ir.Module, cut: Shape, rows: int, vectors: int) -> ir.Function:
    kind = tile_type(cut.dtype)
    function = _function(module, f"tgseq_tile_{cut.dtype}_{rows}x{vectors}", ir.FunctionType(kind.return_type, kind.args[1:]))
    function.attributes.add("noinline")
    a, sm, sk, b, bk, c, ldc, depth, beta = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = ir.VectorType(real(cut.dtype), cut.lanes)
    size = itemsize(cut.dtype)
    sums = rows * vectors
    apart = max(1, min(4, 8 // sums))  # 8 sums in flight hide the latency of a multiply-add

    def at(pointer: Any, offset: Any) -> Any:
        return builder.gep(pointer, [offset], inbounds=True)

    def wide(pointer: Any) -> Any:
        return builder.bitcast(pointer, vector.as_pointer())

    left = [at(a, builder.mul(sm, _const(m))) for m in range(rows)]
    into = [at(at(c, builder.mul(ldc, _const(m))), _const(v * cut.lanes)) for m in range(rows) for v in range(vectors)]
    zero = ir.Constant(vector, [0.0] * cut.lanes)

    def step(k: Any, before: list[Any]) -> list[Any]:
        """The sums after row k of B."""
        row = at(b, builder.mul(k, bk))
        right = [builder.load(wide(at(row, _const(v * cut.lanes))), align=size) for v in range(vectors)]
        along, after = builder.mul(k, sk), []
        for m in range(rows):
            x = _splat(builder, builder.load(at(left[m], along)), vector)
            for v in range(vectors):
                product = builder.fmul(x, right[v], flags=_FMA)
                after.append(builder.fadd(before[m * vectors + v], product, flags=_FMA))
        return after

    def fused(start: Any, stop: Any, unroll: int, initial: list[Any]) -> list[Any]:
        """for k in range(start, stop, unroll), with `unroll` sets of sums."""
        entry, head = builder.block, function.append_basic_block("head")
        body, done = function.append_basic_block("body"), function.append_basic_block("done")
        builder.branch(head)
        builder.position_at_end(head)
        k = builder.phi(_I)
        k.add_incoming(start, entry)
        carried = [builder.phi(vector) for _ in initial]
        for phi, value in zip(carried, initial, strict=True):
            phi.add_incoming(value, entry)
        builder.cbranch(builder.icmp_signed("<", k, stop), body, done)
        builder.position_at_end(body)
        new: list[Any] = []
        for u in range(unroll):
            new += step(builder.add(k, _const(u)), carried[u * sums : (u + 1) * sums])
        k.add_incoming(builder.add(k, _const(unroll)), body)
        for phi, value in zip(carried, new, strict=True):
            phi.add_incoming(value, body)
        builder.branch(head)
        builder.position_at_end(done)
        return carried

    total = [zero] * sums
    rest = _const(0)
    if apart > 1:
        rest = builder.and_(depth, _const(-apart))
        parts = fused(_const(0), rest, apart, [zero] * (sums * apart))
        total = parts[:sums]
        for u in range(1, apart):
            total = [builder.fadd(x, y) for x, y in zip(total, parts[u * sums : (u + 1) * sums], strict=True)]
    total = fused(rest, depth, 1, total)

    add, put, end = (function.append_basic_block(name) for name in ("add", "put", "end"))
    builder.cbranch(builder.icmp_signed("==", beta, _const(0)), put, add)
    builder.position_at_end(add)
    for place, x in zip(into, total, strict=True):
        old = builder.load(wide(place), align=size)
        builder.store(builder.fadd(old, x), wide(place), align=size)
    builder.branch(end)
    builder.position_at_end(put)
    for place, x in zip(into, total, strict=True):
        builder.store(x, wide(place), align=size)
    builder.branch(end)
    builder.position_at_end(end)
    builder.ret_void()
    return function


def _splat(builder: Any, scalar: Any, vector: ir.VectorType) -> Any:
    index = ir.IntType(32)
    undefined = ir.Constant(vector, ir.Undefined)
    single = builder.insert_element(undefined, scalar, ir.Constant(index, 0))
    return builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(index, vector.count), [0] * vector.count))
