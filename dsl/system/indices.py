"""Index arithmetic: what stands in brackets, read as an `Index`; flipped, inverted, and proved inside.

An index is `(scale*axis + extent*len(length) + offset) // divisor`; everything here is algebra on that
form and knows nothing of streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import lcm, prod

from dsl.system.dims import Dim
from dsl.system.system import Axis, Extent, Index
from dsl.text.tree import Binary, Call, Expr, Negative, Number, Ref
from tinygrad_seq.symbol import Symbol


class BadIndex(Exception):
    """An index outside the language: `reason` is a short key, `detail` what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass
class Linear:
    """`Σ scale*axis + Σ extent*len(axis) + offset`, before it is known to be an index."""

    positions: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    offset: Dim = Dim()
    divisor: int = 1

    @property
    def is_constant(self) -> bool:
        return not self.positions and not self.lengths and self.divisor == 1

    def plus(self, other: Linear, sign: int) -> Linear:
        if self.divisor != 1 or other.divisor != 1:
            raise BadIndex("form")
        out = Linear(dict(self.positions), dict(self.lengths), self.offset + sign * other.offset)
        for mine, theirs in ((out.positions, other.positions), (out.lengths, other.lengths)):
            for key, value in theirs.items():
                mine[key] = mine.get(key, 0) + sign * value
        return out

    def times(self, k: int) -> Linear:
        if self.divisor != 1:
            raise BadIndex("form")
        return Linear(
            {a: k * v for a, v in self.positions.items()}, {a: k * v for a, v in self.lengths.items()}, k * self.offset
        )

    def index(self) -> Index:
        """As an `Index`; more than one axis or length is no index."""
        positions = {a: v for a, v in self.positions.items() if v}
        lengths = {a: v for a, v in self.lengths.items() if v}
        if len(positions) > 1:
            raise BadIndex("two axes", ", ".join(positions))
        if len(lengths) > 1:
            raise BadIndex("two lengths", ", ".join(lengths))
        axis, scale = next(iter(positions.items()), (None, 0))
        length, extent = next(iter(lengths.items()), (None, 0))
        return Index(axis, scale, self.offset, self.divisor, length, extent)


Value = Callable[[Dim], int | None]


def linear(expr: Expr, axis: Callable[[str], str | None], dim: Callable[[str], Dim | None], number: Value) -> Linear:
    """Read an index expression, or a size.

    axis    a name -> the axis it means, or None
    dim     a name -> the argument it means, or None
    number  the value of an expression of arguments, None when one has none: strides and divisors need theirs
    """
    spine: list[Binary] = []
    while isinstance(expr, Binary):  # a long sum leans left: walk it, do not recurse
        spine.append(expr)
        expr = expr.left
    form = _operand(expr, axis, dim, number)
    for node in reversed(spine):
        form = _combined(node.op, form, linear(node.right, axis, dim, number), number)
    return form


def _operand(expr: Expr, axis: Callable[[str], str | None], dim: Callable[[str], Dim | None], number: Value) -> Linear:
    if isinstance(expr, Number):
        if not isinstance(expr.value, int):
            raise BadIndex("not an integer", str(expr.value))
        return Linear(offset=Dim.of(expr.value))
    if isinstance(expr, Ref):
        if expr.index is not None:
            raise BadIndex("varying offset", expr.name)
        name = axis(expr.name)
        if name is not None:
            return Linear({name: 1})
        value = dim(expr.name)
        if value is not None:
            return Linear(offset=value)
        raise BadIndex("unknown name", expr.name)
    if isinstance(expr, Call) and expr.function == "len" and len(expr.arguments) == 1:
        inner = expr.arguments[0].value
        name = axis(inner.name) if isinstance(inner, Ref) and inner.index is None else None
        if name is None:
            raise BadIndex("unknown axis", inner.name if isinstance(inner, Ref) else "")
        return Linear(lengths={name: 1})
    if isinstance(expr, Negative):
        return linear(expr.operand, axis, dim, number).times(-1)
    raise BadIndex("form")


