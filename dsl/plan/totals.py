"""Totals: sums over the sequences, taken apart into what loops accumulate and what NumPy does with the sums.

A contribution is a sum of outer products (a weight's gradient), of outer products with categories (a look-up
table's), or of values (a bias's). A total is linear in them, so shared factors around a sum move behind it:
`sum[t](outer(z[t], x[t])) @ W.T` is one accumulated matrix, multiplied once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dsl.plan.definitions import Definition, is_home, op
from dsl.plan.lower import Lowering
from dsl.plan.schedule import named_axes
from dsl.system.dims import Dim
from dsl.system.system import Extent, Read, Stream
from tinygrad_seq.symbol import Symbol, lift, rebuild

FACTORS = ("matmul", "matvec", "mul", "div")  # in each argument (div: in the first)


@dataclass(frozen=True, slots=True)
class Summand:
    """`factor * node`, transposed or not, summed over axes (and the sequences)."""

    node: Symbol
    over: tuple[str, ...] = ()
    factor: Symbol | None = None
    turned: bool = False

    def times(self, factor: Symbol) -> Symbol:
        return factor if self.factor is None else op("mul", self.factor, factor)


@dataclass(slots=True)
class Parts:
    """What a total consists of: accumulated contributions, and shared expressions of other totals."""

    accumulated: list[tuple[str, str]] = field(default_factory=list)
    derived: list[Symbol] = field(default_factory=list)


class Totals(Lowering):
    """The part of normalising that deals with `total` equations."""

    def _total(self, name: str, expression: Symbol) -> None:
        parts = self._take_apart(name, [Summand(expression)])
        if not parts.derived:
            self.out.totals[name] = tuple(parts.accumulated)
            self.out.names[name] = name
            return
        terms = list(parts.derived)
        if parts.accumulated:
            terms.append(self._hidden(f"{name}.part", tuple(parts.accumulated), self.streams[name].shape))
        total = terms[0]
        for term in terms[1:]:
            total = op("add", total, term)
        self.out.after[name] = total

    def _hidden(self, hint: str, accumulated: tuple[tuple[str, str], ...], shape: tuple[Dim, ...]) -> Symbol:
        """A total without a name in the system, as a shared read."""
        name = self._fresh(hint)
        self.streams[name] = Stream(name, "equation", (), shape, shared=True, total=True)
        self.out.totals[name] = accumulated
        self.out.names[name] = name
        return lift(Read(name))

    def _take_apart(self, name: str, work: list[Summand]) -> Parts:
        parts = Parts()
        while work:
            s = work.pop()
            node, axes = s.node, named_axes(s.node)
            matrix = len(self.kinds.of(node).shape) == 2
            if node.is_op("add", "sub"):
                left, right = (self._broadcast(a, node) for a in node.args)
                factor = s.factor if node.is_op("add") else s.times(lift(-1))
                work += [Summand(right, s.over, factor, s.turned), Summand(left, s.over, s.factor, s.turned)]
            elif node.is_op("neg"):
                work.append(Summand(node.args[0], s.over, s.times(lift(-1)), s.turned))
            elif node.is_op("sum") and axes:
                outer = () if s.factor is None else self.kinds.of(s.factor).axes
                if set(axes) & {*outer, *s.over}:  # a sum inside a sum over the same axis
                    parts.accumulated.append((self._values(name, s), "T" if s.turned else ""))
                else:
                    work.append(Summand(node.args[0], s.over + axes, s.factor, s.turned))
            elif node.is_op("transpose"):
                work.append(Summand(node.args[0], s.over, s.factor, not s.turned))
            elif matrix:
                self._matrix(name, s, work, parts)
            else:
                parts.accumulated.append((self._values(name, s), ""))
        return parts

    def _broadcast(self, x: Symbol, node: Symbol) -> Symbol:
        """An argument of an addition in the shape of the sum: alone, a scalar would be one number of it only."""
        dims = self.kinds.of(node).shape
        return op("fill", x, dims=dims) if dims and not self.kinds.of(x).shape else x

    def _matrix(self, name: str, s: Summand, work: list[Summand], parts: Parts) -> None:
        """One matrix-valued summand: scalars move into the factor, shared matrices behind the sum."""
        node, leaf = s.node, s.node.leaf
        turn = "T" if s.turned else ""
        if node.is_op("where") and lift(0) in node.args[1:] and not self.kinds.of(node.args[0]).shape:
            condition, yes, no = node.args
            kept = no if yes is lift(0) else yes
            if kept.is_op("outer") and not any(self.kinds.of(a).shared or a.is_op("one_hot") for a in kept.args):
                vectors = [
                    op("where", condition, *((lift(0), a) if yes is lift(0) else (a, lift(0)))) for a in kept.args
                ]
                work.append(Summand(op("outer", *vectors), s.over, s.factor, s.turned))  # neither may be infinite
                return
            factor = lift(1) if s.factor is None else s.factor
            guard = (
                op("where", condition, lift(0), factor) if yes is lift(0) else op("where", condition, factor, lift(0))
            )
            work.append(Summand(kept, s.over, guard, s.turned))
        elif node.is_op("mul") and any(not self.kinds.of(a).shape for a in node.args):
            scalar, matrix = sorted(node.args, key=lambda a: len(self.kinds.of(a).shape))
            work.append(Summand(matrix, s.over, s.times(scalar), s.turned))
        elif isinstance(leaf, Read) and self._transparent(leaf):
            work.append(Summand(self.system.equations[leaf.name], s.over, s.factor, s.turned))
        elif node.is_op("outer") and any(self.kinds.of(a).shared for a in node.args):
            parts.derived.append(self._turned(self._behind(name, s), s.turned))
        elif node.is_op("outer", "scatter_columns"):
            parts.accumulated.append((self._outer(name, s), turn))
        elif node.is_op(*FACTORS) and self._varying(node) is not None:
            parts.derived.append(self._turned(self._behind(name, s), s.turned))
        else:
            parts.accumulated.append((self._values(name, s), turn))

    def _transparent(self, read: Read) -> bool:
        """Whether a total may look into the equation of a matrix: at home, where it is not kept for itself."""
        stream = self.streams[read.name]
        inside = read.name in self.system.equations and not stream.total and read.name not in self.kept
        return inside and is_home(read, stream.axes)

    def _varying(self, node: Symbol) -> int | None:
        """The argument of a linear operation that is not shared, when there is one only."""
        varying = [i for i, a in enumerate(node.args) if not self.kinds.of(a).shared]
        if len(varying) != 1 or (node.is_op("div") and varying != [0]):
            return None
        return varying[0]

    @staticmethod
    def _turned(x: Symbol, turned: bool) -> Symbol:
        return op("transpose", x) if turned else x

    def _behind(self, name: str, s: Summand) -> Symbol:
        """A linear operation of one varying and otherwise shared arguments, applied to the varying one's total.

        Of shared arguments alone, it is so many times the same.
        """
        node = s.node
        k = self._varying(node)
        if k is None:
            times = Summand(lift(1) if s.factor is None else s.factor, s.over)
            return op("mul", node, self._hidden(f"{name}.times", ((self._values(name, times), ""),), ()))
        inner = node.args[k]
        parts = self._take_apart(name, [Summand(inner, s.over, s.factor)])
        terms = list(parts.derived)
        if parts.accumulated:
            terms.append(self._hidden(f"{name}.part", tuple(parts.accumulated), self.kinds.of(inner).shape))
        total = terms[0]
        for term in terms[1:]:
            total = op("add", total, term)
        return rebuild(node, tuple(total if i == k else a for i, a in enumerate(node.args)))

    # ------------------------------------------------------------ contributions

    def _outer(self, name: str, s: Summand) -> str:
        """A sum of outer products, of two vectors or of a vector and a category."""
        node = s.node
        left = self.lower(node.args[0] if s.factor is None else op("mul", node.args[0], s.factor))
        right = self.lower(node.args[1])
        category = right.is_op("one_hot") or self.kinds.of(right).dtype == "category"
        index = right.args[0] if right.is_op("one_hot") else right
        over: list[str] = []
        for axis in dict.fromkeys(s.over):
            mine, yours = (axis in self.kinds.of(x).axes for x in (left, index))
            if mine and not yours:
                left = self._reduce("sum", self._solid(left), axis)
            elif yours and not mine and not category:
                right = index = self._reduce("sum", self._solid(right), axis)
            elif not mine and not yours:
                left = op("mul", left, lift(Extent(axis)))
            else:
                over.append(axis)
        shape = self.kinds.of(node).shape
        if not category:
            if len(self.system.axes) > 1:  # then rows may not be sorted by length
                left = self._own_memory(left)
            operands = lift(self._operand(left)), lift(self._operand(right))
            return self._contribution(name, "outer", shape, None, operands, over)
        return self._contribution(name, "scatter", shape, self._solid(left), (self._category(index),), over)

    def _own_memory(self, x: Symbol) -> Symbol:
        """`x` where its rows may be set to zero outside its steps: a copy, if someone reads a boundary there."""
        leaf = x.leaf
        if not isinstance(leaf, Read):
            return x
        stream = self.streams[leaf.name]
        zero = stream.boundary is None or (stream.boundary.is_number and stream.boundary.leaf == 0)
        if zero and is_home(leaf, stream.axes) and leaf.name not in self.kept and stream.kind == "equation":
            return x
        return self._read(self._define(self._fresh("copy"), x))

    def _values(self, name: str, s: Summand) -> str:
        """A sum of values of any shape, element by element."""
        value = self._solid(self.lower(s.node if s.factor is None else op("mul", s.node, s.factor)))
        axes = self.kinds.of(value).axes
        for axis in dict.fromkeys(s.over):
            if axis not in axes:
                value = op("mul", value, lift(Extent(axis)))
        return self._contribution(
            name, "total", self.kinds.of(s.node).shape, value, (), [a for a in s.over if a in axes]
        )

    def _contribution(
        self,
        name: str,
        kind: str,
        shape: tuple[Dim, ...],
        value: Symbol | None,
        operands: tuple[Symbol, ...],
        over: list[str],
    ) -> str:
        axes = set().union(*[self.kinds.of(x).axes for x in ((value,) if value is not None else ()) + operands])
        if axes - set(over):
            self.fail("a total with a free axis")
        key = self._fresh(f"{name}.sum")
        self.streams[key] = Stream(key, "equation", (), shape, shared=True, total=True)
        self.out.definitions[key] = Definition(
            key, kind, (), shape, value=value, operands=operands, over=self._order(over), reduction="sum", wanted=True
        )
        return key
