"""Array expressions that every target can say: what stands between a cell's equations and a framework's source.

An `Array` is one operation on arrays with NumPy's meaning (broadcasting, axes counted from the end), with its shape in
names of sizes and its kind of number; equal expressions are one object. Statements name values, and loop. Nothing here
knows of cells, and nothing of frameworks: operations that not every framework has are in `composites`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_seq.primitive import REGISTRY

Size = int | str  # a number, or the name of one that is known when the export runs: "B", "steps_t"
KINDS = ("bool", "int", "real", "complex")
PREDICATES = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
LOGICAL = ("logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite", "signbit")
MEASURES = ("re", "im", "abs", "angle")  # real numbers of complex ones
INTEGRAL = ("add", "sub", "mul", "neg", "floordiv", "mod", "maximum", "minimum", "clip", "where")  # integers stay such


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Array:
    """`op` of `args` with `static` options.

    sizes   its shape
    kind    bool | int | real | complex; "number" for a plain number, which takes the kind of what it meets
    loop    the innermost loop whose iterations it differs in, None when it differs in none
    """

    op: str
    args: tuple[Array, ...]
    static: tuple[Any, ...]
    sizes: tuple[Size, ...]
    kind: str
    loop: Loop | None = None

    def __repr__(self) -> str:
        return f"<{self.op} {', '.join(map(str, self.sizes))}>"

    @property
    def rank(self) -> int:
        return len(self.sizes)

    @property
    def is_number(self) -> bool:
        return self.op == "number"

    @property
    def name(self) -> str:
        """Of what has one: a named value, a parameter, an input."""
        return str(self.static[0])


@dataclass(slots=True)
class Let:
    """A value gets a name."""

    name: Array
    value: Array


@dataclass(slots=True)
class Require:
    """Every sequence needs a step on `axis`: otherwise there is no `what`."""

    axis: str
    what: str


@dataclass(eq=False, slots=True)
class Carried:
    """The last values of a stream: `before`, (lag, ...), oldest first, stand for the iterations before the first;
    `now` is its value of this iteration."""

    lag: int
    before: Array
    now: Array


@dataclass(eq=False, slots=True, repr=False)
class Loop:
    """A recurrence, step after step along one axis.

    steps      how many iterations there are; they are counted 0, 1, ..., backwards with `reverse`
    delays     stream -> how many of them come before its step 0
    slices     value of all iterations (steps, ...) -> its value of this one
    carried    stream -> what is remembered of it
    collected  name of a value of this iteration -> name of all its values (steps, ...)
    """

    axis: str
    steps: Size
    reverse: bool
    around: Loop | None
    delays: Mapping[str, int] = field(default_factory=dict)
    slices: dict[Array, Array] = field(default_factory=dict)
    carried: dict[str, Carried] = field(default_factory=dict)
    collected: dict[Array, Array] = field(default_factory=dict)
    body: list[Statement] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<loop over {self.axis}>"

    @property
    def depth(self) -> int:
        return 1 if self.around is None else 1 + self.around.depth


Statement = Let | Require | Loop


def common(*shapes: tuple[Size, ...]) -> tuple[Size, ...]:
    """The shape that arrays of these shapes broadcast to."""
    rank = max(map(len, shapes), default=0)
    out: list[Size] = []
    for place in range(-rank, 0):
        found: list[Size] = [s[place] for s in shapes if len(s) >= -place and s[place] != 1]
        out.append(found[0] if found else 1)
    return tuple(out)


def _kind_of_number(value: Any) -> str:
    return "complex" if isinstance(value, complex) else "int" if isinstance(value, int) else "real"


class Arrays:
    """Makes arrays, equal ones once."""

    def __init__(self) -> None:
        self._made: dict[Any, Array] = {}

    def make(
        self,
        op: str,
        args: tuple[Array, ...],
        static: tuple[Any, ...],
        sizes: tuple[Size, ...],
        kind: str,
        loop: Loop | None = None,
    ) -> Array:
        for a in args:
            if a.loop is not None and (loop is None or a.loop.depth > loop.depth):
                loop = a.loop
        shown = tuple((type(s), repr(s)) for s in static)  # 0.0 is not -0.0, and 1 not True
        key = (op, tuple(id(a) for a in args), shown, sizes, kind, id(loop))
        if key not in self._made:
            self._made[key] = Array(op, args, static, sizes, kind, loop)
        return self._made[key]

    # ------------------------------------------------------------ leaves

    def number(self, value: Any) -> Array:
        return self.make("number", (), (value,), (), "number")

    def leaf(self, op: str, name: str, sizes: tuple[Size, ...], kind: str, loop: Loop | None = None) -> Array:
        """Something that has a name: a param, an input, a value."""
        return self.make(op, (), (name,), sizes, kind, loop)

    def arange(self, steps: Size) -> Array:
        return self.make("arange", (), (steps,), (steps,), "int")

    def full(self, value: Array, sizes: tuple[Size, ...], kind: str) -> Array:
        """A number everywhere."""
        return self.make("full", (value,), (), sizes, kind)

    # ------------------------------------------------------------ element by element

    def __call__(self, name: str, *args: Array | complex, **options: Any) -> Array:
        """An elementwise primitive by its name; integers become real where they meet real numbers."""
        given = [a if isinstance(a, Array) else self.number(a) for a in args]
        if all(a.is_number for a in given):
            return self.number(np.asarray(REGISTRY[name].impl(*(a.static[0] for a in given), **options)).item())
        from dsl.export.composites import composite_of

        if name == "where" and given[0].kind != "bool":
            given[0] = self("not_equal", self.full(given[0], (), "real") if given[0].is_number else given[0], 0)
        if name == "where" and given[1].is_number and given[2].is_number:
            given[1] = self.full(given[1], (), "real")
        if len(given) > 1 and composite_of(name) is not None:  # functions of an exported file, which take arrays
            given = [self.full(a, (), "real") if a.is_number else a for a in given]
        if name == "add" and given[1].is_number and isinstance(back := given[1].static[0], int) and back < 0:
            return self("sub", given[0], -back)
        if name == "sign" and given[0].kind == "complex":
            return self.call("direction", given[0])
        kinds = [_kind_of_number(a.static[0]) if a.is_number else a.kind for a in given]
        if name == "where":
            kinds = kinds[1:]
        kind = max(kinds, key=KINDS.index)
        if kind == "int" and name not in (*INTEGRAL, *PREDICATES):
            kind = "real"
        if kind in ("real", "complex"):
            given = [self.cast(a, "real") if a.kind == "int" else a for a in given]
        if name in ("re", "conj", "settle", "astype") and kind != "complex":
            return given[0]
        if name in (*PREDICATES, *LOGICAL):
            kind = "bool"
        elif name in MEASURES:
            kind = "real"
        elif name == "cis":
            kind = "complex"
        static = tuple(sorted(options.items()))
        return self.make(name, tuple(given), static, common(*(a.sizes for a in given)), kind)

    def cast(self, x: Array, kind: str) -> Array:
        return x if x.kind == kind or x.is_number else self.make("cast", (x,), (kind,), x.sizes, kind)

    # ------------------------------------------------------------ shape

    def expand(self, x: Array, fresh: tuple[bool, ...]) -> Array:
        """New dims of 1, where `fresh` says so of the result's dims."""
        if x.is_number or not any(fresh):
            return x
        if x.op == "expand":
            old = iter(x.static)
            return self.expand(x.args[0], tuple(f or next(old) for f in fresh))
        rest = iter(x.sizes)
        return self.make("expand", (x,), fresh, tuple(1 if f else next(rest) for f in fresh), x.kind)

    def behind(self, x: Array, count: int) -> Array:
        """`count` new dims of 1 behind the others."""
        return self.expand(x, (False,) * x.rank + (True,) * count)

    def before(self, x: Array, count: int = 1) -> Array:
        """`count` new dims of 1 before the others."""
        return self.expand(x, (True,) * count + (False,) * x.rank)

    def order(self, x: Array, places: tuple[int, ...]) -> Array:
        """Dims in another order: the result's i-th is x's `places[i]`-th."""
        if places == tuple(range(x.rank)):
            return x
        return self.make("order", (x,), places, tuple(x.sizes[i] for i in places), x.kind)

    def broadcast(self, x: Array, sizes: tuple[Size, ...], kind: str = "real") -> Array:
        if x.is_number:
            return self.full(x, sizes, kind)
        return x if x.sizes == sizes else self.make("broadcast", (x,), sizes, sizes, x.kind)

    def transpose(self, x: Array) -> Array:
        if x.op == "transpose":
            return x.args[0]
        return self.make("transpose", (x,), (), (*x.sizes[:-2], x.sizes[-1], x.sizes[-2]), x.kind)

    # ------------------------------------------------------------ parts

    def at(self, x: Array, place: int) -> Array:
        """One place of the first dim."""
        return self.make("at", (x,), (place,), x.sizes[1:], x.kind)

    def slice(self, x: Array, start: int, steps: Size) -> Array:
        """`steps` places of the first dim."""
        return (
            x
            if (start, steps) == (0, x.sizes[0])
            else self.make("slice", (x,), (start, steps), (steps, *x.sizes[1:]), x.kind)
        )

    def part(self, x: Array, start: int, size: int) -> Array:
        """`size` places of the last dim."""
        return self.make("part", (x,), (start, size), (*x.sizes[:-1], size), x.kind)

    def concat(self, parts: list[Array], total: Size) -> Array:
        """Arrays of one rank along the first dim, `total` together."""
        kind = max((p.kind for p in parts), key=KINDS.index)
        return self.make("concat", tuple(parts), (0,), (total, *parts[0].sizes[1:]), kind)

    def join(self, parts: list[Array]) -> Array:
        """Vectors one behind the other along the last dim."""
        lead = common(*(p.sizes[:-1] for p in parts))
        kind = max((p.kind for p in parts), key=KINDS.index)
        given = tuple(self.broadcast(p, (*lead, p.sizes[-1])) for p in parts)
        return self.make("concat", given, (-1,), (*lead, sum(int(p.sizes[-1]) for p in parts)), kind)

    def flat(self, x: Array) -> Array:
        """The first two dims as one, place (i, j) at i n + j for n places of the second."""
        return self.make("flat", (x,), (), ("all", *x.sizes[2:]), x.kind)

    def count(self, x: Array, place: int) -> Array:
        """0, 1, ... along one dim of x."""
        return self.make("count", (x,), (place,), (x.sizes[place],), "int")

    def length(self, x: Array, place: int) -> Array:
        """How many places one dim of x has."""
        return self.make("length", (x,), (place,), (), "int")

    def gather(self, x: Array, *index: Array) -> Array:
        """x at an index of each of its first dims; the indices broadcast."""
        sizes = (*common(*(i.sizes for i in index)), *x.sizes[len(index) :])
        return self.make("gather", (x, *index), (), sizes, x.kind)

    def gather_last(self, x: Array, index: Array) -> Array:
        """For each row of x (..., K) its value at an index (...)."""
        return self.make("gather_last", (x, index), (), index.sizes, x.kind)

    # ------------------------------------------------------------ over dims

    def matmul(self, a: Array, b: Array) -> Array:
        kind = max(a.kind, b.kind, key=KINDS.index)
        a, b = self.cast(a, kind), self.cast(b, kind)
        if a.rank == 1:
            return self.make("matmul", (a, b), (), (*b.sizes[:-2], b.sizes[-1]), kind)
        lead = common(a.sizes[:-2], b.sizes[:-2])
        return self.make("matmul", (a, b), (), (*lead, a.sizes[-2], b.sizes[-1]), kind)

    def reduce(self, name: str, x: Array, axis: int, keep: bool = False) -> Array:
        """One of REDUCTIONS over a dim, counted from the end."""
        place = x.rank + axis
        sizes = (*x.sizes[:place], *((1,) if keep else ()), *x.sizes[place + 1 :])
        return self.make(f"reduce_{name}", (x,), (axis, keep), sizes, x.kind)

    def along(self, name: str, x: Array, axis: int) -> Array:
        """softmax, log_softmax, fft, ifft, cumsum: along a dim, which stays."""
        return self.make(name, (x,), (axis,), x.sizes, "complex" if name in ("fft", "ifft") else x.kind)

    def given(self, name: str, x: Array, other: Array) -> Array:
        """`x` when the caller has given `name`, else `other`."""
        return self.make("given", (x, other), (name,), common(x.sizes, other.sizes), x.kind)

    def call(self, name: str, *args: Array) -> Array:
        """A composite: see there."""
        from dsl.export.composites import composite_of

        composite = composite_of(name)
        assert composite is not None, name
        made = composite(self, *args)
        return self.make(name, args, (), made.sizes, made.kind)


def is_infinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
