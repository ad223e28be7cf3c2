"""The passes of a fast Fourier transform, written as LLVM vector instructions.

A pass is a step of Stockham's transform (which puts its results in order as it goes) over columns side by side: no
instruction ever works across the elements of a vector, so that any radix, any number of columns that fills vectors and
any processor is served by the same text. Numbers lie as a plane of real parts and a plane of imaginary ones. Emitted
from a type and a vector's width alone; may not know Numba, nor what is transformed.

Source: C. Van Loan, Computational frameworks for the fast Fourier transform, 1992, section 1.7; butterflies of 3 and 5
as in S. Winograd, On computing the discrete Fourier transform, 1978.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from tinygrad_seq.kernels.emit import bare, exchange, internal, splat
from tinygrad_seq.kernels.target import itemsize, real

MOST = 61  # the largest prime with passes of its own
_I = ir.IntType(64)
_FUSE = ("contract",)


@dataclass(frozen=True)
class Number:
    """A vector of complex numbers in a function under construction."""

    builder: Any
    re: Any
    im: Any

    def __add__(self, other: Number) -> Number:
        return self._each(self.builder.fadd, other)

    def __sub__(self, other: Number) -> Number:
        return self._each(self.builder.fsub, other)

    def _each(self, how: Callable[..., Any], other: Number) -> Number:
        return Number(self.builder, how(self.re, other.re, flags=_FUSE), how(self.im, other.im, flags=_FUSE))

    def scaled(self, factor: float | Any) -> Number:
        """Times a real number, or a vector of them."""
        if isinstance(factor, float):
            factor = ir.Constant(self.re.type, [factor] * self.re.type.count)
        return Number(self.builder, *(self.builder.fmul(x, factor, flags=_FUSE) for x in (self.re, self.im)))

    def turned(self) -> Number:
        """Times -i."""
        return Number(self.builder, self.im, self.builder.fneg(self.re))

    def times(self, w: Number) -> Number:
        b = self.builder
        aa, bb, ab, ba = (
            b.fmul(x, y, flags=_FUSE) for x, y in ((self.re, w.re), (self.im, w.im), (self.re, w.im), (self.im, w.re))
        )
        return Number(b, b.fsub(aa, bb, flags=_FUSE), b.fadd(ab, ba, flags=_FUSE))


# ---------------------------------------------------------------- small transforms


def _two(x: Sequence[Number]) -> list[Number]:
    return [x[0] + x[1], x[0] - x[1]]


def _three(x: Sequence[Number]) -> list[Number]:
    both, apart = x[1] + x[2], (x[1] - x[2]).turned().scaled(math.sqrt(0.75))
    middle = x[0] + both.scaled(-0.5)
    return [x[0] + both, middle + apart, middle - apart]


def _four(x: Sequence[Number]) -> list[Number]:
    (a, b), (c, d) = _two((x[0], x[2])), _two((x[1], x[3]))
    return [a + c, b + d.turned(), a - c, b - d.turned()]


def _five(x: Sequence[Number]) -> list[Number]:
    (a, b), (c, d) = _two((x[1], x[4])), _two((x[2], x[3]))
    (p, s), (q, t) = ((math.cos(k * math.tau / 5), math.sin(k * math.tau / 5)) for k in (1, 2))
    first, second = x[0] + a.scaled(p) + c.scaled(q), x[0] + a.scaled(q) + c.scaled(p)
    one, two = (b.scaled(s) + d.scaled(t)).turned(), (b.scaled(t) - d.scaled(s)).turned()
    return [x[0] + a + c, first + one, second + two, second - two, first - one]


def _eight(x: Sequence[Number]) -> list[Number]:
    even, odd = _four(x[0::2]), _four(x[1::2])
    eighth = math.sqrt(0.5)
    odd[1] = (odd[1] + odd[1].turned()).scaled(eighth)
    odd[2] = odd[2].turned()
    odd[3] = (odd[3].turned() - odd[3]).scaled(eighth)
    return [e + o for e, o in zip(even, odd, strict=True)] + [e - o for e, o in zip(even, odd, strict=True)]


SMALL: dict[int, Callable[[Sequence[Number]], list[Number]]] = {2: _two, 3: _three, 4: _four, 5: _five, 8: _eight}

# ---------------------------------------------------------------- functions


@contextmanager
def counted(builder: Any, stop: Any, step: int = 1, start: int = 0) -> Iterator[Any]:
    """for i in range(start, stop, step): what is emitted within is the body."""
    entry, function = builder.block, builder.function
    head, body, done = (function.append_basic_block(name) for name in ("head", "body", "done"))
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(_I)
    i.add_incoming(_I(start), entry)
    builder.cbranch(builder.icmp_signed("<", i, stop), body, done)
    builder.position_at_end(body)
    yield i
    i.add_incoming(builder.add(i, _I(step)), builder.block)
    builder.branch(head)
    builder.position_at_end(done)


class _Function:
    """A function over planes of numbers, being written."""

    def __init__(self, module: ir.Module, name: str, dtype: str, lanes: int, kinds: str) -> None:
        """`kinds`: for each argument p (a pointer), n (an integer) or r (a real)."""
        table = {"p": real(dtype).as_pointer(), "n": _I, "r": real(dtype)}
        kind = ir.FunctionType(ir.VoidType(), [table[k] for k in kinds])
        self.function = internal(module, f"tgseq_{name}_{dtype}", kind)
        self.function.attributes.add("noinline")
        self.args = self.function.args
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.vector, self.lanes, self.align = ir.VectorType(real(dtype), lanes), lanes, itemsize(dtype)

    def sum(self, *values: Any) -> Any:
        total = values[0]
        for v in values[1:]:
            total = self.builder.add(total, v)
        return total

    def wide(self, pointer: Any, offset: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(pointer, [offset], inbounds=True), self.vector.as_pointer())

    def load(self, pointer: Any, plane: Any, offset: Any) -> Number:
        places = offset, self.builder.add(offset, plane)
        return Number(self.builder, *(self.builder.load(self.wide(pointer, o), align=self.align) for o in places))

    def store(self, z: Number, pointer: Any, plane: Any, offset: Any) -> None:
        for x, o in ((z.re, offset), (z.im, self.builder.add(offset, plane))):
            self.builder.store(x, self.wide(pointer, o), align=self.align)

    def one(self, pointer: Any, offset: Any) -> Any:
        """A real number in all elements of a vector."""
        return splat(self.builder, self.builder.load(self.builder.gep(pointer, [offset], inbounds=True)), self.vector)

    def factor(self, pointer: Any, offset: Any) -> Number:
        """A complex number, its parts side by side, in all elements of a vector."""
        return Number(self.builder, self.one(pointer, offset), self.one(pointer, self.sum(offset, _I(1))))

    def end(self) -> ir.Function:
        self.builder.ret_void()
        return self.function


def passes(module: ir.Module, dtype: str, lanes: int) -> ir.Function:
    """void pass(choice, radix, x, xp, y, yp, w, m, s, c): one step of a transform of m * radix numbers, s columns each.

        y[p, j, q] = u(p, j) Σ_k x[k, p, q] exp(-2πi jk / radix)     x (radix, m, s), y (m, radix, s)

    choice  2 * radix, + 1 where m is 1 and u with it; 0 for an odd radix without a butterfly of its own
    xp, yp  how far the imaginary parts lie behind the real ones
    w       u(p, j) for j >= 1, as pairs of numbers
    c       of an odd radix: (cos, sin)(2π jk / radix) for 1 <= j, k <= (radix - 1) / 2
    s       a multiple of a vector's elements
    """
    f = _Function(module, "pass", dtype, lanes, KINDS["pass"])
    b, (choice, radix, *rest) = f.builder, f.args
    switch = b.switch(choice, f.function.append_basic_block("any"))
    for small in SMALL:
        for last in (False, True):
            block = f.function.append_basic_block(f"radix_{small}")
            switch.add_case(_I(2 * small + last), block)
            b.position_at_end(block)
            b.call(_pass(module, dtype, lanes, small, last), rest[:-1])
            b.ret_void()
    b.position_at_end(switch.default)
    b.call(_odd(module, dtype, lanes), [radix, *rest])
    return f.end()


def _pass(module: ir.Module, dtype: str, lanes: int, radix: int, last: bool) -> ir.Function:
    """The pass of one radix; `last` without factors."""
    f = _Function(module, f"pass_{radix}{'_last' * last}", dtype, lanes, "pnpnpnn")
    b, (x, xp, y, yp, w, m, s) = f.builder, f.args
    apart = b.mul(m, s)
    with counted(b, m) as p:
        own = b.mul(p, _I(2 * (radix - 1)))
        factors = [] if last else [f.factor(w, f.sum(own, _I(2 * j))) for j in range(radix - 1)]
        source, target = b.mul(p, s), b.mul(b.mul(p, _I(radix)), s)
        with counted(b, s, lanes) as q:
            numbers = [f.load(x, xp, f.sum(source, q, b.mul(apart, _I(k)))) for k in range(radix)]
            results = SMALL[radix](numbers)
            for j, z in enumerate(results):
                z = z.times(factors[j - 1]) if factors and j else z
                f.store(z, y, yp, f.sum(target, q, b.mul(s, _I(j))))
    return f.end()


def _odd(module: ir.Module, dtype: str, lanes: int) -> ir.Function:
    """The pass of any odd radix up to MOST: x[k] and x[radix - k] meet the same cosine, and opposite sines."""
    f = _Function(module, "pass_odd", dtype, lanes, "npnpnpnnp")
    b, (radix, x, xp, y, yp, w, m, s, c) = f.builder, f.args
    flat = b.bitcast(b.alloca(f.vector, size=_I(2 * MOST)), f.vector.as_pointer())
    sums = [b.alloca(f.vector) for _ in range(4)]
    apart, half = b.mul(m, s), b.udiv(radix, _I(2))

    def spot(k: Any, which: int) -> Any:
        """Where the sum (0, 1) or the difference (2, 3) of a pair is kept."""
        return b.gep(flat, [f.sum(b.mul(k, _I(4)), _I(which))])

    def more(place: Any, value: Any) -> None:
        b.store(b.fadd(b.load(place), value, flags=_FUSE), place)

    with counted(b, m) as p, counted(b, s, lanes) as q:
        source, target = f.sum(b.mul(p, s), q), f.sum(b.mul(b.mul(p, radix), s), q)
        own = b.mul(p, b.mul(b.sub(radix, _I(1)), _I(2)))
        first = f.load(x, xp, source)
        for place, value in zip(sums, (first.re, first.im), strict=False):
            b.store(value, place)
        with counted(b, half) as k:
            above = f.sum(k, _I(1))
            low, high = (f.load(x, xp, f.sum(source, b.mul(apart, n))) for n in (above, b.sub(radix, above)))
            both, differ = low + high, low - high
            for which, value in enumerate((both.re, both.im, differ.re, differ.im)):
                b.store(value, spot(k, which))
            more(sums[0], both.re)
            more(sums[1], both.im)
        f.store(Number(b, b.load(sums[0]), b.load(sums[1])), y, yp, target)
        with counted(b, half) as j:
            for place, value in zip(
                sums, (first.re, first.im, *[ir.Constant(f.vector, [0.0] * lanes)] * 2), strict=True
            ):
                b.store(value, place)
            with counted(b, half) as k:
                angle = f.factor(c, b.mul(f.sum(b.mul(j, half), k), _I(2)))
                for which, part in enumerate((angle.re, angle.re, angle.im, angle.im)):
                    more(sums[which], b.fmul(b.load(spot(k, which)), part, flags=_FUSE))
            even = Number(b, b.load(sums[0]), b.load(sums[1]))
            odd = Number(b, b.load(sums[2]), b.load(sums[3])).turned()
            above = f.sum(j, _I(1))
            for z, n in ((even + odd, above), (even - odd, b.sub(radix, above))):
                u = f.factor(w, f.sum(own, b.mul(b.sub(n, _I(1)), _I(2))))
                f.store(z.times(u), y, yp, f.sum(target, b.mul(s, n)))
    return f.end()


def squares(module: ir.Module, dtype: str, lanes: int) -> ir.Function:
    """void square(x, xs, xn, y, ys, yn, scale): a square of real numbers transposed, its rows xs and ys apart.

    xn and yn are the last rows that there are: what lies behind is read from the last one, and written there.
    """
    f = _Function(module, "square", dtype, lanes, KINDS["square"])
    b, (x, xs, xn, y, ys, yn, scale) = f.builder, f.args

    def places(pointer: Any, stride: Any, last: Any) -> list[Any]:
        rows = [b.select(b.icmp_signed("<", _I(i), last), _I(i), last) for i in range(lanes)]
        return [f.wide(pointer, b.mul(row, stride)) for row in rows]

    rows = exchange(b, [b.load(place, align=f.align) for place in places(x, xs, xn)])
    factor = splat(b, scale, f.vector)
    for row, place in zip(rows, places(y, ys, yn), strict=True):
        b.store(b.fmul(row, factor), place, align=f.align)
    return f.end()


def corners(module: ir.Module, dtype: str, lanes: int) -> ir.Function:
    """void corner(x, xp, xs, w, wp, y, yp, ys): y[n, m] = x[m, n] w[m, n], a square of complex numbers.

    w has rows xs apart, as x has them.
    """
    f = _Function(module, "corner", dtype, lanes, KINDS["corner"])
    b, (x, xp, xs, w, wp, y, yp, ys) = f.builder, f.args
    for part, plane in (("re", _I(0)), ("im", yp)):  # one after the other: registers are few
        rows = []
        for i in range(lanes):
            row = b.mul(xs, _I(i))
            rows.append(getattr(f.load(x, xp, row).times(f.load(w, wp, row)), part))
        for i, row in enumerate(exchange(b, rows)):
            b.store(row, f.wide(y, f.sum(plane, b.mul(ys, _I(i)))), align=f.align)
    return f.end()


FUNCTIONS: dict[str, Callable[[ir.Module, str, int], ir.Function]] = {
    "pass": passes,
    "square": squares,
    "corner": corners,
}
KINDS = {"pass": "nnpnpnpnnp", "square": "pnnpnnr", "corner": "pnnpnpnn"}  # their arguments: see `_Function`


def text(dtype: str, lanes: int, symbols: Mapping[str, str]) -> str:
    """An LLVM module with the functions, visible under these symbols."""
    module = ir.Module()
    for name, emit in FUNCTIONS.items():
        function = emit(module, dtype, lanes)
        function.linkage, function.name = "", symbols[name]
    return bare(module)


__all__ = ["KINDS", "MOST", "SMALL", "text"]