def _combined(op: str, left: Linear, right: Linear, number: Value) -> Linear:
    if op in "+-":
        return left.plus(right, 1 if op == "+" else -1)
    if op == "*" and left.is_constant and right.is_constant:
        return Linear(offset=left.offset * right.offset)
    if op == "*" and (left.is_constant or right.is_constant):
        form, factor = (right, left.offset) if left.is_constant else (left, right.offset)
        return form.times(_known(factor, number))
    if op == "//" and right.is_constant:
        divisor = _known(right.offset, number)
        if divisor < 1:
            raise BadIndex("divisor", str(divisor))
        if left.is_constant:
            return Linear(offset=Dim.of(_known(left.offset, number) // divisor))
        if left.divisor == 1:
            return Linear(left.positions, left.lengths, left.offset, divisor)
    raise BadIndex("form")


def _known(dim: Dim, number: Value) -> int:
    value = number(dim)
    if value is None:
        raise BadIndex("no number", str(dim))
    return value


# ---------------------------------------------------------------- flips (reverse)


def flip(index: Index, target: str, target_flipped: bool, reader_flipped: bool) -> Index:
    """The same read between storages whose order is reversed: `len-1-i` for either side."""
    scale, extent, offset, divisor, length = index.scale, index.extent, index.offset, index.divisor, index.length
    if reader_flipped and index.axis is not None:  # axis -> len(axis)-1-axis
        if length not in (None, index.axis):
            raise BadIndex("fold")
        length, extent, offset, scale = index.axis, extent + scale, offset - scale, -scale
    if target_flipped:  # i -> len(target)-1-i; -(n//k) is (-n + k-1)//k
        if extent and length not in (None, target):
            raise BadIndex("fold")
        length = target
        scale, extent, offset = -scale, divisor - extent, -offset - 1
    return Index(
        index.axis, scale if index.axis is not None else 0, offset, divisor, length if extent else None, extent
    )


# ---------------------------------------------------------------- bounds


Form = tuple[int, int, int]  # (a, c, k): max(0, (a*n + c)//k) steps over n


def length_form(axis: str, axes: Mapping[str, Axis]) -> tuple[str, tuple[Form, ...]] | None:
    """The axis that the data gives and how, from its length on, the length of `axis` is made step by step."""
    forms: tuple[Form, ...] = ()
    while (length := axes[axis].length) is not None:
        found = _affine(length)
        if found is None:
            return None
        axis, forms = found[0], (found[1:], *forms)
    return axis, forms


def _affine(symbol: Symbol) -> tuple[str, int, int, int] | None:
    if symbol.op is None:
        return (symbol.leaf.axis, 1, 0, 1) if isinstance(symbol.leaf, Extent) else None
    name = symbol.op.name
    if name not in ("add", "sub", "mul", "floordiv"):
        return None
    left, right = symbol.args
    if left.is_number and name in ("add", "mul"):
        left, right = right, left
    inner, value = _affine(left), right.leaf
    if inner is None or inner[3] != 1 or not isinstance(value, int):
        return None
    base, a, c, _ = inner
    if name == "add":
        return base, a, c + value, 1
    if name == "sub":
        return base, a, c - value, 1
    if name == "mul":
        return base, a * value, c * value, 1
    return (base, a, c, value) if value > 0 else None


def inside(
    index: Index, target: str, axes: Mapping[str, Axis], values: Mapping[str, int], shortest: int = 1
) -> tuple[bool, bool]:
    """Whether `0 <= index` and `index < len(target)` hold at every step, for every length >= `shortest` of the
    axes that the data gives. Arguments in the offset take `values`, or 1 where they have none.

    Both bounds are quasi-linear in the base length n: over a period P of n they grow by a constant. So
    checking small n one by one, and the growth over one late period, proves them for all n.
    """
    if index.is_identity and index.axis == target:
        return True, True
    offset = int(index.offset.bind({**dict.fromkeys(index.offset.names, 1), **values}))
    goal = length_form(target, axes)
    reader = length_form(index.axis, axes) if index.axis is not None else goal
    if goal is None or reader is None or goal[0] != reader[0] or (index.length not in (None, target, index.axis)):
        return index.scale >= 0 and index.extent >= 0 and offset >= 0, False
    extent_of = length_form(index.length, axes) if index.length is not None else goal
    assert extent_of is not None
    periods = [prod(k for _, _, k in forms) for _, forms in (goal, reader, extent_of)]
    period = lcm(*periods, index.divisor) * index.divisor

    def ends(n: int) -> tuple[int, int] | None:
        """Smallest index, and largest index minus the target's length; None when nothing reads."""
        steps = _steps(reader[1], n) if index.axis is not None else 1
        if steps == 0:
            return None
        values_ = [
            (index.scale * q + index.extent * _steps(extent_of[1], n) + offset) // index.divisor for q in (0, steps - 1)
        ]
        return min(values_), max(values_) - _steps(goal[1], n)

    shifts = sum(abs(c) for _, forms in (goal, reader, extent_of) for _, c, _ in forms)
    late = 3 * period + 2 * max(periods) * (abs(offset) + shifts + 2)
    found = [ends(n) for n in range(shortest, late + period + 1)]
    known = [e for e in found if e is not None]
    first, last = found[late - shortest :], found[late - shortest - period :]
    grow = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(last, first, strict=False) if a is not None and b is not None]
    low = all(e[0] >= 0 for e in known) and all(g[0] >= 0 for g in grow)
    high = all(e[1] < 0 for e in known) and all(g[1] <= 0 for g in grow)
    return low, high


def _steps(forms: tuple[Form, ...], n: int) -> int:
    """The length of an axis made in that way when its base has n steps."""
    for a, c, k in forms:
        n = max(0, (a * n + c) // k)
    return n
