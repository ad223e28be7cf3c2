"""Fast Fourier transforms of rows of numbers, of any length: n log n operations where a matrix takes n².

A row is the real parts of n numbers, then the imaginary ones. How its length is served is decided once, from the `Cost`
of what there is: up to a few dozen numbers the product with the transform's matrix; passes of radix 2, 3, 4, 5, 8 and
odd primes, along columns of an (a, b) arrangement of one row (D. H. Bailey's four steps, 1990) or, where there are rows
enough, with a row an element of each vector; for a large prime factor a convolution (L. Bluestein, A linear filtering
approach to the computation of discrete Fourier transform, 1970). The decision and its factors are a table in this
process, which kernels take by address: none of it is code, so that no length compiles anything. May not know plans.

    transform(A, ao, lda, C, co, ldc, M, inverse, table, W, wo)      in generated nests: M rows; W room of `work_size`
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic
from numpy.typing import NDArray

from tinygrad_seq.kernels import butterflies, machine, product
from tinygrad_seq.kernels import cache as disk
from tinygrad_seq.kernels.memory import arena

LENGTH, KIND, FACTORS, MATRIX, WHOLE, TOGETHER, OWN, FIRST, SECOND = range(9)  # places in a table of integers
WIDE_A, WIDE_B, TURN, PLANE, CHIRP, SPECTRUM = range(9, 15)
HEAD, PASS = 15, 5  # integers in front of the passes, and of each
DENSE, PASSES, BLUESTEIN = range(3)
NEVER = 1 << 40
CACHE = 96 * 1024  # bytes of work beyond which rows side by side wait for memory


def lanes_of(dtype: str) -> int:
    return product.cut_of(dtype).lanes


# ---------------------------------------------------------------- what it costs


@dataclass(frozen=True)
class Cost:
    """Estimates in vector instructions, their constants fitted to measurements; of lengths alone."""

    lanes: int

    def wide(self, n: int) -> int:
        """n rounded up to whole vectors."""
        return -(-n // self.lanes) * self.lanes

    def butterfly(self, radix: int) -> float:
        sums = {2: 4.0, 3: 14.0, 4: 16.0, 5: 32.0, 8: 56.0}
        return 12.0 + 8.0 * radix + sums.get(radix, 20.0 + 2.5 * (radix - 1) ** 2)

    def passes(self, n: int) -> tuple[float, tuple[int, ...]]:
        """Of a column, an element: the least, and the radices that it is reached with. Infinite for large primes."""
        return _passes(self, n)

    def line(self, a: int, b: int) -> float:
        """Of one row as an (a, b) arrangement."""
        cells = self.wide(a) * self.wide(b) / self.lanes
        columns = self.passes(a)[0] * a * self.wide(b) + self.passes(b)[0] * b * self.wide(a)
        return 100.0 + columns / self.lanes + cells * (12.0 + 2.0 * math.log2(self.lanes))

    def alone(self, n: int) -> tuple[float, int]:
        """Of one row, and its arrangement's first extent."""

        def moved(a: int) -> float:
            """What copies cost that are not of whole vectors."""
            return 4.0 * n * ((n // a % self.lanes > 0) + (a % self.lanes > 0)) + 8.0 * n / self.lanes

        return min(((self.line(a, n // a) + moved(a), a) for a in _divisors(n)), default=(math.inf, 1))

    def together(self, n: int) -> float:
        """Of as many rows as a vector has elements, or fewer."""
        far = 2.0 if 4 * n * 64 > CACHE else 1.0
        return 100.0 + far * n * (self.passes(n)[0] + 10.0 + 4.0 * math.log2(self.lanes))

    def convolved(self, n: int) -> tuple[float, int, int]:
        """Of one row as a convolution of a * b numbers, both whole vectors, and these."""
        found = []
        for a in range(self.lanes, self.wide(math.isqrt(2 * n)) + 1, self.lanes):
            least = self.wide(-(-(2 * n - 1) // a))
            found += [(self.line(a, b), a, b) for b in range(max(a, least), 2 * least + 1, self.lanes)]
        line, a, b = min(found, default=(math.inf, 0, 0))
        return 100.0 + 2 * line + 30.0 * a * b / self.lanes, a, b

    def matrix(self, n: int, many: bool = False) -> float:
        """Of a row as a product with the transform's matrix, alone (bound by what is read) or one of many."""
        vectors = 2 * n * self.wide(2 * n) / self.lanes
        return vectors * (1.0 if many or n <= 32 else 2.0)

    def kind(self, n: int) -> int:
        """What is done with one row."""
        costs = {DENSE: self.matrix(n), PASSES: self.alone(n)[0], BLUESTEIN: self.convolved(n)[0]}
        return min(costs, key=lambda k: costs[k])

    def least(self, n: int, kind: int) -> int:
        """How many rows of those that fill a vector are transformed faster together."""
        if n < self.lanes or math.isinf(self.passes(n)[0]):
            return NEVER
        one = {DENSE: self.matrix(n, many=True), PASSES: self.alone(n)[0], BLUESTEIN: self.convolved(n)[0]}[kind]
        rows = math.ceil(self.together(n) / one)
        return rows if rows <= self.lanes else NEVER


@cache
def _passes(cost: Cost, n: int) -> tuple[float, tuple[int, ...]]:
    if n == 1:
        return 0.0, ()
    found = []
    for radix in (r for r in (*butterflies.SMALL, *_odd_primes(n)) if n % r == 0):
        rest, radices = _passes(cost, n // radix)
        found.append((cost.butterfly(radix) / radix + rest, (radix, *radices)))
    return min(found, default=(math.inf, ()))


def _odd_primes(n: int) -> list[int]:
    """Prime factors that have a pass, but no butterfly of their own."""
    return [p for p in range(7, min(n, butterflies.MOST) + 1, 2) if n % p == 0 and all(p % q for q in range(3, p, 2))]


def _divisors(n: int) -> list[int]:
    """Divisors but 1 and n."""
    low = [a for a in range(2, math.isqrt(n) + 1) if n % a == 0]
    return sorted({*low, *(n // a for a in low)})


# ---------------------------------------------------------------- tables


@dataclass(frozen=True, eq=False)
class Transform:
    """How rows of n numbers are transformed: the integers that `transforms` reads, and the factors they point to."""

    n: int
    kind: int
    numbers: NDArray[np.int64]
    factors: NDArray[Any]
    work: int  # elements of room that it needs
    ways: tuple[str, ...]  # for people: what is done with one row, and with many

    @property
    def address(self) -> int:
        return int(self.numbers.ctypes.data)


_KNOWN: dict[tuple[int, str], Transform] = {}
_LOCK = threading.Lock()


def transform_of(n: int, dtype: str) -> Transform:
    """The table for rows of n numbers; it lives as long as the process, since kernels know its address."""
    with _LOCK:
        if (n, dtype) not in _KNOWN:
            _KNOWN[n, dtype] = made(n, dtype)
        return _KNOWN[n, dtype]


def made(n: int, dtype: str, kind: int | None = None, least: int | None = None) -> Transform:
    """A new table. Errors: ValueError when n is not positive, or is not served in the way asked for.

    kind   what is done with one row, the cheapest when not given
    least  from how many rows on they are transformed together
    """
    if n < 1:
        raise ValueError(f"a Fourier transform has at least one number, not {n}")
    cost = Cost(lanes_of(dtype))
    kind = cost.kind(n) if kind is None else kind
    return _Maker(n, dtype, cost).make(kind, cost.least(n, kind) if least is None else least)


class _Maker:
    """One table, being made."""

    def __init__(self, n: int, dtype: str, cost: Cost) -> None:
        self.n, self.dtype, self.cost = n, dtype, cost
        self.numbers = [0] * HEAD
        self.parts: list[NDArray[np.float64]] = []
        self.count = 0

    def make(self, kind: int, least: int) -> Transform:
        n, lanes, numbers = self.n, self.cost.lanes, self.numbers
        numbers[LENGTH], numbers[KIND], numbers[TOGETHER] = n, kind, least
        if kind == DENSE:
            self.dense()
            work, ways = 0, ["by its matrix"]
        elif kind == BLUESTEIN:
            _, a, b = self.cost.convolved(n)
            self.arranged(a, b)
            self.convolution(a * b)
            work, ways = 4 * a * b, [f"as a convolution of {a} x {b}"]
        else:
            cost, a = self.cost.alone(n)
            if math.isinf(cost):
                raise ValueError(f"a row of {n} numbers is not transformed by passes")
            self.arranged(a, n // a)
            work, ways = 4 * numbers[PLANE], [f"as {a} x {n // a}"]
        if least < NEVER:
            cost, radices = self.cost.passes(n)
            if n < lanes or math.isinf(cost):
                raise ValueError(f"rows of {n} numbers are not transformed together")
            numbers[WHOLE] = self.program(n)
            work, ways = (
                max(work, 4 * n * lanes),
                [*ways, f"{least} rows or more by radix {', '.join(map(str, radices))}"],
            )
        flat = np.concatenate([np.zeros(0), *self.parts])
        factors = arena(max(1, len(flat)), self.dtype)
        factors[: len(flat)] = flat
        numbers[FACTORS] = int(factors.ctypes.data)
        return Transform(n, kind, np.array(numbers, np.int64), factors, work, tuple(ways))

    def keep(self, values: NDArray[np.float64]) -> int:
        """The place of some factors, at the beginning of a cache line."""
        at = self.count
        flat = np.zeros(-(-values.size // 16) * 16)
        flat[: values.size] = values.ravel()
        self.parts.append(flat)
        self.count += flat.size
        return at

    def dense(self) -> None:
        """The matrix that a row is multiplied with, and that of the inverse."""
        n, unit = self.n, product.tail(self.dtype)
        turn = roots(np.outer(np.arange(n), np.arange(n)), n)
        width = -(-2 * n // unit) * unit
        both = np.zeros((2, 2 * n, width))
        for rows, matrix in zip(both, (turn, turn.conj() / n), strict=True):
            rows[:n, :n], rows[:n, n : 2 * n] = matrix.real, matrix.imag
            rows[n:, :n], rows[n:, n : 2 * n] = -matrix.imag, matrix.real
        self.numbers[MATRIX] = self.keep(both)

    def program(self, n: int) -> int:
        """The passes of a transform along columns."""
        at, m = len(self.numbers), n
        radices = self.cost.passes(n)[1]
        self.numbers.append(len(radices))
        for radix in radices:
            whole, m = m, m // radix
            w = self.keep(_pairs(roots(np.outer(np.arange(m), np.arange(1, radix)), whole)))
            own = np.arange(1, radix // 2 + 1)
            small = radix in butterflies.SMALL
            c = 0 if small else self.keep(_pairs(roots(np.outer(own, own), radix).conj()))
            self.numbers += [2 * radix + (m == 1) if small else 0, radix, m, w, c]
        return at

    def arranged(self, a: int, b: int) -> None:
        """One row as an (a, b) arrangement: passes both ways, and the factors between."""
        wide_a, wide_b = self.cost.wide(a), self.cost.wide(b)
        turn = np.zeros((2, wide_a, wide_b))
        between = roots(np.outer(np.arange(a), np.arange(b)), a * b)
        turn[0, :a, :b], turn[1, :a, :b] = between.real, between.imag
        numbers = self.numbers
        numbers[OWN], numbers[WIDE_A], numbers[WIDE_B], numbers[PLANE] = a, wide_a, wide_b, wide_a * wide_b
        numbers[FIRST], numbers[SECOND], numbers[TURN] = self.program(a), self.program(b), self.keep(turn)

    def convolution(self, m: int) -> None:
        """A chirp and the spectrum of its conjugate, over m for the way back."""
        n, squares = self.n, np.arange(self.n) ** 2
        chirp = roots(squares, 2 * n)
        around = np.zeros(m, complex)
        around[:n] = chirp.conj()
        around[m - n + 1 :] = chirp.conj()[:0:-1]
        spectrum = np.fft.fft(around) / m
        self.numbers[CHIRP] = self.keep(np.stack([chirp.real, chirp.imag]))
        self.numbers[SPECTRUM] = self.keep(np.stack([spectrum.real, spectrum.imag]))


def roots(k: NDArray[np.int64], n: int) -> NDArray[np.complex128]:
    """exp(-2πi k / n), from angles below an eighth of a turn, where they are exact to a unit in the last place."""
    eighths, rest = np.divmod(8 * (k % n), n)
    back = eighths % 2 == 1
    angle = np.pi / 4 * np.where(back, n - rest, rest) / n
    c, s = np.cos(angle), np.sin(angle)
    c, s = np.where(back, s, c), np.where(back, c, s)
    quarter = np.array([1, -1j, -1, 1j])[eighths // 2]
    return (c - 1j * s) * quarter  # type: ignore[no-any-return]


def _pairs(z: NDArray[np.complex128]) -> NDArray[np.float64]:
    return np.stack([z.real, z.imag], axis=-1)


# ---------------------------------------------------------------- machine code


def work_size(n: int, dtype: str) -> int:
    """Elements of room that transforms of n numbers need."""
    return transform_of(n, dtype).work


def work(n: int, dtype: str) -> int:
    """About as many multiply-adds as a row's transform is worth."""
    longer = {DENSE: 2 * n, PASSES: n.bit_length(), BLUESTEIN: 4 * n.bit_length()}
    return 2 * n * longer[transform_of(n, dtype).kind]


def _call(name: str, pointer: Any) -> Any:
    """An intrinsic's type and code: a function of `butterflies`, each pointer of which comes with an offset."""
    dtype, expected = str(pointer.dtype), []
    for k in butterflies.KINDS[name]:
        expected += {"p": [pointer, types.intp], "n": [types.intp], "r": [pointer.dtype]}[k]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        left, given = list(args), []
        for k in butterflies.KINDS[name]:
            first = left.pop(0)
            given.append(builder.gep(first, [left.pop(0)], inbounds=True) if k == "p" else first)
        product.call(builder, name, dtype, given)
        return context.get_dummy_value()

    return types.void(*expected), generate


@intrinsic  # type: ignore[untyped-decorator]
def one_pass(
    typing: Any,
    choice: Any,
    radix: Any,
    x: Any,
    xo: Any,
    xp: Any,
    y: Any,
    yo: Any,
    yp: Any,
    w: Any,
    wo: Any,
    m: Any,
    s: Any,
    c: Any,
    co: Any,
) -> Any:
    """`butterflies.passes`."""
    return _call("pass", x)


@intrinsic  # type: ignore[untyped-decorator]
def square(typing: Any, x: Any, xo: Any, xs: Any, xn: Any, y: Any, yo: Any, ys: Any, yn: Any, scale: Any) -> Any:
    """`butterflies.squares`."""
    return _call("square", x)


@intrinsic  # type: ignore[untyped-decorator]
def corner(
    typing: Any, x: Any, xo: Any, xp: Any, xs: Any, w: Any, wo: Any, wp: Any, y: Any, yo: Any, yp: Any, ys: Any
) -> Any:
    """`butterflies.corners`."""
    return _call("corner", x)


_READY: set[tuple[str, str]] = set()


def require(dtype: str) -> None:
    """Have the machine code of transforms in this process; code that calls it does so itself.

    Compiled the first time on a machine (some seconds), loaded afterwards.
    """
    with global_compiler_lock:
        if ("transform", dtype) in _READY:
            return
        product.require(dtype)
        _require_butterflies(dtype)
        text = Path(__file__).with_name("transforms.py").read_text(encoding="utf-8")
        text = text.replace('DTYPE = "float32"', f'DTYPE = "{dtype}"')
        module = disk.load_source(f"transforms_{dtype}_{product.backend(dtype)}", text)
        llvm.add_symbol(symbol("transform", dtype), disk.callback(module.transform, module.TRANSFORM))
        _READY.add(("transform", dtype))


def _require_butterflies(dtype: str) -> None:
    """The same for the passes: not by Numba, which would optimise them again in each function that calls them."""
    with global_compiler_lock:
        if ("butterflies", dtype) in _READY:
            return
        symbols = {name: symbol(name, dtype) for name in butterflies.KINDS}
        lanes = lanes_of(dtype)
        path = disk.source_path(f"butterflies_{dtype}", f"{dtype} {lanes}").with_suffix(".bin")
        code = disk.object_code(path, lambda: machine.here().object_code(butterflies.text(dtype, lanes, symbols)))
        for name, address in zip(symbols.values(), machine.load(code, *symbols.values()), strict=True):
            llvm.add_symbol(name, address)
        _READY.add(("butterflies", dtype))


def symbol(driver: str, dtype: str) -> str:
    """The process-wide name of a driver of products or of transforms."""
    return product.symbol(driver, dtype)


for _dtype_name in ("float32", "float64"):
    disk.EXTERNAL[symbol("transform", _dtype_name)] = partial(require, _dtype_name)
    for _function in butterflies.KINDS:
        disk.EXTERNAL[symbol(_function, _dtype_name)] = partial(_require_butterflies, _dtype_name)

__all__ = ["Cost", "Transform", "made", "require", "symbol", "transform_of", "work", "work_size"]
