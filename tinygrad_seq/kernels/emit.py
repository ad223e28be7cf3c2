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

    @property
    def strips(self) -> tuple[int, ...]:
        """Panels that a single row is multiplied with at once, the most first: eight vectors, or four."""
        return tuple(n for n in (8 * self.lanes // self.panel, 4 * self.lanes // self.panel) if n)


def shape(target: Target, dtype: str) -> Shape:
    """The tile that fills the target's registers: sums, two vectors of B, one element of A."""
    return Shape(dtype, 128 // itemsize(dtype), 8 if target.registers == 32 else 6, target.lanes(dtype))


def _const(value: int) -> ir.Constant:
    return ir.Constant(_I, value)


def tile_type(dtype: str) -> ir.FunctionType:
    """void tile(choice, A, sm, sk, B, bp, bk, C, ldc, K, beta): see `tiles`."""
    p = real(dtype).as_pointer()
    return ir.FunctionType(ir.VoidType(), [_I, p, _I, _I, p, _I, _I, p, _I, _I, _I])


def tiles(module: ir.Module, cut: Shape) -> ir.Function:
    """A function that runs the register tile of a chosen size.

    Its arguments: choice = (vectors - 1) * cut.rows + rows - 1, or 2 * cut.rows + s for one row and cut.strips[s]
    panels; A with the element (m, k) at A[m*sm + k*sk]; B with row k at B[k*bk], vectors * lanes columns (of a strip:
    panels bp apart); C with rows ldc apart, set when beta is 0, added to when it is 1; K. All strides in elements.
    """
    name = f"tgseq_tile_{cut.dtype}"
    known = module.globals.get(name)
    if known is not None:
        return known
    chooser = internal(module, name, tile_type(cut.dtype))
    chooser.attributes.add("alwaysinline")
    builder = ir.IRBuilder(chooser.append_basic_block("choose"))
    end = chooser.append_basic_block("end")
    switch = builder.switch(chooser.args[0], end)
    sizes = [(rows, vectors) for vectors in (1, 2) for rows in range(1, cut.rows + 1)] + [
        (1, n * cut.panel // cut.lanes) for n in cut.strips
    ]
    for choice, (rows, vectors) in enumerate(sizes):
        block = chooser.append_basic_block(f"rows_{rows}_vectors_{vectors}")
        switch.add_case(_const(choice), block)
        builder.position_at_end(block)
        builder.call(_tile(module, cut, rows, vectors), chooser.args[1:])
        builder.branch(end)
    builder.position_at_end(end)
    builder.ret_void()
    return chooser


def internal(module: ir.Module, name: str, kind: ir.FunctionType) -> ir.Function:
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    return function


def _tile(module: ir.Module, cut: Shape, rows: int, vectors: int) -> ir.Function:
    kind = tile_type(cut.dtype)
    name = f"tgseq_tile_{cut.dtype}_{rows}x{vectors}"
    function = internal(module, name, ir.FunctionType(kind.return_type, kind.args[1:]))
    function.attributes.add("noinline")
    _Tile(function, cut, rows, vectors).write()
    return function


class _Tile:
    """The body of one register tile, being written."""

    def __init__(self, function: ir.Function, cut: Shape, rows: int, vectors: int) -> None:
        a, sm, sk, b, bp, bk, c, ldc, depth, beta = function.args
        self.function, self.rows, self.vectors, self.lanes = function, rows, vectors, cut.lanes
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.vector = ir.VectorType(real(cut.dtype), cut.lanes)
        self.align = itemsize(cut.dtype)
        self.sums = rows * vectors
        self.bk, self.sk, self.depth, self.beta = bk, sk, depth, beta
        each = cut.panel // cut.lanes  # vectors of a panel
        panels = [self.at(b, self.builder.mul(bp, _const(p))) for p in range((vectors + each - 1) // each)]
        self.right = [self.at(panels[v // each], _const(v % each * cut.lanes)) for v in range(vectors)]
        self.left = [self.at(a, self.builder.mul(sm, _const(m))) for m in range(rows)]
        lines = [self.at(c, self.builder.mul(ldc, _const(m))) for m in range(rows)]
        self.into = [self.at(line, _const(v * cut.lanes)) for line in lines for v in range(vectors)]

    def at(self, pointer: Any, offset: Any) -> Any:
        return self.builder.gep(pointer, [offset], inbounds=True)

    def wide(self, pointer: Any) -> Any:
        return self.builder.bitcast(pointer, self.vector.as_pointer())

    def write(self) -> None:
        zeros = [ir.Constant(self.vector, [0.0] * self.lanes)] * self.sums
        apart = max(1, min(4, 8 // self.sums))  # 8 sums in flight hide the latency of a multiply-add
        total, rest = zeros, _const(0)
        if apart > 1:
            rest = self.builder.and_(self.depth, _const(-apart))
            parts = self.loop(_const(0), rest, apart, zeros * apart)
            total = parts[: self.sums]
            for u in range(1, apart):
                more = parts[u * self.sums : (u + 1) * self.sums]
                total = [self.builder.fadd(x, y) for x, y in zip(total, more, strict=True)]
        self.finish(self.loop(rest, self.depth, 1, total))

    def step(self, k: Any, before: list[Any]) -> list[Any]:
        """The sums after row k of B."""
        builder = self.builder
        down = builder.mul(k, self.bk)
        right = [builder.load(self.wide(self.at(start, down)), align=self.align) for start in self.right]
        along, after = builder.mul(k, self.sk), []
        for m in range(self.rows):
            x = splat(builder, builder.load(self.at(self.left[m], along)), self.vector)
            for v in range(self.vectors):
                product = builder.fmul(x, right[v], flags=_FMA)
                after.append(builder.fadd(before[m * self.vectors + v], product, flags=_FMA))
        return after

    def loop(self, start: Any, stop: Any, unroll: int, initial: list[Any]) -> list[Any]:
        """for k in range(start, stop, unroll), with `unroll` sets of sums; the sums at its end."""
        builder, entry = self.builder, self.builder.block
        head, body, done = (self.function.append_basic_block(name) for name in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        k = builder.phi(_I)
        k.add_incoming(start, entry)
        carried = [builder.phi(self.vector) for _ in initial]
        for phi, value in zip(carried, initial, strict=True):
            phi.add_incoming(value, entry)
        builder.cbranch(builder.icmp_signed("<", k, stop), body, done)
        builder.position_at_end(body)
        new: list[Any] = []
        for u in range(unroll):
            new += self.step(builder.add(k, _const(u)), carried[u * self.sums : (u + 1) * self.sums])
        k.add_incoming(builder.add(k, _const(unroll)), body)
        for phi, value in zip(carried, new, strict=True):
            phi.add_incoming(value, body)
        builder.branch(head)
        builder.position_at_end(done)
        return carried

    def finish(self, total: list[Any]) -> None:
        """C = total, or C += total."""
        builder = self.builder
        put, add, end = (self.function.append_basic_block(name) for name in ("put", "add", "end"))
        builder.cbranch(builder.icmp_signed("==", self.beta, _const(0)), put, add)
        builder.position_at_end(put)
        for place, x in zip(self.into, total, strict=True):
            builder.store(x, self.wide(place), align=self.align)
        builder.branch(end)
        builder.position_at_end(add)
        for place, x in zip(self.into, total, strict=True):
            old = builder.load(self.wide(place), align=self.align)
            builder.store(builder.fadd(old, x), self.wide(place), align=self.align)
        builder.branch(end)
        builder.position_at_end(end)
        builder.ret_void()


def splat(builder: Any, scalar: Any, vector: ir.VectorType) -> Any:
    index = ir.IntType(32)
    undefined = ir.Constant(vector, ir.Undefined)
    single = builder.insert_element(undefined, scalar, ir.Constant(index, 0))
    return builder.shuffle_vector(
        single, undefined, ir.Constant(ir.VectorType(index, vector.count), [0] * vector.count)
    )


def exchange(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of a square of vectors, given its rows, by exchanges of halves (J. O. Eklundh, A fast computer method
    for matrix transposing, 1972)."""
    rows, lanes = list(rows), len(rows)

    def chosen(a: Any, b: Any, picks: list[int]) -> Any:
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), lanes), picks))

    half = lanes // 2
    while half:
        for i in (m for m in range(lanes) if not m & half):
            a, b = rows[i], rows[i + half]
            rows[i] = chosen(a, b, [n + lanes - half if n & half else n for n in range(lanes)])
            rows[i + half] = chosen(a, b, [n + lanes if n & half else n + half for n in range(lanes)])
        half //= 2
    return rows


def bare(module: ir.Module) -> str:
    """A module's text without its name and target."""
    lines = str(module).splitlines()
    return "\n".join(line for line in lines if not line.startswith((";", "target ", "source_filename")))
